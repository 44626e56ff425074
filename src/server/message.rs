//! Messages between cores.
//!
//! A request goes from the core that has the connection to the core that owns the users, is
//! answered in place and comes back as the reply: its memory is used again by the core that took
//! it, and a core that sends a request knows that there is room for its return. A reply may leave
//! as it is: the owner keeps it until what it shows is durable.
//!
//! A request says how large its reply may be ([`Request::most`]); the asker has reserved as much. A
//! larger reply is refused with its size, and the asker asks again.

use super::answers::Position;
use super::limits::LARGE_BYTES;
use crate::api::info::Figures;
use crate::api::read::{Kind, Read, What};
use crate::http::response::{Persist, Status};
use crate::ledger::amount::{Amount, Currency, Direction};
use crate::ledger::entry::{Action, EntryRef, Leg, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::memory::Lookup;
use crate::ledger::time::Millis;
use smallvec::SmallVec;

/// Bytes above which a vector of a request is not kept for the next one.
const KEPT_BYTES: usize = 64 << 10;
/// Bytes of most replies.
const REPLY_BYTES: usize = 512;

/// What one core tells another.
#[derive(Debug)]
pub enum Message {
    /// A request, to the owner of its users.
    Request(Box<Request>),
    /// The same, answered, to the core that asked.
    Reply(Box<Request>),
    /// The sender has loaded all its slices. Once.
    Loaded,
    /// The sender drains, has no connection left and asks nothing any more. Once.
    AtRest,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// The whole response to [`Request::read`].
    Read,
    /// The bodies of [`Request::reads`], one behind the other.
    Batch,
    /// Verdicts on [`Request::entries`], which are of one slice.
    Entries,
    /// The figures of the core's slices.
    Figures,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered; a read with this status.
    Answered(Status),
    /// The reply would take so many bytes, more than [`Request::most`]. There is none.
    TooLarge(usize),
}

/// A request on its way, or its reply. What a read needs comes first: few cache lines go from core
/// to core.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Request {
    /// The connection that asks, as its core names it.
    pub connection: u64,
    /// The asking core's clock: what a missing `at_ms` means.
    pub now: Millis,
    /// The reply: a response, or the bodies of a batch.
    pub bytes: Vec<u8>,
    /// Bytes that the reply may take.
    pub most: usize,
    /// Bytes that the asker has reserved for it: `most`, or 0 where a small reply needs no
    /// reservation.
    pub reserved: usize,
    /// The core that asks.
    pub home: u32,
    /// Where the reply to a read belongs: see [`super::answers::Answers::gap`].
    pub gap: u32,
    /// What is asked.
    pub job: Job,
    /// What becomes of a read's connection.
    pub persist: Persist,
    /// Whether the read is a HEAD.
    pub head_only: bool,
    /// What became of it.
    pub outcome: Outcome,
    /// A read.
    pub read: Read,
    /// Its `If-None-Match`; empty if there is none.
    pub if_none_match: Vec<u8>,

    /// The version of the user that the reply to a read shows.
    pub version: u64,
    /// The version that an earlier reply showed, which was refused for its size.
    pub refused_version: Option<u64>,
    /// What the reply shows of the owner's logs.
    pub shows: SmallVec<[Position; 1]>,
    /// Items of a batch, in order.
    pub reads: Vec<Read>,
    /// Where the body of each ends in [`Self::bytes`].
    pub ends: Vec<usize>,

    /// The slice whose entries these are.
    pub slice: u32,
    /// Entries of a feed, in order.
    pub entries: Vec<FeedEntry>,
    /// How many of them have been judged.
    pub judged: usize,
    /// How many were accepted.
    pub accepted: u32,
    /// What became of the others.
    pub others: Vec<(LineMark, Verdict)>,

    /// Figures of slices.
    pub figures: Vec<(u32, Figures)>,
}

/// Which line of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineMark {
    /// Its number, from zero.
    pub index: u32,
    /// Where it begins.
    pub start: u32,
}

/// An entry by value, with its line.
#[derive(Debug)]
pub struct FeedEntry {
    /// Its line.
    pub mark: LineMark,
    id: EntryId,
    user: UserId,
    at: Millis,
    act: Act,
    /// The look-up of its user, on the core that owns them.
    pub lookup: Lookup,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Post(OwnedLeg),
    Hold(OwnedLeg),
    Settle { hold: EntryId, amount: Amount },
    Void { hold: EntryId },
}

#[derive(Clone, Copy, Debug)]
struct OwnedLeg {
    currency: Currency,
    kind: Kind,
    direction: Direction,
    amount: Amount,
}

impl FeedEntry {
    /// A copy of an entry.
    pub fn new(mark: LineMark, entry: &EntryRef<'_>) -> Self {
        let owned = |leg: Leg<'_>| {
            let Leg { currency, kind, direction, amount } = leg;
            let kind =
                Kind::parse(kind.as_bytes()).expect("the kind of an entry has the form of one");
            OwnedLeg { currency, kind, direction, amount }
        };
        let act = match entry.action {
            Action::Post(leg) => Act::Post(owned(leg)),
            Action::Hold(leg) => Act::Hold(owned(leg)),
            Action::Settle { hold, amount } => Act::Settle { hold, amount },
            Action::Void { hold } => Act::Void { hold },
        };
        Self { mark, id: entry.id, user: entry.user, at: entry.at, act, lookup: Lookup::default() }
    }

    /// The entry.
    pub fn entry(&self) -> EntryRef<'_> {
        let action = match &self.act {
            Act::Post(leg) => Action::Post(leg.leg()),
            Act::Hold(leg) => Action::Hold(leg.leg()),
            Act::Settle { hold, amount } => Action::Settle { hold: *hold, amount: *amount },
            Act::Void { hold } => Action::Void { hold: *hold },
        };
        EntryRef { id: self.id, user: self.user, at: self.at, action }
    }
}

