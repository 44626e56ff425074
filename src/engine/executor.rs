//! Executor of one core: a thread with a ring and receive buffers, which drives the core's machine.
//!
//! The machine ([`crate::server::machine::Machine`]) decides; the executor moves bytes,
//! completions, messages and time. A turn:
//!
//! 1. One `io_uring_enter` submits the operations queued by the last turn, runs deferred work and
//!    makes completions available; the monotonic clock is read once.
//! 2. Events go to the machine: messages of other cores, results of disk tasks, completions.
//!    Received bytes are passed on in the kernel's buffers, without a copy.
//! 3. The turn ends: the machine's outputs are carried out, messages are published to other cores,
//!    receive buffers are returned to the kernel.
//!
//! An idle core waits in the kernel. With replies of other cores outstanding it spins a moment
//! before, because a wake-up takes longer.
//!
//! **Errors.** A failed system call of the loop, a failed log write and a broken file end the
//! executor with a [`Failure`]; the failure of a connection goes to the machine.

use super::Failure;
use super::arena::Arena;
use super::buffers::{ALL_BYTES, Buffers, GROUP};
use super::control::{Command, Control};
use super::directory::SliceDirectory;
use super::listening::Listeners;
use super::mesh::Mesh;
use super::op::{Op, OpKind};
use super::ring::{Completion, Ring};
use super::sockets::{Receive, Sockets};
use super::stack;
use super::storage::Storage;
use crate::metrics::Counters;
use crate::prefetch::{self, LINE_BYTES};
use crate::server::limits::{LINGER_MS, RECEIVE_BUFFER_BYTES, TICK_MS};
use crate::server::machine::{Clocks, CorruptFile, Machine, Output, Slot, Wait};
use crate::server::message::Message;
use crate::slice::recovery::Report;
use io_uring::{cqueue, opcode, types};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const _: () =
    assert!(ALL_BYTES <= RECEIVE_BUFFER_BYTES, "the bytes after a cancelled receive are bounded");

/// Completions that are handled in one turn: each may bring requests, and cause a send. Others wait
/// for the next turn, which does not wait.
const COMPLETIONS_PER_TURN: usize = 256;
/// Received bytes after which no more completions are handled in a turn: parsing them takes up to
/// half a millisecond, if they are the smallest chunks.
const RECEIVED_BYTES_PER_TURN: u64 = 128 << 10;
/// Prefetched bytes of a message: a read needs its first cache lines only.
const MESSAGE_BYTES: usize = 4 * LINE_BYTES;
/// Prefetched bytes of a long reply; the rest is fetched while it is copied.
const REPLY_BYTES: usize = 8 * LINE_BYTES;
/// Longest poll of the queues while spinning. If one takes longer, other threads ran on this CPU,
/// and it does not count as time spun.
const LONGEST_POLL: Duration = Duration::from_micros(3);

/// Progress of loading, for the thread that started the core.
#[derive(Debug)]
pub enum LoadEvent {
    /// Progress of loading a slice.
    Loading {
        /// The slice.
        slice: u32,
        /// Progress of its recovery.
        report: Report,
        /// Whether loading is over.
        is_over: bool,
    },
    /// All slices of all cores are loaded: this core takes requests from now on.
    Serving,
}

/// Callback for the progress of loading.
pub type OnLoad = Box<dyn Fn(LoadEvent) + Send>;

/// Inputs and outputs that an executor connects to its machine.
pub struct Wiring {
    /// Listeners for connections, each with its slice.
    pub listeners: Vec<(u32, TcpListener)>,
    /// Maximum number of connections at a time, those that are being refused included.
    pub max_sockets: usize,
    /// The disk of each persistent slice.
    pub disks: Vec<(u32, Storage)>,
    /// Queues to and from the other cores.
    pub mesh: Mesh<Message>,
    /// Handle for commands and wake-ups of this core.
    pub control: Control,
    /// Longest spin for replies of other cores, in nanoseconds.
    pub spin_ns: u64,
    /// Callback for the progress of loading.
    pub on_load: OnLoad,
}

