//! Owner: one slice of this core, with what keeps it: recovery first, then its store.
//!
//! ```text
//!  Loading ── all is read ──▶ Settling ── on stable storage ──▶ Stored
//!     └────────── drain ──────────┴──────────▶ Stopped                     InMemory: nothing is kept
//! ```
//!
//! Requests of other cores for entries of this slice queue here, and so do replies that wait for
//! its log.

use super::answers::Position;
use super::limits::ENTRIES_PER_TURN;
use super::machine::Output;
use super::message::Request;
use crate::journal::Fault;
use crate::ledger::book::View;
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::memory::{Step, Lookup, ahead};
use crate::ledger::time::Millis;
use crate::slice::disk::{Done, Task};
use crate::slice::recovery::{Recovery, Report};
use crate::slice::snapshot::Traffic;
use crate::slice::store::{Counts, Found, Settings, Store, Turn};
use crate::slice::{Headway, Lsn, NoLog, Slice, Waiter};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Interval at which it is told how far loading has come, in milliseconds.
const LOADING_NEWS_MS: u64 = 100;

/// Outputs of a core, in order.
pub type Outputs = VecDeque<Output>;

/// What keeps a slice.
#[derive(Debug)]
pub struct Kept {
    /// How its store is set up.
    pub settings: Settings,
    /// Its recovery, which has read nothing yet.
    pub recovery: Recovery,
}

/// Connections whose log position has become durable, by their tickets.
pub type Released = VecDeque<u64>;

/// One slice of this core.
#[derive(Debug)]
pub struct Owner {
    number: u32,
    /// Its place on the core.
    place: usize,
    slice: Slice,
    persistence: Persistence,
    /// Connections that came at its listeners.
    connections: usize,
    /// Entries that may still be applied in this turn.
    entries_left: usize,
    /// Whether entries were applied in this turn.
    has_applied: bool,
    /// Whether what was applied is not yet on its way to the disk: nobody waits for it, and more
    /// will be applied in the next turn.
    defers_write: bool,
    /// Requests of other cores whose entries are being applied.
    requests: VecDeque<Box<Request>>,
    /// Replies that wait for the log.
    replies: BinaryHeap<Unsettled>,
}

#[derive(Debug)]
enum Persistence {
    InMemory,
    Loading(Box<Loading>),
    Settling(Box<Settling>),
    Stored(Box<Store>),
    /// Told to end before all was loaded.
    Stopped,
}

#[derive(Debug)]
struct Loading {
    settings: Settings,
    recovery: Recovery,
    headway: Headway,
    reported_ms: u64,
}

#[derive(Debug)]
struct Settling {
    settings: Settings,
    found: Found,
    report: Report,
    expected_bytes: usize,
}

/// A reply that shows what is not durable yet; the one that waits for least is the greatest.
#[derive(Debug)]
struct Unsettled(Lsn, Box<Request>);

