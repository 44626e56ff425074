//! WAL segment header: the payload of the first frame in a file of the log. It names the previous
//! segment and the exact end of the log in it.
//!
//! | at | bytes | payload of the first frame, little-endian |
//! |----|-------|-------------------------------------------|
//! |  0 | 8 | size of this file in bytes |
//! |  8 | 8 | number of the previous segment; 0 if there is none |
//! | 16 | 8 | offset at which its last frame ends |
//! | 24 | 4 | checksum of that frame |
//! | 28 | 8 | salt of the writes in this file: a random number, new for each use of the file |
//!
//! Writes follow the header, each where the one before it ends. The header is durable before the
//! first write begins. Data that a crash left after the recorded end of the previous segment is
//! thereby no longer part of the log.

use super::fields::{number, take};
use super::frame::NO_SALT;

/// End of a segment's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Number of the segment.
    pub segment: u64,
    /// Offset at which the last frame ends, in bytes.
    pub offset: u64,
    /// Checksum of that frame.
    pub crc: u32,
}

/// Payload of a segment's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Size of this file in bytes.
    pub capacity: u64,
    /// End of the previous segment; `None` if the log begins here.
    pub before: Option<End>,
    /// Salt of this segment's writes; not [`NO_SALT`].
    pub salt: u64,
}

impl Header {
    /// Appends the payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        let End { segment, offset, crc } =
            self.before.unwrap_or(End { segment: 0, offset: 0, crc: 0 });
        out.extend_from_slice(&self.capacity.to_le_bytes());
        out.extend_from_slice(&segment.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
    }

    /// Parses a payload; `None` if it is not a segment header.
    pub fn decode(mut payload: &[u8]) -> Option<Self> {
        let bytes = &mut payload;
        let [capacity, segment, offset] = [number(bytes)?, number(bytes)?, number(bytes)?];
        let end = End { segment, offset, crc: u32::from_le_bytes(take(bytes)?) };
        let salt = number(bytes).filter(|&salt| salt != NO_SALT)?;
        payload.is_empty().then_some(Self { capacity, before: (segment > 0).then_some(end), salt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_pinned_and_read_back() {
        let end = End { segment: 2, offset: 8_192, crc: 0xdead_beef };
        for (before, pinned) in [
            (None, "00001000000000000000000000000000000000000000000000000000efcdab8967452301"),
            (Some(end), "000010000000000002000000000000000020000000000000efbeaddeefcdab8967452301"),
        ] {
            let header = Header { capacity: 1 << 20, before, salt: 0x0123_4567_89ab_cdef };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), pinned);
            assert_eq!(Header::decode(&bytes), Some(header));
            assert_eq!(Header::decode(&bytes[1..]), None);
            bytes[28..].fill(0);
            assert_eq!(Header::decode(&bytes), None, "every segment has a salt");
        }
    }
}
