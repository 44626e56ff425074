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
//! | 40 | 8 | salt: a random number of the segment if this is a write, else [`NO_SALT`] |
//! | 48 | … | payload, then zeros to the next multiple of 4 KiB |
//!
//! A frame contains its location. So a frame that was written to the wrong place, or that is left
//! from a file's former use, is not mistaken for the expected one.
//!
//! A location can be predicted, and clients choose bytes that are written: a record may hold a
//! whole header. It lies within a frame there; but the space after the last write of a segment is
//! searched for frames, and in a recycled segment that space holds old records. So each segment has
//! a random salt, which no client ever sees, and a write without it is not of this segment. All
//! other frames lie at known offsets and are never searched for.
//!
//! A reader checks all fields of a header before it reads the payload. So bytes that are no frame
//! cost it one header, whatever length they claim.

use super::Place;
use super::snapshot::{MAX_KINDS_BYTES, MAX_USERS_BYTES};

/// Alignment of frames in a file, in bytes: a multiple of every disk's block size.
pub const ALIGN: usize = 4_096;

/// Size of the header before the payload, in bytes.
pub const HEADER_BYTES: usize = 48;

/// Most payload bytes of a write: large enough that header and padding are a small part of it,
/// small enough that its checksum takes a fraction of a turn. The search after a torn write
/// computes at most this many bytes of checksum per block of a segment, so it is a limit of the
/// format, and no larger than the log needs.
pub const MAX_WRITE_BYTES: usize = 256 << 10;

/// Salt of all frames other than writes. It is not a salt of any segment.
pub const NO_SALT: u64 = 0;

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

impl Kind {
    const fn of(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Segment,
            2 => Self::Write,
            3 => Self::Snapshot,
            4 => Self::Users,
            5 => Self::End,
            6 => Self::Kinds,
            _ => return None,
        })
    }

    /// Most payload bytes of a frame.
    const fn max_payload_bytes(self) -> usize {
        match self {
            Self::Segment | Self::Snapshot | Self::End => ALIGN - HEADER_BYTES,
            Self::Write => MAX_WRITE_BYTES,
            Self::Users => MAX_USERS_BYTES,
            Self::Kinds => MAX_KINDS_BYTES,
        }
    }

    /// Whether frames with this salt can be of this kind: exactly the writes have one.
    const fn takes(self, salt: u64) -> bool {
        matches!(self, Self::Write) == (salt != NO_SALT)
    }
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
    /// The place or the salt is right, so it may have been a frame of this file; another field or
    /// the checksum is not.
    Broken,
    /// A frame of another file or of this file's former use, or bytes that are no frame at all.
    Foreign,
}

/// Fields of a header that says nothing wrong.
#[derive(Clone, Copy, Debug)]
struct Header {
    crc: u32,
    kind: Kind,
    number: u64,
    /// End of the payload.
    end: usize,
}

/// Checks the header at the start of `bytes`. The payload is not read.
fn header(bytes: &[u8], place: Place, salt: u64) -> Result<Header, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(FrameError::Short(HEADER_BYTES));
    };
    if header == &[0; HEADER_BYTES] {
        return Err(FrameError::Empty);
    }
    let found = Place {
        slice: u32_at(header, 12),
        generation: u64_at(header, 16),
        file: u64_at(header, 24),
    };
    match (found == place, u64_at(header, 40) == salt) {
        (true, true) => {}
        // One of them says that it was this file's frame, or hostile bytes do.
        (true, false) | (false, true) if salt != NO_SALT => return Err(FrameError::Broken),
        _ => return Err(FrameError::Foreign),
    }
    let payload_bytes = u32_at(header, 4) as usize;
    let kind = Kind::of(u32_at(header, 8))
        .filter(|kind| kind.takes(salt) && payload_bytes <= kind.max_payload_bytes())
        .ok_or(FrameError::Broken)?;
    let (crc, number) = (u32_at(header, 0), u64_at(header, 32));
    Ok(Header { crc, kind, number, end: HEADER_BYTES + payload_bytes })
}

