//! Packed blocks of counter rows: totals of one user's groups per time bucket, in few bytes.
//!
//! ```text
//! block = base: u32 LE | tail: u16 LE | row …
//! row   = bucket − base: varint | group: u8 | tally
//! tally = count: varint | sum: varint | min: varint, max − min: varint if count > 1
//! ```
//!
//! Rows are sorted by (bucket, group), with one row per pair. `base` is the first row's bucket.
//! `tail` is the offset of the newest bucket's rows, so that booking at the end takes the same time
//! however full the block is. A row merged to an hour or a day has the first 15-minute bucket of
//! that hour or day. Amounts are never negative, so all integers are unsigned.
//!
//! By hand for the memory: with ten entries a user, a vector of unpacked rows takes 553 bytes a
//! user, a block 80. Booking takes about as long, reading a week 2.5 times as long
//! (`benches/runs/2026-11-30-by-hand.md`).
//!
//! Snapshots store these bytes unchanged ([`super::image`]), so the packing is an on-disk format
//! and never changes. [`check`] validates untrusted blocks; all other functions need valid ones.

use super::cursor::{Cursor, Malformed};
use super::packed::Bytes;
use super::time::Bucket;
use super::varint;
use std::cmp::Ordering;

/// A packed block: empty, or a header and at least one row.
pub type Block = Vec<u8>;

const HEADER_BYTES: usize = 6;
/// Upper bound of a packed row: offset, group and four integers.
const ROW_BYTES: usize = 1 + 5 * varint::MAX_BYTES;

/// Count, sum, minimum and maximum of posted amounts, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Number of amounts.
    pub count: u64,
    /// Sum.
    pub sum: i64,
    /// Minimum; [`i64::MAX`] if there are no amounts.
    pub min: i64,
    /// Maximum; 0 if there are no amounts.
    pub max: i64,
}

impl Tally {
    /// Tally of no amounts.
    pub const EMPTY: Self = Self { count: 0, sum: 0, min: i64::MAX, max: 0 };

    /// Tally of one amount, which must not be negative.
    pub const fn of(amount: i64) -> Self {
        Self { count: 1, sum: amount, min: amount, max: amount }
    }

    /// Sum of two tallies; `None` if the count or the sum overflows.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            count: self.count.checked_add(other.count)?,
            sum: self.sum.checked_add(other.sum)?,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        })
    }

    /// Adds `other`. Must not overflow: only for tallies that are part of a lifetime tally.
    pub(super) fn add(&mut self, other: Self) {
        *self =
            self.checked_add(other).expect("the sum of rows is at most their group's lifetime sum");
    }

    pub(super) fn put(&self, out: &mut [u8], at: &mut usize) {
        varint::put(out, at, self.count);
        varint::put(out, at, self.sum.cast_unsigned());
        if self.count > 1 {
            varint::put(out, at, self.min.cast_unsigned());
            varint::put(out, at, (self.max - self.min).cast_unsigned());
        }
    }

    #[inline]
    pub(super) fn get(bytes: &[u8], at: &mut usize) -> Self {
        let count = varint::get(bytes, at);
        let sum = varint::get(bytes, at).cast_signed();
        if count == 1 {
            return Self::of(sum);
        }
        let min = varint::get(bytes, at).cast_signed();
        Self { count, sum, min, max: min + varint::get(bytes, at).cast_signed() }
    }
}

impl Tally {
    /// Reads an untrusted tally. Accepts only what [`Self::put`] can write for some amounts.
    #[inline(always)]
    pub(super) fn load(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let count = cursor.varint()?;
        let sum = cursor.amount()?;
        if count == 1 {
            return Ok(Self::of(sum));
        }
        Malformed::unless(count > 1, "a tally counts at least one amount")?;
        let min = cursor.amount()?;
        let max = min.checked_add(cursor.amount()?).ok_or(Malformed("a max fits 63 bits"))?;
        let tally = Self { count, sum, min, max };
        // One amount is the minimum, one the maximum, and all others are between.
        Malformed::unless(
            tally.is_sum(count - 2, i128::from(sum) - i128::from(min) - i128::from(max)),
            "a sum lies between count × min and count × max",
        )?;
        Ok(tally)
    }

    /// Whether `count` amounts between this tally's minimum and maximum can add up to `sum`.
    #[inline]
    pub(super) const fn is_sum(&self, count: u64, sum: i128) -> bool {
        count as i128 * self.min as i128 <= sum && sum <= count as i128 * self.max as i128
    }
}

/// One row, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Bucket of the row; for a merged row, the first 15-minute bucket of its hour or day.
    pub bucket: Bucket,
    /// Group number of the user.
    pub group: u8,
    /// Totals of the group in this bucket.
    pub tally: Tally,
}

