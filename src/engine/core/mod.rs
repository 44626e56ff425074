//! One core: its ring, its connections, and its turn, once around.
//!
//! A turn: (1) one `io_uring_enter` submits what the last turn queued, runs what is deferred and reaps; one reading of the clocks.
//! (2) Received bytes go to the service where they lie; what is busy from the last turn goes on. (3) Once a turn, every connection that
//! got answers has them sent in one piece, buffers go back to the kernel, and what starved for one is armed again; before that, what became
//! durable is released, and behind it, when it is known who waits for the disk, what was taken in is handed to it.
//!
//! A connection has at most one send in flight, from a buffer that is frozen meanwhile; answers grow in another. One that keeps too much
//! unread, because its own answers do not leave or its entries are still being applied, has its receive cancelled until it
//! has caught up: TCP holds its peer back.

mod accept;
mod end;
mod wait;

use super::Failure;
use super::arena::Arena;
use super::buffers::{ALL_BYTES, BYTES, Buffers, GROUP};
use super::connections::{Conn, Connections, Phase, Receive, Slot};
use super::control::{Command, Control};
use super::op::{Kind, Op};
use super::placement::touch_stack;
use super::ring::{Completion, Ring};
use super::service::{Clock, Next, Service};
use crate::api::{KEPT_BYTES, OUT_MARK_BYTES};
use crate::metrics::Counters;
use accept::Listening;
use io_uring::{cqueue, opcode, squeue, types};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Bytes that a closing connection may still send: a whole body, so that the refusal of it arrives.
const DRAIN_BYTES: usize = 16 << 20;
/// What a connection may keep at all: what it may keep unread, and what can come before its receive is cancelled.
const KEPT_HARD_BYTES: usize = KEPT_BYTES + ALL_BYTES;
/// A larger buffer of an idle connection goes back to the allocator.
const IDLE_BUFFER_BYTES: usize = 16 << 10;

const _: () = assert!(KEPT_BYTES >= BYTES, "one receive always fits");

/// Bounds of one core, all of them asserted where they are configured.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; more are answered 503.
    pub connections: usize,
    /// How long a request may stay unfinished, in milliseconds.
    pub request_ms: u64,
    /// How long a connection may stay idle, in milliseconds.
    pub idle_ms: u64,
    /// How long a peer may take none of its answers, in milliseconds.
    pub send_ms: u64,
    /// How long idle connections are kept while draining, in milliseconds.
    pub linger_ms: u64,
    /// How long anything at all may take while draining, in milliseconds.
    pub drain_ms: u64,
    /// What connections may hold: answers that have not left, and requests whose turn has not come; beyond that, large answers are refused.
    pub answer_bytes: usize,
    /// Large answers on their way between cores, all of them together.
    pub cargo_bytes: usize,
    /// Bodies that are being received or applied.
    pub body_bytes: usize,
    /// How long to look out for answers of other cores before going to sleep, in nanoseconds; 0 where cores share CPUs.
    pub spin_ns: u64,
    /// Whether other cores run on the same CPU.
    pub shares_cpu: bool,
}

/// One core.
pub struct Core<S: Service> {
    arena: Option<Arena>,
    ring: Ring,
    buffers: Buffers,
    service: S,
    conns: Connections<S::Session>,
    listeners: Vec<Listening>,
    limits: Limits,
    control: Control,
    dirty: Vec<Slot>,
    ready: Vec<Slot>,
    rotation: usize,
    starved: Vec<Slot>,
    started: Instant,
    clock: Clock,
    next_tick_ms: u64,
    tick: u32,
    draining_since_ms: Option<u64>,
    /// Bytes that connections hold: of answers, and of requests whose turn has not come.
    held: usize,
    /// When the turn began, how long the one before it took, and how many sends this one has made.
    turn_began: Instant,
    last_turn_ns: u64,
    sends: u64,
    counters: Counters,
}

