//! Dedup window of one user: the entry ids accepted within the last 24 hours of the user's time,
//! 16 bytes each.
//!
//! An id is stored as a 64-bit fingerprint, a 32-bit fingerprint of the entry's parsed fields, and
//! the low 32 bits of its booking time. With n ids in the window, a new id collides with another
//! one with probability n·2⁻⁶⁴, and is then *refused visibly* (`entry_id_conflict`). To be taken
//! silently for a duplicate, its fields would have to collide too (2⁻⁹⁶). Ids and kinds are hashed
//! by XXH3 (Y. Collet, xxHash 0.8) with seed 0; fields are folded together by multiplication.
//!
//! Fingerprints are stored on disk in the same 16 bytes ([`super::image`]), so how they are
//! computed and packed never changes.
//!
//! An id counts exactly as long as its booking time is in the window. Expired ids are swept while
//! entries are booked, at the latest [`SWEEP_BUCKETS`] buckets later, long before the 32-bit time
//! wraps around.
//!
//! The ids of a user with many of them are stored table by table while entries of that user are
//! booked. Stored is the state of one moment ([`Tables::freeze`]): a table that changes before it
//! is stored is set aside first (copy on write).

use super::cursor::{Cursor, Malformed};
use super::entry::{Action, EntryRef};
use super::id::EntryId;
use super::memory::block_bytes;
use super::packed::Bytes;
use super::time::{BUCKET_MS, Bucket, Millis};
use super::{DEDUP_WINDOW_MS, RECENT_PER_USER};
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Maximum number of ids kept as a plain list in the user's packed block.
const MAX_LISTED_IDS: usize = 16;
/// Maximum number of ids kept in one table. Beyond it there are [`TABLES`] tables, so that growth
/// moves only a fraction of the ids at a time.
const MAX_IDS_IN_ONE_TABLE: usize = 4_096;
/// Number of tables of a user who once had more than [`MAX_IDS_IN_ONE_TABLE`] ids in the window.
pub const TABLES: usize = 64;
/// Largest bin for which [`store_table`] uses insertion sort. With evenly spread ids, one per bin
/// on average, one bin in 10¹⁵ is larger.
const LARGEST_BIN: u32 = 16;
/// One id on disk: fields: u32 LE | low half of the booking time: u32 LE | id: u64 LE.
pub(super) const SEEN_ENTRY_BYTES: usize = 16;
/// Number of ids of a piece: u32 LE.
const COUNT_BYTES: usize = size_of::<u32>();
/// Upper bound of a piece, in bytes. With evenly spread ids, a piece takes at most a sixtieth.
pub const MAX_PIECE_BYTES: usize = COUNT_BYTES + RECENT_PER_USER * SEEN_ENTRY_BYTES;
/// Sweep period of each table, in 15-minute buckets of the user's time.
const SWEEP_BUCKETS: Bucket = TABLES as Bucket;

const _: () = assert!(
    ((SWEEP_BUCKETS as u64 + 1) * BUCKET_MS + DEDUP_WINDOW_MS) < 1 << 32,
    "the 32-bit booking time of an id that is not swept yet does not wrap around"
);

/// Fingerprints and booking time of one accepted entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEntry {
    id: u64,
    fields: u32,
    at_low: u32,
}

impl SeenEntry {
    /// The fingerprints of an entry.
    pub fn of(entry: &EntryRef<'_>) -> Self {
        Self { id: Self::fingerprint(entry.id), fields: fields(entry), at_low: entry.at.0 as u32 }
    }

    fn fingerprint(id: EntryId) -> u64 {
        xxh3_64(&id.0.to_le_bytes())
    }

    fn to_bytes(self) -> [u8; SEEN_ENTRY_BYTES] {
        (u128::from(self.id) << 64 | u128::from(self.at_low) << 32 | u128::from(self.fields))
            .to_le_bytes()
    }

    fn of_bytes(bytes: [u8; SEEN_ENTRY_BYTES]) -> Self {
        let packed = u128::from_le_bytes(bytes);
        Self { id: (packed >> 64) as u64, fields: packed as u32, at_low: (packed >> 32) as u32 }
    }

