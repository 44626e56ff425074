//! One user's open holds, sorted by entry id.

use super::amount::Direction;
use super::id::EntryId;
use super::names::KindId;

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

    fn place(&self, id: EntryId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |hold| hold.id)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Hold>()
    }
}