impl Ord for Unsettled {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Unsettled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Unsettled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Unsettled {}

impl Owner {
    /// Slice `number`, at `place` on its core, which refuses new entries above `ledger_bytes`. What
    /// `kept` says is loaded in the first turns.
    pub fn new(number: u32, place: usize, ledger_bytes: usize, kept: Option<Kept>) -> Self {
        let persistence = match kept {
            None => Persistence::InMemory,
            Some(Kept { settings, recovery }) => {
                assert!(settings.place.slice == number, "a slice is kept in its own files");
                Persistence::Loading(Box::new(Loading {
                    settings,
                    recovery,
                    headway: Headway::Going,
                    reported_ms: 0,
                }))
            }
        };
        Self {
            number,
            place,
            slice: Slice::new(ledger_bytes),
            persistence,
            connections: 0,
            entries_left: ENTRIES_PER_TURN,
            has_applied: false,
            defers_write: false,
            requests: VecDeque::new(),
            replies: BinaryHeap::new(),
        }
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The ledger, to be read.
    pub const fn slice(&self) -> &Slice {
        &self.slice
    }

    /// A connection came at one of its listeners. Returns how many there were before.
    pub const fn open(&mut self) -> usize {
        self.connections += 1;
        self.connections - 1
    }

    /// One of them is gone.
    pub const fn close(&mut self) {
        assert!(self.connections > 0, "a connection that is gone was there");
        self.connections -= 1;
    }

    /// A turn begins, in which so many entries may be applied.
    pub const fn begin_turn(&mut self, entries: usize) {
        self.entries_left = entries;
        self.has_applied = false;
    }

    // Loading.

    /// Whether there is more to load.
    pub const fn is_loading(&self) -> bool {
        matches!(self.persistence, Persistence::Loading(_) | Persistence::Settling(_))
    }

    /// Whether a step of loading can be taken at once.
    pub const fn can_load(&self) -> bool {
        matches!(
            &self.persistence,
            Persistence::Loading(loading) if matches!(loading.headway, Headway::Going)
        )
    }

    /// Bytes of memory that what is being loaded will take, as far as is known.
    pub const fn expected_bytes(&self) -> usize {
        match &self.persistence {
            Persistence::Loading(loading) => loading.recovery.expected_bytes(),
            Persistence::Settling(settling) => settling.expected_bytes,
            _ => 0,
        }
    }

    /// Takes a step of loading.
    pub fn load(&mut self, now_ms: u64, outputs: &mut Outputs) -> Result<(), Fault> {
        let Persistence::Loading(loading) = &mut self.persistence else { return Ok(()) };
        let slice = self.number;
        let mut ask = |task| outputs.push_back(Output::Task { slice, task });
        loading.headway = loading.recovery.advance(&mut self.slice, &mut ask)?;
        if loading.headway != Headway::Done {
            if now_ms >= loading.reported_ms + LOADING_NEWS_MS {
                loading.reported_ms = now_ms;
                let report = *loading.recovery.report();
                outputs.push_back(Output::Loading { slice, report, is_over: false });
            }
            return Ok(());
        }
        let Persistence::Loading(loading) = std::mem::replace(&mut self.persistence, Persistence::Stopped)
        else {
            return Ok(());
        };
        let Loading { settings, recovery, .. } = *loading;
        let (report, expected_bytes, found) =
            (*recovery.report(), recovery.expected_bytes(), recovery.finish());
        ask(Task::Settle { segment: found.tail.segment, manifest: found.manifest });
        self.persistence =
            Persistence::Settling(Box::new(Settling { settings, found, report, expected_bytes }));
        Ok(())
    }

    /// What was read is on stable storage: the store goes on where it ended.
    fn loaded(&mut self, outputs: &mut Outputs) {
        let Persistence::Settling(settling) = std::mem::replace(&mut self.persistence, Persistence::Stopped)
        else {
            return;
        };
        let Settling { settings, found, report, .. } = *settling;
        self.slice.recovered(Lsn(found.tail.position));
        self.persistence = Persistence::Stored(Box::new(Store::new(settings, found)));
        outputs.push_back(Output::Loading { slice: self.number, report, is_over: true });
    }

    // The disk.

    /// A task is done. Returns whether that completed loading.
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
                loading.headway = Headway::Going;
            }
            Persistence::Settling(_) if matches!(done, Done::Settled) => {
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
            }
            // A read that was under way when loading was given up.
            Persistence::Settling(_) | Persistence::Stopped | Persistence::InMemory => {}
        }
        false
    }

    /// Asks for what is due. Call it when it is known who waits for the log.
    pub fn advance(&mut self, now_ms: u64, traffic: Traffic, outputs: &mut Outputs) {
        let Persistence::Stored(store) = &mut self.persistence else { return };
        let is_awaited = self.slice.is_awaited() || !self.replies.is_empty();
        self.defers_write = self.has_applied && !is_awaited;
        let turn = Turn { now_ms, traffic, is_log_awaited: !self.defers_write };
        let slice = self.number;
        store.advance(turn, self.slice.book(), &mut |task| {
            outputs.push_back(Output::Task { slice, task })
        });
    }

    /// The process is about to end: gives up what is not loaded yet, or the snapshot that is not
    /// done.
    pub fn drain(&mut self) {
        match &mut self.persistence {
            Persistence::Loading(_) | Persistence::Settling(_) => self.persistence = Persistence::Stopped,
            Persistence::Stored(store) => store.drain(),
            Persistence::InMemory | Persistence::Stopped => {}
        }
    }

    /// Whether entries must wait for the disk.
    pub fn is_held(&self) -> bool {
        matches!(&self.persistence, Persistence::Stored(store) if store.is_held())
    }

    /// Whether everything that was taken in is durable.
    pub fn is_settled(&self) -> bool {
        match &self.persistence {
            Persistence::Stored(store) => store.is_settled(),
            _ => true,
        }
    }

    /// When [`Self::advance`] is wanted at the latest, in milliseconds of the monotonic clock.
    pub fn wakes_at_ms(&self) -> Option<u64> {
        match &self.persistence {
            Persistence::Stored(store) => store.wakes_at_ms(),
            _ => None,
        }
    }

    /// What its store has done.
    pub fn counts(&self) -> Counts {
        match &self.persistence {
            Persistence::Stored(store) => *store.counts(),
            _ => Counts::default(),
        }
    }

    // Reads.

    /// Prefetches the next step of the look-up of a user, up to where an entry is booked.
    #[inline]
    pub fn prefetch(&self, user: UserId, entry: Option<EntryId>, step: Step, lookup: &Lookup) {
        self.slice.prefetch(user, entry, step, lookup);
    }

    /// A user, with the log position that an answer about them shows.
    #[inline]
    pub fn read(&self, user: UserId) -> (Position, Option<View<'_>>) {
        let (lsn, view) = self.slice.read(user);
        (Position { place: self.place, lsn }, view)
    }

    /// The position up to which the log is durable.
    #[inline]
    pub const fn durable(&self) -> Lsn {
        self.slice.durable_upto()
    }

    /// A connection's next answer waits for `lsn`: its connection is released when that is durable.
    pub fn wait(&mut self, lsn: Lsn, connection: u64) {
        self.slice.wait(lsn, Waiter(connection));
    }

    // Entries.

    /// How many more entries may be applied in this turn: none while they must wait for the disk.
    pub fn entries_left(&self) -> usize {
        if self.is_held() { 0 } else { self.entries_left }
    }

    /// Applies an entry at time `now`. Returns the log position that the verdict shows.
    pub fn apply(&mut self, now: Millis, entry: &EntryRef<'_>) -> (Position, Verdict) {
        assert!(self.entries_left > 0, "a slice applies a bounded number of entries a turn");
        self.entries_left -= 1;
        self.has_applied = true;
        let (lsn, verdict) = match &mut self.persistence {
            Persistence::InMemory => self.slice.apply(now, entry, &mut NoLog),
            Persistence::Stored(store) => self.slice.apply(now, entry, &mut **store),
            _ => unreachable!("no entry is taken before all is loaded"),
        };
        (Position { place: self.place, lsn }, verdict)
    }

    /// A request of another core, for entries.
    pub fn queue(&mut self, request: Box<Request>) {
        self.requests.push_back(request);
    }

    /// The request of another core whose entries are the next to be applied.
    pub fn next_request(&self) -> Option<&Request> {
        self.requests.front().map(|request| &**request)
    }

    /// Whether requests for entries wait, and could make headway.
    pub fn has_work(&self) -> bool {
        self.defers_write || (!self.requests.is_empty() && !self.is_held())
    }

    /// Whether requests of others, or replies to them, are under way here.
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty() || !self.replies.is_empty()
    }

    /// Applies entries of others at time `now`, at most `left`, which goes down. `judged` is told
    /// each verdict. Returns the next request that is done.
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

    /// Applies the next entries of a request, at most so many. Returns how many.
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
            for (next, step) in ahead(entries, at, Step::OF_ENTRY) {
                let entry = next.entry();
                self.prefetch(entry.user, Some(entry.id), step, &next.lookup);
            }
            let (mark, (position, verdict)) =
                (entries[at].mark, self.apply(now, &entries[at].entry()));
            judged(verdict);
            request.show(position);
            match verdict {
                Verdict::Accepted => request.accepted += 1,
                other => request.others.push((mark, other)),
            }
        }
        request.judged += count;
        count
    }

    // Replies.

    /// A reply waits until `lsn` is durable.
    pub fn keep_reply(&mut self, lsn: Lsn, request: Box<Request>) {
        assert!(lsn > self.durable(), "a reply waits only for what is not durable");
        self.replies.push(Unsettled(lsn, request));
    }

    /// The next reply whose position is durable.
    pub fn next_reply(&mut self) -> Option<Box<Request>> {
        let durable = self.durable();
        self.replies.peek().filter(|Unsettled(lsn, _)| *lsn <= durable)?;
        self.replies.pop().map(|Unsettled(_, request)| request)
    }

    /// Lets one more entry be applied in this turn: what a planted fault does.
    pub(super) const fn lengthen_turn(&mut self) {
        self.entries_left += 1;
    }
}
