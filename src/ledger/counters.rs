//! One user's statistics counters: lifetime figures per group, and packed rows per group and time.
//!
//! Rows start in one small block. A user whose block stays full after merging *graduates* to three
//! runs of blocks: 15-minute buckets, hours, days. Rows move from a run to the next coarser one
//! when they fall behind the user's latest entry ([`GrainEdges`]). Answers do not depend on when a
//! row is merged or moved, because every queried range has its edges on the grain at those edges.

use super::GROUPS_PER_USER;
use super::amount::Direction;
use super::cursor::{Cursor, Malformed, put, put_bytes_field};
use super::names::{KindId, KindNumbering};
use super::packed::{Bytes, Packed, Section};
use super::rows::{self, Block, Row, Tally};
use super::time::{BUCKET_MS, Bucket, GrainEdges, Millis, Range};
use super::varint;
use crate::prefetch;
use smallvec::SmallVec;

/// Block size limit, in bytes. A larger block of a user without runs is merged, and graduates if
/// it stays full; a larger block of a run is split.
const BLOCK_BYTES: usize = 1_024;
/// A merged block that is still larger than this, in bytes, graduates: merging it again would not
/// pay.
const FULL_BYTES: usize = BLOCK_BYTES * 3 / 4;
/// Blocks of each run that move to the next coarser run per block split. More than one, so that a
/// run never lags for long.
const BLOCKS_PER_STEP: usize = 2;
/// Upper bound of a block, in bytes. Halves of a block that passed [`BLOCK_BYTES`] because its
/// offsets grew are only a little longer than [`BLOCK_BYTES`].
const LONGEST_BLOCK_BYTES: usize = 2 * BLOCK_BYTES;

const _: () = assert!(
    LONGEST_BLOCK_BYTES * 4 <= u16::MAX as usize,
    "the longest block's tail fits 16 bits even when every offset grows"
);

/// Key of a group: what the posted entries of one user are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKey {
    /// Index of the currency in the user's balances.
    pub currency: u8,
    /// The kind's number in the slice.
    pub kind: KindId,
    /// Credit or debit.
    pub direction: Direction,
}

/// A group and its lifetime figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Key.
    pub key: GroupKey,
    /// Totals of all entries ever posted in the group.
    pub lifetime: Tally,
}

/// Packed lifetime figures of a user's groups, in order of first use. A group's number is its index
/// in this order.
///
/// ```text
/// group = length of the rest: u8 | currency << 1 | direction: u8 | kind: varint | tally
/// ```
///
/// A tally is packed as in a row ([`rows`]). Snapshots store these bytes unchanged
/// ([`super::image`]), so the packing is an on-disk format and never changes.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a>(&'a [u8]);

/// A group found by [`Groups::find`].
#[derive(Clone, Debug)]
pub struct FoundGroup {
    /// Group number.
    pub number: usize,
    /// Lifetime figures.
    pub lifetime: Tally,
    bytes: std::ops::Range<usize>,
}

impl<'a> Groups<'a> {
    /// Groups in a user's packed block.
    #[inline]
    pub(super) fn of(packed: &'a Packed) -> Self {
        Self(packed.get(Section::Groups))
    }