    fn is_younger_than(&self, window_start: WindowStart) -> bool {
        // Booking time and window start are less than 2³² ms before the latest entry, so their
        // wrapping distances back from it compare correctly.
        window_start.latest_low.wrapping_sub(self.at_low) <= window_start.span
    }

    fn at(&self, latest: Millis) -> Millis {
        Millis(latest.0 - u64::from((latest.0 as u32).wrapping_sub(self.at_low)))
    }
}

/// Fingerprint of the parsed fields, without the id, which has its own fingerprint, and the user,
/// to whom the dedup window belongs.
fn fields(entry: &EntryRef<'_>) -> u32 {
    let (tag, amount, low, high) = match entry.action {
        Action::Post(movement) | Action::Hold(movement) => {
            let held = matches!(entry.action, Action::Hold(_));
            let tag = u64::from(held) << 1 | movement.direction as u64;
            let currency = u64::from_le_bytes(*movement.currency.padded());
            (
                tag,
                movement.amount.minor().cast_unsigned(),
                currency,
                xxh3_64(movement.kind.as_bytes()),
            )
        }
        Action::Settle { hold, amount } => {
            (4, amount.minor().cast_unsigned(), hold.0 as u64, (hold.0 >> 64) as u64)
        }
        Action::Void { hold } => (5, 0, hold.0 as u64, (hold.0 >> 64) as u64),
    };
    let [k0, k1, k2, k3, k4] = KEYS;
    let mixed = fold(entry.at.0 ^ k0, amount ^ k1) ^ fold(low ^ k2, high ^ k3).rotate_left(23);
    (fold(mixed ^ tag, k4) >> 32) as u32
}

/// Mixing constants: fractional digits of pi, as nothing-up-my-sleeve numbers.
const KEYS: [u64; 5] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
];

/// XOR of both halves of a 128-bit product: the mixing step of wyhash (Wang Yi, 2019).
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// How far back from the user's latest booking time ids count, in milliseconds.
#[derive(Clone, Copy)]
struct WindowStart {
    latest_low: u32,
    span: u32,
}

impl WindowStart {
    /// Start of the dedup window: `latest` − 24 h.
    fn exact(latest: Millis) -> Self {
        Self { latest_low: latest.0 as u32, span: DEDUP_WINDOW_MS as u32 }
    }

    /// Start of the bucket that contains `latest` − 24 h. Ids from there on are kept, because the
    /// limit is counted by whole buckets.
    fn by_bucket(latest: Millis) -> Self {
        let span = latest.0 - u64::from(first_bucket(latest)) * BUCKET_MS;
        Self { latest_low: latest.0 as u32, span: span as u32 }
    }
}

fn first_bucket(latest: Millis) -> Bucket {
    Millis(latest.0.saturating_sub(DEDUP_WINDOW_MS)).bucket()
}

/// Whether the user's time has jumped so far that no earlier id is kept.
fn forgets_all(before: Millis, latest: Millis) -> bool {
    latest.0 - before.0 > DEDUP_WINDOW_MS + BUCKET_MS
}

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

/// The ids of a user with many of them, as hash tables.
#[derive(Debug)]
pub struct Tables {
    /// One table, or [`TABLES`].
    tables: SmallVec<[HashTable<SeenEntry>; 1]>,
    /// Number of accepted entries per bucket, for the limit, which is counted by whole buckets.
    /// Maintained once there are [`TABLES`] tables.
    by_bucket: BTreeMap<Bucket, u32>,
    /// Sum of `by_bucket`.
    counted: usize,
    /// The state that is being stored.
    frozen: Option<Box<Frozen>>,
}

/// State of [`TABLES`] tables at one moment, while they are stored in order.
#[derive(Debug)]
struct Frozen {
    /// The user's latest booking time at that moment.
    latest: Millis,
    /// Number of tables that are stored.
    stored: usize,
    /// Former contents of tables that changed before they were stored, by place.
    set_aside: BTreeMap<usize, HashTable<SeenEntry>>,
}

