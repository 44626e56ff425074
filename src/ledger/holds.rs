//! One user's open holds, sorted by id; at most [`HOLDS_PER_USER`].
//!
//! The holds are a tree of two levels: sorted leaves of at most [`LEAF_HOLDS`] holds, in a sorted
//! list. Opening or closing a hold moves one leaf at most, however many holds are open. A user with
//! few holds has one small leaf, and its bytes are known, which those of a B-tree are not.

use super::HOLDS_PER_USER;
use super::amount::Direction;
use super::cursor::{Cursor, Malformed, put};
use super::id::EntryId;
use super::names::{KindId, KindNumbering};
use smallvec::SmallVec;

/// Maximum holds of a leaf: opening one moves at most eight kilobytes.
const LEAF_HOLDS: usize = 256;
/// Flag beside a stored hold's currency and direction: [`Hold::has_own_entry`].
const HAS_OWN_ENTRY: u8 = 1 << 7;

/// An open hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Id that lines name it by: that of the entry that opens it.
    pub id: EntryId,
    /// Amount still held, in minor units; above zero.
    pub amount: i64,
    /// The kind's number in the slice: that of the first line.
    pub kind: KindId,
    /// Index of the currency in the user's balances.
    pub currency: u8,
    /// Credit or debit.
    pub direction: Direction,
    /// Whether the entry with its id was accepted; otherwise lines that name it came first.
    pub has_own_entry: bool,
}

/// Open holds. A hold stays until nothing of it is left; it never expires.
#[derive(Debug, Default)]
pub struct Holds {
    /// Sorted leaves, none of them empty.
    leaves: SmallVec<[Vec<Hold>; 1]>,
    len: usize,
}

impl Holds {
    /// The open hold with this id.
    pub fn get(&self, id: EntryId) -> Option<&Hold> {
        let leaf = self.leaves.get(self.leaf(id))?;
        place(leaf, id).ok().map(|at| &leaf[at])
    }

    /// Number of open holds.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no hold is open.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Opens a hold, or replaces the one with its id.
    pub fn set(&mut self, hold: Hold) {
        let number = self.leaf(hold.id);
        let Some(leaf) = self.leaves.get_mut(number) else {
            self.leaves.push(vec![hold]);
            self.len = 1;
            return;
        };
        match place(leaf, hold.id) {
            Ok(at) => leaf[at] = hold,
            Err(at) => {
                leaf.insert(at, hold);
                self.len += 1;
                if leaf.len() > LEAF_HOLDS {
                    let later = leaf.split_off(LEAF_HOLDS / 2);
                    self.leaves.insert(number + 1, later);
                }
            }
        }
    }

    /// Removes the hold with this id, if it is open.
    pub fn close(&mut self, id: EntryId) {
        let number = self.leaf(id);
        let Some(leaf) = self.leaves.get_mut(number) else { return };
        let Ok(at) = place(leaf, id) else { return };
        leaf.remove(at);
        self.len -= 1;
        if leaf.is_empty() {
            self.leaves.remove(number);
        }
    }

    /// The open holds, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.leaves.iter().flatten()
    }

    /// Number of the leaf where the hold with this id is or belongs.
    fn leaf(&self, id: EntryId) -> usize {
        self.leaves.partition_point(|leaf| leaf[0].id <= id).saturating_sub(1)
    }

    /// Appends the count, then each hold, in the format of [`super::image`].
    pub(super) fn store(&self, numbers: &mut KindNumbering<'_>, out: &mut Vec<u8>) {
        put(out, self.len as u64);
        for hold in self.iter() {
            out.extend_from_slice(&hold.id.0.to_le_bytes());
            let own = if hold.has_own_entry { HAS_OWN_ENTRY } else { 0 };
            out.push(hold.currency << 1 | hold.direction as u8 | own);
            put(out, u64::from(numbers.of(hold.kind).0));
            put(out, hold.amount.cast_unsigned());
        }
    }

    /// Reads and validates what [`Self::store`] wrote, for a user with `balances` balances in a
    /// slice with `kinds` kinds.
    pub(super) fn load(
        cursor: &mut Cursor<'_>,
        balances: usize,
        kinds: u32,
    ) -> Result<Self, Malformed> {
        let count = cursor.varint()?;
        Malformed::unless(
            count <= HOLDS_PER_USER as u64,
            "a user has no more holds than the limit",
        )?;
        let (mut holds, mut before) = (Self::default(), None);
        for _ in 0..count {
            let id = EntryId(u128::from_le_bytes(cursor.array()?));
            Malformed::unless(before < Some(id), "holds are sorted by id, one each")?;
            before = Some(id);
            let head = cursor.byte()?;
            let (currency, direction) = Direction::unpack(head & !HAS_OWN_ENTRY);
            Malformed::unless(usize::from(currency) < balances, "a hold's currency has a balance")?;
            let kind = KindId::load(cursor, kinds)?;
            let amount = cursor.amount()?;
            Malformed::unless(amount > 0, "an open hold has an amount")?;
            let has_own_entry = head & HAS_OWN_ENTRY != 0;
            holds.set(Hold { id, amount, kind, currency, direction, has_own_entry });
        }
        Ok(holds)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let list =
            if self.leaves.spilled() { self.leaves.capacity() * size_of::<Vec<Hold>>() } else { 0 };
        let leaves = self.leaves.iter().map(|leaf| leaf.capacity() * size_of::<Hold>());
        list + leaves.sum::<usize>()
    }
}

fn place(leaf: &[Hold], id: EntryId) -> Result<usize, usize> {
    leaf.binary_search_by_key(&id, |hold| hold.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_tree_behaves_like_a_map() {
        let (mut holds, mut map) = (Holds::default(), BTreeMap::new());
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for step in 0..60_000 {
            let id = EntryId(u128::from(draw(9_000)));
            // The number of holds grows, then shrinks to none.
            if draw(100) < if step < 30_000 { 80 } else { 5 } {
                let hold = Hold {
                    id,
                    amount: draw(9).cast_signed() + 1,
                    kind: KindId(0),
                    currency: 0,
                    direction: Direction::Debit,
                    has_own_entry: draw(2) == 0,
                };
                holds.set(hold);
                map.insert(id, hold);
            } else {
                holds.close(id);
                map.remove(&id);
            }
            assert_eq!((holds.len(), holds.get(id)), (map.len(), map.get(&id)));
            if step % 1_000 == 0 {
                assert!(holds.iter().eq(map.values()), "step {step}");
                assert!(holds.leaves.iter().all(|leaf| (1..=LEAF_HOLDS).contains(&leaf.len())));
            }
        }
        for id in map.keys() {
            holds.close(*id);
        }
        assert!(holds.is_empty() && holds.leaves.is_empty());
    }
}
