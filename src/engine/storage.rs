//! Storage: the disk of one slice, on three background threads. Their work may block; the core must
//! not.
//!
//! - Log thread: the reads of a start, then the log's writes, one after the other, direct and
//!   synchronous (`O_DIRECT`, `O_DSYNC`): a completed write is on stable storage, and does not
//!   depend on the page cache. Each byte of a segment was written once before, so that a write
//!   changes nothing but data. A thread that waits for its own write is faster here than the ring:
//!   where a disk cannot write through its cache, the ring leaves the flush to a worker of the
//!   kernel on the CPU that takes the disk's interrupts, where it waits for up to a tick while
//!   another thread runs there.
//! - Segment thread: segments and manifests. Little work, but the log may have to wait for it. It
//!   has a lower priority than the cores.
//! - Snapshot thread: much work that nobody waits for. Without a spare CPU it runs only while the
//!   cores sleep: a scheduler that has let a thread begin may leave the CPU to it for a whole tick,
//!   milliseconds that a read would wait.
//!
//! A file system without direct writes gets buffered ones.
//!
//! Each prepared segment gets a random salt from the kernel ([`crate::journal::frame`]).
//!
//! **Errors.** A failed segment or snapshot is logged and reported as such, to be tried again; so
//! is a manifest or a log write that failed for want of space, descriptors or memory. Writing a
//! whole frame once more to the same place, through to stable storage, leaves nothing in doubt. Any
//! other failure of a manifest or a log write, and a failed read, ends the process: the disk may
//! then hold something else than the page cache shows.

use super::Failure;
use super::control::Control;
use super::directory::{SliceDirectory, sync};
use super::file_system::write_in_place;
use super::files::Files;
use super::priority::SpareCpus;
use super::random;
use crate::journal::frame::{ALIGN, FrameBuffer};
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
use std::time::{Duration, Instant};

/// Interval at which the same failure is logged again.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// Bytes of zeros per write into a new segment: a kernel without preemption returns from one in a
/// fraction of a millisecond.
const ZEROS_BYTES: usize = 256 << 10;

/// The disk of one slice.
#[derive(Debug)]
pub struct Storage {
    directory: SliceDirectory,
    /// The next segment: prepared, and not written to yet.
    prepared: Option<(u64, fs::File)>,
    log: Sender<Job>,
    segments: Sender<Job>,
    snapshots: Sender<Job>,
    outcomes: Receiver<Result<Outcome, Failure>>,
}

/// A task for a background thread. The first write to a segment brings its file along.
#[derive(Debug)]
struct Job {
    task: Task,
    opened: Option<fs::File>,
}

/// The result of a job, and the segment that it prepared.
#[derive(Debug)]
struct Outcome {
    done: Option<Done>,
    prepared: Option<(u64, fs::File)>,
}

impl Storage {
    /// Starts the background threads for the slice in `directory`. They wake its core through
    /// `control`.
    pub fn new(
        directory: SliceDirectory,
        control: &Control,
        spare: &SpareCpus,
    ) -> Result<Self, Failure> {
        let (report, outcomes) = channel();
        let start = |name: &str, lower: fn(&SpareCpus)| {
            let (jobs, to_do) = channel();
            let files = Files::new(directory.clone());
            let worker = Worker {
                directory: directory.clone(),
                files,
                direct: true,
                open: None,
                unremoved: Vec::new(),
                is_publishing: false,
                logged: None,
            };
            let (report, control, spare) = (report.clone(), control.clone(), spare.clone());
            thread::Builder::new()
                .name(format!("{name}-{}", directory.place.slice))
                .spawn(move || {
                    lower(&spare);
                    worker.run(&to_do, &report, &control);
                })
                .map_err(Failure::of("start", "a thread for the disk"))?;
            Ok(jobs)
        };
        let (log, segments, snapshots) = (
            start("log", |_| {})?,
            start("segments", SpareCpus::run_background)?,
            start("snapshots", SpareCpus::run_idle)?,
        );
        Ok(Self { directory, prepared: None, log, segments, snapshots, outcomes })
    }

    /// The directory of the slice's files.
    pub const fn directory(&self) -> &SliceDirectory {
        &self.directory
    }

