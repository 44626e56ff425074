//! Texts of a slice's user ids, one after the other, each behind its length in one byte. They are
//! in chunks that never move, and are there for good.

use crate::prefetch;

/// Size of a chunk, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The texts, by place.
#[derive(Debug, Default)]
pub struct Texts {
    chunks: Vec<Vec<u8>>,
}

impl Texts {
    /// Adds a text of 1 to 255 bytes and returns its place. Not inlined: users with numbers stay
    /// fast.
    #[inline(never)]
    pub fn add(&mut self, text: &[u8]) -> u64 {
        let fits = |chunk: &Vec<u8>| chunk.len() + 1 + text.len() <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let place = number * CHUNK_BYTES + chunk.len();
        chunk.push(text.len() as u8);
        chunk.extend_from_slice(text);
        place as u64
    }

    /// The text at a place that [`Self::add`] returned.
    #[inline(never)]
    pub fn get(&self, place: u64) -> &[u8] {
        let chunk = &self.chunks[place as usize / CHUNK_BYTES];
        let (len, text) = chunk[place as usize % CHUNK_BYTES..].split_at(1);
        &text[..usize::from(len[0])]
    }

    /// Prefetches the text at a place. A long one reaches into the second line.
    #[inline(never)]
    pub fn prefetch(&self, place: u64) {
        let chunk = &self.chunks[place as usize / CHUNK_BYTES];
        let start = chunk.as_ptr().wrapping_add(place as usize % CHUNK_BYTES);
        prefetch::range(start, 2 * prefetch::LINE_BYTES);
    }

    /// Bytes on the heap.
    pub const fn heap_bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_at_their_places() {
        let mut texts = Texts::default();
        let text = |n: usize| vec![n as u8; 1 + n % 64];
        let places: Vec<_> = (0..10_000).map(|n| texts.add(&text(n))).collect();
        for (n, &place) in places.iter().enumerate() {
            assert_eq!(texts.get(place), text(n));
        }
        let bytes: usize = (0..10_000).map(|n| 1 + text(n).len()).sum();
        assert_eq!(texts.heap_bytes(), bytes.div_ceil(CHUNK_BYTES) * CHUNK_BYTES);
    }
}
