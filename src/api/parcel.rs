//! What one core asks of another, and the answer to it, in the same box.
//!
//! A parcel goes from the core that has the connection to the core that owns the users, is answered there, and comes home: so its memory is used
//! again by the core that took it, and a core that sends one knows that there is room for its return.
//!
//! What comes home may leave: the owner keeps a parcel until what its answer shows is durable.

use super::desk::Way;
use super::out::Stamp;
use super::read::{Kind, Read, What};
use super::room::LARGE_BYTES;
use crate::http::response::{Persist, Status};
use crate::ledger::amount::{Amount, Currency, Direction};
use crate::ledger::entry::{Action, EntryRef, Leg, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::time::Millis;

/// A vector that has grown beyond so many bytes is not kept for the next parcel.
const KEPT_BYTES: usize = 64 << 10;
/// What most answers take.
const ANSWER_BYTES: usize = 512;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// The whole response to [`Parcel::read`].
    Read,
    /// The bodies of [`Parcel::reads`], one behind the other.
    Batch,
    /// Verdicts on [`Parcel::entries`].
    Entries,
}

/// A question on its way, or its answer. What a read needs comes first: few cache lines go from core to core.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Parcel {
    /// The connection that asks, as its core names it.
    pub ticket: u64,
    /// The asking core's clock: what a missing `at_ms` means.
    pub now: Millis,
    /// What the answer shows of the owner's log.
    pub stamp: Stamp,
    /// The answer: a response, or the bodies of a batch.
    pub bytes: Vec<u8>,
    /// The slice of the core that asks.
    pub home: u32,
    /// Where the answer to a read belongs: see [`super::out::Out::gap`].
    pub place: u32,
    /// What is asked.
    pub job: Job,
    /// What becomes of a read's connection.
    pub persist: Persist,
    /// Whether the read is a HEAD.
    pub head_only: bool,
    /// The status of its answer; of a batch, whether there was room for it.
    pub status: Status,
    /// A read.
    pub read: Read,
    /// Its `If-None-Match`; empty if there is none.
    pub if_none_match: Vec<u8>,

    /// Items of a batch, in order.
    pub reads: Vec<Read>,
    /// Where the answer to each ends in [`Self::bytes`].
    pub ends: Vec<usize>,

    /// Entries of a feed, in order.
    pub entries: Vec<Entry>,
    /// How many of them have been judged.
    pub judged: usize,
    /// How many were accepted.
    pub accepted: u32,
    /// What became of the others.
    pub others: Vec<(Mark, Verdict)>,
}

/// Which line of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number, from zero.
    pub index: u32,
    /// Where it begins.
    pub start: u32,
}

/// An entry by value, with its line.
#[derive(Debug)]
pub struct Entry {
    /// Its line.
    pub mark: Mark,
    id: EntryId,
    user: UserId,
    at: Millis,
    act: Act,
    /// The way to its user, on the core that has them.
    pub way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Post(Side),
    Hold(Side),
    Settle { hold: EntryId, amount: Amount },
    Void { hold: EntryId },
}

#[derive(Clone, Copy, Debug)]
struct Side {
    currency: Currency,
    kind: Kind,
    direction: Direction,
    amount: Amount,
}

impl Entry {
    /// A copy of an entry.
    pub fn new(mark: Mark, entry: &EntryRef<'_>) -> Self {
        let side = |leg: Leg<'_>| {
            let Leg { currency, kind, direction, amount } = leg;
            let kind = Kind::parse(kind.as_bytes()).expect("the kind of an entry has the form of one");
            Side { currency, kind, direction, amount }
        };
        let act = match entry.action {
            Action::Post(leg) => Act::Post(side(leg)),
            Action::Hold(leg) => Act::Hold(side(leg)),
            Action::Settle { hold, amount } => Act::Settle { hold, amount },
            Action::Void { hold } => Act::Void { hold },
        };
        Self { mark, id: entry.id, user: entry.user, at: entry.at, act, way: Way::default() }
    }

    /// The entry.
    pub fn entry(&self) -> EntryRef<'_> {
        let action = match &self.act {
            Act::Post(side) => Action::Post(side.leg()),
            Act::Hold(side) => Action::Hold(side.leg()),
            Act::Settle { hold, amount } => Action::Settle { hold: *hold, amount: *amount },
            Act::Void { hold } => Action::Void { hold: *hold },
        };
        EntryRef { id: self.id, user: self.user, at: self.at, action }
    }
}

