//! One core: a thread with its ring and its receive buffers, a part for each slice that lives on it, and its turn, once around.
//!
//! A turn: (1) one `io_uring_enter` submits what the last turn queued, runs what is deferred and reaps; one reading of the clocks.
//! (2) Received bytes go to the service where they lie; what is busy from the last turn goes on. (3) Once a turn, every connection that
//! got answers has them sent in one piece, buffers go back to the kernel, and what starved for one is armed again; before that, what became
//! durable is released, and behind it, when it is known who waits for the disk, what was taken in is handed to it.
//!
//! Where there are more slices than CPUs, a CPU's slices take their turns together on its one thread: a switch between threads costs more than a
//! request, and a turn of many requests costs less a request. They share the ring and nothing else: what one asks of another goes through the mesh.

mod accept;
mod end;
mod part;
mod wait;

use super::Failure;
use super::arena::Arena;
use super::buffers::Buffers;
use super::control::{Command, Control};
use super::op::{Kind, Op, SLOTS};
use super::ring::Ring;
use super::service::{Clock, Service};
use super::stack;
use crate::limits::Limits;
use crate::metrics::Counters;
use io_uring::cqueue;
use part::Part;
use std::net::TcpListener;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Connections that a part has slots for, beside those that are turned away.
pub const MOST_CONNECTIONS: usize = SLOTS - accept::TURNED_AWAY;
/// Parts that operations can name.
const MOST_PARTS: usize = 1 << u8::BITS;

/// How often parts of one core hear each other before a turn ends: the question, and its answer.
const ROUNDS: usize = 2;

/// What a core is to do for one slice.
pub struct Setup<S> {
    /// Where its connections come from.
    pub listeners: Vec<TcpListener>,
    /// What answers them.
    pub service: S,
}

/// What the parts of a core share.
struct Io {
    ring: Ring,
    buffers: Buffers,
}

/// One core.
pub struct Core<S: Service> {
    arena: Option<Arena>,
    /// Dropped before the parts: as long as the ring is there, the kernel may use what their connections hold.
    io: Io,
    parts: Vec<Part<S>>,
    control: Control,
    /// Whether other cores, or parts of this one, send things.
    has_others: bool,
    started: Instant,
    clock: Clock,
    spin_ns: u64,
    /// When the turn began, and how long the one before it took.
    turn_began: Instant,
    last_turn_ns: u64,
}

impl<S: Service> Core<S> {
    /// Sets a core up on the calling thread, which must be the one that runs it, and the one that has adopted `arena`. It is told things, and woken,
    /// by `control`.
    pub fn new(setups: Vec<Setup<S>>, control: Control, limits: Limits, arena: Option<Arena>) -> Result<Self, Failure> {
        assert!((1..=MOST_PARTS).contains(&setups.len()), "a core has parts, each with a number");
        let ring = Ring::new()?;
        let buffers = Buffers::new(ring.submitter())?;
        let mut io = Io { ring, buffers };
        io.ring.watch(&control);
        let parts = (0..=u8::MAX).zip(setups).map(|(number, setup)| Part::new(number, setup, limits, &mut io));
        let parts: Vec<_> = parts.collect();
        Ok(Self {
            arena,
            has_others: parts.iter().any(|part| part.service.has_others()),
            parts,
            control,
            io,
            started: Instant::now(),
            clock: Clock { monotonic_ms: 0, unix_ms: 0 },
            spin_ns: limits.spin_ns,
            turn_began: Instant::now(),
            last_turn_ns: 0,
        })
    }

    /// Turns until told to stop. Returns the services, and what the loop has counted for each; turns count for the first.
    pub fn run(mut self) -> Result<Vec<(S, Counters)>, Failure> {
        stack::prefault();
        while !self.is_done() {
            self.turn()?;
        }
        self.close_all()?;
        self.parts[0].counters.spilled_bytes = self.arena.as_ref().map_or(0, Arena::spilled) as u64;
        let Self { io, parts, .. } = self;
        // First: as long as the ring is there, the kernel may use what connections hold.
        drop(io);
        Ok(parts.into_iter().map(|part| (part.service, part.counters)).collect())
    }

    /// Whether all parts are done. All of them are asked: each then says to the others that it rests.
    fn is_done(&mut self) -> bool {
        if self.control.command() == Command::Stop {
            return true;
        }
        self.parts.iter_mut().map(Part::is_done).filter(|is_done| !is_done).count() == 0
    }

    fn is_loading(&self) -> bool {
        self.parts.iter().any(|part| part.service.is_loading())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let is_loading = self.is_loading();
        self.wait()?;
        self.read_clock();
        self.control.turns();
        let Self { parts, io, clock, control, .. } = self;
        // Whose reads they are, they wait for all that the thread does.
        if parts.len() > 1 && parts.iter().any(|part| part.service.has_read()) {
            parts.iter_mut().for_each(|part| part.service.sees_reads());
        }
        parts.iter_mut().for_each(|part| part.begin(*clock, io));
        while let Some(completion) = io.ring.reap() {
            let op = Op::decode(completion.user_data).expect("a completion of this loop's own");
            if op.kind != Kind::Wake {
                parts[usize::from(op.part)].complete(op, completion, io);
                continue;
            }
            if !cqueue::more(completion.flags) {
                io.ring.watch(control);
            }
            if control.command() >= Command::Drain {
                parts.iter_mut().for_each(|part| part.drain(io));
            }
        }
        parts.iter_mut().try_for_each(|part| part.flush(io))?;
        let rounds = if parts.len() > 1 { ROUNDS } else { 0 };
        for _ in 0..rounds {
            if parts.iter().all(|part| !part.service.has_mail()) {
                break;
            }
            parts.iter_mut().for_each(|part| part.hear(io));
            parts.iter_mut().for_each(|part| part.service.say());
        }
        parts.iter_mut().for_each(|part| part.end(io));
        io.buffers.publish();
        parts.iter_mut().for_each(|part| part.feed_starved(io));
        if let Some(arena) = &mut self.arena {
            if is_loading {
                arena.expect(parts.iter().map(|part| part.service.expected_bytes()).sum());
            }
            if is_loading && !parts.iter().any(|part| part.service.is_loading()) {
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
        let turn_ns = self.turn_began.elapsed().as_nanos() as u64;
        self.parts[0].counters.turns.record(turn_ns, 1);
        for part in &mut self.parts {
            part.counters.sends.record(turn_ns + self.last_turn_ns, std::mem::take(&mut part.sends));
        }
        self.last_turn_ns = turn_ns;
    }

    fn read_clock(&mut self) {
        self.turn_began = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let passed = self.turn_began - self.started;
        self.clock = Clock { monotonic_ms: passed.as_millis() as u64, unix_ms: unix.as_millis() as u64 };
    }
}