/// Number of bytes that [`decode`] reads of the frame at the start of `bytes`: those of a header,
/// or of header and payload if the header can be that of a frame of `place` with this salt. The
/// error is the one that `decode` returns.
pub fn needed_bytes(bytes: &[u8], place: Place, salt: u64) -> Result<usize, FrameError> {
    match header(bytes, place, salt) {
        Ok(header) => Ok(header.end),
        Err(FrameError::Short(needed)) => Ok(needed),
        Err(error) => Err(error),
    }
}

/// Reads the frame at the start of `bytes`, which must be valid, belong to `place` and have this
/// salt.
///
/// ```
/// use purser::journal::Place;
/// use purser::journal::frame::{ALIGN, FrameBuffer, FrameError, HEADER_BYTES, Kind, decode};
///
/// let (place, salt) = (Place { generation: 1, slice: 0, file: 1 }, 0x5eed);
/// let mut frame = FrameBuffer::with_capacity(64);
/// frame.payload().extend_from_slice(b"records");
/// frame.seal(Kind::Write, place, salt, 1);
/// assert_eq!(frame.bytes().len(), ALIGN);
/// assert_eq!(decode(frame.bytes(), place, salt).map(|frame| frame.payload), Ok(&b"records"[..]));
///
/// // The bytes of one file are not taken for those of another, nor damaged ones for sound ones.
/// let other = Place { file: 2, ..place };
/// assert_eq!(decode(frame.bytes(), other, salt + 1), Err(FrameError::Foreign));
/// let mut damaged = frame.bytes().to_vec();
/// damaged[HEADER_BYTES] ^= 1;
/// assert_eq!(decode(&damaged, place, salt), Err(FrameError::Broken));
/// ```
pub fn decode(bytes: &[u8], place: Place, salt: u64) -> Result<Frame<'_>, FrameError> {
    let Header { crc, kind, number, end } = header(bytes, place, salt)?;
    let Some(whole) = bytes.get(..end) else { return Err(FrameError::Short(end)) };
    if crc32c::crc32c(&whole[4..]) != crc {
        return Err(FrameError::Broken);
    }
    Ok(Frame { kind, number, crc, payload: &whole[HEADER_BYTES..] })
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
    pub fn seal(&mut self, kind: Kind, place: Place, salt: u64, number: u64) -> u32 {
        let length = self.payload_bytes();
        assert!(kind.takes(salt), "a write has its segment's salt, and no other frame has one");
        assert!(length <= kind.max_payload_bytes(), "a frame of this kind is not too long to read");
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
        frame[40..48].copy_from_slice(&salt.to_le_bytes());
        let crc = crc32c::crc32c(&frame[4..HEADER_BYTES + length]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        // A reader relies on the length in the header; a direct write, on whole blocks at an
        // aligned address.
        assert!(
            needed_bytes(frame, place, salt) == Ok(HEADER_BYTES + length),
            "a frame's header is the one that its reader expects"
        );
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
    const SALT: u64 = 0x0123_4567_89ab_cdef;

    fn sealed(payload: &[u8]) -> FrameBuffer {
        let mut block = FrameBuffer::with_capacity(16);
        block.payload().extend_from_slice(payload);
        block.seal(Kind::Write, PLACE, SALT, 42);
        block
    }

    /// A header with the field at `at` replaced and a checksum that matches, as of a frame whose
    /// payload was not read yet.
    fn forged<const N: usize>(at: usize, field: [u8; N]) -> Vec<u8> {
        let mut bytes = sealed(b"payload").bytes()[..HEADER_BYTES + 7].to_vec();
        bytes[at..at + N].copy_from_slice(&field);
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn sealed_frames_read_back() {
        for len in [0, 1, 16, 17, ALIGN - HEADER_BYTES, ALIGN - HEADER_BYTES + 1, 100_000] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut block = sealed(&payload);
            assert_eq!(block.bytes().len() % ALIGN, 0);
            assert_eq!(block.bytes().as_ptr().align_offset(ALIGN), 0);
            let frame = decode(block.bytes(), PLACE, SALT).unwrap();
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
            assert!(decode(&bad, PLACE, SALT).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_place_is_refused() {
        let block = sealed(b"payload");
        let mut header = FrameBuffer::with_capacity(16);
        header.seal(Kind::Segment, PLACE, NO_SALT, 1);
        for place in [
            Place { generation: 8, ..PLACE },
            Place { slice: 4, ..PLACE },
            Place { file: 10, ..PLACE },
        ] {
            assert_eq!(decode(block.bytes(), place, SALT), Err(FrameError::Broken));
            assert_eq!(decode(header.bytes(), place, NO_SALT), Err(FrameError::Foreign));
        }
        for salt in [NO_SALT, SALT + 1] {
            let other = Place { file: 10, ..PLACE };
            assert_eq!(decode(block.bytes(), other, salt), Err(FrameError::Foreign));
        }
        assert_eq!(decode(block.bytes(), PLACE, SALT + 1), Err(FrameError::Broken));
        assert_eq!(decode(block.bytes(), PLACE, NO_SALT), Err(FrameError::Foreign));
        assert_eq!(decode(header.bytes(), PLACE, SALT), Err(FrameError::Broken));
        assert_eq!(decode(&[0; ALIGN], PLACE, SALT), Err(FrameError::Empty));
        for (bytes, needed) in [(30, HEADER_BYTES), (HEADER_BYTES + 5, HEADER_BYTES + 7)] {
            let part = &block.bytes()[..bytes];
            assert_eq!(decode(part, PLACE, SALT), Err(FrameError::Short(needed)));
        }
    }

    /// A header that is not that of an expected frame is refused without its payload, although its
    /// checksum is correct.
    #[test]
    fn a_header_is_checked_before_the_payload_is_read() {
        let far = u32::MAX.to_le_bytes();
        for (at, field, error) in [
            (40, &[1][..], FrameError::Broken),
            (12, &[4], FrameError::Broken),
            (16, &[8], FrameError::Broken),
            (24, &[10], FrameError::Broken),
            (8, &[0], FrameError::Broken),
            (8, &[6], FrameError::Broken),
            (8, &[Kind::Users as u8], FrameError::Broken),
            (4, &far, FrameError::Broken),
        ] {
            let bytes = match field {
                &[byte] => forged(at, [byte]),
                _ => forged(at, far),
            };
            let header = &bytes[..HEADER_BYTES];
            assert_eq!(decode(header, PLACE, SALT), Err(error), "{field:?} at {at}");
            assert_eq!(needed_bytes(header, PLACE, SALT), Err(error), "{field:?} at {at}");
        }
        // The longest write, and one byte more.
        let length = |bytes: usize| (bytes as u32).to_le_bytes();
        let whole = HEADER_BYTES + MAX_WRITE_BYTES;
        let longest = forged(4, length(MAX_WRITE_BYTES));
        assert_eq!(needed_bytes(&longest, PLACE, SALT), Ok(whole));
        assert_eq!(decode(&longest, PLACE, SALT), Err(FrameError::Short(whole)));
        let longer = forged(4, length(MAX_WRITE_BYTES + 1));
        assert_eq!(decode(&longer, PLACE, SALT), Err(FrameError::Broken));
        // With another salt and another place, whatever else these bytes say, they are of no frame
        // of this file.
        let mut both = longer;
        both[40] ^= 1;
        both[24] ^= 1;
        assert_eq!(decode(&both, PLACE, SALT), Err(FrameError::Foreign));
    }

    #[test]
    #[should_panic(expected = "a write has its segment's salt")]
    fn a_write_without_a_salt_is_not_sealed() {
        sealed(b"").seal(Kind::Write, PLACE, NO_SALT, 1);
    }

    /// Files are kept for ever: these bytes define the format of frames.
    #[test]
    fn the_format_is_pinned() {
        let block = sealed(b"Hi");
        let hex: String =
            block.bytes()[..HEADER_BYTES + 2].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, PINNED);
    }

    const PINNED: &str = "2cbbfb050200000002000000030000000700000000000000\
         09000000000000002a00000000000000efcdab89674523014869";
}
