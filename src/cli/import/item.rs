//! Sort item of an import: an entry with the origin of its line.
//!
//! | bytes | contents, little-endian |
//! |-------|-------------------------|
//! | 41 + n | the entry as a record of the log ([`record`]), its version replaced by [`Origin`] |
//! | 8 | offset of the line in its file |
//! | … | text of the line, if its file cannot be read again |

use crate::journal::record;
use crate::ledger::entry::EntryRef;

/// Bits of a line's number; the bits above are the file's.
const LINE_BITS: u32 = 48;
/// Most files of one import.
pub const FILES: usize = 1 << (u64::BITS - LINE_BITS);
/// Bytes before an entry's action. They contain all fields of a [`Key`].
const HEAD_BYTES: usize = 41;

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
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
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
        Self { user: number(1), at_ms: number(33), origin: Origin(number(9)) }
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
        let mut before = None;
        for (user, at, file, line) in [
            (0, 9, 3, 7),
            (7, 0, 65_535, 7),
            (7, 5, 0, 8),
            (7, 5, 1, 1),
            (7, 6, 0, 1),
            (u64::MAX, 0, 0, 1),
        ] {
            let entry = EntryRef {
                id: EntryId(5),
                user: UserId(user),
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
                assert_eq!(key, Key { user, at_ms: at, origin: item.origin });
                assert!(before <= Some(key), "keys are in order: {key:?}");
                before = Some(key);
            }
        }
        assert_eq!(Item::decode(&[0; 40]), None);
    }
}
