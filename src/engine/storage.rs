//! The disk of one slice: the log's writes through the core's ring, everything that the kernel does slowly on a thread beside it.
//!
//! A segment is written directly and synchronously (`O_DIRECT`, `O_DSYNC`): a completed write is on stable storage, and no page cache has a say
//! in it. Each of its bytes was written once before, so that a write changes nothing but data. A snapshot grows with every write, which the file system
//! does not do without waiting: so the thread writes it, directly too, and syncs it at its end. A file system that has no direct
//! writes gets plain ones.
//!
//! The thread yields to the core where both share a CPU: nobody waits for it but the next segment, which is asked for in time.

use super::control::Control;
use super::directory::{SliceDirectory, sync};
use super::op::{Kind, Op};
use super::ring::Ring;
use super::{Failure, directory};
use crate::journal::frame::{ALIGN, Block};
use crate::journal::{File, manifest};
use crate::slice::disk::{Done, Task};
use crate::slice::recovery::Source;
use io_uring::{opcode, types};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// How much the thread beside the core gives way: a tenth of a CPU is left to it where the core would take all.
const NICENESS: i32 = 10;
/// Bytes of zeros that are written at a time into a new segment.
const ZEROS_BYTES: usize = 1 << 20;

/// The disk of one slice.
#[derive(Debug)]
pub struct Storage {
    directory: SliceDirectory,
    /// The segments that may be written to.
    files: HashMap<u64, fs::File>,
    flights: Vec<Option<Flight>>,
    jobs: Sender<Job>,
    outcomes: Receiver<Result<Outcome, Failure>>,
}

/// A write to a segment that the kernel has.
#[derive(Debug)]
struct Flight {
    segment: u64,
    offset: u64,
    block: Block,
}

/// What the thread beside the core does.
#[derive(Debug)]
enum Job {
    Prepare { segment: u64, bytes: u64, from: Option<u64> },
    Create { snapshot: u64 },
    Write { snapshot: u64, offset: u64, block: Block },
    Sync { snapshot: u64 },
    Publish { text: String },
    Remove { file: File },
}

/// What came of it, and the segment that it opened.
#[derive(Debug)]
struct Outcome {
    done: Option<Done>,
    segment: Option<(u64, fs::File)>,
}

impl Storage {
    /// The disk of the slice in `directory`. The thread beside the core is started here, with the caller's affinity; it wakes the core through `control`.
    pub fn new(directory: SliceDirectory, control: Control) -> Result<Self, Failure> {
        let (jobs, to_do) = channel();
        let (report, outcomes) = channel();
        let worker = Worker { directory: directory.clone(), direct: true, snapshot: None };
        let name = format!("disk-{}", directory.place.slice);
        thread::Builder::new()
            .name(name)
            .spawn(move || worker.run(&to_do, &report, &control))
            .map_err(Failure::of("start", "a thread for the disk"))?;
        Ok(Self { directory, files: HashMap::new(), flights: Vec::new(), jobs, outcomes })
    }

    /// Where it is.
    pub const fn directory(&self) -> &SliceDirectory {
        &self.directory
    }

    /// Removes what nothing names: what a crash left behind. Removes nothing if there is anything that no crash leaves.
    pub fn remove_strays(&self, manifest: &manifest::Slice) -> Result<(), Failure> {
        let path = &self.directory.path;
        let failed = |operation| Failure::of(operation, path.display().to_string());
        let mut strays = Vec::new();
        for entry in fs::read_dir(path).map_err(failed("list"))? {
            let entry = entry.map_err(failed("list"))?;
            let is_named = match entry.file_name().to_str().map(|name| (name, File::parse(name))) {
                Some((_, Some(file))) => manifest.names(file).map_err(|fault| {
                    let object = entry.path().display().to_string();
                    Failure::new("load", object, io::Error::new(ErrorKind::InvalidData, fault.what))
                })?,
                Some((name, None)) => !name.ends_with(".new"),
                None => true,
            };
            if !is_named {
                strays.push(entry.path());
            }
        }
        for path in strays {
            fs::remove_file(&path).map_err(Failure::of("remove", path.display().to_string()))?;
        }
        Ok(())
    }

