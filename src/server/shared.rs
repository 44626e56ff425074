//! State that the connections of one core share: its slices, its exchange with other cores, clocks,
//! budgets, counters and outputs.

use super::answers::Position;
use super::budget::{AnswerBudget, BodyBudget};
use super::exchange::Exchange;
use super::fragments::Scatter;
use super::lifecycle::Lifecycle;
use super::limits::{
    ENTRIES_PER_TURN, ENTRIES_PER_TURN_WITH_READS, LEAST_ENTRIES_PER_TURN, READS_EXPECTED_MS,
    REQUESTS_PER_CORE_AND_TURN, ROWS_AT_ONCE_BYTES, SPARE_BODIES, SPARE_BODY_BYTES, TURN_BYTES,
};
use super::machine::{Clocks, Slot};
use super::message::{Job, Outcome, Request};
use super::owner::{Outputs, Owner, Released};
use super::planted_bug::PlantedBug;
use super::reads::PendingReads;
use super::topology::{Location, Topology};
use crate::api::entry::LineScratch;
use crate::api::info::{Figures, Info};
use crate::api::read::Reads;
use crate::api::reply::{self, DateText, ReadRequest};
use crate::api::route::Route;
use crate::http::date::DateLine;
use crate::http::response::Status;
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::id::UserId;
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use crate::ledger::time::Millis;
use crate::ledger::user::RowSource;
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::slice::snapshot::ReadLoad;

/// State that the connections of one core share.
#[derive(Debug)]
pub struct Shared {
    pub(super) topology: Topology,
    pub(super) limits: Limits,
    pub(super) info: Info,
    pub(super) clocks: Clocks,
    dates: DateLine,
    pub(super) date: DateText,
    pub(super) life: Lifecycle,
    pub(super) owners: Vec<Owner>,
    pub(super) exchange: Exchange,
    pub(super) answers: AnswerBudget,
    pub(super) bodies: BodyBudget,
    /// Bytes held by connections: unsent answers, and unparsed requests.
    pub(super) connection_bytes: usize,
    pub(super) counters: Counters,
    pub(super) outputs: Outputs,
    pub(super) released: Released,
    /// Reads that were parsed in this turn and are not answered yet.
    pub(super) pending: PendingReads,
    /// Connections to update at the end of the turn, because an event or an answer changed them.
    pub(super) touched: Vec<Slot>,
    /// Connections that have work for this turn or the next.
    pub(super) ready: Vec<Slot>,
    /// Whether the turn has reached its later phase, in which feeds of connections apply entries
    /// and large answers are begun.
    pub(super) may_apply: bool,
    /// A turn's share of reads: see [`super::limits::TURN_BYTES`].
    pub(super) turn_bytes: usize,
    /// Requests of connections that may still be started in this turn.
    pub(super) requests_left: usize,
    /// Bytes of feeds' lines that may still be parsed in this turn.
    pub(super) feed_bytes_left: usize,
    /// Entries sent to other cores in this turn, and the bound of entries for it.
    sent_entries: usize,
    turn_entries: usize,
    /// Whether reads were answered in this turn, and until when more are expected.
    pub(super) has_read: bool,
    reads_until_ms: u64,
    /// Recycled buffer for the items of a batch.
    pub(super) batch: Reads,
    /// Buffers for lines of a feed's step that contain escapes, one per line.
    pub(super) scratches: Vec<LineScratch>,
    spare_bodies: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "moved into a connection's state, which stays small")]
    pub(super) spare_scatters: Vec<Box<Scatter>>,
    pub(super) planted: Option<PlantedBug>,
}

impl Shared {
    pub(super) fn new(
        topology: Topology,
        limits: Limits,
        info: Info,
        owners: Vec<Owner>,
        exchange: Exchange,
        turn_bytes: usize,
    ) -> Self {
        let mut dates = DateLine::new();
        let share = owners.len();
        Self {
            topology,
            limits,
            info,
            clocks: Clocks::default(),
            date: *dates.at(0),
            dates,
            life: Lifecycle::new(topology.cores()),
            owners,
            exchange,
            answers: AnswerBudget::new(limits.answer_bytes.saturating_mul(share), turn_bytes),
            bodies: BodyBudget::new(limits.body_bytes.saturating_mul(share)),
            connection_bytes: 0,
            counters: Counters::default(),
            outputs: Outputs::new(),
            released: Released::default(),
            pending: PendingReads::default(),
            touched: Vec::new(),
            ready: Vec::new(),
            may_apply: false,
            turn_bytes,
            requests_left: REQUESTS_PER_CORE_AND_TURN,
            feed_bytes_left: TURN_BYTES,
            sent_entries: 0,
            turn_entries: ENTRIES_PER_TURN,
            has_read: false,
            reads_until_ms: 0,
            batch: Reads::default(),
            scratches: (0..ENTRIES_PER_TURN).map(|_| LineScratch::EMPTY).collect(),
            spare_bodies: Vec::new(),
            spare_scatters: Vec::new(),
            planted: None,
        }
    }