impl Side {
    fn leg(&self) -> Leg<'_> {
        Leg { currency: self.currency, kind: self.kind.as_str(), direction: self.direction, amount: self.amount }
    }
}

impl Parcel {
    /// An empty one, for the core of slice `home`.
    pub fn new(home: u32) -> Self {
        Self {
            job: Job::Read,
            home,
            ticket: 0,
            now: Millis(0),
            place: 0,
            read: Read { user: UserId(0), currency: None, what: What::Balance },
            persist: Persist::Default,
            head_only: false,
            if_none_match: Vec::new(),
            status: Status::Ok,
            reads: Vec::new(),
            ends: Vec::new(),
            entries: Vec::new(),
            judged: 0,
            accepted: 0,
            others: Vec::new(),
            bytes: Vec::with_capacity(ANSWER_BYTES),
            stamp: Stamp::default(),
        }
    }

    /// Makes it empty again. What had to grow for a large question goes back to the allocator, and so does that for an answer, if it has grown
    /// beyond what most take and may not stay `large`.
    pub fn clear(&mut self, large: bool) {
        fn clear<T>(items: &mut Vec<T>) {
            items.clear();
            if items.capacity() * size_of::<T>() > KEPT_BYTES {
                *items = Vec::new();
            }
        }
        if self.bytes.capacity() > if large { KEPT_BYTES } else { LARGE_BYTES } {
            self.bytes = Vec::with_capacity(ANSWER_BYTES);
        }
        clear(&mut self.if_none_match);
        clear(&mut self.reads);
        clear(&mut self.ends);
        clear(&mut self.entries);
        clear(&mut self.others);
        self.bytes.clear();
        (self.status, self.judged, self.accepted, self.stamp) = (Status::Ok, 0, 0, Stamp::default());
    }

    /// Whether it has the memory for a large answer.
    #[inline]
    pub const fn is_large(&self) -> bool {
        self.bytes.capacity() > LARGE_BYTES
    }

    /// What its answer takes of the room for large answers on their way.
    #[inline]
    pub fn cargo(&self) -> usize {
        if self.bytes.len() > LARGE_BYTES { self.bytes.len() } else { 0 }
    }

    /// Whether a batch's owner had no room for the answer.
    pub fn is_refused(&self) -> bool {
        self.status == Status::ServiceUnavailable
    }

    /// The body that answers the n-th item of a batch.
    #[inline]
    pub fn body(&self, n: usize) -> &[u8] {
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.bytes[start..self.ends[n]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_travels_as_it_is() {
        let currency = Currency::parse(b"COIN").unwrap();
        let leg = Leg { currency, kind: "topup", direction: Direction::Debit, amount: Amount::new(7).unwrap() };
        let (hold, amount) = (EntryId(9), Amount::new(0).unwrap());
        for action in [Action::Post(leg), Action::Hold(leg), Action::Settle { hold, amount }, Action::Void { hold }] {
            let entry = EntryRef { id: EntryId(u128::MAX), user: UserId(42), at: Millis(5), action };
            assert_eq!(Entry::new(Mark { index: 1, start: 2 }, &entry).entry(), entry);
        }
    }

    #[test]
    fn bodies_lie_one_behind_the_other() {
        let mut parcel = Parcel::new(0);
        parcel.bytes.extend_from_slice(b"abbccc");
        parcel.ends.extend([1, 3, 3, 6]);
        assert_eq!([0, 1, 2, 3].map(|n| parcel.body(n)), [&b"a"[..], b"bb", b"", b"ccc"]);
    }
}