/// Iterator over the rows of a block, in order.
pub struct Rows<'a> {
    bytes: &'a [u8],
    at: usize,
    base: Bucket,
}

impl Iterator for Rows<'_> {
    type Item = Row;

    #[inline]
    fn next(&mut self) -> Option<Row> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let bucket = self.base + varint::get(self.bytes, &mut self.at) as Bucket;
        let group = self.bytes[self.at];
        self.at += 1;
        Some(Row { bucket, group, tally: Tally::get(self.bytes, &mut self.at) })
    }
}

/// Iterates over the rows of a block.
#[inline]
pub fn rows(block: &[u8]) -> Rows<'_> {
    let base = if block.is_empty() { 0 } else { first(block) };
    Rows { bytes: block, at: HEADER_BYTES, base }
}

/// The first row's bucket. The block must not be empty.
#[inline]
pub fn first(block: &[u8]) -> Bucket {
    Bucket::from_le_bytes([block[0], block[1], block[2], block[3]])
}

/// The newest bucket. The block must not be empty.
pub fn last(block: &[u8]) -> Bucket {
    first(block) + varint::get(block, &mut tail(block)) as Bucket
}

pub(super) fn tail(block: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([block[4], block[5]]))
}

/// Adds `row` to a block: merges it into the row of its bucket and group, or inserts it in order.
pub(super) fn add(block: &mut impl Bytes, row: Row) {
    if block.is_empty() {
        return start(block, row);
    } else if row.bucket < first(block) {
        return rebase(block, row);
    }
    let bytes = &**block;
    let (base, newest) = (first(bytes), last(bytes));
    let mut at = match row.bucket.cmp(&newest) {
        Ordering::Less => HEADER_BYTES,
        Ordering::Equal => tail(bytes),
        Ordering::Greater => bytes.len(),
    };
    let mut old = at..at;
    let mut tally = row.tally;
    while at < bytes.len() {
        let mut next = at;
        let bucket = base + varint::get(bytes, &mut next) as Bucket;
        let group = bytes[next];
        next += 1;
        let there = Tally::get(bytes, &mut next);
        if (bucket, group) == (row.bucket, row.group) {
            tally.add(there);
            old = at..next;
            break;
        }
        if (bucket, group) > (row.bucket, row.group) {
            old = at..at;
            break;
        }
        at = next;
        old = at..at;
    }
    if row.bucket > newest {
        set_tail(block, old.start);
    }
    let mut packed = [0; ROW_BYTES];
    let len = pack(&mut packed, row.bucket - base, row.group, &tally);
    if row.bucket < newest {
        let moved = tail(block) + len - old.len();
        set_tail(block, moved);
    }
    block.replace(old, &packed[..len]);
}

/// Writes header and first row of an empty block.
fn start(block: &mut impl Bytes, row: Row) {
    let (mut packed, mut header) = ([0; ROW_BYTES], [0; HEADER_BYTES + ROW_BYTES]);
    let len = pack(&mut packed, 0, row.group, &row.tally);
    header[..4].copy_from_slice(&row.bucket.to_le_bytes());
    header[4..HEADER_BYTES].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
    header[HEADER_BYTES..].copy_from_slice(&packed);
    block.replace(0..0, &header[..HEADER_BYTES + len]);
}

fn set_tail(block: &mut [u8], at: usize) {
    let at = u16::try_from(at).expect("a block is split long before it reaches 64 KiB");
    block[4..6].copy_from_slice(&at.to_le_bytes());
}

fn pack(out: &mut [u8; ROW_BYTES], offset: Bucket, group: u8, tally: &Tally) -> usize {
    let mut at = 0;
    varint::put(out, &mut at, u64::from(offset));
    out[at] = group;
    at += 1;
    tally.put(out, &mut at);
    at
}

/// Adds a row before the first one. Rebuilds the block, because all offsets change.
fn rebase(block: &mut impl Bytes, row: Row) {
    let mut rebased = Block::with_capacity(block.len() + ROW_BYTES);
    add(&mut rebased, row);
    rows(block).for_each(|row| add(&mut rebased, row));
    block.replace(0..block.len(), &rebased);
}

/// Merges rows whose buckets `floor` maps to the same bucket, drops those that it maps to `None`,
/// and repacks the block. `floor` must be monotone.
pub(super) fn compact(block: &mut impl Bytes, floor: impl Fn(Bucket) -> Option<Bucket>) {
    let mut compacted = Block::with_capacity(block.len());
    for row in rows(block) {
        if let Some(bucket) = floor(row.bucket) {
            add(&mut compacted, Row { bucket, ..row });
        }
    }
    block.replace(0..block.len(), &compacted);
}

