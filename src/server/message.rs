//! Messages between cores.
//!
//! A request goes from the core that has the connection to the core that owns the users. The owner
//! answers it in place and sends the same allocation back as the reply, so there is always queue
//! space for it. The owner delays a reply until the state that it shows is durable: the receiver
//! may send it at once.
//!
//! A request limits the size of its reply ([`Request::max_bytes`]), and the asking core has
//! reserved that many bytes. A larger reply is refused with its size ([`Outcome::TooLarge`]), and
//! the asking core asks again.

use super::answers::Position;
use super::limits::{HEAVY_READ_BYTES, LARGE_BYTES};
use crate::api::info::Figures;
use crate::api::read::{KindFilter, ListedRead, Read, Reads, What};
use crate::http::response::{Persist, Status};
use crate::ledger::amount::{Amount, Currency, Direction};
use crate::ledger::entry::{Action, EntryRef, Movement, Rejection, Terms, Verdict};
use crate::ledger::id::{EntryId, ListedId, UserId};
use crate::ledger::memory::Lookup;
use crate::ledger::time::Millis;
use crate::ledger::user::{RowSums, UserCopy};
use smallvec::SmallVec;

/// Capacity in bytes above which a vector of a recycled request is freed.
const MAX_RECYCLED_BYTES: usize = 64 << 10;
/// Initial capacity in bytes of a reply: most replies fit.
const REPLY_BYTES: usize = 512;

/// A message from one core to another.
#[derive(Debug)]
pub enum Message {
    /// A request, to the owner of its users.
    Request(Box<Request>),
    /// An answered request, back to the core that asked.
    Reply(Box<Request>),
    /// The sender has loaded all its slices. Sent once.
    Loaded,
    /// The sender drains, has no connection left and has no requests outstanding. Sent once.
    AtRest,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// A whole HTTP response to [`Request::read`].
    Read,
    /// The bodies for [`Request::reads`].
    Batch,
    /// Verdicts on [`Request::entries`], all of one slice.
    Entries,
    /// The figures of the core's slices, for `/v1/info`.
    Figures,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered; the status is that of a read.
    Answered(Status),
    /// The reply would take this many bytes, more than [`Request::max_bytes`], and was discarded.
    TooLarge(usize),
    /// The disk of the slice has no space for the log, and the reply would show entries that are
    /// not on stable storage.
    Unstored,
    /// Not answered yet: it does not fit the turn.
    Unanswered,
    /// The budget of the core has no room for the reply, or for the copy of a user.
    Overloaded,
}

/// A request, or its reply. The fields that a read needs come first, so that few cache lines travel
/// between cores.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Request {
    /// The asking connection, by the id that its core gave it.
    pub connection: u64,
    /// The asking core's wall clock: the default of a missing `at_ms`.
    pub now: Millis,
    /// The reply: an HTTP response, or the bodies of a batch.
    pub bytes: Vec<u8>,
    /// Maximum size of the reply, in bytes.
    pub max_bytes: usize,
    /// Bytes that the asking core has reserved for the reply: `max_bytes`, or 0 if the reply is
    /// small enough to need no reservation.
    pub reserved: usize,
    /// The asking core.
    pub asking_core: u32,
    /// The gap that the reply to a read fills: see [`super::answers::Answers::gap`].
    pub gap: u32,
    /// The kind of request.
    pub job: Job,
    /// Whether a read's connection stays open after the answer.
    pub persist: Persist,
    /// Whether the read is a HEAD request.
    pub head_only: bool,
    /// The result.
    pub outcome: Outcome,
    /// The read; the text of its user is in [`Self::texts`].
    pub read: ListedRead,
    /// The read's conditions, as [`crate::http::request::Head`] has them; empty if absent.
    pub conditions: Vec<u8>,
    /// User ids of the read or of the entries, as far as they are texts.
    pub texts: Vec<u8>,

    /// The user version that the reply to a read shows.
    pub version: u64,
    /// The user version that an earlier reply showed, which was refused for its size.
    pub refused_version: Option<u64>,
    /// Log positions of the owner's slices that the reply shows.
    pub positions: SmallVec<[Position; 1]>,
    /// The items of a batch, in order.
    pub reads: Reads,
    /// Where each item's body is in the reply.
    pub bodies: Vec<BodyPlace>,
    /// Earlier pieces of a long reply; [`Self::bytes`] is the last one.
    pub pieces: Vec<Vec<u8>>,

    /// The items in the order in which they are answered: those of one user together.
    pub(super) order: Vec<u32>,
    /// Number of items answered.
    pub(super) answered: usize,
    /// Bytes rendered, with those that were discarded.
    pub(super) rendered: usize,
    /// The copy of a user whose items were divided by the end of a turn.
    pub(super) frozen: Option<Box<FrozenUser>>,
    /// Rows of the next item that are visited.
    pub(super) sums: RowSums,

    /// The slice that owns the entries' users.
    pub slice: u32,
    /// Entries of a feed, in order.
    pub entries: Vec<FeedEntry>,
    /// Number of entries that have a verdict.
    pub judged: usize,
    /// Number of accepted entries.
    pub accepted: u32,
    /// Verdicts of the entries that were not accepted.
    pub not_accepted: Vec<(LineMark, Verdict)>,

    /// Figures by slice.
    pub figures: Vec<(u32, Figures)>,
}