/// The executor of one core.
pub struct Executor<M: Machine> {
    arena: Option<Arena>,
    /// Dropped before the sockets: while the ring exists, the kernel may use their buffers.
    ring: Ring,
    buffers: Buffers,
    sockets: Sockets,
    listeners: Listeners,
    /// Sockets whose receive found no buffer.
    starved: Vec<Slot>,
    machine: M,
    mesh: Mesh<Message>,
    /// Messages of other cores, each with its sender.
    inbox: Vec<(u32, Message)>,
    disks: Vec<(u32, Storage)>,
    control: Control,
    on_load: OnLoad,
    is_draining: bool,
    started: Instant,
    /// The wall clock at `started`, as of the last tick: the wall clock is read on ticks only.
    started_unix_ms: u64,
    /// Time of the next tick, which ends a wait.
    ticks_at_ms: u64,
    clocks: Clocks,
    spin: Duration,
    /// Start of this turn, and duration of the last one.
    turn_began: Instant,
    last_turn_ns: u64,
    /// Sends begun in this turn.
    sends: u64,
    counters: Counters,
}

impl<M: Machine> Executor<M> {
    /// Sets up an executor on the calling thread, which must be the one that runs it and that has
    /// created `arena`.
    pub fn new(machine: M, wiring: Wiring, arena: Option<Arena>) -> Result<Self, Failure> {
        let Wiring { listeners, max_sockets, disks, mesh, control, spin_ns, on_load } = wiring;
        let mut ring = Ring::new()?;
        let buffers = Buffers::new(ring.submitter())?;
        ring.watch(&control);
        let listeners = Listeners::new(listeners, max_sockets, &mut ring);
        Ok(Self {
            arena,
            ring,
            buffers,
            sockets: Sockets::default(),
            listeners,
            starved: Vec::new(),
            machine,
            mesh,
            inbox: Vec::new(),
            disks,
            control,
            on_load,
            is_draining: false,
            started: Instant::now(),
            started_unix_ms: 0,
            ticks_at_ms: 0,
            clocks: Clocks::default(),
            spin: Duration::from_nanos(spin_ns),
            turn_began: Instant::now(),
            last_turn_ns: 0,
            sends: 0,
            counters: Counters::default(),
        })
    }

    /// Takes turns until the machine is done or told to stop. Returns the machine and the
    /// executor's counters.
    pub fn run(mut self) -> Result<(M, Counters), Failure> {
        stack::prefault();
        self.tick();
        while !self.machine.is_drained() && self.control.command() != Command::Stop {
            self.turn()?;
        }
        self.close_all()?;
        self.counters.spilled_bytes = self.arena.as_ref().map_or(0, Arena::spilled) as u64;
        let Self { ring, machine, counters, .. } = self;
        // Dropped first: while the ring exists, the kernel may use the sockets' buffers.
        drop(ring);
        Ok((machine, counters))
    }

