//! Slice: owner of 1/n of the users. It reads and applies entries of its users, and knows which
//! answers wait for the log.
//!
//! Every answer that is derived from a user is rendered once and carries that user's log position
//! ([`Lsn`]). It may leave only when that position is durable, so that no answer shows what a crash
//! could take back. The slice copies nothing: a read borrows the user.
//!
//! **Pure.** No clock, no IO: entries come with the time, records go to a [`LogSink`], and the
//! slice's driver asks which waiters are released ([`Slice::next_released`]).

pub mod disk;
mod framing;
mod loader;
pub mod log;
pub mod offline;
mod reader;
pub mod recovery;
pub mod repartition;
pub mod snapshot;
pub mod source;
pub mod store;

use crate::ledger::book::{Book, ReplayError, Replayed, View};
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::image::{Loaded, Malformed};
use crate::ledger::index::UserSlot;
use crate::ledger::memory::{Lookup, PrefetchStep};
use crate::ledger::secret::Secret;
use crate::ledger::time::Millis;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Progress of a state machine that works in bounded steps and uses a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It waits for the disk.
    Waiting,
    /// Another step can be taken now.
    Going,
    /// It is done.
    Done,
}

/// A position in a slice's log: the number of the write that holds a record. Zero is before the
/// first record and durable from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Destination of the records of accepted entries.
pub trait LogSink {
    /// Whether one more record can be appended. If not, entries that would be accepted are refused
    /// for insufficient storage.
    fn has_space(&self) -> bool;

    /// Appends the record of an accepted entry, with the user's version after it, and returns its
    /// position. Positions never decrease. A sink that keeps nothing returns [`Lsn::default`]:
    /// there is nothing to wait for.
    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn;
}

/// The sink of a slice without a log: it takes every record and keeps none, and nobody waits.
#[derive(Debug)]
pub struct NoLog;

impl LogSink for NoLog {
    fn has_space(&self) -> bool {
        true
    }

    fn append(&mut self, _: &EntryRef<'_>, _: u64) -> Lsn {
        Lsn::default()
    }
}

/// A waiter for a log position: a number whose meaning only the slice's driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter(pub u64);

/// Users of one slice, and the waiters for its log.
#[derive(Debug)]
pub struct Slice {
    book: Book,
    durable: Lsn,
    /// Users whose last record is not durable yet, with the position of that record.
    undurable: HashMap<UserSlot, Lsn, BuildHasherDefault<SlotHasher>>,
    /// Records that are not durable yet, in log order. With it, [`Self::durable`] costs time only
    /// for the records that become durable, however many there once were.
    records: VecDeque<(Lsn, UserSlot)>,
    waiting: BinaryHeap<Reverse<(Lsn, Waiter)>>,
}

impl Slice {
    /// An empty slice that refuses new entries above `mark_bytes` of ledger. `secret` keys its hash
    /// tables.
    pub fn new(mark_bytes: usize, secret: Secret) -> Self {
        Self {
            book: Book::new(mark_bytes, secret),
            durable: Lsn::default(),
            undurable: HashMap::default(),
            records: VecDeque::new(),
            waiting: BinaryHeap::new(),
        }
    }

    /// A user, or `None` if no entry of theirs was ever accepted, with the log position that an
    /// answer about them shows.
    ///
    /// ```
    /// use purser::api::entry::{self, LineScratch};
    /// use purser::ledger::amount::Currency;
    /// use purser::ledger::entry::Verdict;
    /// use purser::ledger::secret::Secret;
    /// use purser::ledger::time::Millis;
    /// use purser::slice::{NoLog, Slice};
    ///
    /// let line = br#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup",
    ///     "direction":"credit","amount":500,"at_ms":1763900000000}"#;
    /// let mut scratch = LineScratch::EMPTY;
    /// let entry = entry::parse(line, &mut scratch).entry.expect("a valid line");
    ///
    /// let mut slice = Slice::new(usize::MAX, Secret::default());
    /// assert_eq!(slice.view(entry.user).1.map(|view| view.user.version()), None);
    /// assert_eq!(slice.apply(Millis(1_763_900_000_000), &entry, &mut NoLog).1, Verdict::Accepted);
    /// let user = slice.view(entry.user).1.expect("it has an entry").user;
    /// let coin = Currency::parse(b"COIN").and_then(|currency| user.balance(currency));
    /// assert_eq!(coin.map(|balance| balance.available()), Some(500));
    /// ```
    #[inline]
    pub fn view(&self, id: UserId<'_>) -> (Lsn, Option<View<'_>>) {
        match self.book.find(id) {
            None => (Lsn::default(), None),
            Some(slot) => (self.undurable_lsn(slot), Some(self.book.view(slot))),
        }
    }