    /// Queues a task for its background thread.
    pub fn ask(&mut self, task: Task) {
        let mut opened = None;
        let thread = match &task {
            Task::Write { file: File::Segment(segment), .. } => {
                opened = self
                    .prepared
                    .take_if(|(prepared, _)| prepared == segment)
                    .map(|(_, opened)| opened);
                &self.log
            }
            Task::Measure { .. } | Task::Read { .. } | Task::SyncRecovered { .. } => &self.log,
            Task::Create { .. }
            | Task::Write { file: File::Snapshot(_), .. }
            | Task::Sync { .. } => &self.snapshots,
            Task::Prepare { .. } | Task::Publish { .. } | Task::Remove { .. } => &self.segments,
        };
        thread.send(Job { task, opened }).expect("a background thread lives as long as its queue");
    }

    /// The next result of a task, if there is one.
    pub fn outcome(&mut self) -> Result<Option<Done>, Failure> {
        while let Ok(outcome) = self.outcomes.try_recv() {
            let Outcome { done, prepared } = outcome?;
            self.prepared = prepared.or(self.prepared.take());
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }
}

/// A background thread's state.
struct Worker {
    directory: SliceDirectory,
    /// Files that a start reads.
    files: Files,
    /// Whether to try direct writes: false once the file system has refused them.
    direct: bool,
    /// The file that is being written.
    open: Option<fs::File>,
    /// Files that could not be removed, to be tried again.
    unremoved: Vec<File>,
    /// Whether the last publication has failed, or is under way.
    is_publishing: bool,
    /// The failure that was logged last, and when.
    logged: Option<(String, Instant)>,
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
            // The receiver may be gone: a core that has ended needs no report.
            let _ = report.send(outcome);
            control.wake();
        }
    }

    fn work(&mut self, Job { task, opened }: Job) -> Result<Outcome, Failure> {
        let done = match task {
            Task::Prepare { segment, bytes, from } => {
                self.remove_files();
                let prepared = random::salt().and_then(|salt| {
                    let file = self.prepare(segment, bytes, from)?;
                    Ok((salt, (segment, file)))
                });
                let (salt, prepared) = self.log_failure(prepared, RETRIED).unzip();
                return Ok(Outcome { done: Some(Done::Prepared { segment, salt }), prepared });
            }
            Task::Create { snapshot } => {
                let created = self.create(snapshot);
                self.open = self.log_failure(created, SNAPSHOT_RETRIED);
                let buffers = || (0..BUFFERS).map(|_| FrameBuffer::touched(BUFFER_BYTES)).collect();
                Some(Done::Created { snapshot, buffers: self.open.is_some().then(buffers) })
            }
            Task::Write { file, offset, block } => {
                self.open = opened.or(self.open.take());
                let written = self.write(file, offset, &block);
                let ok = match file {
                    File::Segment(_) => self.retry_shortage(written)?,
                    File::Snapshot(_) => self.log_failure(written, SNAPSHOT_RETRIED).is_some(),
                };
                Some(Done::Written { file, block, ok })
            }
            Task::Sync { snapshot } => {
                let synced = self.sync(snapshot);
                let ok = self.log_failure(synced, SNAPSHOT_RETRIED).is_some();
                Some(Done::Synced { snapshot, ok })
            }
            Task::Publish { text } => {
                let published = self.publish(&text);
                Some(Done::Published { ok: self.retry_shortage(published)? })
            }
            Task::Remove { file } => {
                self.unremoved.push(file);
                self.remove_files();
                None
            }
            task @ (Task::Measure { .. } | Task::Read { .. }) => {
                Some(source::serve(task, &mut self.files)?)
            }
            Task::SyncRecovered { segment, manifest } => {
                self.sync_recovered(segment, &manifest)?;
                Some(Done::SyncedRecovered)
            }
        };
        Ok(Outcome { done, prepared: None })
    }

    /// Replaces the manifest. A failed attempt may have swapped the two manifests: until that is on
    /// stable storage, the file that would be overwritten is the manifest there.
    fn publish(&mut self, text: &str) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_publishing, true) {
            sync(&self.directory.path)?;
        }
        self.directory.publish(text)?;
        self.is_publishing = false;
        Ok(())
    }

    /// Removes the files that are no longer needed. What cannot be removed is tried again before
    /// the next segment is prepared.
    fn remove_files(&mut self) {
        for file in std::mem::take(&mut self.unremoved) {
            let path = self.path(file);
            let removed = match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.map_err(Failure::at("remove", &path)),
            };
            if self.log_failure(removed, RETRIED).is_none() {
                self.unremoved.push(file);
            }
        }
    }

    fn path(&self, file: File) -> PathBuf {
        self.directory.path.join(file.to_string())
    }

    /// Prepares a segment: renames an old one, or makes a new one under another name and renames it
    /// once every byte of it was written.
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
                match fs::rename(&from, &path) {
                    // An attempt that failed later has renamed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {}
                    renamed => renamed.map_err(Failure::at("rename", &from))?,
                }
            }
            None => {
                let new = path.with_extension("new");
                let made = self.zero(&new, bytes).and_then(|()| fs::rename(&new, &path));
                if let Err(error) = made {
                    // Free the disk space of the incomplete file.
                    let _ = fs::remove_file(&new);
                    return Err(Failure::new("make", path.display().to_string(), error));
                }
            }
        }
        sync(&self.directory.path)?;
        self.open(File::Segment(segment), libc::O_DSYNC)
    }

    /// Makes a file of written zeros: in a file that is only allocated, each first write would
    /// change its extents. The writes bypass the page cache, where they would take a core's time
    /// and displace data that is read.
    fn zero(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        write_in_place(&fs::File::create(path)?);
        let file = self.open_path(path, 0)?;
        let buffer = vec![0; ZEROS_BYTES + ALIGN];
        let from = buffer.as_ptr().align_offset(ALIGN);
        let zeros = &buffer[from..from + ZEROS_BYTES];
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

    fn write(&self, file: File, offset: u64, block: &FrameBuffer) -> Result<(), Failure> {
        let open = self.open.as_ref().expect("a file is opened before it is written to");
        let path = self.path(file);
        open.write_all_at(block.bytes(), offset)
            .map_err(Failure::of("write", format!("{} at byte {offset}", path.display())))
    }

    fn open(&mut self, file: File, flags: i32) -> Result<fs::File, Failure> {
        let path = self.path(file);
        self.open_path(&path, flags).map_err(Failure::of("open", path.display().to_string()))
    }

    /// Opens a file for direct writes, or for buffered ones if the file system has no direct ones.
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

    fn sync_recovered(
        &mut self,
        segment: u64,
        manifest: &manifest::SliceManifest,
    ) -> Result<(), Failure> {
        self.files.close();
        if segment > 0 {
            let path = self.path(File::Segment(segment));
            let failed = || Failure::of("sync", path.display().to_string());
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(failed())?;
        }
        sync(&self.directory.path)?;
        for path in self.directory.unnamed(manifest)? {
            let removed = fs::remove_file(&path).map_err(Failure::at("remove", &path));
            self.retry_shortage(removed)?;
        }
        let reserved = self.directory.reserve_publication(manifest);
        self.retry_shortage(reserved).map(drop)
    }

    fn sync(&mut self, snapshot: u64) -> Result<(), Failure> {
        let path = self.path(File::Snapshot(snapshot));
        let file = self.open.take().expect("a snapshot is created before it is synced");
        file.sync_all().map_err(Failure::of("sync", path.display().to_string()))?;
        sync(&self.directory.path)
    }

    /// Logs a failure and turns it into `None`; `then` says what follows. The same failure again is
    /// logged once a minute.
    fn log_failure<R>(&mut self, result: Result<R, Failure>, then: &str) -> Option<R> {
        result
            .inspect_err(|failure| {
                let (text, now) = (format!("{failure}; {then}"), Instant::now());
                let is_new = self
                    .logged
                    .as_ref()
                    .is_none_or(|(last, at)| *last != text || now - *at >= LOG_INTERVAL);
                if is_new {
                    tracing::warn!("{text}");
                    self.logged = Some((text, now));
                }
            })
            .ok()
    }

    /// Whether a task succeeded that is tried again after a shortage. Any other failure is
    /// returned.
    fn retry_shortage(&mut self, result: Result<(), Failure>) -> Result<bool, Failure> {
        match result {
            Err(failure) if failure.is_shortage() => {
                Ok(self.log_failure::<()>(Err(failure), RETRIED).is_some())
            }
            done => done.map(|()| true),
        }
    }
}

const RETRIED: &str = "will retry";
const SNAPSHOT_RETRIED: &str = "the snapshot is abandoned and will be retried";

const _: () = assert!(ZEROS_BYTES.is_multiple_of(ALIGN), "zeros are written in whole blocks");