    /// Closes every connection, then takes turns until the kernel has completed all operations,
    /// which use our memory until then, and everything accepted is on the disk; for [`LINGER_MS`]
    /// at most.
    fn close_all(&mut self) -> Result<(), Failure> {
        self.listeners.disarm(&mut self.ring);
        self.machine.stop();
        self.carry_out();
        let until_ms = self.clocks.monotonic_ms + LINGER_MS;
        while !(self.sockets.is_empty() && self.machine.may_exit())
            && self.clocks.monotonic_ms < until_ms
        {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.wait()?;
        self.read_clocks();
        self.control.count_turn();
        self.machine.begin_turn(self.clocks);
        self.deliver_messages();
        self.deliver_disk()?;
        self.deliver_completions();
        self.begin_drain();
        self.machine.end_turn().map_err(|broken| self.unloadable(broken))?;
        self.carry_out();
        self.mesh.flush();
        self.buffers.publish();
        self.rearm_starved();
        self.listeners.accept_more(self.sockets.len(), &mut self.ring);
        self.prefault_ahead();
        Ok(())
    }

    fn read_clocks(&mut self) {
        self.turn_began = Instant::now();
        self.clocks.monotonic_ms = (self.turn_began - self.started).as_millis() as u64;
        self.clocks.unix_ms = self.clocks.monotonic_ms + self.started_unix_ms;
    }

    /// Prefaults memory that will be needed soon, then records the duration of the turn. Turns of a
    /// load are not recorded: each takes as long as a prefault step, and answers no read.
    fn prefault_ahead(&mut self) {
        let loading = self.machine.loading();
        if let Some(arena) = &mut self.arena {
            if let Some(bytes) = loading {
                arena.prefault_first(bytes);
            }
            arena.prefault_ahead();
        }
        let sends = std::mem::take(&mut self.sends);
        if loading.is_some() {
            return;
        }
        let turn_ns = self.turn_began.elapsed().as_nanos() as u64;
        self.counters.turns.record(turn_ns, 1);
        self.counters.sends.record(turn_ns + self.last_turn_ns, sends);
        self.last_turn_ns = turn_ns;
    }

    // Events: messages, results of disk tasks, completions.

    fn deliver_messages(&mut self) {
        if self.mesh.is_empty() {
            return;
        }
        let Self { mesh, inbox, machine, .. } = self;
        // Another core has written all of the message: it is prefetched while earlier messages are
        // handled.
        mesh.receive(|from, message| {
            if let Message::Request(request) | Message::Reply(request) = &message {
                prefetch::range((&raw const **request).cast(), MESSAGE_BYTES);
            }
            inbox.push((from, message));
        });
        for (from, message) in inbox.drain(..) {
            if let Message::Reply(reply) = &message {
                prefetch::range(reply.bytes.as_ptr(), reply.bytes.len().min(REPLY_BYTES));
            }
            machine.message(from, message);
        }
    }

    fn deliver_disk(&mut self) -> Result<(), Failure> {
        let Self { disks, machine, .. } = self;
        for (slice, storage) in disks {
            while let Some(done) = storage.outcome()? {
                machine.task_done(*slice, done);
            }
        }
        Ok(())
    }

    fn deliver_completions(&mut self) {
        let most = self.machine.counters().bytes_in + RECEIVED_BYTES_PER_TURN;
        for _ in 0..COMPLETIONS_PER_TURN {
            if self.machine.counters().bytes_in >= most {
                break;
            }
            let Some(completion) = self.ring.reap() else { break };
            let op = Op::decode(completion.user_data).expect("this executor made the operation");
            match op.kind {
                OpKind::Receive => self.received(op, completion),
                OpKind::Send => self.sent(op, completion.result),
                OpKind::Accept => self.accepted(op.slot as usize, completion),
                OpKind::Shutdown => {
                    self.sockets.of(op).is_shutting = false;
                    self.close_if_free(op.slot);
                }
                OpKind::Cancel => {}
                OpKind::Tick => self.tick(),
                OpKind::Wake => self.woken(completion),
            }
        }
    }

    /// Handles a wake-up: checks for a command. `run` checks for a stop.
    fn woken(&mut self, completion: Completion) {
        if !cqueue::more(completion.flags) {
            self.ring.watch(&self.control);
        }
        let command = self.control.command();
        if command >= Command::LameDuck {
            self.machine.lame_duck();
        }
        if command >= Command::Drain && !std::mem::replace(&mut self.is_draining, true) {
            self.listeners.disarm(&mut self.ring);
        }
    }

    /// Begins to drain once no accept is pending: connections that wait in a backlog are taken, not
    /// reset.
    fn begin_drain(&mut self) {
        if self.is_draining && self.listeners.are_disarmed() {
            for (slice, fd) in self.listeners.close(self.sockets.len()) {
                self.machine.opened(self.sockets.insert(fd), slice);
            }
            self.machine.drain();
        }
    }

    fn accepted(&mut self, number: usize, completion: Completion) {
        if let Some((slice, fd)) = self.listeners.accepted(number, completion) {
            self.machine.opened(self.sockets.insert(fd), slice);
        }
    }

    #[inline]
    fn received(&mut self, op: Op, completion: Completion) {
        let Self { sockets, machine, buffers, starved, .. } = self;
        let socket = sockets.of(op);
        if !cqueue::more(completion.flags) {
            socket.receive = Receive::Off;
        }
        let is_closing = socket.is_closing;
        match completion.result {
            count if count > 0 => {
                let id = cqueue::buffer_select(completion.flags)
                    .expect("received bytes are in a buffer");
                if !is_closing {
                    machine.received(op.slot, buffers.bytes(id, count.cast_unsigned() as usize));
                }
                buffers.recycle(id);
            }
            0 if !is_closing => {
                socket.wants_receive = false;
                machine.peer_closed(op.slot);
            }
            error if -error == libc::ENOBUFS => {
                let is_known = std::mem::replace(&mut socket.is_starved, true);
                starved.extend((!is_known).then_some(op.slot));
            }
            error if !is_closing && error != 0 && -error != libc::ECANCELED => {
                machine.failed(op.slot);
            }
            _ => {}
        }
        if is_closing {
            self.close_if_free(op.slot);
        } else {
            self.arm_receive(op.slot);
        }
    }

    fn sent(&mut self, op: Op, result: i32) {
        let socket = self.sockets.of(op);
        socket.is_sending = false;
        let buffer = std::mem::take(&mut socket.buffer);
        if socket.is_closing {
            return self.close_if_free(op.slot);
        }
        match usize::try_from(result) {
            Ok(count) if count > 0 => self.machine.sent(op.slot, buffer, count),
            _ => self.machine.failed(op.slot),
        }
    }

    // Outputs of the machine.

    /// Carries out all outputs of the machine.
    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { slot, buffer, from } => self.send(slot, buffer, from),
                Output::Receive { slot, on } => {
                    self.sockets.named(slot).wants_receive = on;
                    if on { self.arm_receive(slot) } else { self.cancel_receive(slot) }
                }
                Output::Message { core, message } => self.mesh.send(core, message),
                Output::Task { slice, task } => {
                    let disk = self.disks.iter_mut().find(|(of, _)| *of == slice);
                    disk.expect("a persistent slice has a disk").1.ask(task);
                }
                Output::Shutdown { slot } => self.shut_down(slot),
                Output::Close { slot } => self.close(slot),
                Output::Loading { slice, report, is_over } => {
                    (self.on_load)(LoadEvent::Loading { slice, report, is_over });
                }
                Output::Serving => {
                    if let Some(arena) = &self.arena {
                        arena.prefault_size_classes();
                    }
                    (self.on_load)(LoadEvent::Serving);
                }
            }
        }
    }

    #[inline]
    fn send(&mut self, slot: Slot, buffer: Vec<u8>, from: usize) {
        let Self { sockets, ring, sends, .. } = self;
        let socket = sockets.named(slot);
        assert!(!socket.is_sending, "a connection has one send in flight at a time");
        socket.buffer = buffer;
        socket.is_sending = true;
        *sends += u64::from(from == 0);
        let left = &socket.buffer[from..];
        let len = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(types::Fd(socket.fd()), left.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(socket.op(OpKind::Send, slot));
        // SAFETY: `buffer` is not touched while `is_sending`, and the slot keeps it until the send
        // has completed.
        unsafe { ring.push(&entry) };
    }

    #[inline]
    fn arm_receive(&mut self, slot: Slot) {
        let Self { sockets, ring, .. } = self;
        let Some(socket) = sockets.get(slot) else { return };
        if socket.receive != Receive::Off
            || !socket.wants_receive
            || socket.is_starved
            || socket.is_closing
        {
            return;
        }
        socket.receive = Receive::Armed;
        let entry = opcode::RecvMulti::new(types::Fd(socket.fd()), GROUP)
            .build()
            .user_data(socket.op(OpKind::Receive, slot));
        // SAFETY: received bytes go to the provided buffers, which live as long as the ring.
        unsafe { ring.push(&entry) };
    }

    fn cancel_receive(&mut self, slot: Slot) {
        let Self { sockets, ring, .. } = self;
        let socket = sockets.named(slot);
        if socket.receive != Receive::Armed {
            return;
        }
        socket.receive = Receive::Cancelling;
        let entry = opcode::AsyncCancel::new(socket.op(OpKind::Receive, slot))
            .build()
            .user_data(Op::of_core(OpKind::Cancel).encode());
        // SAFETY: the operation has no pointer.
        unsafe { ring.push(&entry) };
    }

    /// Arms the receives that found no buffer: those of this turn are back in the ring.
    fn rearm_starved(&mut self) {
        for slot in std::mem::take(&mut self.starved) {
            if let Some(socket) = self.sockets.get(slot) {
                socket.is_starved = false;
                self.arm_receive(slot);
            }
        }
    }

    /// Shuts down the sending side: the peer sees the end after the last answer.
    fn shut_down(&mut self, slot: Slot) {
        let Self { sockets, ring, .. } = self;
        let socket = sockets.named(slot);
        socket.is_shutting = true;
        let entry = opcode::Shutdown::new(types::Fd(socket.fd()), libc::SHUT_WR)
            .build()
            .user_data(socket.op(OpKind::Shutdown, slot));
        // SAFETY: the operation has no pointer.
        unsafe { ring.push(&entry) };
    }

    fn close(&mut self, slot: Slot) {
        let socket = self.sockets.named(slot);
        socket.is_closing = true;
        socket.wants_receive = false;
        if socket.has_pending_operation() {
            socket.shut_down_both();
        }
        self.close_if_free(slot);
    }

    /// Closes a connection that the machine has closed, once the kernel has no operation of it
    /// pending.
    fn close_if_free(&mut self, slot: Slot) {
        let socket = self.sockets.named(slot);
        if socket.is_closing && !socket.has_pending_operation() {
            self.sockets.remove(slot);
            self.machine.closed(slot);
        }
    }

    // Waiting.

    /// Waits until there is an event or a deadline; not at all while the machine has work.
    fn wait(&mut self) -> Result<(), Failure> {
        let Wait::Event { until_ms, spins } = self.machine.wait() else {
            return self.enter(0, None);
        };
        if spins && !self.spin.is_zero() {
            self.enter(0, None)?;
            if self.spin_for_events() {
                return Ok(());
            }
        }
        // The tick ends a wait as well, and costs nothing per turn: a timeout is set only for an
        // earlier time.
        let until_ms = until_ms.filter(|&until_ms| until_ms < self.ticks_at_ms);
        let now_ms = self.clocks.monotonic_ms;
        let timeout =
            until_ms.map(|until_ms| Duration::from_millis(until_ms.saturating_sub(now_ms)));
        if self.mesh.is_empty() {
            return self.enter(1, timeout);
        }
        let parks = self.control.try_park(|| !self.mesh.has_messages());
        let entered = if parks { self.enter(1, timeout) } else { self.enter(0, None) };
        if parks {
            self.control.unpark();
        }
        entered
    }

    /// Spins for replies of other cores and for completions, yielding the CPU to other threads.
    /// Returns whether there is an event that needs no further entry into the kernel.
    fn spin_for_events(&mut self) -> bool {
        if self.ring.has_completions() || self.mesh.has_messages() {
            return true;
        }
        let since = Instant::now();
        let (mut now, mut spun, mut has_messages) = (since, Duration::ZERO, false);
        while !has_messages && !self.ring.has_deferred() && now - since < self.spin {
            thread::yield_now();
            has_messages = self.mesh.has_messages();
            let last = std::mem::replace(&mut now, Instant::now());
            // A longer poll means that other threads ran.
            spun += if now - last < LONGEST_POLL { now - last } else { Duration::ZERO };
        }
        self.counters.spun_ns += spun.as_nanos() as u64;
        self.clocks.spun_us = self.counters.spun_ns / 1_000;
        has_messages
    }

    /// Arms the ring's timer for the next tick, and reads the wall clock, which may have been set
    /// since the last tick.
    fn tick(&mut self) {
        self.listeners.resume();
        self.ring.tick_after(Duration::from_millis(TICK_MS));
        self.ticks_at_ms = self.clocks.monotonic_ms + TICK_MS;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.started_unix_ms =
            (unix.as_millis() as u64).saturating_sub(self.started.elapsed().as_millis() as u64);
        if let Some(arena) = &mut self.arena {
            arena.return_unused();
            if let Some((resident_bytes, block_bytes)) = arena.measure_small_blocks() {
                self.machine.resident(resident_bytes, block_bytes);
            }
        }
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> Result<(), Failure> {
        self.ring.enter(want, timeout).map_err(|error| Failure::new("enter", "the io_uring", error))
    }

    /// The failure for a slice's file that is broken.
    fn unloadable(&self, CorruptFile { slice, fault }: CorruptFile) -> Failure {
        let disk = self.disks.iter().find(|(of, _)| *of == slice);
        disk.map(|(_, storage)| storage.directory()).map_or_else(
            || unreachable!("a persistent slice has a disk"),
            |directory: &SliceDirectory| directory.unloadable(fault),
        )
    }
}
