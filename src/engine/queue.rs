//! Queue: single-producer, single-consumer, between two cores. Neither end ever waits.
//!
//! ```text
//!            head (receiver's)              tail (sender's)
//!              ▼                              ▼
//!   ─ free ─ ┌────┬────┬────┬────┬────┬────┬─────────────┐
//!            │  published: to be received │  unpublished  │ free
//! ```
//!
//! Items are sent in batches: [`Sender::push`] writes them, [`Sender::publish`] makes all of them
//! visible with one store. Free slots are returned the same way ([`Receiver::recycle`]). Each
//! end caches the other's index, and loads it again only when the cached one does not suffice.
//! Method: J. Giacomoni et al., *FastForward*, 2008, and the cached indices of later work.
//!
//! By hand for the proof, not for speed: its atomics can be those of a model checker
//! (`tests/mesh/`). `rtrb` takes as long (`benches/runs/2026-11-30-by-hand.md`).
//!
//! The caller bounds the number of items by credits: a push into a full queue is our own fault and
//! panics.

use super::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use crossbeam_utils::CachePadded;
use std::mem::MaybeUninit;

struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Count of received items.
    head: CachePadded<AtomicUsize>,
    /// Count of published items.
    tail: CachePadded<AtomicUsize>,
}

// SAFETY: only the sender accesses a slot until `tail` has passed it, and only the receiver until
// `head` has. Each index is stored with Release after the last access and loaded with Acquire
// before the first. The items cross threads, so they must be `Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, number: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[number & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: both ends are gone, and dropping their `Arc`s made their last writes visible.
        let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        let mut number = head;
        while number != tail {
            // SAFETY: published and not received, so initialised and without another owner.
            self.slot(number).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            number = number.wrapping_add(1);
        }
    }
}

/// The sending end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// Count of written items.
    written: usize,
    /// Count of published items.
    published: usize,
    /// Count of received items, as last loaded.
    received: usize,
}

/// The receiving end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Count of taken items.
    taken: usize,
    /// Count of slots returned to the sender.
    recycled: usize,
    /// Count of published items, as last loaded.
    published: usize,
}

/// Creates a queue of `slots` slots, a power of two.
pub fn channel<T>(slots: usize) -> (Sender<T>, Receiver<T>) {
    assert!(slots.is_power_of_two(), "a slot's index is masked");
    let shared = Arc::new(Shared {
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
    });
    let sender = Sender { shared: shared.clone(), written: 0, published: 0, received: 0 };
    (sender, Receiver { shared, taken: 0, recycled: 0, published: 0 })
}

impl<T> Sender<T> {
    /// Writes an item; the receiver sees it after [`Self::publish`]. Panics if the queue is full.
    #[inline]
    pub fn push(&mut self, item: T) {
        if self.written.wrapping_sub(self.received) == self.shared.slots.len() {
            // Acquire: the receiver is done with the slots before this head.
            self.received = self.shared.head.load(Ordering::Acquire);
            assert!(
                self.written.wrapping_sub(self.received) < self.shared.slots.len(),
                "credits keep the queue from being full"
            );
        }
        // SAFETY: this slot is beyond the tail and the receiver is done with it, so this end alone
        // accesses it.
        self.shared.slot(self.written).with_mut(|slot| unsafe { (*slot).write(item) });
        self.written = self.written.wrapping_add(1);
    }

    /// Makes written items visible to the receiver. Returns whether there were new ones.
    #[inline]
    pub fn publish(&mut self) -> bool {
        let has_new = self.written != self.published;
        if has_new {
            // Release: the items are written before the tail passes them.
            self.shared.tail.store(self.written, Ordering::Release);
            self.published = self.written;
        }
        has_new
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Publishes the rest, so that the last end to be dropped drops those items as well.
        self.publish();
    }
}

impl<T> Receiver<T> {
    /// Whether every published item has been taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: only the number matters here; `pop` loads it again before it reads an item.
        self.shared.tail.load(Ordering::Relaxed) == self.taken
    }

    /// Takes the next published item.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.taken == self.published {
            // Acquire: the items before this tail are written.
            self.published = self.shared.tail.load(Ordering::Acquire);
            if self.taken == self.published {
                return None;
            }
        }
        // SAFETY: published, so written; `taken` advances, so it is read once.
        let item =
            self.shared.slot(self.taken).with_mut(|slot| unsafe { (*slot).assume_init_read() });
        self.taken = self.taken.wrapping_add(1);
        Some(item)
    }

    /// Returns the slots of taken items to the sender.
    #[inline]
    pub fn recycle(&mut self) {
        if self.recycled != self.taken {
            // Release: the items are taken out before the head passes them.
            self.shared.head.store(self.taken, Ordering::Release);
            self.recycled = self.taken;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.recycle();
    }
}