    /// The groups, in order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Group> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < self.0.len()).then(|| {
                at += 1;
                unpack(self.0, &mut at)
            })
        })
    }

    /// Number of groups.
    pub(super) fn len(self) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < self.0.len() {
            at += 1 + usize::from(self.0[at]);
            count += 1;
        }
        count
    }

    /// Finds the group of `key`. `Err` holds the number of groups, which is the number that a new
    /// group gets.
    pub fn find(self, key: GroupKey) -> Result<FoundGroup, usize> {
        let (mut start, mut number) = (0, 0);
        while start < self.0.len() {
            let end = start + 1 + usize::from(self.0[start]);
            if self.0[start + 1] == key.head() {
                let mut at = start + 1;
                let group = unpack(self.0, &mut at);
                if group.key == key {
                    return Ok(FoundGroup { number, lifetime: group.lifetime, bytes: start..end });
                }
            }
            start = end;
            number += 1;
        }
        Err(number)
    }

    /// Packs the same groups in the same order with the kind numbers of another slice.
    fn renumbered(self, numbers: &mut KindNumbering<'_>) -> Vec<u8> {
        let mut other = Vec::with_capacity(self.0.len());
        for Group { key, lifetime } in self.iter() {
            set(&mut other, None, GroupKey { kind: numbers.of(key.kind), ..key }, &lifetime);
        }
        other
    }

    /// Validates untrusted packed groups of a user with `balances` balances, in a slice with
    /// `kinds` kinds, and adds them to `accounts`.
    fn check(
        self,
        balances: usize,
        kinds: u32,
        accounts: &mut GroupChecks,
    ) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(self.0);
        while !cursor.is_at_end() {
            let len = usize::from(cursor.byte()?);
            let end = cursor.at() + len;
            let (currency, direction) = Direction::unpack(cursor.byte()?);
            Malformed::unless(
                usize::from(currency) < balances,
                "a group's currency has a balance",
            )?;
            let key = GroupKey { currency, kind: KindId::load(&mut cursor, kinds)?, direction };
            Malformed::unless(accounts.iter().all(|a| a.key != key), "a user's groups differ")?;
            Malformed::unless(
                accounts.len() < GROUPS_PER_USER,
                "a user has no more groups than the limit",
            )?;
            let lifetime = Tally::load(&mut cursor)?;
            accounts.push(GroupCheck { key, lifetime, count: lifetime.count, sum: lifetime.sum });
            Malformed::unless(cursor.at() == end, "a group is as long as its length field states")?;
        }
        Ok(())
    }
}

/// Writes the figures of a group: over the one `found`, or appended as a new one.
fn set(groups: &mut impl Bytes, found: Option<&FoundGroup>, key: GroupKey, lifetime: &Tally) {
    let mut packed = [0; 2 + 5 * varint::MAX_BYTES];
    let mut at = 2;
    packed[1] = key.head();
    varint::put(&mut packed, &mut at, u64::from(key.kind.0));
    lifetime.put(&mut packed, &mut at);
    packed[0] = (at - 1) as u8;
    let place = found.map_or(groups.len()..groups.len(), |f| f.bytes.clone());
    groups.replace(place, &packed[..at]);
}

impl GroupKey {
    fn head(self) -> u8 {
        self.currency << 1 | self.direction as u8
    }
}

#[inline]
fn unpack(bytes: &[u8], at: &mut usize) -> Group {
    let head = bytes[*at];
    *at += 1;
    let kind = KindId(varint::get(bytes, at) as u32);
    let (currency, direction) = Direction::unpack(head);
    let key = GroupKey { currency, kind, direction };
    Group { key, lifetime: Tally::get(bytes, at) }
}

/// A group while its rows are loaded: key, lifetime figures, and the count and sum that no row has
/// accounted for yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupCheck {
    pub(super) key: GroupKey,
    pub(super) lifetime: Tally,
    count: u64,
    sum: i64,
}

/// A user's groups by number; inline up to eight, as most users have few.
pub(super) type GroupChecks = SmallVec<[GroupCheck; 8]>;

impl GroupCheck {
    /// The group's signed contribution to the posted balance of its currency.
    pub(super) fn posted(&self) -> i128 {
        let sum = i128::from(self.lifetime.sum);
        if self.key.direction == Direction::Credit { sum } else { -sum }
    }

    /// Subtracts a row from what is unaccounted for; fails if the row is not within the lifetime
    /// figures.
    #[inline]
    fn subtract(&mut self, row: &Tally) -> Result<(), Malformed> {
        let within = row.count <= self.count
            && row.sum <= self.sum
            && row.min >= self.lifetime.min
            && row.max <= self.lifetime.max;
        Malformed::unless(within, "rows add up to at most their group's lifetime figures")?;
        self.count -= row.count;
        self.sum -= row.sum;
        Ok(())
    }

