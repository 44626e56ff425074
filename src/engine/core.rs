//! One core: its ring, its connections, and its turn, once around.
//!
//! A turn: (1) one `io_uring_enter` submits what the last turn queued, runs what is deferred and reaps; one reading of the clocks.
//! (2) Received bytes go to the service where they lie; what is busy from the last turn goes on. (3) Once a turn, every connection that
//! got answers has them sent in one piece, buffers go back to the kernel, and what starved for one is armed again; before that, what was
//! taken in is handed to the disk, and what became durable is released.
//!
//! A connection has at most one send in flight, from a buffer that is frozen meanwhile; answers grow in another. One that keeps too much
//! unread, because its own answers do not leave or its entries are still being applied, has its receive cancelled until it
//! has caught up: TCP holds its peer back.

use super::Failure;
use super::arena::Arena;
use super::buffers::{ALL_BYTES, BYTES, Buffers, GROUP};
use super::connections::{Conn, Connections, Phase, Receive, Slot};
use super::control::{Command, Control};
use super::op::{Kind, Op};
use super::placement::{self, touch_stack};
use super::ring::{Completion, Ring};
use super::service::{Clock, Next, Service};
use crate::api::{KEPT_BYTES, OUT_MARK_BYTES};
use crate::metrics::Counters;
use io_uring::{cqueue, opcode, squeue, types};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often deadlines are looked at: each time a quarter of the slots, so a deadline is noticed within about a second.
const TICK_MS: u64 = 250;
const TICKS_AROUND: u32 = 4;
/// How long to wait before accepting again when descriptors ran out.
const ACCEPT_PAUSE_MS: u64 = 10;
/// Bytes that a closing connection may still send: a whole body, so that the refusal of it arrives.
const DRAIN_BYTES: usize = 16 << 20;
/// How long a closing connection may still send.
const DRAIN_MS: u64 = 2_000;
/// What a connection may keep at all: what it may keep unread, and what can come before its receive is cancelled.
const KEPT_HARD_BYTES: usize = KEPT_BYTES + ALL_BYTES;
/// Connections beyond the limit that are told so and closed in good order; more are told and cut off.
const TURNED_AWAY: usize = 64;
/// Looking once whether there is something takes less, if nobody else runs meanwhile.
const LOOK: Duration = Duration::from_micros(3);
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

/// A listener and its multishot accept.
struct Listening {
    /// `None`: no more is accepted.
    socket: Option<TcpListener>,
    is_armed: bool,
    /// When to accept again.
    again_at_ms: Option<u64>,
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
        self.buffers.publish();
        self.feed_starved();
        if let Some(arena) = &self.arena {
            arena.look_ahead();
        }
        // Turns that load are as long as a step of that, and answer no read.
        if !is_loading {
            self.count_turn();
        }
        Ok(())
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> Result<(), Failure> {
        let is_idle = self.is_idle();
        if is_idle && self.limits.spin_ns > 0 && self.service.awaits() {
            self.enter(0)?;
            if self.looks_out() {
                return Ok(());
            }
        }
        if is_idle && self.limits.shares_cpu {
            self.enter(0)?;
            if self.ring.has_completions() || self.service.has_mail() {
                return Ok(());
            }
            placement::give_turn();
        }
        let sleeps = is_idle && self.service.lie_down();
        let entered = self.enter(u32::from(sleeps));
        if sleeps {
            self.service.rise();
        }
        entered
    }

    /// Whether nothing goes on before something completes, or comes.
    fn is_idle(&mut self) -> bool {
        let Self { ready, conns, service, .. } = self;
        let is_blocked = |slot: &Slot| conns.get(*slot).is_none_or(|conn| service.is_blocked(&conn.session));
        !service.is_busy() && ready.iter().all(is_blocked)
    }

    /// With answers of other cores outstanding it looks out for them for a while, and for anything else: to be woken takes longer. Whoever else can run on
    /// this CPU does so meanwhile. Returns whether there is something that needs no more of the kernel.
    fn looks_out(&mut self) -> bool {
        if self.ring.has_completions() || self.service.has_mail() {
            return true;
        }
        let (since, spin) = (Instant::now(), Duration::from_nanos(self.limits.spin_ns));
        let (mut now, mut spun, mut has_mail) = (since, Duration::ZERO, false);
        while !has_mail && !self.ring.has_deferred() && now - since < spin {
            placement::give_turn();
            has_mail = self.service.has_mail();
            let last = std::mem::replace(&mut now, Instant::now());
            // When it took longer, others ran.
            spun += if now - last < LOOK { now - last } else { Duration::ZERO };
        }
        self.service.looked_out(spun.as_nanos() as u64);
        has_mail
    }

