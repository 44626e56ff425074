//! The connections of one core, by slot.

use super::connection::Connection;
use super::machine::Slot;
use super::progress::Progress;

/// The connections of one core.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<Option<Connection>>,
    /// Generation of each slot: how many connections it has had.
    generations: Vec<u32>,
    count: usize,
}

impl Connections {
    /// Number of connections.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of slots, used or free.
    pub const fn slots(&self) -> Slot {
        self.slots.len() as Slot
    }

    /// Adds a connection to a free slot. `local_slice` is the index of the slice at whose listener
    /// it was accepted.
    pub(super) fn insert(
        &mut self,
        slot: Slot,
        local_slice: usize,
        deadline_ms: u64,
        send_ms: u64,
    ) -> &mut Connection {
        let at = slot as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
            self.generations.resize(at + 1, 0);
        }
        assert!(self.slots[at].is_none(), "a slot is given to one connection at a time");
        self.count += 1;
        let generation = self.generations[at];
        self.slots[at].insert(Connection::new(slot, generation, local_slice, deadline_ms, send_ms))
    }

    /// Removes a connection. Returns the index of the slice at whose listener it was accepted.
    pub(super) fn remove(&mut self, slot: Slot) -> usize {
        let gone = self.slots[slot as usize].take().expect("a connection is closed once");
        self.count -= 1;
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
        gone.local_slice
    }

    /// The connection in a slot.
    #[inline]
    pub fn get(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// What the connection in a slot waits for.
    #[inline]
    pub fn progress(&self, slot: Slot) -> Option<Progress> {
        self.slots.get(slot as usize)?.as_ref().map(Connection::progress)
    }

    /// The connection of a driver's event.
    #[inline]
    pub(super) fn of(&mut self, slot: Slot) -> &mut Connection {
        self.get(slot).expect("an event names an open connection")
    }

    /// The connection with this id; `None` if it is gone.
    #[inline]
    pub(super) fn by_id(&mut self, id: u64) -> Option<&mut Connection> {
        self.get(id as Slot).filter(|connection| connection.id() == id)
    }

    /// All connections.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.slots.iter_mut().flatten()
    }
}
