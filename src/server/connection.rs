//! One connection: its state, what it waits for, and what it does next.
//!
//! ```text
//!   ┌─────────────────────────── answered ───────────────────────────┐
//!   ▼    head of a POST         body complete                        │
//!  Head ────────────────▶ Body ───────┬──▶ Feeding ── all applied ───┤
//!   │                                 └──▶ Asking ──▶ Gathering ─────┘
//!   └────────── head of an info request ─────▲
//!
//!  any of these ── refusal, or `connection: close` ──▶ Finishing
//!
//!  Finishing ── all is sent, shut down ──▶ Lingering ── peer closed, or bound ──▶ Closing ──▶ gone
//!      └────────── broken, or peer closed and nothing left to send ──────────────────▲
//! ```
//!
//! A connection has at most one send in flight, from a buffer that belongs to the driver until the
//! send has completed; new answers are written to another buffer. A connection that buffers too
//! many requests, because its answers are not read or its entries are still being applied, stops
//! receiving until it has caught up: TCP then holds the peer back. Parsing is in
//! [`super::requests`].

use super::answers::{Answers, Position};
use super::body::Body;
use super::budget::{buffer_bytes, free_unused};
use super::exchange::WantedCredit;
use super::feed::Feed;
use super::fragments::Scatter;
use super::limits::{
    BUFFERS_KEPT_MS, DRAIN_IDLE_MS, INPUT_HARD_MARK_BYTES, INPUT_MARK_BYTES, KEPT_BUFFER_BYTES,
    LINGER_BYTES, LINGER_MS, OUTPUT_MARK_BYTES,
};
use super::machine::{Output, Slot};
use super::planted_bug::PlantedBug;
use super::progress::Progress;
use super::send_clock::SendClock;
use super::shared::Shared;
use crate::api::problem::Code;
use crate::http::head;
use crate::http::response::Persist;

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Requests are parsed and answered.
    #[default]
    Head,
    /// A body is being received.
    Body(Body),
    /// A request to several cores is complete, and waits until it can be sent to them. A batch that
    /// is parsed is divided.
    Scattering(Scattered, Option<Box<Scatter>>, Persist),
    /// A scatter-gather waits for replies, then its answer is written.
    Gathering(Scattered, Box<Scatter>, Persist),
    /// Entries are being applied.
    Feeding(Box<Feed>, Persist),
    /// The last answer is written; further input is ignored.
    Finishing,
    /// The sending side is shut down. A bounded amount of further input is discarded, so that the
    /// last answer reaches the peer.
    Lingering,
    /// The driver was told to close it.
    Closing,
}

/// A request that several cores answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scattered {
    /// A batch of reads, whose body is complete.
    Batch,
    /// The figures of all slices.
    Info {
        /// Whether it is a HEAD request.
        head_only: bool,
    },
}

/// The send in flight.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    bytes: usize,
    from: usize,
    /// Bytes that its buffer occupies.
    buffer_bytes: usize,
}

/// The lists of a core that a connection is in.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    touched: bool,
    ready: bool,
    /// Whether it is registered as a waiter for the log.
    awaits_log: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) slot: Slot,
    /// Which connection of its slot this is.
    pub(super) generation: u32,
    /// Index of the slice at whose listener it was accepted.
    pub(super) local_slice: usize,
    pub(super) state: State,
    pub(super) progress: Progress,
    /// Buffered input: an unfinished head, or requests that must wait.
    pub(super) input: Vec<u8>,
    /// How many bytes of an unfinished head were scanned for its end.
    pub(super) scanned: usize,
    /// Whether the peer was told to send the empty body of a request without content.
    pub(super) is_continued: bool,
    pub(super) body: Vec<u8>,
    pub(super) answers: Answers,
    /// Reads that were parsed and are not answered, and how many of them other cores answer.
    pub(super) pending: usize,
    pub(super) pending_remote: usize,
    /// Reads that this core answers in steps. Until they are answered, none is started.
    pub(super) heavy_reads: usize,
    /// The credit that it waits for, if it is blocked by that alone.
    pub(super) wanted: Option<WantedCredit>,
    /// Whether its last read had, or would have had, a large answer: its next read waits for a turn
    /// with some of the share for large answers left.
    pub(super) is_heavy: bool,
    /// Size of the last reply of another core: a hint of what to reserve for the next one.
    pub(super) reply_bytes: usize,
    is_peer_gone: bool,
    /// Whether the driver was told to receive.
    receives: bool,
    in_flight: Option<InFlight>,
    /// The buffer of the last send, for the next one.
    spare: Vec<u8>,
    listed: Listed,
    /// When its request times out, or the connection has been idle for too long.
    pub(super) deadline_ms: u64,
    send_clock: SendClock,
    /// Bytes discarded since the last answer was written.
    discarded: usize,
    /// Bytes that it contributes to [`Shared::connection_bytes`].
    counted: usize,
}