impl Frozen {
    /// Whether the table at `place` must be set aside before it changes.
    fn needs(&self, place: usize) -> bool {
        place >= self.stored && !self.set_aside.contains_key(&place)
    }
}

/// The ids of a plain list, in their on-disk form.
fn listed(list: &[u8]) -> impl Iterator<Item = SeenEntry> {
    list.as_chunks().0.iter().map(|&id| SeenEntry::of_bytes(id))
}

/// Looks up an entry in `tables`, or in `list` if the user has no tables. `latest` is the user's
/// latest booking time.
#[inline]
pub(super) fn look_up(
    list: &[u8],
    tables: Option<&Tables>,
    entry: SeenEntry,
    latest: Millis,
) -> DedupResult {
    let window_start = WindowStart::exact(latest);
    let fits = |r: &SeenEntry| r.id == entry.id && r.is_younger_than(window_start);
    let found = match tables {
        None => listed(list).find(fits),
        Some(tables) => tables.table(entry.id).find(entry.id, fits).copied(),
    };
    match found {
        None => DedupResult::New,
        Some(r) if r == entry => DedupResult::Duplicate,
        Some(_) => DedupResult::Conflict,
    }
}

/// Whether the window that ends at `latest` already has [`RECENT_PER_USER`] ids.
pub(super) fn is_full(tables: Option<&Tables>, latest: Millis) -> bool {
    let count = |t: &Tables| {
        t.by_bucket.range(first_bucket(latest)..).map(|(_, &n)| n as usize).sum::<usize>()
    };
    tables.is_some_and(|t| t.counted >= RECENT_PER_USER && count(t) >= RECENT_PER_USER)
}

/// Remembers an accepted entry. `before` is the user's latest booking time before it (`None` if it
/// is the first entry), `latest` the one after it. Returns tables if the list was full; the list is
/// then empty.
#[must_use]
pub(super) fn remember(
    list: &mut impl Bytes,
    tables: Option<&mut Tables>,
    entry: SeenEntry,
    before: Option<Millis>,
    latest: Millis,
) -> Option<Tables> {
    if let Some(tables) = tables {
        tables.remember(entry, before.unwrap_or(latest), latest);
        return None;
    }
    sweep(list, before, latest);
    let len = list.len();
    if len < MAX_LISTED_IDS * SEEN_ENTRY_BYTES {
        list.replace(len..len, &entry.to_bytes());
        return None;
    }
    let mut tables = Tables::new(1);
    listed(list).chain([entry]).for_each(|r| tables.insert(r, latest));
    list.replace(0..len, &[]);
    Some(tables)
}

fn sweep(list: &mut impl Bytes, before: Option<Millis>, latest: Millis) {
    let Some(before) = before.filter(|&before| latest > before) else { return };
    let (window_start, has_jumped) = (WindowStart::by_bucket(latest), forgets_all(before, latest));
    let (ids, _) = list.as_chunks_mut();
    let mut kept = 0;
    for at in 0..ids.len() {
        if !has_jumped && SeenEntry::of_bytes(ids[at]).is_younger_than(window_start) {
            ids[kept] = ids[at];
            kept += 1;
        }
    }
    if kept < ids.len() {
        list.replace(kept * SEEN_ENTRY_BYTES..list.len(), &[]);
    }
}

/// Appends the kept ids of a list or of one table, sorted, in the format of [`super::image`]. With
/// [`TABLES`] tables it appends nothing: see [`Tables::store`].
pub(super) fn store(list: &[u8], tables: Option<&Tables>, latest: Millis, out: &mut Vec<u8>) {
    match tables.map(|tables| &tables.tables[..]) {
        Some([one]) => store_table(one, latest, out),
        Some(_) => {}
        None => {
            let start = out.len();
            out.extend_from_slice(list);
            let (ids, _) = out[start..].as_chunks_mut();
            ids.sort_unstable_by_key(|&id| u128::from_le_bytes(id));
        }
    }
}

