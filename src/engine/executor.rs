//! The executor of one core: a thread with its ring and its receive buffers, which drives the
//! core's machine.
//!
//! The machine ([`crate::server::machine::Machine`]) decides; the executor moves bytes,
//! completions, messages and time. A turn:
//!
//! 1. One `io_uring_enter` submits what the last turn queued, runs what is deferred and reaps; the
//!    monotonic clock is read once.
//! 2. The machine is told what has come: messages of other cores, what the disks have done,
//!    completions. Received bytes are handed over where the kernel put them.
//! 3. The turn ends; the machine's outputs are carried out, messages are shown to other cores,
//!    receive buffers go back.
//!
//! A core that has nothing to do waits in the kernel. With replies of other cores outstanding it
//! spins a moment before: to be woken takes longer.

use super::Failure;
use super::arena::Arena;
use super::buffers::{ALL_BYTES, Buffers, GROUP};
use super::control::{Command, Control};
use super::directory::SliceDirectory;
use super::listening::Listeners;
use super::mesh::Mesh;
use super::op::{Kind, Op};
use super::ring::{Completion, Ring};
use super::sockets::{Receive, Sockets};
use super::stack;
use super::storage::Storage;
use crate::metrics::Counters;
use crate::prefetch::{self, LINE_BYTES};
use crate::server::limits::{LINGER_MS, RECEIVE_BUFFER_BYTES, TICK_MS};
use crate::server::machine::{Broken, Clocks, Machine, Output, Slot, Wait};
use crate::server::message::Message;
use crate::slice::recovery::Report;
use io_uring::{cqueue, opcode, types};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const _: () =
    assert!(ALL_BYTES <= RECEIVE_BUFFER_BYTES, "no more can come after a receive was cancelled");

/// What a read needs of a message lies in its first lines.
const MESSAGE_BYTES: usize = 4 * LINE_BYTES;
/// Of a long reply, what is prefetched; the rest follows when it is copied.
const REPLY_BYTES: usize = 8 * LINE_BYTES;
/// How long one look at the queues takes at most while spinning, if nobody else runs meanwhile.
const LOOK: Duration = Duration::from_micros(3);

/// What is told of a core.
#[derive(Debug)]
pub enum News {
    /// How far loading a slice has come.
    Loading {
        /// The slice.
        slice: u32,
        /// How far.
        report: Report,
        /// Whether it is over.
        is_over: bool,
    },
    /// All slices of all cores are loaded: this core takes requests.
    Serving,
}

/// Who hears the news of a core.
pub type Listener = Box<dyn Fn(News) + Send>;

/// What an executor drives its machine with.
pub struct Wiring {
    /// Where connections come from: listeners, each with its slice.
    pub listeners: Vec<(u32, TcpListener)>,
    /// The disk of each slice that is kept.
    pub disks: Vec<(u32, Storage)>,
    /// The way to the other cores.
    pub mesh: Mesh<Message>,
    /// How the core is told things, and woken.
    pub control: Control,
    /// How long to spin for replies of other cores, in nanoseconds.
    pub spin_ns: u64,
    /// Hears what there is to tell.
    pub news: Listener,
}

/// The executor of one core.
pub struct Executor<M: Machine> {
    arena: Option<Arena>,
    /// Dropped before the sockets: as long as the ring is there, the kernel may use their buffers.
    ring: Ring,
    buffers: Buffers,
    sockets: Sockets,
    listeners: Listeners,
    /// Sockets that found no receive buffer.
    starved: Vec<Slot>,
    machine: M,
    mesh: Mesh<Message>,
    /// What has come from other cores, and from which.
    came: Vec<(u32, Message)>,
    disks: Vec<(u32, Storage)>,
    control: Control,
    news: Listener,
    is_draining: bool,
    started: Instant,
    /// The wall clock at that time, as it was known at the last tick: it is read only then.
    started_unix_ms: u64,
    /// When the ring's timer ends a wait.
    ticks_at_ms: u64,
    clocks: Clocks,
    spin: Duration,
    /// When the turn began, and how long the one before it took.
    turn_began: Instant,
    last_turn_ns: u64,
    /// Sends that this turn has begun.
    sends: u64,
    counters: Counters,
}

