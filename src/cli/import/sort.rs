//! External merge sort: sorted runs in one unnamed temporary file, then merges of as many runs as
//! memory has buffers for.
//!
//! By hand: memory is bounded in bytes, whatever the length of an item; `extsort` counts items, and
//! takes 1.2 times as long (`benches/runs/2026-11-30-by-hand.md`).
//!
//! The file is unlinked as soon as it is open, so its disk space is freed however the process ends.
//! In the file each item is preceded by its length, four bytes.

use super::item::Key;
use crate::engine::Failure;
use crate::journal::record::text_id;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Smallest read buffer of a run, in bytes: below it, reading costs more seeks than another merge
/// pass.
const MIN_BUFFER_BYTES: usize = 64 << 10;
/// Largest read buffer of a run, in bytes.
const MAX_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of one write.
const WRITE_BYTES: usize = 128 << 10;
/// Keys get 1/`KEYS_SHARE` of the memory, items the rest.
const KEYS_SHARE: usize = 3;
const LENGTH_BYTES: usize = size_of::<u32>();
/// Name of the file until it is unlinked. It lies in a generation that is not published yet, so
/// after a crash the next start removes it.
const NAME: &str = "import.new";

/// Collects items in any order.
#[derive(Debug)]
pub struct Sorter {
    memory: usize,
    items: Vec<u8>,
    keys: Vec<(Key, usize)>,
    spill: Spill,
}

/// Sorted runs, one after the other, in an unlinked file.
#[derive(Debug)]
struct Spill {
    directory: PathBuf,
    file: File,
    end: u64,
    runs: Vec<(u64, u64)>,
}

/// Iterates over the items in order.
#[derive(Debug)]
pub struct Sorted {
    spill: Spill,
    runs: Vec<Run>,
    heap: BinaryHeap<Reverse<Next>>,
    /// The run of the item that was returned last.
    given: Option<usize>,
    passes: u32,
    runs_written: usize,
}

/// The next item of a run.
#[derive(Debug)]
struct Next {
    key: Key,
    /// Its user id, if that is a text.
    text_id: Box<[u8]>,
    run: usize,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.compare(other.key, || (&self.text_id, &other.text_id))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

/// A run that is being read.
#[derive(Debug)]
struct Run {
    /// Range of the file that is not read yet.
    at: u64,
    end: u64,
    bytes: Vec<u8>,
    used: usize,
}

impl Sorter {
    /// A sorter that keeps at most `memory` bytes plus one item in memory, and the rest in a file
    /// in `directory`.
    pub fn new(directory: &Path, memory: usize) -> Result<Self, Failure> {
        let keys = memory / KEYS_SHARE;
        Ok(Self {
            memory,
            items: Vec::with_capacity(memory - keys),
            keys: Vec::with_capacity((keys / size_of::<(Key, usize)>()).max(1)),
            spill: Spill::new(directory)?,
        })
    }

    /// Adds an item.
    pub fn push(&mut self, item: &[u8]) -> Result<(), Failure> {
        let size = LENGTH_BYTES + item.len();
        if self.keys.len() == self.keys.capacity()
            || self.items.len() + size > self.items.capacity()
        {
            self.write_run()?;
        }
        self.keys.push((Key::of(item), self.items.len()));
        let length =
            u32::try_from(item.len()).expect("an item is little more than a line, below 4 GiB");
        self.items.extend_from_slice(&length.to_le_bytes());
        self.items.extend_from_slice(item);
        Ok(())
    }

    fn write_run(&mut self) -> Result<(), Failure> {
        if self.keys.is_empty() {
            return Ok(());
        }
        let item = |at: usize| {
            let rest = &self.items[at..];
            &rest[LENGTH_BYTES..LENGTH_BYTES + length(rest).expect("each item has its length")]
        };
        // No two items have the same place in the order, so stability is not needed.
        self.keys.sort_unstable_by(|&(a, a_at), &(b, b_at)| {
            a.compare(b, || (text_id(item(a_at)), text_id(item(b_at))))
        });
        let items = self.keys.drain(..).map(|(_, at)| Ok(item(at)));
        self.spill.write_run(items)?;
        self.items.clear();
        Ok(())
    }

