//! Owner of one slice: its recovery, then its store.
//!
//! ```text
//!  Loading ── all is read ──▶ Syncing ── on stable storage ──▶ Stored
//!     └────────── drain ──────────┴──────────▶ Stopped
//!
//!  InMemory: a slice without a disk
//! ```
//!
//! Requests of other cores for entries of this slice queue here. So do replies that wait for its
//! log.

use super::answers::Position;
use super::limits::ENTRIES_PER_TURN;
use super::machine::Output;
use super::message::Request;
use crate::journal::Fault;
use crate::ledger::book::View;
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use crate::ledger::time::Millis;
use crate::slice::disk::{Done, Task};
use crate::slice::recovery::{Recovery, Report};
use crate::slice::snapshot::ReadLoad;
use crate::slice::store::{Counts, Recovered, Settings, Store, TurnInput};
use crate::slice::{Lsn, NoLog, Slice, StepOutcome, Waiter};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Interval of progress reports while loading, in milliseconds.
const LOADING_REPORT_MS: u64 = 100;

/// Outputs of a core, in order.
pub type Outputs = VecDeque<Output>;

/// What is needed to load a slice from disk and store it there.
#[derive(Debug)]
pub struct Stored {
    /// Settings of its store.
    pub settings: Settings,
    /// Its recovery, which has not read anything yet.
    pub recovery: Recovery,
}

/// Connections whose awaited log position has become durable, or cannot become so now, by id.
pub type Released = VecDeque<u64>;

/// One slice of this core, with its store and its queues.
#[derive(Debug)]
pub struct Owner {
    number: u32,
    /// Its index on the core.
    local_slice: usize,
    slice: Slice,
    persistence: Persistence,
    /// Connections that were accepted at its listeners.
    connections: usize,
    /// Entries that may still be applied in this turn.
    entries_left: usize,
    /// Whether entries were applied in this turn.
    has_applied: bool,
    /// Whether the log write of applied entries is put off to collect more: nobody waits for them,
    /// and the next turn may apply more.
    defers_write: bool,
    /// Requests of other cores whose entries wait to be applied.
    requests: VecDeque<Box<Request>>,
    /// Replies that wait for the log.
    replies: BinaryHeap<WaitingReply>,
}

/// The state of a slice's data on disk.
#[derive(Debug)]
enum Persistence {
    InMemory,
    Loading(Box<Loading>),
    Syncing(Box<Syncing>),
    Stored(Box<Store>),
    /// Drained before loading had finished.
    Stopped,
}

#[derive(Debug)]
struct Loading {
    settings: Settings,
    recovery: Recovery,
    outcome: StepOutcome,
    reported_ms: u64,
}

#[derive(Debug)]
struct Syncing {
    settings: Settings,
    found: Recovered,
    report: Report,
    expected_bytes: usize,
}

/// A reply that shows a log position which is not durable yet. Ordered by lowest position first,
/// for a max-heap.
#[derive(Debug)]
struct WaitingReply(Lsn, Box<Request>);

impl Ord for WaitingReply {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for WaitingReply {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for WaitingReply {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for WaitingReply {}

impl Owner {
    /// Creates the owner of `slice`, which is empty: slice `number`, at index `local_slice` on its
    /// core. With `stored`, its data is loaded in the first turns.
    pub fn new(number: u32, local_slice: usize, slice: Slice, stored: Option<Stored>) -> Self {
        let persistence = match stored {
            None => Persistence::InMemory,
            Some(Stored { settings, recovery }) => {
                assert!(settings.place.slice == number, "a slice is loaded from its own files");
                Persistence::Loading(Box::new(Loading {
                    settings,
                    recovery,
                    outcome: StepOutcome::Going,
                    reported_ms: 0,
                }))
            }
        };
        Self {
            number,
            local_slice,
            slice,
            persistence,
            connections: 0,
            entries_left: ENTRIES_PER_TURN,
            has_applied: false,
            defers_write: false,
            requests: VecDeque::new(),
            replies: BinaryHeap::new(),
        }
    }

