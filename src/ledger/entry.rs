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
    pub user: UserId,
    /// Booking time in the system of record.
    pub at: Millis,
    /// Effect of the entry.
    pub action: Action<'a>,
}

/// Effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Posts money immediately.
    Post(Movement<'a>),
    /// Holds money until the hold is settled or voided.
    Hold(Movement<'a>),
    /// Posts up to the hold's amount, releases the rest and closes the hold.
    Settle {
        /// The hold's entry id.
        hold: EntryId,
        /// Amount to post, at most the hold's amount.
        amount: Amount,
    },
    /// Closes the hold without posting.
    Void {
        /// The hold's entry id.
        hold: EntryId,
    },
}

/// Money fields of a posting or hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement<'a> {
    /// Currency of `amount`.
    pub currency: Currency,
    /// Transaction type as the platform names it, `[a-z][a-z0-9_]{0,31}`.
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
    /// The booking time is before the dedup window.
    TooOld,
    /// The id is known with other fields.
    IdConflict,
    /// No open hold has that id.
    PendingNotFound,
    /// The amount exceeds the hold's amount.
    PendingAmountExceeded,
    /// The entry would add a 17th currency.
    TooManyCurrencies,
    /// The entry would add a 257th group.
    TooManyGroups,
    /// The entry would open a 1,025th hold.
    TooManyHolds,
    /// The dedup window already holds the maximum number of ids.
    TooManyRecent,
    /// A balance or a lifetime sum would leave `i64`.
    BalanceOverflow,
    /// The slice is above its memory mark, its index cannot hold the user, or the entry cannot be
    /// logged.
    InsufficientStorage,
}

impl From<Rejection> for Verdict {
    fn from(reason: Rejection) -> Self {
        Self::Rejected(reason)
    }
}