impl<M: Machine> Executor<M> {
    /// Sets an executor up on the calling thread, which must be the one that runs it, and the one
    /// that has adopted `arena`.
    pub fn new(machine: M, wiring: Wiring, arena: Option<Arena>) -> Result<Self, Failure> {
        let Wiring { listeners, disks, mesh, control, spin_ns, news } = wiring;
        let mut ring = Ring::new()?;
        let buffers = Buffers::new(ring.submitter())?;
        ring.watch(&control);
        let listeners = Listeners::new(listeners, &mut ring);
        Ok(Self {
            arena,
            ring,
            buffers,
            sockets: Sockets::default(),
            listeners,
            starved: Vec::new(),
            machine,
            mesh,
            came: Vec::new(),
            disks,
            control,
            news,
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

    /// Takes turns until the machine is done, or is told to stop. Returns the machine, and what the
    /// executor has counted.
    pub fn run(mut self) -> Result<(M, Counters), Failure> {
        stack::prefault();
        self.tick();
        while !self.machine.is_done() && self.control.command() != Command::Stop {
            self.turn()?;
        }
        self.close_all()?;
        self.counters.spilled_bytes = self.arena.as_ref().map_or(0, Arena::spilled) as u64;
        let Self { ring, machine, counters, .. } = self;
        // First: as long as the ring is there, the kernel may use what sockets hold.
        drop(ring);
        Ok((machine, counters))
    }

    /// Closes every connection, and waits for the kernel's last completions: it still uses our
    /// memory before them. What was taken in reaches the disk.
    fn close_all(&mut self) -> Result<(), Failure> {
        self.listeners.close(&mut self.ring);
        self.machine.stop();
        self.carry_out();
        let until_ms = self.clocks.monotonic_ms + LINGER_MS;
        while !(self.sockets.is_empty() && self.machine.is_settled())
            && self.clocks.monotonic_ms < until_ms
        {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.wait()?;
        self.read_clocks();
        self.control.turns();
        self.machine.begin_turn(self.clocks);
        self.deliver_messages();
        self.deliver_disk()?;
        self.deliver_completions();
        self.machine.end_turn().map_err(|broken| self.unloadable(broken))?;
        self.carry_out();
        self.mesh.flush();
        self.buffers.publish();
        self.feed_starved();
        self.listeners.resume(self.clocks.monotonic_ms, &mut self.ring);
        self.look_ahead();
        Ok(())
    }

    fn read_clocks(&mut self) {
        self.turn_began = Instant::now();
        self.clocks.monotonic_ms = (self.turn_began - self.started).as_millis() as u64;
        self.clocks.unix_ms = self.clocks.monotonic_ms + self.started_unix_ms;
    }

    /// Has memory prefaulted that will be needed soon, and counts the turn. Turns that load are as
    /// long as a step of that, and answer no read: they are not counted.
    fn look_ahead(&mut self) {
        let loading = self.machine.loading();
        if let Some(arena) = &mut self.arena {
            if let Some(bytes) = loading {
                arena.expect(bytes);
            }
            arena.look_ahead();
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

    // What has come.

    fn deliver_messages(&mut self) {
        if self.mesh.is_empty() {
            return;
        }
        let Self { mesh, came, machine, .. } = self;
        // Another core has written all of it: it is fetched while what came before is looked at.
        mesh.receive(|from, message| {
            if let Message::Request(request) | Message::Reply(request) = &message {
                prefetch::range((&raw const **request).cast(), MESSAGE_BYTES);
            }
            came.push((from, message));
        });
        for (from, message) in came.drain(..) {
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
        while let Some(completion) = self.ring.reap() {
            let op = Op::decode(completion.user_data).expect("a completion of this loop's own");
            match op.kind {
                Kind::Receive => self.received(op, completion),
                Kind::Send => self.sent(op, completion.result),
                Kind::Accept => self.accepted(op.slot as usize, completion),
                Kind::Shutdown => {
                    self.sockets.of(op).is_shutting = false;
                    self.close_if_free(op.slot);
                }
                Kind::Cancel => {}
                Kind::Tick => self.tick(),
                Kind::Wake => self.woken(completion),
            }
        }
    }

    /// Somebody has woken this core: the reason is looked for.
    fn woken(&mut self, completion: Completion) {
        if !cqueue::more(completion.flags) {
            self.ring.watch(&self.control);
        }
        if self.control.command() >= Command::Drain
            && !std::mem::replace(&mut self.is_draining, true)
        {
            self.listeners.close(&mut self.ring);
            self.machine.drain();
        }
    }

    fn accepted(&mut self, number: usize, completion: Completion) {
        let now_ms = self.clocks.monotonic_ms;
        if let Some((slice, fd)) =
            self.listeners.accepted(number, completion, now_ms, &mut self.ring)
        {
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
                    machine.received(op.slot, buffers.bytes(id, count as usize));
                }
                buffers.give_back(id);
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
                machine.failed(op.slot)
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

    // What is to be done.

    /// Carries out the machine's outputs.
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
                    disk.expect("a slice that is kept has a disk").1.ask(task);
                }
                Output::Shutdown { slot } => self.shut_down(slot),
                Output::Close { slot } => self.close(slot),
                Output::Loading { slice, report, is_over } => {
                    (self.news)(News::Loading { slice, report, is_over })
                }
                Output::Serving => {
                    if let Some(arena) = &self.arena {
                        arena.warm();
                    }
                    (self.news)(News::Serving);
                }
            }
        }
    }

    #[inline]
    fn send(&mut self, slot: Slot, buffer: Vec<u8>, from: usize) {
        let Self { sockets, ring, sends, .. } = self;
        let socket = sockets.named(slot);
        assert!(!socket.is_sending, "one send of a connection is in flight at a time");
        socket.buffer = buffer;
        socket.is_sending = true;
        *sends += u64::from(from == 0);
        let left = &socket.buffer[from..];
        let len = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(types::Fd(socket.fd()), left.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(socket.op(Kind::Send, slot));
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
            .user_data(socket.op(Kind::Receive, slot));
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
        let entry = opcode::AsyncCancel::new(socket.op(Kind::Receive, slot))
            .build()
            .user_data(Op::of_core(Kind::Cancel).encode());
        // SAFETY: points at nothing.
        unsafe { ring.push(&entry) };
    }

    /// Receives again what found no buffer: those of this turn are back.
    fn feed_starved(&mut self) {
        for slot in std::mem::take(&mut self.starved) {
            if let Some(socket) = self.sockets.get(slot) {
                socket.is_starved = false;
                self.arm_receive(slot);
            }
        }
    }

    /// Shuts our side down: the peer sees the end of the last answer.
    fn shut_down(&mut self, slot: Slot) {
        let Self { sockets, ring, .. } = self;
        let socket = sockets.named(slot);
        socket.is_shutting = true;
        let entry = opcode::Shutdown::new(types::Fd(socket.fd()), libc::SHUT_WR)
            .build()
            .user_data(socket.op(Kind::Shutdown, slot));
        // SAFETY: points at nothing.
        unsafe { ring.push(&entry) };
    }

    fn close(&mut self, slot: Slot) {
        let socket = self.sockets.named(slot);
        socket.is_closing = true;
        socket.wants_receive = false;
        if socket.is_owed() {
            // Both directions: what is in flight completes at once.
            // SAFETY: no pointers; an error means that the peer was faster.
            unsafe { libc::shutdown(socket.fd(), libc::SHUT_RDWR) };
        }
        self.close_if_free(slot);
    }

    /// Closes a connection that the machine has closed, if the kernel owes it nothing more.
    fn close_if_free(&mut self, slot: Slot) {
        let socket = self.sockets.named(slot);
        if socket.is_closing && !socket.is_owed() {
            self.sockets.remove(slot);
            self.machine.closed(slot);
        }
    }

    // Waiting.

    /// Waits until there is something to do.
    fn wait(&mut self) -> Result<(), Failure> {
        let Wait::Event { until_ms, spins } = self.machine.wait() else {
            return self.enter(0, None);
        };
        if spins && !self.spin.is_zero() {
            self.enter(0, None)?;
            if self.spins_to_something() {
                return Ok(());
            }
        }
        // The tick ends a wait as well, and costs nothing a turn.
        let until_ms = until_ms.into_iter().chain(self.listeners.resumes_at_ms()).min();
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

    /// Spins for replies of other cores, and for anything else. Whoever else can run on this CPU
    /// does so meanwhile. Returns whether there is something that needs no more of the kernel.
    fn spins_to_something(&mut self) -> bool {
        if self.ring.has_completions() || self.mesh.has_messages() {
            return true;
        }
        let since = Instant::now();
        let (mut now, mut spun, mut has_messages) = (since, Duration::ZERO, false);
        while !has_messages && !self.ring.has_deferred() && now - since < self.spin {
            thread::yield_now();
            has_messages = self.mesh.has_messages();
            let last = std::mem::replace(&mut now, Instant::now());
            // When it took longer, others ran.
            spun += if now - last < LOOK { now - last } else { Duration::ZERO };
        }
        self.counters.spun_ns += spun.as_nanos() as u64;
        self.clocks.spun_us = self.counters.spun_ns / 1_000;
        has_messages
    }

    /// Has the ring's timer end a wait once more, and reads the wall clock: it may have been set
    /// meanwhile.
    fn tick(&mut self) {
        self.ring.tick_after(Duration::from_millis(TICK_MS));
        self.ticks_at_ms = self.clocks.monotonic_ms + TICK_MS;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.started_unix_ms =
            (unix.as_millis() as u64).saturating_sub(self.started.elapsed().as_millis() as u64);
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> Result<(), Failure> {
        self.ring.enter(want, timeout).map_err(|error| Failure::new("enter", "the io_uring", error))
    }

    /// A file that is not as it was written.
    fn unloadable(&self, Broken { slice, fault }: Broken) -> Failure {
        let disk = self.disks.iter().find(|(of, _)| *of == slice);
        disk.map(|(_, storage)| storage.directory()).map_or_else(
            || unreachable!("a slice that is kept has a disk"),
            |directory: &SliceDirectory| directory.unloadable(fault),
        )
    }
}
