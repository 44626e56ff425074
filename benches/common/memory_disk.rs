//! An in-memory disk with the log or the snapshot of a population, and recovery from it.

use super::population::{NOW, Population};
use super::ram_disk::RamDisk;
use purser::journal::frame::{ALIGN, FrameBuffer, Kind, NO_SALT};
use purser::journal::segment::Header;
use purser::journal::{File, Place, manifest};
use purser::ledger::secret::Secret;
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::{Recovery, Report};
use purser::slice::snapshot::{ReadLoad, Scan};
use purser::slice::source;
use purser::slice::store::{Recovered, Settings, Store, TurnInput};
use purser::slice::{Lsn, Slice, StepOutcome};
use std::collections::VecDeque;

/// Place of all frames; the file number is not checked.
pub const PLACE: Place = Place { generation: 1, slice: 0, file: 0 };

/// In-memory disk of one slice.
pub struct MemoryDisk(RamDisk);

impl MemoryDisk {
    /// Creates a disk with the log of a population's whole history.
    pub fn log(population: Population) -> Self {
        let mut disk = Self(RamDisk::new(PLACE));
        let mut slice = Slice::new(usize::MAX, Secret::default());
        let settings =
            Settings { place: PLACE, snapshot_after_bytes: u64::MAX, segments: Segments::DISK };
        let mut store = Store::new(settings, Recovered::default());
        for n in 0..population.history() {
            slice.apply(NOW, &population.entry(n).as_entry(), &mut store);
            if store.is_throttled() {
                disk.settle(&mut store, &mut slice);
            }
        }
        disk.settle(&mut store, &mut slice);
        disk
    }

    /// Executes the store's disk tasks until everything is durable.
    fn settle(&mut self, store: &mut Store, slice: &mut Slice) {
        let mut tasks = VecDeque::new();
        loop {
            let turn = TurnInput { now_ms: 0, read_load: ReadLoad::NoReads, is_log_awaited: true };
            store.advance(turn, slice, &mut |task| tasks.push_back(task));
            let Some(task) = tasks.pop_front() else { break };
            let Some(done) = self.0.work(task) else { continue };
            if let Some(lsn) = store.done(0, done, &mut |task| tasks.push_back(task)) {
                slice.durable(lsn);
            }
        }
        assert!(
            store.is_durable(),
            "a disk that completes every task immediately leaves the store durable"
        );
    }

    /// Creates a disk with a snapshot of `slice` and an empty log that starts after it.
    pub fn snapshot(slice: &mut Slice) -> Self {
        let mut disk = RamDisk::new(PLACE);
        let scan = scan(slice, |task| disk.work(task));
        let mut header = FrameBuffer::with_capacity(ALIGN);
        Header { capacity: ALIGN as u64, before: None, salt: 1 }.write(header.payload());
        header.seal(Kind::Segment, Place { file: 1, ..PLACE }, NO_SALT, 0);
        disk.files.insert(File::Segment(1), header.bytes().to_vec());
        disk.manifest = manifest::SliceManifest {
            snapshot: 1,
            snapshot_end: scan.last_frame(),
            first: 1,
            last: 1,
        };
        Self(disk)
    }

    /// Recovers an empty slice from this disk.
    pub fn recover(&self) -> (Slice, Report) {
        let mut files = &self.0;
        let mut slice = Slice::new(usize::MAX, Secret::default());
        let mut recovery = Recovery::new(PLACE, 1, self.0.manifest);
        while !source::step(&mut recovery, &mut slice, &mut files)
            .unwrap_or_else(|error| panic!("{error:?}"))
        {}
        let report = *recovery.report();
        slice.recovered(Lsn(recovery.finish().tail.position));
        (slice, report)
    }
}

/// Runs a whole snapshot scan; `work` executes its disk tasks.
pub fn scan(slice: &mut Slice, mut work: impl FnMut(Task) -> Option<Done>) -> Scan {
    let mut tasks = VecDeque::new();
    let mut scan = Scan::begin(Place { file: 1, ..PLACE }, 1, &mut |task| tasks.push_back(task));
    while scan.progress().expect("writes to memory do not fail") != StepOutcome::Done {
        step(&mut scan, slice, &mut tasks, &mut work);
    }
    scan
}

/// Runs one step of a scan whose users are all durable, and executes the tasks of that step.
pub fn step(
    scan: &mut Scan,
    slice: &mut Slice,
    tasks: &mut VecDeque<Task>,
    work: &mut impl FnMut(Task) -> Option<Done>,
) {
    scan.advance(slice, ReadLoad::NoReads, (Lsn(0), Lsn(0)), &mut |task| {
        tasks.push_back(task);
    });
    while let Some(task) = tasks.pop_front() {
        match work(task) {
            Some(Done::Created { buffers, .. }) => scan.created(buffers),
            Some(Done::Written { block, ok, .. }) => scan.written(block, ok),
            Some(Done::Synced { ok, .. }) => scan.synced(ok),
            other => unreachable!("a scan starts no such task: {other:?}"),
        }
    }
}