    pub(super) fn begin_turn(&mut self, clocks: Clocks) {
        let second = clocks.unix_ms / 1_000;
        if second != self.clocks.unix_ms / 1_000 {
            self.date = *self.dates.at(second);
        }
        self.clocks = clocks;
        self.answers.begin_turn(self.connection_bytes);
        self.exchange.begin_turn(clocks.monotonic_ms);
        if std::mem::take(&mut self.has_read) {
            self.reads_until_ms = clocks.monotonic_ms + READS_EXPECTED_MS;
        }
        self.turn_entries =
            if self.expects_reads() { ENTRIES_PER_TURN_WITH_READS } else { ENTRIES_PER_TURN };
        (self.requests_left, self.feed_bytes_left) = (REQUESTS_PER_CORE_AND_TURN, TURN_BYTES);
        self.sent_entries = 0;
        self.may_apply = false;
        let entries = (self.turn_entries / self.owners.len()).max(LEAST_ENTRIES_PER_TURN);
        self.owners.iter_mut().for_each(|owner| owner.begin_turn(entries));
        if self.planted == Some(PlantedBug::LongTurn) {
            self.owners.iter_mut().for_each(Owner::lengthen_turn);
        }
    }

    /// Whether reads arrived so recently that more are expected in this turn.
    const fn expects_reads(&self) -> bool {
        self.has_read || self.clocks.monotonic_ms < self.reads_until_ms
    }

    /// Whether reads would wait for a step of a snapshot.
    pub(super) const fn read_load(&self) -> ReadLoad {
        if self.expects_reads() { ReadLoad::Reads } else { ReadLoad::NoReads }
    }

    /// The monotonic clock, in milliseconds.
    #[inline]
    pub(super) const fn now_ms(&self) -> u64 {
        self.clocks.monotonic_ms
    }

    /// The wall clock.
    #[inline]
    pub(super) const fn now(&self) -> Millis {
        Millis(self.clocks.unix_ms)
    }

    /// Whether connections alone use up the answer budget.
    pub(super) const fn is_answer_budget_full(&self) -> bool {
        self.answers.is_full_of(self.connection_bytes)
    }

    /// Counts an answer.
    #[inline]
    pub(super) fn count(&mut self, route: Route, status: Status) {
        self.has_read |= !matches!(route, Route::Entries);
        self.counters.answered(route as usize, status.code());
    }

    // Entries.

    /// Maximum number of entries that a step of a feed may handle now: applied here, or sent to
    /// other cores.
    pub(super) fn entries_left(&self) -> usize {
        let here = self.owners.iter().map(Owner::entries_left).max().unwrap_or_default();
        if self.topology.is_alone() { here } else { here.max(self.entries_to_send()) }
    }

    /// Whether no feed can proceed in this turn, whatever the disk does.
    pub(super) fn has_spent_entries(&self) -> bool {
        self.owners.iter().all(Owner::has_spent_turn)
            && (self.topology.is_alone() || self.entries_to_send() == 0)
    }

    /// Entries that may still be sent to other cores in this turn.
    pub(super) const fn entries_to_send(&self) -> usize {
        self.turn_entries.saturating_sub(self.sent_entries)
    }

    /// Counts an entry that is sent to another core.
    pub(super) const fn sent_entry(&mut self) {
        self.sent_entries += 1;
    }

    /// Applies an entry of a connection's feed.
    pub(super) fn apply(
        &mut self,
        local_slice: usize,
        entry: &EntryRef<'_>,
    ) -> (Position, Verdict) {
        let (position, verdict) =
            self.owners[local_slice].apply(Millis(self.clocks.unix_ms), entry);
        count_verdict(&mut self.counters, verdict);
        (position, verdict)
    }

