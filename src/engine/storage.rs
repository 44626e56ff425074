//! The disk of one slice, on three threads beside the core: what they do may block, and the core
//! must not.
//!
//! - What a start reads, then the log's writes, one after the other, direct and synchronous
//!   (`O_DIRECT`, `O_DSYNC`): a completed write is on stable storage, and no page cache has a say
//!   in it. Each byte of a segment was written once before, so that a write changes nothing but
//!   data. A thread that waits for its own write is faster here than the ring: where a disk cannot
//!   write through its cache, the ring leaves the flush to a worker of the kernel on the CPU that
//!   takes the disk's interrupts, where it waits for up to a tick behind whatever runs there.
//! - Segments and manifests: little work, but the log may have to wait for it. It gives way to the
//!   core.
//! - Snapshots: much work that nobody waits for. Where all CPUs are cores', it takes what time they
//!   leave: a scheduler that has let a thread begin may leave the CPU to it for a whole tick,
//!   milliseconds that a read would wait.
//!
//! A file system that has no direct writes gets plain ones.

use super::control::Control;
use super::directory::{SliceDirectory, sync};
use super::files::Files;
use super::priority::Aside;
use super::{Failure, directory};
use crate::journal::frame::{ALIGN, Block};
use crate::journal::{File, manifest};
use crate::slice::disk::{Done, Task};
use crate::slice::snapshot::{BUFFER_BYTES, BUFFERS};
use crate::slice::source;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Bytes of zeros that are written at a time into a new segment: a kernel that does not preempt
/// itself is back from it in a fraction of a millisecond.
const ZEROS_BYTES: usize = 256 << 10;

/// The disk of one slice.
#[derive(Debug)]
pub struct Storage {
    directory: SliceDirectory,
    /// The next segment, which was made and is not written to yet.
    made: Option<(u64, fs::File)>,
    log: Sender<Job>,
    segments: Sender<Job>,
    snapshots: Sender<Job>,
    outcomes: Receiver<Result<Outcome, Failure>>,
}

/// What a thread beside the core is to do. The first write to a segment brings its file along.
#[derive(Debug)]
struct Job {
    task: Task,
    opened: Option<fs::File>,
}

/// What came of it, and the segment that was made.
#[derive(Debug)]
struct Outcome {
    done: Option<Done>,
    made: Option<(u64, fs::File)>,
}

impl Storage {
    /// The disk of the slice in `directory`. The threads beside the core are started here; they
    /// wake it through `control`.
    pub fn new(
        directory: SliceDirectory,
        control: &Control,
        aside: &Aside,
    ) -> Result<Self, Failure> {
        let (report, outcomes) = channel();
        let start = |name: &str, settle: fn(&Aside)| {
            let (jobs, to_do) = channel();
            let files = Files::new(directory.clone());
            let worker = Worker { directory: directory.clone(), files, direct: true, open: None };
            let (report, control, aside) = (report.clone(), control.clone(), aside.clone());
            thread::Builder::new()
                .name(format!("{name}-{}", directory.place.slice))
                .spawn(move || {
                    settle(&aside);
                    worker.run(&to_do, &report, &control);
                })
                .map_err(Failure::of("start", "a thread for the disk"))?;
            Ok(jobs)
        };
        let (log, segments, snapshots) = (
            start("log", |_| {})?,
            start("segments", Aside::work)?,
            start("snapshots", Aside::idle)?,
        );
        Ok(Self { directory, made: None, log, segments, snapshots, outcomes })
    }

    /// Where it is.
    pub const fn directory(&self) -> &SliceDirectory {
        &self.directory
    }

    /// Has what was asked done.
    pub fn ask(&mut self, task: Task) {
        let mut opened = None;
        let thread = match &task {
            Task::Write { file: File::Segment(segment), .. } => {
                opened = self.made.take_if(|(made, _)| made == segment).map(|(_, opened)| opened);
                &self.log
            }
            Task::Measure { .. } | Task::Read { .. } | Task::Settle { .. } => &self.log,
            Task::Create { .. }
            | Task::Write { file: File::Snapshot(_), .. }
            | Task::Sync { .. } => &self.snapshots,
            Task::Prepare { .. } | Task::Publish { .. } | Task::Remove { .. } => &self.segments,
        };
        thread
            .send(Job { task, opened })
            .expect("the thread lives as long as this end of the channel");
    }

    /// What the threads beside the core have done since it was last asked.
    pub fn outcome(&mut self) -> Result<Option<Done>, Failure> {
        while let Ok(outcome) = self.outcomes.try_recv() {
            let Outcome { done, made } = outcome?;
            self.made = made.or(self.made.take());
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }
}

/// A thread beside the core.
struct Worker {
    directory: SliceDirectory,
    /// What a start reads.
    files: Files,
    /// Whether the file system has direct writes, as far as is known.
    direct: bool,
    /// What it writes to.
    open: Option<fs::File>,
}

impl Worker {
    fn run(
        mut self,
        jobs: &Receiver<Job>,
        report: &Sender<Result<Outcome, Failure>>,
        control: &Control,
    ) {
        while let Ok(job) = jobs.recv() {
            let outcome = self.work(job);
            // A core that has ended needs no report.
            let _ = report.send(outcome);
            control.wake();
        }
    }

