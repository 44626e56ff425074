//! Packed block: the groups, remembered ids and rows of a small user, as three sections in one
//! allocation.
//!
//! One allocation needs one pointer, one prefetch and one growth step, and has unused capacity only
//! once. Sections are ordered by how often they change, the most changed one last: rows are
//! appended at the end of the block, and inserting an id moves only the few rows after it. A
//! section that grows large moves out of the block: ids to `recent::Tables`, rows to
//! `counters::Runs`.

use super::memory::block_bytes;
use crate::prefetch::{self, LINE_BYTES};
use std::ops::{Deref, DerefMut, Range};

/// Bytes at the end of the rows that are prefetched: the newest rows are there.
const LATEST_BYTES: usize = 2 * LINE_BYTES;

/// A section of the block, in the block's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Lifetime figures of groups ([`super::counters::Groups`]).
    Groups,
    /// Remembered entry ids ([`super::recent`]).
    Ids,
    /// Counter rows by time ([`super::rows`]).
    Rows,
}

/// The packed block of one user.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The sections, then zeros up to the allocation's size ([`block_bytes`]).
    bytes: Box<[u8]>,
    /// End offset of each section.
    ends: [u16; 3],
    /// Whether the user's id is a text. It is here because there is room.
    pub(super) has_text_id: bool,
}

/// A growable byte string that supports splicing.
pub(super) trait Bytes: Deref<Target = [u8]> + DerefMut {
    /// Replaces the range `old` by `new`, which may be longer or shorter.
    fn replace(&mut self, old: Range<usize>, new: &[u8]);
}

impl Bytes for Vec<u8> {
    fn replace(&mut self, old: Range<usize>, new: &[u8]) {
        let (len, end) = (self.len(), old.start + new.len());
        let spliced = len - old.len() + new.len();
        if spliced > self.capacity() {
            self.reserve_exact(block_bytes(spliced) - len);
        }
        self.resize(len.max(spliced), 0);
        self.copy_within(old.end..len, end);
        self[old.start..end].copy_from_slice(new);
        self.truncate(spliced);
    }
}

impl Packed {
    /// A block with these sections, with the capacity that it would have if they had been appended
    /// bit by bit.
    pub(super) fn new(sections: [&[u8]; 3]) -> Self {
        let len = sections.iter().map(|section| section.len()).sum();
        let mut bytes = Vec::with_capacity(block_bytes(len));
        let ends = sections.map(|section| {
            bytes.extend_from_slice(section);
            short(bytes.len())
        });
        bytes.resize(block_bytes(len), 0);
        Self { bytes: bytes.into_boxed_slice(), ends, has_text_id: false }
    }

    /// A section's bytes.
    #[inline]
    pub(super) fn get(&self, section: Section) -> &[u8] {
        &self.bytes[self.range(section)]
    }

    /// A section, for modification.
    #[inline]
    pub(super) const fn section(&mut self, section: Section) -> SectionMut<'_> {
        SectionMut { packed: self, section }
    }

    /// Frees unused capacity, after a section has moved out of the block.
    pub(super) fn shrink(&mut self) {
        self.resize(block_bytes(self.len()));
    }

    /// Bytes on the heap.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Prefetches the groups, the ids, and the first and last rows. Entries are hardly ever booked
    /// in the rows between.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.lines().for_each(|line| prefetch::line((line * LINE_BYTES) as *const u8));
    }

    /// Numbers of the cache lines that [`Self::prefetch`] requests.
    #[inline]
    fn lines(&self) -> impl Iterator<Item = usize> {
        let len = self.len();
        let line = |at: usize| (self.bytes.as_ptr() as usize + at) / LINE_BYTES;
        let last = len.saturating_sub(1);
        let first = line((self.range(Section::Rows).start + LINE_BYTES).min(last));
        let latest = line(len.saturating_sub(LATEST_BYTES)).max(first + 1);
        (line(0)..=first).chain(latest..=line(last)).take_while(move |_| len > 0)
    }

    const fn len(&self) -> usize {
        self.ends[2] as usize
    }

    #[inline]
    fn range(&self, section: Section) -> Range<usize> {
        let [groups, ids, rows] = self.ends.map(usize::from);
        match section {
            Section::Groups => 0..groups,
            Section::Ids => groups..ids,
            Section::Rows => ids..rows,
        }
    }

    #[inline(never)]
    fn resize(&mut self, bytes: usize) {
        let mut resized = Vec::with_capacity(bytes);
        resized.extend_from_slice(&self.bytes[..self.len()]);
        resized.resize(bytes, 0);
        self.bytes = resized.into_boxed_slice();
    }
}

