//! Dedup window of one user: where it begins.
//!
//! An id is kept with the user's latest booking time N of its acceptance. The window begins at N −
//! 24 h, or later for a busy user: after every [`DEDUP_SPAN`] accepted entries it begins at the N
//! of the span before ([`Restarts`]). Ids that were kept before it are forgotten. An entry whose
//! booking time lies before it is late.

use super::cursor::{Cursor, Malformed, put};
use super::fingerprint::{SEEN_ENTRY_BYTES, SeenEntry};
use super::time::Millis;
use super::{DEDUP_SPAN, DEDUP_WINDOW_MS};

/// The dedup window of one user.
#[derive(Clone, Copy, Debug)]
pub struct DedupWindow {
    /// The user's latest booking time.
    pub(super) latest: Millis,
    /// Its length in milliseconds.
    length: u32,
}

impl DedupWindow {
    /// The window of a user with this latest booking time.
    pub fn of(latest: Millis, restarts: Restarts) -> Self {
        let longest = latest.0.min(DEDUP_WINDOW_MS);
        let length = longest.min(latest.0 - restarts.last.0) as u32;
        Self { latest, length }
    }

    /// Whether an entry with this booking time is late.
    pub const fn is_before(&self, at: Millis) -> bool {
        at.0 + (self.length as u64) < self.latest.0
    }

    /// Whether an id is remembered.
    pub(super) const fn has(&self, seen: &SeenEntry) -> bool {
        // The latest booking time has not wrapped around since the id was kept.
        (self.latest.0 as u32).wrapping_sub(seen.latest_low) <= self.length
    }

    /// Whether no id is remembered that was kept when the latest booking time was `before`.
    pub(super) const fn has_none_of(&self, before: Millis) -> bool {
        before.0 + DEDUP_WINDOW_MS < self.latest.0
    }
}

/// Where the dedup window of a busy user begins, beside the 24 hours: see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// The window does not reach beyond this time.
    last: Millis,
    /// The user's latest booking time at the end of the last span of entries: the next `last`.
    next: Millis,
}

impl Restarts {
    /// Whether a span of entries ends with the one that gave the user this version.
    pub(super) const fn are_due(version: u64) -> bool {
        version.is_multiple_of(DEDUP_SPAN)
    }

    /// Ends a span of entries. `latest` is the user's latest booking time.
    pub(super) const fn advance(&mut self, latest: Millis) {
        *self = Self { last: self.next, next: latest };
    }

    /// Appends both times, if a user of this version can have any.
    pub(super) fn store(&self, version: u64, out: &mut Vec<u8>) {
        if version >= DEDUP_SPAN {
            put(out, self.last.0);
            put(out, self.next.0);
        }
    }

    /// Reads and validates what [`Self::store`] wrote.
    pub(super) fn load(
        cursor: &mut Cursor<'_>,
        version: u64,
        latest: Millis,
    ) -> Result<Self, Malformed> {
        if version < DEDUP_SPAN {
            return Ok(Self::default());
        }
        let (last, next) = (cursor.varint()?, cursor.varint()?);
        let is_sorted = last <= next && next <= latest.0;
        Malformed::unless(is_sorted, "the dedup window begins before the latest entry")?;
        Ok(Self { last: Millis(last), next: Millis(next) })
    }
}

/// Calls `each` with every id, and validates that they are as stored.
pub(super) fn check_ids(
    ids: &[[u8; SEEN_ENTRY_BYTES]],
    window: &DedupWindow,
    mut each: impl FnMut(SeenEntry) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut before = None;
    for &id in ids {
        let seen = SeenEntry::of_bytes(id);
        Malformed::unless(before < Some(seen.id), "remembered ids are sorted, one each")?;
        before = Some(seen.id);
        Malformed::unless(window.has(&seen), "remembered ids lie within the dedup window")?;
        each(seen)?;
    }
    Ok(())
}