    /// The slice's number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The slice, read-only.
    pub const fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Takes a measurement of the core's memory: see [`Slice::measured`].
    pub fn measured(&mut self, resident_bytes: usize, block_bytes: usize) {
        self.slice.measured(resident_bytes, block_bytes);
    }

    /// Counts a connection that was accepted at one of its listeners. Returns how many there were
    /// before.
    pub const fn open(&mut self) -> usize {
        self.connections += 1;
        self.connections - 1
    }

    /// Counts a closed connection.
    pub const fn close(&mut self) {
        assert!(self.connections > 0, "a connection is closed once");
        self.connections -= 1;
    }

    /// Begins a turn, in which at most `entries` may be applied.
    pub const fn begin_turn(&mut self, entries: usize) {
        self.entries_left = entries;
        self.has_applied = false;
    }

    // Loading.

    /// Whether loading is not finished.
    pub const fn is_loading(&self) -> bool {
        matches!(self.persistence, Persistence::Loading(_) | Persistence::Syncing(_))
    }

    /// Whether loading can take a step without waiting for the disk.
    pub const fn can_load(&self) -> bool {
        matches!(
            &self.persistence,
            Persistence::Loading(loading) if matches!(loading.outcome, StepOutcome::Going)
        )
    }

    /// Bytes of memory that the data being loaded will take, as far as is known.
    pub const fn expected_bytes(&self) -> usize {
        match &self.persistence {
            Persistence::Loading(loading) => loading.recovery.expected_bytes(),
            Persistence::Syncing(syncing) => syncing.expected_bytes,
            _ => 0,
        }
    }

    /// Takes a step of loading.
    pub fn load(&mut self, now_ms: u64, outputs: &mut Outputs) -> Result<(), Fault> {
        let Persistence::Loading(loading) = &mut self.persistence else { return Ok(()) };
        let slice = self.number;
        let mut ask = |task| outputs.push_back(Output::Task { slice, task });
        loading.outcome = loading.recovery.advance(&mut self.slice, &mut ask)?;
        if loading.outcome != StepOutcome::Done {
            if now_ms >= loading.reported_ms + LOADING_REPORT_MS {
                loading.reported_ms = now_ms;
                let report = *loading.recovery.report();
                outputs.push_back(Output::Loading { slice, report, is_over: false });
            }
            return Ok(());
        }
        let Persistence::Loading(loading) =
            std::mem::replace(&mut self.persistence, Persistence::Stopped)
        else {
            return Ok(());
        };
        let Loading { settings, recovery, .. } = *loading;
        let (report, expected_bytes, found) =
            (*recovery.report(), recovery.expected_bytes(), recovery.finish());
        ask(Task::SyncRecovered { segment: found.tail.segment, manifest: found.manifest });
        self.persistence =
            Persistence::Syncing(Box::new(Syncing { settings, found, report, expected_bytes }));
        Ok(())
    }

    /// Creates the store, once everything that was read is on stable storage. It continues the log
    /// where recovery ended.
    fn loaded(&mut self, outputs: &mut Outputs) {
        let Persistence::Syncing(syncing) =
            std::mem::replace(&mut self.persistence, Persistence::Stopped)
        else {
            return;
        };
        let Syncing { settings, found, report, .. } = *syncing;
        self.slice.recovered(Lsn(found.tail.position));
        self.persistence = Persistence::Stored(Box::new(Store::new(settings, found)));
        outputs.push_back(Output::Loading { slice: self.number, report, is_over: true });
    }

    // The disk.

