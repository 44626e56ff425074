//! Store of a slice: its log, its snapshots, and the manifest that names the files that count.
//!
//! A state machine without a disk: [`Store::advance`] asks for tasks that are due, [`Store::done`]
//! takes their completions. The engine and the simulation drive the same machine.
//!
//! A snapshot begins when the log has grown beyond what a recovery should read. It is paced to
//! finish long before the log has grown as much again. Once the manifest names it, the segments and
//! the snapshot that it replaces are recycled or removed.
//!
//! A publication for which the disk has no space is asked for again, with the manifest as it is
//! then, until it succeeds. While the log waits for that, or for the space of a write, the store is
//! stalled ([`Store::is_stalled`]): new entries are refused, and what was appended becomes durable
//! later.

use super::disk::{Done, Task};
use super::log::{Log, LogWrite, Segments, Tail};
use super::snapshot::{ReadLoad, Scan, SnapshotFailed};
use super::{LogSink, Lsn, Slice, StepOutcome};
use crate::journal::{File, Place, manifest};
use crate::ledger::entry::EntryRef;
use std::collections::VecDeque;

/// Lowest pace of a snapshot, in bytes per millisecond: a small share of a core and of a disk.
const MIN_PACE_BYTES: i64 = 16 << 10;
/// Additional bytes of snapshot for each byte of log that is written during it, so that the
/// snapshot finishes first.
const PACE_PER_LOG_BYTE: i64 = 8;
/// Most allowance that is saved up, in bytes: it makes up for late turns.
const MAX_ALLOWANCE_BYTES: i64 = 1 << 20;
/// Delay before a failed snapshot is begun again.
const RETRY_MS: u64 = 10_000;
/// Delay before a publication that failed is asked for again.
const PUBLISH_RETRY_MS: u64 = 1_000;
/// Limit of log growth beyond what recovery found, as a multiple of the bytes that begin a
/// snapshot. Above it, new entries are refused.
const MAX_LOG_GROWTH: u64 = 8;
/// Most old segments that are kept for recycling.
const MAX_RECYCLED: usize = 2;

/// Settings of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Generation and slice; the file is ignored.
    pub place: Place,
    /// Bytes of log that begin a snapshot, unless the last snapshot was larger: then its size
    /// counts.
    pub snapshot_after_bytes: u64,
    /// Sizes of the log's segments.
    pub segments: Segments,
}

/// What a store must know of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnInput {
    /// The time; it never decreases.
    pub now_ms: u64,
    /// Whether reads wait for the end of the turn.
    pub read_load: ReadLoad,
    /// Whether somebody waits for the log, or no more records will come soon. If false, a write
    /// begins only when its block is full, so that the entries of one body, whose answer waits for
    /// the last of them, go out together.
    pub is_log_awaited: bool,
}

/// Result of recovery, from which a store continues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The manifest that recovery read.
    pub manifest: manifest::SliceManifest,
    /// The segments that it names, as pairs of number and size.
    pub segments: Vec<(u64, u64)>,
    /// End of the log.
    pub tail: Tail,
    /// Size of the current snapshot in bytes.
    pub snapshot_bytes: u64,
    /// Bytes of log that were read after it.
    pub log_bytes: u64,
}

/// The store of one slice.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    log: Log,
    manifest: manifest::SliceManifest,
    segments: VecDeque<(u64, u64)>,
    recycled: Vec<u64>,
    /// The old segment that becomes the next one, until that is prepared: a failed attempt may have
    /// renamed it.
    recycling: Option<u64>,
    scan: Option<Scan>,
    scans: u64,
    publishing: VecDeque<Publication>,
    /// Publications that failed. Every later manifest names what they were to name.
    unpublished: Vec<Publication>,
    /// When they are asked for again.
    republish_ms: u64,
    /// The snapshot that the one being published replaces; 0 if there is none.
    replaced: u64,
    snapshot_bytes: u64,
    /// Bytes of log that recovery found.
    found_bytes: u64,
    /// Bytes of log, of those found and those written since, that the current snapshot covers
    /// (`covered_bytes`) and that the running scan will cover.
    covered_bytes: u64,
    scan_covers_bytes: u64,
    /// Bytes of the snapshot that may be written now. Negative if a step exceeded it.
    allowance: i64,
    paced_ms: u64,
    paced_log_bytes: u64,
    retry_ms: u64,
    draining: bool,
    counts: Counts,
}

