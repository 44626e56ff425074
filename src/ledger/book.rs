//! The users of one slice: found through the index, kept in chunks that never move.

use super::entry::{EntryRef, Rejection, Verdict};
use super::id::{EntryId, UserId};
use super::index::{Index, Slot};
use super::memory::{Near, Step};
use super::names::Names;
use super::time::Millis;
use super::user::User;

/// Users live in chunks of one mebibyte, so that nothing grows by doubling.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_USERS: usize = CHUNK_BYTES / size_of::<User>();
const CHUNK_BITS: u32 = CHUNK_USERS.trailing_zeros();

const _: () = assert!(CHUNK_USERS.is_power_of_two(), "a slot's high bits are its chunk");

/// A user, borrowed, and the kinds of its slice.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The user.
    pub user: &'a User,
    /// The kinds.
    pub names: &'a Names,
}

/// One slice's users.
#[derive(Debug)]
pub struct Book {
    chunks: Vec<Vec<User>>,
    index: Index,
    names: Names,
    heap_bytes: usize,
    entries: u64,
    mark_bytes: usize,
}

impl Book {
    /// An empty book that refuses new entries once it holds more than `mark_bytes`.
    pub fn new(mark_bytes: usize) -> Self {
        Self {
            chunks: Vec::new(),
            index: Index::default(),
            names: Names::default(),
            heap_bytes: 0,
            entries: 0,
            mark_bytes,
        }
    }

    /// The slot of a user of whom an entry was accepted.
    #[inline]
    pub fn find(&self, id: UserId) -> Option<Slot> {
        self.index.find(id, |slot| self.user(slot).id() == id)
    }

    /// The user in a slot that [`Self::find`] gave.
    #[inline]
    pub fn user(&self, slot: Slot) -> &User {
        &self.chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK_USERS]
    }

    /// The same user, with the names that its counters refer to.
    #[inline]
    pub fn view(&self, slot: Slot) -> View<'_> {
        View { user: self.user(slot), names: &self.names }
    }

    /// Takes a step of the way to a user, and to where `entry` will be booked: says where it leads. The step before it was
    /// taken long enough ago to have arrived.
    #[inline]
    pub fn approach(&self, id: UserId, entry: Option<EntryId>, step: Step, near: &impl Near) {
        if step == Step::Place {
            return near.near((&raw const *self.index.place(id)).cast());
        }
        if let Some(slot) = self.index.find(id, |_| true) {
            self.user(slot).approach(entry, step, near);
        }
    }

    /// Judges and books an entry. `now` is the server's clock. Anything but `Accepted` changed nothing.
    /// The slot is the user's, who has one if anything of theirs was ever accepted.
    pub fn apply(&mut self, now: Millis, entry: &EntryRef<'_>) -> (Option<Slot>, Verdict) {
        let slot = self.find(entry.user);
        let judged = match slot {
            Some(slot) => self.user(slot).judge(&self.names, now, entry),
            None => User::new(entry.user).judge(&self.names, now, entry),
        };
        let effect = match judged {
            Ok(_) if self.bytes() > self.mark_bytes || (slot.is_none() && !self.index.has_room(entry.user)) => {
                return (slot, Rejection::InsufficientStorage.into());
            }
            Ok(effect) => effect,
            Err(verdict) => return (slot, verdict),
        };
        let slot = slot.unwrap_or_else(|| self.admit(entry.user));
        let user = &mut self.chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK_USERS];
        let before = user.heap_bytes();
        user.book(&mut self.names, effect);
        self.heap_bytes = self.heap_bytes + user.heap_bytes() - before;
        self.entries += 1;
        (Some(slot), Verdict::Accepted)
    }

    fn admit(&mut self, id: UserId) -> Slot {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_USERS) {
            self.chunks.push(Vec::with_capacity(CHUNK_USERS));
        }
        let slot = Slot::try_from(self.users()).expect("memory ends long before four thousand million users");
        let last = self.chunks.len() - 1;
        self.chunks[last].push(User::new(id));
        self.index.insert(id, slot);
        slot
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_USERS + last.len())
    }

    /// How many entries were accepted.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The ledger's own bytes, as admission counts them.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.index.heap_bytes() + self.names.heap_bytes() + self.heap_bytes
    }
}
