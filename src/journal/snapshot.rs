//! Snapshot of a slice: all its users, each as of some moment while the snapshot was written.
//!
//! Its frames, with their payloads in little-endian:
//!
//! - first: number of the segment from which the log is replayed over the snapshot, 8 bytes. It is
//!   1 if an import wrote the snapshot and there is no log yet.
//! - users: images of users and their pieces ([`crate::ledger::image`]), one after the other, none
//!   split between frames; those of one user may lie in several frames
//! - kinds: for each kind, in the order of their numbers: its length, 1 byte, and its name
//! - last: number of users, 8 bytes; number of entries, 8 bytes; log position at which the scan
//!   ended, 8 bytes; number of kinds, 8 bytes; offset of the first frame of kinds, or of the last
//!   frame if there are no kinds, 8 bytes
//!
//! No frame is large, whatever the number of kinds and of one user's remembered ids, so writing and
//! reading one takes a bounded time.
//!
//! A user's image carries its version, so replay knows which records the image already contains. An
//! image may contain records that were not yet durable when it was made. The log is durable up to
//! the position in the last frame before the snapshot becomes current.

use super::fields::{kind, number};
use crate::ledger::image::MAX_PART_BYTES;

/// Payload bytes at which a frame of users or kinds is full: what would be added next goes to the
/// next frame. What was added last may exceed it.
pub const FULL_FRAME_BYTES: usize = 64 << 10;
/// Upper bound of the payload of a users frame, in bytes.
pub const MAX_USERS_BYTES: usize = FULL_FRAME_BYTES + MAX_PART_BYTES;
/// Upper bound of the payload of a kinds frame, in bytes.
pub const MAX_KINDS_BYTES: usize = FULL_FRAME_BYTES + 1 + u8::MAX as usize;

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

/// Payload of a frame of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds<'a>(&'a [u8]);

impl<'a> Kinds<'a> {
    /// Appends a kind to the payload.
    pub fn write(out: &mut Vec<u8>, name: &str) {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }

    /// Parses a payload; `None` if it is malformed.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let kinds = Self(payload);
        let bytes: usize = kinds.iter().map(|kind| 1 + kind.len()).sum();
        (bytes == payload.len()).then_some(kinds)
    }

    /// Names of the kinds, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.0;
        std::iter::from_fn(move || kind(&mut rest))
    }
}

/// Payload of the last frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Number of users.
    pub users: u64,
    /// Sum of the users' versions.
    pub entries: u64,
    /// Log position that must be durable before the snapshot is valid.
    pub position: u64,
    /// Number of kinds.
    pub kinds: u64,
    /// Offset of the first frame of kinds; of the last frame if there are no kinds.
    pub kinds_at: u64,
}

impl End {
    /// Appends the payload.
    pub fn write(self, out: &mut Vec<u8>) {
        let Self { users, entries, position, kinds, kinds_at } = self;
        for figure in [users, entries, position, kinds, kinds_at] {
            out.extend_from_slice(&figure.to_le_bytes());
        }
    }

    /// Parses a payload; `None` if it is malformed.
    pub fn decode(mut payload: &[u8]) -> Option<Self> {
        let mut next = || number(&mut payload);
        let end = Self {
            users: next()?,
            entries: next()?,
            position: next()?,
            kinds: next()?,
            kinds_at: next()?,
        };
        payload.is_empty().then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_first_and_the_last_frame_are_pinned_and_read_back() {
        let end = End { users: 3, entries: 70, position: 12, kinds: 2, kinds_at: 8_192 };
        let mut bytes = Vec::new();
        end.write(&mut bytes);
        let pinned = [
            "0300000000000000",
            "4600000000000000",
            "0c00000000000000",
            "0200000000000000",
            "0020000000000000",
        ];
        assert_eq!(hex(&bytes), pinned.concat());
        assert_eq!(End::decode(&bytes), Some(end));
        for len in 0..bytes.len() {
            assert_eq!(End::decode(&bytes[..len]), None, "{len}");
        }
        bytes.push(0);
        assert_eq!(End::decode(&bytes), None);
        assert_eq!(Begin::decode(&9u64.to_le_bytes()), Some(Begin { segment: 9 }));
        assert_eq!(Begin::decode(&bytes), None);
    }

    #[test]
    fn a_frame_of_kinds_is_pinned_and_read_back() {
        let mut bytes = Vec::new();
        Kinds::write(&mut bytes, "topup");
        Kinds::write(&mut bytes, "gift");
        assert_eq!(hex(&bytes), "05746f7075700467696674");
        let kinds = Kinds::decode(&bytes).unwrap();
        assert_eq!(kinds.iter().collect::<Vec<_>>(), ["topup", "gift"]);
        for len in (1..6).chain(7..bytes.len()) {
            assert_eq!(Kinds::decode(&bytes[..len]), None, "{len}");
        }
    }
}