/// A user as it was when a pause divided its items.
#[derive(Debug)]
pub(super) struct FrozenUser {
    /// An item of it.
    pub(super) item: u32,
    /// The copy; `None` if the user was unknown.
    pub(super) copy: Option<UserCopy>,
    /// The log position that answers from it show.
    pub(super) position: Position,
    /// Bytes reserved for it.
    pub(super) reserved: usize,
}

const _: () = assert!(
    size_of::<Request>() + REPLY_BYTES <= HEAVY_READ_BYTES,
    "the reservation of a read that is answered in steps covers it"
);

/// The place of an item's body in a reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyPlace {
    /// Number of the piece.
    pub piece: u32,
    /// Start offset in the piece.
    pub start: u32,
    /// End offset in the piece.
    pub end: u32,
}

/// The position of a line in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineMark {
    /// Line number, from zero.
    pub index: u32,
    /// Byte offset of its start.
    pub start: u32,
}

/// An entry by value, with the position of its line.
#[derive(Debug)]
pub struct FeedEntry {
    /// The line that it was parsed from.
    pub mark: LineMark,
    id: EntryId,
    user: ListedId,
    at: Millis,
    late_accepted: bool,
    action: OwnedAction,
    /// State of its user's lookup on the owning core, for prefetching.
    pub lookup: Lookup,
}

#[derive(Clone, Copy, Debug)]
enum OwnedAction {
    Post(OwnedTerms, Amount),
    Hold(OwnedTerms, Amount),
    Grow { hold: EntryId, terms: Option<OwnedTerms>, amount: Amount },
    Settle { hold: EntryId, terms: Option<OwnedTerms>, amount: Amount, is_final: bool },
    Void { hold: EntryId, terms: Option<OwnedTerms>, amount: Option<Amount> },
}

#[derive(Clone, Copy, Debug)]
struct OwnedTerms {
    currency: Currency,
    kind: KindFilter,
    direction: Direction,
}

impl FeedEntry {
    /// Copies an entry. The id of its user goes to `texts` if it is a text.
    pub fn new(mark: LineMark, entry: &EntryRef<'_>, texts: &mut Vec<u8>) -> Self {
        let owned = |terms: Terms<'_>| {
            let Terms { currency, kind, direction } = terms;
            let kind =
                KindFilter::parse(kind.as_bytes()).expect("the kind of a parsed entry is valid");
            OwnedTerms { currency, kind, direction }
        };
        let movement = |movement: Movement<'_>| {
            let Movement { currency, kind, direction, amount } = movement;
            (owned(Terms { currency, kind, direction }), amount)
        };
        let action = match entry.action {
            Action::Post(posted) => {
                let (terms, amount) = movement(posted);
                OwnedAction::Post(terms, amount)
            }
            Action::Hold(held) => {
                let (terms, amount) = movement(held);
                OwnedAction::Hold(terms, amount)
            }
            Action::Grow { hold, terms, amount } => {
                OwnedAction::Grow { hold, terms: terms.map(owned), amount }
            }
            Action::Settle { hold, terms, amount, is_final } => {
                OwnedAction::Settle { hold, terms: terms.map(owned), amount, is_final }
            }
            Action::Void { hold, terms, amount } => {
                OwnedAction::Void { hold, terms: terms.map(owned), amount }
            }
        };
        Self {
            mark,
            id: entry.id,
            user: ListedId::new(entry.user, texts),
            at: entry.at,
            late_accepted: entry.late_accepted,
            action,
            lookup: Lookup::default(),
        }
    }

    /// The entry, borrowed. `texts` is what it was created with.
    pub fn entry<'a>(&'a self, texts: &'a [u8]) -> EntryRef<'a> {
        let action = match &self.action {
            OwnedAction::Post(terms, amount) => Action::Post(terms.movement(*amount)),
            OwnedAction::Hold(terms, amount) => Action::Hold(terms.movement(*amount)),
            OwnedAction::Grow { hold, terms, amount } => Action::Grow {
                hold: *hold,
                terms: terms.as_ref().map(OwnedTerms::terms),
                amount: *amount,
            },
            OwnedAction::Settle { hold, terms, amount, is_final } => Action::Settle {
                hold: *hold,
                terms: terms.as_ref().map(OwnedTerms::terms),
                amount: *amount,
                is_final: *is_final,
            },
            OwnedAction::Void { hold, terms, amount } => Action::Void {
                hold: *hold,
                terms: terms.as_ref().map(OwnedTerms::terms),
                amount: *amount,
            },
        };
        let Self { id, user, at, late_accepted, .. } = *self;
        EntryRef { id, user: user.of(texts), at, late_accepted, action }
    }
}

