//! What the ledger knows of memory: where reading will go next, and how small vectors grow.

use super::index::Slot;
use std::cell::Cell;
use std::sync::LazyLock;
use thin_vec::ThinVec;

/// Tells the processor what will be read soon. The ledger knows where, the engine knows how.
pub trait Near {
    /// The line at this address will be read soon. The address need not be valid: nothing is read through it here.
    fn near(&self, at: *const u8);
}

/// Nobody to be told.
impl Near for () {
    fn near(&self, _: *const u8) {}
}

/// The steps of the way to a user, as far as memory is concerned: what each reads says where the next one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The place in the index.
    Place,
    /// The user.
    User,
    /// What hangs on the user: where each part begins.
    Parts,
    /// The rest of these parts and what hangs on them, as far as an entry needs it.
    Deep,
}

impl Step {
    /// The whole way to where an entry is booked.
    pub const OF_ENTRY: [Self; 4] = [Self::Place, Self::User, Self::Parts, Self::Deep];
}

/// What the steps of one way have found so far.
#[derive(Debug, Default)]
pub struct Way(Cell<Option<Slot>>);

impl Way {
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

/// The steps to take before item `at` of a walk is worked on, so that cache misses overlap with the work on the items before: the
/// last step is taken [`APART`] items ahead, each other one as much ahead of the next.
#[inline]
pub fn ahead<T, const N: usize>(items: &[T], at: usize, steps: [Step; N]) -> impl Iterator<Item = (&T, Step)> {
    steps.into_iter().enumerate().flat_map(move |(place, step)| {
        let reach = at + (N - place) * APART;
        let from = if at == 0 { 0 } else { reach };
        items.get(from..items.len().min(reach + 1)).unwrap_or_default().iter().map(move |item| (item, step))
    })
}

/// Bytes of a cache line.
pub(super) const LINE_BYTES: usize = 64;

/// Length and capacity, which a thin vector keeps before its items.
const THIN_HEADER_BYTES: usize = 16;

/// Says where a thin vector begins: its header, and often all of it.
#[inline]
pub(super) fn near_head<T>(vec: &ThinVec<T>, near: &impl Near) {
    near.near(vec.as_ptr().cast::<u8>().wrapping_sub(THIN_HEADER_BYTES));
}

/// Says where the items of a thin vector are from this one on, but for what [`near_head`] has said. Its header is read.
#[inline]
pub(super) fn near_rest<T>(vec: &ThinVec<T>, from: usize, near: &impl Near) {
    let head = (vec.as_ptr() as usize - THIN_HEADER_BYTES) / LINE_BYTES;
    let (first, last) = (vec.as_ptr().wrapping_add(from) as usize, vec.as_ptr().wrapping_add(vec.len()) as usize);
    for line in (first / LINE_BYTES).max(head + 1)..=last / LINE_BYTES {
        near.near((line * LINE_BYTES) as *const u8);
    }
}

/// Bytes that a thin vector has on the heap.
pub(super) fn thin_bytes<T>(vec: &ThinVec<T>) -> usize {
    if vec.capacity() == 0 { 0 } else { THIN_HEADER_BYTES + vec.capacity() * size_of::<T>() }
}

/// Makes room for `more` items.
pub(super) fn reserve<T>(items: &mut ThinVec<T>, more: usize) {
    let needed = items.len() + more;
    if needed > items.capacity() {
        items.reserve_exact(room::<T>(needed) - items.len());
    }
}

/// The room that so many items get. Small vectors are many: they grow by no more than fills the next size that allocators have —
/// four of them from one power of two to the next, and a multiple of 16 bytes.
fn room<T>(items: usize) -> usize {
    let bytes = THIN_HEADER_BYTES + items * size_of::<T>();
    let step = (bytes.next_power_of_two() / 8).max(SMALLEST_STEP_BYTES);
    (bytes.next_multiple_of(step) - THIN_HEADER_BYTES) / size_of::<T>()
}

const SMALLEST_STEP_BYTES: usize = 16;

/// Vectors of zeros, the n-th of them n steps long: a thin vector is cloned at once, and extended item by item.
static ZEROS: LazyLock<[ThinVec<u8>; 32]> = LazyLock::new(|| {
    std::array::from_fn(|steps| {
        let mut zeros = ThinVec::new();
        zeros.resize(steps * SMALLEST_STEP_BYTES, 0);
        zeros
    })
});

/// These bytes, with the room that they would have had they come one by one.
pub(super) fn filled(bytes: &[u8]) -> ThinVec<u8> {
    let room = if bytes.is_empty() { 0 } else { room::<u8>(bytes.len()) };
    match ZEROS.get(room / SMALLEST_STEP_BYTES) {
        Some(zeros) => {
            let mut items = zeros.clone();
            items[..bytes.len()].copy_from_slice(bytes);
            items.truncate(bytes.len());
            items
        }
        None => {
            let mut items = ThinVec::with_capacity(room);
            items.extend_from_slice(bytes);
            items
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Lines(RefCell<Vec<usize>>);

    impl Near for Lines {
        fn near(&self, at: *const u8) {
            self.0.borrow_mut().push(at as usize / LINE_BYTES);
        }
    }

    #[test]
    fn who_comes_at_once_has_the_room_of_who_comes_one_by_one() {
        for len in 0..1_000 {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut grown = ThinVec::new();
            for &byte in &bytes {
                reserve(&mut grown, 1);
                grown.push(byte);
            }
            let filled = filled(&bytes);
            assert_eq!((&filled[..], filled.capacity()), (&bytes[..], grown.capacity()), "{len}");
        }
    }

    #[test]
    fn each_line_of_a_thin_vector_is_near_once() {
        for len in 0..400 {
            let mut vec = ThinVec::<u8>::new();
            reserve(&mut vec, len);
            vec.resize(len, 0);
            let lines = Lines(RefCell::default());
            near_head(&vec, &lines);
            near_rest(&vec, 0, &lines);
            let start = vec.as_ptr() as usize - THIN_HEADER_BYTES;
            let all: Vec<_> = (start / LINE_BYTES..=(start + THIN_HEADER_BYTES + len) / LINE_BYTES).collect();
            assert_eq!(lines.0.take(), all, "{len}");
            near_rest(&vec, len, &lines);
            let last = (start + THIN_HEADER_BYTES + len) / LINE_BYTES;
            assert_eq!(lines.0.take(), if last == start / LINE_BYTES { vec![] } else { vec![last] }, "{len}, its end");
        }
    }
}
