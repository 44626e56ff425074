//! Varints against `integer-encoding` and `unsigned-varint`, and packed rows against a vector of
//! unpacked ones.
//!
//! The integers are those of packed rows, in their order: offset, count and sum.

#[allow(dead_code, reason = "the ledger uses more of it")]
#[path = "../../src/ledger/cursor.rs"]
mod cursor;
#[allow(dead_code, reason = "the ledger uses more of it")]
#[path = "../../src/ledger/memory.rs"]
mod memory;
#[allow(dead_code, unused_imports, reason = "the ledger uses more of it")]
#[path = "../../src/ledger/packed.rs"]
mod packed;
#[allow(dead_code, unused_imports, reason = "the ledger uses more of it")]
#[path = "../../src/ledger/rows.rs"]
mod rows;
#[allow(dead_code, unused_imports, reason = "the ledger uses more of it")]
#[path = "../../src/ledger/varint.rs"]
mod varint;

use super::common::is_timed;
use super::common::population::{NOW, Population, mix};
use super::ledger::{index, time};
use criterion::{BatchSize, Bencher, Criterion, Throughput};
use integer_encoding::VarInt;

use rows::{Row, Tally};
use std::hint::black_box;
use time::{Bucket, Millis};

/// Integers of an iteration: more lengths in a row than a branch predictor remembers.
const INTEGERS: usize = 65_536;
/// Buckets of a query: seven days.
const WINDOW: Bucket = 7 * 24 * 4;

/// Entry `n` of a population, as a row.
fn row(population: Population, n: u64) -> Row {
    let posted = population.entry(n);
    Row {
        bucket: Millis(posted.at_ms).bucket(),
        group: posted.group as u8,
        tally: Tally::of(posted.amount),
    }
}

fn integers() -> Vec<u64> {
    let population = Population { users: 1_000 };
    let first = row(population, 0).bucket;
    let rows = (0..).map(|n| row(population, n));
    let integers = rows.flat_map(|row| {
        [u64::from(row.bucket - first), row.tally.count, row.tally.sum.unsigned_abs()]
    });
    integers.take(INTEGERS).collect()
}

/// Writes all integers; `put` returns where the next one begins. Returns the end of the last.
fn write(values: &[u64], out: &mut [u8], put: impl Fn(&mut [u8], usize, u64) -> usize) -> usize {
    values.iter().fold(0, |at, &value| put(out, at, value))
}

/// Sum of all integers; `get` returns one and where the next begins.
fn sum(bytes: &[u8], get: impl Fn(&[u8], usize) -> (u64, usize)) -> u64 {
    let (mut sum, mut at) = (0, 0);
    while at < bytes.len() {
        let (value, next) = get(bytes, at);
        (sum, at) = (sum + value, next);
    }
    sum
}

fn put(out: &mut [u8], mut at: usize, value: u64) -> usize {
    varint::put(out, &mut at, value);
    at
}

fn put_integer_encoding(out: &mut [u8], at: usize, value: u64) -> usize {
    at + value.encode_var(&mut out[at..])
}

fn put_unsigned_varint(out: &mut [u8], at: usize, value: u64) -> usize {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    let encoded = unsigned_varint::encode::u64(value, &mut buffer);
    out[at..at + encoded.len()].copy_from_slice(encoded);
    at + encoded.len()
}

fn get(bytes: &[u8], mut at: usize) -> (u64, usize) {
    (varint::get(bytes, &mut at), at)
}

fn get_checked(bytes: &[u8], mut at: usize) -> (u64, usize) {
    (varint::checked(bytes, &mut at).expect("a whole integer"), at)
}

fn get_integer_encoding(bytes: &[u8], at: usize) -> (u64, usize) {
    let (value, len) = u64::decode_var(&bytes[at..]).expect("a whole integer");
    (value, at + len)
}

fn get_unsigned_varint(bytes: &[u8], at: usize) -> (u64, usize) {
    let (value, rest) = unsigned_varint::decode::u64(&bytes[at..]).expect("a whole integer");
    (value, bytes.len() - rest.len())
}

pub fn varints(criterion: &mut Criterion) {
    let values = integers();
    let mut bytes = vec![0; INTEGERS * varint::MAX_BYTES];
    let len = write(&values, &mut bytes, put);
    for put in [put_integer_encoding, put_unsigned_varint] {
        let mut other = vec![0; bytes.len()];
        assert_eq!(write(&values, &mut other, put), len);
        assert_eq!(other[..len], bytes[..len]);
    }
    let all: u64 = values.iter().sum();
    for get in [get, get_checked, get_integer_encoding, get_unsigned_varint] {
        assert_eq!(sum(&bytes[..len], get), all);
    }

    let mut group = criterion.benchmark_group(format!("varint/write_{INTEGERS}"));
    let values = &values[..];
    group.bench_function("ours", |b| b.iter(|| write(black_box(values), &mut bytes, put)));
    group.bench_function("integer-encoding", |b| {
        b.iter(|| write(black_box(values), &mut bytes, put_integer_encoding));
    });
    group.bench_function("unsigned-varint", |b| {
        b.iter(|| write(black_box(values), &mut bytes, put_unsigned_varint));
    });
    group.finish();

    let mut group = criterion.benchmark_group(format!("varint/read_{INTEGERS}"));
    let bytes = &bytes[..len];
    group.bench_function("ours", |b| b.iter(|| sum(black_box(bytes), get)));
    group.bench_function("ours_checked", |b| b.iter(|| sum(black_box(bytes), get_checked)));
    group.bench_function("integer-encoding", |b| {
        b.iter(|| sum(black_box(bytes), get_integer_encoding));
    });
    group.bench_function("unsigned-varint_checked", |b| {
        b.iter(|| sum(black_box(bytes), get_unsigned_varint));
    });
    group.finish();
}