    /// Ends the input. If more than one merge pass is needed, `progress` gets the bytes merged so
    /// far and their total.
    pub fn finish(mut self, progress: impl FnMut(u64, u64)) -> Result<Sorted, Failure> {
        self.write_run()?;
        let Self { memory, items, keys, spill } = self;
        drop((items, keys));
        Sorted::new(spill, memory, progress)
    }
}

impl Spill {
    fn new(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(NAME);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(Failure::at("create", &path))?;
        fs::remove_file(&path).map_err(Failure::at("remove", &path))?;
        Ok(Self { directory: directory.to_owned(), file, end: 0, runs: Vec::new() })
    }

    /// The file's name in failures.
    fn object(&self) -> String {
        format!("a file for sorting in {}", self.directory.display())
    }

    fn write_run<I: AsRef<[u8]>>(
        &mut self,
        items: impl Iterator<Item = Result<I, Failure>>,
    ) -> Result<(), Failure> {
        let object = self.object();
        let mut out = BufWriter::with_capacity(WRITE_BYTES, &self.file);
        let start = self.end;
        for item in items {
            let item = item?;
            let item = item.as_ref();
            let length = (item.len() as u32).to_le_bytes();
            out.write_all(&length)
                .and_then(|()| out.write_all(item))
                .map_err(Failure::of("write", object.as_str()))?;
            self.end += (LENGTH_BYTES + item.len()) as u64;
        }
        out.flush().map_err(Failure::of("write", object.as_str()))?;
        drop(out);
        self.runs.push((start, self.end));
        Ok(())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Failure> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => {
                    return Err(Failure::new(
                        "read",
                        self.object(),
                        ErrorKind::UnexpectedEof.into(),
                    ));
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::new("read", self.object(), error)),
            }
        }
        Ok(())
    }
}

/// The length that precedes an item; `None` if it is incomplete.
fn length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
}