impl<S: Service> Core<S> {
    /// Sets a core up on the calling thread, which must be the one that runs it, and the one that has adopted `arena`.
    pub fn new(
        listeners: Vec<TcpListener>,
        service: S,
        limits: Limits,
        control: Control,
        arena: Option<Arena>,
    ) -> Result<Self, Failure> {
        let ring = Ring::new()?;
        let buffers = Buffers::new(ring.submitter())?;
        let mut core = Self {
            arena,
            ring,
            buffers,
            service,
            conns: Connections::new(),
            listeners: listeners.into_iter().map(Listening::new).collect(),
            limits,
            control,
            dirty: Vec::new(),
            ready: Vec::new(),
            rotation: 0,
            starved: Vec::new(),
            started: Instant::now(),
            clock: Clock { monotonic_ms: 0, unix_ms: 0 },
            next_tick_ms: 0,
            tick: 0,
            draining_since_ms: None,
            held: 0,
            turn_began: Instant::now(),
            last_turn_ns: 0,
            sends: 0,
            counters: Counters::default(),
        };
        (0..core.listeners.len()).for_each(|listener| core.arm_accept(listener));
        core.ring.watch(&core.control);
        Ok(core)
    }

    /// Turns until told to stop. Returns the service and what the loop has counted.
    pub fn run(mut self) -> Result<(S, Counters), Failure> {
        touch_stack();
        while !self.is_done() {
            self.turn()?;
        }
        self.close_all()?;
        self.counters.spilled_bytes = self.arena.as_ref().map_or(0, Arena::spilled) as u64;
        Ok((self.service, self.counters))
    }

    fn is_done(&mut self) -> bool {
        if self.control.command() == Command::Stop {
            return true;
        }
        let Some(since) = self.draining_since_ms else { return false };
        let is_at_rest = self.conns.is_empty() && self.service.rests();
        is_at_rest || self.clock.monotonic_ms > since.saturating_add(self.limits.drain_ms)
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let is_loading = self.service.is_loading();
        self.wait()?;
        self.control.turns();
        self.read_clock();
        self.service.begin(self.clock, self.held);
        self.take_back();
        for slot in self.take_ready() {
            self.go_on(slot);
        }
        while let Some(completion) = self.ring.reap() {
            self.complete(completion)?;
        }
        if self.clock.monotonic_ms >= self.next_tick_ms {
            self.tick();
        }
        self.service.flush(self.clock)?;
        self.release();
        self.send_all();
        self.service.submit(self.clock);
        self.buffers.publish();
        self.feed_starved();
        if let Some(arena) = &self.arena {
            if is_loading && !self.service.is_loading() {
                arena.warm();
            }
            arena.look_ahead();
        }
        // Turns that load are as long as a step of that, and answer no read.
        if !is_loading {
            self.count_turn();
        }
        Ok(())
    }

    fn count_turn(&mut self) {
        let sends = std::mem::take(&mut self.sends);
        let turn_ns = self.turn_began.elapsed().as_nanos() as u64;
        self.counters.turns.record(turn_ns, 1);
        self.counters.sends.record(turn_ns + self.last_turn_ns, sends);
        self.last_turn_ns = turn_ns;
    }

    fn read_clock(&mut self) {
        self.turn_began = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let passed = self.turn_began - self.started;
        self.clock = Clock { monotonic_ms: passed.as_millis() as u64, unix_ms: unix.as_millis() as u64 };
    }

    fn complete(&mut self, completion: Completion) -> Result<(), Failure> {
        let op = Op::decode(completion.user_data).expect("a completion of this loop's own");
        match op.kind {
            Kind::Receive => self.received(op, completion),
            Kind::Send => self.sent(op, completion.result),
            Kind::Accept => self.accepted(op.slot as usize, completion),
            Kind::Shutdown => {
                self.conns.of(op).shutting = false;
                self.after(op.slot);
            }
            Kind::Cancel => {}
            Kind::Wake => {
                if !cqueue::more(completion.flags) {
                    self.ring.watch(&self.control);
                }
                if self.control.command() >= Command::Drain {
                    self.drain();
                }
            }
        }
        Ok(())
    }

