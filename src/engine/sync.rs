//! The atomics and the cell of what two cores share.
//!
//! Code over them names this module alone, so that a model checker can put its own in their place:
//! see `tests/mesh/`.

pub use std::sync::Arc;
pub use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// A cell that one thread may read or write while no other does; who may is agreed on elsewhere.
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Hands a pointer to what it holds to `f`, which must not keep it.
    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
