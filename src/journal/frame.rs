//! Frame: the unit in which all binary data is written, checked and read back.
//!
//! | at | bytes | field, little-endian |
//! |----|-------|----------------------|
//! |  0 | 4 | CRC-32C of everything that follows, through the end of the payload |
//! |  4 | 4 | size of the payload in bytes |
//! |  8 | 4 | [`Kind`] |
//! | 12 | 4 | slice |
//! | 16 | 8 | generation of the data directory |
//! | 24 | 8 | number of the file, unique over all uses of the file: its epoch |
//! | 32 | 8 | number of the frame: see [`Kind`] |
//! | 40 | … | payload, then zeros to the next multiple of 4 KiB |
//!
//! A frame contains its location. So a frame that was written to the wrong place, or that is left
//! from a file's former use, is not mistaken for the expected one.

use super::Place;

/// Alignment of frames in a file, in bytes: a multiple of every disk's block size.
pub const ALIGN: usize = 4_096;

/// Size of the header before the payload, in bytes.
pub const HEADER_BYTES: usize = 40;

/// Type of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// First frame of a segment ([`super::segment`]). Its number is that of the last write before
    /// it in the log.
    Segment = 1,
    /// Records ([`super::record`]). Writes are numbered consecutively from 1, across all segments
    /// of a slice.
    Write = 2,
    /// First frame of a snapshot ([`super::snapshot`]), number 0. The frames of a snapshot are
    /// numbered consecutively.
    Snapshot = 3,
    /// Images of users and their pieces ([`crate::ledger::image`]).
    Users = 4,
    /// Last frame of a snapshot.
    End = 5,
    /// Names of kinds.
    Kinds = 6,
}

/// A frame that was read and whose checksum is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type of the payload.
    pub kind: Kind,
    /// Number of the frame.
    pub number: u64,
    /// Checksum of the frame.
    pub crc: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Size of the frame in its file, in bytes.
    pub const fn size(&self) -> usize {
        size_of_payload(self.payload.len())
    }
}

/// Size in a file of a frame with `bytes` of payload.
pub const fn size_of_payload(bytes: usize) -> usize {
    (HEADER_BYTES + bytes).next_multiple_of(ALIGN)
}

/// Reason for the lack of an expected frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The header is all zeros.
    Empty,
    /// The bytes end before the frame does. It needs this many bytes, if its length is correct.
    Short(usize),
    /// The checksum does not match.
    Broken,
    /// A valid frame of another file or of this file's former use.
    Foreign,
}

/// Number of bytes that must be read for the frame at the start of `bytes`, if its length is
/// correct.
pub fn needed_bytes(bytes: &[u8]) -> usize {
    match bytes.first_chunk::<HEADER_BYTES>() {
        None => HEADER_BYTES,
        Some(header) => HEADER_BYTES + u32_at(header, 4) as usize,
    }
}

/// Reads the frame at the start of `bytes`, which must be valid and belong to `place`.
///
/// ```
/// use purser::journal::Place;
/// use purser::journal::frame::{ALIGN, FrameBuffer, FrameError, HEADER_BYTES, Kind, decode};
///
/// let place = Place { generation: 1, slice: 0, file: 1 };
/// let mut frame = FrameBuffer::with_capacity(64);
/// frame.payload().extend_from_slice(b"records");
/// frame.seal(Kind::Write, place, 1);
/// assert_eq!(frame.bytes().len(), ALIGN);
/// assert_eq!(decode(frame.bytes(), place).map(|frame| frame.payload), Ok(&b"records"[..]));
///
/// // The bytes of one file are not taken for those of another, nor damaged ones for sound ones.
/// assert_eq!(decode(frame.bytes(), Place { file: 2, ..place }), Err(FrameError::Foreign));
/// let mut damaged = frame.bytes().to_vec();
/// damaged[HEADER_BYTES] ^= 1;
/// assert_eq!(decode(&damaged, place), Err(FrameError::Broken));
/// ```
pub fn decode(bytes: &[u8], place: Place) -> Result<Frame<'_>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Short(HEADER_BYTES));
    };
    if header == &[0; HEADER_BYTES] {
        return Err(FrameError::Empty);
    }
    let end = needed_bytes(bytes);
    let Some(whole) = bytes.get(..end) else { return Err(FrameError::Short(end)) };
    let crc = u32_at(header, 0);
    if crc32c::crc32c(&whole[4..]) != crc {
        return Err(FrameError::Broken);
    }
    let kind = match u32_at(header, 8) {
        1 => Kind::Segment,
        2 => Kind::Write,
        3 => Kind::Snapshot,
        4 => Kind::Users,
        5 => Kind::End,
        6 => Kind::Kinds,
        _ => return Err(FrameError::Foreign),
    };
    let found = Place {
        slice: u32_at(header, 12),
        generation: u64_at(header, 16),
        file: u64_at(header, 24),
    };
    if found != place {
        return Err(FrameError::Foreign);
    }
    Ok(Frame { kind, number: u64_at(header, 32), crc, payload: &whole[HEADER_BYTES..] })
}