    /// Judges an entry at time `now`; if it is accepted, books and logs it. Returns the verdict
    /// with the log position that it shows.
    pub fn apply(
        &mut self,
        now: Millis,
        entry: &EntryRef<'_>,
        log: &mut impl LogSink,
    ) -> (Lsn, Verdict) {
        let (slot, verdict) = if log.has_space() {
            self.book.apply(now, entry)
        } else {
            self.book.refuse(now, entry)
        };
        let Some(slot) = slot else { return (Lsn::default(), verdict) };
        if verdict != Verdict::Accepted {
            return (self.undurable_lsn(slot), verdict);
        }
        let lsn = log.append(entry, self.book.view(slot).user.version());
        if lsn > self.durable {
            self.undurable.insert(slot, lsn);
            self.records.push_back((lsn, slot));
        }
        (lsn, verdict)
    }

    fn undurable_lsn(&self, slot: UserSlot) -> Lsn {
        if self.undurable.is_empty() {
            Lsn::default()
        } else {
            self.undurable.get(&slot).copied().unwrap_or_default()
        }
    }

    /// Prefetches the next step of a user's lookup: see [`Book::prefetch`].
    #[inline]
    pub fn prefetch(
        &self,
        id: UserId<'_>,
        entry: Option<EntryId>,
        step: PrefetchStep,
        lookup: &Lookup,
    ) {
        self.book.prefetch(id, entry, step, lookup);
    }

    /// The position up to which the log is durable.
    pub const fn durable_upto(&self) -> Lsn {
        self.durable
    }

    /// Registers `waiter` for `lsn`, which must not be durable yet.
    pub fn wait(&mut self, lsn: Lsn, waiter: Waiter) {
        assert!(lsn > self.durable, "an answer waits only for a position that is not durable yet");
        self.waiting.push(Reverse((lsn, waiter)));
    }

    /// Whether a waiter is registered.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Marks the log as durable up to `upto`. The waiters for these positions are returned by
    /// [`Self::next_released`], one by one.
    pub fn durable(&mut self, upto: Lsn) {
        assert!(upto >= self.durable, "the durable position never decreases");
        self.durable = upto;
        while let Some(&(lsn, slot)) = self.records.front().filter(|(lsn, _)| *lsn <= upto) {
            self.records.pop_front();
            if let Entry::Occupied(last) = self.undurable.entry(slot)
                && *last.get() == lsn
            {
                last.remove();
            }
        }
        assert!(
            self.undurable.len() <= self.records.len(),
            "every undurable user has a record that is not durable"
        );
    }

    /// The next waiter whose position is durable, lowest position first.
    pub fn next_released(&mut self) -> Option<Waiter> {
        self.waiting.peek().filter(|Reverse((lsn, _))| *lsn <= self.durable)?;
        self.waiting.pop().map(|Reverse((_, waiter))| waiter)
    }

    /// The next waiter, whether its position is durable or not, lowest position first: for a log
    /// that cannot become durable now.
    pub fn next_waiter(&mut self) -> Option<Waiter> {
        self.waiting.pop().map(|Reverse((_, waiter))| waiter)
    }

    /// Registers the next kind of an empty slice. Restored users refer to kinds by their numbers,
    /// in this order.
    pub fn add_kind(&mut self, kind: &str) -> Result<(), Malformed> {
        self.book.add_kind(kind).map(|_| ())
    }

    /// Prepares an empty slice for `kinds` kinds.
    pub fn presize_kinds(&mut self, kinds: usize) {
        self.book.presize_kinds(kinds);
    }

