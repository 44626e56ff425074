//! The state machine of one owner: reads and applies entries of its users, and knows which answers
//! wait for the log.
//!
//! Every answer that is derived from a user is rendered once and stamped with that user's log
//! position ([`Lsn`]); it may leave when that position is durable, so that no answer shows what a
//! crash could take back. The slice copies nothing: the engine passes the writer in and the slice
//! calls it with a borrowed user.
//!
//! **Pure.** No clock, no IO: entries come with the time, records go to a [`LogSink`], and whoever
//! drives the slice asks which answers have become free ([`Slice::next_released`]).

pub mod disk;
mod framing;
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
use crate::ledger::image::Malformed;
use crate::ledger::index::Slot;
use crate::ledger::memory::{Lookup, Step};
use crate::ledger::time::Millis;
use crate::ledger::user::User;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// How far a machine has come that takes bounded steps beside a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headway {
    /// The disk has to do something first.
    Waiting,
    /// Another step can be taken at once.
    Going,
    /// It is over.
    Done,
}

/// A position in a slice's log. Zero is before the first record: it is durable from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Where accepted entries are logged.
pub trait LogSink {
    /// Whether one more record can be taken; if not, entries are refused for want of room.
    fn has_room(&self) -> bool;

    /// Takes the record of an accepted entry, with the user's version after it, and returns its
    /// position. A sink that keeps nothing returns [`Lsn::default`]: there is nothing to wait for.
    /// Positions never fall.
    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn;
}

/// The log of a slice of which nothing is kept: it takes every record, and there is nothing to
/// wait for.
#[derive(Debug)]
pub struct NoLog;

impl LogSink for NoLog {
    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: &EntryRef<'_>, _: u64) -> Lsn {
        Lsn::default()
    }
}

/// Who waits for a log position: a number that means something to the slice's driver alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiter(pub u64);

/// One owner's users and their waiting answers.
#[derive(Debug)]
pub struct Slice {
    book: Book,
    durable: Lsn,
    /// Users whose last record is not durable yet, with its position.
    unsettled: HashMap<Slot, Lsn, BuildHasherDefault<SlotHasher>>,
    /// The records that are not durable yet, in order: each costs its share when it becomes so,
    /// however many there once were.
    records: VecDeque<(Lsn, Slot)>,
    waiting: BinaryHeap<Reverse<(Lsn, Waiter)>>,
}

impl Slice {
    /// An empty slice that refuses new entries above `mark_bytes` of ledger.
    pub fn new(mark_bytes: usize) -> Self {
        Self {
            book: Book::new(mark_bytes),
            durable: Lsn::default(),
            unsettled: HashMap::default(),
            records: VecDeque::new(),
            waiting: BinaryHeap::new(),
        }
    }

    /// A user, or `None` if nothing of theirs was ever accepted, with the position that an answer
    /// about them shows.
    #[inline]
    pub fn read(&self, id: UserId) -> (Lsn, Option<View<'_>>) {
        match self.book.find(id) {
            None => (Lsn::default(), None),
            Some(slot) => (self.unsettled_lsn(slot), Some(self.book.view(slot))),
        }
    }

    /// Judges an entry at time `now`, books it and logs it if it is accepted, and stamps the
    /// verdict.
    pub fn apply(
        &mut self,
        now: Millis,
        entry: &EntryRef<'_>,
        log: &mut impl LogSink,
    ) -> (Lsn, Verdict) {
        let (slot, verdict) =
            if log.has_room() { self.book.apply(now, entry) } else { self.book.refuse(now, entry) };
        let Some(slot) = slot else { return (Lsn::default(), verdict) };
        if verdict != Verdict::Accepted {
            return (self.unsettled_lsn(slot), verdict);
        }
        let lsn = log.append(entry, self.book.view(slot).user.version());
        if lsn > self.durable {
            self.unsettled.insert(slot, lsn);
            self.records.push_back((lsn, slot));
        }
        (lsn, verdict)
    }

    fn unsettled_lsn(&self, slot: Slot) -> Lsn {
        if self.unsettled.is_empty() {
            Lsn::default()
        } else {
            self.unsettled.get(&slot).copied().unwrap_or_default()
        }
    }

    /// Prefetches the next step of the way to a user: see [`Book::prefetch`].
    #[inline]
    pub fn prefetch(&self, id: UserId, entry: Option<EntryId>, step: Step, lookup: &Lookup) {
        self.book.prefetch(id, entry, step, lookup);
    }

    /// The position up to which everything is durable.
    pub const fn durable_upto(&self) -> Lsn {
        self.durable
    }

    /// Lets `waiter` wait until `lsn` is durable.
    pub fn wait(&mut self, lsn: Lsn, waiter: Waiter) {
        assert!(lsn > self.durable, "an answer waits only for what is not durable yet");
        self.waiting.push(Reverse((lsn, waiter)));
    }

