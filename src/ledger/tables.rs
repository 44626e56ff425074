//! Remembered ids of a user with many of them: hash tables by extendible hashing (R. Fagin et al.,
//! 1979), which grow one table at a time.
//!
//! The leading bits of an id's placement select a table through a directory. A full table first
//! forgets the ids before the dedup window, and is split in two if it stays full. So no entry moves
//! more than [`MAX_TABLE_IDS`] ids, however many there are; only memory limits their number.
//!
//! A placement is a hash of the id's fingerprint with a secret of the process ([`Secret`]): ids
//! that were chosen to share a fingerprint's bits are spread like all others.
//!
//! The ids of a user with several tables are stored table by table, as *pieces*, while entries of
//! that user are booked. Stored is the state of one moment ([`Tables::freeze`]): a table that
//! changes before it is stored is set aside first (copy on write).

use super::cursor::{Cursor, Malformed};
use super::fingerprint::{SEEN_ENTRY_BYTES, SeenEntry};
use super::id::EntryId;
use super::memory::block_bytes;
use super::secret::Secret;
use super::time::Millis;
use super::window::{DedupWindow, check_ids};
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Maximum number of ids of a table: those of a `hashbrown` table with 4,096 cells.
pub(super) const MAX_TABLE_IDS: usize = 3_584;
/// A table that has at most this many ids after it has forgotten some is not split.
const SPARSE_IDS: usize = MAX_TABLE_IDS * 3 / 4;
/// Number of ids of a piece: u32 LE.
pub(super) const COUNT_BYTES: usize = size_of::<u32>();
/// Upper bound of a piece, in bytes.
pub const MAX_PIECE_BYTES: usize = COUNT_BYTES + MAX_TABLE_IDS * SEEN_ENTRY_BYTES;
/// Largest bin for which [`store_table`] uses insertion sort. With evenly spread ids, one per bin
/// on average, one bin in 10¹⁵ is larger.
const LARGEST_BIN: u32 = 16;
/// Each table is swept once in this many 15-minute buckets of the user's time.
const SWEEP_BUCKETS: u64 = 64;
/// Tables that an entry sweeps at least, and the fraction of them that it sweeps at most. Within
/// 20 entries, which are at most 20 days of the user's time, every table is swept that is due.
const SWEEP_TABLES: usize = 4;
const SWEEP_FRACTION: usize = 20;
/// Leading bits of a placement that select no table: `hashbrown` compares them within one.
const TAG_BITS: u32 = 8;

/// The ids of a user with many of them.
#[derive(Debug)]
pub struct Tables {
    tables: SmallVec<[Table; 1]>,
    /// Number of the table for each value of the selecting bits; empty if there is one table.
    directory: Vec<u32>,
    secret: Secret,
    /// The table that is swept next.
    next_swept: usize,
    /// Tables due to be swept, times [`SWEEP_BUCKETS`].
    due: u64,
    /// The state that is being stored.
    frozen: Option<Box<Frozen>>,
}

#[derive(Debug, Default)]
struct Table {
    ids: HashTable<SeenEntry>,
    /// Number of selecting bits that all its ids share.
    depth: u32,
}

/// State of several tables at one moment, while they are stored in order.
#[derive(Debug)]
struct Frozen {
    /// The dedup window at that moment.
    window: DedupWindow,
    /// Number of tables at that moment.
    tables: usize,
    /// Number of tables that are stored.
    stored: usize,
    /// Former contents of tables that changed before they were stored, by number.
    set_aside: BTreeMap<usize, HashTable<SeenEntry>>,
}

impl Frozen {
    /// Whether a table must be set aside before it changes.
    fn needs(&self, number: usize) -> bool {
        (self.stored..self.tables).contains(&number) && !self.set_aside.contains_key(&number)
    }
}

