//! A queue between two cores: one sends, one receives, and neither ever waits.
//!
//! ```text
//!            head (receiver's)              tail (sender's)
//!              ▼                              ▼
//!   ─ free ─ ┌────┬────┬────┬────┬────┬────┬─────────────┐
//!            │  published: to be received │ not yet shown │ free
//! ```
//!
//! Items are sent in batches: [`Sender::push`] writes them, [`Sender::publish`] shows them all with one store. Places go back the same way. Each
//! side keeps what it knows of the other's end, and looks again only when that does not suffice. Method: J. Giacomoni et al., *FastForward*,
//! 2008, and the cached indices of what followed it.
//!
//! [`Sleeper`] is the other half: how a receiver goes to sleep without missing what is published meanwhile.
//!
//! Room is the caller's: a push into a full queue is a fault of ours and panics. The credits of an exchange see to it.

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};
use std::mem::MaybeUninit;

/// Has a cache line, and the one that is fetched with it, to itself: what one core writes disturbs no other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

struct Shared<T> {
    places: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// How many items were received.
    head: Padded<AtomicUsize>,
    /// How many items were published.
    tail: Padded<AtomicUsize>,
}

// SAFETY: a place is touched by the sender alone until `tail` has passed it, and by the receiver alone until `head` has; each is stored with
// Release after the last touch and loaded with Acquire before the first. The items cross threads, so they must be `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn place(&self, number: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.places[number & (self.places.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: both ends are gone, and what gave them up made their last writes visible.
        let (head, tail) = (self.head.0.load(Ordering::Relaxed), self.tail.0.load(Ordering::Relaxed));
        let mut number = head;
        while number != tail {
            // SAFETY: published and not received: initialised, and nobody else's.
            self.place(number).with_mut(|place| unsafe { (*place).assume_init_drop() });
            number = number.wrapping_add(1);
        }
    }
}

/// The end that sends.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// How many items were written.
    written: usize,
    /// How many of them are published.
    published: usize,
    /// How many were received, as far as is known.
    received: usize,
}

/// The end that receives.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// How many items were taken.
    taken: usize,
    /// How many of their places were given back.
    given_back: usize,
    /// How many are published, as far as is known.
    published: usize,
}

/// A queue with so many places, a power of two.
pub fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    assert!(places.is_power_of_two(), "places are found by masking");
    let shared = Arc::new(Shared {
        places: (0..places).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        head: Padded(AtomicUsize::new(0)),
        tail: Padded(AtomicUsize::new(0)),
    });
    let sender = Sender { shared: shared.clone(), written: 0, published: 0, received: 0 };
    (sender, Receiver { shared, taken: 0, given_back: 0, published: 0 })
}

impl<T> Sender<T> {
    /// Writes an item; the receiver sees it after [`Self::publish`].
    #[inline]
    pub fn push(&mut self, item: T) {
        if self.written.wrapping_sub(self.received) == self.shared.places.len() {
            // Acquire: the receiver is done with the places before this head.
            self.received = self.shared.head.0.load(Ordering::Acquire);
            assert!(self.written.wrapping_sub(self.received) < self.shared.places.len(), "there is room");
        }
        // SAFETY: this place is beyond the tail and the receiver is done with it: it is this end's alone.
        self.shared.place(self.written).with_mut(|place| unsafe { (*place).write(item) });
        self.written = self.written.wrapping_add(1);
    }

    /// Shows the receiver all that was written. Returns whether there was anything.
    #[inline]
    pub fn publish(&mut self) -> bool {
        let is_news = self.written != self.published;
        if is_news {
            // Release: the items are written before the tail passes them.
            self.shared.tail.0.store(self.written, Ordering::Release);
            self.published = self.written;
        }
        is_news
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // What was written and never shown is dropped by whoever drops the rest.
        self.publish();
    }
}

impl<T> Receiver<T> {
    /// Whether nothing is there.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: only the number is looked at; who takes an item looks again.
        self.shared.tail.0.load(Ordering::Relaxed) == self.taken
    }

    /// Takes the next item that is published.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.taken == self.published {
            // Acquire: the items before this tail are written.
            self.published = self.shared.tail.0.load(Ordering::Acquire);
            if self.taken == self.published {
                return None;
            }
        }
        // SAFETY: published, so written; and taken once.
        let item = self.shared.place(self.taken).with_mut(|place| unsafe { (*place).assume_init_read() });
        self.taken = self.taken.wrapping_add(1);
        Some(item)
    }

    /// Gives the places of what was taken back to the sender.
    #[inline]
    pub fn give_back(&mut self) {
        if self.given_back != self.taken {
            // Release: the items are taken out before the head passes them.
            self.shared.head.0.store(self.taken, Ordering::Release);
            self.given_back = self.taken;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Whether a core sleeps, so that others wake it only then.
///
/// The sleeper says so, then looks at its queues once more; who publishes looks at the sleeper afterwards. The fences between see to it that at
/// least one of them sees the other.
#[derive(Debug)]
pub struct Sleeper(AtomicBool);

impl Sleeper {
    /// Awake.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Lies down, unless `is_idle` finds something. Returns whether it may sleep now; then it must [rise](Self::rise) afterwards.
    #[inline]
    pub fn lie_down(&self, is_idle: impl FnOnce() -> bool) -> bool {
        // Relaxed: the fence orders it before what is looked at next.
        self.0.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `must_wake`.
        fence(Ordering::SeqCst);
        let sleeps = is_idle();
        if !sleeps {
            self.rise();
        }
        sleeps
    }

    /// Is awake, whoever woke it.
    #[inline]
    pub fn rise(&self) {
        // Relaxed: at worst it is woken once for nothing.
        self.0.store(false, Ordering::Relaxed);
    }

    /// To be asked after something was published for it: whether it must be woken. Whoever is told so first has to do it.
    #[inline]
    pub fn must_wake(&self) -> bool {
        // SeqCst: pairs with the fence in `lie_down`: what was published before is seen there, or the sleeper is seen here.
        fence(Ordering::SeqCst);
        // Relaxed: the look that spares the swap; the swap decides who wakes.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}