    /// Applies entries of other cores, at most `most` in each slice.
    pub(super) fn apply_requests(&mut self, most: usize) {
        let now = self.now();
        for local_slice in 0..self.owners.len() {
            if self.planted == Some(PlantedBug::StarvedSlice)
                && local_slice > 0
                && self.owners[local_slice - 1].has_requests()
            {
                break;
            }
            let mut left = most;
            let Self { owners, exchange, counters, outputs, planted, .. } = self;
            let mut judged = |verdict| count_verdict(counters, verdict);
            while let Some(request) =
                owners[local_slice].apply_requests(now, &mut left, &mut judged)
            {
                send_or_delay_reply(request, owners, exchange, outputs, *planted);
            }
        }
    }

    // Requests of other cores.

    /// Serves requests of other cores. Reads are answered together, so that the prefetches of their
    /// users overlap; entries, batches and heavy reads are queued. Stops when replies have used up
    /// the peers' share of the turn.
    pub(super) fn serve_requests(&mut self) {
        let mut incoming = std::mem::take(&mut self.exchange.incoming);
        let mut count = 0;
        while count < incoming.len() && !self.answers.peers.is_spent() {
            for (next, step) in
                prefetch_steps(&incoming, count, [PrefetchStep::Index, PrefetchStep::User])
            {
                if next.job == Job::Read {
                    self.prefetch(next.user(0), step);
                }
            }
            if incoming[count].job == Job::Read {
                let request = &mut *incoming[count];
                // A read never overtakes another one of its connection.
                if self.exchange.heavy.has_one_before(request) || !self.answer_read(request) {
                    request.outcome = Outcome::Unanswered;
                    self.exchange.heavy.announce(request);
                }
            }
            count += 1;
        }
        for request in incoming.drain(..count) {
            self.counters.remote_requests += u64::from(request.job != Job::Figures);
            match request.job {
                Job::Entries => {
                    assert!(
                        self.topology.is_here(request.slice),
                        "entries go to the core that has their slice"
                    );
                    self.owners[self.topology.local_slice(request.slice)].queue(request);
                }
                Job::Batch => self.exchange.heavy.add(request),
                Job::Read if request.outcome == Outcome::Unanswered => {
                    self.exchange.heavy.queue.push_back(request);
                }
                Job::Read => {
                    self.has_read = true;
                    self.send_or_delay_reply(request);
                }
                Job::Figures => {
                    let mut request = request;
                    request.figures.extend(self.figures());
                    self.send_or_delay_reply(request);
                }
            }
        }
        assert!(self.exchange.incoming.is_empty(), "no request arrives while requests are served");
        self.exchange.incoming = incoming;
    }

    #[inline]
    pub(super) fn prefetch(&self, user: UserId<'_>, step: PrefetchStep) {
        if let Location::Local(local_slice) = self.topology.owner(user) {
            self.owners[local_slice].prefetch(user, None, step, &Lookup::default());
        }
    }

    /// Answers a read of another core, and counts it. Returns false if the share of the turn does
    /// not fit it.
    #[inline]
    fn answer_read(&mut self, request: &mut Request) -> bool {
        let Request { read, texts, persist, head_only, conditions, now, bytes, version, .. } =
            &mut *request;
        let read = read.of(texts);
        let Location::Local(local_slice) = self.topology.owner(read.user) else {
            unreachable!("a request goes to the owner of its user")
        };
        let Self { owners, date, answers, .. } = self;
        let conditions = (!conditions.is_empty()).then_some(&**conditions);
        let asked = ReadRequest { read, persist: *persist, head_only: *head_only, conditions };
        let (position, view) = owners[local_slice].view(read.user);
        *version = view.map_or(0, |view| view.user.version());
        let most = answers.peers.left().min(ROWS_AT_ONCE_BYTES);
        let mut rows = RowSource::Now { bytes_left: most };
        let status = reply::write_read(&asked, view, *now, date, &mut rows, bytes);
        answers.peers.spend_all(most - rows.bytes_left());
        let Some(status) = status else { return false };
        request.outcome = Outcome::Answered(status);
        request.show(position);
        let rendered = request.bytes.len();
        self.answers.peers.spend(rendered);
        if rendered > request.max_bytes && self.planted != Some(PlantedBug::LargeReply) {
            request.refuse(rendered);
        }
        true
    }