impl OwnedTerms {
    fn terms(&self) -> Terms<'_> {
        let Self { currency, ref kind, direction } = *self;
        Terms { currency, kind: kind.as_str(), direction }
    }

    fn movement(&self, amount: Amount) -> Movement<'_> {
        let Terms { currency, kind, direction } = self.terms();
        Movement { currency, kind, direction, amount }
    }
}

impl Request {
    /// The read of a request that has none yet.
    const NO_READ: Read<'static> =
        Read { user: UserId::Number(0), currency: None, what: What::Balance };

    /// Creates an empty request of core `asking_core`.
    pub fn new(asking_core: u32) -> Self {
        Self {
            connection: 0,
            now: Millis(0),
            bytes: Vec::with_capacity(REPLY_BYTES),
            max_bytes: LARGE_BYTES,
            reserved: 0,
            asking_core,
            gap: 0,
            job: Job::Read,
            persist: Persist::Default,
            head_only: false,
            outcome: Outcome::Answered(Status::Ok),
            read: ListedRead::new(Self::NO_READ, &mut Vec::new()),
            conditions: Vec::new(),
            texts: Vec::new(),
            version: 0,
            refused_version: None,
            positions: SmallVec::new(),
            reads: Reads::default(),
            bodies: Vec::new(),
            pieces: Vec::new(),
            order: Vec::new(),
            answered: 0,
            rendered: 0,
            frozen: None,
            sums: RowSums::default(),
            slice: 0,
            entries: Vec::new(),
            judged: 0,
            accepted: 0,
            not_accepted: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Empties the request for recycling. The memory of a large request or reply is freed, unless
    /// `keeps_large` and it is not very large.
    pub fn clear(&mut self, keeps_large: bool) {
        fn clear<T>(items: &mut Vec<T>, bound: usize) {
            items.clear();
            if capacity_bytes(items) > bound {
                *items = Vec::new();
            }
        }
        let bound = if keeps_large { MAX_RECYCLED_BYTES } else { LARGE_BYTES };
        assert!(
            self.reserved == 0,
            "the reservation of a reply is released before its request is recycled"
        );
        if self.bytes.capacity() > bound {
            self.bytes = Vec::with_capacity(REPLY_BYTES);
        }
        clear(&mut self.conditions, bound);
        clear(&mut self.texts, bound);
        self.reads.clear();
        if self.reads.capacity_bytes() > bound {
            self.reads = Reads::default();
        }
        clear(&mut self.bodies, bound);
        clear(&mut self.order, bound);
        clear(&mut self.entries, bound);
        clear(&mut self.not_accepted, bound);
        self.figures.clear();
        self.forget_reply();
        (self.max_bytes, self.judged, self.accepted) = (LARGE_BYTES, 0, 0);
        self.refused_version = None;
    }

    /// Discards the reply, so that the request can be sent again.
    pub fn forget_reply(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
        self.bodies.clear();
        self.order.clear();
        (self.answered, self.rendered) = (0, 0);
        self.positions.clear();
        self.outcome = Outcome::Answered(Status::Ok);
    }

    /// Replaces a reply that is too large by its size, in bytes.
    pub fn refuse(&mut self, bytes: usize) {
        self.forget_reply();
        if self.bytes.capacity() > MAX_RECYCLED_BYTES {
            self.bytes = Vec::new();
        }
        self.outcome = Outcome::TooLarge(bytes);
    }

    /// Replaces a reply that would show what the log cannot store now. Entries of a feed are
    /// refused, whether they were accepted or had been before: sent again later, they are known.
    pub fn refuse_unstored(&mut self) {
        self.forget_reply();
        self.outcome = Outcome::Unstored;
        self.accepted = 0;
        let is_rejected =
            |(_, verdict): &(LineMark, Verdict)| matches!(verdict, Verdict::Rejected(_));
        self.not_accepted.retain(is_rejected);
        let rejected = self.not_accepted.len();
        for entry in &self.entries[..self.judged] {
            let is_known = |(mark, _): &(LineMark, Verdict)| *mark == entry.mark;
            if !self.not_accepted[..rejected].iter().any(is_known) {
                let refusal = Verdict::Rejected(Rejection::InsufficientStorage);
                self.not_accepted.push((entry.mark, refusal));
            }
        }
    }

    /// Adds a log position that the reply shows.
    #[inline]
    pub fn show(&mut self, position: Position) {
        show(&mut self.positions, position);
    }

    /// Whether one of its buffers is large.
    #[inline]
    pub const fn is_large(&self) -> bool {
        self.bytes.capacity() > LARGE_BYTES
            || capacity_bytes(&self.conditions) > LARGE_BYTES
            || capacity_bytes(&self.texts) > LARGE_BYTES
            || self.reads.capacity_bytes() > LARGE_BYTES
            || capacity_bytes(&self.bodies) > LARGE_BYTES
            || capacity_bytes(&self.order) > LARGE_BYTES
            || capacity_bytes(&self.entries) > LARGE_BYTES
            || capacity_bytes(&self.not_accepted) > LARGE_BYTES
    }

    /// The body that answers item `n` of a batch.
    #[inline]
    pub fn body(&self, n: usize) -> &[u8] {
        let BodyPlace { piece, start, end } = self.bodies[n];
        let piece = self.pieces.get(piece as usize).unwrap_or(&self.bytes);
        &piece[start as usize..end as usize]
    }

    /// Item `n`: a read of the batch, or the only one.
    pub(super) fn item(&self, n: u32) -> Read<'_> {
        if self.job == Job::Read { self.read.of(&self.texts) } else { self.reads.get(n as usize) }
    }

    /// The user of item `n`.
    pub(super) fn user(&self, n: u32) -> UserId<'_> {
        if self.job == Job::Read {
            self.read.user(&self.texts)
        } else {
            self.reads.user(&self.reads.listed()[n as usize])
        }
    }