    /// Whether an answer waits for the log.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Everything up to `upto` is durable. Waiters that waited for it are to be had one by one, by
    /// [`Self::next_released`].
    pub fn durable(&mut self, upto: Lsn) {
        assert!(upto >= self.durable, "what is durable stays durable");
        self.durable = upto;
        while let Some(&(lsn, slot)) = self.records.front().filter(|(lsn, _)| *lsn <= upto) {
            self.records.pop_front();
            if let Entry::Occupied(last) = self.unsettled.entry(slot)
                && *last.get() == lsn
            {
                last.remove();
            }
        }
        assert!(
            self.unsettled.len() <= self.records.len(),
            "who has an unsettled record has one that is not durable"
        );
    }

    /// The next waiter whose position is durable, the lowest position first.
    pub fn next_released(&mut self) -> Option<Waiter> {
        self.waiting.peek().filter(|Reverse((lsn, _))| *lsn <= self.durable)?;
        self.waiting.pop().map(|Reverse((_, waiter))| waiter)
    }

    /// Gives the next kind of an empty slice its number: what the users to be restored refer to.
    pub fn name(&mut self, kind: &str) -> Result<(), Malformed> {
        self.book.name(kind).map(|_| ())
    }

    /// About so many users are to be restored: see [`Book::expect`].
    pub fn expect(&mut self, users: usize, image_bytes: usize) -> usize {
        self.book.expect(users, image_bytes)
    }

    /// Takes in a user of a snapshot, who is to be [indexed](Self::index).
    pub fn restore(&mut self, user: User) -> Result<Slot, Malformed> {
        self.book.restore(user)
    }

    /// Has a restored user found from now on.
    pub fn index(&mut self, slot: Slot) -> Result<(), Malformed> {
        self.book.index(slot)
    }

    /// Applies a record of the log: an entry that was accepted, and the version that it led its
    /// user to.
    pub fn replay(&mut self, entry: &EntryRef<'_>, version: u64) -> Result<Replayed, ReplayError> {
        self.book.replay(entry, version)
    }

    /// Everything that was recovered is durable, up to `position`.
    pub fn recovered(&mut self, position: Lsn) {
        assert!(self.unsettled.is_empty() && self.waiting.is_empty(), "recovery comes first");
        self.durable = position;
    }

    /// The ledger behind this slice.
    pub const fn book(&self) -> &Book {
        &self.book
    }
}

/// Slots are numbered from zero: one multiplication spreads them (Fibonacci hashing; D. Knuth,
/// TAOCP 3, 6.4).
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
    use crate::ledger::entry::{Action, Leg};

    #[derive(Default)]
    struct Log(Vec<(u128, u64)>);

    impl LogSink for Log {
        fn has_room(&self) -> bool {
            true
        }

        fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
            self.0.push((entry.id.0, version));
            Lsn(self.0.len() as u64)
        }
    }

    fn entry(id: u128, user: u64) -> EntryRef<'static> {
        let currency = Currency::parse(b"COIN").unwrap();
        let leg = Leg {
            currency,
            kind: "topup",
            direction: Direction::Credit,
            amount: Amount::new(5).unwrap(),
        };
        EntryRef {
            id: EntryId(id),
            user: UserId(user),
            at: Millis(1_000),
            action: Action::Post(leg),
        }
    }

    #[test]
    fn every_answer_is_stamped_with_its_users_last_record() {
        let (mut slice, mut log) = (Slice::new(usize::MAX), Log::default());
        let mut apply =
            |slice: &mut Slice, id, user| slice.apply(Millis(1_000), &entry(id, user), &mut log);
        assert_eq!(apply(&mut slice, 1, 7), (Lsn(1), Verdict::Accepted));
        assert_eq!(apply(&mut slice, 2, 8), (Lsn(2), Verdict::Accepted));
        assert_eq!(
            apply(&mut slice, 1, 7),
            (Lsn(1), Verdict::Duplicate),
            "a duplicate waits for what it repeats"
        );
        let version = |slice: &Slice, user| {
            let (lsn, view) = slice.read(UserId(user));
            (lsn, view.map(|view| view.user.version()))
        };
        assert_eq!(version(&slice, 7), (Lsn(1), Some(1)));
        assert_eq!(version(&slice, 9), (Lsn(0), None));
        slice.wait(Lsn(2), Waiter(20));
        slice.wait(Lsn(1), Waiter(10));
        slice.durable(Lsn(1));
        assert_eq!((slice.next_released(), slice.next_released()), (Some(Waiter(10)), None));
        assert_eq!(version(&slice, 7), (Lsn(0), Some(1)), "what is durable waits for nothing");
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
