//! A disk that is memory: does at once whatever a store or a scan asks, and is what recovery reads.

use super::population::{NOW, Population};
use purser::journal::frame::{ALIGN, Block, Kind};
use purser::journal::segment::Header;
use purser::journal::{File, Place, manifest};
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::{Recovery, Report};
use purser::slice::snapshot::{Progress, Scan, Traffic};
use purser::slice::source::{self, Source};
use purser::slice::store::{Found, Settings, Store, Turn};
use purser::slice::{Lsn, ReleaseSink, Slice, Ticket};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;

/// Where everything is; its file is not looked at.
pub const PLACE: Place = Place { generation: 1, slice: 0, file: 0 };

/// Files, and the manifest that names them.
#[derive(Default)]
pub struct MemoryDisk {
    files: HashMap<File, Vec<u8>>,
    manifest: manifest::Slice,
}

/// Nobody waits for an answer here.
struct Nobody;

impl ReleaseSink for Nobody {
    fn release(&mut self, _: Ticket) {
        unreachable!("no ticket was handed out");
    }
}

impl MemoryDisk {
    /// The log of a population's whole history.
    pub fn log(population: Population) -> Self {
        let mut disk = Self::default();
        let mut slice = Slice::new(usize::MAX);
        let settings = Settings { place: PLACE, snapshot_after_bytes: u64::MAX, segments: Segments::DISK };
        let mut store = Store::new(settings, Found::default());
        for n in 0..population.history() {
            slice.apply(NOW, &population.entry(n).as_entry(), &mut store);
            if store.is_held() {
                disk.settle(&mut store, &mut slice);
            }
        }
        disk.settle(&mut store, &mut slice);
        disk
    }

    /// Does what the store asks until all is durable.
    fn settle(&mut self, store: &mut Store, slice: &mut Slice) {
        let mut asked = VecDeque::new();
        loop {
            let turn = Turn { now_ms: 0, traffic: Traffic::NoReads, is_log_awaited: true };
            store.advance(turn, slice.book(), &mut |task| asked.push_back(task));
            let Some(task) = asked.pop_front() else { break };
            let Some(done) = self.work(task) else { continue };
            if let Some(lsn) = store.done(0, done, &mut |task| asked.push_back(task)) {
                slice.durable(lsn, &mut Nobody);
            }
        }
        assert!(store.is_settled(), "a disk that does everything at once leaves nothing to wait for");
    }

    /// A snapshot of `slice`, of which nothing is in the log, and a log that begins behind it.
    pub fn snapshot(slice: &Slice) -> Self {
        let mut disk = Self::default();
        let scan = scan(slice, |task| disk.work(task));
        let mut header = Block::with_room(ALIGN);
        Header { capacity: ALIGN as u64, before: None }.write(header.payload());
        header.seal(Kind::Segment, Place { file: 1, ..PLACE }, 0);
        disk.files.insert(File::Segment(1), header.bytes().to_vec());
        disk.manifest = manifest::Slice { snapshot: 1, snapshot_end: scan.last_frame(), first: 1, last: 1 };
        disk
    }

    fn work(&mut self, task: Task) -> Option<Done> {
        Some(match task {
            Task::Write { file, offset, block } => {
                let (bytes, end) = (self.files.entry(file).or_default(), offset as usize + block.bytes().len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset as usize..end].copy_from_slice(block.bytes());
                Done::Written { file, block, ok: true }
            }
            Task::Prepare { segment, bytes, .. } => {
                self.files.insert(File::Segment(segment), vec![0; bytes as usize]);
                Done::Prepared { segment, ok: true }
            }
            Task::Create { snapshot } => Done::Created { snapshot, buffers: Some(Vec::new()) },
            Task::Sync { snapshot } => Done::Synced { snapshot, ok: true },
            Task::Publish { text } => {
                self.manifest = manifest::Slice::read(text.as_bytes(), PLACE).expect("the store writes manifests");
                Done::Published
            }
            Task::Remove { file } => {
                self.files.remove(&file);
                return None;
            }
            Task::Measure { .. } | Task::Read { .. } | Task::Settle { .. } => unreachable!("a store reads nothing"),
        })
    }

    /// Loads everything into an empty slice.
    pub fn recover(&self) -> (Slice, Report) {
        let mut files = self;
        let mut slice = Slice::new(usize::MAX);
        let mut recovery = Recovery::new(PLACE, 1, self.manifest);
        while !source::step(&mut recovery, &mut slice, &mut files).unwrap_or_else(|error| panic!("{error:?}")) {}
        let report = *recovery.report();
        slice.recovered(Lsn(recovery.finish().tail.position));
        (slice, report)
    }
}

/// A whole scan; `work` does what it asks.
pub fn scan(slice: &Slice, mut work: impl FnMut(Task) -> Option<Done>) -> Scan {
    let mut asked = VecDeque::new();
    let mut scan = Scan::begin(Place { file: 1, ..PLACE }, 1, &mut |task| asked.push_back(task));
    while scan.progress() == Progress::Going {
        step(&mut scan, slice, &mut asked, &mut work);
    }
    assert_eq!(scan.progress(), Progress::Ready);
    scan
}

/// One step of a scan of what is all durable, and what it asks.
pub fn step(scan: &mut Scan, slice: &Slice, asked: &mut VecDeque<Task>, work: &mut impl FnMut(Task) -> Option<Done>) {
    scan.advance(slice.book(), Traffic::NoReads, (Lsn(0), Lsn(0)), &mut |task| asked.push_back(task));
    while let Some(task) = asked.pop_front() {
        match work(task) {
            Some(Done::Created { buffers, .. }) => scan.created(buffers),
            Some(Done::Written { block, ok, .. }) => scan.written(block, ok),
            Some(Done::Synced { ok, .. }) => scan.synced(ok),
            other => unreachable!("a scan asks for nothing of this kind: {other:?}"),
        }
    }
}

impl Source for &MemoryDisk {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        Ok(self.files.get(&file).map(|bytes| bytes.len() as u64))
    }

    fn read(&mut self, file: File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> Result<(), Infallible> {
        let ahead = self.files.get(&file).and_then(|all| all.get(offset as usize..)).unwrap_or_default();
        into.clear();
        into.extend_from_slice(&ahead[..bytes.min(ahead.len())]);
        Ok(())
    }
}
