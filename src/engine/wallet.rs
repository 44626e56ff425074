//! The service: one slice of the ledger behind the API, and the disk that keeps it.

use super::Failure;
use super::keeper::Keeper;
use super::service::{Clock, Next, Out, Service, Stamp};
use crate::api::connection::{Connection, Shared, turn_away};
use crate::api::desk::{
    DateLine, Desk, EntryId, EntryRef, Millis, Route, Serving, Status, Step, UserId, Verdict, View,
};
use crate::api::{ENTRIES_AMONG_READS, ENTRIES_PER_TURN};
use crate::metrics::Counters;
use crate::slice::snapshot::Traffic;
use crate::slice::store::Counts;
use crate::slice::{LogSink, Lsn, Near, ReleaseSink, Slice, Ticket};
use std::collections::VecDeque;

/// One core's share of the wallet.
pub struct Wallet {
    counter: Counter,
    shared: Shared,
}

/// The core, as its connections see it.
struct Counter {
    slice: Slice,
    now: Millis,
    dates: DateLine,
    date: [u8; 29],
    serving: Serving,
    has_room: bool,
    /// How many more entries may be applied in this turn.
    entries_left: usize,
    /// Whether reads were answered in this turn.
    has_read: bool,
    counters: Counters,
    /// `None`: nothing is kept.
    keeper: Option<Keeper>,
    released: Released,
}

/// Tickets whose position has become durable.
#[derive(Default)]
struct Released(VecDeque<u64>);

impl ReleaseSink for Released {
    fn release(&mut self, ticket: Ticket) {
        self.0.push_back(ticket.0);
    }
}

/// The log of a server that keeps nothing: there is nothing to wait for.
struct NoLog;

impl LogSink for NoLog {
    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: &EntryRef<'_>, _: u64) -> Lsn {
        Lsn::default()
    }
}

/// How this processor is told what will be read soon.
pub struct Hardware;

impl Near for Hardware {
    #[inline]
    fn near(&self, at: *const u8) {
        // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast())
        };
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}

impl Wallet {
    /// An empty wallet that refuses new entries above `mark_bytes` of ledger. What `keeper` keeps is loaded in the first turns.
    pub fn new(mark_bytes: usize, keeper: Option<Keeper>) -> Self {
        let mut dates = DateLine::new();
        let counter = Counter {
            slice: Slice::new(mark_bytes),
            now: Millis(0),
            date: *dates.at(0),
            dates,
            serving: if keeper.is_some() { Serving::Recovering } else { Serving::Ready },
            has_room: true,
            entries_left: ENTRIES_PER_TURN,
            has_read: false,
            counters: Counters::default(),
            keeper,
            released: Released::default(),
        };
        Self { counter, shared: Shared::default() }
    }

    /// What it has done.
    pub const fn counters(&self) -> &Counters {
        &self.counter.counters
    }

    /// What was done to keep it; nothing if nothing is kept.
    pub fn kept(&self) -> Counts {
        self.counter.keeper.as_ref().map_or_else(Counts::default, Keeper::counts)
    }

    /// How many users it holds, and in how many bytes.
    pub fn holds(&self) -> (usize, usize) {
        let book = self.counter.slice.book();
        (book.users(), book.bytes())
    }
}

impl Service for Wallet {
    type Session = Connection;

    fn begin(&mut self, clock: Clock, has_room: bool) {
        let counter = &mut self.counter;
        let second = clock.unix_ms / 1_000;
        if second != counter.now.0 / 1_000 {
            counter.date = *counter.dates.at(second);
        }
        counter.now = Millis(clock.unix_ms);
        counter.has_room = has_room;
        counter.entries_left = if counter.has_read { ENTRIES_AMONG_READS } else { ENTRIES_PER_TURN };
        counter.has_read = false;
    }

    fn open(&mut self) -> Connection {
        Connection::default()
    }

    fn receive(&mut self, session: &mut Connection, bytes: &[u8], out: &mut Out) -> Next {
        session.receive(bytes, &mut self.counter, &mut self.shared, out)
    }

