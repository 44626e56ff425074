//! A core's part for one slice: the slice's connections, its service, and what each of them does in a turn.
//!
//! A connection has at most one send in flight, from a buffer that is frozen meanwhile; answers grow in another. One that keeps too much
//! unread, because its own answers do not leave or its entries are still being applied, has its receive cancelled until it
//! has caught up: TCP holds its peer back.

use super::super::Failure;
use super::super::buffers::{ALL_BYTES, BYTES, GROUP};
use super::super::connections::{Conn, Connections, Phase, Receive, Slot};
use super::super::op::{Kind, Op};
use super::super::ring::Completion;
use super::super::service::{Clock, Next, Service};
use super::accept::Listening;
use super::{Io, Setup};
use crate::api::{KEPT_BYTES, OUT_MARK_BYTES};
use crate::limits::Limits;
use crate::metrics::Counters;
use io_uring::{cqueue, opcode, squeue, types};
use std::os::fd::AsRawFd;

/// Bytes that a closing connection may still send: a whole body, so that the refusal of it arrives.
const DRAIN_BYTES: usize = 16 << 20;
/// What a connection may keep at all: what it may keep unread, and what can come before its receive is cancelled.
const KEPT_HARD_BYTES: usize = KEPT_BYTES + ALL_BYTES;
/// A larger buffer of an idle connection goes back to the allocator.
pub(super) const IDLE_BUFFER_BYTES: usize = 16 << 10;

const _: () = assert!(KEPT_BYTES >= BYTES, "one receive always fits");

/// One slice's part of a core.
pub(super) struct Part<S: Service> {
    /// Which of the core's parts it is.
    pub(super) number: u8,
    pub(super) service: S,
    pub(super) conns: Connections<S::Session>,
    pub(super) listeners: Vec<Listening>,
    pub(super) limits: Limits,
    pub(super) dirty: Vec<Slot>,
    ready: Vec<Slot>,
    rotation: usize,
    starved: Vec<Slot>,
    pub(super) clock: Clock,
    pub(super) next_tick_ms: u64,
    pub(super) tick: u32,
    pub(super) draining_since_ms: Option<u64>,
    /// Bytes that connections hold: of answers, and of requests whose turn has not come.
    pub(super) held: usize,
    /// How many sends this turn has made.
    pub(super) sends: u64,
    pub(super) counters: Counters,
}

impl<S: Service> Part<S> {
    /// Sets a part up: its listeners accept.
    pub(super) fn new(number: u8, setup: Setup<S>, limits: Limits, io: &mut Io) -> Self {
        let Setup { listeners, service } = setup;
        let mut part = Self {
            number,
            service,
            conns: Connections::new(number),
            listeners: listeners.into_iter().map(Listening::new).collect(),
            limits,
            dirty: Vec::new(),
            ready: Vec::new(),
            rotation: 0,
            starved: Vec::new(),
            clock: Clock { monotonic_ms: 0, unix_ms: 0 },
            next_tick_ms: 0,
            tick: 0,
            draining_since_ms: None,
            held: 0,
            sends: 0,
            counters: Counters::default(),
        };
        (0..part.listeners.len()).for_each(|listener| part.arm_accept(listener, io));
        part
    }

    pub(super) fn is_done(&mut self) -> bool {
        let Some(since) = self.draining_since_ms else { return false };
        let is_at_rest = self.conns.is_empty() && self.service.rests();
        is_at_rest || self.clock.monotonic_ms > since.saturating_add(self.limits.drain_ms)
    }

    /// Whether nothing goes on before something completes, or comes.
    pub(super) fn is_idle(&mut self) -> bool {
        let Self { ready, conns, service, .. } = self;
        let is_blocked = |slot: &Slot| conns.get(*slot).is_none_or(|conn| service.is_blocked(&conn.session));
        !service.is_busy() && ready.iter().all(is_blocked)
    }

    /// When the next turn is wanted at the latest.
    pub(super) fn wakes_at_ms(&self) -> u64 {
        let accepts = self.listeners.iter().filter_map(|listener| listener.again_at_ms);
        accepts.chain(self.service.wakes_at_ms()).fold(self.next_tick_ms, u64::min)
    }

    /// A turn begins: what has come from other cores is handed over, and what is busy from the last turn goes on.
    pub(super) fn begin(&mut self, clock: Clock, io: &mut Io) {
        self.clock = clock;
        self.service.begin(clock, self.held);
        self.take_back(io);
        for slot in self.take_ready() {
            self.go_on(slot, io);
        }
    }

    /// All that came is looked at: what the disk has done is heard, and what is to go to others is sent.
    pub(super) fn flush(&mut self, io: &mut Io) -> Result<(), Failure> {
        if self.clock.monotonic_ms >= self.next_tick_ms {
            self.tick(io);
        }
        self.service.flush(self.clock)
    }

    /// Takes what has come from others meanwhile.
    pub(super) fn hear(&mut self, io: &mut Io) {
        self.service.hear();
        self.take_back(io);
    }