    /// Whether the unaccounted count and sum are possible with the lifetime minimum and maximum.
    /// They belong to rows that are no longer kept.
    fn is_balanced(&self) -> bool {
        self.lifetime.is_sum(self.count, i128::from(self.sum))
    }
}

/// The three runs of a graduated user. Blocks of a run are in time order; rows of a run are merged
/// to its grain.
#[derive(Debug, Default)]
pub struct Runs {
    buckets: Vec<Block>,
    hours: Vec<Block>,
    days: Vec<Block>,
}

/// Books a posting in a user's groups and in its rows, or in `runs` if the user has graduated.
/// `latest` is the user's latest booking time, this entry included. Returns runs if the user
/// graduates by this entry.
#[must_use]
pub(super) fn post(
    packed: &mut Packed,
    posting: &Posting,
    latest: Millis,
    runs: Option<&mut Runs>,
) -> Option<Runs> {
    set(
        &mut packed.section(Section::Groups),
        posting.found.as_ref(),
        posting.key,
        &posting.lifetime,
    );
    let grains = GrainEdges::of(latest);
    let mut bucket = posting.at.bucket();
    if posting.at.0 < grains.buckets_from {
        // A late entry: it counts on the grain of its time, or in the lifetime figures alone.
        match merged(bucket, &grains) {
            Some(merged) => bucket = merged,
            None => return None,
        }
    }
    let (group, tally) = (posting.number() as u8, Tally::of(posting.amount));
    let row = Row { bucket, group, tally };
    if let Some(runs) = runs {
        runs.add(row, &grains);
        return None;
    }
    rows::add(&mut packed.section(Section::Rows), row);
    if packed.get(Section::Rows).len() > BLOCK_BYTES { merge(packed, &grains) } else { None }
}

fn merge(packed: &mut Packed, grains: &GrainEdges) -> Option<Runs> {
    let mut block = packed.section(Section::Rows);
    rows::compact(&mut block, |bucket| merged(bucket, grains));
    if block.len() <= FULL_BYTES {
        return None;
    }
    let mut runs = Runs::default();
    for row in rows::rows(&block) {
        runs.place(row, grains);
    }
    block.replace(0..block.len(), &[]);
    packed.shrink();
    Some(runs)
}

/// Calls `visit` with the rows inside `range`, in no particular order. Blocks of runs are visited
/// whole, while `work` allows; the first `skipped` of them are left out. Returns whether all are
/// visited.
#[inline]
pub(super) fn visit(
    packed: &Packed,
    runs: Option<[impl BlockRun; 3]>,
    range: Range,
    skipped: usize,
    work: &mut VisitWork,
    mut visit: impl FnMut(Row),
) -> bool {
    let (from, to) = ((range.from_ms / BUCKET_MS) as Bucket, (range.to_ms / BUCKET_MS) as Bucket);
    if skipped == 0 {
        visit_block(packed.get(Section::Rows), from, to, &mut visit);
    }
    let mut left_out = skipped;
    for run in runs.into_iter().flatten() {
        let within = blocks_within(run, from, to);
        let count = within.len();
        for number in within.skip(left_out) {
            if work.bytes_left == 0 {
                return false;
            }
            let block = run.block(number);
            visit_block(block, from, to, &mut visit);
            work.bytes_left = work.bytes_left.saturating_sub(block.len());
            work.blocks += 1;
        }
        left_out = left_out.saturating_sub(count);
    }
    true
}

/// Blocks of one run, in time order.
pub(super) trait BlockRun: Copy {
    fn len(self) -> usize;
    fn block(&self, number: usize) -> &[u8];
}

impl BlockRun for &[Block] {
    fn len(self) -> usize {
        <[Block]>::len(self)
    }