    /// Prepares an empty slice for about `users` restored users; returns about how many bytes they
    /// will take. See [`Book::presize`].
    pub fn presize(&mut self, users: usize, image_bytes: usize) -> usize {
        self.book.presize(users, image_bytes)
    }

    /// Adds a user of a snapshot. To be found, the user must also be [indexed](Self::index).
    pub fn restore(&mut self, loaded: Loaded<'_>) -> Result<UserSlot, Malformed> {
        self.book.restore(loaded)
    }

    /// Adds a restored user to the index.
    pub fn index(&mut self, slot: UserSlot) -> Result<(), Malformed> {
        self.book.index(slot)
    }

    /// Applies a record of the log: an accepted entry, and the user's version after it.
    pub fn replay(&mut self, entry: &EntryRef<'_>, version: u64) -> Result<Replayed, ReplayError> {
        self.book.replay(entry, version)
    }

    /// Ends recovery: everything recovered is durable, up to `position`.
    pub fn recovered(&mut self, position: Lsn) {
        assert!(
            self.undurable.is_empty() && self.waiting.is_empty(),
            "recovery ends before any entry is applied or awaited"
        );
        self.durable = position;
    }

    /// The ledger of this slice.
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Takes a measurement of the core's memory: see [`Book::measured`].
    pub fn measured(&mut self, resident_bytes: usize, block_bytes: usize) {
        self.book.measured(resident_bytes, block_bytes);
    }
}

/// Hasher for slots, which are numbered from zero: one multiplication spreads them (Fibonacci
/// hashing; D. Knuth, TAOCP 3, 6.4).
#[derive(Debug, Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u32(u32::from(b)));
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::{Action, Movement};

    #[derive(Default)]
    struct Log(Vec<(u128, u64)>);

    impl LogSink for Log {
        fn has_space(&self) -> bool {
            true
        }

        fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
            self.0.push((entry.id.0, version));
            Lsn(self.0.len() as u64)
        }
    }

    fn entry(id: u128, user: u64) -> EntryRef<'static> {
        let currency = Currency::parse(b"COIN").unwrap();
        let movement = Movement {
            currency,
            kind: "topup",
            direction: Direction::Credit,
            amount: Amount::new(5).unwrap(),
        };
        EntryRef {
            id: EntryId(id),
            user: UserId::Number(user),
            at: Millis(1_000),
            late_accepted: false,
            action: Action::Post(movement),
        }
    }

    #[test]
    fn every_answer_carries_the_position_of_its_users_last_record() {
        let (mut slice, mut log) = (Slice::new(usize::MAX, Secret::default()), Log::default());
        let mut apply =
            |slice: &mut Slice, id, user| slice.apply(Millis(1_000), &entry(id, user), &mut log);
        assert_eq!(apply(&mut slice, 1, 7), (Lsn(1), Verdict::Accepted));
        assert_eq!(apply(&mut slice, 2, 8), (Lsn(2), Verdict::Accepted));
        assert_eq!(
            apply(&mut slice, 1, 7),
            (Lsn(1), Verdict::Duplicate),
            "a duplicate waits for the record of the original"
        );
        let version = |slice: &Slice, user| {
            let (lsn, view) = slice.view(UserId::Number(user));
            (lsn, view.map(|view| view.user.version()))
        };
        assert_eq!(version(&slice, 7), (Lsn(1), Some(1)));
        assert_eq!(version(&slice, 9), (Lsn(0), None));
        slice.wait(Lsn(2), Waiter(20));
        slice.wait(Lsn(1), Waiter(10));
        slice.durable(Lsn(1));
        assert_eq!((slice.next_released(), slice.next_released()), (Some(Waiter(10)), None));
        assert_eq!(
            version(&slice, 7),
            (Lsn(0), Some(1)),
            "an answer from a durable user waits for nothing"
        );
        assert_eq!(version(&slice, 8), (Lsn(2), Some(1)));
        slice.durable(Lsn(2));
        assert_eq!((slice.next_released(), slice.is_awaited()), (Some(Waiter(20)), false));
        assert_eq!(
            log.0,
            [(1, 1), (2, 1)],
            "only accepted entries are logged, with the version they led to"
        );
    }
}
