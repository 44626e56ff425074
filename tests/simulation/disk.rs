//! Simulated disk with faults: the files of every slice, their durable state, and the tasks in
//! flight.
//!
//! - A segment write is durable when it is reported. A crash before that may have written any of
//!   its sectors.
//! - A snapshot write is durable once the snapshot is synced.
//! - A disk that copies on write refuses a write to a segment when it is full; part of the write
//!   may be there.
//! - A publication may fail for want of space, and the manifest may be visible all the same.
//! - A created, renamed or removed directory entry is durable once its directory is synced. Before
//!   that, a power cut keeps or loses each change independently.

use super::Bug;
use super::counts::Counts;
pub use super::directory::Name;
use super::directory::{Change, Directory, Inode, change, put};
use super::forgery;
use super::random::Random;
use purser::journal::frame::{FrameBuffer, HEADER_BYTES, Kind};
use purser::journal::{File, Place, manifest, snapshot};
use purser::slice::disk::{Done, Task};
use purser::slice::source::Source;
use std::borrow::Cow;
use std::convert::Infallible;

/// Bytes of a sector: a crash writes all of a sector or nothing.
pub const SECTOR: usize = 512;

/// A task in flight.
#[derive(Debug)]
struct Job {
    slice: usize,
    due_ms: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The block goes back with the completion, unless that was reported early.
    Write {
        file: File,
        offset: usize,
        bytes: Vec<u8>,
        block: Option<FrameBuffer>,
    },
    Other(Task),
}

/// Reason for a process to end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// A task failed that must not fail.
    Fatal,
    /// Recovery refuses the files.
    Refused(String),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; everything written stays visible.
    Kill,
    /// A power cut: everything not durable may be lost.
    Power,
}

/// The disk of a process, with a directory for each slice.
#[derive(Debug)]
pub struct Disk {
    directories: Vec<Directory>,
    jobs: Vec<Job>,
    early: Vec<(usize, Done)>,
    pub capacity: u64,
    /// Failures per thousand tasks that may fail.
    pub failing: u64,
    /// Failures per thousand tasks that must not fail.
    pub fatal: u64,
    pub slowness: u64,
    /// Whether a write over prepared space needs space of its own.
    pub copies_on_write: bool,
    bug: Option<Bug>,
    pub counts: Counts,
    /// The first violation of a store's rules.
    pub broken: Option<String>,
}

impl Disk {
    /// A disk with a directory for each place.
    pub fn new(places: impl Iterator<Item = Place>, bug: Option<Bug>) -> Self {
        Self {
            directories: places.map(Directory::new).collect(),
            jobs: Vec::new(),
            early: Vec::new(),
            capacity: u64::MAX,
            failing: 0,
            fatal: 0,
            slowness: 1,
            copies_on_write: false,
            bug,
            counts: Counts::default(),
            broken: None,
        }
    }

    /// A copy of the files with no tasks in flight, to be damaged.
    pub fn at_rest(&self) -> Self {
        assert!(self.jobs.is_empty(), "a process that has ended has no tasks in flight");
        let mut other = Self::new(std::iter::empty(), self.bug);
        other.directories.clone_from(&self.directories);
        other
    }

    /// Replaces the files by those of another disk and makes them durable. Otherwise a power cut
    /// could restore an old manifest that names a damaged file.
    pub fn take_files(&mut self, other: Self) {
        self.directories = other.directories;
        for directory in &mut self.directories {
            directory.inodes.iter_mut().for_each(Inode::sync);
            directory.sync();
        }
    }