/// Counts of what a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completed writes of the log.
    pub writes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Snapshots completed.
    pub snapshots: u64,
    /// Snapshots given up.
    pub failed_snapshots: u64,
    /// Segments that could not be prepared.
    pub failed_segments: u64,
    /// Writes of the log for which there was no space.
    pub failed_writes: u64,
    /// Publications for which there was no space.
    pub failed_publications: u64,
}

impl Counts {
    /// Adds the counts of another store.
    pub fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.segments += other.segments;
        self.snapshots += other.snapshots;
        self.failed_snapshots += other.failed_snapshots;
        self.failed_segments += other.failed_segments;
        self.failed_writes += other.failed_writes;
        self.failed_publications += other.failed_publications;
    }
}

/// What a publication of the manifest makes current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publication {
    Segment,
    Snapshot,
    /// Nothing new: a repetition of those that failed.
    Again,
}

impl Store {
    /// A store that continues where recovery ended.
    pub fn new(settings: Settings, found: Recovered) -> Self {
        Self {
            settings,
            log: Log::new(settings.place, settings.segments, found.tail),
            manifest: found.manifest,
            segments: found.segments.into(),
            recycled: Vec::new(),
            recycling: None,
            scan: None,
            scans: found.manifest.snapshot,
            publishing: VecDeque::new(),
            unpublished: Vec::new(),
            republish_ms: 0,
            replaced: 0,
            snapshot_bytes: found.snapshot_bytes,
            found_bytes: found.log_bytes,
            covered_bytes: 0,
            scan_covers_bytes: 0,
            allowance: 0,
            paced_ms: 0,
            paced_log_bytes: 0,
            retry_ms: 0,
            draining: false,
            counts: Counts::default(),
        }
    }

    /// Asks for the tasks that are due. Call it once a turn, and after a completion.
    pub fn advance(&mut self, turn: TurnInput, slice: &mut Slice, ask: &mut impl FnMut(Task)) {
        let TurnInput { now_ms, read_load, is_log_awaited } = turn;
        let (recycled, largest) = (&mut self.recycled, self.settings.segments.largest_bytes);
        let recycling = &mut self.recycling;
        let reuse = |bytes| {
            if recycling.is_none() && bytes == largest {
                *recycling = recycled.pop();
            }
            *recycling
        };
        self.log.advance(now_ms, is_log_awaited || self.draining, reuse, ask);
        if !self.unpublished.is_empty() && self.publishing.is_empty() && now_ms >= self.republish_ms
        {
            self.publish(Publication::Again, ask);
        }
        if self.draining {
            self.scan.iter_mut().for_each(|scan| scan.give_up(slice));
            return;
        }
        self.begin_scan(now_ms, ask);
        self.grow_allowance(now_ms);
        let Some(scan) = &mut self.scan else { return };
        let before = scan.bytes();
        if self.allowance > 0 || !scan.is_ready_for_step() {
            scan.advance(slice, read_load, (self.log.position(), self.log.durable()), ask);
        }
        self.allowance -= (scan.bytes() - before).cast_signed();
        match scan.progress() {
            Ok(StepOutcome::Going | StepOutcome::Waiting) => {}
            Ok(StepOutcome::Done) => self.publish_snapshot(ask),
            Err(SnapshotFailed) => {
                ask(Task::Remove { file: File::Snapshot(scan.number()) });
                self.counts.failed_snapshots += 1;
                self.retry_ms = now_ms + RETRY_MS;
                self.scan = None;
            }
        }
    }

    fn begin_scan(&mut self, now_ms: u64, ask: &mut impl FnMut(Task)) {
        let is_due = self.uncovered_bytes() > self.snapshot_after_bytes();
        if self.scan.is_none() && is_due && now_ms >= self.retry_ms && self.log.segment() > 0 {
            self.scans += 1;
            let place = Place { file: self.scans, ..self.settings.place };
            self.scan = Some(Scan::begin(place, self.log.segment(), ask));
            self.scan_covers_bytes = self.log_bytes();
        }
    }

    fn snapshot_after_bytes(&self) -> u64 {
        self.settings.snapshot_after_bytes.max(self.snapshot_bytes)
    }