    /// The item that is answered next, and its number.
    pub(super) fn next_item(&self) -> (u32, Read<'_>) {
        let number = self.order[self.answered];
        (number, self.item(number))
    }

    /// The item that was answered last.
    pub(super) fn last_item(&self) -> Option<Read<'_>> {
        self.answered.checked_sub(1).map(|last| self.item(self.order[last]))
    }

    /// Decides the order in which the items are answered.
    pub(super) fn order_items(&mut self) {
        let count = if self.job == Job::Read { 1 } else { self.reads.len() };
        self.order.extend(0..count as u32);
        let reads = &self.reads;
        if count > 1 {
            let user = |n: u32| reads.user(&reads.listed()[n as usize]);
            self.order.sort_unstable_by(|&a, &b| (user(a), a).cmp(&(user(b), b)));
        }
        self.bodies.resize(count, BodyPlace::default());
    }

    /// Records that item `n` is answered, from offset `start` of [`Self::bytes`] on.
    pub(super) fn place_item(&mut self, n: u32, start: usize) {
        let (piece, end) = (self.pieces.len() as u32, self.bytes.len() as u32);
        self.bodies[n as usize] = BodyPlace { piece, start: start as u32, end };
        self.answered += 1;
    }
}

const fn capacity_bytes<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}