    pub fn files_of(&self, slice: usize) -> Files<'_> {
        Files { directory: &self.directories[slice] }
    }

    /// Number of the last write of a slice's log that was reported as durable.
    pub fn written(&self, slice: usize) -> u64 {
        self.directories[slice].written
    }

    /// Number of the segment that a slice's manifest names last.
    pub fn last_segment(&mut self, slice: usize) -> u64 {
        self.directories[slice].manifest().map_or(0, |manifest| manifest.last)
    }

    /// Takes over the log position that recovery found.
    pub fn recovered(&mut self, slice: usize, position: u64) {
        self.directories[slice].written = position;
        self.directories[slice].end = None;
    }

    pub fn remove(&mut self, slice: usize, name: Name) {
        self.directories[slice].change(Change::Unlink(name));
    }

    pub fn names(&self, slice: usize) -> Vec<Name> {
        self.directories[slice].seen.keys().copied().collect()
    }

    /// The bytes of a file, all durable, to be damaged.
    pub fn bytes_of(&mut self, slice: usize, name: Name) -> Option<&mut Vec<u8>> {
        let inode = self.directories[slice].inode(name)?;
        inode.sync();
        Some(&mut inode.durable)
    }

    /// Removes a file durably.
    pub fn lose(&mut self, slice: usize, name: Name) {
        self.remove(slice, name);
        self.directories[slice].sync();
    }

    /// Every manifest that a slice ever had.
    pub fn manifests(&self, slice: usize) -> &[Vec<u8>] {
        &self.directories[slice].manifests
    }

    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.early.is_empty()
    }

    fn used(&self) -> u64 {
        self.directories.iter().map(Directory::used).sum()
    }

    /// Submits a task.
    pub fn ask(&mut self, slice: usize, now_ms: u64, task: Task, random: &mut Random) {
        if self.bug.is_none() {
            let broken = self.rule(slice, &task).err();
            self.broken = self.broken.take().or(broken);
        }
        let most_ms = match task {
            Task::Write { .. } | Task::Create { .. } | Task::Measure { .. } | Task::Read { .. } => {
                6
            }
            Task::Prepare { .. } => 60,
            Task::Sync { .. } | Task::Publish { .. } | Task::SyncRecovered { .. } => 20,
            Task::Remove { .. } => 100,
        };
        let what = match task {
            Task::Write { file, offset, block } => {
                let bytes = block.bytes().to_vec();
                let is_write = matches!(file, File::Segment(_)) && offset > 0;
                let told = is_write && self.bug == Some(Bug::WriteReportedEarly);
                let block = if told {
                    self.early.push((slice, Done::Written { file, block, ok: true }));
                    None
                } else {
                    Some(block)
                };
                What::Write { file, offset: offset as usize, bytes, block }
            }
            task => What::Other(task),
        };
        match &what {
            What::Write { file: File::Snapshot(number), offset, bytes, .. }
                if self.bug == Some(Bug::SnapshotAheadOfLog)
                    && kind_of(bytes) == Kind::End as u32 =>
            {
                self.publish_early(slice, *number, *offset, bytes.clone());
            }
            What::Other(Task::Publish { text }) if self.bug == Some(Bug::RemovedEarly) => {
                let directory = &mut self.directories[slice];
                let named = manifest::SliceManifest::decode(text.as_bytes(), directory.place);
                let named = named.expect("a published text is a manifest");
                directory.seen.retain(
                    |name, _| !matches!(name, Name::File(File::Segment(n)) if *n < named.first),
                );
                directory.sync();
            }
            _ => {}
        }
        let due_ms = now_ms + random.below(most_ms * self.slowness + 1);
        self.jobs.push(Job { slice, due_ms, what });
    }

    /// Checks the rules that logs and snapshots follow when they submit tasks.
    fn rule(&mut self, slice: usize, task: &Task) -> Result<(), String> {
        let directory = &mut self.directories[slice];
        match task {
            Task::Write { file: File::Segment(segment), offset, block } => {
                let in_flight = self.jobs.iter().any(|job| {
                    job.slice == slice
                        && matches!(job.what, What::Write { file: File::Segment(_), .. })
                });
                if in_flight {
                    return Err(format!("slice {slice}: a second write of the log is in flight"));
                }
                let size = block.bytes().len() as u64;
                if offset + size > directory.file(File::Segment(*segment)).size() as u64 {
                    return Err(format!(
                        "slice {slice}: segment {segment} is written beyond its end"
                    ));
                }
                let last = directory.manifest().map_or(0, |manifest| manifest.last);
                let expected = directory.end.map_or((last, 0), |end| end);
                if *offset > 0 && (*segment, *offset) != expected {
                    return Err(format!(
                        "slice {slice}: a write goes to byte {offset} of segment {segment}, not \
                         {expected:?}"
                    ));
                }
                if *offset > 0 && last != *segment {
                    return Err(format!(
                        "slice {slice}: segment {segment} is written to, and the manifest names \
                         {last}"
                    ));
                }
                directory.end = Some((*segment, offset + size));
            }
            Task::Publish { text } => {
                let named = manifest::SliceManifest::decode(text.as_bytes(), directory.place);
                let named = named.map_err(|why| format!("slice {slice}: {why:?}"))?;
                let missing = (named.first..=named.last)
                    .filter(|&n| n > 0)
                    .map(File::Segment)
                    .chain((named.snapshot > 0).then_some(File::Snapshot(named.snapshot)))
                    .find(|&file| !directory.durable.contains_key(&Name::File(file)));
                if let Some(file) = missing {
                    return Err(format!(
                        "slice {slice}: {file} is named, and its own name is not durable"
                    ));
                }
                if named.snapshot > 0 {
                    let written = directory.written;
                    let inode = directory.file(File::Snapshot(named.snapshot));
                    let payload = &inode.durable[named.snapshot_end as usize..];
                    let length =
                        u32::from_le_bytes(payload[4..8].try_into().expect("four bytes")) as usize;
                    let payload = &payload[HEADER_BYTES..HEADER_BYTES + length];
                    let end = snapshot::End::decode(payload);
                    if !inode.unsynced.is_empty() || end.is_none_or(|end| end.position > written) {
                        return Err(format!(
                            "slice {slice}: snapshot {} is current too soon",
                            named.snapshot
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Plants `Bug::SnapshotAheadOfLog`: the snapshot becomes current with its last write.
    fn publish_early(&mut self, slice: usize, number: u64, offset: usize, last: Vec<u8>) {
        let directory = &mut self.directories[slice];
        let file = File::Snapshot(number);
        for job in self.jobs.iter().filter(|job| job.slice == slice) {
            if let What::Write { file: of, offset, bytes, .. } = &job.what
                && *of == file
            {
                directory.file(file).unsynced.push((*offset, bytes.clone()));
            }
        }
        let inode = directory.file(file);
        inode.unsynced.push((offset, last));
        inode.sync();
        let begin = u64_at(&inode.durable, HEADER_BYTES);
        let current = directory.manifest().expect("the manifest exists and is whole");
        let early = manifest::SliceManifest {
            snapshot: number,
            snapshot_end: offset as u64,
            first: begin,
            ..current
        };
        directory.make(Name::Manifest, early.write(directory.place).into_bytes());
        directory.sync();
    }

    /// The next completion that is due, in random order; `Err` ends the process.
    pub fn next(
        &mut self,
        now_ms: u64,
        slice: usize,
        random: &mut Random,
    ) -> Option<Result<Done, DiskError>> {
        if let Some(at) = self.early.iter().position(|(of, _)| *of == slice) {
            return Some(Ok(self.early.remove(at).1));
        }
        loop {
            let is_publication = |job: &Job| matches!(job.what, What::Other(Task::Publish { .. }));
            let first = self.jobs.iter().position(|job| job.slice == slice && is_publication(job));
            let ready: Vec<usize> = (0..self.jobs.len())
                .filter(|&at| self.jobs[at].slice == slice && self.jobs[at].due_ms <= now_ms)
                .filter(|&at| !is_publication(&self.jobs[at]) || first == Some(at))
                .collect();
            if ready.is_empty() {
                return None;
            }
            let at = random.pick(&ready);
            let must_not_fail = match &self.jobs[at].what {
                What::Write { file, .. } => matches!(file, File::Segment(_)),
                What::Other(task) => matches!(
                    task,
                    Task::Publish { .. }
                        | Task::Measure { .. }
                        | Task::Read { .. }
                        | Task::SyncRecovered { .. }
                ),
            };
            if must_not_fail && random.in_thousand(self.fatal) {
                self.counts.add("fatal errors", 1);
                return Some(Err(DiskError::Fatal));
            }
            let job = self.jobs.remove(at);
            let settles = match &job.what {
                What::Other(Task::SyncRecovered { segment, manifest }) => {
                    Some((*segment, *manifest))
                }
                _ => None,
            };
            if let Some((segment, manifest)) = settles {
                return Some(
                    self.settle(slice, segment, &manifest).map(|()| Done::SyncedRecovered),
                );
            }
            if let Some(done) = self.work(job, random) {
                return Some(Ok(done));
            }
        }
    }

    /// Syncs a segment and the directory, then removes files that the manifest does not name.
    fn settle(
        &mut self,
        slice: usize,
        segment: u64,
        manifest: &manifest::SliceManifest,
    ) -> Result<(), DiskError> {
        let directory = &mut self.directories[slice];
        if self.bug != Some(Bug::RecoveredNotSynced) {
            if segment > 0 {
                directory.file(File::Segment(segment)).sync();
            }
            if self.bug != Some(Bug::RecoveredDirectoryNotSynced) {
                directory.sync();
            }
        }
        for name in unnamed_files(manifest, directory.seen.keys()).map_err(DiskError::Refused)? {
            directory.change(Change::Unlink(name));
        }
        Ok(())
    }

    fn work(&mut self, job: Job, random: &mut Random) -> Option<Done> {
        let room = self.capacity.saturating_sub(self.used());
        let failing = random.in_thousand(self.failing);
        let slices = self.directories.len() as u32;
        // Numbers of their own, so that salts and forgeries change nothing else in a run.
        let mut apart = Random(!random.0);
        let directory = &mut self.directories[job.slice];
        match job.what {
            What::Write { file: file @ File::Segment(segment), offset, bytes, block }
                if self.copies_on_write
                    && block.is_some()
                    && (failing || bytes.len() as u64 > room) =>
            {
                self.counts.add("refused log writes", 1);
                directory.end = Some((segment, offset as u64));
                let sectors = some_sectors(offset, &bytes, random).into_iter();
                let sectors = sectors.map(|(at, sector)| (at, sector.to_vec()));
                directory.file(file).unsynced.extend(sectors);
                block.map(|block| Done::Written { file, block, ok: false })
            }
            What::Write { file: file @ File::Segment(_), offset, bytes, block } => {
                if offset > 0 {
                    directory.written = u64_at(&bytes, 32);
                }
                if offset > 0 || self.bug != Some(Bug::HeaderForgotten) {
                    directory.file(file).write_through(offset, &bytes);
                }
                block.map(|block| Done::Written { file, block, ok: true })
            }
            What::Write { file, offset, bytes, block } => {
                let inode = directory.file(file);
                let more = (offset + bytes.len()).saturating_sub(inode.size()) as u64;
                self.counts.add("full disk", u64::from(more > room));
                self.counts.add("failed task", u64::from(failing));
                let ok = more <= room && !failing;
                if ok {
                    inode.unsynced.push((offset, bytes));
                }
                block.map(|block| Done::Written { file, block, ok })
            }
            What::Other(Task::Prepare { segment, bytes, from }) => {
                let name = Name::File(File::Segment(segment));
                let needs = if from.is_some() { 0 } else { bytes };
                self.counts.add("full disk", u64::from(needs > room));
                self.counts.add("failed task", u64::from(failing));
                let ok = needs <= room && !failing;
                // A failed task may have failed at its last step.
                if ok || (needs <= room && random.coin()) {
                    match from.map(|from| Name::File(File::Segment(from))) {
                        Some(from) if directory.seen.contains_key(&from) => {
                            directory.change(Change::Rename(from, name));
                            let place = Place { file: segment, ..directory.place };
                            let (written, inode) =
                                (directory.written, directory.file(File::Segment(segment)));
                            inode.sync();
                            let bytes = &mut inode.durable;
                            self.counts
                                .add("forged records recycled", forgery::count(bytes, place));
                            forgery::plant(bytes, place, slices, written, &mut apart);
                            self.counts.add("forged frames recycled", forgery::count(bytes, place));
                        }
                        // A failed attempt has renamed it.
                        Some(_) if directory.seen.contains_key(&name) => {}
                        Some(_) => {
                            let what = format!("segment {segment} is made from one that is gone");
                            self.broken.get_or_insert(what);
                        }
                        None => directory.make(name, vec![0; bytes as usize]),
                    }
                }
                if ok {
                    self.counts.add("recycled segments", u64::from(from.is_some()));
                    if self.bug != Some(Bug::SegmentNotNamed) {
                        directory.sync();
                    }
                }
                let salt = match self.bug {
                    Some(Bug::SaltKnown) => forgery::GUESS,
                    _ => apart.next().max(1),
                };
                Some(Done::Prepared { segment, salt: ok.then_some(salt) })
            }
            What::Other(Task::Create { snapshot }) => {
                self.counts.add("failed task", u64::from(failing));
                if !failing || random.coin() {
                    directory.make(Name::File(File::Snapshot(snapshot)), Vec::new());
                }
                Some(Done::Created { snapshot, buffers: (!failing).then(Vec::new) })
            }
            What::Other(Task::Sync { snapshot }) => {
                self.counts.add("failed task", u64::from(failing));
                let inode = directory.file(File::Snapshot(snapshot));
                if failing {
                    // A failed sync loses the writes and does not report that again.
                    inode.unsynced.clear();
                } else if self.bug != Some(Bug::SnapshotNotSynced) {
                    inode.sync();
                    directory.sync();
                }
                Some(Done::Synced { snapshot, ok: !failing })
            }
            What::Other(Task::Publish { text }) => {
                if !failing || random.coin() {
                    directory.manifests.push(text.clone().into_bytes());
                    directory.make(Name::Manifest, text.into_bytes());
                }
                self.counts.add("failed publications", u64::from(failing));
                if !failing && self.bug != Some(Bug::ManifestNotSynced) {
                    directory.sync();
                }
                Some(Done::Published { ok: !failing })
            }
            What::Other(Task::Remove { file }) => {
                directory.change(Change::Unlink(Name::File(file)));
                None
            }
            What::Other(Task::Measure { file }) => {
                let bytes = directory.inode(Name::File(file)).map(|inode| inode.size() as u64);
                Some(Done::Measured { file, bytes })
            }
            What::Other(Task::Read { file, offset, bytes, mut buffer }) => {
                let mut files = Files { directory };
                files.read(file, offset, bytes, &mut buffer).unwrap_or_else(|never| match never {});
                Some(Done::Read { file, offset, buffer })
            }
            What::Other(Task::Write { .. } | Task::SyncRecovered { .. }) => {
                unreachable!("these tasks are handled before")
            }
        }
    }

    /// Ends the process with its tasks in flight.
    pub fn crash(&mut self, how: Crash, random: &mut Random) {
        self.early.clear();
        let mut publications = vec![0; self.directories.len()];
        for job in std::mem::take(&mut self.jobs) {
            self.interrupt(job, &mut publications, random);
        }
        if how == Crash::Power {
            for directory in &mut self.directories {
                for what in std::mem::take(&mut directory.changes) {
                    if random.coin() {
                        change(&mut directory.durable, &what);
                    }
                }
                directory.seen = directory.durable.clone();
                for inode in &mut directory.inodes {
                    for (at, bytes) in std::mem::take(&mut inode.unsynced) {
                        for (at, sector) in some_sectors(at, &bytes, random) {
                            put(&mut inode.durable, at, sector);
                        }
                    }
                }
            }
        }
        self.directories.iter_mut().for_each(Directory::forget);
    }

    /// Does a part of a task, without making it durable.
    fn interrupt(&mut self, job: Job, publications: &mut [u32], random: &mut Random) {
        let room = self.capacity.saturating_sub(self.used());
        let directory = &mut self.directories[job.slice];
        match job.what {
            What::Write { file, offset, bytes, .. } => {
                let sectors = some_sectors(offset, &bytes, random);
                let all = bytes.len().div_ceil(SECTOR);
                if matches!(file, File::Segment(_))
                    && offset > 0
                    && (1..all).contains(&sectors.len())
                {
                    self.counts.add("torn writes", 1);
                }
                let sectors = sectors.into_iter().map(|(at, sector)| (at, sector.to_vec()));
                directory.file(file).unsynced.extend(sectors);
            }
            What::Other(Task::Prepare { segment, bytes, from }) => {
                let name = Name::File(File::Segment(segment));
                match from {
                    Some(from) if random.coin() => {
                        directory.change(Change::Rename(Name::File(File::Segment(from)), name));
                    }
                    None if bytes <= room && random.coin() => {
                        directory.make(Name::New, vec![0; bytes as usize]);
                        if random.coin() {
                            directory.change(Change::Rename(Name::New, name));
                        }
                    }
                    _ => {}
                }
            }
            What::Other(Task::Create { snapshot }) if random.coin() => {
                directory.make(Name::File(File::Snapshot(snapshot)), Vec::new());
            }
            What::Other(Task::Publish { text }) => {
                // Manifests are published one at a time, each after the one before is durable.
                let begun = &mut publications[job.slice];
                if *begun == 0 && random.coin() {
                    directory.manifests.push(text.clone().into_bytes());
                    directory.make(Name::Manifest, text.into_bytes());
                    if random.coin() && self.bug != Some(Bug::ManifestNotSynced) {
                        directory.sync();
                        return;
                    }
                }
                *begun += 1;
            }
            What::Other(Task::Remove { file }) if random.coin() => {
                directory.change(Change::Unlink(Name::File(file)));
            }
            What::Other(Task::SyncRecovered { segment, manifest }) if random.coin() => {
                if self.settle(job.slice, segment, &manifest).is_ok() {
                    // Only some of the files are removed.
                    let directory = &mut self.directories[job.slice];
                    while matches!(directory.changes.last(), Some(Change::Unlink(_)))
                        && random.coin()
                    {
                        directory.changes.pop();
                    }
                    directory.see_again();
                }
            }
            What::Other(_) => {}
        }
    }
}

/// The files that the manifest does not name; `Err` if one of them cannot be left by a crash.
pub fn unnamed_files<'a>(
    manifest: &manifest::SliceManifest,
    names: impl Iterator<Item = &'a Name>,
) -> Result<Vec<Name>, String> {
    let mut unnamed = Vec::new();
    for &name in names {
        let is_stray = match name {
            Name::Manifest => false,
            Name::New => true,
            Name::File(file) => {
                !manifest.names(file).map_err(|fault| format!("refused: {fault}"))?
            }
        };
        unnamed.extend(is_stray.then_some(name));
    }
    Ok(unnamed)
}

/// The kind field of a frame.
fn kind_of(frame: &[u8]) -> u32 {
    u32::from_le_bytes(frame[8..12].try_into().expect("four bytes"))
}

fn u64_at(frame: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"))
}

/// The sectors of an interrupted write that reached the disk: none, all, the first, the last, or
/// any.
pub fn some_sectors<'a>(at: usize, bytes: &'a [u8], random: &mut Random) -> Vec<(usize, &'a [u8])> {
    let sectors =
        bytes.chunks(SECTOR).enumerate().map(|(n, sector)| (n, (at + n * SECTOR, sector)));
    let (how, edge) =
        (random.below(5), random.below(bytes.len().div_ceil(SECTOR) as u64 + 1) as usize);
    sectors
        .filter(|(n, _)| match how {
            0 => false,
            1 => true,
            2 => *n < edge,
            3 => *n >= edge,
            _ => random.coin(),
        })
        .map(|(_, sector)| sector)
        .collect()
}

/// The files of one slice, as recovery reads them.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    directory: &'a Directory,
}

impl<'a> Files<'a> {
    /// The whole file, as readers see it.
    pub fn bytes(&self, name: Name) -> Option<Cow<'a, [u8]>> {
        Some(self.directory.inodes[*self.directory.seen.get(&name)?].seen())
    }
}

impl Source for Files<'_> {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        let inode = self.directory.seen.get(&Name::File(file));
        Ok(inode.map(|&inode| self.directory.inodes[inode].size() as u64))
    }

    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Infallible> {
        let seen = self.bytes(Name::File(file)).expect("only existing files are read");
        into.clear();
        let offset = (offset as usize).min(seen.len());
        into.extend_from_slice(&seen[offset..(offset + bytes).min(seen.len())]);
        Ok(())
    }
}
