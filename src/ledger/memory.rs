//! What the ledger knows of memory: where reading will go next, and how small blocks grow.

use super::index::Slot;
use std::cell::Cell;

/// The steps of the way to a user, as far as memory is concerned: what each reads says where the
/// next one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The place in the index.
    Place,
    /// The user.
    User,
    /// What hangs on the user: where each part begins.
    Sections,
    /// The rest of these parts and what hangs on them, as far as an entry needs it.
    Deep,
}

impl Step {
    /// The whole way to where an entry is booked.
    pub const OF_ENTRY: [Self; 4] = [Self::Place, Self::User, Self::Sections, Self::Deep];
}

/// What the steps of one way have found so far.
#[derive(Debug, Default)]
pub struct Lookup(Cell<Option<Slot>>);

impl Lookup {
    /// Takes [`Step::User`].
    pub(super) fn found(&self, slot: Option<Slot>) {
        self.0.set(slot);
    }

    /// The user's slot, if it was found.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.0.get()
    }
}

/// How many items lie between the steps of the way to one user: as much work as a cache miss takes.
const APART: usize = 4;

/// The steps to take before item `at` of a walk is worked on, so that cache misses overlap with the
/// work on the items before: the last step is taken [`APART`] items ahead, each other one as much
/// ahead of the next.
#[inline]
pub fn ahead<T, const N: usize>(
    items: &[T],
    at: usize,
    steps: [Step; N],
) -> impl Iterator<Item = (&T, Step)> {
    steps.into_iter().enumerate().flat_map(move |(place, step)| {
        let reach = at + (N - place) * APART;
        let from = if at == 0 { 0 } else { reach };
        items
            .get(from..items.len().min(reach + 1))
            .unwrap_or_default()
            .iter()
            .map(move |item| (item, step))
    })
}

/// The room that so many bytes get. Small blocks are many: they grow by no more than fills the next
/// size that allocators have — four of them from one power of two to the next, and a multiple of 16
/// bytes.
pub(super) fn block_bytes(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}
