//! The service: one slice of the ledger behind the API, the disk that keeps it, and the way to the other slices.

use super::Failure;
use super::keeper::Keeper;
use super::mesh::{Cargo, Census, Mesh};
use super::service::{Clock, Next, Out, Service, Stamp};
use crate::api::connection::{Connection, Shared};
use crate::api::desk::{
    DateLine, Desk, EntryId, EntryRef, Millis, Room, Route, Serving, Status, Step, UserId, Verdict, View, Way,
};
use crate::api::exchange::Exchange;
use crate::api::info::{Figures, Info};
use crate::api::parcel::Parcel;
use crate::api::reply::turn_away;
use crate::api::{CREDITS, ENTRIES_AMONG_READS, ENTRIES_PER_TURN, READS_EXPECTED_MS};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::prefetch::{self, LINE_BYTES};
use crate::slice::snapshot::Traffic;
use crate::slice::store::{Counts, Turn};
use crate::slice::{LogSink, Lsn, ReleaseSink, Slice, Ticket};
use std::collections::VecDeque;
use std::sync::Arc;

/// One core's share of the wallet.
pub struct Wallet {
    counter: Counter,
    shared: Shared,
    mesh: Mesh<Box<Parcel>>,
    /// What has come in this turn, and from whom.
    came: Vec<(u32, Box<Parcel>)>,
    /// What others ask in this turn.
    #[expect(clippy::vec_box, reason = "a parcel stays where it is, whichever core has it")]
    asked: Vec<Box<Parcel>>,
    /// What has come back, and from whom.
    arrived: VecDeque<(u32, Box<Parcel>)>,
    /// To be called when requests are taken.
    serves: Option<Box<dyn FnOnce() + Send>>,
    has_rested: bool,
}