    fn enter(&mut self, want: u32) -> Result<(), Failure> {
        let timeout = if want == 0 { Duration::ZERO } else { self.timeout() };
        self.ring.enter(want, timeout).map_err(|error| Failure::new("enter", "the io_uring", error))
    }

    fn count_turn(&mut self) {
        let sends = std::mem::take(&mut self.sends);
        let turn_ns = self.turn_began.elapsed().as_nanos() as u64;
        self.counters.turns.record(turn_ns, 1);
        self.counters.sends.record(turn_ns + self.last_turn_ns, sends);
        self.last_turn_ns = turn_ns;
    }

    fn timeout(&self) -> Duration {
        let accepts = self.listeners.iter().filter_map(|listener| listener.again_at_ms);
        let until = accepts.chain(self.service.wakes_at_ms()).fold(self.next_tick_ms, u64::min);
        Duration::from_millis(until.saturating_sub(self.clock.monotonic_ms))
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

    // Connections come.

    fn arm_accept(&mut self, number: usize) {
        let listener = &mut self.listeners[number];
        let Some(socket) = &listener.socket else { return };
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(accept(number));
        (listener.is_armed, listener.again_at_ms) = (true, None);
        // SAFETY: points at nothing.
        unsafe { self.ring.push(&entry) };
    }

    fn accepted(&mut self, number: usize, completion: Completion) {
        if completion.result >= 0 {
            // SAFETY: a descriptor that the kernel just made for this accept.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            self.welcome(fd);
        }
        let now = self.clock.monotonic_ms;
        let listener = &mut self.listeners[number];
        listener.is_armed = cqueue::more(completion.flags);
        if listener.is_armed || listener.socket.is_none() {
            return;
        }
        match -completion.result {
            libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => {
                listener.again_at_ms = Some(now + ACCEPT_PAUSE_MS);
            }
            _ => self.arm_accept(number),
        }
    }

    fn welcome(&mut self, fd: OwnedFd) {
        if self.conns.len() >= self.limits.connections {
            self.counters.turned_away += 1;
            let answer = self.service.turned_away();
            if self.conns.len() < self.limits.connections + TURNED_AWAY {
                let slot = self.seat(fd);
                if let Some(conn) = self.conns.get(slot) {
                    conn.out.bytes = answer;
                    conn.next = Next::Close;
                }
                return self.after(slot);
            }
            // Too many of those, too: a socket just accepted has room for a few hundred bytes, and is closed at once.
            // SAFETY: the answer outlives the call.
            unsafe {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                libc::send(fd.as_raw_fd(), answer.as_ptr().cast(), answer.len(), flags);
                libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR);
            }
            return;
        }
        self.counters.connections += 1;
        let slot = self.seat(fd);
        self.arm_receive(slot);
    }