impl Connection {
    /// Creates a connection that was just accepted.
    pub(super) fn new(
        slot: Slot,
        generation: u32,
        local_slice: usize,
        deadline_ms: u64,
        send_ms: u64,
    ) -> Self {
        Self {
            slot,
            generation,
            local_slice,
            state: State::Head,
            progress: Progress::Idle,
            input: Vec::new(),
            scanned: 0,
            is_continued: false,
            body: Vec::new(),
            answers: Answers::default(),
            pending: 0,
            pending_remote: 0,
            heavy_reads: 0,
            wanted: None,
            is_heavy: false,
            reply_bytes: 0,
            is_peer_gone: false,
            receives: false,
            in_flight: None,
            spare: Vec::new(),
            listed: Listed::default(),
            deadline_ms,
            send_clock: SendClock::new(send_ms),
            discarded: 0,
            counted: 0,
        }
    }

    /// Its id in requests to other cores, and as a waiter for the log.
    #[inline]
    pub(super) const fn id(&self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// What it waits for.
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// Number of replies of other cores that it waits for.
    pub fn gaps(&self) -> usize {
        self.answers.gaps()
    }

    /// Whether requests are still parsed.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.state, State::Finishing | State::Lingering | State::Closing)
    }

    /// Bytes of answers that are not sent.
    fn unsent(&self) -> usize {
        self.answers.bytes.len() + self.in_flight.map_or(0, |send| send.bytes - send.from)
    }