/// The core, as its connections see it.
struct Counter {
    slice: Slice,
    now: Millis,
    dates: DateLine,
    date: [u8; 29],
    serving: Serving,
    is_draining: bool,
    room: Room,
    cargo: Cargo,
    /// How many more entries may be applied in this turn.
    entries_left: usize,
    /// Whether reads were answered in this turn, and until when more are expected.
    has_read: bool,
    reads_until_ms: u64,
    /// Whether entries were applied in this turn.
    has_applied: bool,
    /// Whether what was applied is not yet on its way to the disk, because nobody waits for it and more will be applied in the next turn.
    gathers: bool,
    counters: Counters,
    /// `None`: nothing is kept.
    keeper: Option<Keeper>,
    released: Released,
    info: Arc<Info>,
    census: Census,
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

/// What a read needs of a parcel lies first in it.
const PARCEL_BYTES: usize = 4 * LINE_BYTES;
/// Of a long answer, what is fetched beforehand; the rest follows when it is copied.
const ANSWER_BYTES: usize = 8 * LINE_BYTES;

impl Wallet {
    /// An empty wallet that refuses new entries above `mark_bytes` of ledger. What `keeper` keeps is loaded in the first turns; requests are taken
    /// when all cores of `mesh` have loaded theirs; then `serves` is called.
    pub fn new(
        mark_bytes: usize,
        keeper: Option<Keeper>,
        mesh: Mesh<Box<Parcel>>,
        info: Arc<Info>,
        limits: &Limits,
        serves: Box<dyn FnOnce() + Send>,
    ) -> Self {
        let mut dates = DateLine::new();
        let counter = Counter {
            slice: Slice::new(mark_bytes),
            now: Millis(0),
            date: *dates.at(0),
            dates,
            serving: Serving::Recovering,
            is_draining: false,
            room: Room::new(limits.answer_bytes),
            cargo: mesh.cargo(limits.cargo_bytes),
            entries_left: ENTRIES_PER_TURN,
            has_read: false,
            reads_until_ms: 0,
            has_applied: false,
            gathers: false,
            counters: Counters::default(),
            keeper,
            released: Released::default(),
            info,
            census: mesh.census(),
        };
        if counter.keeper.is_none() {
            mesh.has_loaded();
        }
        let exchange = Exchange::new(mesh.slice(), mesh.len() as u32, CREDITS);
        Self {
            counter,
            shared: Shared::new(exchange).with_bodies(limits.body_bytes),
            mesh,
            came: Vec::new(),
            asked: Vec::new(),
            arrived: VecDeque::new(),
            serves: Some(serves),
            has_rested: false,
        }
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

    fn begin(&mut self, clock: Clock, held: usize) {
        let counter = &mut self.counter;
        let second = clock.unix_ms / 1_000;
        if second != counter.now.0 / 1_000 {
            counter.date = *counter.dates.at(second);
        }
        counter.now = Millis(clock.unix_ms);
        counter.room.begin(held);
        if std::mem::take(&mut counter.has_read) {
            counter.reads_until_ms = clock.monotonic_ms + READS_EXPECTED_MS;
        }
        let expects_reads = counter.expects_reads(clock.monotonic_ms);
        counter.entries_left = if expects_reads { ENTRIES_AMONG_READS } else { ENTRIES_PER_TURN };
        counter.has_applied = false;
        if counter.serving == Serving::Recovering && self.mesh.all_loaded() {
            counter.serving = if counter.is_draining { Serving::Draining } else { Serving::Ready };
            self.serves.take().into_iter().for_each(|serves| serves());
        }
        self.shared.exchange.begin(clock.monotonic_ms);
        self.hear();
    }

    fn open(&mut self, ticket: u64) -> Connection {
        Connection::new(ticket)
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
        self.counter.is_draining = true;
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
        session.release(&mut self.counter, &mut self.shared);
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
        self.shared.exchange.apply(self.counter.entries_left, &mut self.counter);
        let Counter { slice, keeper, released, .. } = &mut self.counter;
        if let Some(keeper) = keeper {
            if keeper.is_loading() {
                if keeper.load(slice)? {
                    self.mesh.has_loaded();
                }
                return Ok(());
            }
            keeper.hear(clock.monotonic_ms, slice, released)?;
        }
        self.say();
        Ok(())
    }

    fn submit(&mut self, clock: Clock) {
        let now_ms = clock.monotonic_ms;
        let counter = &mut self.counter;
        let traffic = if counter.expects_reads(now_ms) { Traffic::Reads } else { Traffic::NoReads };
        let Some(keeper) = &mut counter.keeper else { return };
        let is_awaited = counter.slice.is_awaited() || self.shared.exchange.is_log_awaited();
        counter.gathers = counter.has_applied && !is_awaited;
        keeper.advance(Turn { now_ms, traffic, is_log_awaited: !counter.gathers }, &counter.slice);
    }

    fn has_read(&self) -> bool {
        self.counter.has_read
    }

    fn sees_reads(&mut self) {
        self.counter.has_read = true;
    }

    // Answers wait for their connections' turn, questions are answered. Entries of others get half of what a turn may apply, and at its end what
    // connections have left of it.
    fn hear(&mut self) {
        let Self { counter, shared: Shared { exchange, .. }, mesh, came, asked, arrived, .. } = self;
        exchange.hold(counter.is_log_held());
        if mesh.is_empty() {
            return;
        }
        let slice = mesh.slice();
        // Another core has written all of it: it is fetched while what came before is looked at.
        mesh.receive(|from, parcel| {
            prefetch::range(std::ptr::from_ref(&*parcel).cast(), PARCEL_BYTES);
            came.push((from, parcel));
        });
        for (from, parcel) in came.drain(..) {
            if parcel.home == slice {
                prefetch::range(parcel.bytes.as_ptr(), parcel.bytes.len().min(ANSWER_BYTES));
                exchange.returned(from);
                arrived.push_back((from, parcel));
            } else {
                asked.push(parcel);
            }
        }
        exchange.take_in(asked, counter);
        counter.has_read |= exchange.has_read();
        exchange.apply(counter.entries_left / 2, counter);
    }

    fn say(&mut self) {
        self.mesh.tell(Figures {
            users: self.counter.slice.book().users() as u64,
            looked_out_us: self.counter.counters.spun_ns / 1_000,
        });
        if self.mesh.is_empty() {
            return;
        }
        let durable = self.durable();
        let exchange = &mut self.shared.exchange;
        exchange.release(durable);
        for (slice, parcel) in exchange.outgoing() {
            self.counter.counters.hops += u64::from(parcel.home == self.mesh.slice());
            assert!(parcel.stamp <= durable, "no answer leaves before its stamp is durable");
            self.mesh.send(slice, parcel);
        }
        self.mesh.flush();
    }

    fn arrived(&mut self) -> Option<u64> {
        self.arrived.front().map(|(_, parcel)| parcel.ticket)
    }

    fn take_back(&mut self, connection: Option<(&mut Connection, &mut Out)>) -> Next {
        let (peer, parcel) = self.arrived.pop_front().expect("something has arrived");
        match connection {
            Some((session, out)) => session.take_back(peer, parcel, &mut self.counter, &mut self.shared, out),
            None => {
                self.counter.unpack(parcel.cargo());
                self.shared.exchange.keep(parcel);
                Next::Idle
            }
        }
    }

    fn awaits(&self) -> bool {
        self.shared.exchange.awaits()
    }

    fn looked_out(&mut self, ns: u64) {
        self.counter.counters.spun_ns += ns;
    }

    fn expected_bytes(&self) -> usize {
        self.counter.keeper.as_ref().map_or(0, Keeper::expected_bytes)
    }

    fn has_mail(&self) -> bool {
        self.mesh.has_mail()
    }

    fn has_others(&self) -> bool {
        !self.mesh.is_empty()
    }

    fn is_busy(&self) -> bool {
        let exchange = &self.shared.exchange;
        self.counter.gathers || (exchange.has_entries() && !self.counter.is_log_held()) || exchange.has_reads()
    }

    fn rests(&mut self) -> bool {
        if !self.has_rested && !self.shared.exchange.awaits() {
            self.has_rested = true;
            self.mesh.rests();
        }
        self.mesh.all_rest() && self.is_settled()
    }

    fn released(&mut self) -> Option<u64> {
        self.counter.released.0.pop_front()
    }

    fn wakes_at_ms(&self) -> Option<u64> {
        let keeper = self.counter.keeper.as_ref().and_then(Keeper::wakes_at_ms);
        keeper.into_iter().chain(self.shared.exchange.patience_ends_ms()).min()
    }

    fn is_blocked(&self, session: &Connection) -> bool {
        session.is_blocked()
    }

    fn is_loading(&self) -> bool {
        self.counter.keeper.as_ref().is_some_and(Keeper::is_loading)
    }

    fn is_settled(&self) -> bool {
        self.counter.keeper.as_ref().is_none_or(Keeper::is_settled) && self.shared.exchange.is_settled()
    }
}

impl Counter {
    /// Whether reads have come in so lately that more will come in this turn.
    const fn expects_reads(&self, now_ms: u64) -> bool {
        self.has_read || now_ms < self.reads_until_ms
    }