/// Adds a log position to those shown: one per slice, the latest.
#[inline]
pub fn show<const N: usize>(positions: &mut SmallVec<[Position; N]>, position: Position)
where
    [Position; N]: smallvec::Array<Item = Position>,
{
    if position.lsn.0 == 0 {
        return;
    }
    match positions.iter_mut().find(|shown| shown.local_slice == position.local_slice) {
        Some(shown) => shown.lsn = shown.lsn.max(position.lsn),
        None => positions.push(position),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::Lsn;

    #[test]
    fn an_entry_survives_the_copy_into_a_request() {
        let currency = Currency::parse(b"COIN").unwrap();
        let movement = Movement {
            currency,
            kind: "topup",
            direction: Direction::Debit,
            amount: Amount::new(7).unwrap(),
        };
        let (hold, amount) = (EntryId(9), Amount::new(0).unwrap());
        let Movement { kind, direction, .. } = movement;
        let terms = Some(Terms { currency, kind, direction });
        for action in [
            Action::Post(movement),
            Action::Hold(movement),
            Action::Grow { hold, terms, amount },
            Action::Settle { hold, terms: None, amount, is_final: true },
            Action::Settle { hold, terms, amount, is_final: false },
            Action::Void { hold, terms, amount: None },
            Action::Void { hold, terms: None, amount: Some(amount) },
        ] {
            let entry = EntryRef {
                id: EntryId(u128::MAX),
                user: UserId::Text(b"users:42"),
                at: Millis(5),
                late_accepted: true,
                action,
            };
            let mut texts = b"before".to_vec();
            let copy = FeedEntry::new(LineMark { index: 1, start: 2 }, &entry, &mut texts);
            assert_eq!(copy.entry(&texts), entry);
        }
    }

    #[test]
    fn entries_that_cannot_be_stored_are_refused_with_those_known_before() {
        let action = Action::Void { hold: EntryId(9), terms: None, amount: None };
        let (id, user, at) = (EntryId(1), UserId::Number(42), Millis(5));
        let entry = EntryRef { id, user, at, late_accepted: false, action };
        let mark = |index| LineMark { index, start: 10 * index };
        let mut request = Request::new(0);
        let feed_entry = |index| FeedEntry::new(mark(index), &entry, &mut request.texts);
        request.entries.extend((0..4).map(feed_entry));
        let invalid = Verdict::Rejected(Rejection::PendingNotFound);
        (request.judged, request.accepted) = (3, 1);
        request.not_accepted.extend([(mark(0), Verdict::Duplicate), (mark(2), invalid)]);
        request.show(Position { local_slice: 0, lsn: Lsn(7) });
        request.refuse_unstored();
        let refused = Verdict::Rejected(Rejection::InsufficientStorage);
        assert_eq!(
            request.not_accepted,
            [(mark(2), invalid), (mark(0), refused), (mark(1), refused)]
        );
        assert_eq!((request.accepted, request.outcome), (0, Outcome::Unstored));
        assert!(request.positions.is_empty(), "the refusal shows nothing");
    }

    #[test]
    fn items_of_one_user_are_answered_together_and_read_in_their_own_order() {
        let mut request = Request::new(0);
        request.job = Job::Batch;
        let reads = [&b"b"[..], b"a", b"b"].map(UserId::Text);
        let reads = reads.map(|user| Read { user, currency: None, what: What::Balance });
        reads.into_iter().for_each(|read| request.reads.push(read));
        request.order_items();
        for (number, body) in [(1, "bb"), (0, "a"), (2, "ccc")] {
            assert_eq!(request.next_item(), (number, reads[number as usize]));
            let start = request.bytes.len();
            request.bytes.extend_from_slice(body.as_bytes());
            request.place_item(number, start);
            request.pieces.push(std::mem::take(&mut request.bytes));
        }
        assert_eq!([0, 1, 2].map(|n| request.body(n)), [&b"a"[..], b"bb", b"ccc"]);
    }

    #[test]
    fn the_latest_position_of_each_slice_is_shown() {
        let mut request = Request::new(0);
        for (local_slice, lsn) in [(0, 3), (1, 0), (1, 9), (0, 2), (1, 11)] {
            request.show(Position { local_slice, lsn: Lsn(lsn) });
        }
        let shown: Vec<_> =
            request.positions.iter().map(|shown| (shown.local_slice, shown.lsn.0)).collect();
        assert_eq!(shown, [(0, 3), (1, 11)]);
    }
}
