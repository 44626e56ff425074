//! A segment: a file of the log. Its first frame says which file the log was in before, and where
//! exactly it ended there.
//!
//! | at | bytes | payload of the first frame, little-endian |
//! |----|-------|-------------------------------------------|
//! |  0 | 8 | bytes of this file |
//! |  8 | 8 | number of the segment before; 0 if there is none |
//! | 16 | 8 | where its last frame ends |
//! | 24 | 4 | checksum of that frame |
//!
//! Writes follow, each where the one before it ends. The header is durable before the first of them
//! is begun. What a crash left behind the end in the segment before is thereby no longer part of
//! the log.

use super::parts::{number, take};

/// Where a segment's frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The segment's number.
    pub segment: u64,
    /// Where its last frame ends.
    pub offset: u64,
    /// That frame's checksum.
    pub crc: u32,
}

/// What a segment's first frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of this file.
    pub capacity: u64,
    /// Where the log was before; `None` if it begins here.
    pub before: Option<End>,
}

impl Header {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let End { segment, offset, crc } =
            self.before.unwrap_or(End { segment: 0, offset: 0, crc: 0 });
        out.extend_from_slice(&self.capacity.to_le_bytes());
        out.extend_from_slice(&segment.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads it; `None` if the payload is not one.
    pub fn read(mut payload: &[u8]) -> Option<Self> {
        let bytes = &mut payload;
        let [capacity, segment, offset] = [number(bytes)?, number(bytes)?, number(bytes)?];
        let end = End { segment, offset, crc: u32::from_le_bytes(take(bytes)?) };
        payload.is_empty().then_some(Self { capacity, before: (segment > 0).then_some(end) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pinned_and_read_back() {
        let end = End { segment: 2, offset: 8_192, crc: 0xdead_beef };
        for (before, pinned) in [
            (None, "00001000000000000000000000000000000000000000000000000000"),
            (Some(end), "000010000000000002000000000000000020000000000000efbeadde"),
        ] {
            let header = Header { capacity: 1 << 20, before };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), pinned);
            assert_eq!(Header::read(&bytes), Some(header));
            assert_eq!(Header::read(&bytes[1..]), None);
        }
    }
}