    #[inline]
    fn block(&self, number: usize) -> &[u8] {
        &self[number]
    }
}

/// Numbers of the blocks of a run that can have rows in the buckets `from..to`.
#[inline]
fn blocks_within(run: impl BlockRun, from: Bucket, to: Bucket) -> std::ops::Range<usize> {
    let begin_before = |bucket: Bucket| {
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = low.midpoint(high);
            if rows::first(run.block(middle)) < bucket {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    };
    // A block begins at or after the last bucket of the block before it, so the first block that
    // can hold `from` is the last one that begins before `from`.
    let first = begin_before(from).saturating_sub(1);
    // Most queries reach up to now.
    let reaches_end = run.len() > 0 && rows::first(run.block(run.len() - 1)) < to;
    let end = if reaches_end { run.len() } else { begin_before(to) };
    first.min(end)..end
}

/// A copy of a user's runs, in one piece: a large one is made in a third of a millisecond.
#[derive(Debug)]
pub struct RunsCopy {
    bytes: Vec<u8>,
    /// For days, hours and buckets, the start of each block and the end of the last.
    starts: [Vec<u32>; 3],
}

impl RunsCopy {
    /// Copies runs.
    pub fn of(runs: &Runs) -> Self {
        let runs = runs.runs();
        let blocks = runs.into_iter().flatten();
        let mut bytes = Vec::with_capacity(blocks.map(Vec::len).sum());
        let starts = runs.map(|run| {
            let mut starts = Vec::with_capacity(run.len() + 1);
            for block in run {
                starts.push(bytes.len() as u32);
                bytes.extend_from_slice(block);
            }
            starts.push(bytes.len() as u32);
            starts
        });
        Self { bytes, starts }
    }

    /// The runs of days, hours and buckets.
    pub(super) fn runs(&self) -> [CopiedRun<'_>; 3] {
        [0, 1, 2].map(|run| CopiedRun { bytes: &self.bytes, starts: &self.starts[run] })
    }
}

/// One run of a [`RunsCopy`].
#[derive(Clone, Copy)]
pub(super) struct CopiedRun<'a> {
    bytes: &'a [u8],
    starts: &'a [u32],
}

impl BlockRun for CopiedRun<'_> {
    fn len(self) -> usize {
        self.starts.len() - 1
    }

    #[inline]
    fn block(&self, number: usize) -> &[u8] {
        &self.bytes[self.starts[number] as usize..self.starts[number + 1] as usize]
    }
}

/// Bound and count of a visit of rows.
#[derive(Clone, Copy, Debug)]
pub struct VisitWork {
    /// Bytes of blocks of runs that may still be visited; the last block may exceed it.
    pub bytes_left: usize,
    /// Blocks of runs visited.
    pub blocks: usize,
}

/// Appends the packed groups, then the rows or the runs, in the format of [`super::image`].
pub(super) fn store(
    packed: &Packed,
    runs: Option<&Runs>,
    numbers: &mut KindNumbering<'_>,
    out: &mut Vec<u8>,
) {
    let groups = Groups::of(packed);
    match numbers {
        KindNumbering::SameSlice => put_bytes_field(out, groups.0),
        KindNumbering::OtherSlice { .. } => put_bytes_field(out, &groups.renumbered(numbers)),
    }
    out.push(u8::from(runs.is_some()));
    match runs {
        None => put_bytes_field(out, packed.get(Section::Rows)),
        Some(runs) => runs.store(out),
    }
}

/// A user's counters, read and validated.
pub(super) struct Loaded<'a> {
    /// Packed groups.
    pub(super) groups: &'a [u8],
    /// Packed rows; empty if the user has runs.
    pub(super) rows: &'a [u8],
    /// Runs of a graduated user.
    pub(super) runs: Option<Runs>,
}