    /// Brings what was read to stable storage before anything is built on it: a process that was killed may have left on their way the last
    /// write of a segment, and the name of a manifest.
    pub fn settle(&self, segment: u64) -> Result<(), Failure> {
        if segment > 0 {
            let path = self.directory.path.join(File::Segment(segment).to_string());
            let failed = || Failure::of("sync", path.display().to_string());
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(failed())?;
        }
        sync(&self.directory.path)
    }

    /// Does what was asked: a write at once, all else in its time.
    pub fn ask(&mut self, task: Task, ring: &mut Ring) {
        let job = match task {
            Task::Write { file: File::Segment(segment), offset, block } => {
                return self.write(Flight { segment, offset, block }, ring);
            }
            Task::Write { file: File::Snapshot(snapshot), offset, block } => Job::Write { snapshot, offset, block },
            Task::Prepare { segment, bytes, from } => {
                if let Some(from) = from {
                    self.files.remove(&from);
                }
                Job::Prepare { segment, bytes, from }
            }
            Task::Create { snapshot } => Job::Create { snapshot },
            Task::Sync { snapshot } => Job::Sync { snapshot },
            Task::Publish { text } => Job::Publish { text },
            Task::Remove { file } => {
                if let File::Segment(segment) = file {
                    self.files.remove(&segment);
                }
                Job::Remove { file }
            }
        };
        self.jobs.send(job).expect("the thread lives as long as this end of the channel");
    }