    /// Bytes of log in total: those that recovery found and those written since.
    fn log_bytes(&self) -> u64 {
        self.found_bytes + self.log.written_bytes()
    }

    /// Bytes of log that a recovery would read now.
    pub fn uncovered_bytes(&self) -> u64 {
        self.log_bytes() - self.covered_bytes
    }

    fn grow_allowance(&mut self, now_ms: u64) {
        let passed_ms = now_ms - std::mem::replace(&mut self.paced_ms, now_ms);
        let written = self.log.written_bytes();
        let grown = written - std::mem::replace(&mut self.paced_log_bytes, written);
        let more = |amount: u64, times: i64| {
            i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(times)
        };
        let more = more(passed_ms, MIN_PACE_BYTES).saturating_add(more(grown, PACE_PER_LOG_BYTE));
        self.allowance = self.allowance.saturating_add(more).min(MAX_ALLOWANCE_BYTES);
    }

    fn publish_snapshot(&mut self, ask: &mut impl FnMut(Task)) {
        let scan = self.scan.as_ref().expect("only a finished scan is published");
        let mut publications = self.publishing.iter().chain(&self.unpublished);
        if publications.any(|&what| what == Publication::Snapshot) {
            return;
        }
        assert!(
            scan.last_frame() > 0 && scan.segment() >= self.manifest.first,
            "a published snapshot is complete and not older than the manifest"
        );
        self.replaced = std::mem::replace(&mut self.manifest.snapshot, scan.number());
        self.manifest.snapshot_end = scan.last_frame();
        self.manifest.first = scan.segment();
        self.publish(Publication::Snapshot, ask);
    }

    fn publish(&mut self, what: Publication, ask: &mut impl FnMut(Task)) {
        self.publishing.push_back(what);
        ask(Task::Publish { text: self.manifest.write(self.settings.place) });
    }

    /// Takes the completion of a task. Returns the position up to which the log is durable, if that
    /// is new.
    pub fn done(&mut self, now_ms: u64, done: Done, ask: &mut impl FnMut(Task)) -> Option<Lsn> {
        match done {
            Done::Written { file: File::Segment(segment), block, ok: false } => {
                self.counts.failed_writes += 1;
                self.log.refused(now_ms, segment, block);
            }
            Done::Written { file: File::Segment(segment), block, ok: true } => {
                match self.log.written(segment, block) {
                    LogWrite::Durable(lsn) => {
                        assert!(
                            lsn == self.log.durable() && lsn <= self.log.position(),
                            "the durable position is not past the last record"
                        );
                        assert!(
                            self.manifest.last == segment,
                            "writes go to the segment that is named last"
                        );
                        self.counts.writes += 1;
                        return Some(lsn);
                    }
                    LogWrite::Header(segment) => {
                        self.manifest.last = segment;
                        self.manifest.first =
                            if self.manifest.first == 0 { segment } else { self.manifest.first };
                        self.publish(Publication::Segment, ask);
                    }
                }
            }
            Done::Written { file: File::Snapshot(_), block, ok } => self.scan().written(block, ok),
            Done::Prepared { salt, .. } => {
                self.counts.failed_segments += u64::from(salt.is_none());
                self.recycling = self.recycling.filter(|_| salt.is_none());
                self.log.prepared(salt, now_ms);
            }
            Done::Created { buffers, .. } => self.scan().created(buffers),
            Done::Synced { ok, .. } => self.scan().synced(ok),
            Done::Published { ok: true } => self.published(ask),
            Done::Published { ok: false } => self.publication_failed(now_ms),
            Done::Measured { .. } | Done::Read { .. } | Done::SyncedRecovered => {
                unreachable!("a store starts only after recovery")
            }
        }
        None
    }

    fn scan(&mut self) -> &mut Scan {
        self.scan.as_mut().expect("a scan lives until its tasks are done")
    }

    fn publication_failed(&mut self, now_ms: u64) {
        let failed =
            self.publishing.pop_front().expect("every completed publication was asked for");
        self.unpublished.extend(Some(failed).filter(|&what| what != Publication::Again));
        self.republish_ms = now_ms + PUBLISH_RETRY_MS;
        self.counts.failed_publications += 1;
    }

    /// The manifest is on stable storage, with everything that was to be published until it was
    /// asked for.
    fn published(&mut self, ask: &mut impl FnMut(Task)) {
        let last = self.publishing.pop_front().expect("every completed publication was asked for");
        let mut done = std::mem::take(&mut self.unpublished);
        done.push(last);
        done.into_iter().for_each(|what| self.take_effect(what, ask));
    }