    /// Handles a completed disk task. Returns whether that finished loading.
    pub fn task_done(
        &mut self,
        now_ms: u64,
        done: Done,
        released: &mut Released,
        outputs: &mut Outputs,
    ) -> bool {
        let slice = self.number;
        match &mut self.persistence {
            Persistence::Loading(loading) => {
                loading.recovery.done(done);
                loading.outcome = StepOutcome::Going;
            }
            Persistence::Syncing(_) if matches!(done, Done::SyncedRecovered) => {
                self.loaded(outputs);
                return true;
            }
            Persistence::Stored(store) => {
                let mut ask = |task| outputs.push_back(Output::Task { slice, task });
                if let Some(lsn) = store.done(now_ms, done, &mut ask) {
                    self.slice.durable(lsn);
                    while let Some(Waiter(connection)) = self.slice.next_released() {
                        released.push_back(connection);
                    }
                }
                if store.is_stalled() {
                    while let Some(Waiter(connection)) = self.slice.next_waiter() {
                        released.push_back(connection);
                    }
                }
            }
            // A disk read that was in flight when loading was abandoned.
            Persistence::Syncing(_) | Persistence::Stopped | Persistence::InMemory => {}
        }
        false
    }

    /// Emits the disk tasks that are due. Called at the end of a turn, when the waiters for the log
    /// are known.
    pub fn advance(&mut self, now_ms: u64, read_load: ReadLoad, outputs: &mut Outputs) {
        let Persistence::Stored(store) = &mut self.persistence else { return };
        let is_awaited = self.slice.is_awaited() || !self.replies.is_empty();
        self.defers_write = self.has_applied && !is_awaited;
        let turn = TurnInput { now_ms, read_load, is_log_awaited: !self.defers_write };
        let slice = self.number;
        store.advance(turn, &mut self.slice, &mut |task| {
            outputs.push_back(Output::Task { slice, task });
        });
    }

    /// Prepares the end of the process: abandons loading, or an unfinished snapshot.
    pub fn drain(&mut self) {
        match &mut self.persistence {
            Persistence::Loading(_) | Persistence::Syncing(_) => {
                self.persistence = Persistence::Stopped;
            }
            Persistence::Stored(store) => store.drain(),
            Persistence::InMemory | Persistence::Stopped => {}
        }
    }

    /// Whether entries must wait for the disk (backpressure).
    pub fn is_throttled(&self) -> bool {
        matches!(&self.persistence, Persistence::Stored(store) if store.is_throttled())
    }

    /// Whether the disk has no space for the log: what is not durable yet cannot be shown, and
    /// nobody waits for it.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        matches!(&self.persistence, Persistence::Stored(store) if store.is_stalled())
    }

    /// Whether everything accepted is durable.
    pub fn is_durable(&self) -> bool {
        match &self.persistence {
            Persistence::Stored(store) => store.is_durable(),
            _ => true,
        }
    }

    /// The latest time at which [`Self::advance`] must be called, in milliseconds of the monotonic
    /// clock.
    pub fn wakes_at_ms(&self) -> Option<u64> {
        match &self.persistence {
            Persistence::Stored(store) => store.wakes_at_ms(),
            _ => None,
        }
    }

    /// Counters of its store.
    pub fn counts(&self) -> Counts {
        match &self.persistence {
            Persistence::Stored(store) => *store.counts(),
            _ => Counts::default(),
        }
    }

    // Reads.

    /// Prefetches one step of a user's lookup, up to the block that an entry is booked in.
    #[inline]
    pub fn prefetch(
        &self,
        user: UserId<'_>,
        entry: Option<EntryId>,
        step: PrefetchStep,
        lookup: &Lookup,
    ) {
        self.slice.prefetch(user, entry, step, lookup);
    }

    /// A user, with the log position that an answer about them shows.
    #[inline]
    pub fn view(&self, user: UserId<'_>) -> (Position, Option<View<'_>>) {
        let (lsn, view) = self.slice.view(user);
        (Position { local_slice: self.local_slice, lsn }, view)
    }

    /// The log position up to which the log is durable.
    #[inline]
    pub const fn durable(&self) -> Lsn {
        self.slice.durable_upto()
    }

    /// Registers a connection as a waiter for `lsn`: it is released when that is durable.
    pub fn wait(&mut self, lsn: Lsn, connection: u64) {
        self.slice.wait(lsn, Waiter(connection));
    }

    // Entries.

    /// Entries that may still be applied in this turn; none while they must wait for the disk.
    pub fn entries_left(&self) -> usize {
        if self.is_throttled() { 0 } else { self.entries_left }
    }