/// Reads and validates what [`store`] wrote, for a user with the latest booking time `latest`.
/// Returns a list, or the table that remembering the ids one by one would have made.
pub(super) fn load(bytes: &[u8], latest: Millis) -> Result<(&[u8], Option<Tables>), Malformed> {
    let (ids, rest) = bytes.as_chunks();
    Malformed::unless(rest.is_empty(), "every remembered id is complete")?;
    Malformed::unless(
        ids.len() <= MAX_IDS_IN_ONE_TABLE,
        "an image has no more remembered ids than one table holds",
    )?;
    let mut tables = (ids.len() > MAX_LISTED_IDS).then(|| Tables::new(1));
    check_ids(ids, latest, |entry| {
        if let Some(tables) = &mut tables {
            tables.insert(entry, latest);
        }
        Ok(())
    })?;
    Ok((if tables.is_some() { &[] } else { bytes }, tables))
}

/// Calls `each` with every id, and validates that they are as stored.
fn check_ids(
    ids: &[[u8; SEEN_ENTRY_BYTES]],
    latest: Millis,
    mut each: impl FnMut(SeenEntry) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let (kept, exact) = (WindowStart::by_bucket(latest), WindowStart::exact(latest));
    let (mut before, mut last) = (None, None);
    for &id in ids {
        let packed = Some(u128::from_le_bytes(id));
        Malformed::unless(before < packed, "remembered ids are sorted")?;
        before = packed;
        let r = SeenEntry::of_bytes(id);
        Malformed::unless(r.is_younger_than(kept), "remembered ids lie within the dedup window")?;
        if r.is_younger_than(exact) {
            Malformed::unless(
                last != Some(r.id),
                "an id is accepted once within the dedup window",
            )?;
            last = Some(r.id);
        }
        each(r)?;
    }
    Ok(())
}

impl Tables {
    fn new(tables: usize) -> Self {
        let tables = (0..tables).map(|_| HashTable::new()).collect();
        Self { tables, by_bucket: BTreeMap::new(), counted: 0, frozen: None }
    }

    /// [`TABLES`] empty tables, to be [loaded](Self::load).
    pub(super) fn many() -> Self {
        Self::new(TABLES)
    }

    /// Whether there are [`TABLES`] tables, which are stored one by one.
    pub(super) fn are_many(&self) -> bool {
        self.tables.len() == TABLES
    }

    /// Loads the table cells of an id into the cache, by a lookup whose result is discarded.
    #[inline]
    pub fn prefetch(&self, id: EntryId) {
        let id = SeenEntry::fingerprint(id);
        std::hint::black_box(self.table(id).find(id, |_| true));
    }

    fn place(&self, id: u64) -> usize {
        (id >> 32) as usize % self.tables.len()
    }

    fn table(&self, id: u64) -> &HashTable<SeenEntry> {
        &self.tables[self.place(id)]
    }

    /// The table at `place`, to be changed.
    #[inline]
    fn table_mut(&mut self, place: usize) -> &mut HashTable<SeenEntry> {
        let Self { tables, frozen, .. } = self;
        if let Some(frozen) = frozen
            && frozen.needs(place)
        {
            frozen.set_aside.insert(place, tables[place].clone());
        }
        &mut tables[place]
    }

    fn remember(&mut self, entry: SeenEntry, before: Millis, latest: Millis) {
        if forgets_all(before, latest) {
            self.clear();
        }
        let passed = latest.bucket() - before.bucket();
        for bucket in (0..passed.min(SWEEP_BUCKETS)).map(|back| latest.bucket() - back) {
            let place = (bucket % SWEEP_BUCKETS) as usize;
            if place < self.tables.len() {
                self.sweep(place, latest);
            }
        }
        self.insert(entry, latest);
    }

    fn clear(&mut self) {
        let Self { tables, by_bucket, counted, frozen } = self;
        for (place, table) in tables.iter_mut().enumerate() {
            match frozen {
                Some(frozen) if frozen.needs(place) => {
                    frozen.set_aside.insert(place, std::mem::take(table));
                }
                _ => table.clear(),
            }
        }
        by_bucket.clear();
        *counted = 0;
    }

