//! The users of one slice: an [`Index`] from user id to slot, and chunks of users that never move.
//!
//! Live entries arrive through [`Book::apply`]. After a restart, the users of a snapshot come first
//! ([`Book::restore`], [`Book::index`]), then the entries of the log ([`Book::replay`]). A snapshot
//! stores a large user piece by piece, while entries are applied ([`Book::begin_storing`]).
//!
//! New entries are refused while the ledger's own bytes are above the memory mark. Restore and
//! replay ignore the mark: what was accepted once must load.

use super::amount::is_kind;
use super::effect::Effect;
use super::entry::{EntryRef, Rejection, Verdict};
use super::id::{EntryId, UserId};
use super::image::{LAST_VERSION, Loaded, Malformed};
use super::index::{Index, KnownUser, UserSlot};
use super::memory::{Lookup, PrefetchStep};
use super::names::{KindId, Names};
use super::secret::Secret;
use super::texts::Texts;
use super::time::Millis;
use super::user::User;
use crate::prefetch;
use thiserror::Error;

/// Size of a chunk of users: one mebibyte. Fixed chunks avoid growth by doubling.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_USERS: usize = CHUNK_BYTES / size_of::<User>();
const CHUNK_BITS: u32 = CHUNK_USERS.trailing_zeros();

/// Bytes of chunks and index segments per byte that the allocator takes beside them.
const BYTES_PER_TABLE_GAP: usize = 16;
/// Resident memory of blocks of users who are all new, per mille: less is not to be had.
const LEAST_RESIDENT_PERMILLE: usize = 1_060;
/// Above any measured value: users whose number of entries differs widely have 1,450.
const MOST_RESIDENT_PERMILLE: usize = 3_000;

const _: () = assert!(CHUNK_USERS.is_power_of_two(), "the chunk number is a slot's high bits");

/// A borrowed user, with the kind names of its slice.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The user's id.
    pub id: UserId<'a>,
    /// The user.
    pub user: &'a User,
    /// Names of the kinds that the user's groups and holds refer to.
    pub names: &'a Names,
}

/// Result of replaying an entry that was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Booked by this call.
    Booked,
    /// The user's version already includes it. Nothing changed.
    Known,
}

/// Why a previously accepted entry cannot be replayed. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The entry now gets this verdict instead of `Accepted`.
    #[error("replay of an accepted entry gives another verdict: {0:?}")]
    Refused(Verdict),
    /// At least one entry before this one is missing.
    #[error(
        "the entry has version {got}, but the user is at version {have}: \
         entries between them are missing"
    )]
    Gap {
        /// The user's version; 0 if there is no such user.
        have: u64,
        /// The version that the entry produced when it was accepted.
        got: u64,
    },
}

/// Clock value that disables the check for entries in the future.
const NO_CLOCK: Millis = Millis(u64::MAX);

/// All users of one slice.
#[derive(Debug)]
pub struct Book {
    chunks: Vec<Vec<User>>,
    index: Index,
    names: Names,
    texts: Texts,
    heap_bytes: usize,
    /// Resident memory of the users' blocks, per mille of `heap_bytes`, as last measured.
    resident_permille: usize,
    entries: u64,
    mark_bytes: usize,
}

impl Book {
    /// An empty book. It refuses new entries while [`Self::bytes`] is above `mark_bytes`. `secret`
    /// keys its hash tables.
    pub fn new(mark_bytes: usize, secret: Secret) -> Self {
        Self {
            chunks: Vec::new(),
            index: Index::new(secret),
            names: Names::new(secret),
            texts: Texts::default(),
            heap_bytes: 0,
            resident_permille: LEAST_RESIDENT_PERMILLE,
            entries: 0,
            mark_bytes,
        }
    }

    /// The user's slot; `None` if no entry of this user was ever accepted.
    #[inline]
    pub fn find(&self, id: UserId<'_>) -> Option<UserSlot> {
        self.index.find(id, |slot| self.user(slot).is(id, &self.texts))
    }

    /// The user in a slot returned by [`Self::find`].
    #[inline]
    pub fn user(&self, slot: UserSlot) -> &User {
        at(&self.chunks, slot)
    }