/// Splits a block at a row near its middle. Returns the later half.
pub fn split(block: &mut Block) -> Block {
    let old = std::mem::take(block);
    let mut later = Block::new();
    let mut walk = rows(&old);
    loop {
        let early = walk.at < old.len() / 2;
        let Some(row) = walk.next() else { break };
        add(if early { block } else { &mut later }, row);
    }
    later
}

/// Validates an untrusted block: it must be what [`add`] builds from rows that begin on `grain`,
/// none after `latest`. Calls `visit` with each row and stops at its first error. Returns the
/// block's first and newest bucket.
pub(super) fn check(
    block: &[u8],
    grain: Bucket,
    latest: Bucket,
    mut visit: impl FnMut(&Row) -> Result<(), Malformed>,
) -> Result<(Bucket, Bucket), Malformed> {
    let mut cursor = Cursor::new(block);
    let base = Bucket::from_le_bytes(cursor.array()?);
    let tail = usize::from(u16::from_le_bytes(cursor.array()?));
    Malformed::unless(base <= latest, "no block begins after the latest entry")?;
    Malformed::unless(!cursor.is_at_end(), "a block has a row")?;
    let (mut newest, mut newest_at, mut before) = (0, HEADER_BYTES, None);
    while !cursor.is_at_end() {
        let at = cursor.at();
        let offset = cursor.varint()?;
        Malformed::unless(
            before.is_some() || offset == 0,
            "the first row of a block has offset 0",
        )?;
        Malformed::unless(
            offset <= u64::from(latest - base),
            "no row lies after the latest entry",
        )?;
        let offset = offset as Bucket;
        // Grain 1 skips the division: one per row costs as much as everything else here.
        Malformed::unless(
            grain == 1 || (base + offset).is_multiple_of(grain),
            "a merged row begins on an hour or day boundary",
        )?;
        let group = cursor.byte()?;
        Malformed::unless(
            before < Some((offset, group)),
            "rows are sorted by bucket and group, one each",
        )?;
        before = Some((offset, group));
        if offset > newest {
            (newest, newest_at) = (offset, at);
        }
        visit(&Row { bucket: base + offset, group, tally: Tally::load(&mut cursor)? })?;
    }
    Malformed::unless(tail == newest_at, "a block's tail offset points at its newest bucket")?;
    Ok((base, base + newest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Compares a block of random rows with a sorted map, after each row, a split and a merge.
    fn compare_with_map(seed: u64, span: u64, groups: u64, steps: u64) {
        let mut block = Block::new();
        let mut want = BTreeMap::<(Bucket, u8), Tally>::new();
        let mut state = seed;
        for _ in 0..steps {
            state = crate::ledger::id::UserId::Number(state).hash();
            let row = Row {
                bucket: 1_000 + (state % span) as Bucket,
                group: ((state >> 20) % groups) as u8,
                tally: Tally::of((state >> 32).cast_signed() >> (state % 33)),
            };
            add(&mut block, row);
            want.entry((row.bucket, row.group)).or_insert(Tally::EMPTY).add(row.tally);
            let got: Vec<_> = rows(&block).map(|r| ((r.bucket, r.group), r.tally)).collect();
            assert_eq!(got, want.clone().into_iter().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(Some(last(&block)), want.keys().next_back().map(|k| k.0), "seed {seed}");
            let edges = check(&block, 1, last(&block), |_| Ok(()));
            assert_eq!(edges, Ok((first(&block), last(&block))), "seed {seed}");
            assert_eq!(Some(first(&block)), want.keys().next().map(|k| k.0), "seed {seed}");
        }
        let mut early = block.clone();
        let later = split(&mut early);
        assert_eq!(
            rows(&early).chain(rows(&later)).collect::<Vec<_>>(),
            rows(&block).collect::<Vec<_>>()
        );
        compact(&mut block, |q| (q > 1_004).then_some(q - q % 4));
        let mut merged = BTreeMap::<(Bucket, u8), Tally>::new();
        for ((bucket, group), tally) in want.into_iter().filter(|(k, _)| k.0 > 1_004) {
            merged.entry((bucket - bucket % 4, group)).or_insert(Tally::EMPTY).add(tally);
        }
        assert_eq!(
            rows(&block).map(|r| ((r.bucket, r.group), r.tally)).collect::<Vec<_>>(),
            merged.into_iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_block_behaves_like_a_sorted_map() {
        for seed in 0..40 {
            compare_with_map(seed, 1 + seed * 7, 1 + seed % 5, 60);
        }
        compare_with_map(99, 40_000, 256, 300);
    }
}
