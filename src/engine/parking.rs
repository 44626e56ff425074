//! Parking: how an idle core goes to sleep without missing what is published meanwhile.
//!
//! The core marks itself parked, then looks at its queues once more. A sender publishes first, then
//! looks at the mark. The fence on each side makes sure that at least one of them sees the other.
//! The sleep itself and the wake-up, a write to an event descriptor, are the caller's.
//!
//! ```text
//!   core                              sender
//!   parked = true                     publish
//!   fence                             fence
//!   queues empty? sleep, else unpark  parked? wake
//! ```

use super::sync::{AtomicBool, Ordering, fence};

/// Whether a core is parked. Others wake it only then.
#[derive(Debug)]
pub struct Parker(AtomicBool);

impl Parker {
    /// Of a core that is not parked.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Parks the core unless `is_idle` says that there is work. Returns whether it is parked: then
    /// the core may sleep, and must [unpark](Self::unpark) afterwards.
    #[inline]
    pub fn try_park(&self, is_idle: impl FnOnce() -> bool) -> bool {
        // Relaxed: the fence orders it before what `is_idle` reads.
        self.0.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `needs_wake`.
        fence(Ordering::SeqCst);
        let parks = is_idle();
        if !parks {
            self.unpark();
        }
        parks
    }

    /// The core is awake, whoever woke it.
    #[inline]
    pub fn unpark(&self) {
        // Relaxed: the worst that a late sight of it costs is one wake-up too many.
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the core must be woken; asked after something was published for it. Only the first
    /// to ask is told so, and has to do it.
    #[inline]
    pub fn needs_wake(&self) -> bool {
        // SeqCst: pairs with the fence in `try_park`: the core sees what was published before it,
        // or is seen parked here.
        fence(Ordering::SeqCst);
        // Relaxed: a load first, since it is cheaper than a swap; the swap decides who wakes.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}