    /// Whether entries must wait for the disk.
    fn is_log_held(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::is_held)
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

    #[inline]
    fn room(&self) -> &Room {
        &self.room
    }

    #[inline]
    fn room_mut(&mut self) -> &mut Room {
        &mut self.room
    }

    fn cargo_room(&self) -> usize {
        self.cargo.left()
    }

    fn pack(&mut self, bytes: usize) -> bool {
        self.cargo.pack(bytes)
    }

    fn unpack(&mut self, bytes: usize) {
        if bytes > 0 {
            self.cargo.unpack(bytes);
        }
    }

    fn entries_left(&self) -> usize {
        if self.is_log_held() { 0 } else { self.entries_left }
    }

    #[inline]
    fn approach(&self, user: UserId, entry: Option<EntryId>, step: Step, way: &Way) {
        self.slice.prefetch(user, entry, step, way);
    }

    #[inline]
    fn read<R>(&self, user: UserId, answer: impl FnOnce(Option<View<'_>>) -> R) -> (Stamp, R) {
        let (lsn, answer) = self.slice.read(user, answer);
        (Stamp(lsn.0), answer)
    }

    fn apply(&mut self, entry: &EntryRef<'_>) -> (Stamp, Verdict) {
        self.entries_left -= 1;
        self.has_applied = true;
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

    fn info(&self, out: &mut Vec<u8>) {
        self.info.write(|slice| self.census.figures(slice), out);
    }

    #[inline]
    fn answered(&mut self, route: Route, status: Status) {
        self.has_read |= route != Route::Entries;
        self.counters.answered(route as usize, status.code());
    }
}