impl Sorted {
    fn new(
        mut spill: Spill,
        memory: usize,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self, Failure> {
        let at_once = (memory / MIN_BUFFER_BYTES).max(2);
        let runs_written = spill.runs.len();
        let mut passes = 0;
        while spill.runs.len() > at_once {
            let total = spill.end;
            let mut merged = Spill::new(&spill.directory)?;
            let runs = std::mem::take(&mut spill.runs);
            for part in runs.chunks(at_once) {
                let mut sorted = Self::over(spill, part, memory)?;
                let mut done = merged.end;
                let items = std::iter::from_fn(|| {
                    let item = sorted.next().transpose()?.map(<[u8]>::to_vec);
                    if let Ok(item) = &item {
                        done += (LENGTH_BYTES + item.len()) as u64;
                        progress(done, total);
                    }
                    Some(item)
                });
                merged.write_run(items)?;
                spill = sorted.spill;
            }
            spill = merged;
            passes += 1;
        }
        let runs = std::mem::take(&mut spill.runs);
        let mut sorted = Self::over(spill, &runs, memory)?;
        (sorted.passes, sorted.runs_written) = (passes, runs_written);
        Ok(sorted)
    }

    /// Merges some runs.
    fn over(spill: Spill, runs: &[(u64, u64)], memory: usize) -> Result<Self, Failure> {
        let buffer = (memory / runs.len().max(1)).clamp(MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
        let run = |&(at, end)| Run { at, end, bytes: Vec::with_capacity(buffer), used: 0 };
        let runs = runs.iter().map(run).collect();
        let mut sorted =
            Self { spill, runs, heap: BinaryHeap::new(), given: None, passes: 0, runs_written: 0 };
        for run in 0..sorted.runs.len() {
            sorted.push_next(run)?;
        }
        Ok(sorted)
    }

    /// Adds the next item of a run to the heap.
    fn push_next(&mut self, run: usize) -> Result<(), Failure> {
        self.runs[run].fill(&self.spill)?;
        if let Some(item) = self.runs[run].item() {
            let (key, text_id) = (Key::of(item), text_id(item).into());
            self.heap.push(Reverse(Next { key, text_id, run }));
        }
        Ok(())
    }

    /// The next item in order; `None` after the last.
    pub fn next(&mut self) -> Result<Option<&[u8]>, Failure> {
        if let Some(run) = self.given.take() {
            let passed = self.runs[run].item().map_or(0, <[u8]>::len);
            self.runs[run].used += LENGTH_BYTES + passed;
            self.push_next(run)?;
        }
        let Some(Reverse(Next { run, .. })) = self.heap.pop() else { return Ok(None) };
        self.given = Some(run);
        Ok(self.runs[run].item())
    }

    /// Bytes of all items with their lengths.
    pub const fn bytes(&self) -> u64 {
        self.spill.end
    }

    /// Number of runs written at first, and of merge passes before the final one.
    pub const fn effort(&self) -> (usize, u32) {
        (self.runs_written, self.passes)
    }
}

impl Run {
    /// Reads more bytes if the next item is incomplete.
    fn fill(&mut self, spill: &Spill) -> Result<(), Failure> {
        loop {
            let ahead = &self.bytes[self.used..];
            let needed = LENGTH_BYTES + length(ahead).unwrap_or(0);
            let rest = self.end - self.at;
            if ahead.len() >= needed || rest == 0 {
                return Ok(());
            }
            self.bytes.drain(..self.used);
            self.used = 0;
            let before = self.bytes.len();
            let more = rest.min((self.bytes.capacity().max(needed) - before) as u64) as usize;
            self.bytes.resize(before + more, 0);
            spill.read(self.at, &mut self.bytes[before..])?;
            self.at += more as u64;
        }
    }

    /// The next item; `None` after the last.
    fn item(&self) -> Option<&[u8]> {
        let ahead = &self.bytes[self.used..];
        ahead.get(LENGTH_BYTES..LENGTH_BYTES + length(ahead)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::{Item, Origin};
    use super::*;
    use crate::ledger::entry::{Action, EntryRef};
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;

    /// Sorts `count` items of random users, times and lengths, and compares the result with a plain
    /// sort.
    fn check(count: u64, memory: usize, runs: std::ops::RangeInclusive<usize>, passes: u32) {
        let name = format!("purser-sort-{}-{count}-{memory}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut sorter = Sorter::new(&directory, memory).unwrap();
        let mut all = Vec::new();
        for n in 0..count {
            let draw = |m: u64| UserId::Number(n ^ m << 40).hash();
            let text = format!("users:{}", draw(1) % 20);
            let user = match draw(7) % 2 {
                0 => UserId::Number(draw(1) % 50),
                _ => UserId::Text(text.as_bytes()),
            };
            let at = Millis(draw(2) % 20);
            let entry = EntryRef {
                id: EntryId(draw(3).into()),
                user,
                at,
                late_accepted: false,
                action: Action::Void { hold: EntryId(1), terms: None, amount: None },
            };
            let long = if draw(4) % 1_000 == 0 { 100_000 } else { 50 };
            let text = vec![n as u8; (draw(5) % long) as usize];
            let mut item = Vec::new();
            Item {
                entry,
                origin: Origin::new((draw(6) % 3) as usize, n + 1),
                offset: n,
                text: &text,
            }
            .write(&mut item);
            sorter.push(&item).unwrap();
            all.push(item);
        }
        all.sort_by(|a, b| Key::of(a).compare(Key::of(b), || (text_id(a), text_id(b))));
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            0,
            "the file is unlinked, so a kill leaves nothing"
        );
        let mut sorted = sorter.finish(|done, total| assert!(done <= total)).unwrap();
        assert_eq!(
            sorted.bytes(),
            all.iter().map(|item| (LENGTH_BYTES + item.len()) as u64).sum::<u64>()
        );
        for (n, item) in all.iter().enumerate() {
            assert!(sorted.next().unwrap() == Some(item), "item {n} of {count}, {memory} bytes");
        }
        assert_eq!(sorted.next().unwrap(), None);
        assert_eq!(sorted.next().unwrap(), None);
        let (written, merged) = sorted.effort();
        assert!(runs.contains(&written), "{written} runs of {count} items in {memory} bytes");
        assert_eq!(merged, passes, "{written} runs of {count} items in {memory} bytes");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn items_come_in_order_for_any_memory_size() {
        check(0, 1 << 20, 0..=0, 0);
        check(1, 1 << 20, 1..=1, 0);
        check(3_000, 1 << 24, 1..=1, 0);
        check(20_000, 1 << 20, 2..=16, 0);
        check(20_000, 300 << 10, 5..=16, 1);
        check(3_000, 16 << 10, 17..=32, 4);
        check(200, 0, 129..=256, 7);
    }
}
