//! Remembered entry ids of one user.
//!
//! The ids of the dedup window ([`super::window`]) are remembered, so ids are forgotten in the
//! order in which they were accepted. Late entries are refused before their ids are looked up,
//! unless the sender vouches for them, so nobody can see what is forgotten.
//!
//! Up to [`MAX_LISTED_IDS`] ids are a plain list in the user's packed block; more are in hash
//! tables ([`super::tables`]). Ids before the window are removed while entries are booked, long
//! before their 32-bit times wrap around.

use super::cursor::Malformed;
use super::fingerprint::{SEEN_ENTRY_BYTES, SeenEntry};
use super::packed::Bytes;
use super::secret::Secret;
use super::tables::{MAX_TABLE_IDS, Tables};
use super::time::Millis;
use super::window::{DedupWindow, check_ids};

/// Maximum number of ids kept as a plain list in the user's packed block.
const MAX_LISTED_IDS: usize = 16;

/// Result of looking up an entry in the dedup window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DedupResult {
    /// The id is not in the window.
    New,
    /// The id is in the window with equal fields.
    Duplicate,
    /// The id is in the window with other fields.
    Conflict,
}

/// The ids of a plain list, in their on-disk form.
fn listed(list: &[u8]) -> impl Iterator<Item = SeenEntry> {
    list.as_chunks().0.iter().map(|&id| SeenEntry::of_bytes(id))
}

/// Looks up an entry in `tables`, or in `list` if the user has no tables.
#[inline(always)]
pub(super) fn look_up(
    list: &[u8],
    tables: Option<&Tables>,
    entry: SeenEntry,
    window: &DedupWindow,
) -> DedupResult {
    let found = match tables {
        None => listed(list).find(|seen| seen.id == entry.id && window.has(seen)),
        Some(tables) => tables.find(entry.id, window),
    };
    match found {
        None => DedupResult::New,
        Some(seen) if seen.fields == entry.fields => DedupResult::Duplicate,
        Some(_) => DedupResult::Conflict,
    }
}

/// Remembers an accepted entry. `before` is the user's latest booking time before it (`None` if it
/// is the first entry), `window` the one after it. Returns tables if the list was full; the list is
/// then empty.
#[must_use]
pub(super) fn remember(
    list: &mut impl Bytes,
    tables: Option<&mut Tables>,
    entry: SeenEntry,
    before: Option<Millis>,
    window: &DedupWindow,
    secret: Secret,
) -> Option<Tables> {
    let entry = entry.accepted(window.latest);
    if let Some(tables) = tables {
        tables.remember(entry, before.unwrap_or(window.latest), window);
        return None;
    }
    if before.is_some_and(|before| before < window.latest) {
        forget(list, before, window);
    }
    let len = list.len();
    if len < MAX_LISTED_IDS * SEEN_ENTRY_BYTES {
        list.replace(len..len, &entry.to_bytes());
        return None;
    }
    let mut tables = Tables::new(secret);
    listed(list).chain([entry]).for_each(|seen| tables.insert(seen, window));
    list.replace(0..len, &[]);
    Some(tables)
}

/// Removes the ids of a list that are no longer remembered.
fn forget(list: &mut impl Bytes, before: Option<Millis>, window: &DedupWindow) {
    let forgets_all = before.is_some_and(|before| window.has_none_of(before));
    let (ids, _) = list.as_chunks_mut();
    let mut kept = 0;
    for at in 0..ids.len() {
        if !forgets_all && window.has(&SeenEntry::of_bytes(ids[at])) {
            ids[kept] = ids[at];
            kept += 1;
        }
    }
    if kept < ids.len() {
        list.replace(kept * SEEN_ENTRY_BYTES..list.len(), &[]);
    }
}

/// Appends the remembered ids of a list or of one table, sorted, in the format of
/// [`super::image`].
pub(super) fn store(list: &[u8], tables: Option<&Tables>, window: &DedupWindow, out: &mut Vec<u8>) {
    if let Some(tables) = tables {
        return tables.store_only(window, out);
    }
    let start = out.len();
    for seen in listed(list).filter(|seen| window.has(seen)) {
        out.extend_from_slice(&seen.to_bytes());
    }
    let (ids, _) = out[start..].as_chunks_mut();
    ids.sort_unstable_by_key(|&id| u128::from_le_bytes(id));
}

/// Reads and validates what [`store`] wrote. Returns a list, or the table that remembering the ids
/// one by one would have made.
pub(super) fn load<'a>(
    bytes: &'a [u8],
    window: &DedupWindow,
    secret: Secret,
) -> Result<(&'a [u8], Option<Tables>), Malformed> {
    let (ids, rest) = bytes.as_chunks();
    Malformed::unless(rest.is_empty(), "every remembered id is complete")?;
    Malformed::unless(
        ids.len() <= MAX_TABLE_IDS,
        "an image has no more remembered ids than one table holds",
    )?;
    let mut tables = (ids.len() > MAX_LISTED_IDS).then(|| Tables::new(secret));
    check_ids(ids, window, |seen| {
        if let Some(tables) = &mut tables {
            tables.insert(seen, window);
        }
        Ok(())
    })?;
    Ok((if tables.is_some() { &[] } else { bytes }, tables))
}