    fn take_effect(&mut self, what: Publication, ask: &mut impl FnMut(Task)) {
        match what {
            Publication::Again => {}
            Publication::Segment => {
                self.counts.segments += 1;
                self.segments.push_back(self.log.switch_segment());
            }
            Publication::Snapshot => {
                let scan = self.scan.take().expect("a scan lives until it is published");
                self.counts.snapshots += 1;
                self.snapshot_bytes = scan.bytes();
                self.covered_bytes = self.scan_covers_bytes;
                if self.replaced > 0 {
                    ask(Task::Remove { file: File::Snapshot(self.replaced) });
                }
                while self.segments.front().is_some_and(|&(segment, _)| segment < scan.segment()) {
                    let (segment, bytes) =
                        self.segments.pop_front().expect("the front segment was just seen");
                    if bytes == self.settings.segments.largest_bytes
                        && self.recycled.len() < MAX_RECYCLED
                    {
                        self.recycled.push(segment);
                    } else {
                        ask(Task::Remove { file: File::Segment(segment) });
                    }
                }
            }
        }
    }

    /// Begins shutdown: no snapshot is continued or begun any more, so that the disk comes to rest.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Latest time of the next [`Self::advance`] in milliseconds, if a snapshot waits for its pace
    /// and nothing else will happen.
    pub fn wakes_at_ms(&self) -> Option<u64> {
        let waits = !self.draining && self.scan.as_ref().is_some_and(Scan::is_ready_for_step);
        let owed_ms = self.allowance.min(1).abs_diff(1).div_ceil(MIN_PACE_BYTES as u64);
        waits.then_some(self.paced_ms + owed_ms)
    }

    /// Whether entries must wait for the disk. While the store is stalled they do not wait:
    /// [`LogSink::has_space`] refuses them.
    pub fn is_throttled(&self) -> bool {
        !self.is_stalled() && self.log.is_throttled()
    }

    /// Whether what was appended cannot become durable before the disk has space again.
    pub fn is_stalled(&self) -> bool {
        self.log.is_stalled() || self.unpublished.contains(&Publication::Segment)
    }

    /// Whether every appended record is durable.
    pub fn is_durable(&self) -> bool {
        self.log.is_durable()
    }

    /// Counts since the start.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl LogSink for Store {
    #[inline]
    fn has_space(&self) -> bool {
        let found = if self.covered_bytes == 0 { self.found_bytes } else { 0 };
        let most = self.snapshot_after_bytes().saturating_mul(MAX_LOG_GROWTH).saturating_add(found);
        !self.is_stalled() && self.log.has_space() && self.uncovered_bytes() <= most
    }