/// Mutable view of one section; the sections after it move when its length changes.
#[derive(Debug)]
pub(super) struct SectionMut<'a> {
    packed: &'a mut Packed,
    section: Section,
}

impl Deref for SectionMut<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.packed.get(self.section)
    }
}

impl DerefMut for SectionMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let range = self.packed.range(self.section);
        &mut self.packed.bytes[range]
    }
}

impl Bytes for SectionMut<'_> {
    #[inline]
    fn replace(&mut self, old: Range<usize>, new: &[u8]) {
        let Self { packed, section } = self;
        let (section_start, len) = (packed.range(*section).start, packed.len());
        let (start, behind) = (section_start + old.start, section_start + old.end);
        let end = start + new.len();
        let spliced = len - old.len() + new.len();
        if spliced > packed.bytes.len() {
            packed.resize(block_bytes(spliced));
        }
        if end != behind {
            packed.bytes.copy_within(behind..len, end);
            for section_end in &mut packed.ends[*section as usize..] {
                *section_end = short(usize::from(*section_end) - old.len() + new.len());
            }
        }
        packed.bytes[start..end].copy_from_slice(new);
    }
}

fn short(end: usize) -> u16 {
    u16::try_from(end).expect("the limits of the sections keep a block below 64 KiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::id::UserId;

    const SECTIONS: [Section; 3] = [Section::Groups, Section::Ids, Section::Rows];

    #[test]
    fn sections_behave_like_separate_vectors() {
        for seed in 0..50u64 {
            let (mut packed, mut vecs, mut state) =
                (Packed::default(), [(); 3].map(|()| Vec::<u8>::new()), seed);
            for step in 0..200_u8 {
                state = UserId::Number(state).hash();
                let draw = |below: usize, bits: u32| (state >> bits) as usize % below;
                let place = draw(3, 0);
                let len = vecs[place].len();
                let start = draw(len + 1, 8);
                let old = start..start + draw(len - start + 1, 24).min(draw(30, 40));
                let new = vec![step + 1; draw(30, 48)];
                packed.section(SECTIONS[place]).replace(old.clone(), &new);
                Bytes::replace(&mut vecs[place], old, &new);
                if draw(20, 56) == 0 {
                    packed.section(SECTIONS[place]).replace(0..vecs[place].len(), &[]);
                    vecs[place].clear();
                    packed.shrink();
                    assert_eq!(packed.heap_bytes(), block_bytes(packed.len()));
                }
                assert_eq!(
                    SECTIONS.map(|section| packed.get(section)),
                    vecs.each_ref().map(|vec| &vec[..]),
                    "seed {seed}"
                );
            }
            let again = Packed::new(vecs.each_ref().map(|vec| &vec[..]));
            assert_eq!(
                SECTIONS.map(|section| again.get(section)),
                SECTIONS.map(|section| packed.get(section))
            );
            assert_eq!(again.heap_bytes(), block_bytes(packed.len()));
        }
    }

    #[test]
    fn capacity_is_the_same_whether_grown_or_built_at_once() {
        let (mut grown, mut vec) = (Packed::default(), Vec::new());
        for len in 0..2_000 {
            let bytes = vec![7; len];
            assert_eq!(Packed::new([&bytes, b"", b""]).heap_bytes(), grown.heap_bytes(), "{len}");
            assert_eq!(vec.capacity(), grown.heap_bytes(), "{len}");
            grown.section(Section::Ids).replace(len..len, &[7]);
            Bytes::replace(&mut vec, len..len, &[7]);
        }
    }

    #[test]
    fn all_lines_but_the_middle_of_many_rows_are_prefetched_once() {
        for (ids, rows) in (0..400).map(|n| (n * 7 % 90, n)) {
            let packed = Packed::new([b"", &vec![1; ids], &vec![2; rows]]);
            let at = |n| (packed.bytes.as_ptr() as usize + n) / LINE_BYTES;
            let len = ids + rows;
            let mut all: Vec<_> = if len == 0 { vec![] } else { (at(0)..=at(len - 1)).collect() };
            all.retain(|&line| {
                line <= at(ids + LINE_BYTES) || line >= at(len.saturating_sub(LATEST_BYTES))
            });
            assert_eq!(packed.lines().collect::<Vec<_>>(), all, "{ids} and {rows}");
        }
    }
}
