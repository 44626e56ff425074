//! An entry as the system of record committed it, and the verdicts on it.

use super::amount::{Amount, Currency, Direction};
use super::id::{EntryId, UserId};
use super::time::Millis;

/// One ledger entry, borrowed from the text that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// Identity: an id that a user has accepted counts once.
    pub id: EntryId,
    /// Whose entry.
    pub user: UserId,
    /// Booking time in the system of record.
    pub at: Millis,
    /// What it does.
    pub action: Action<'a>,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Moves money at once.
    Post(Leg<'a>),
    /// Holds money until it is settled or voided.
    Hold(Leg<'a>),
    /// Posts up to the hold's amount and releases the rest.
    Settle {
        /// The hold's entry id.
        hold: EntryId,
        /// At most the hold's amount.
        amount: Amount,
    },
    /// Releases the hold; nothing moves.
    Void {
        /// The hold's entry id.
        hold: EntryId,
    },
}

/// One side of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg<'a> {
    /// Currency of `amount`.
    pub currency: Currency,
    /// What the platform calls it, `[a-z][a-z0-9_]{0,31}`.
    pub kind: &'a str,
    /// Towards or away from the user.
    pub direction: Direction,
    /// Minor units.
    pub amount: Amount,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Booked: the user's version went up by one.
    Accepted,
    /// Booked before, with equal fields. Nothing changed.
    Duplicate,
    /// Refused. Nothing changed.
    Rejected(Rejection),
}

/// Why the ledger refuses an entry, in the order in which the reasons are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Booked more than an hour ahead of the server's clock.
    InFuture,
    /// Booked before the dedup horizon.
    TooOld,
    /// The id is known with other fields.
    IdConflict,
    /// No open hold of that id.
    PendingNotFound,
    /// More than the hold.
    PendingAmountExceeded,
    /// A 17th currency.
    TooManyCurrencies,
    /// A 257th group.
    TooManyGroups,
    /// A 1,025th open hold.
    TooManyHolds,
    /// More entries within the dedup horizon than can be remembered.
    TooManyRecent,
    /// A balance or a lifetime sum would leave `i64`.
    BalanceOverflow,
    /// The slice is above its memory mark.
    InsufficientStorage,
}

impl From<Rejection> for Verdict {
    fn from(reason: Rejection) -> Self {
        Self::Rejected(reason)
    }
}