    fn sweep(&mut self, place: usize, latest: Millis) {
        let window_start = WindowStart::by_bucket(latest);
        self.table_mut(place).retain(|r| r.is_younger_than(window_start));
        let first = first_bucket(latest);
        while self.by_bucket.first_key_value().is_some_and(|(&bucket, _)| bucket < first) {
            self.counted -= self.by_bucket.pop_first().map_or(0, |(_, count)| count as usize);
        }
    }

    fn insert(&mut self, entry: SeenEntry, latest: Millis) {
        let place = self.place(entry.id);
        if self.tables[place].len() == self.tables[place].capacity() {
            self.sweep(place, latest);
        }
        self.table_mut(place).insert_unique(entry.id, entry, |r| r.id);
        if self.are_many() {
            *self.by_bucket.entry(entry.at(latest).bucket()).or_default() += 1;
            self.counted += 1;
        } else if self.tables[0].len() > MAX_IDS_IN_ONE_TABLE {
            // Only ids in the window count, so that equal users spread at the same entry.
            self.sweep(0, latest);
            if self.tables[0].len() > MAX_IDS_IN_ONE_TABLE {
                self.spread(latest);
            }
        }
    }

    fn spread(&mut self, latest: Millis) {
        let one =
            std::mem::replace(&mut self.tables, (0..TABLES).map(|_| HashTable::new()).collect());
        for entry in one.into_iter().flatten() {
            self.insert(entry, latest);
        }
    }

    /// Freezes the state of this moment, to be stored while entries are booked. `latest` is the
    /// user's latest booking time.
    pub(super) fn freeze(&mut self, latest: Millis) {
        assert!(self.are_many(), "a single table is stored within the image");
        self.frozen = Some(Box::new(Frozen { latest, stored: 0, set_aside: BTreeMap::new() }));
    }

    /// Ends what [`Self::freeze`] began, also before all tables are stored.
    pub(super) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Appends the piece of the next table of the frozen state. Returns the number of cells that
    /// were visited.
    pub(super) fn store_next(&mut self, out: &mut Vec<u8>) -> usize {
        let Self { tables, frozen, .. } = self;
        let frozen = frozen.as_mut().expect("a state is frozen before its tables are stored");
        let place = frozen.stored;
        frozen.stored += 1;
        let former = frozen.set_aside.remove(&place);
        let table = former.as_ref().unwrap_or(&tables[place]);
        store_piece(table, frozen.latest, out);
        table.capacity()
    }

    /// Appends the piece of the table at `place`, in the format of [`super::image`].
    pub(super) fn store(&self, place: usize, latest: Millis, out: &mut Vec<u8>) {
        store_piece(&self.tables[place], latest, out);
    }

    /// Reads and validates the piece at the start of `bytes` into the table at `place`, which is
    /// empty. Returns the length of the piece.
    pub(super) fn load(
        &mut self,
        place: usize,
        bytes: &[u8],
        latest: Millis,
    ) -> Result<usize, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let count = u32::from_le_bytes(cursor.array()?) as usize;
        let fits = self.counted.checked_add(count).is_some_and(|all| all <= RECENT_PER_USER);
        Malformed::unless(fits, "a user has no more remembered ids than the limit")?;
        let (ids, _) = cursor.take(count * SEEN_ENTRY_BYTES)?.as_chunks();
        self.tables[place] = HashTable::with_capacity(count);
        check_ids(ids, latest, |entry| {
            let belongs = self.place(entry.id) == place;
            Malformed::unless(belongs, "a remembered id is in the table of its fingerprint")?;
            self.insert(entry, latest);
            Ok(())
        })?;
        Ok(cursor.at())
    }

    /// Number of ids in the window. Maintained once there are [`TABLES`] tables.
    pub(super) const fn counted(&self) -> usize {
        self.counted
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        /// Size of a B-tree of up to a hundred buckets, and of the list of tables.
        const COUNTS_BYTES: usize = 2_048 + TABLES * size_of::<HashTable<SeenEntry>>();
        let set_aside = self.frozen.iter().flat_map(|frozen| frozen.set_aside.values());
        let tables = self.tables.iter().chain(set_aside);
        let bytes = tables.map(|table| block_bytes(table.allocation_size())).sum::<usize>();
        bytes + if self.are_many() { COUNTS_BYTES } else { 0 }
    }
}