    fn seat(&mut self, fd: OwnedFd) -> Slot {
        let Self { conns, service, .. } = self;
        conns.insert(fd, |ticket| service.open(ticket), self.clock.monotonic_ms + self.limits.idle_ms)
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

    // Connections end.

    /// Shuts our side down: the peer sees the end of the last answer.
    fn shut(&mut self, slot: Slot) {
        let now = self.clock.monotonic_ms;
        let Some(conn) = self.conns.get(slot) else { return };
        conn.phase = Phase::Draining;
        conn.shutting = true;
        conn.deadline_ms = now + DRAIN_MS;
        let entry = opcode::Shutdown::new(types::Fd(conn.fd.as_raw_fd()), libc::SHUT_WR)
            .build()
            .user_data(conn.op(Kind::Shutdown, slot));
        // SAFETY: points at nothing.
        unsafe { self.ring.push(&entry) };
    }

    /// Ends a connection now, whatever it has in flight.
    fn abandon(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.phase != Phase::Closing {
            conn.phase = Phase::Closing;
            if conn.is_owed() {
                // Both directions at once: what is in flight completes at once.
                // SAFETY: no pointers; an error means that the peer was faster.
                unsafe { libc::shutdown(conn.fd.as_raw_fd(), libc::SHUT_RDWR) };
            }
        }
        self.close(slot);
    }

    /// Closes a connection if the kernel owes it nothing more.
    fn close(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.is_owed() {
            return;
        }
        let conn = self.conns.remove(slot);
        self.held -= conn.counted;
        self.service.release(conn.session);
    }

    // Time passes.

    fn tick(&mut self) {
        let now = self.clock.monotonic_ms;
        self.next_tick_ms = now + TICK_MS;
        for listener in 0..self.listeners.len() {
            if self.listeners[listener].again_at_ms.is_some_and(|at| now >= at) {
                self.arm_accept(listener);
            }
        }
        self.tick = (self.tick + 1) % TICKS_AROUND;
        let lingered = self.draining_since_ms.is_some_and(|since| now > since + self.limits.linger_ms);
        for slot in (self.tick..self.conns.slots()).step_by(TICKS_AROUND as usize) {
            self.look_at(slot, lingered);
        }
    }

    fn look_at(&mut self, slot: Slot, lingered: bool) {
        let now = self.clock.monotonic_ms;
        let Self { conns, service, dirty, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        let is_waiting = conn.waiting || conn.out.gaps() > 0;
        if conn.next == Next::Idle && conn.unsent() == 0 && !conn.sending && !is_waiting {
            if conn.out.bytes.capacity().max(conn.frozen.capacity()) > IDLE_BUFFER_BYTES {
                conn.out.bytes = Vec::new();
                conn.frozen = Vec::new();
                // What it holds is counted anew.
                if !std::mem::replace(&mut conn.dirty, true) {
                    dirty.push(slot);
                }
            }
            if lingered && conn.phase == Phase::Open {
                return self.abandon(slot);
            }
        }
        if now >= conn.send_by_ms {
            return self.abandon(slot);
        }
        if now < conn.deadline_ms {
            return;
        }
        match conn.phase {
            Phase::Open if conn.next == Next::Unfinished => {
                conn.next = service.expire(&mut conn.session, &mut conn.out);
                self.after(slot);
            }
            // Entries that are being applied, or answers that wait for the log or for another core, are ours to be late with.
            // A send in flight has a deadline of its own.
            Phase::Open | Phase::Finishing
                if conn.sending || is_waiting || matches!(conn.next, Next::Busy | Next::Away) => {}
            _ => self.abandon(slot),
        }
    }

    fn drain(&mut self) {
        if self.draining_since_ms.is_some() {
            return;
        }
        self.draining_since_ms = Some(self.clock.monotonic_ms);
        self.stop_accepting();
        self.service.drain();
        for slot in 0..self.conns.slots() {
            if let Some(conn) = self.conns.get(slot) {
                self.service.drain_session(&mut conn.session);
            }
        }
    }

    fn stop_accepting(&mut self) {
        for number in 0..self.listeners.len() {
            let listener = &mut self.listeners[number];
            listener.socket = None;
            if listener.is_armed {
                let entry = opcode::AsyncCancel::new(accept(number)).build().user_data(Op::core(Kind::Cancel).encode());
                // SAFETY: points at nothing.
                unsafe { self.ring.push(&entry) };
            }
        }
    }

    /// Ends every connection, and waits for the kernel's last completions: it still uses our memory before them. What was taken in reaches the disk.
    fn close_all(&mut self) -> Result<(), Failure> {
        self.stop_accepting();
        (0..self.conns.slots()).for_each(|slot| self.abandon(slot));
        let patience = self.clock.monotonic_ms + DRAIN_MS;
        while !(self.conns.is_empty() && self.service.is_settled()) && self.clock.monotonic_ms < patience {
            self.turn()?;
        }
        Ok(())
    }
}

impl Listening {
    const fn new(socket: TcpListener) -> Self {
        Self { socket: Some(socket), is_armed: false, again_at_ms: None }
    }
}

/// What a buffer takes, but for what every connection may keep.
const fn takes(buffer: &Vec<u8>) -> usize {
    if buffer.capacity() > IDLE_BUFFER_BYTES { buffer.capacity() } else { buffer.len() }
}

/// The accept of a listener.
const fn accept(listener: usize) -> u64 {
    Op { kind: Kind::Accept, slot: listener as u32, generation: 0 }.encode()
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