    fn work(&mut self, Job { task, opened }: Job) -> Result<Outcome, Failure> {
        let done = match task {
            Task::Prepare { segment, bytes, from } => {
                let made = tried(self.prepare(segment, bytes, from), AGAIN);
                let done = Done::Prepared { segment, ok: made.is_some() };
                return Ok(Outcome { done: Some(done), made: made.map(|file| (segment, file)) });
            }
            Task::Create { snapshot } => {
                self.open = tried(self.create(snapshot), GIVEN_UP);
                let buffers = || (0..BUFFERS).map(|_| Block::touched(BUFFER_BYTES)).collect();
                Some(Done::Created { snapshot, buffers: self.open.is_some().then(buffers) })
            }
            Task::Write { file, offset, block } => {
                self.open = opened.or(self.open.take());
                let ok = match (file, self.write(file, offset, &block)) {
                    // An error in the log is fatal: what is in the page cache then is not what is
                    // on the disk.
                    (File::Segment(_), written) => written.map(|()| true)?,
                    (File::Snapshot(_), written) => tried(written, GIVEN_UP).is_some(),
                };
                Some(Done::Written { file, block, ok })
            }
            Task::Sync { snapshot } => {
                Some(Done::Synced { snapshot, ok: tried(self.sync(snapshot), GIVEN_UP).is_some() })
            }
            Task::Publish { text } => {
                self.directory.publish(&text)?;
                Some(Done::Published)
            }
            Task::Remove { file } => {
                let path = self.path(file);
                if let Err(error) = fs::remove_file(&path) {
                    let failure = Failure::new("remove", path.display().to_string(), error);
                    eprintln!("{failure}; it stays until the next start");
                }
                None
            }
            task @ (Task::Measure { .. } | Task::Read { .. }) => {
                Some(source::serve(task, &mut self.files)?)
            }
            Task::Settle { segment, manifest } => {
                self.settle(segment, &manifest)?;
                Some(Done::Settled)
            }
        };
        Ok(Outcome { done, made: None })
    }

    fn path(&self, file: File) -> PathBuf {
        self.directory.path.join(file.to_string())
    }

    /// Makes a segment under another name, and names it when every byte of it was written.
    fn prepare(
        &mut self,
        segment: u64,
        bytes: u64,
        from: Option<u64>,
    ) -> Result<fs::File, Failure> {
        let path = self.path(File::Segment(segment));
        match from {
            Some(from) => {
                let from = self.path(File::Segment(from));
                fs::rename(&from, &path)
                    .map_err(Failure::of("rename", from.display().to_string()))?;
            }
            None => {
                let new = path.with_extension("new");
                let made = self.zero(&new, bytes).and_then(|()| fs::rename(&new, &path));
                if let Err(error) = made {
                    // What there is of it takes room that is needed.
                    let _ = fs::remove_file(&new);
                    return Err(Failure::new("make", path.display().to_string(), error));
                }
            }
        }
        directory::sync(&self.directory.path)?;
        self.open(File::Segment(segment), libc::O_DSYNC)
    }

    /// Makes a file of zeros, all of them written: a file that is only allocated would have its
    /// extents changed by each first write. They go past the page cache, where they would take a
    /// core's time and displace what is read.
    fn zero(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        fs::File::create(path)?;
        let file = self.open_path(path, 0)?;
        let room = vec![0; ZEROS_BYTES + ALIGN];
        let from = room.as_ptr().align_offset(ALIGN);
        let zeros = &room[from..from + ZEROS_BYTES];
        let mut at = 0;
        while at < bytes {
            let count = ZEROS_BYTES.min((bytes - at) as usize);
            file.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        file.sync_all()
    }

    fn create(&mut self, snapshot: u64) -> Result<fs::File, Failure> {
        let path = self.path(File::Snapshot(snapshot));
        fs::File::create(&path).map_err(Failure::of("create", path.display().to_string()))?;
        self.open(File::Snapshot(snapshot), 0)
    }

    fn write(&self, file: File, offset: u64, block: &Block) -> Result<(), Failure> {
        let open = self.open.as_ref().expect("a file is made before it is written to");
        let path = self.path(file);
        open.write_all_at(block.bytes(), offset)
            .map_err(Failure::of("write", format!("{} at byte {offset}", path.display())))
    }

    fn open(&mut self, file: File, flags: i32) -> Result<fs::File, Failure> {
        let path = self.path(file);
        self.open_path(&path, flags).map_err(Failure::of("open", path.display().to_string()))
    }

    /// Opens a file for direct writes, or for plain ones where there are no direct ones.
    fn open_path(&mut self, path: &Path, flags: i32) -> io::Result<fs::File> {
        let open = |direct: bool| {
            let flags = if direct { flags | libc::O_DIRECT } else { flags };
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        };
        match open(self.direct) {
            Err(error) if self.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                self.direct = false;
                open(false)
            }
            opened => opened,
        }
    }

    fn settle(&mut self, segment: u64, manifest: &manifest::Slice) -> Result<(), Failure> {
        self.files.close();
        if segment > 0 {
            let path = self.path(File::Segment(segment));
            let failed = || Failure::of("sync", path.display().to_string());
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(failed())?;
        }
        sync(&self.directory.path)?;
        for path in self.directory.unnamed(manifest)? {
            fs::remove_file(&path).map_err(Failure::of("remove", path.display().to_string()))?;
        }
        Ok(())
    }

    fn sync(&mut self, snapshot: u64) -> Result<(), Failure> {
        let path = self.path(File::Snapshot(snapshot));
        let file = self.open.take().expect("a snapshot is made before it is synced");
        file.sync_all().map_err(Failure::of("sync", path.display().to_string()))?;
        sync(&self.directory.path)
    }
}

/// What is not part of the log can fail: it is told, and `then` is what follows.
fn tried<R>(result: Result<R, Failure>, then: &str) -> Option<R> {
    result.inspect_err(|failure| eprintln!("{failure}; {then}")).ok()
}

const AGAIN: &str = "this is tried again";
const GIVEN_UP: &str = "the snapshot is given up, and tried again";

const _: () = assert!(ZEROS_BYTES.is_multiple_of(ALIGN), "a segment is whole blocks");
