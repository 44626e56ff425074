//! One connection: its state, what it waits for, and what it does next.
//!
//! ```text
//!         head of a POST          body complete                       applied
//!  ┌─ Head ───────────────▶ Body ──────────────────▶ Feeding ──────────────────────┐
//!  │   ▲ reads are answered    └─▶ Asking ─▶ Gathering │ a bounded number of lines    │
//!  │   └───────────────────────────────────────┴───────┴─────────────────────────────┘
//!  └─ refusal, or `connection: close`, from anywhere
//!      ▼
//!  Finishing ── all is sent, shut down ──▶ Lingering ── peer closed, or bound ──▶ Closing ── closed ──▶ gone
//!      └──────────────── broken, or peer closed and nothing left to send ──────────▲
//! ```
//!
//! A connection has at most one send in flight, from a buffer that is the driver's meanwhile;
//! answers grow in another. One that keeps too much unread, because its answers do not leave or its
//! entries are still being applied, stops receiving until it has caught up: TCP holds its peer
//! back. How bytes become requests is in [`super::requests`].

use super::answers::{Answers, Position};
use super::body::Body;
use super::feed::Feed;
use super::limits::{
    IDLE_BUFFER_BYTES, KEPT_BYTES, KEPT_HARD_BYTES, LARGE_BYTES, LINGER_BYTES, LINGER_MS,
    OUT_MARK_BYTES,
};
use super::machine::{Output, Slot};
use super::message::{Job, Outcome, Request};
use super::fragments::Scatter;
use super::planted::Planted;
use super::progress::Progress;
use super::reads::PendingRead;
use super::shared::Shared;
use super::topology::Owned;
use crate::api::problem::{Code, Problem};
use crate::api::reply::{self, Asked};
use crate::api::route::{Ask, Route};
use crate::http::response::Persist;

/// Where a connection is in its life.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Requests are read and answered.
    #[default]
    Head,
    /// A body is received.
    Body(Body),
    /// A request to several cores is whole, and waits until they can be asked.
    Asking(Scattered, Persist),
    /// Their replies are awaited.
    Gathering(Scattered, Box<Scatter>, Persist),
    /// Entries are applied.
    Feeding(Box<Feed>, Persist),
    /// The last answer is written; what still comes is ignored.
    Finishing,
    /// Our side is shut down; what still comes is thrown away within a bound, so that the last
    /// answer arrives.
    Lingering,
    /// The driver was told to close it.
    Closing,
}

/// A request that takes several cores.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scattered {
    /// A batch of reads, whose body was received.
    Batch,
    /// The figures of all slices.
    Info {
        /// Whether it is a HEAD.
        head_only: bool,
    },
}

/// The send that is in flight.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    bytes: usize,
    from: usize,
    /// What its buffer takes.
    buffer_bytes: usize,
}

/// The lists of a core that a connection is in.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    touched: bool,
    ready: bool,
    /// Its next answer waits for a log.
    awaits_log: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) slot: Slot,
    /// Which use of the slot this is.
    pub(super) generation: u32,
    /// The slice at whose listener it came, by its place on the core.
    pub(super) place: usize,
    pub(super) state: State,
    pub(super) progress: Progress,
    /// Bytes that wait: an unfinished head, or requests whose turn has not come.
    pub(super) kept: Vec<u8>,
    /// How much of an unfinished head was looked through.
    pub(super) seen: usize,
    pub(super) body: Vec<u8>,
    pub(super) answers: Answers,
    /// Reads that were parsed and are not answered, and how many of them are other cores'.
    pub(super) pending: usize,
    pub(super) pending_away: usize,
    /// Its last read was answered at length, or would have been: it waits for a turn that has time
    /// for that.
    pub(super) is_heavy: bool,
    /// Bytes of the last reply of another core: what is reserved for the next one, if that was
    /// large.
    reply_bytes: usize,
    /// It was at work when the core began to drain: what had begun is served.
    pub(super) is_exempt: bool,
    is_peer_gone: bool,
    /// Whether the driver receives for it.
    receives: bool,
    in_flight: Option<InFlight>,
    /// The buffer of the last send, for the next one.
    spare: Vec<u8>,
    listed: Listed,
    /// When a request is late, or the connection idle for too long.
    pub(super) deadline_ms: u64,
    /// When the peer has taken nothing of the send in flight for too long.
    send_by_ms: u64,
    /// Bytes thrown away since the last answer was written.
    discarded: usize,
    /// What it holds, as the core's sum has it.
    counted: usize,
}