/// Appends the number of a table's kept ids, then the ids.
fn store_piece(table: &HashTable<SeenEntry>, latest: Millis, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; COUNT_BYTES]);
    store_table(table, latest, out);
    let count = ((out.len() - start - COUNT_BYTES) / SEEN_ENTRY_BYTES) as u32;
    out[start..start + COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Appends the kept ids of a table, sorted by a counting sort into bins. Fingerprints are spread
/// evenly, so their range is divided into as many bins as there are ids. Ids are counted per bin
/// and written from the start of their bin on, and an insertion sort puts the few that are out of
/// order in place. The counts are temporarily stored after the ids in `out`. Ids that were chosen
/// to crowd into few bins are sorted by comparison instead.
fn store_table(table: &HashTable<SeenEntry>, latest: Millis, out: &mut Vec<u8>) {
    let window_start = WindowStart::by_bucket(latest);
    let kept = || table.iter().filter(|r| r.is_younger_than(window_start));
    let most = table.len();
    let bin = |r: &SeenEntry| ((u128::from(r.id) * most as u128) >> 64) as usize;
    let start = out.len();
    out.resize(start + most * (SEEN_ENTRY_BYTES + size_of::<u32>()), 0);
    let (ids, counts) = out[start..].split_at_mut(most * SEEN_ENTRY_BYTES);
    let (ids, counts) = (ids.as_chunks_mut().0, counts.as_chunks_mut().0);
    kept().for_each(|r| {
        count(&mut counts[bin(r)]);
    });
    let (mut total, mut largest) = (0u32, 0);
    for number in &mut *counts {
        let here = u32::from_le_bytes(*number);
        *number = total.to_le_bytes();
        total += here;
        largest = largest.max(here);
    }
    kept().for_each(|r| ids[count(&mut counts[bin(r)]) as usize] = r.to_bytes());
    let total = total as usize;
    if largest > LARGEST_BIN {
        ids[..total].sort_unstable_by_key(|&id| u128::from_le_bytes(id));
    } else {
        sort_nearly_sorted(&mut ids[..total]);
    }
    out.truncate(start + total * SEEN_ENTRY_BYTES);
}

/// Increments a count stored as little-endian bytes. Returns the value before.
fn count(number: &mut [u8; size_of::<u32>()]) -> u32 {
    let before = u32::from_le_bytes(*number);
    *number = (before + 1).to_le_bytes();
    before
}

/// Insertion sort, for ids that are almost sorted: its time grows with the number of inversions.
fn sort_nearly_sorted(ids: &mut [[u8; SEEN_ENTRY_BYTES]]) {
    for last in 1..ids.len() {
        let mut place = last;
        while place > 0 && u128::from_le_bytes(ids[place - 1]) > u128::from_le_bytes(ids[place]) {
            ids.swap(place - 1, place);
            place -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::Movement;
    use crate::ledger::id::UserId;

    fn entry(action: Action<'static>, at: u64) -> EntryRef<'static> {
        EntryRef { id: EntryId(7), user: UserId(1), at: Millis(at), action }
    }

    fn movement(
        currency: &str,
        kind: &'static str,
        direction: Direction,
        amount: i64,
    ) -> Movement<'static> {
        Movement {
            currency: Currency::parse(currency.as_bytes()).unwrap(),
            kind,
            direction,
            amount: Amount::new(amount).unwrap(),
        }
    }

    /// Entries that differ in one field each.
    fn different() -> Vec<EntryRef<'static>> {
        let (credit, debit) = (Direction::Credit, Direction::Debit);
        let (settle, amount) = (EntryId(1 << 70 | 5), Amount::new(0).unwrap());
        vec![
            entry(Action::Post(movement("COIN", "gift", credit, 5)), 1_000),
            entry(Action::Post(movement("COIN", "gift", credit, 5)), 1_001),
            entry(Action::Post(movement("COIN", "gift", credit, 6)), 1_000),
            entry(Action::Post(movement("COIN", "gift", debit, 5)), 1_000),
            entry(Action::Post(movement("COIN", "gifts", credit, 5)), 1_000),
            entry(Action::Post(movement("COINS", "gift", credit, 5)), 1_000),
            entry(Action::Hold(movement("COIN", "gift", credit, 5)), 1_000),
            entry(Action::Settle { hold: settle, amount }, 1_000),
            entry(Action::Settle { hold: EntryId(settle.0 + 1), amount }, 1_000),
            entry(Action::Void { hold: settle }, 1_000),
        ]
    }

    #[test]
    fn every_field_changes_the_fingerprint() {
        let mut seen: Vec<_> = different().iter().map(fields).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), different().len());
    }

    /// `count` different entries of the last two days, with ids distributed by `spread`.
    fn remembered(count: usize, latest: Millis, spread: fn(u64) -> u64) -> Vec<SeenEntry> {
        let drawn = |n: usize, part| xxh3_64(&[n as u64, part].map(u64::to_le_bytes).concat());
        let one = |n| SeenEntry {
            id: spread(drawn(n, 0)),
            fields: drawn(n, 1) as u32,
            at_low: (latest.0 - drawn(n, 2) % (2 * DEDUP_WINDOW_MS)) as u32,
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn ids_are_stored_sorted_whatever_their_distribution() {
        const SHARED: u64 = 0xff_ffff << 40;
        const STEP: u64 = u64::MAX / 4_000;
        let evenly: fn(u64) -> u64 = |id| id;
        let in_the_first_bin = |id| id & !SHARED;
        let in_the_last_bin = |id| id | SHARED;
        let some_in_one_bin = |id| if id % 64 == 0 { id & !SHARED } else { id };
        let in_clusters = |id| id / STEP * STEP + id % 1_000;
        let of_few_values = |id| id % 3;
        let latest = Millis(1_763_900_000_000);
        for spread in
            [evenly, in_the_first_bin, in_the_last_bin, some_in_one_bin, in_clusters, of_few_values]
        {
            for count in [
                0,
                1,
                2,
                MAX_LISTED_IDS + 1,
                100,
                MAX_IDS_IN_ONE_TABLE,
                MAX_IDS_IN_ONE_TABLE + 1,
                30_000,
            ] {
                let ids = remembered(count, latest, spread);
                let mut tables = Tables::new(if count > MAX_IDS_IN_ONE_TABLE { TABLES } else { 1 });
                ids.iter().for_each(|&r| tables.insert(r, latest));
                let kept = ids.iter().filter(|r| r.is_younger_than(WindowStart::by_bucket(latest)));
                let mut sorted: Vec<_> = kept.map(|r| u128::from_le_bytes(r.to_bytes())).collect();
                sorted.sort_unstable();
                let mut out = b"before".to_vec();
                for table in &tables.tables {
                    store_table(table, latest, &mut out);
                }
                // The ids of each table are sorted.
                sorted.sort_by_key(|&id| tables.place((id >> 64) as u64));
                let expected = sorted.into_iter().flat_map(u128::to_le_bytes);
                assert!(
                    out.into_iter().eq(b"before".iter().copied().chain(expected)),
                    "{count} ids"
                );
            }
        }
    }

    #[test]
    fn fingerprints_are_pinned() {
        let kept: Vec<_> = different().iter().map(|e| SeenEntry::of(e).fields).collect();
        assert_eq!((xxh3_64(&7u128.to_le_bytes()), &kept[..]), PINNED);
    }

    const PINNED: (u64, &[u32]) = (
        5_175_499_747_093_961_662,
        &[
            1_321_274_854,
            3_726_361_073,
            2_354_754_775,
            2_342_085_592,
            1_349_196_522,
            3_055_346_407,
            3_312_533_938,
            3_336_132_644,
            598_593_751,
            2_347_842_062,
        ],
    );
}