impl Tables {
    /// One empty table.
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            tables: SmallVec::from_iter([Table::default()]),
            directory: Vec::new(),
            secret,
            next_swept: 0,
            due: 0,
            frozen: None,
        }
    }

    /// Number of tables, if they are stored one by one: several.
    pub(super) fn pieces(&self) -> usize {
        if self.tables.len() > 1 { self.tables.len() } else { 0 }
    }

    /// Number of ids, with those that are no longer remembered.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(|table| table.ids.len()).sum()
    }

    /// Finds an id by its fingerprint.
    #[inline]
    pub(super) fn find(&self, id: u64, window: &DedupWindow) -> Option<SeenEntry> {
        let placement = self.secret.mix(id);
        let ids = &self.tables[self.number(placement)].ids;
        ids.find(placement, |seen| seen.id == id && window.has(seen)).copied()
    }

    /// Loads the table cells of an id into the cache, by a lookup whose result is discarded.
    #[inline]
    pub fn prefetch(&self, id: EntryId) {
        let placement = self.secret.mix(SeenEntry::fingerprint(id));
        let ids = &self.tables[self.number(placement)].ids;
        std::hint::black_box(ids.find(placement, |_| true));
    }

    /// Number of the table where a placement belongs.
    #[inline]
    fn number(&self, placement: u64) -> usize {
        if self.directory.is_empty() { 0 } else { self.directory[self.entry(placement)] as usize }
    }

    /// Index of a placement's entry in the directory, which must not be empty.
    #[inline]
    fn entry(&self, placement: u64) -> usize {
        let bits = self.directory.len().trailing_zeros();
        (placement << TAG_BITS >> (u64::BITS - bits)) as usize
    }

    /// A table to be changed.
    #[inline]
    fn table_mut(&mut self, number: usize) -> &mut HashTable<SeenEntry> {
        let Self { tables, frozen, .. } = self;
        let ids = &mut tables[number].ids;
        if let Some(frozen) = frozen
            && frozen.needs(number)
        {
            frozen.set_aside.insert(number, ids.clone());
        }
        ids
    }

    /// Remembers an id. `before` is the user's latest booking time before it, `window` the dedup
    /// window after it.
    pub(super) fn remember(&mut self, entry: SeenEntry, before: Millis, window: &DedupWindow) {
        if window.has_none_of(before) {
            self.clear();
        }
        let passed = window.latest.bucket() - before.bucket();
        if passed > 0 {
            self.sweep_some(u64::from(passed), window);
        }
        self.insert(entry, window);
    }

    /// Forgets all ids.
    fn clear(&mut self) {
        let tables = std::mem::replace(&mut self.tables, SmallVec::from_iter([Table::default()]));
        if let Some(frozen) = &mut self.frozen {
            for (number, table) in tables.into_iter().enumerate() {
                if frozen.needs(number) {
                    frozen.set_aside.insert(number, table.ids);
                }
            }
        }
        (self.directory, self.next_swept, self.due) = (Vec::new(), 0, 0);
    }

    /// Sweeps the tables that are due after `passed` buckets of the user's time, or some of them.
    #[cold]
    fn sweep_some(&mut self, passed: u64, window: &DedupWindow) {
        let tables = self.tables.len();
        let most = tables as u64 * SWEEP_BUCKETS;
        self.due = self.due.saturating_add(passed.saturating_mul(tables as u64)).min(most);
        let due = (self.due / SWEEP_BUCKETS) as usize;
        let now = due.min(SWEEP_TABLES.max(tables / SWEEP_FRACTION));
        for _ in 0..now {
            self.next_swept = (self.next_swept + 1) % tables;
            self.sweep(self.next_swept, window);
        }
        self.due -= now as u64 * SWEEP_BUCKETS;
    }

    /// Removes the ids of a table that are no longer remembered.
    fn sweep(&mut self, number: usize, window: &DedupWindow) {
        let ids = self.table_mut(number);
        ids.retain(|seen| window.has(seen));
        if ids.is_empty() {
            *ids = HashTable::new();
        }
    }

    /// Adds an id, which must not be there.
    pub(super) fn insert(&mut self, entry: SeenEntry, window: &DedupWindow) {
        let secret = self.secret;
        let placement = secret.mix(entry.id);
        let mut number = self.number(placement);
        while self.tables[number].ids.len() >= MAX_TABLE_IDS {
            self.sweep(number, window);
            if self.tables[number].ids.len() > SPARSE_IDS {
                self.split(number, placement);
                number = self.number(placement);
            }
        }
        self.table_mut(number).insert_unique(placement, entry, |seen| secret.mix(seen.id));
    }

    /// Splits the table of `placement` in two by one more bit. Doubles the directory first if it
    /// has no bit left to tell the halves apart.
    #[cold]
    fn split(&mut self, number: usize, placement: u64) {
        let (secret, depth) = (self.secret, self.tables[number].depth);
        if self.directory.is_empty() {
            self.directory = vec![0, 0];
        } else if 1 << depth == self.directory.len() {
            self.directory = self.directory.iter().flat_map(|&number| [number, number]).collect();
        }
        let old = std::mem::take(self.table_mut(number));
        let half = || HashTable::with_capacity(old.len() / 2);
        let mut halves = [half(), half()];
        for seen in old {
            let placement = secret.mix(seen.id);
            let is_later = placement << (TAG_BITS + depth) >> (u64::BITS - 1);
            halves[is_later as usize].insert_unique(placement, seen, |seen| secret.mix(seen.id));
        }
        let later = self.tables.len() as u32;
        let [earlier_ids, later_ids] = halves;
        self.tables[number] = Table { ids: earlier_ids, depth: depth + 1 };
        self.tables.push(Table { ids: later_ids, depth: depth + 1 });
        // The directory entries of the old table are contiguous; the upper half of them now points
        // to the new table.
        let shared = self.directory.len() >> depth;
        let first = self.entry(placement) & !(shared - 1);
        self.directory[first + shared / 2..first + shared].fill(later);
    }

    /// Freezes the state of this moment, to be stored while entries are booked.
    pub(super) fn freeze(&mut self, window: DedupWindow) {
        let (tables, stored, set_aside) = (self.tables.len(), 0, BTreeMap::new());
        self.frozen = Some(Box::new(Frozen { window, tables, stored, set_aside }));
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
        let number = frozen.stored;
        frozen.stored += 1;
        let former = frozen.set_aside.remove(&number);
        let table = former.as_ref().unwrap_or_else(|| &tables[number].ids);
        store_piece(table, &frozen.window, out);
        table.capacity()
    }

    /// Appends the piece of a table, in the format of [`super::image`].
    pub(super) fn store(&self, number: usize, window: &DedupWindow, out: &mut Vec<u8>) {
        store_piece(&self.tables[number].ids, window, out);
    }

    /// Appends the remembered ids of the only table, sorted. With several tables it appends
    /// nothing.
    pub(super) fn store_only(&self, window: &DedupWindow, out: &mut Vec<u8>) {
        if let [only] = &self.tables[..] {
            store_table(&only.ids, window, out);
        }
    }

    /// Reads and validates the piece at the start of `bytes`. Returns its length.
    pub(super) fn load(&mut self, bytes: &[u8], window: &DedupWindow) -> Result<usize, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let count = u32::from_le_bytes(cursor.array()?) as usize;
        let fits = count <= MAX_TABLE_IDS;
        Malformed::unless(fits, "a piece has no more remembered ids than a table holds")?;
        let (ids, _) = cursor.take(count * SEEN_ENTRY_BYTES)?.as_chunks();
        check_ids(ids, window, |seen| {
            let is_new = self.find(seen.id, window).is_none();
            Malformed::unless(is_new, "a remembered id is stored once")?;
            self.insert(seen, window);
            Ok(())
        })?;
        Ok(cursor.at())
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let set_aside = self.frozen.iter().flat_map(|frozen| frozen.set_aside.values());
        let tables = self.tables.iter().map(|table| &table.ids).chain(set_aside);
        let bytes = tables.map(|ids| block_bytes(ids.allocation_size())).sum::<usize>();
        let spilled = if self.tables.spilled() { self.tables.capacity() } else { 0 };
        bytes + spilled * size_of::<Table>() + self.directory.capacity() * size_of::<u32>()
    }
}