/// The rows of one user.
trait Rows: Clone + Default {
    /// Adds a row to the one of its bucket and group, or inserts it in order.
    fn book(&mut self, row: Row);
    /// Count and sum from a bucket on.
    fn total(&self, from: Bucket) -> (u64, i64);
    /// Bytes on the heap, and those of them in use.
    fn bytes(&self) -> (usize, usize);
}

impl Rows for rows::Block {
    fn book(&mut self, row: Row) {
        rows::add(self, row);
    }

    fn total(&self, from: Bucket) -> (u64, i64) {
        total(rows::rows(self).filter(|row| row.bucket >= from))
    }

    fn bytes(&self) -> (usize, usize) {
        (self.capacity(), self.len())
    }
}

impl Rows for Vec<Row> {
    fn book(&mut self, row: Row) {
        let key = |row: &Row| (row.bucket, row.group);
        // A row is hardly ever older than the newest.
        let before = self.iter().rposition(|other| key(other) <= key(&row));
        match before.map(|at| &mut self[at]) {
            Some(same) if key(same) == key(&row) => same.tally.add(row.tally),
            _ => self.insert(before.map_or(0, |at| at + 1), row),
        }
    }

    fn total(&self, from: Bucket) -> (u64, i64) {
        total(self[self.partition_point(|row| row.bucket < from)..].iter().copied())
    }

    fn bytes(&self) -> (usize, usize) {
        (self.capacity() * size_of::<Row>(), size_of_val(&self[..]))
    }
}

fn total(rows: impl Iterator<Item = Row>) -> (u64, i64) {
    rows.fold((0, 0), |(count, sum), row| (count + row.tally.count, sum + row.tally.sum))
}

fn book<R: Rows>(mut users: Vec<R>, entries: &[(u32, Row)]) -> Vec<R> {
    entries.iter().for_each(|&(user, row)| users[user as usize].book(row));
    users
}

/// Books all entries and sums up every user's rows. Prints the size and compares the sums with
/// `expected`.
fn check<R: Rows>(name: &str, entries: &[(u32, Row)], expected: &[(u64, i64)]) -> Vec<R> {
    let users = book(vec![R::default(); expected.len()], entries);
    for (user, &expected) in users.iter().zip(expected) {
        assert_eq!(user.total(NOW.bucket() - WINDOW), expected);
    }
    let bytes = users.iter().map(R::bytes);
    let (all, used) = bytes.fold((0, 0), |(all, used), user| (all + user.0, used + user.1));
    let (all, used) = (all / users.len(), used / users.len());
    println!("rows: {name}: {all} bytes a user on the heap, {used} of them in use");
    users
}

fn totals<R: Rows>(b: &mut Bencher<'_>, users: &[R]) {
    let mut user = 0;
    b.iter(|| {
        user = mix(user + 1);
        users[user as usize % users.len()].total(NOW.bucket() - WINDOW)
    });
}

pub fn rows(criterion: &mut Criterion) {
    if !super::is_asked("rows") {
        return;
    }
    let population = Population { users: if is_timed() { 100_000 } else { 2_000 } };
    let entries: Vec<(u32, Row)> = (0..population.history())
        .map(|n| (population.entry(n).user as u32, row(population, n)))
        .collect();
    let mut expected = vec![(0, 0); population.users as usize];
    for (user, row) in entries.iter().filter(|(_, row)| row.bucket >= NOW.bucket() - WINDOW) {
        let (count, sum) = &mut expected[*user as usize];
        (*count, *sum) = (*count + 1, *sum + row.tally.sum);
    }
    let ours = check::<rows::Block>("ours", &entries, &expected);
    let vec = check::<Vec<Row>>("vec", &entries, &expected);

    let mut group = criterion.benchmark_group("rows/total_7d");
    group.bench_function("ours", |b| totals(b, &ours));
    group.bench_function("vec", |b| totals(b, &vec));
    group.finish();

    let mut group = criterion.benchmark_group("rows/book_all");
    group.sample_size(10).throughput(Throughput::Elements(population.history()));
    group.bench_function("ours", |b| {
        let none = || vec![rows::Block::default(); ours.len()];
        b.iter_batched(none, |users| book(users, &entries), BatchSize::PerIteration);
    });
    group.bench_function("vec", |b| {
        let none = || vec![Vec::<Row>::new(); vec.len()];
        b.iter_batched(none, |users| book(users, &entries), BatchSize::PerIteration);
    });
    group.finish();
}
