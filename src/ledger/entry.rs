//! Ledger entries as the system of record committed them, and the ledger's verdicts on them.

use super::amount::{Amount, Currency, Direction};
use super::id::{EntryId, UserId};
use super::time::Millis;

/// One ledger entry, borrowed from the text that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Identity for deduplication: within the dedup window, a user's id is booked once.
    pub id: EntryId,
    /// User whose ledger the entry belongs to.
    pub user: UserId<'a>,
    /// Booking time in the system of record.
    pub at: Millis,
    /// Whether it is booked although it is late: the sender vouches that it is new if its id is no
    /// longer remembered.
    pub late_accepted: bool,
    /// Effect of the entry.
    pub action: Action<'a>,
}

/// Effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Posts money, without a hold.
    Post(Movement<'a>),
    /// Opens the hold of its own id, or makes it grow if it is open.
    Hold(Movement<'a>),
    /// Makes a hold grow.
    Grow {
        /// Id of the hold.
        hold: EntryId,
        /// The entry's own terms; they open the hold if it is not open.
        terms: Option<Terms<'a>>,
        /// Amount to add.
        amount: Amount,
    },
    /// Posts an amount, and releases as much of the hold, at most what is left of it.
    Settle {
        /// Id of the hold.
        hold: EntryId,
        /// The entry's own terms; with them it is posted even if the hold is not open.
        terms: Option<Terms<'a>>,
        /// Amount to post.
        amount: Amount,
        /// Whether the rest of the hold is released too.
        is_final: bool,
    },
    /// Releases an amount of the hold, at most what is left of it; `None` is all of it.
    Void {
        /// Id of the hold.
        hold: EntryId,
        /// The entry's own terms; with them it is accepted even if the hold is not open.
        terms: Option<Terms<'a>>,
        /// Amount to release.
        amount: Option<Amount>,
    },
}

/// What an entry gives of its own although it names a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    /// Currency of the amount.
    pub currency: Currency,
    /// Transaction type as the platform names it.
    pub kind: &'a str,
    /// Towards or away from the user.
    pub direction: Direction,
}

/// Money fields of a posting or hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement<'a> {
    /// Currency of `amount`.
    pub currency: Currency,
    /// Transaction type as the platform names it.
    pub kind: &'a str,
    /// Towards or away from the user.
    pub direction: Direction,
    /// Amount in minor units.
    pub amount: Amount,
}

/// Outcome of judging an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Booked: the user's version went up by one.
    Accepted,
    /// The id was booked before with equal fields. Nothing changed.
    Duplicate,
    /// Refused. Nothing changed.
    Rejected(Rejection),
}

/// Why the ledger refuses an entry. Reasons are checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The booking time is more than an hour ahead of the server's clock.
    InFuture,
    /// The entry is late: its booking time is before the dedup window.
    TooOld,
    /// The id is known with other fields, or is that of an open hold whose own entry was accepted.
    IdConflict,
    /// No open hold has that id, and the entry has no terms of its own.
    PendingNotFound,
    /// The entry's own terms differ from those of the open hold.
    PendingMismatch(Mismatch),
    /// The entry would add a 17th currency.
    TooManyCurrencies,
    /// The entry would add a 257th group.
    TooManyGroups,
    /// The entry would open a 65,537th hold.
    TooManyHolds,
    /// A balance, a pending sum or a lifetime sum would leave `i64`.
    BalanceOverflow,
    /// The slice is above its memory mark, or the entry cannot be logged.
    InsufficientStorage,
}

/// What is to blame when an entry and an open hold differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The currency of the hold's own entry.
    Currency,
    /// The direction of the hold's own entry.
    Direction,
    /// The hold's id: another entry names it.
    Id,
}

impl From<Rejection> for Verdict {
    fn from(reason: Rejection) -> Self {
        Self::Rejected(reason)
    }
}