    // Bytes come.

    fn arm_receive(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.receive != Receive::Off || conn.peer_closed || conn.starved || conn.phase == Phase::Closing {
            return;
        }
        let entry = opcode::RecvMulti::new(types::Fd(conn.fd.as_raw_fd()), GROUP)
            .build()
            .user_data(conn.op(Kind::Receive, slot));
        conn.receive = Receive::Armed;
        // SAFETY: received bytes go to the provided buffers, which live as long as the ring.
        unsafe { self.ring.push(&entry) };
    }

    fn received(&mut self, op: Op, completion: Completion) {
        let Self { conns, buffers, service, counters, .. } = self;
        let conn = conns.of(op);
        if !cqueue::more(completion.flags) {
            conn.receive = Receive::Off;
        }
        match completion.result {
            count if count > 0 => {
                let id = cqueue::buffer_select(completion.flags).expect("received bytes are in a buffer");
                let bytes = buffers.bytes(id, count as usize);
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
                buffers.give_back(id);
                self.after(op.slot);
            }
            0 => {
                conn.peer_closed = true;
                self.after(op.slot);
            }
            error => match -error {
                libc::ENOBUFS => {
                    if !std::mem::replace(&mut conn.starved, true) {
                        self.starved.push(op.slot);
                    }
                }
                libc::ECANCELED => self.after(op.slot),
                _ => self.abandon(op.slot),
            },
        }
    }

    /// Arms again what found no buffer: those of this turn are back.
    fn feed_starved(&mut self) {
        for slot in std::mem::take(&mut self.starved) {
            if let Some(conn) = self.conns.get(slot) {
                conn.starved = false;
                self.after(slot);
            }
        }
    }

    /// Hands over what has come from other cores.
    fn take_back(&mut self) {
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
            self.after(op.slot);
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
    fn go_on(&mut self, slot: Slot) {
        let Self { conns, service, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        conn.ready = false;
        if conn.phase == Phase::Open && conn.next == Next::Busy {
            let before = conn.written();
            conn.next = service.resume(&mut conn.session, &mut conn.out);
            conn.restart_deadline(before);
            self.after(slot);
        }
    }

    /// Decides what a connection does next, after anything has happened to it.
    fn after(&mut self, slot: Slot) {
        let (now, limits) = (self.clock.monotonic_ms, self.limits);
        let Self { conns, service, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        match conn.phase {
            Phase::Closing => return self.close(slot),
            Phase::Draining => {
                if conn.peer_closed || conn.thrown > DRAIN_BYTES {
                    return self.abandon(slot);
                }
                return self.arm_receive(slot);
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
            self.cancel_receive(slot);
        } else {
            self.arm_receive(slot);
        }
    }

    fn cancel_receive(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.receive != Receive::Armed {
            return;
        }
        conn.receive = Receive::Cancelling;
        let entry =
            opcode::AsyncCancel::new(conn.op(Kind::Receive, slot)).build().user_data(conn.op(Kind::Cancel, slot));
        // SAFETY: points at nothing.
        unsafe { self.ring.push(&entry) };
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

    fn send_all(&mut self) {
        for slot in std::mem::take(&mut self.dirty) {
            self.send_one(slot);
        }
    }

    fn send_one(&mut self, slot: Slot) {
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
            return unsafe { self.ring.push(&entry) };
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
            self.shut(slot);
        } else if is_over || is_left {
            self.abandon(slot);
        }
    }

    fn sent(&mut self, op: Op, result: i32) {
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
            return unsafe { self.ring.push(&entry) };
        }
        conn.frozen.clear();
        if conn.frozen.capacity() > OUT_MARK_BYTES {
            conn.frozen = Vec::new();
        }
        conn.sent = 0;
        conn.send_by_ms = u64::MAX;
        self.after(op.slot);
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