    /// The id of the user in a slot.
    #[inline]
    pub fn id(&self, slot: UserSlot) -> UserId<'_> {
        self.user(slot).id(&self.texts)
    }

    /// The user in a slot, with its id and the names of its kinds.
    #[inline]
    pub fn view(&self, slot: UserSlot) -> View<'_> {
        let user = self.user(slot);
        View { id: user.id(&self.texts), user, names: &self.names }
    }

    /// Runs one prefetch step of a lookup of user `id`, and of the tables that booking `entry`
    /// touches. The cache lines that the previous step requested are read here, so they should have
    /// arrived by now.
    #[inline]
    pub fn prefetch(
        &self,
        id: UserId<'_>,
        entry: Option<EntryId>,
        step: PrefetchStep,
        lookup: &Lookup,
    ) {
        match step {
            PrefetchStep::Index => {
                return prefetch::line((&raw const *self.index.place(id)).cast());
            }
            PrefetchStep::User => lookup.found(self.index.find(id, |_| true)),
            PrefetchStep::Sections | PrefetchStep::RareState => {}
        }
        if let Some(slot) = lookup.slot() {
            let user = self.user(slot);
            if step == PrefetchStep::Sections && user.packed.has_text_id {
                self.texts.prefetch(user.number);
            }
            user.prefetch(entry, step);
        }
    }

    /// Runs a prefetch step after [`PrefetchStep::User`] for the user in a slot, without an entry.
    #[inline]
    pub fn prefetch_slot(&self, slot: UserSlot, step: PrefetchStep) {
        self.user(slot).prefetch(None, step);
    }

    /// Judges an entry and books it if it is accepted. `now` is the server's clock. Any verdict but
    /// `Accepted` changes nothing. Returns the user's slot, if the user has one.
    ///
    /// ```
    /// use purser::ledger::amount::{Amount, Currency, Direction};
    /// use purser::ledger::book::Book;
    /// use purser::ledger::entry::{Action, EntryRef, Movement, Verdict};
    /// use purser::ledger::id::{EntryId, UserId};
    /// use purser::ledger::secret::Secret;
    /// use purser::ledger::time::Millis;
    ///
    /// let coin = Currency::parse(b"COIN").expect("a currency");
    /// let now = Millis(1_763_900_000_000);
    /// let mut book = Book::new(usize::MAX, Secret::default());
    /// let (direction, amount) = (Direction::Credit, Amount::new(500).expect("not negative"));
    /// let movement = Movement { currency: coin, kind: "topup", direction, amount };
    /// let action = Action::Post(movement);
    /// let (id, user) = (EntryId(1), UserId::Number(42));
    /// let entry = EntryRef { id, user, at: now, late_accepted: false, action };
    ///
    /// let (slot, verdict) = book.apply(now, &entry);
    /// assert_eq!(verdict, Verdict::Accepted);
    /// let user = book.user(slot.expect("an accepted entry makes its user known"));
    /// assert_eq!(user.balance(coin).map(|balance| balance.posted), Some(500));
    /// assert_eq!(book.apply(now, &entry), (slot, Verdict::Duplicate));
    /// ```
    pub fn apply(&mut self, now: Millis, entry: &EntryRef<'_>) -> (Option<UserSlot>, Verdict) {
        let slot = self.find(entry.user);
        let effect = match self.judge(slot, now, entry) {
            Ok(_) if self.bytes() > self.mark_bytes => {
                return (slot, Rejection::InsufficientStorage.into());
            }
            Ok(effect) => effect,
            Err(verdict) => return (slot, verdict),
        };
        (Some(self.book(slot, entry.user, effect)), Verdict::Accepted)
    }

    /// Judges an entry that cannot be logged: where `apply` would accept it, the verdict is
    /// `InsufficientStorage`.
    pub fn refuse(&self, now: Millis, entry: &EntryRef<'_>) -> (Option<UserSlot>, Verdict) {
        let slot = self.find(entry.user);
        let verdict = self
            .judge(slot, now, entry)
            .map_or_else(|verdict| verdict, |_| Rejection::InsufficientStorage.into());
        (slot, verdict)
    }

    /// Books an entry that was accepted before and produced this version of its user. Ignores the
    /// clock and the memory mark. Skips a version that the user has already reached.
    pub fn replay(&mut self, entry: &EntryRef<'_>, version: u64) -> Result<Replayed, ReplayError> {
        let slot = self.find(entry.user);
        let have = slot.map_or(0, |slot| self.user(slot).version());
        if version <= have {
            return Ok(Replayed::Known);
        }
        if version - have > 1 {
            return Err(ReplayError::Gap { have, got: version });
        }
        let effect = self.judge(slot, NO_CLOCK, entry).map_err(ReplayError::Refused)?;
        self.book(slot, entry.user, effect);
        Ok(Replayed::Booked)
    }

    /// Judges an entry of the user in `slot`. Without a slot the user is new.
    #[inline(always)]
    fn judge<'a>(
        &self,
        slot: Option<UserSlot>,
        now: Millis,
        entry: &EntryRef<'a>,
    ) -> Result<Effect<'a>, Verdict> {
        let new_user;
        let user = match slot {
            Some(slot) => self.user(slot),
            None => {
                new_user = User::default();
                &new_user
            }
        };
        user.judge(&self.names, now, entry)
    }

    #[inline]
    fn book(&mut self, slot: Option<UserSlot>, id: UserId<'_>, effect: Effect<'_>) -> UserSlot {
        let slot = slot.unwrap_or_else(|| self.add_user(id));
        let user = at_mut(&mut self.chunks, slot);
        let before = user.heap_bytes();
        user.book(&mut self.names, effect);
        self.heap_bytes = self.heap_bytes + user.heap_bytes() - before;
        self.entries += 1;
        slot
    }

    /// Sizes the index of an empty book for about `users` users, whose images total `image_bytes`.
    /// Returns an estimate of the ledger's bytes once they are restored.
    pub fn presize(&mut self, users: usize, image_bytes: usize) -> usize {
        assert!(self.users() == 0, "the index is sized before the first user is added");
        self.index = Index::for_users(users, self.names.secret());
        self.index.heap_bytes() + users * size_of::<User>() + image_bytes / 4 * 3
    }

    /// Puts a loaded user into the next slot, even above the memory mark. The caller must then
    /// [index](Self::index) it. The user must have been loaded with this book's number of kinds.
    pub fn restore(&mut self, loaded: Loaded<'_>) -> Result<UserSlot, Malformed> {
        let Loaded { mut user, id } = loaded;
        user.name(id, &mut self.texts);
        let entries =
            self.entries.checked_add(user.version()).filter(|&entries| entries <= LAST_VERSION);
        self.entries = entries.ok_or(Malformed("the number of all entries fits 64 bits"))?;
        self.heap_bytes += user.heap_bytes();
        Ok(self.push(user))
    }

    /// Adds a restored user to the index, so that [`Self::find`] returns it.
    pub fn index(&mut self, slot: UserSlot) -> Result<(), Malformed> {
        let Self { index, chunks, texts, .. } = self;
        let id = at(chunks, slot).id(texts);
        index
            .insert(id, slot, |other| at(chunks, other).is(id, texts))
            .map_err(|KnownUser| Malformed("a user is stored once"))
    }

    /// Appends the image of the user in a slot and returns the number of pieces that follow it. If
    /// there are any, they are those of this moment, whatever is applied before they are stored
    /// ([`Self::store_next_piece`]), until [`Self::end_storing`].
    pub fn begin_storing(&mut self, slot: UserSlot, out: &mut Vec<u8>) -> usize {
        let user = self.user(slot);
        user.store_head(self.id(slot), out);
        let pieces = user.pieces();
        if pieces > 0 {
            at_mut(&mut self.chunks, slot).freeze();
        }
        pieces
    }

    /// Appends the next piece of a user for whom [`Self::begin_storing`] returned pieces. Returns
    /// the number of table cells that were visited for it.
    pub fn store_next_piece(&mut self, slot: UserSlot, out: &mut Vec<u8>) -> usize {
        at_mut(&mut self.chunks, slot).store_next_piece(out)
    }

    /// Ends the storing of a user with pieces, also before all are stored: former contents that
    /// were set aside for it are dropped.
    pub fn end_storing(&mut self, slot: UserSlot) {
        let user = at_mut(&mut self.chunks, slot);
        let before = user.heap_bytes();
        user.thaw();
        self.heap_bytes = self.heap_bytes + user.heap_bytes() - before;
    }

    /// Prepares an empty book for `kinds` kinds, so that adding them does not grow their table.
    pub fn presize_kinds(&mut self, kinds: usize) {
        self.names.reserve(kinds);
    }

    /// Gives a kind the next number. A snapshot lists kinds in order of their numbers. The kind
    /// must not have a number yet.
    pub fn add_kind(&mut self, kind: &str) -> Result<KindId, Malformed> {
        Malformed::unless(is_kind(kind.as_bytes()), "a kind has the form of one")?;
        Malformed::unless(self.names.find(kind).is_none(), "a kind has one number")?;
        Ok(self.names.number(kind))
    }

    /// Names of the kinds that users' groups and holds refer to.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    fn add_user(&mut self, id: UserId<'_>) -> UserSlot {
        let mut user = User::default();
        user.name(id, &mut self.texts);
        let slot = self.push(user);
        self.index.insert(id, slot, |_| false).expect("the index confirms no user");
        slot
    }

    fn push(&mut self, user: User) -> UserSlot {
        let slot =
            UserSlot::try_from(self.users()).expect("memory runs out long before 2^32 users");
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_USERS) {
            self.chunks.push(Vec::with_capacity(CHUNK_USERS));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(user);
        slot
    }

    /// Number of users.
    pub fn users(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_USERS + last.len())
    }

    /// Number of accepted entries of all users.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Takes a measurement: small blocks of `block_bytes` bytes, most of them users', lie in pages
    /// of `resident_bytes`. The difference is what blocks that grew have left and no other block
    /// fits into. It depends on the order of the entries, so it cannot be computed.
    pub fn measured(&mut self, resident_bytes: usize, block_bytes: usize) {
        let permille = resident_bytes / (block_bytes / 1_000).max(1);
        self.resident_permille = permille.clamp(LEAST_RESIDENT_PERMILLE, MOST_RESIDENT_PERMILLE);
    }

    /// The ledger's resident memory, in bytes, compared with the memory mark.
    pub fn bytes(&self) -> usize {
        let tables = self.chunks.len() * CHUNK_BYTES
            + self.index.heap_bytes()
            + self.names.heap_bytes()
            + self.texts.heap_bytes();
        tables + tables / BYTES_PER_TABLE_GAP + self.heap_bytes / 1_000 * self.resident_permille
    }
}

