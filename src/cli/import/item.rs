//! Sort item of an import: an entry with the origin of its line.
//!
//! | bytes | contents, little-endian |
//! |-------|-------------------------|
//! | 41 + n | the entry as a record of the log ([`record`]), its version replaced by [`Origin`] |
//! | 8 | offset of the line in its file |
//! | … | text of the line, if its file cannot be read again |

use crate::journal::record::{self, HEAD_BYTES};
use crate::ledger::entry::EntryRef;
use std::cmp::Ordering;

/// Bits of a line's number; the bits above are the file's.
const LINE_BITS: u32 = 48;
/// Most files of one import.
pub const FILES: usize = 1 << (u64::BITS - LINE_BITS);

/// Origin of a line: its file's place on the command line, and its number in that file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(u64);

impl Origin {
    /// The origin of line `line` of file `file`.
    pub fn new(file: usize, line: u64) -> Self {
        assert!(file < FILES && line < 1 << LINE_BITS, "file and line numbers fit their bits");
        Self((file as u64) << LINE_BITS | line)
    }

    /// Index of the file.
    pub const fn file(self) -> usize {
        (self.0 >> LINE_BITS) as usize
    }

    /// Number of the line, from 1.
    pub const fn line(self) -> u64 {
        self.0 & ((1 << LINE_BITS) - 1)
    }
}

/// Sort key: entries are judged by user, then booking time, then in the order in which they were
/// read. The order of two entries of users with texts of one hash is that of their texts:
/// [`Key::compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    has_text_id: bool,
    /// The number, or the hash of the text.
    user: u64,
    at_ms: u64,
    origin: Origin,
}

impl Key {
    /// The key of a whole item.
    pub fn of(item: &[u8]) -> Self {
        let head: &[u8; HEAD_BYTES] =
            item.first_chunk().expect("an item is at least HEAD_BYTES long");
        let number =
            |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        Self {
            has_text_id: !record::text_id(item).is_empty(),
            user: number(1),
            at_ms: number(33),
            origin: Origin(number(9)),
        }
    }

    /// The order of two items with these keys. `texts` are their user ids, as far as they are
    /// texts.
    pub fn compare<'a>(
        self,
        other: Self,
        texts: impl FnOnce() -> (&'a [u8], &'a [u8]),
    ) -> Ordering {
        if !self.has_text_id || (self.has_text_id, self.user) != (other.has_text_id, other.user) {
            return self.cmp(&other);
        }
        let (own, others) = texts();
        own.cmp(others).then_with(|| self.cmp(&other))
    }
}

/// A decoded item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The entry.
    pub entry: EntryRef<'a>,
    /// Origin of its line.
    pub origin: Origin,
    /// Offset of the line in its file.
    pub offset: u64,
    /// Text of the line; empty if it can be read from the file again.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    /// Appends the encoded item.
    pub fn write(&self, out: &mut Vec<u8>) {
        record::write(out, &self.entry, self.origin.0);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(self.text);
    }

    /// Decodes an item; `None` if the bytes are not one.
    pub fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let (entry, origin) = record::decode(&mut bytes)?;
        let (offset, text) = bytes.split_first_chunk()?;
        Some(Self { entry, origin: Origin(origin), offset: u64::from_le_bytes(*offset), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::Action;
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;

    #[test]
    fn an_encoded_item_decodes_and_has_its_key() {
        let mut before: Option<(Key, Vec<u8>)> = None;
        let texts = [&b"users:1"[..], b"users:2"].map(UserId::Text);
        let (first, last) = if texts[0].hash() < texts[1].hash() {
            (texts[0], texts[1])
        } else {
            (texts[1], texts[0])
        };
        for (user, at, file, line) in [
            (UserId::Number(0), 9, 3, 7),
            (UserId::Number(7), 0, 65_535, 7),
            (UserId::Number(7), 5, 0, 8),
            (UserId::Number(7), 5, 1, 1),
            (UserId::Number(7), 6, 0, 1),
            (UserId::Number(u64::MAX), 0, 0, 1),
            (first, 3, 0, 1),
            (first, 3, 1, 1),
            (first, 4, 0, 1),
            (last, 0, 0, 1),
        ] {
            let entry = EntryRef {
                id: EntryId(5),
                user,
                at: Millis(at),
                late_accepted: false,
                action: Action::Void { hold: EntryId(4), terms: None, amount: None },
            };
            for text in [&b""[..], b"{}"] {
                let item = Item { entry, origin: Origin::new(file, line), offset: 1 << 40, text };
                assert_eq!((item.origin.file(), item.origin.line()), (file, line));
                let mut bytes = Vec::new();
                item.write(&mut bytes);
                assert_eq!(Item::decode(&bytes), Some(item));
                let key = Key::of(&bytes);
                assert_eq!((key.at_ms, key.origin), (at, item.origin));
                if let Some((before, earlier)) = &before {
                    let texts = || (record::text_id(earlier), record::text_id(&bytes));
                    let order = before.compare(key, texts);
                    assert_ne!(order, Ordering::Greater, "keys are in order: {key:?}");
                }
                before = Some((key, bytes));
            }
        }
        assert_eq!(Item::decode(&[0; 40]), None);
    }

    /// No two texts with one hash are known, but they can be made.
    #[test]
    fn users_whose_texts_have_one_hash_are_kept_apart() {
        let key = |at_ms| Key { has_text_id: true, user: 7, at_ms, origin: Origin::new(0, 1) };
        let compare = |a, b, texts: (&'static str, &'static str)| {
            key(a).compare(key(b), || (texts.0.as_bytes(), texts.1.as_bytes()))
        };
        assert_eq!(compare(2, 1, ("a", "b")), Ordering::Less);
        assert_eq!(compare(1, 2, ("b", "a")), Ordering::Greater);
        assert_eq!(compare(2, 1, ("a", "a")), Ordering::Greater);
    }
}
