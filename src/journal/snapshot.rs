//! Snapshot of a slice: all its users, each as of some moment while the snapshot was written.
//!
//! Its frames, with their payloads in little-endian:
//!
//! - first: number of the segment from which the log is replayed over the snapshot, 8 bytes. It is
//!   1 if an import wrote the snapshot and there is no log yet.
//! - users: images of users ([`crate::ledger::image`]), one after the other, none split between
//!   frames
//! - last: number of users, 8 bytes; number of entries, 8 bytes; log position at which the scan
//!   ended, 8 bytes; then for each kind, in the order of their numbers: its length, 1 byte, and its
//!   name
//!
//! A user's image carries its version, so replay knows which records the image already contains. An
//! image may contain records that were not yet durable when it was made. The log is durable up to
//! the position in the last frame before the snapshot becomes current.

use super::fields::{kind, number};
use crate::ledger::names::Names;

/// Payload of the first frame: the segment from which the log is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Number of the segment.
    pub segment: u64,
}

impl Begin {
    /// Appends the payload.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.segment.to_le_bytes());
    }

    /// Parses a payload; `None` if it is malformed.
    pub fn decode(mut payload: &[u8]) -> Option<Self> {
        let segment = number(&mut payload)?;
        payload.is_empty().then_some(Self { segment })
    }
}

/// Payload of the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// Number of users.
    pub users: u64,
    /// Sum of the users' versions.
    pub entries: u64,
    /// Log position that must be durable before the snapshot is valid.
    pub position: u64,
    kinds: &'a [u8],
}

impl<'a> End<'a> {
    /// Appends the payload.
    pub fn write(out: &mut Vec<u8>, users: u64, entries: u64, position: u64, names: &Names) {
        for figure in [users, entries, position] {
            out.extend_from_slice(&figure.to_le_bytes());
        }
        for name in names.iter() {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
    }

    /// Parses a payload; `None` if it is malformed.
    pub fn decode(mut payload: &'a [u8]) -> Option<Self> {
        let [users, entries, position] =
            [number(&mut payload)?, number(&mut payload)?, number(&mut payload)?];
        let end = Self { users, entries, position, kinds: payload };
        let bytes: usize = end.kinds().map(|kind| 1 + kind.len()).sum();
        (bytes == end.kinds.len()).then_some(end)
    }

    /// Names of the kinds, in the order of their numbers.
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
        let end = End::decode(&bytes).unwrap();
        assert_eq!((end.users, end.entries, end.position), (3, 70, 12));
        assert_eq!(end.kinds().collect::<Vec<_>>(), ["topup", "gift"]);
        for len in (0..24).chain(25..30).chain(31..bytes.len()) {
            assert_eq!(End::decode(&bytes[..len]), None, "{len}");
        }
        assert_eq!(Begin::decode(&9u64.to_le_bytes()), Some(Begin { segment: 9 }));
        assert_eq!(Begin::decode(&bytes), None);
    }
}