    /// Sends a reply now if all that it shows is durable; else its slice keeps it until then.
    pub(super) fn send_or_delay_reply(&mut self, request: Box<Request>) {
        let Self { owners, exchange, outputs, planted, .. } = self;
        send_or_delay_reply(request, owners, exchange, outputs, *planted);
    }

    /// Sends the replies whose log positions have become durable.
    pub(super) fn send_replies(&mut self) {
        for local_slice in 0..self.owners.len() {
            while let Some(request) = self.owners[local_slice].next_reply() {
                self.send_or_delay_reply(request);
            }
        }
    }

    /// The figures of this core's slices.
    pub(super) fn figures(&self) -> impl Iterator<Item = (u32, Figures)> {
        let spun_us = self.clocks.spun_us;
        self.owners.iter().map(move |owner| {
            let users = owner.slice().book().users() as u64;
            (owner.number(), Figures { users, spun_us })
        })
    }

    // Requests to other cores.

    /// Sends a request again, with a larger reservation, if its reply was too large. Returns the
    /// request if it was not sent: it is answered, or the bytes or a credit are not available and
    /// it stays refused.
    pub(super) fn retry_with_larger_reply(
        &mut self,
        core: u32,
        mut request: Box<Request>,
    ) -> Option<Box<Request>> {
        let Outcome::TooLarge(bytes) = request.outcome else { return Some(request) };
        self.release_reply(&mut request);
        // An eighth more: the user may grow before it is read again.
        let most = bytes + bytes / 8;
        if !self.answers.reserve(most) {
            return Some(request);
        }
        if self.exchange.take_credit(core).is_err() {
            self.answers.release(most);
            return Some(request);
        }
        request.forget_reply();
        request.refused_version.get_or_insert(request.version);
        (request.max_bytes, request.reserved) = (most, most);
        self.exchange.send(core, request, &mut self.outputs);
        None
    }

    /// Releases the bytes reserved for a reply.
    pub(super) fn release_reply(&mut self, request: &mut Request) {
        self.answers.release(std::mem::take(&mut request.reserved));
    }

    /// Recycles a reply that is no longer needed, and releases its reservation.
    pub(super) fn recycle_request(&mut self, mut request: Box<Request>) {
        self.release_reply(&mut request);
        self.exchange.recycle_request(request);
    }

    // Bodies.

    /// A buffer for a body, recycled if possible.
    pub(super) fn spare_body(&mut self) -> Vec<u8> {
        self.spare_bodies.pop().unwrap_or_default()
    }

    /// Recycles the buffer of a body that is no longer needed.
    pub(super) fn recycle_body(&mut self, mut body: Vec<u8>) {
        self.bodies.release(body.len());
        if self.spare_bodies.len() < SPARE_BODIES
            && (1..=SPARE_BODY_BYTES).contains(&body.capacity())
        {
            body.clear();
            self.spare_bodies.push(body);
        }
    }

    /// Whether all requests of other cores are answered and sent, and everything accepted is
    /// durable.
    pub(super) fn is_durable(&self) -> bool {
        !self.exchange.has_requests()
            && self.exchange.replies.is_empty()
            && self.owners.iter().all(|owner| owner.is_durable() && !owner.has_requests())
    }
}

/// Sends a reply if everything that it shows is durable. Else it waits in the first slice whose log
/// is not durable that far; in one slice after the other, if it shows several.
fn send_or_delay_reply(
    request: Box<Request>,
    owners: &mut [Owner],
    exchange: &mut Exchange,
    outputs: &mut Outputs,
    planted: Option<PlantedBug>,
) {
    let is_durable = |shown: &Position| shown.lsn <= owners[shown.local_slice].durable();
    let waits = request.positions.iter().find(|shown| !is_durable(shown));
    match waits.filter(|_| planted != Some(PlantedBug::UndurableAnswer)) {
        Some(&Position { local_slice, lsn }) => owners[local_slice].delay_reply(lsn, request),
        None => {
            assert!(
                planted == Some(PlantedBug::UndurableAnswer)
                    || request.positions.iter().all(is_durable),
                "a reply leaves when everything that it shows is durable"
            );
            exchange.reply(request, outputs);
        }
    }
}

fn count_verdict(counters: &mut Counters, verdict: Verdict) {
    match verdict {
        Verdict::Accepted => counters.accepted += 1,
        Verdict::Duplicate => counters.duplicates += 1,
        Verdict::Rejected(_) => counters.rejected += 1,
    }
}