/// What a buffer takes, but for what every connection may keep.
const fn buffer_bytes(buffer: &Vec<u8>) -> usize {
    if buffer.capacity() > IDLE_BUFFER_BYTES { buffer.capacity() } else { buffer.len() }
}

impl Connection {
    /// A connection that was just accepted.
    pub(super) fn new(slot: Slot, generation: u32, place: usize, deadline_ms: u64) -> Self {
        Self {
            slot,
            generation,
            place,
            state: State::Head,
            progress: Progress::Idle,
            kept: Vec::new(),
            seen: 0,
            body: Vec::new(),
            answers: Answers::default(),
            pending: 0,
            pending_away: 0,
            is_heavy: false,
            reply_bytes: 0,
            is_exempt: false,
            is_peer_gone: false,
            receives: false,
            in_flight: None,
            spare: Vec::new(),
            listed: Listed::default(),
            deadline_ms,
            send_by_ms: u64::MAX,
            discarded: 0,
            counted: 0,
        }
    }

    /// Its name in requests to other cores, and where it waits for a log.
    #[inline]
    pub(super) const fn id(&self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// What it waits for.
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// Replies of other cores that it waits for.
    pub fn gaps(&self) -> usize {
        self.answers.gaps()
    }

    /// Whether requests are still read.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Finishing | State::Lingering | State::Closing)
    }

    /// Bytes of answers that have not left.
    fn unsent(&self) -> usize {
        self.answers.bytes.len() + self.in_flight.map_or(0, |send| send.bytes - send.from)
    }