    /// The turn ends: what became durable is released, answers leave, and what was taken in is on its way to the disk.
    pub(super) fn end(&mut self, io: &mut Io) {
        self.release();
        self.send_all(io);
        self.service.submit(self.clock);
    }

    /// Something of this part has completed.
    pub(super) fn complete(&mut self, op: Op, completion: Completion, io: &mut Io) {
        match op.kind {
            Kind::Receive => self.received(op, completion, io),
            Kind::Send => self.sent(op, completion.result, io),
            Kind::Accept => self.accepted(op.slot as usize, completion, io),
            Kind::Shutdown => {
                self.conns.of(op).shutting = false;
                self.after(op.slot, io);
            }
            Kind::Cancel | Kind::Wake => {}
        }
    }

    // Bytes come.

    pub(super) fn arm_receive(&mut self, slot: Slot, io: &mut Io) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.receive != Receive::Off || conn.peer_closed || conn.starved || conn.phase == Phase::Closing {
            return;
        }
        let entry = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), GROUP)
            .build()
            .user_data(conn.op(Kind::Receive, slot));
        conn.receive = Receive::Armed;
        // SAFETY: received bytes go to the provided buffers, which live as long as the ring.
        unsafe { io.ring.push(&entry) };
    }

    fn received(&mut self, op: Op, completion: Completion, io: &mut Io) {
        let Self { conns, service, counters, .. } = self;
        let conn = conns.of(op);
        if !cqueue::more(completion.flags) {
            conn.receive = Receive::Off;
        }
        match completion.result {
            count if count > 0 => {
                let id = cqueue::buffer_select(completion.flags).expect("received bytes are in a buffer");
                let bytes = io.buffers.bytes(id, count as usize);
                counters.bytes_in += bytes.len() as u64;
                match conn.phase {
                    Phase::Open => {
                        let before = conn.written();
                        conn.next = service.receive(&mut conn.session, bytes, &mut conn.out);
                        conn.restart_deadline(before);
                    }
                    Phase::Finishing | Phase::Draining => conn.thrown += bytes.len(),
                    Phase::Closing => {}
                }
                io.buffers.give_back(id);
                self.after(op.slot, io);
            }
            0 => {
                conn.peer_closed = true;
                self.after(op.slot, io);
            }
            error => match -error {
                libc::ENOBUFS => {
                    if !std::mem::replace(&mut conn.starved, true) {
                        self.starved.push(op.slot);
                    }
                }
                libc::ECANCELED => self.after(op.slot, io),
                _ => self.abandon(op.slot),
            },
        }
    }

    /// Arms again what found no buffer: those of this turn are back.
    pub(super) fn feed_starved(&mut self, io: &mut Io) {
        for slot in std::mem::take(&mut self.starved) {
            if let Some(conn) = self.conns.get(slot) {
                conn.starved = false;
                self.after(slot, io);
            }
        }
    }

    /// Hands over what has come from other cores.
    fn take_back(&mut self, io: &mut Io) {
        while let Some(ticket) = self.service.arrived() {
            let op = Op::decode(ticket).expect("a ticket of this loop's own");
            let Self { conns, service, .. } = self;
            let Some(conn) = conns.waiting(op) else {
                service.take_back(None);
                continue;
            };
            let before = conn.written();
            conn.next = service.take_back(Some((&mut conn.session, &mut conn.out)));
            conn.restart_deadline(before);
            self.after(op.slot, io);
        }
    }

    /// The connections whose turn has come. Whoever is first has more of it: another each time.
    fn take_ready(&mut self) -> Vec<Slot> {
        let mut ready = std::mem::take(&mut self.ready);
        if ready.len() > 1 {
            self.rotation = (self.rotation + 1) % ready.len();
            ready.rotate_left(self.rotation);
        }
        ready
    }

    /// A busy connection's turn has come.
    fn go_on(&mut self, slot: Slot, io: &mut Io) {
        let Self { conns, service, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        conn.ready = false;
        if conn.phase == Phase::Open && conn.next == Next::Busy {
            let before = conn.written();
            conn.next = service.resume(&mut conn.session, &mut conn.out);
            conn.restart_deadline(before);
            self.after(slot, io);
        }
    }

    /// Decides what a connection does next, after anything has happened to it.
    pub(super) fn after(&mut self, slot: Slot, io: &mut Io) {
        let (now, limits) = (self.clock.monotonic_ms, self.limits);
        let Self { conns, service, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        match conn.phase {
            Phase::Closing => return self.close(slot),
            Phase::Draining => {
                if conn.peer_closed || conn.thrown > DRAIN_BYTES {
                    return self.abandon(slot);
                }
                return self.arm_receive(slot, io);
            }
            Phase::Finishing | Phase::Open => {}
        }
        if conn.next == Next::Close && conn.phase == Phase::Open {
            conn.phase = Phase::Finishing;
        }
        let kept = service.kept_bytes(&conn.session);
        if kept > KEPT_HARD_BYTES {
            return self.abandon(slot);
        }
        // Where room is short, a connection keeps nothing more.
        let (mark, most_kept) = if self.held < limits.answer_bytes { (OUT_MARK_BYTES, KEPT_BYTES) } else { (0, 0) };
        let has_room = conn.unsent() <= mark;
        if conn.phase == Phase::Open {
            if conn.next == Next::Busy && has_room && !std::mem::replace(&mut conn.ready, true) {
                self.ready.push(slot);
            }
            conn.deadline_ms = match conn.next {
                // A request's deadline counts from its first byte; the rest of it does not move it.
                Next::Unfinished => conn.deadline_ms.min(now + limits.request_ms),
                _ => now + limits.idle_ms,
            };
        }
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push(slot);
        }
        if matches!(conn.next, Next::Busy | Next::Away) && kept > most_kept {
            self.cancel_receive(slot, io);
        } else {
            self.arm_receive(slot, io);
        }
    }

    fn cancel_receive(&mut self, slot: Slot, io: &mut Io) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.receive != Receive::Armed {
            return;
        }
        conn.receive = Receive::Cancelling;
        let entry =
            opcode::AsyncCancel::new(conn.op(Kind::Receive, slot)).build().user_data(conn.op(Kind::Cancel, slot));
        // SAFETY: points at nothing.
        unsafe { io.ring.push(&entry) };
    }

    // Answers leave.

    /// What waited for the disk, and has become durable, is looked at again.
    fn release(&mut self) {
        while let Some(ticket) = self.service.released() {
            let op = Op::decode(ticket).expect("a ticket of this loop's own");
            let Some(conn) = self.conns.waiting(op) else { continue };
            conn.waiting = false;
            if !std::mem::replace(&mut conn.dirty, true) {
                self.dirty.push(op.slot);
            }
        }
    }

    fn send_all(&mut self, io: &mut Io) {
        for slot in std::mem::take(&mut self.dirty) {
            self.send_one(slot, io);
        }
    }

    fn send_one(&mut self, slot: Slot, io: &mut Io) {
        let Self { conns, service, held, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        conn.dirty = false;
        // What is frozen is there until all of it has left, and so is what a large buffer has grown to.
        let holds = takes(&conn.out.bytes) + takes(&conn.frozen) + service.kept_bytes(&conn.session);
        *held = *held + holds - conn.counted;
        conn.counted = holds;
        if conn.sending || matches!(conn.phase, Phase::Draining | Phase::Closing) {
            return;
        }
        let durable = service.durable();
        let count = conn.out.sendable(durable);
        if count > 0 {
            conn.out.freeze(count, &mut conn.frozen);
            conn.send_by_ms = self.clock.monotonic_ms + self.limits.send_ms;
            self.sends += 1;
            let entry = send(conn, slot);
            // SAFETY: `frozen` is not touched while `sending`, and the slot keeps it until the send has completed.
            return unsafe { io.ring.push(&entry) };
        }
        if let Some(stamp) = conn.out.waits_for() {
            if !std::mem::replace(&mut conn.waiting, true) {
                service.wait(stamp, conn.op(Kind::Send, slot));
            }
            return;
        }
        if conn.out.gaps() > 0 {
            return;
        }
        let is_over = conn.phase == Phase::Finishing;
        let is_left = conn.peer_closed && matches!(conn.next, Next::Idle | Next::Unfinished);
        if is_over && !conn.peer_closed {
            self.shut(slot, io);
        } else if is_over || is_left {
            self.abandon(slot);
        }
    }

    fn sent(&mut self, op: Op, result: i32, io: &mut Io) {
        let (now, send_ms) = (self.clock.monotonic_ms, self.limits.send_ms);
        let conn = self.conns.of(op);
        conn.sending = false;
        if conn.phase == Phase::Closing {
            return self.close(op.slot);
        }
        if result <= 0 {
            return self.abandon(op.slot);
        }
        conn.sent += result as usize;
        self.counters.bytes_out += result as u64;
        if conn.sent < conn.frozen.len() {
            conn.send_by_ms = now + send_ms;
            let entry = send(conn, op.slot);
            // SAFETY: as for the first part.
            return unsafe { io.ring.push(&entry) };
        }
        conn.frozen.clear();
        if conn.frozen.capacity() > OUT_MARK_BYTES {
            conn.frozen = Vec::new();
        }
        conn.sent = 0;
        conn.send_by_ms = u64::MAX;
        self.after(op.slot, io);
    }
}

/// What a buffer takes, but for what every connection may keep.
const fn takes(buffer: &Vec<u8>) -> usize {
    if buffer.capacity() > IDLE_BUFFER_BYTES { buffer.capacity() } else { buffer.len() }
}

/// A send of what is left of the frozen answers.
fn send<T>(conn: &mut Conn<T>, slot: Slot) -> squeue::Entry {
    conn.sending = true;
    let left = &conn.frozen[conn.sent..];
    let len = u32::try_from(left.len()).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(conn.fd.as_raw_fd()), left.as_ptr(), len)
        .flags(libc::MSG_NOSIGNAL)
        .build()
        .user_data(conn.op(Kind::Send, slot))
}