    fn write(&mut self, flight: Flight, ring: &mut Ring) {
        let slot = self.flights.iter().position(Option::is_none).unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        let file = self.files.get(&flight.segment).expect("a segment is made before it is written to");
        let bytes = flight.block.bytes();
        let entry = opcode::Write::new(types::Fd(file.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .offset(flight.offset)
            .build()
            .user_data(Op { kind: Kind::Write, slot: slot as u32, generation: 0 }.encode());
        self.flights[slot] = Some(flight);
        // SAFETY: the block's bytes stay where they are, and the block is kept in its slot, until the write has completed; a file is
        // closed only when nothing is written to it.
        unsafe { ring.push(&entry) };
    }

    /// A write has completed. An error in the log is fatal: what is in the page cache then is not what is on the disk.
    pub fn written(&mut self, slot: u32, result: i32) -> Result<Done, Failure> {
        let Flight { segment, offset, block } = self.flights[slot as usize].take().expect("it was in flight");
        let file = File::Segment(segment);
        if usize::try_from(result) == Ok(block.bytes().len()) {
            return Ok(Done::Written { file, block, ok: true });
        }
        let error = match result {
            ..0 => io::Error::from_raw_os_error(-result),
            _ => io::Error::new(ErrorKind::WriteZero, format!("only {result} bytes were written")),
        };
        let object = format!("{} at byte {offset}", self.directory.path.join(file.to_string()).display());
        Err(Failure::new("write", object, error))
    }

    /// What the thread beside the core has done since it was last asked.
    pub fn outcome(&mut self) -> Result<Option<Done>, Failure> {
        while let Ok(outcome) = self.outcomes.try_recv() {
            let Outcome { done, segment } = outcome?;
            self.files.extend(segment);
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// Whether the kernel still reads from blocks of ours.
    pub fn is_idle(&self) -> bool {
        self.flights.iter().all(Option::is_none)
    }
}

/// The thread beside the core.
struct Worker {
    directory: SliceDirectory,
    /// Whether the file system has direct writes, as far as is known.
    direct: bool,
    /// The snapshot that is being written.
    snapshot: Option<fs::File>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, report: &Sender<Result<Outcome, Failure>>, control: &Control) {
        // SAFETY: no pointers. Of the calling thread, as Linux has it; a thread that keeps its priority does the same work.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
        while let Ok(job) = jobs.recv() {
            let outcome = self.work(job);
            // A core that has ended needs no report.
            let _ = report.send(outcome);
            control.wake();
        }
    }

    fn work(&mut self, job: Job) -> Result<Outcome, Failure> {
        let done = match job {
            Job::Prepare { segment, bytes, from } => {
                let made = tried(self.prepare(segment, bytes, from), AGAIN);
                let done = Done::Prepared { segment, ok: made.is_some() };
                return Ok(Outcome { done: Some(done), segment: made.map(|file| (segment, file)) });
            }
            Job::Create { snapshot } => {
                self.snapshot = tried(self.create(snapshot), GIVEN_UP);
                Some(Done::Created { snapshot, ok: self.snapshot.is_some() })
            }
            Job::Write { snapshot, offset, block } => {
                let ok = tried(self.write(snapshot, offset, &block), GIVEN_UP).is_some();
                Some(Done::Written { file: File::Snapshot(snapshot), block, ok })
            }
            Job::Sync { snapshot } => {
                Some(Done::Synced { snapshot, ok: tried(self.sync(snapshot), GIVEN_UP).is_some() })
            }
            Job::Publish { text } => {
                self.directory.publish(&text)?;
                Some(Done::Published)
            }
            Job::Remove { file } => {
                let path = self.path(file);
                if let Err(error) = fs::remove_file(&path) {
                    let failure = Failure::new("remove", path.display().to_string(), error);
                    eprintln!("{failure}; it stays until the next start");
                }
                None
            }
        };
        Ok(Outcome { done, segment: None })
    }

    fn path(&self, file: File) -> PathBuf {
        self.directory.path.join(file.to_string())
    }

    /// Makes a segment under another name, and names it when every byte of it was written.
    fn prepare(&mut self, segment: u64, bytes: u64, from: Option<u64>) -> Result<fs::File, Failure> {
        let path = self.path(File::Segment(segment));
        match from {
            Some(from) => {
                let from = self.path(File::Segment(from));
                fs::rename(&from, &path).map_err(Failure::of("rename", from.display().to_string()))?;
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

    /// Makes a file of zeros, all of them written: a file that is only allocated would have its extents changed by each first write. They go
    /// past the page cache, where they would take a core's time and displace what is read.
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

    fn write(&self, snapshot: u64, offset: u64, block: &Block) -> Result<(), Failure> {
        let file = self.snapshot.as_ref().expect("a snapshot is made before it is written to");
        let path = self.path(File::Snapshot(snapshot));
        file.write_all_at(block.bytes(), offset)
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

    fn sync(&mut self, snapshot: u64) -> Result<(), Failure> {
        let path = self.path(File::Snapshot(snapshot));
        let file = self.snapshot.take().expect("a snapshot is made before it is synced");
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

/// The files of a slice, as recovery reads them.
#[derive(Debug)]
pub struct Files {
    directory: SliceDirectory,
    open: Option<(File, fs::File)>,
}

impl Files {
    /// Of the slice in `directory`.
    pub const fn new(directory: SliceDirectory) -> Self {
        Self { directory, open: None }
    }
}

impl Source for Files {
    type Error = Failure;

    fn size(&mut self, file: File) -> Result<Option<u64>, Failure> {
        let path = self.directory.path.join(file.to_string());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new("look at", path.display().to_string(), error)),
        }
    }

    fn read(&mut self, file: File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> Result<(), Failure> {
        let path = self.directory.path.join(file.to_string());
        let failed = |operation| Failure::of(operation, path.display().to_string());
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, fs::File::open(&path).map_err(failed("open"))?));
        }
        let (_, open) = self.open.as_ref().expect("it was just opened");
        let before = into.len();
        into.resize(before + bytes, 0);
        let mut at = before;
        while at < into.len() {
            match open.read_at(&mut into[at..], offset + (at - before) as u64) {
                Ok(0) => break,
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read")(error)),
            }
        }
        into.truncate(at);
        Ok(())
    }
}

const _: () = assert!(ZEROS_BYTES.is_multiple_of(ALIGN), "a segment is whole blocks");