/// Reads and validates what [`store`] wrote, for a user with `balances` balances and the latest
/// booking time `latest`, in a slice with `kinds` kinds. Adds the groups to `accounts`.
#[inline]
pub(super) fn load<'a>(
    cursor: &mut Cursor<'a>,
    balances: usize,
    kinds: u32,
    latest: Millis,
    accounts: &mut GroupChecks,
) -> Result<Loaded<'a>, Malformed> {
    let groups = cursor.bytes_field()?;
    Groups(groups).check(balances, kinds, accounts)?;
    let mut reader = BlockReader { accounts, latest: latest.bucket() };
    let (rows, runs) = match cursor.byte()? {
        0 => {
            let rows = cursor.bytes_field()?;
            if !rows.is_empty() {
                reader.check(rows, 1)?;
            }
            (rows, None)
        }
        1 => (&[][..], Some(Runs::load(cursor, &mut reader)?)),
        _ => return Err(Malformed("a user has one block or three runs")),
    };
    let settled = accounts.iter().all(GroupCheck::is_balanced);
    Malformed::unless(
        settled,
        "the remainder outside all rows lies between the group's min and max",
    )?;
    Ok(Loaded { groups, rows, runs })
}

/// A posting that has passed all checks.
#[derive(Clone, Debug)]
pub struct Posting {
    /// Key of its group.
    pub key: GroupKey,
    /// The packed group; `None` if it is new.
    pub found: Option<FoundGroup>,
    /// Number of the user's groups. Meaningful only for a new group: it is the group's number.
    pub groups: usize,
    /// Lifetime figures of the group, this posting included.
    pub lifetime: Tally,
    /// Booking time.
    pub at: Millis,
    /// Amount in minor units.
    pub amount: i64,
}

impl Posting {
    fn number(&self) -> usize {
        self.found.as_ref().map_or(self.groups, |f| f.number)
    }
}

#[inline]
fn visit_block(block: &[u8], from: Bucket, to: Bucket, visit: &mut impl FnMut(Row)) {
    for row in rows::rows(block).skip_while(|r| r.bucket < from).take_while(|r| r.bucket < to) {
        visit(row);
    }
}

/// Validates untrusted blocks.
struct BlockReader<'a> {
    accounts: &'a mut [GroupCheck],
    latest: Bucket,
}

impl BlockReader<'_> {
    /// Validates a block. Returns its first and its newest bucket.
    #[inline]
    fn check(&mut self, block: &[u8], grain: Bucket) -> Result<(Bucket, Bucket), Malformed> {
        Malformed::unless(block.len() <= LONGEST_BLOCK_BYTES, "no block is longer than the limit")?;
        rows::check(block, grain, self.latest, |row| {
            let account = self.accounts.get_mut(usize::from(row.group));
            account.ok_or(Malformed("a row's group is one of the user's"))?.subtract(&row.tally)
        })
    }

    /// Loads and validates a run of blocks.
    fn load_run(
        &mut self,
        cursor: &mut Cursor<'_>,
        grain: Bucket,
    ) -> Result<Vec<Block>, Malformed> {
        let mut run = Vec::new();
        let mut before = 0;
        for _ in 0..cursor.varint()? {
            let block = cursor.bytes_field()?;
            let (first, last) = self.check(block, grain)?;
            Malformed::unless(first >= before, "a block begins where the one before it ends")?;
            before = last;
            run.push(to_owned_block(block));
        }
        Ok(run)
    }
}

const BUCKETS_PER_HOUR: Bucket = 4;
const BUCKETS_PER_DAY: Bucket = 96;

/// `bucket` rounded down to the grain that applies to its time, or `None` if it is no longer kept.
fn merged(bucket: Bucket, grains: &GrainEdges) -> Option<Bucket> {
    let t = u64::from(bucket) * BUCKET_MS;
    (t >= grains.days_from).then(|| bucket - bucket % (grains.at(t) / BUCKET_MS) as Bucket)
}