impl OwnedLeg {
    fn leg(&self) -> Leg<'_> {
        Leg {
            currency: self.currency,
            kind: self.kind.as_str(),
            direction: self.direction,
            amount: self.amount,
        }
    }
}

impl Request {
    /// An empty one, of core `home`.
    pub fn new(home: u32) -> Self {
        Self {
            connection: 0,
            now: Millis(0),
            bytes: Vec::with_capacity(REPLY_BYTES),
            most: LARGE_BYTES,
            reserved: 0,
            home,
            gap: 0,
            job: Job::Read,
            persist: Persist::Default,
            head_only: false,
            outcome: Outcome::Answered(Status::Ok),
            read: Read { user: UserId(0), currency: None, what: What::Balance },
            if_none_match: Vec::new(),
            version: 0,
            refused_version: None,
            shows: SmallVec::new(),
            reads: Vec::new(),
            ends: Vec::new(),
            slice: 0,
            entries: Vec::new(),
            judged: 0,
            accepted: 0,
            others: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Makes it empty again. What had to grow for a large request goes back to the allocator, and
    /// so does the memory of a large reply unless `keeps_large`.
    pub fn clear(&mut self, keeps_large: bool) {
        fn clear<T>(items: &mut Vec<T>) {
            items.clear();
            if items.capacity() * size_of::<T>() > KEPT_BYTES {
                *items = Vec::new();
            }
        }
        assert!(
            self.reserved == 0,
            "what was reserved for a reply is released before its request is used again"
        );
        if self.bytes.capacity() > if keeps_large { KEPT_BYTES } else { LARGE_BYTES } {
            self.bytes = Vec::with_capacity(REPLY_BYTES);
        }
        clear(&mut self.if_none_match);
        clear(&mut self.reads);
        clear(&mut self.ends);
        clear(&mut self.entries);
        clear(&mut self.others);
        self.figures.clear();
        self.forget_reply();
        (self.most, self.judged, self.accepted) = (LARGE_BYTES, 0, 0);
        self.refused_version = None;
    }

    /// Takes the reply out of it: it is a request again.
    pub fn forget_reply(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.shows.clear();
        self.outcome = Outcome::Answered(Status::Ok);
    }

    /// The reply takes more than may be: nothing of it is kept but its size.
    pub fn refuse(&mut self, bytes: usize) {
        self.forget_reply();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.outcome = Outcome::TooLarge(bytes);
    }

    /// The reply shows this position.
    #[inline]
    pub fn show(&mut self, position: Position) {
        show(&mut self.shows, position);
    }

    /// Whether it has the memory for a large reply.
    #[inline]
    pub const fn is_large(&self) -> bool {
        self.bytes.capacity() > LARGE_BYTES
    }

    /// The body that answers the n-th item of a batch.
    #[inline]
    pub fn body(&self, n: usize) -> &[u8] {
        let start = if n == 0 { 0 } else { self.ends[n - 1] };
        &self.bytes[start..self.ends[n]]
    }
}

/// Adds a position to what is shown: of each slice the latest.
#[inline]
pub fn show<const N: usize>(shows: &mut SmallVec<[Position; N]>, position: Position)
where
    [Position; N]: smallvec::Array<Item = Position>,
{
    if position.lsn.0 == 0 {
        return;
    }
    match shows.iter_mut().find(|shown| shown.place == position.place) {
        Some(shown) => shown.lsn = shown.lsn.max(position.lsn),
        None => shows.push(position),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::Lsn;

    #[test]
    fn an_entry_travels_as_it_is() {
        let currency = Currency::parse(b"COIN").unwrap();
        let leg = Leg {
            currency,
            kind: "topup",
            direction: Direction::Debit,
            amount: Amount::new(7).unwrap(),
        };
        let (hold, amount) = (EntryId(9), Amount::new(0).unwrap());
        for action in [
            Action::Post(leg),
            Action::Hold(leg),
            Action::Settle { hold, amount },
            Action::Void { hold },
        ] {
            let entry =
                EntryRef { id: EntryId(u128::MAX), user: UserId(42), at: Millis(5), action };
            assert_eq!(FeedEntry::new(LineMark { index: 1, start: 2 }, &entry).entry(), entry);
        }
    }

    #[test]
    fn bodies_lie_one_behind_the_other() {
        let mut request = Request::new(0);
        request.bytes.extend_from_slice(b"abbccc");
        request.ends.extend([1, 3, 3, 6]);
        assert_eq!([0, 1, 2, 3].map(|n| request.body(n)), [&b"a"[..], b"bb", b"", b"ccc"]);
    }

    #[test]
    fn of_each_slice_the_latest_position_is_shown() {
        let mut request = Request::new(0);
        for (place, lsn) in [(0, 3), (1, 0), (1, 9), (0, 2), (1, 11)] {
            request.show(Position { place, lsn: Lsn(lsn) });
        }
        let shown: Vec<_> = request.shows.iter().map(|shown| (shown.place, shown.lsn.0)).collect();
        assert_eq!(shown, [(0, 3), (1, 11)]);
    }
}
