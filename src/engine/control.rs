//! Control: a handle on a core, to drain it, stop it and wake it from other threads.

use super::Failure;
use super::parking::Parker;
use crossbeam_utils::CachePadded;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A command to a core, in increasing order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    /// Serve.
    Serve = 0,
    /// Serve, but tell that no new clients are wanted.
    LameDuck = 1,
    /// Take no new connections, finish what has begun, then end.
    Drain = 2,
    /// End at once.
    Stop = 3,
}

/// A handle on one core; clones refer to the same core.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    command: AtomicU8,
    wake: OwnedFd,
    parker: CachePadded<Parker>,
    turns: CachePadded<AtomicU64>,
}

impl Control {
    /// Creates the handle of a core that is not started yet.
    pub fn new() -> Result<Self, Failure> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::new("create", "an eventfd", error.into()))?;
        let (parker, turns) =
            (CachePadded::new(Parker::new()), CachePadded::new(AtomicU64::new(0)));
        Ok(Self(Arc::new(Inner { command: AtomicU8::new(0), wake, parker, turns })))
    }

    /// Gives a command, unless a more urgent one was given before.
    pub fn give(&self, command: Command) {
        // SeqCst: rare, so the simplest order will do, here and below.
        self.0.command.fetch_max(command as u8, Ordering::SeqCst);
        self.wake();
    }

    /// Makes the core take a turn.
    pub fn wake(&self) {
        // The descriptor's counter cannot overflow, so the write cannot fail or block.
        let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
    }

    /// Wakes the core if it is parked. Call it after publishing something for the core.
    #[inline]
    pub(super) fn wake_if_parked(&self) {
        if self.0.parker.needs_wake() {
            self.wake();
        }
    }

    /// Parks the core, unless `is_idle` finds work. Returns whether the core is parked: then it may
    /// sleep, and must [unpark](Self::unpark) afterwards.
    #[inline]
    pub(super) fn try_park(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.0.parker.try_park(is_idle)
    }

    /// Marks the core awake.
    #[inline]
    pub(super) fn unpark(&self) {
        self.0.parker.unpark();
    }

    /// The current command.
    pub fn command(&self) -> Command {
        // SeqCst: as in `give`; a turn reads it once.
        match self.0.command.load(Ordering::SeqCst) {
            0 => Command::Serve,
            1 => Command::LameDuck,
            2 => Command::Drain,
            _ => Command::Stop,
        }
    }

    /// Counts a turn that begins.
    #[inline]
    pub(super) fn count_turn(&self) {
        // Relaxed: only the core itself writes it, and the watchdog needs to see it change, sooner
        // or later.
        self.0.turns.store(self.0.turns.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Marks the core as ended: it begins no more turns.
    pub(super) fn mark_ended(&self) {
        // Relaxed: as in `turns`.
        self.0.turns.store(ENDED, Ordering::Relaxed);
    }

    /// The number of turns that the core has begun; `None` if it has ended.
    pub fn turns_begun(&self) -> Option<u64> {
        // Relaxed: as in `turns`.
        Some(self.0.turns.load(Ordering::Relaxed)).filter(|&turns| turns != ENDED)
    }

    /// The event descriptor that wakes the core. It is never read: a poll of it completes for each
    /// write.
    pub(super) fn fd(&self) -> RawFd {
        self.0.wake.as_raw_fd()
    }
}

/// Value of `turns` for a core that has ended: more turns than any core begins.
const ENDED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_has_ended_has_no_turn_count() {
        let control = Control::new().unwrap();
        let seen = control.clone();
        control.count_turn();
        assert_eq!(seen.turns_begun(), Some(1));
        control.mark_ended();
        assert_eq!(seen.turns_begun(), None);
    }
}
