//! One user's open holds, sorted by entry id.

use super::HOLDS_PER_USER;
use super::amount::Direction;
use super::cursor::{Cursor, Malformed, put};
use super::id::EntryId;
use super::names::{KindId, Numbers};

/// An open hold: what a settlement needs of the entry that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The entry that made it.
    pub id: EntryId,
    /// Minor units held.
    pub amount: i64,
    /// The kind's number in the slice.
    pub kind: KindId,
    /// Place of the currency among the user's balances.
    pub currency: u8,
    /// Credit or debit.
    pub direction: Direction,
}

/// Open holds; they stay until settled, whatever their age.
#[derive(Debug, Default)]
pub struct Holds(Vec<Hold>);

impl Holds {
    /// The open hold of that id.
    pub fn get(&self, id: EntryId) -> Option<&Hold> {
        self.place(id).ok().map(|at| &self.0[at])
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens a hold whose id is not open yet.
    pub fn open(&mut self, hold: Hold) {
        match self.place(hold.id) {
            Ok(_) => unreachable!("a hold's id was looked up before the hold is opened"),
            Err(at) => self.0.insert(at, hold),
        }
    }

    /// Closes the hold of that id, if it is open.
    pub fn close(&mut self, id: EntryId) {
        if let Ok(at) = self.place(id) {
            self.0.remove(at);
        }
    }

    /// The open holds, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.iter()
    }

    /// Appends how many there are, and each: see [`super::image`].
    pub(super) fn store(&self, numbers: &mut Numbers<'_>, out: &mut Vec<u8>) {
        put(out, self.0.len() as u64);
        for hold in &self.0 {
            out.extend_from_slice(&hold.id.0.to_le_bytes());
            out.push(hold.currency << 1 | hold.direction as u8);
            put(out, u64::from(numbers.of(hold.kind).0));
            put(out, hold.amount as u64);
        }
    }

    /// Reads what [`Self::store`] wrote, of a user with so many balances in a slice with so many
    /// kinds.
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
        // The room that it would have had they come one by one.
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