    #[inline]
    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
        self.log.append(entry, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::FrameBuffer;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::{Action, Movement, Rejection, Verdict};
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;
    use crate::slice::Slice;
    use crate::slice::snapshot::{BUFFER_BYTES, BUFFERS};

    const AFTER_BYTES: u64 = 64 << 10;

    /// A slice and its store, on a disk that is at once done with each task.
    struct Stored {
        slice: Slice,
        store: Store,
        now_ms: u64,
        entries: u64,
        has_snapshots: bool,
        /// Whether an old segment cannot be recycled at the first attempt.
        fails_to_recycle: bool,
        /// What segments were to be made from, in order of the attempts.
        prepared: Vec<(u64, Option<u64>)>,
    }

    impl Stored {
        fn new(largest_bytes: u64) -> Self {
            let settings = Settings {
                place: Place { generation: 1, slice: 0, file: 0 },
                snapshot_after_bytes: AFTER_BYTES,
                segments: Segments { first_bytes: 64 << 10, largest_bytes },
            };
            let (slice, store) = (
                Slice::new(usize::MAX, crate::ledger::secret::Secret::default()),
                Store::new(settings, Recovered::default()),
            );
            Self {
                slice,
                store,
                now_ms: 1_000_000,
                entries: 0,
                has_snapshots: false,
                fails_to_recycle: false,
                prepared: Vec::new(),
            }
        }

        fn apply(&mut self) -> Verdict {
            let movement = Movement {
                currency: Currency::parse(b"COIN").expect("a currency"),
                kind: "topup",
                direction: Direction::Credit,
                amount: Amount::new(5).expect("an amount"),
            };
            self.entries += 1;
            let entry = EntryRef {
                id: EntryId(u128::from(self.entries)),
                user: UserId::Number(self.entries % 7),
                at: Millis(self.now_ms),
                late_accepted: false,
                action: Action::Post(movement),
            };
            self.slice.apply(Millis(self.now_ms), &entry, &mut self.store).1
        }

        /// A millisecond passes, and everything that is asked for is done.
        fn turn(&mut self) {
            self.now_ms += 1;
            let mut tasks = VecDeque::new();
            let turn = TurnInput {
                now_ms: self.now_ms,
                read_load: ReadLoad::NoReads,
                is_log_awaited: true,
            };
            self.store.advance(turn, &mut self.slice, &mut |task| tasks.push_back(task));
            while let Some(task) = tasks.pop_front() {
                let buffers = || (0..BUFFERS).map(|_| FrameBuffer::with_capacity(BUFFER_BYTES));
                let done = match task {
                    Task::Write { file, block, .. } => Done::Written { file, block, ok: true },
                    Task::Prepare { segment, from, .. } => {
                        let is_first = self.prepared.iter().all(|&(before, _)| before != segment);
                        self.prepared.push((segment, from));
                        let fails = self.fails_to_recycle && is_first && from.is_some();
                        Done::Prepared { segment, salt: (!fails).then_some(1) }
                    }
                    Task::Create { snapshot } => Done::Created {
                        snapshot,
                        buffers: self.has_snapshots.then(|| buffers().collect()),
                    },
                    Task::Sync { snapshot } => Done::Synced { snapshot, ok: true },
                    Task::Publish { .. } => Done::Published { ok: true },
                    Task::Remove { .. } => continue,
                    other => panic!("a store asks for no such task: {other:?}"),
                };
                let ask = &mut |task| tasks.push_back(task);
                if let Some(lsn) = self.store.done(self.now_ms, done, ask) {
                    self.slice.durable(lsn);
                }
            }
        }
    }

    #[test]
    fn entries_are_refused_while_snapshots_fail_and_taken_again_after_one() {
        let mut stored = Stored::new(256 << 10);
        let refused = Rejection::InsufficientStorage.into();
        let limit = AFTER_BYTES * MAX_LOG_GROWTH;
        let mut verdict = Verdict::Accepted;
        while verdict == Verdict::Accepted {
            assert!(stored.store.uncovered_bytes() < 2 * limit, "a log without a limit");
            verdict = stored.apply();
            stored.turn();
        }
        assert_eq!(verdict, refused);
        assert!(stored.store.uncovered_bytes() > limit, "refused below the limit");
        assert!(stored.store.counts().failed_snapshots > 0 && !stored.store.is_throttled());
        for _ in 0..2 * RETRY_MS {
            assert_eq!(stored.apply(), refused, "only a snapshot makes space");
            stored.turn();
        }
        let failed = stored.store.counts().failed_snapshots;
        assert!(failed > 1, "a failed snapshot is begun again");
        stored.has_snapshots = true;
        for _ in 0..2 * RETRY_MS {
            stored.turn();
        }
        let counts = stored.store.counts();
        assert_eq!((counts.snapshots, counts.failed_snapshots), (1, failed));
        assert!(stored.store.uncovered_bytes() < AFTER_BYTES);
        assert_eq!(stored.apply(), Verdict::Accepted);
    }

    /// The failed attempt may have renamed the old segment, so no other may take its place.
    #[test]
    fn a_segment_that_could_not_be_recycled_is_tried_again() {
        let mut stored = Stored::new(64 << 10);
        (stored.has_snapshots, stored.fails_to_recycle) = (true, true);
        for _ in 0..40 * super::super::log::RETRY_MS {
            // Some entries are refused while the next segment cannot be prepared.
            if !stored.store.is_throttled() {
                stored.apply();
            }
            stored.turn();
        }
        let retries: Vec<_> =
            stored.prepared.windows(2).filter(|pair| pair[0].0 == pair[1].0).collect();
        assert!(retries.len() > 10, "{:?}", stored.prepared);
        for pair in retries {
            assert_eq!(pair[0], pair[1], "{:?}", stored.prepared);
        }
    }
}