#[inline]
fn at(chunks: &[Vec<User>], slot: UserSlot) -> &User {
    &chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK_USERS]
}

#[inline]
fn at_mut(chunks: &mut [Vec<User>], slot: UserSlot) -> &mut User {
    &mut chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK_USERS]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::{Action, Movement};

    fn entry(id: u128, user: u64, at: u64, kind: &str) -> EntryRef<'_> {
        let currency = Currency::parse(b"COIN").unwrap();
        let movement = Movement {
            currency,
            kind,
            direction: Direction::Credit,
            amount: Amount::new(5).unwrap(),
        };
        EntryRef {
            id: EntryId(id),
            user: UserId::Number(user),
            at: Millis(at),
            late_accepted: false,
            action: Action::Post(movement),
        }
    }

    const NOW: Millis = Millis(1_000);

    #[test]
    fn replay_skips_booked_entries_and_refuses_gaps() {
        let mut book = Book::new(0, Secret::default());
        let far = NOW.0 + 1_000_000_000;
        assert_eq!(book.replay(&entry(1, 7, 1, "a"), 2), Err(ReplayError::Gap { have: 0, got: 2 }));
        assert_eq!(book.users(), 0, "a gap adds no user");
        assert_eq!(book.replay(&entry(1, 7, 1, "a"), 1), Ok(Replayed::Booked));
        assert_eq!(book.replay(&entry(1, 7, 1, "a"), 1), Ok(Replayed::Known));
        assert_eq!(
            book.replay(&entry(2, 7, far, "b"), 2),
            Ok(Replayed::Booked),
            "replay ignores the clock and the memory mark"
        );
        assert_eq!(
            book.replay(&entry(3, 7, far, "a"), 4),
            Err(ReplayError::Gap { have: 2, got: 4 })
        );
        assert_eq!(
            book.replay(&entry(2, 7, far, "b"), 3),
            Err(ReplayError::Refused(Verdict::Duplicate))
        );
        let old = Err(ReplayError::Refused(Rejection::TooOld.into()));
        assert_eq!(book.replay(&entry(3, 7, 1, "a"), 3), old);
        assert_eq!((book.users(), book.entries()), (1, 2));
        let full = (book.find(UserId::Number(7)), Rejection::InsufficientStorage.into());
        assert_eq!(
            book.apply(Millis(far), &entry(4, 7, far, "a")),
            full,
            "the memory mark applies to new entries"
        );
    }

    #[test]
    fn a_book_restored_from_images_equals_the_original() {
        let mut book = Book::new(usize::MAX, Secret::default());
        for n in 0..3_000 {
            assert_eq!(
                book.apply(NOW, &entry(n, n as u64 % 1_000, 1, ["a", "b", "c"][n as usize % 3])).1,
                Verdict::Accepted
            );
        }
        let mut image = Vec::new();
        (0..book.users() as UserSlot)
            .for_each(|slot| book.user(slot).store(book.id(slot), &mut image));
        let mut other = Book::new(0, Secret::default());
        other.presize(book.users(), image.len());
        for name in book.names().iter() {
            other.add_kind(name).unwrap();
        }
        assert_eq!(other.names().iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(other.add_kind("b"), Err(Malformed("a kind has one number")));
        assert_eq!(other.add_kind("_"), Err(Malformed("a kind has the form of one")));
        let mut rest = &image[..];
        while !rest.is_empty() {
            let (user, used) = User::load(rest, 3, book.names().secret()).unwrap();
            let slot = other.restore(user).unwrap();
            other.index(slot).unwrap();
            rest = &rest[used..];
        }
        assert_eq!(
            (other.users(), other.entries(), other.bytes()),
            (book.users(), book.entries(), book.bytes())
        );
        for id in (0..1_000).map(UserId::Number) {
            assert_eq!(other.find(id), book.find(id));
        }
        let (user, _) = User::load(&image, 3, book.names().secret()).unwrap();
        let again = other.restore(user).unwrap();
        assert_eq!(other.index(again), Err(Malformed("a user is stored once")));
        assert_eq!(
            User::load(&image, 0, book.names().secret()).err(),
            Some(Malformed("a kind's number has a name"))
        );
    }
}