impl Runs {
    /// Adds a row to the run of its grain, and moves old blocks on if a block was split.
    fn add(&mut self, row: Row, grains: &GrainEdges) {
        if self.place(row, grains) {
            self.age(grains);
        }
    }

    /// Adds a merged row to the run of its grain. Returns whether a block was split.
    fn place(&mut self, row: Row, grains: &GrainEdges) -> bool {
        let t = u64::from(row.bucket) * BUCKET_MS;
        let run = if t >= grains.buckets_from {
            &mut self.buckets
        } else if t >= grains.hours_from {
            &mut self.hours
        } else {
            &mut self.days
        };
        add_to(run, row)
    }

    /// Moves the oldest blocks to coarser runs where they lie before the grain's edge, and drops
    /// days that are no longer kept.
    fn age(&mut self, grains: &GrainEdges) {
        for _ in 0..BLOCKS_PER_STEP {
            move_down(&mut self.buckets, &mut self.hours, grains.buckets_from, BUCKETS_PER_HOUR);
            move_down(&mut self.hours, &mut self.days, grains.hours_from, BUCKETS_PER_DAY);
            if self.days.first().is_some_and(|block| ends_before(block, grains.days_from)) {
                self.days.remove(0);
            }
        }
    }

    fn store(&self, out: &mut Vec<u8>) {
        for run in [&self.buckets, &self.hours, &self.days] {
            put(out, run.len() as u64);
            run.iter().for_each(|block| put_bytes_field(out, block));
        }
    }

    fn load(cursor: &mut Cursor<'_>, reader: &mut BlockReader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            buckets: reader.load_run(cursor, 1)?,
            hours: reader.load_run(cursor, BUCKETS_PER_HOUR)?,
            days: reader.load_run(cursor, BUCKETS_PER_DAY)?,
        })
    }

    /// The runs of days, hours and buckets.
    pub(super) fn runs(&self) -> [&[Block]; 3] {
        [&self.days, &self.hours, &self.buckets]
    }

    /// Prefetches the start of the newest block of 15-minute buckets: the next entry most likely
    /// goes there.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(block) = self.buckets.last() {
            prefetch::line(block.as_ptr());
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let blocks = [&self.buckets, &self.hours, &self.days];
        blocks.iter().map(|run| run_bytes(run)).sum::<usize>()
    }
}

fn run_bytes(run: &Vec<Block>) -> usize {
    run.capacity() * size_of::<Block>() + run.iter().map(Vec::capacity).sum::<usize>()
}

/// Copies a block with the capacity that it would have had if its rows had been added one by one.
fn to_owned_block(block: &[u8]) -> Block {
    let mut owned = Block::new();
    owned.replace(0..0, block);
    owned
}

fn ends_before(block: &[u8], edge_ms: u64) -> bool {
    u64::from(rows::last(block)) * BUCKET_MS < edge_ms
}

fn move_down(from: &mut Vec<Block>, to: &mut Vec<Block>, edge_ms: u64, grain: Bucket) {
    if !from.first().is_some_and(|block| ends_before(block, edge_ms)) {
        return;
    }
    for row in rows::rows(&from.remove(0)) {
        add_to(to, Row { bucket: row.bucket - row.bucket % grain, ..row });
    }
}

/// Adds a row to a run. Returns whether a block was split.
fn add_to(run: &mut Vec<Block>, row: Row) -> bool {
    let at = match run.last() {
        // Most entries go to the last block: skip the search.
        Some(last) if rows::first(last) <= row.bucket => run.len() - 1,
        _ => run.partition_point(|block| rows::first(block) <= row.bucket).saturating_sub(1),
    };
    let Some(block) = run.get_mut(at) else {
        run.push(Block::new());
        rows::add(&mut run[0], row);
        return false;
    };
    rows::add(block, row);
    if block.len() <= BLOCK_BYTES {
        return false;
    }
    let later = rows::split(block);
    run.insert(at + 1, later);
    true
}
