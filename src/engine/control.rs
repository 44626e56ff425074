//! How a core is told to drain and to stop, and how other threads wake it.

use super::Failure;
use super::padding::Padded;
use super::parking::Parker;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a core is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Command {
    /// Serve.
    Serve = 0,
    /// Finish what has begun, take nothing new, then end.
    Drain = 1,
    /// End at once.
    Stop = 2,
}

/// A handle on a core; clones are of the same core.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    command: AtomicU8,
    wake: OwnedFd,
    parker: Padded<Parker>,
    turns: Padded<AtomicU64>,
}

impl Control {
    /// A handle on a core to be.
    pub fn new() -> Result<Self, Failure> {
        // SAFETY: no pointers; a fresh descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Failure::new("create", "an event descriptor", io::Error::last_os_error()));
        }
        // SAFETY: just made, owned by no one else.
        let wake = unsafe { OwnedFd::from_raw_fd(fd) };
        let (parker, turns) = (Padded(Parker::new()), Padded(AtomicU64::new(0)));
        Ok(Self(Arc::new(Inner { command: AtomicU8::new(0), wake, parker, turns })))
    }

    /// The next step from serving over draining to stopping.
    pub fn advance(&self) {
        // SeqCst: rare, so the simplest order will do, here and below.
        let next = self.0.command.load(Ordering::SeqCst).saturating_add(1).min(Command::Stop as u8);
        self.0.command.store(next, Ordering::SeqCst);
        self.wake();
    }

    /// Has the core take a turn.
    pub fn wake(&self) {
        // SAFETY: eight bytes of our own stack. The counter cannot overflow, so the write cannot
        // fail or block.
        unsafe { libc::write(self.fd(), (&raw const ONE).cast(), size_of::<u64>()) };
    }

    /// Has the core take a turn if it sleeps: something was published for it.
    #[inline]
    pub(super) fn wake_if_parked(&self) {
        if self.0.parker.0.needs_wake() {
            self.wake();
        }
    }

    /// The core may sleep, unless `is_idle` finds something. Returns whether it may; then it must
    /// [unpark](Self::unpark) afterwards.
    #[inline]
    pub(super) fn try_park(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.0.parker.0.try_park(is_idle)
    }

    /// The core is awake.
    #[inline]
    pub(super) fn unpark(&self) {
        self.0.parker.0.unpark();
    }

    /// What to do now.
    pub fn command(&self) -> Command {
        // SeqCst: as in `advance`; a turn reads it once.
        match self.0.command.load(Ordering::SeqCst) {
            0 => Command::Serve,
            1 => Command::Drain,
            _ => Command::Stop,
        }
    }

    /// The core begins a turn.
    #[inline]
    pub(super) fn turns(&self) {
        // Relaxed: its own core alone writes it, and whoever looks at it wants to see it move,
        // sooner or later.
        self.0.turns.0.store(self.0.turns.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The core begins no more of them.
    pub(super) fn ends(&self) {
        // Relaxed: as in `turns`.
        self.0.turns.0.store(ENDED, Ordering::Relaxed);
    }

    /// How many turns the core has begun; `None` if it has ended.
    pub fn turns_begun(&self) -> Option<u64> {
        // Relaxed: as in `turns`.
        Some(self.0.turns.0.load(Ordering::Relaxed)).filter(|&turns| turns != ENDED)
    }

    /// The descriptor that is written to when the core is to take a turn. It is never read: who
    /// polls it hears of each write.
    pub(super) fn fd(&self) -> RawFd {
        self.0.wake.as_raw_fd()
    }
}

static ONE: u64 = 1;
/// More turns than any core begins.
const ENDED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_ended_has_no_turns() {
        let control = Control::new().unwrap();
        let seen = control.clone();
        control.turns();
        assert_eq!(seen.turns_begun(), Some(1));
        control.ends();
        assert_eq!(seen.turns_begun(), None);
    }
}
