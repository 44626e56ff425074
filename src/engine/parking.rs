//! Parking: lets an idle core sleep without missing what is published as it falls asleep.
//!
//! The core marks itself parked, then checks its queues once more. A sender publishes first, then
//! checks the mark. The fence on each side ensures that at least one of them sees the other. The
//! sleep itself and the wake-up, a write to an event descriptor, are the caller's.
//!
//! ```text
//!   core                              sender
//!   parked = true                     publish
//!   fence                             fence
//!   queues empty? sleep, else unpark  parked? wake
//! ```

use super::sync::{AtomicBool, Ordering, fence};

/// The parked mark of a core. Senders wake the core only while it is set.
#[derive(Debug)]
pub struct Parker(AtomicBool);

impl Parker {
    /// The mark of a core that is not parked.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Parks the core, unless `is_idle` finds work. Returns whether the core is parked: then it may
    /// sleep, and must [unpark](Self::unpark) afterwards.
    #[inline]
    pub fn try_park(&self, is_idle: impl FnOnce() -> bool) -> bool {
        // Relaxed: the fence orders it before the loads of `is_idle`.
        self.0.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `needs_wake`.
        fence(Ordering::SeqCst);
        let parks = is_idle();
        if !parks {
            self.unpark();
        }
        parks
    }

    /// Marks the core awake, whether a sender woke it or not.
    #[inline]
    pub fn unpark(&self) {
        // Relaxed: a sender that sees it late costs one needless wake-up at worst.
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the caller must wake the core. Call it after publishing something for the core. Only
    /// the first caller gets `true`.
    #[inline]
    pub fn needs_wake(&self) -> bool {
        // SeqCst: pairs with the fence in `try_park`: either the core sees what was published
        // before this fence, or this thread sees the core parked.
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
