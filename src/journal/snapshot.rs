//! A snapshot: all users of a slice, each as it was at some moment while the snapshot was written.
//!
//! | frame | payload, little-endian |
//! |-------|------------------------|
//! | first | segment from which the log is replayed over it: 8 bytes; 1 if an import wrote it, and there is no log yet |
//! | users | images of users ([`crate::ledger::image`]), one after the other, each whole |
//! | last | users: 8; entries: 8; log position at which the scan ended: 8; then for each kind, in the order of their numbers: length: 1, kind |
//!
//! A user's image carries its version, so that replay knows which records it holds already. An
//! image may hold records that were not yet durable when it was made; the log is, up to the
//! position in the last frame, before the snapshot becomes current.

use super::parts::{kind, number};
use crate::ledger::names::Names;

/// What the first frame says: the segment from which the log is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Its number.
    pub segment: u64,
}

impl Begin {
    /// Appends it.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.segment.to_le_bytes());
    }

    /// Reads it; `None` if the payload is not one.
    pub fn read(mut payload: &[u8]) -> Option<Self> {
        let segment = number(&mut payload)?;
        payload.is_empty().then_some(Self { segment })
    }
}

/// What the last frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// How many users there are.
    pub users: u64,
    /// The sum of their versions.
    pub entries: u64,
    /// The log position that must be reached for the snapshot to hold.
    pub position: u64,
    kinds: &'a [u8],
}

impl<'a> End<'a> {
    /// Appends it.
    pub fn write(out: &mut Vec<u8>, users: u64, entries: u64, position: u64, names: &Names) {
        for figure in [users, entries, position] {
            out.extend_from_slice(&figure.to_le_bytes());
        }
        for name in names.iter() {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
    }

    /// Reads it; `None` if the payload is not one.
    pub fn read(mut payload: &'a [u8]) -> Option<Self> {
        let [users, entries, position] =
            [number(&mut payload)?, number(&mut payload)?, number(&mut payload)?];
        let end = Self { users, entries, position, kinds: payload };
        let bytes: usize = end.kinds().map(|kind| 1 + kind.len()).sum();
        (bytes == end.kinds.len()).then_some(end)
    }

    /// The kinds, in the order of their numbers.
    pub fn kinds(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.kinds;
        std::iter::from_fn(move || kind(&mut rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_is_pinned_and_read_back() {
        let mut names = Names::default();
        names.number("topup");
        names.number("gift");
        let mut bytes = Vec::new();
        End::write(&mut bytes, 3, 70, 12, &names);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "030000000000000046000000000000000c0000000000000005746f7075700467696674");
        let end = End::read(&bytes).unwrap();
        assert_eq!((end.users, end.entries, end.position), (3, 70, 12));
        assert_eq!(end.kinds().collect::<Vec<_>>(), ["topup", "gift"]);
        for len in (0..24).chain(25..30).chain(31..bytes.len()) {
            assert_eq!(End::read(&bytes[..len]), None, "{len}");
        }
        assert_eq!(Begin::read(&9u64.to_le_bytes()), Some(Begin { segment: 9 }));
        assert_eq!(Begin::read(&bytes), None);
    }
}
