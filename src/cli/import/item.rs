//! What is sorted: an entry, and where the line stands that it was read from.
//!
//! | bytes | what, little-endian |
//! |-------|---------------------|
//! | 41 + n | the entry as a log's record ([`record`]); in the place of the version the number of its line ([`Origin`]) |
//! | 8 | where the line begins in its file |
//! | … | the line, if its file cannot be read again |

use crate::journal::record;
use crate::ledger::entry::EntryRef;

/// Bits of a line's number; those above are the file's.
const LINE_BITS: u32 = 48;
/// How many files one import can take.
pub const FILES: usize = 1 << (u64::BITS - LINE_BITS);
/// Bytes before an entry's action: what a key is made of is in them.
const HEAD_BYTES: usize = 41;

/// A line: which file, by its place on the command line, and the line's number in it, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(u64);

impl Origin {
    /// A line of a file.
    pub fn new(file: usize, line: u64) -> Self {
        assert!(file < FILES && line < 1 << LINE_BITS, "no input has so many files or lines");
        Self((file as u64) << LINE_BITS | line)
    }

    /// Which file.
    pub const fn file(self) -> usize {
        (self.0 >> LINE_BITS) as usize
    }

    /// The line's number.
    pub const fn line(self) -> u64 {
        self.0 & ((1 << LINE_BITS) - 1)
    }
}

/// The order in which entries are judged: user after user, each by booking time, what is booked at
/// one time as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    user: u64,
    at_ms: u64,
    origin: Origin,
}

impl Key {
    /// Of a whole item.
    pub fn of(item: &[u8]) -> Self {
        let head: &[u8; HEAD_BYTES] = item.first_chunk().expect("an item has a head");
        let number =
            |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        Self { user: number(1), at_ms: number(33), origin: Origin(number(9)) }
    }
}

/// An item, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The entry.
    pub entry: EntryRef<'a>,
    /// Its line.
    pub origin: Origin,
    /// Where that begins in its file.
    pub offset: u64,
    /// The line's text; empty if it is read from the file again.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        record::write(out, &self.entry, self.origin.0);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(self.text);
    }

    /// Reads what [`Self::write`] wrote; `None` if it was not that.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let (entry, origin) = record::read(&mut bytes)?;
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
    fn what_is_written_is_read_and_has_its_key() {
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
                action: Action::Void { hold: EntryId(4) },
            };
            for text in [&b""[..], b"{}"] {
                let item = Item { entry, origin: Origin::new(file, line), offset: 1 << 40, text };
                assert_eq!((item.origin.file(), item.origin.line()), (file, line));
                let mut bytes = Vec::new();
                item.write(&mut bytes);
                assert_eq!(Item::read(&bytes), Some(item));
                let key = Key::of(&bytes);
                assert_eq!(key, Key { user, at_ms: at, origin: item.origin });
                assert!(before <= Some(key), "keys are in order: {key:?}");
                before = Some(key);
            }
        }
        assert_eq!(Item::read(&[0; 40]), None);
    }
}