    fn resume(&mut self, session: &mut Connection, out: &mut Out) -> Next {
        session.resume(&mut self.counter, &mut self.shared, out)
    }

    fn expire(&mut self, session: &mut Connection, out: &mut Out) -> Next {
        session.expire(&mut self.counter, out)
    }

    fn drain_session(&mut self, session: &mut Connection) {
        session.drain();
    }

    fn drain(&mut self) {
        // Who is told to end while loading has nothing that it could finish: all is refused as before.
        if self.counter.serving == Serving::Ready {
            self.counter.serving = Serving::Draining;
        }
        if let Some(keeper) = &mut self.counter.keeper {
            keeper.drain();
        }
    }

    fn kept_bytes(&self, session: &Connection) -> usize {
        session.kept_bytes()
    }

    fn release(&mut self, mut session: Connection) {
        session.release(&mut self.shared);
    }

    fn durable(&self) -> Stamp {
        Stamp(self.counter.slice.durable_upto().0)
    }

    fn wait(&mut self, stamp: Stamp, ticket: u64) {
        self.counter.slice.wait(Lsn(stamp.0), Ticket(ticket));
    }

    fn turned_away(&mut self) -> Vec<u8> {
        turn_away(&self.counter.date)
    }

    fn flush(&mut self, clock: Clock) -> Result<(), Failure> {
        let Counter { slice, serving, keeper: Some(keeper), released, has_read, .. } = &mut self.counter else {
            return Ok(());
        };
        if *serving == Serving::Recovering {
            if keeper.load(slice)? {
                *serving = Serving::Ready;
            }
            return Ok(());
        }
        let traffic = if *has_read { Traffic::Reads } else { Traffic::NoReads };
        keeper.advance(clock.monotonic_ms, slice, traffic, released)
    }

    fn released(&mut self) -> Option<u64> {
        self.counter.released.0.pop_front()
    }

    fn wakes_at_ms(&self) -> Option<u64> {
        self.counter.keeper.as_ref().and_then(Keeper::wakes_at_ms)
    }

    fn is_held(&self) -> bool {
        self.counter.keeper.as_ref().is_some_and(Keeper::is_held)
    }

    fn is_loading(&self) -> bool {
        self.counter.serving == Serving::Recovering
    }

    fn is_settled(&self) -> bool {
        self.counter.keeper.as_ref().is_none_or(Keeper::is_settled)
    }
}

impl Desk for Counter {
    fn now(&self) -> Millis {
        self.now
    }

    fn date(&self) -> &[u8; 29] {
        &self.date
    }

    fn serving(&self) -> Serving {
        self.serving
    }

    fn has_room(&self) -> bool {
        self.has_room
    }

    fn entries_left(&self) -> usize {
        if self.keeper.as_ref().is_some_and(Keeper::is_held) { 0 } else { self.entries_left }
    }

    #[inline]
    fn approach(&self, user: UserId, entry: Option<EntryId>, step: Step) {
        self.slice.approach(user, entry, step, &Hardware);
    }

    #[inline]
    fn read<R>(&self, user: UserId, answer: impl FnOnce(Option<View<'_>>) -> R) -> (Stamp, R) {
        let (lsn, answer) = self.slice.read(user, answer);
        (Stamp(lsn.0), answer)
    }

    fn apply(&mut self, entry: &EntryRef<'_>) -> (Stamp, Verdict) {
        self.entries_left -= 1;
        let (lsn, verdict) = match &mut self.keeper {
            None => self.slice.apply(self.now, entry, &mut NoLog),
            Some(keeper) => self.slice.apply(self.now, entry, keeper.log()),
        };
        match verdict {
            Verdict::Accepted => self.counters.accepted += 1,
            Verdict::Duplicate => self.counters.duplicates += 1,
            Verdict::Rejected(_) => self.counters.rejected += 1,
        }
        (Stamp(lsn.0), verdict)
    }

    #[inline]
    fn answered(&mut self, route: Route, status: Status) {
        self.has_read |= route != Route::Entries;
        self.counters.answered(route as usize, status.code());
    }
}
