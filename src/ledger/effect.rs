//! Effect of an entry that passed all checks: what [`super::judge`] decides and
//! [`User::book`](super::user::User::book) applies.

use super::amount::Direction;
use super::balance::Balance;
use super::counters::Posting;
use super::fingerprint::SeenEntry;
use super::holds::Hold;
use super::id::EntryId;
use super::time::Millis;

/// Effect of a judged entry, ready to be booked.
#[derive(Debug)]
pub struct Effect<'a> {
    pub(super) place: usize,
    pub(super) balance: Balance,
    pub(super) group: GroupChange<'a>,
    pub(super) hold: HoldChange<'a>,
    pub(super) remembered: SeenEntry,
    pub(super) at: Millis,
}

#[derive(Debug)]
pub(super) enum GroupChange<'a> {
    None,
    /// A posting of a kind that has a number in the slice.
    Known(Posting),
    /// A posting of a kind that has no number in the slice yet.
    New {
        kind: &'a str,
        direction: Direction,
        groups: usize,
        amount: i64,
    },
}

#[derive(Debug)]
pub(super) enum HoldChange<'a> {
    None,
    Open { id: EntryId, kind: &'a str, direction: Direction, amount: i64, has_own_entry: bool },
    Set(Hold),
    Close(EntryId),
}