    /// Lists it to be updated at the end of the turn.
    #[inline]
    pub(super) fn touch(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.listed.touched, true) {
            shared.touched.push(self.slot);
        }
    }

    // Events.

    /// Bytes were received that are ignored.
    pub(super) fn discard(&mut self, bytes: usize, shared: &mut Shared) {
        self.discarded += bytes;
        self.touch(shared);
    }

    /// The peer has shut down its sending side.
    pub(super) fn peer_closed(&mut self, shared: &mut Shared) {
        self.is_peer_gone = true;
        self.touch(shared);
    }

    /// The kernel took `count` bytes of the send in flight.
    pub(super) fn sent(&mut self, mut buffer: Vec<u8>, count: usize, shared: &mut Shared) {
        if matches!(self.state, State::Closing) {
            return;
        }
        let mut send = self.in_flight.take().expect("a send was in flight");
        assert!(
            buffer.len() == send.bytes && count <= send.bytes - send.from,
            "the driver returns the buffer unchanged"
        );
        shared.counters.bytes_out += count as u64;
        self.send_clock.took(count, shared.now_ms());
        send.from += count;
        if send.from < send.bytes {
            self.in_flight = Some(send);
            shared.outputs.push_back(Output::Send { slot: self.slot, buffer, from: send.from });
            return;
        }
        buffer.clear();
        if buffer.capacity() <= OUTPUT_MARK_BYTES {
            self.spare = buffer;
        }
        self.send_clock.stop(shared.now_ms());
        self.touch(shared);
    }

    /// Takes it off the ready list. Returns whether it has work.
    pub(super) fn take_turn(&mut self) -> bool {
        (self.listed.ready, self.wanted) = (false, None);
        self.is_open() && self.progress.has_work()
    }

    /// Whether it has work, and all of the turn is spent that its work needs: entries that may
    /// still be applied, large answers that may still be written, or credits.
    pub(super) fn has_no_share(&self, shared: &mut Shared) -> bool {
        if self.progress == Progress::Blocked {
            return self.wanted.is_some_and(|wanted| shared.exchange.keeps_waiting(wanted));
        }
        let is_spent = match &self.state {
            State::Feeding(..) => shared.has_spent_entries() || shared.feed_bytes_left == 0,
            State::Scattering(Scattered::Batch, None, _) => shared.answers.own.is_spent(),
            State::Gathering(Scattered::Batch, scatter, _) => {
                scatter.is_whole() && shared.answers.own.is_spent()
            }
            State::Head => {
                shared.requests_left == 0 || self.is_heavy && shared.answers.own.is_spent()
            }
            _ => false,
        };
        self.progress == Progress::Ready && is_spent
    }

    /// Lists it for the next turn immediately, if it got no credit: requests that arrive before
    /// then do not overtake it.
    pub(super) fn requeue_without_credit(&mut self, shared: &Shared) -> bool {
        self.is_open()
            && self.progress == Progress::Blocked
            && self.may_answer(shared)
            && !std::mem::replace(&mut self.listed.ready, true)
    }

    /// Whether few enough of its answers are unsent for more. While the budget is full, none may
    /// be.
    pub(super) fn may_answer(&self, shared: &Shared) -> bool {
        self.unsent() <= if shared.is_answer_budget_full() { 0 } else { OUTPUT_MARK_BYTES }
    }

    /// Lists it for this turn, if it has work that waits only for the later phase of the turn:
    /// entries to apply, large answers, or a credit that others wait for, too.
    #[inline]
    pub(super) fn queue_work(&mut self, shared: &mut Shared) {
        let is_later = self.is_heavy
            || matches!(
                self.state,
                State::Feeding(..) | State::Scattering(..) | State::Gathering(..)
            );
        if !shared.may_apply
            && match self.progress {
                Progress::Blocked => self.may_answer(shared),
                progress => is_later && progress == Progress::Ready,
            }
            && !std::mem::replace(&mut self.listed.ready, true)
        {
            shared.ready.push(self.slot);
        }
    }

    /// The log position that it waited for is durable.
    pub(super) fn released(&mut self, shared: &mut Shared) {
        self.listed.awaits_log = false;
        self.touch(shared);
    }

    /// Marks the answer from offset `start` on with the log positions that it shows.
    pub(super) fn mark(&mut self, start: usize, positions: &[Position]) {
        positions.iter().for_each(|&position| self.answers.mark(start, position, false));
    }

    /// Ends a request that is answered, or sent to its owner. The next request gets its own
    /// deadline.
    #[inline]
    pub(super) fn finish(&mut self, persist: Persist) {
        self.deadline_ms = u64::MAX;
        if persist == Persist::Close {
            (self.state, self.progress) = (State::Finishing, Progress::Done);
        } else {
            self.state = State::Head;
        }
    }

    // The end of a turn.

    /// Decides what the connection does next, after an event or an answer: sends what may be sent.
    pub(super) fn update(&mut self, shared: &mut Shared) {
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
                if self.input.len() > INPUT_HARD_MARK_BYTES {
                    return self.close(shared);
                }
                self.schedule(shared);
            }
        }
        self.send(shared);
        self.account(shared);
    }

    /// Decides whether it receives, sets its deadline, and lists it for the next turn if it has
    /// work.
    fn schedule(&mut self, shared: &mut Shared) {
        if self.progress.has_work()
            && self.may_answer(shared)
            && !std::mem::replace(&mut self.listed.ready, true)
        {
            shared.ready.push(self.slot);
        }
        let now_ms = shared.now_ms();
        self.deadline_ms = match self.progress {
            // Set when the last bytes of the body arrived.
            Progress::Unfinished if matches!(self.state, State::Body(_)) => self.deadline_ms,
            // A head's deadline counts from its first byte; later bytes do not extend it.
            Progress::Unfinished => self.deadline_ms.min(now_ms + shared.limits.request_ms),
            _ => now_ms + shared.limits.idle_ms,
        };
        // While the budget is full, a connection buffers no further input.
        let max_input = if shared.is_answer_budget_full() { 0 } else { INPUT_MARK_BYTES };
        let is_full = self.progress.holds_input() && self.input.len() > max_input;
        self.receive(!is_full && !self.is_peer_gone, shared);
    }

    #[inline]
    fn receive(&mut self, on: bool, shared: &mut Shared) {
        if std::mem::replace(&mut self.receives, on) != on {
            shared.outputs.push_back(Output::Receive { slot: self.slot, on });
        }
    }

    /// Sends what may be sent. If that is nothing, waits for the log, or ends the connection if
    /// nothing is left to send.
    fn send(&mut self, shared: &mut Shared) {
        if self.in_flight.is_some() {
            return;
        }
        if shared.planted == Some(PlantedBug::UndurableAnswer) {
            self.answers.forget_marks();
        }
        let mut count = self.answers.sendable(|local_slice| shared.owners[local_slice].durable());
        if count == 0 && self.waits_for_space(shared) {
            count = self.refuse_unstored(shared);
        }
        if matches!(self.state, State::Closing) {
            return;
        }
        if count > 0 {
            let mut buffer = std::mem::take(&mut self.spare);
            self.answers.freeze(count, &mut buffer);
            self.send_clock.start(shared.now_ms());
            self.in_flight =
                Some(InFlight { bytes: count, from: 0, buffer_bytes: buffer_bytes(&buffer) });
            shared.outputs.push_back(Output::Send { slot: self.slot, buffer, from: 0 });
            return;
        }
        if let Some(Position { local_slice, lsn }) = self.answers.waits_for() {
            if !std::mem::replace(&mut self.listed.awaits_log, true) {
                shared.owners[local_slice].wait(lsn, self.id());
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

    /// Updates the bytes that it contributes to the core's sum. A buffer in flight counts until all
    /// of it is sent, and a large buffer counts with its capacity. A closing connection counts
    /// nothing.
    fn account(&mut self, shared: &mut Shared) {
        if matches!(self.state, State::Closing) {
            return;
        }
        let in_flight = self.in_flight.map_or(0, |send| send.buffer_bytes);
        let now = buffer_bytes(&self.answers.bytes)
            + buffer_bytes(&self.spare)
            + in_flight
            + buffer_bytes(&self.input);
        shared.connection_bytes = shared.connection_bytes + now - self.counted;
        self.counted = now;
    }

    /// Frees the buffers of an idle connection: large ones at once, all of them after a while.
    fn free_buffers(&mut self, shared: &mut Shared) {
        let idle_since_ms = self.deadline_ms.saturating_sub(shared.limits.idle_ms);
        let is_long = shared.now_ms() > idle_since_ms.saturating_add(BUFFERS_KEPT_MS);
        let keeps = if is_long { 0 } else { KEPT_BUFFER_BYTES };
        let buffers = [&mut self.answers.bytes, &mut self.spare, &mut self.input];
        buffers.into_iter().for_each(|buffer| free_unused(buffer, keeps));
        self.account(shared);
    }

    /// Closes it now, whatever is in flight.
    pub(super) fn close(&mut self, shared: &mut Shared) {
        if !matches!(self.state, State::Closing) {
            self.release(shared);
            self.state = State::Closing;
            shared.outputs.push_back(Output::Close { slot: self.slot });
        }
    }

    /// Releases its share of the core's budgets.
    fn release(&mut self, shared: &mut Shared) {
        shared.connection_bytes -= std::mem::take(&mut self.counted);
        self.drop_body(shared);
        if self.heavy_reads > 0 || matches!(self.state, State::Gathering(..)) {
            shared.cancel_heavy(self.id());
        }
        match std::mem::replace(&mut self.state, State::Closing) {
            State::Gathering(_, scatter, _) | State::Scattering(_, Some(scatter), _) => {
                shared.recycle_scatter(scatter);
            }
            State::Feeding(feed, _) => shared.answers.release(feed.reserved()),
            _ => {}
        }
    }

    pub(super) fn drop_body(&mut self, shared: &mut Shared) {
        let body = std::mem::take(&mut self.body);
        shared.recycle_body(body);
    }

    // Deadlines.

    /// Checks its deadlines.
    pub(super) fn check_deadlines(&mut self, shared: &mut Shared) {
        let now_ms = shared.now_ms();
        let is_waiting = self.listed.awaits_log || self.answers.gaps() > 0;
        let is_idle =
            self.progress == Progress::Idle && self.in_flight.is_none() && self.answers.is_empty();
        if is_idle && self.is_open() {
            self.free_buffers(shared);
            let idle_since_ms = self.deadline_ms.saturating_sub(shared.limits.idle_ms);
            if shared.life.draining_since_ms().is_some()
                && now_ms >= idle_since_ms.saturating_add(DRAIN_IDLE_MS)
            {
                // Shut down first: a request that crosses this meets a closed connection, not a
                // reset, and clients send it again.
                self.finish(Persist::Close);
                return self.touch(shared);
            }
        }
        if self.send_clock.is_over(now_ms) {
            return self.close(shared);
        }
        if now_ms < self.deadline_ms {
            return;
        }
        match self.state {
            State::Closing => {}
            State::Lingering => self.close(shared),
            _ if self.progress == Progress::Unfinished => {
                let head_only =
                    matches!(self.state, State::Head) && head::is_head_request(&self.input);
                self.refuse(Code::RequestTimeout.into(), head_only, shared);
                self.touch(shared);
            }
            // Delays of entries being applied, and of answers that wait for the log or another
            // core, are not the peer's fault. A send in flight has a deadline of its own.
            _ if self.in_flight.is_some() || is_waiting || self.progress.holds_input() => {}
            _ => self.close(shared),
        }
    }
}