    /// Whether all entries of this turn are applied.
    pub const fn has_spent_turn(&self) -> bool {
        self.entries_left == 0
    }

    /// Applies an entry at wall clock time `now`. Returns the log position that the verdict shows.
    pub fn apply(&mut self, now: Millis, entry: &EntryRef<'_>) -> (Position, Verdict) {
        assert!(self.entries_left > 0, "a slice applies a bounded number of entries a turn");
        self.entries_left -= 1;
        self.has_applied = true;
        let (lsn, verdict) = match &mut self.persistence {
            Persistence::InMemory => self.slice.apply(now, entry, &mut NoLog),
            Persistence::Stored(store) => self.slice.apply(now, entry, &mut **store),
            _ => unreachable!("no entry is applied before loading has finished"),
        };
        (Position { local_slice: self.local_slice, lsn }, verdict)
    }

    /// Queues entries of another core.
    pub fn queue(&mut self, request: Box<Request>) {
        self.requests.push_back(request);
    }

    /// The queued request whose entries are applied next.
    pub fn next_request(&self) -> Option<&Request> {
        self.requests.front().map(|request| &**request)
    }

    /// Whether the next turn has work here: a put-off log write, or queued entries that can be
    /// applied.
    pub fn has_work(&self) -> bool {
        self.defers_write || (!self.requests.is_empty() && !self.is_throttled())
    }

    /// Whether requests of other cores, or replies to them, are under way here.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty() || !self.replies.is_empty()
    }

    /// Applies queued entries at wall clock time `now`, at most `left`, which is decreased.
    /// `judged` is called with each verdict. Returns the next request whose entries are all judged.
    pub fn apply_requests(
        &mut self,
        now: Millis,
        left: &mut usize,
        judged: &mut impl FnMut(Verdict),
    ) -> Option<Box<Request>> {
        let most = (*left).min(self.entries_left());
        if most == 0 {
            return None;
        }
        let mut request = self.requests.pop_front()?;
        *left -= self.apply_request(now, most, &mut request, judged);
        if request.judged == request.entries.len() {
            return Some(request);
        }
        self.requests.push_front(request);
        None
    }

    /// Applies the next entries of a request, at most `most`. Returns how many.
    fn apply_request(
        &mut self,
        now: Millis,
        most: usize,
        request: &mut Request,
        judged: &mut impl FnMut(Verdict),
    ) -> usize {
        let from = request.judged;
        let count = (request.entries.len() - from).min(most);
        for at in 0..count {
            let entries = &request.entries[from..from + count];
            for (next, step) in prefetch_steps(entries, at, PrefetchStep::FOR_ENTRY) {
                let entry = next.entry(&request.texts);
                self.prefetch(entry.user, Some(entry.id), step, &next.lookup);
            }
            let (mark, (position, verdict)) =
                (entries[at].mark, self.apply(now, &entries[at].entry(&request.texts)));
            judged(verdict);
            request.show(position);
            match verdict {
                Verdict::Accepted => request.accepted += 1,
                other => request.not_accepted.push((mark, other)),
            }
        }
        request.judged += count;
        count
    }

    // Replies.

    /// Holds back a reply until `lsn` is durable.
    pub fn delay_reply(&mut self, lsn: Lsn, request: Box<Request>) {
        assert!(
            lsn > self.durable(),
            "a reply is delayed only while its log position is not durable"
        );
        self.replies.push(WaitingReply(lsn, request));
    }

    /// The next reply whose log position is durable. While the log is stalled: any reply, refused
    /// if its position is not durable.
    pub fn next_reply(&mut self) -> Option<Box<Request>> {
        let (durable, is_stalled) = (self.durable(), self.is_stalled());
        self.replies.peek().filter(|WaitingReply(lsn, _)| *lsn <= durable || is_stalled)?;
        let WaitingReply(lsn, mut request) = self.replies.pop()?;
        if lsn > durable {
            request.refuse_unstored();
        }
        Some(request)
    }

    /// Allows one more entry in this turn: used by a planted bug.
    pub(super) const fn lengthen_turn(&mut self) {
        self.entries_left += 1;
    }
}
