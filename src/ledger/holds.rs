//! One user's open holds, a vector sorted by entry id; at most [`HOLDS_PER_USER`].

use super::HOLDS_PER_USER;
use super::amount::Direction;
use super::cursor::{Cursor, Malformed, put};
use super::id::EntryId;
use super::names::{KindId, KindNumbering};

/// An open hold: the fields of its entry that a settlement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Id of the entry that opened it.
    pub id: EntryId,
    /// Amount held, in minor units.
    pub amount: i64,
    /// The kind's number in the slice.
    pub kind: KindId,
    /// Index of the currency in the user's balances.
    pub currency: u8,
    /// Credit or debit.
    pub direction: Direction,
}

/// Open holds. A hold stays until it is settled or voided; it never expires.
#[derive(Debug, Default)]
pub struct Holds(Vec<Hold>);

impl Holds {
    /// The open hold with this id.
    pub fn get(&self, id: EntryId) -> Option<&Hold> {
        self.place(id).ok().map(|at| &self.0[at])
    }

    /// Number of open holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no hold is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a hold. Panics if a hold with its id is open.
    pub fn open(&mut self, hold: Hold) {
        match self.place(hold.id) {
            Ok(_) => unreachable!("`judge` refuses a second hold with the same id"),
            Err(at) => self.0.insert(at, hold),
        }
    }

    /// Removes the hold with this id, if it is open.
    pub fn close(&mut self, id: EntryId) {
        if let Ok(at) = self.place(id) {
            self.0.remove(at);
        }
    }

    /// The open holds, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.iter()
    }

    /// Appends the count, then each hold, in the format of [`super::image`].
    pub(super) fn store(&self, numbers: &mut KindNumbering<'_>, out: &mut Vec<u8>) {
        put(out, self.0.len() as u64);
        for hold in &self.0 {
            out.extend_from_slice(&hold.id.0.to_le_bytes());
            out.push(hold.currency << 1 | hold.direction as u8);
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
        // The capacity that the vector would have if the holds had been pushed one by one.
        let mut holds = Vec::with_capacity(if count == 0 {
            0
        } else {
            (count as usize).next_power_of_two().max(4)
        });
        for _ in 0..count {
            let id = EntryId(u128::from_le_bytes(cursor.array()?));
            let sorted = holds.last().is_none_or(|before: &Hold| before.id < id);
            Malformed::unless(sorted, "holds are sorted by id, one each")?;
            let (currency, direction) = Direction::unpack(cursor.byte()?);
            Malformed::unless(usize::from(currency) < balances, "a hold's currency has a balance")?;
            let kind = KindId::load(cursor, kinds)?;
            holds.push(Hold { id, amount: cursor.amount()?, kind, currency, direction });
        }
        Ok(Self(holds))
    }

    fn place(&self, id: EntryId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |hold| hold.id)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Hold>()
    }
}