    /// Something has happened to it: it is settled at the end of the turn.
    #[inline]
    pub(super) fn touch(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.listed.touched, true) {
            shared.touched.push(self.slot);
        }
    }

    // Events.

    /// Bytes came that nobody reads any more.
    pub(super) fn discard(&mut self, bytes: usize, shared: &mut Shared) {
        self.discarded += bytes;
        self.touch(shared);
    }

    /// The peer has shut down its side.
    pub(super) fn peer_closed(&mut self, shared: &mut Shared) {
        self.is_peer_gone = true;
        self.touch(shared);
    }

    /// The kernel took `count` bytes of the buffer in flight.
    pub(super) fn sent(&mut self, mut buffer: Vec<u8>, count: usize, shared: &mut Shared) {
        if matches!(self.state, State::Closing) {
            return;
        }
        let mut send = self.in_flight.take().expect("a send was in flight");
        assert!(
            buffer.len() == send.bytes && count <= send.bytes - send.from,
            "the buffer comes back as it went"
        );
        shared.counters.bytes_out += count as u64;
        send.from += count;
        if send.from < send.bytes {
            self.send_by_ms = shared.now_ms() + shared.limits.send_ms;
            self.in_flight = Some(send);
            shared.outputs.push_back(Output::Send { slot: self.slot, buffer, from: send.from });
            return;
        }
        buffer.clear();
        if buffer.capacity() <= OUT_MARK_BYTES {
            self.spare = buffer;
        }
        self.send_by_ms = u64::MAX;
        self.touch(shared);
    }

    /// Its turn has come: whether it has work at hand.
    pub(super) fn take_turn(&mut self) -> bool {
        self.listed.ready = false;
        self.is_open() && self.progress.has_work()
    }

    /// A feed that is whole goes on in this turn, when its time comes.
    #[inline]
    pub(super) fn queue_feed(&mut self, shared: &mut Shared) {
        let is_whole = matches!(self.state, State::Feeding(..)) && self.progress == Progress::Ready;
        if is_whole && !shared.may_apply && !std::mem::replace(&mut self.listed.ready, true) {
            shared.ready.push(self.slot);
        }
    }

    /// The log that its next answer waited for is durable.
    pub(super) fn released(&mut self, shared: &mut Shared) {
        self.listed.awaits_log = false;
        self.touch(shared);
    }

    /// The core begins to drain: what this connection has begun is still served.
    pub(super) fn exempt(&mut self) {
        self.is_exempt = self.progress != Progress::Idle;
    }

    /// It is refused: there are too many connections. This is all it gets.
    pub(super) fn refuse_at_once(&mut self, shared: &mut Shared) {
        let problem = Problem::from(Code::Overloaded);
        reply::problem(
            &problem.into(),
            Persist::Close,
            false,
            &shared.date,
            &mut self.answers.bytes,
        );
        (self.state, self.progress) = (State::Finishing, Progress::Done);
        self.touch(shared);
    }

    // Answers.

    /// Answers a read that was parsed, or asks the core that owns its user.
    #[inline]
    pub(super) fn answer(
        &mut self,
        one: &PendingRead,
        condition: Option<&[u8]>,
        shared: &mut Shared,
    ) {
        let PendingRead { owner, read, persist, head_only, .. } = *one;
        self.pending -= 1;
        match owner {
            // It broke meanwhile.
            Owned::There { core, .. } if !self.is_open() => {
                return shared.exchange.return_credit(core);
            }
            Owned::Here(_) if !self.is_open() => return,
            Owned::Here(place) => {
                let asked = Asked { read, persist, head_only, if_none_match: condition };
                self.answer_here(place, &asked, shared);
            }
            Owned::There { core, .. } => {
                self.pending_away -= 1;
                let mut request = shared.exchange.request(Job::Read, self.id());
                (request.read, request.persist, request.head_only) = (read, persist, head_only);
                (request.now, request.gap) = (shared.now(), self.answers.gap());
                request.if_none_match.extend_from_slice(condition.unwrap_or_default());
                // One who reads at length is hardly asking for less now: it is not asked twice.
                let most = self.reply_bytes + self.reply_bytes / 4;
                if self.is_heavy && most > LARGE_BYTES && shared.answers.reserve(most) {
                    (request.most, request.reserved) = (most, most);
                }
                shared.exchange.send(core, request, &mut shared.outputs);
            }
        }
        self.finish(persist);
        self.touch(shared);
    }

    #[inline]
    fn answer_here(&mut self, place: usize, asked: &Asked<'_>, shared: &mut Shared) {
        let start = self.answers.bytes.len();
        let Shared { owners, date, .. } = &*shared;
        let (now, out) = (shared.now(), &mut self.answers.bytes);
        let (mut position, view) = owners[place].read(asked.read.user);
        let mut status = reply::read(asked, view, now, date, out);
        let mut bytes = self.answers.bytes.len() - start;
        self.is_heavy = bytes > LARGE_BYTES;
        shared.answers.own.spend(bytes);
        if !shared.answers.fits(bytes) {
            let problem = Problem::from(Code::Overloaded);
            self.answers.bytes.truncate(start);
            reply::problem(
                &problem.into(),
                asked.persist,
                asked.head_only,
                &shared.date,
                &mut self.answers.bytes,
            );
            (position.lsn, status) = (crate::slice::Lsn::default(), problem.code.status());
            bytes = self.answers.bytes.len() - start;
        }
        shared.answers.wrote(bytes);
        self.answers.mark(start, position);
        shared.count(Ask::Read(asked.read).route(), status);
    }

    /// A reply of another core has come. Returns whether there is work at hand now.
    pub(super) fn take_reply(
        &mut self,
        core: u32,
        mut request: Box<Request>,
        shared: &mut Shared,
    ) -> bool {
        assert!(
            request.bytes.len() <= request.most,
            "a reply takes no more than was reserved for it"
        );
        match (request.job, &mut self.state) {
            (Job::Read, _) => {
                let Some(reply) = shared.ask_again(core, request) else { return false };
                request = reply;
                self.take_read(&mut request, shared);
                shared.keep_request(request);
            }
            (Job::Batch, State::Gathering(_, scatter, _)) => {
                match shared.ask_again(core, request) {
                    None => return false,
                    Some(reply) => scatter.take_reply(core, reply),
                }
            }
            (Job::Figures, State::Gathering(_, scatter, _)) => scatter.take_reply(core, request),
            (Job::Entries, State::Feeding(feed, _)) => {
                feed.take_reply(&request, &self.body);
                shared.keep_request(request);
            }
            // The connection is over, and its answer nobody's.
            (_, State::Finishing | State::Lingering | State::Closing) => {
                shared.keep_request(request)
            }
            (job, state) => unreachable!(
                "a reply to {job:?} comes back to whoever waits for it, not to {state:?}"
            ),
        }
        self.touch(shared);
        self.progress == Progress::Waiting
    }

    /// Puts the reply to a read into its gap; where there is no room for it, a refusal. So it is
    /// where the read had to be asked for again, its user has changed meanwhile, and requests
    /// behind it were answered from before: no version falls, and no read shows what was posted
    /// behind it.
    fn take_read(&mut self, request: &mut Request, shared: &mut Shared) {
        shared.release_reply(request);
        let mut bytes = request.bytes.len();
        self.is_heavy = bytes > LARGE_BYTES;
        self.reply_bytes = bytes;
        shared.answers.own.spend(bytes);
        let is_as_asked = request.refused_version.is_none_or(|version| version == request.version)
            || (self.answers.ends_with(request.gap)
                && !matches!(self.state, State::Feeding(..) | State::Gathering(..)));
        let status = match request.outcome {
            Outcome::Answered(status) if is_as_asked && shared.answers.fits(bytes) => status,
            _ => {
                self.is_heavy = true;
                let problem = Problem::from(Code::Overloaded);
                request.forget_reply();
                let Request { persist, head_only, bytes, .. } = request;
                reply::problem(&problem.into(), *persist, *head_only, &shared.date, bytes);
                problem.code.status()
            }
        };
        bytes = request.bytes.len();
        self.answers.fill(request.gap, &request.bytes);
        shared.answers.wrote(bytes);
        shared.count(Ask::Read(request.read).route(), status);
        self.deadline_ms = u64::MAX;
    }

    /// What was written from `start` on shows these positions.
    pub(super) fn mark(&mut self, start: usize, shows: &[Position]) {
        shows.iter().for_each(|&position| self.answers.mark(start, position));
    }

    /// A request is answered, or asked for: what follows is another, with a deadline of its own.
    #[inline]
    pub(super) fn finish(&mut self, persist: Persist) {
        self.deadline_ms = u64::MAX;
        if persist == Persist::Close {
            (self.state, self.progress) = (State::Finishing, Progress::Done);
        } else {
            self.state = State::Head;
        }
    }

    /// Writes the last answer of this connection.
    pub(super) fn refuse(&mut self, problem: Problem, shared: &mut Shared) {
        reply::problem(
            &problem.into(),
            Persist::Close,
            false,
            &shared.date,
            &mut self.answers.bytes,
        );
        shared.count(Route::None, problem.code.status());
        self.finish(Persist::Close);
    }

    // The end of a turn.

    /// Decides what it does next, after anything has happened to it: what may leave leaves.
    pub(super) fn settle(&mut self, shared: &mut Shared) {
        self.listed.touched = false;
        match self.state {
            State::Closing => return,
            State::Lingering => {
                if self.is_peer_gone || self.discarded > LINGER_BYTES {
                    return self.close(shared);
                }
                return self.receive(true, shared);
            }
            State::Finishing => self.receive(!self.is_peer_gone, shared),
            _ => {
                if self.kept.len() > KEPT_HARD_BYTES {
                    return self.close(shared);
                }
                self.go_on(shared);
            }
        }
        self.send(shared);
        self.account(shared);
    }

    /// Whether it receives, when its deadline is, and whether it has work for the next turn.
    fn go_on(&mut self, shared: &mut Shared) {
        // Where room is short, a connection keeps nothing more.
        let (mark, most_kept) =
            if shared.is_out_of_room() { (0, 0) } else { (OUT_MARK_BYTES, KEPT_BYTES) };
        if self.progress.has_work()
            && self.unsent() <= mark
            && !std::mem::replace(&mut self.listed.ready, true)
        {
            shared.ready.push(self.slot);
        }
        let now_ms = shared.now_ms();
        self.deadline_ms = match self.progress {
            // A request's deadline counts from its first byte; the rest of it does not move it.
            Progress::Unfinished => self.deadline_ms.min(now_ms + shared.limits.request_ms),
            _ => now_ms + shared.limits.idle_ms,
        };
        let is_full = self.progress.holds_input() && self.kept.len() > most_kept;
        self.receive(!is_full && !self.is_peer_gone, shared);
    }

    #[inline]
    fn receive(&mut self, on: bool, shared: &mut Shared) {
        if std::mem::replace(&mut self.receives, on) != on {
            shared.outputs.push_back(Output::Receive { slot: self.slot, on });
        }
    }

    /// Sends what may leave; else waits for the log, or ends if there is nothing more to send.
    fn send(&mut self, shared: &mut Shared) {
        if self.in_flight.is_some() {
            return;
        }
        if shared.planted == Some(Planted::UndurableAnswer) {
            self.answers.forget_marks();
        }
        let count = self.answers.sendable(|place| shared.owners[place].durable());
        if count > 0 {
            let mut buffer = std::mem::take(&mut self.spare);
            self.answers.freeze(count, &mut buffer);
            self.send_by_ms = shared.now_ms() + shared.limits.send_ms;
            self.in_flight = Some(InFlight { bytes: count, from: 0, buffer_bytes: buffer_bytes(&buffer) });
            shared.outputs.push_back(Output::Send { slot: self.slot, buffer, from: 0 });
            return;
        }
        if let Some(Position { place, lsn }) = self.answers.waits_for() {
            if !std::mem::replace(&mut self.listed.awaits_log, true) {
                shared.owners[place].wait(lsn, self.id());
            }
            return;
        }
        if self.answers.gaps() > 0 {
            return;
        }
        let is_over = matches!(self.state, State::Finishing);
        let is_left =
            self.is_peer_gone && matches!(self.progress, Progress::Idle | Progress::Unfinished);
        if is_over && !self.is_peer_gone {
            self.state = State::Lingering;
            self.deadline_ms = shared.now_ms() + LINGER_MS;
            shared.outputs.push_back(Output::Shutdown { slot: self.slot });
        } else if is_over || is_left {
            self.close(shared);
        }
    }

    /// Counts what it holds: what is frozen is there until all of it has left, and so is what a
    /// large buffer has grown to. What a closing connection held is released already.
    fn account(&mut self, shared: &mut Shared) {
        if matches!(self.state, State::Closing) {
            return;
        }
        let in_flight = self.in_flight.map_or(0, |send| send.buffer_bytes);
        let now = buffer_bytes(&self.answers.bytes) + buffer_bytes(&self.spare) + in_flight + self.kept.len();
        shared.connection_bytes = shared.connection_bytes + now - self.counted;
        self.counted = now;
    }

    /// Ends it now, whatever is in flight.
    pub(super) fn close(&mut self, shared: &mut Shared) {
        if !matches!(self.state, State::Closing) {
            self.release(shared);
            self.state = State::Closing;
            shared.outputs.push_back(Output::Close { slot: self.slot });
        }
    }

    /// Returns what it holds of the core's.
    fn release(&mut self, shared: &mut Shared) {
        shared.connection_bytes -= std::mem::take(&mut self.counted);
        self.drop_body(shared);
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Gathering(_, scatter, _) => shared.keep_scatter(scatter),
            State::Feeding(feed, _) => shared.answers.release(feed.reserved()),
            _ => {}
        }
    }

    pub(super) fn drop_body(&mut self, shared: &mut Shared) {
        let body = std::mem::take(&mut self.body);
        shared.keep_body(body);
    }

    // Deadlines.

    /// Looks whether it is late; `has_lingered` says that idle connections are not kept any more.
    pub(super) fn check_deadlines(&mut self, has_lingered: bool, shared: &mut Shared) {
        let now_ms = shared.now_ms();
        let is_waiting = self.listed.awaits_log || self.answers.gaps() > 0;
        let is_idle =
            self.progress == Progress::Idle && self.in_flight.is_none() && self.answers.is_empty();
        if is_idle && self.is_open() {
            if self.answers.bytes.capacity().max(self.spare.capacity()) > IDLE_BUFFER_BYTES {
                (self.answers.bytes, self.spare) = (Vec::new(), Vec::new());
                self.account(shared);
            }
            if has_lingered {
                return self.close(shared);
            }
        }
        if now_ms >= self.send_by_ms {
            return self.close(shared);
        }
        if now_ms < self.deadline_ms {
            return;
        }
        match self.state {
            State::Closing => {}
            State::Lingering => self.close(shared),
            _ if self.progress == Progress::Unfinished => {
                self.refuse(Code::RequestTimeout.into(), shared);
                self.touch(shared);
            }
            // Entries that are being applied, and answers that wait for the log or for another
            // core, are ours to be late with. A send in flight has a deadline of its own.
            _ if self.in_flight.is_some() || is_waiting || self.progress.holds_input() => {}
            _ => self.close(shared),
        }
    }
}
