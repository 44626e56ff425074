//! Turns of a machine with its clocks and its arena: what all rival engines have in common. The
//! first event begins a turn, the driver ends it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use purser::engine::arena::Arena;
use purser::server::limits::TICK_MS;
use purser::server::machine::{Clocks, Machine, Output, Wait};

/// A machine and its turns.
pub struct Turns<M> {
    /// The machine; events are reported to it between [`Self::begin`] and [`Self::end`].
    pub machine: M,
    arena: Option<Arena>,
    started: Instant,
    clocks: Clocks,
    is_open: bool,
}

impl<M: Machine> Turns<M> {
    /// Creates the turns. Must be called on the thread that has created `arena`.
    pub fn new(machine: M, arena: Option<Arena>) -> Self {
        Self { machine, arena, started: Instant::now(), clocks: Clocks::default(), is_open: false }
    }

    /// Begins a turn if none is open. Returns whether it did.
    #[inline]
    pub fn begin(&mut self) -> bool {
        if self.is_open {
            return false;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.clocks.monotonic_ms = self.started.elapsed().as_millis() as u64;
        self.clocks.unix_ms = unix.as_millis() as u64;
        self.machine.begin_turn(self.clocks);
        self.is_open = true;
        true
    }

    /// Whether a turn is open.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Ends the turn, and passes the outputs that concern connections to `carry_out`.
    #[inline]
    pub fn end(&mut self, mut carry_out: impl FnMut(&mut M, Output)) {
        let Self { machine, arena, .. } = self;
        assert!(std::mem::take(&mut self.is_open), "only an open turn ends");
        machine
            .end_turn()
            .unwrap_or_else(|broken| panic!("slice {}: {}", broken.slice, broken.fault));
        while let Some(output) = machine.poll() {
            match output {
                Output::Serving => arena.iter().for_each(Arena::prefault_size_classes),
                Output::Loading { .. } => {}
                Output::Message { .. } | Output::Task { .. } => {
                    unreachable!("a single core without a disk has neither")
                }
                output => carry_out(machine, output),
            }
        }
        if let Some(arena) = arena {
            arena.prefault_ahead();
        }
    }

    /// How long to wait for an event; zero if there is work at hand.
    pub fn poll_timeout(&self) -> Duration {
        match self.machine.wait() {
            Wait::Work => Duration::ZERO,
            Wait::Event { until_ms, .. } => {
                let now_ms = self.clocks.monotonic_ms;
                let until_ms = until_ms.map_or(TICK_MS, |until_ms| until_ms.saturating_sub(now_ms));
                Duration::from_millis(until_ms.min(TICK_MS))
            }
        }
    }

    /// Whether the next turn needs no event, because there is work at hand.
    pub fn has_work(&self) -> bool {
        self.machine.wait() == Wait::Work
    }
}
