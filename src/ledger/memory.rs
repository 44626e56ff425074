//! Memory policy of the ledger: the prefetch steps of a user lookup, and the growth of small
//! blocks.
//!
//! A lookup is a chain of dependent cache misses: index, user, user's data. [`prefetch_steps`]
//! interleaves the steps of several lookups, so that their misses overlap.

use super::index::UserSlot;
use std::cell::Cell;

/// Prefetch steps of a user lookup, in order. Each step reads what the step before prefetched and
/// prefetches what that points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchStep {
    /// Prefetches the hash-table cell in the index.
    Index,
    /// Prefetches the user.
    User,
    /// Prefetches the user's packed sections and the head of its rare state.
    Sections,
    /// Prefetches what the rare state points to, as far as booking an entry needs it.
    RareState,
}

impl PrefetchStep {
    /// All steps up to the memory where an entry is booked.
    pub const FOR_ENTRY: [Self; 4] = [Self::Index, Self::User, Self::Sections, Self::RareState];
}

/// State of one lookup between its steps: the user's slot, once the index was read.
#[derive(Debug, Default)]
pub struct Lookup(Cell<Option<UserSlot>>);

impl Lookup {
    /// Stores the result of [`PrefetchStep::User`].
    pub(super) fn found(&self, slot: Option<UserSlot>) {
        self.0.set(slot);
    }

    /// The user's slot, if [`PrefetchStep::User`] found it.
    pub(super) fn slot(&self) -> Option<UserSlot> {
        self.0.get()
    }
}

/// Prefetch distance between two steps, in items: about as much work as one cache miss takes.
const PREFETCH_DISTANCE: usize = 4;

/// The prefetch steps to run before item `at` is processed, so that cache misses overlap with the
/// work on earlier items. The last step runs [`PREFETCH_DISTANCE`] items ahead of processing, each
/// earlier step [`PREFETCH_DISTANCE`] items ahead of the next. At item 0 this includes all steps of
/// the first items.
#[inline]
pub fn prefetch_steps<T, const N: usize>(
    items: &[T],
    at: usize,
    steps: [PrefetchStep; N],
) -> impl Iterator<Item = (&T, PrefetchStep)> {
    steps.into_iter().enumerate().flat_map(move |(place, step)| {
        let reach = at + (N - place) * PREFETCH_DISTANCE;
        let from = if at == 0 { 0 } else { reach };
        items
            .get(from..items.len().min(reach + 1))
            .unwrap_or_default()
            .iter()
            .map(move |item| (item, step))
    })
}

/// Capacity for a block of `bytes` bytes: the next size class of common allocators, which have four
/// per power of two, in multiples of 16 bytes. There are many small blocks, so larger growth steps
/// would waste memory.
pub(super) fn block_bytes(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}