/// A frame under construction. Its bytes begin at a multiple of [`ALIGN`] in memory, as direct
/// writes require.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl FrameBuffer {
    /// An empty frame with capacity for a payload; a larger payload moves it in memory.
    pub fn with_capacity(payload_bytes: usize) -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(size_of_payload(payload_bytes) + ALIGN);
        let start = bytes.as_ptr().align_offset(ALIGN);
        bytes.resize(start + HEADER_BYTES, 0);
        Self { bytes, start }
    }

    /// Like [`Self::with_capacity`], with all of its memory prefaulted.
    pub fn touched(payload_bytes: usize) -> Self {
        let mut block = Self::with_capacity(payload_bytes);
        block.bytes.resize(block.bytes.capacity(), 0);
        block.clear();
        block
    }

    /// The buffer to which the payload is appended. Its present contents must not change.
    #[inline]
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Size of the payload in bytes.
    #[inline]
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.start - HEADER_BYTES
    }

    /// Removes the payload.
    pub fn clear(&mut self) {
        self.bytes.truncate(self.start + HEADER_BYTES);
    }

    /// Finishes the frame with header, checksum and padding. Returns the checksum.
    pub fn seal(&mut self, kind: Kind, place: Place, number: u64) -> u32 {
        let length = self.payload_bytes();
        self.bytes.resize(self.start + size_of_payload(length), 0);
        if self.bytes[self.start..].as_ptr().align_offset(ALIGN) != 0 {
            let mut moved = Self::with_capacity(length);
            moved.bytes.truncate(moved.start);
            moved.bytes.extend_from_slice(&self.bytes[self.start..]);
            *self = moved;
        }
        let frame = &mut self.bytes[self.start..];
        frame[4..8]
            .copy_from_slice(&u32::try_from(length).expect("a frame is below 4 GiB").to_le_bytes());
        frame[8..12].copy_from_slice(&(kind as u32).to_le_bytes());
        frame[12..16].copy_from_slice(&place.slice.to_le_bytes());
        frame[16..24].copy_from_slice(&place.generation.to_le_bytes());
        frame[24..32].copy_from_slice(&place.file.to_le_bytes());
        frame[32..40].copy_from_slice(&number.to_le_bytes());
        let crc = crc32c::crc32c(&frame[4..HEADER_BYTES + length]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        // A reader relies on the length in the header; a direct write, on whole blocks at an
        // aligned address.
        assert!(needed_bytes(frame) == HEADER_BYTES + length, "a frame's header holds its length");
        assert!(
            frame.len().is_multiple_of(ALIGN) && frame.as_ptr().align_offset(ALIGN) == 0,
            "a frame is whole, aligned blocks"
        );
        crc
    }

    /// Bytes of the sealed frame, as they are written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Checksum of the sealed frame.
    pub fn crc(&self) -> u32 {
        let header =
            self.bytes().first_chunk::<HEADER_BYTES>().expect("a block contains its header");
        u32_at(header, 0)
    }
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { generation: 7, slice: 3, file: 9 };

    fn sealed(payload: &[u8]) -> FrameBuffer {
        let mut block = FrameBuffer::with_capacity(16);
        block.payload().extend_from_slice(payload);
        block.seal(Kind::Write, PLACE, 42);
        block
    }

    #[test]
    fn sealed_frames_read_back() {
        for len in [0, 1, 16, 17, ALIGN - HEADER_BYTES, ALIGN - HEADER_BYTES + 1, 100_000] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut block = sealed(&payload);
            assert_eq!(block.bytes().len() % ALIGN, 0);
            assert_eq!(block.bytes().as_ptr().align_offset(ALIGN), 0);
            let frame = decode(block.bytes(), PLACE).unwrap();
            assert_eq!((frame.kind, frame.number, frame.payload), (Kind::Write, 42, &payload[..]));
            assert_eq!(frame.size(), block.bytes().len());
            block.clear();
            assert_eq!(block.payload_bytes(), 0);
        }
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        let block = sealed(b"payload");
        let good = block.bytes().to_vec();
        for bit in 0..(HEADER_BYTES + 7) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_place_is_foreign() {
        let block = sealed(b"payload");
        for place in [
            Place { generation: 8, ..PLACE },
            Place { slice: 4, ..PLACE },
            Place { file: 10, ..PLACE },
        ] {
            assert_eq!(decode(block.bytes(), place), Err(FrameError::Foreign));
        }
        assert_eq!(decode(&[0; ALIGN], PLACE), Err(FrameError::Empty));
        assert_eq!(decode(&block.bytes()[..30], PLACE), Err(FrameError::Short(HEADER_BYTES)));
        assert_eq!(decode(&block.bytes()[..45], PLACE), Err(FrameError::Short(HEADER_BYTES + 7)));
    }

    /// Files are kept for ever: these bytes define the format of frames.
    #[test]
    fn the_format_is_pinned() {
        let block = sealed(b"Hi");
        let hex: String =
            block.bytes()[..HEADER_BYTES + 2].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, PINNED);
    }

    const PINNED: &str =
        "99ff10ab020000000200000003000000070000000000000009000000000000002a000000000000004869";
}
