//! External sort of an import against `extsort`, with the same memory and on one thread.

#[allow(dead_code, unused_imports, reason = "the import uses more of it")]
#[path = "../../src/cli/import/item.rs"]
mod item;
#[allow(dead_code, unused_imports, reason = "the import uses more of it")]
#[path = "../../src/cli/import/sort.rs"]
mod sort;

use super::common::is_timed;
use super::common::population::Population;
use criterion::{BatchSize, Criterion, Throughput};
use extsort::{ExternalSorter, Sortable};
use item::{Item, Key, Origin};
use sort::Sorter;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Items, one after the other.
struct Items {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Items {
    fn new(count: u64) -> Self {
        let population = Population { users: count / 10 };
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for n in 0..count {
            let posted = population.entry(n);
            let (entry, origin) = (posted.as_entry(), Origin::new(0, n + 1));
            Item { entry, origin, offset: n * 200, text: b"" }.write(&mut bytes);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.bytes[start..end])
    }

    /// [`digest`] of the items in order, by a sort in memory.
    fn sorted(&self) -> u64 {
        let mut all: Vec<&[u8]> = self.iter().collect();
        all.sort_unstable_by_key(|item| Key::of(item));
        all.into_iter().fold(0, digest)
    }
}

/// Adds an item to a digest, which depends on the order.
fn digest(before: u64, item: &[u8]) -> u64 {
    let mut words = item.chunks_exact(8);
    let last = words.by_ref().fold(before, |digest, word| {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    words.remainder().iter().fold(last, |digest, &byte| digest.rotate_left(8) ^ u64::from(byte))
}

fn ours(items: &Items, directory: &Path, memory: usize) -> u64 {
    let mut sorter = Sorter::new(directory, memory).expect("a file");
    items.iter().for_each(|item| sorter.push(item).expect("a written item"));
    let mut sorted = sorter.finish(|_, _| {}).expect("sorted runs");
    let mut all = 0;
    while let Some(item) = sorted.next().expect("a read item") {
        all = digest(all, item);
    }
    all
}

/// An item of `extsort`.
struct Owned {
    key: Key,
    bytes: Box<[u8]>,
}

impl Sortable for Owned {
    fn encode<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&(self.bytes.len() as u32).to_le_bytes())?;
        writer.write_all(&self.bytes)
    }

    fn decode<R: Read>(reader: &mut R) -> io::Result<Self> {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize].into_boxed_slice();
        reader.read_exact(&mut bytes)?;
        Ok(Self { key: Key::of(&bytes), bytes })
    }
}

fn extsort(items: &Items, directory: &Path, memory: usize) -> u64 {
    let directory = directory.join("extsort");
    fs::create_dir_all(&directory).expect("a new directory");
    let owned = |item: &[u8]| Owned { key: Key::of(item), bytes: item.into() };
    let bytes = items.bytes.len() / items.ends.len() + size_of::<Owned>();
    let sorter = ExternalSorter::new()
        .with_segment_size(memory / bytes)
        .with_sort_dir(directory.clone())
        .sort_by_key(items.iter().map(owned), |item| item.key);
    let sorted = sorter.expect("sorted segments");
    let all = sorted.fold(0, |all, item| digest(all, &item.expect("a read item").bytes));
    fs::remove_dir_all(directory).expect("its own directory");
    all
}

pub fn sorts(criterion: &mut Criterion) {
    if !super::is_asked("sort") {
        return;
    }
    let (count, memory) = if is_timed() { (2_000_000, 32 << 20) } else { (5_000, 64 << 10) };
    let items = Items::new(count);
    let directory =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sort-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a new directory");
    let expected = items.sorted();

    let mut group = criterion.benchmark_group("sort/entries");
    group.sample_size(10).throughput(Throughput::Elements(count));
    for (name, sort) in [("ours", ours as fn(&Items, &Path, usize) -> u64), ("extsort", extsort)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || (),
                |()| assert_eq!(sort(&items, &directory, memory), expected),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    fs::remove_dir_all(directory).expect("its own directory");
}