/// Appends the number of a table's remembered ids, then the ids.
fn store_piece(table: &HashTable<SeenEntry>, window: &DedupWindow, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; COUNT_BYTES]);
    store_table(table, window, out);
    let count = ((out.len() - start - COUNT_BYTES) / SEEN_ENTRY_BYTES) as u32;
    out[start..start + COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
}

/// Appends the remembered ids of a table, sorted by a counting sort into bins. Fingerprints are
/// spread evenly, so their range is divided into as many bins as there are ids. Ids are counted per
/// bin and written from the start of their bin on, and an insertion sort puts the few that are out
/// of order in place. The counts are temporarily stored after the ids in `out`. Ids that were
/// chosen to crowd into few bins are sorted by comparison instead.
fn store_table(table: &HashTable<SeenEntry>, window: &DedupWindow, out: &mut Vec<u8>) {
    let kept = || table.iter().filter(|r| window.has(r));
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
    use crate::ledger::DEDUP_WINDOW_MS;
    use crate::ledger::time::{BUCKET_MS, HOUR_MS};
    use crate::ledger::window::Restarts;
    use xxhash_rust::xxh3::xxh3_64;

    const LATEST: Millis = Millis(1_763_900_000_000);

    fn drawn(n: u64, part: u64) -> u64 {
        xxh3_64(&[n, part].map(u64::to_le_bytes).concat())
    }

    fn window(latest: Millis) -> DedupWindow {
        DedupWindow::of(latest, Restarts::default())
    }

    fn seen(n: u64, latest: Millis) -> SeenEntry {
        let (id, fields) = (drawn(n, 0), drawn(n, 1) as u32);
        SeenEntry { id, fields, latest_low: 0 }.accepted(latest)
    }

    /// `count` different entries of the last two days, with ids distributed by `spread`.
    fn remembered(count: u64, spread: fn(u64) -> u64) -> Vec<SeenEntry> {
        let one = |n| {
            let seen = seen(n, Millis(LATEST.0 - drawn(n, 2) % (2 * DEDUP_WINDOW_MS)));
            SeenEntry { id: spread(seen.id), ..seen }
        };
        (0..count).map(one).collect()
    }

    /// All pieces, read back.
    fn stored(tables: &Tables, window: &DedupWindow) -> Vec<SeenEntry> {
        let mut all = Vec::new();
        for number in 0..tables.tables.len() {
            let mut piece = Vec::new();
            tables.store(number, window, &mut piece);
            assert!(piece.len() <= MAX_PIECE_BYTES);
            let (ids, rest) = piece[COUNT_BYTES..].as_chunks();
            assert!(rest.is_empty());
            let ids: Vec<_> = ids.iter().map(|&id| SeenEntry::of_bytes(id)).collect();
            let is_sorted = ids.is_sorted_by_key(|seen| u128::from_le_bytes(seen.to_bytes()));
            assert!(is_sorted, "the ids of a piece are sorted");
            all.extend(ids);
        }
        all.sort_by_key(|seen| u128::from_le_bytes(seen.to_bytes()));
        all
    }

    #[test]
    fn ids_are_stored_whatever_their_distribution() {
        const SHARED: u64 = 0xff_ffff << 40;
        const STEP: u64 = u64::MAX / 4_000;
        let evenly: fn(u64) -> u64 = |id| id;
        let in_the_first_bin = |id: u64| id & !SHARED;
        let in_the_last_bin = |id| id | SHARED;
        let some_in_one_bin = |id| if id % 64 == 0 { id & !SHARED } else { id };
        let in_clusters = |id| id / STEP * STEP + id % (1 << 24);
        for spread in [evenly, in_the_first_bin, in_the_last_bin, some_in_one_bin, in_clusters] {
            for count in [0, 1, 2, 100, MAX_TABLE_IDS as u64, 8_000, 60_000] {
                let (ids, window) = (remembered(count, spread), window(LATEST));
                let mut tables = Tables::new(Secret::default());
                ids.iter().for_each(|&seen| tables.insert(seen, &window));
                assert!(tables.tables.iter().all(|table| table.ids.len() <= MAX_TABLE_IDS));
                let mut kept: Vec<_> =
                    ids.iter().copied().filter(|seen| window.has(seen)).collect();
                kept.sort_by_key(|seen| u128::from_le_bytes(seen.to_bytes()));
                assert_eq!(stored(&tables, &window), kept, "{count} ids");
                assert!(kept.iter().all(|seen| tables.find(seen.id, &window).is_some()));
                let mut loaded = Tables::new(Secret::default());
                for number in 0..tables.tables.len() {
                    let mut piece = Vec::new();
                    tables.store(number, &window, &mut piece);
                    assert_eq!(loaded.load(&piece, &window), Ok(piece.len()), "{count} ids");
                    let again = loaded.load(&piece, &window);
                    assert_eq!(again.is_err(), piece.len() > COUNT_BYTES, "an id is stored once");
                }
                assert_eq!(stored(&loaded, &window), kept);
            }
        }
    }

    /// A plain list of everything accepted, to compare with.
    #[test]
    fn ids_are_remembered_as_long_as_the_window_has_them_however_time_passes() {
        let steps: [fn(u64) -> u64; 4] = [
            |n| drawn(n, 3) % 20_000,
            |n| if n % 3_000 == 0 { 23 * HOUR_MS } else { drawn(n, 3) % 3_000 },
            |n| if n % 9_000 == 0 { 25 * HOUR_MS } else { drawn(n, 3) % 1_000 },
            |n| if n < 20_000 { 0 } else { 23 * HOUR_MS + drawn(n, 3) % BUCKET_MS },
        ];
        for (number, step) in steps.into_iter().enumerate() {
            let (mut tables, mut latest) = (Tables::new(Secret::default()), LATEST);
            let mut accepted = Vec::new();
            for n in 0..30_000 {
                let before = latest;
                latest = Millis(latest.0 + step(n));
                let (window, entry) = (window(latest), seen(n, latest));
                tables.remember(entry, before, &window);
                accepted.push((latest, entry));
                if n % 997 == 0 {
                    for (at, entry) in &accepted {
                        let is_kept = latest.0 - at.0 <= DEDUP_WINDOW_MS;
                        let found = tables.find(entry.id, &window);
                        assert_eq!(found.is_some(), is_kept, "steps {number}, entry {n}");
                    }
                }
            }
            // Memory follows what is remembered.
            let kept = accepted.iter().filter(|(at, _)| latest.0 - at.0 <= DEDUP_WINDOW_MS);
            let most = (kept.count() + 4 * MAX_TABLE_IDS) * 64;
            assert!(tables.heap_bytes() < most, "steps {number}: {} bytes", tables.heap_bytes());
        }
    }

    #[test]
    fn a_frozen_state_is_stored_while_ids_are_added_and_forgotten() {
        for jump_ms in [0, 23 * HOUR_MS, 25 * HOUR_MS] {
            let (mut tables, before) = (Tables::new(Secret::default()), window(LATEST));
            (0..20_000).for_each(|n| tables.insert(seen(n, LATEST), &before));
            let expected = stored(&tables, &before);
            let pieces = tables.pieces();
            tables.freeze(before);
            let (mut all, mut n) = (Vec::new(), 20_000);
            let mut latest = LATEST;
            for piece in 0..pieces {
                let mut bytes = Vec::new();
                tables.store_next(&mut bytes);
                all.extend(bytes[COUNT_BYTES..].as_chunks().0.iter().copied());
                let passed = if piece == 2 { jump_ms } else { 1_000 };
                for _ in 0..3_000 {
                    let before = latest;
                    latest = Millis(latest.0 + passed / 3_000);
                    tables.remember(seen(n, latest), before, &window(latest));
                    n += 1;
                }
            }
            tables.thaw();
            let mut all: Vec<_> = all.into_iter().map(SeenEntry::of_bytes).collect();
            all.sort_by_key(|seen| u128::from_le_bytes(seen.to_bytes()));
            assert_eq!(all, expected, "a jump of {jump_ms} ms");
        }
    }

    /// The id with this fingerprint: the inverse of XXH3 for 16 bytes whose first half cancels what
    /// the hash mixes in, so that the product of both halves is 0.
    fn with_fingerprint(fingerprint: u64) -> EntryId {
        const LOW: u64 = 0x1f67_b3b7_a4a4_4072 ^ 0x78e5_c0cc_4ee6_79cb;
        const HIGH: u64 = 0x2172_ffcc_7dd0_5a82 ^ 0x8e24_43f7_7446_08b8;
        // The inverse of 0x165667919e3779f9, the factor of the last step.
        const INVERSE: u64 = 0x08da_8ee4_1d6d_f849;
        let mut hash = fingerprint ^ fingerprint >> 32;
        hash = hash.wrapping_mul(INVERSE);
        hash ^= hash >> 37;
        let high = hash.wrapping_sub(16) ^ HIGH;
        EntryId(u128::from(high) << 64 | u128::from(LOW))
    }

    /// The time of a lookup among these ids, in nanoseconds: the least of several rounds.
    fn lookup_ns(fingerprints: impl Iterator<Item = u64>, secret: Secret) -> f64 {
        let window = window(LATEST);
        let mut tables = Tables::new(secret);
        let ids: Vec<_> = fingerprints.map(with_fingerprint).collect();
        for &id in &ids {
            let id = SeenEntry::fingerprint(id);
            tables.insert(SeenEntry { id, fields: 0, latest_low: 0 }.accepted(LATEST), &window);
        }
        let round = || {
            let start = std::time::Instant::now();
            let found = ids
                .iter()
                .filter(|&&id| tables.find(SeenEntry::fingerprint(id), &window).is_some());
            assert_eq!(found.count(), ids.len());
            start.elapsed().as_nanos() as f64 / ids.len() as f64
        };
        (0..15).map(|_| round()).fold(f64::MAX, f64::min)
    }

    /// Ids that share the bits by which a table is selected, a cell in it, and a tag beside it, are
    /// found about as fast as others. Without a secret, they take some hundred times as long.
    #[test]
    fn chosen_ids_are_found_as_fast_as_others() {
        const IDS: u64 = 20_000;
        assert_eq!(
            SeenEntry::fingerprint(with_fingerprint(0x0123_4567_89ab_cdef)),
            0x0123_4567_89ab_cdef
        );
        let secret = Secret::of([0x5151_1e0b_9a3c_77d1, 0xe220_a839_7b1d_cdaf]);
        let others = lookup_ns((0..IDS).map(|n| drawn(n, 0)), secret);
        let chosen = lookup_ns((0..IDS).map(|n| 0xabc0_0000_0012_3456 | n << 24), secret);
        assert!(chosen < 2.0 * others, "{chosen} ns a lookup, {others} ns of other ids");
    }
}
