//! Sequential frame reader with read-ahead, for recovery.
//!
//! Frames of one file come out in order. At most [`MAX_READS_IN_FLIGHT`] reads are in flight at a
//! time, each of at most [`CHUNK_BYTES`], so that decoding overlaps with the disk. A frame that
//! lies within one chunk is decoded in place; only a frame that spans chunks is copied into one
//! buffer. Bytes whose header is not that of an expected frame are neither copied nor checksummed.
//! Buffers go to the disk and come back; there are never more than [`BUFFERS`] of them.

use super::disk::Task;
use crate::journal::frame::{self, Frame, FrameError};
use crate::journal::{Fault, File, Place};
use std::collections::VecDeque;

/// Bytes of one read: large enough that the round trip to the disk is a small part of it.
const CHUNK_BYTES: u64 = 1 << 20;
/// Most reads in flight.
const MAX_READS_IN_FLIGHT: usize = 2;
/// Most buffers: one for each read in flight, and one that is being decoded.
const BUFFERS: usize = MAX_READS_IN_FLIGHT + 1;

/// A sequential reader of frames.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    size: u64,
    /// End of read-ahead. Bytes after it are read only when a frame needs them.
    until: u64,
    /// Offset of the next frame.
    at: u64,
    /// Offset up to which reads were asked for.
    asked: u64,
    /// Chunks in file order, contiguous.
    chunks: VecDeque<Chunk>,
    /// Bytes copied from several chunks; they begin at `joined_at` in the file.
    joined: Vec<u8>,
    joined_at: u64,
    /// Bytes copied and checksummed so far.
    worked: u64,
    /// Reads in flight for a file that is no longer read.
    stale: usize,
    spare: Vec<Vec<u8>>,
}

/// A read that was asked for, and its bytes once they have arrived.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    end: u64,
    bytes: Option<Vec<u8>>,
}

impl Reader {
    /// A reader without a file: call [`Self::open`] first.
    pub(super) const fn new() -> Self {
        Self {
            file: File::Segment(0),
            size: 0,
            until: 0,
            at: 0,
            asked: 0,
            chunks: VecDeque::new(),
            joined: Vec::new(),
            joined_at: 0,
            worked: 0,
            stale: 0,
            spare: Vec::new(),
        }
    }

    /// Switches to a file of `size` bytes and starts at offset `at`; reads ahead up to `until`.
    pub(super) fn open(&mut self, file: File, size: u64, at: u64, until: u64) {
        self.stale += self.in_flight();
        self.spare.extend(self.chunks.drain(..).filter_map(|chunk| chunk.bytes));
        self.joined.clear();
        (self.file, self.size, self.until) = (file, size, until.min(size));
        (self.at, self.asked, self.joined_at) = (at, at, at);
    }

    /// Moves the end of read-ahead.
    pub(super) fn read_until(&mut self, until: u64) {
        self.until = until.min(self.size);
    }

    /// The file that is being read.
    pub(super) const fn file(&self) -> File {
        self.file
    }

    /// Size of the file in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Offset of the next frame.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Bytes copied and checksummed so far.
    pub(super) const fn worked(&self) -> u64 {
        self.worked
    }

    /// Skips `bytes` bytes.
    pub(super) const fn skip(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// Whether no read is in flight.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stale == 0 && self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.bytes.is_none()).count()
    }

    /// The next frame, which must be of `place` and have this salt, or why there is none; `None`
    /// while the disk has not read it yet.
    pub(super) fn frame(
        &mut self,
        place: Place,
        salt: u64,
        ask: &mut impl FnMut(Task),
    ) -> Option<Result<Frame<'_>, FrameError>> {
        while let Ok(needed) = frame::needed_bytes(self.available(), place, salt) {
            if self.available().len() >= needed {
                self.worked += needed as u64;
                break;
            }
            if self.at.saturating_add(needed as u64) > self.size {
                return Some(Err(FrameError::Short(needed)));
            }
            if !self.join(needed, ask) {
                return None;
            }
        }
        self.ask_ahead(self.at, ask);
        Some(frame::decode(self.available(), place, salt))
    }

    /// Contiguous bytes that have arrived, from `at` on.
    fn available(&self) -> &[u8] {
        let (bytes, from) = match self.chunks.front() {
            _ if self.at < self.joined_end() => (&self.joined, self.joined_at),
            Some(Chunk { bytes: Some(bytes), offset, .. }) => (bytes, *offset),
            _ => return &[],
        };
        let consumed = usize::try_from(self.at - from).unwrap_or(usize::MAX);
        bytes.get(consumed..).unwrap_or_default()
    }

    fn joined_end(&self) -> u64 {
        self.joined_at + self.joined.len() as u64
    }

    /// Makes the next `needed` bytes contiguous, copying if they span chunks. Returns whether they
    /// have arrived.
    fn join(&mut self, needed: usize, ask: &mut impl FnMut(Task)) -> bool {
        let end = self.at + needed as u64;
        if self.at >= self.joined_end() {
            self.joined.clear();
            self.joined_at = self.at;
        }
        while let Some(Chunk { bytes: Some(bytes), offset, end: chunk_end }) = self.chunks.front() {
            let from = self.joined_end();
            if self.joined.is_empty() && from >= *offset && end <= *chunk_end {
                return true;
            }
            let to = end.min(*chunk_end);
            if from < to {
                self.worked += to - from;
                self.joined
                    .extend_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
            if end <= self.joined_end() {
                self.drop_consumed();
                return true;
            }
            self.recycle_first();
        }
        self.ask_ahead(end, ask);
        false
    }

    /// Drops the consumed part of the copied bytes once it is more than half of them.
    fn drop_consumed(&mut self) {
        let consumed = (self.at - self.joined_at) as usize;
        if consumed > self.joined.len() / 2 {
            self.worked += (self.joined.len() - consumed) as u64;
            self.joined.drain(..consumed);
            self.joined_at = self.at;
        }
    }

    /// Recycles the first chunk, which was consumed.
    fn recycle_first(&mut self) {
        let first = self.chunks.pop_front();
        self.spare.extend(first.and_then(|chunk| chunk.bytes));
    }

    /// Asks for reads as far as the limits allow, at least up to `needed`.
    fn ask_ahead(&mut self, needed: u64, ask: &mut impl FnMut(Task)) {
        while let Some(Chunk { bytes: Some(_), end, .. }) = self.chunks.front()
            && *end <= self.at
        {
            self.recycle_first();
        }
        let until = self.until.max(needed).min(self.size);
        while self.stale == 0
            && self.asked < until
            && self.chunks.len() < BUFFERS
            && self.in_flight() < MAX_READS_IN_FLIGHT
        {
            let (offset, bytes) = (self.asked, CHUNK_BYTES.min(until - self.asked));
            self.asked += bytes;
            self.chunks.push_back(Chunk { offset, end: self.asked, bytes: None });
            let buffer = self.spare.pop().unwrap_or_default();
            ask(Task::Read { file: self.file, offset, bytes: bytes as usize, buffer });
        }
    }

    /// Takes the bytes of a completed read.
    pub(super) fn read(&mut self, file: File, offset: u64, buffer: Vec<u8>) {
        if self.stale > 0 {
            self.stale -= 1;
            self.spare.push(buffer);
            return;
        }
        let chunk =
            self.chunks.iter_mut().find(|chunk| chunk.offset == offset && chunk.bytes.is_none());
        let chunk = chunk.filter(|_| file == self.file).expect("a completed read was asked for");
        let end = offset + buffer.len() as u64;
        assert!(end <= chunk.end, "a read returns at most what was asked for");
        if end < chunk.end {
            // The file has shrunk since it was measured.
            self.size = self.size.min(end);
            chunk.end = end;
        }
        chunk.bytes = Some(buffer);
    }

    /// A fault at the next frame's offset.
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.file, self.at, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{FrameBuffer, Kind, NO_SALT};

    const PLACE: Place = Place { generation: 1, slice: 0, file: 7 };
    const FILE: File = File::Segment(7);

    /// Frames with payloads of these sizes, one after the other.
    fn file(payloads: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, &length) in payloads.iter().enumerate() {
            let mut block = FrameBuffer::with_capacity(length);
            block.payload().extend(std::iter::repeat_n(number as u8, length));
            block.seal(Kind::Users, PLACE, NO_SALT, number as u64);
            bytes.extend_from_slice(block.bytes());
        }
        bytes
    }

    /// Completes the newest read first.
    fn answer(reader: &mut Reader, asked: &mut Vec<Task>, file: &[u8]) {
        assert!(
            asked.len() <= MAX_READS_IN_FLIGHT,
            "at most MAX_READS_IN_FLIGHT reads are in flight"
        );
        let Some(Task::Read { file: name, offset, bytes, mut buffer }) = asked.pop() else {
            panic!("the reader waits for a read")
        };
        let from = &file[offset as usize..];
        buffer.clear();
        buffer.extend_from_slice(&from[..bytes.min(from.len())]);
        reader.read(name, offset, buffer);
    }

    #[test]
    fn frames_come_out_in_order_for_any_frame_size_and_any_completion_order() {
        let payloads = [
            10,
            5_000,
            900_000,
            200_000,
            3 << 20,
            0,
            1 << 20,
            300_000,
            300_000,
            4_056,
            2_500_000,
            1,
        ];
        let file = file(&payloads);
        let (mut reader, mut asked) = (Reader::new(), Vec::new());
        reader.open(FILE, file.len() as u64, 0, u64::MAX);
        for (number, &length) in payloads.iter().enumerate() {
            let size = loop {
                if let Some(frame) = reader.frame(PLACE, NO_SALT, &mut |task| asked.push(task)) {
                    let frame = frame.expect("the frame is valid");
                    assert_eq!((frame.number, frame.payload.len()), (number as u64, length));
                    assert!(frame.payload.iter().all(|&byte| byte == number as u8));
                    break frame.size() as u64;
                }
                answer(&mut reader, &mut asked, &file);
            };
            reader.skip(size);
        }
        assert_eq!(reader.at(), file.len() as u64);
        assert!(reader.spare.len() + reader.chunks.len() + asked.len() <= BUFFERS);
    }

    #[test]
    fn a_new_file_is_not_read_until_reads_of_the_previous_one_are_done() {
        let (first, second) = (file(&[3 << 20]), file(&[7]));
        let (mut reader, mut asked, mut later) = (Reader::new(), Vec::new(), Vec::new());
        reader.open(FILE, first.len() as u64, 0, u64::MAX);
        assert!(reader.frame(PLACE, NO_SALT, &mut |task| asked.push(task)).is_none());
        reader.open(FILE, second.len() as u64, 0, u64::MAX);
        assert!(reader.frame(PLACE, NO_SALT, &mut |task| later.push(task)).is_none());
        assert!(later.is_empty() && !reader.is_at_rest());
        while !asked.is_empty() {
            answer(&mut reader, &mut asked, &first);
        }
        assert!(reader.is_at_rest());
        assert!(reader.frame(PLACE, NO_SALT, &mut |task| later.push(task)).is_none());
        answer(&mut reader, &mut later, &second);
        let found = reader
            .frame(PLACE, NO_SALT, &mut |_| {})
            .expect("the frame was read")
            .expect("the frame is valid");
        assert_eq!(found.payload.len(), 7);
    }

    #[test]
    fn a_file_that_shrinks_after_it_was_measured_ends_within_a_frame() {
        let whole = file(&[2 << 20]);
        let (mut reader, mut asked) = (Reader::new(), Vec::new());
        reader.open(FILE, whole.len() as u64, 0, u64::MAX);
        let found = loop {
            if let Some(found) = reader.frame(PLACE, NO_SALT, &mut |task| asked.push(task)) {
                break found.map(|frame| frame.number);
            }
            answer(&mut reader, &mut asked, &whole[..(1 << 20) + 5_000]);
        };
        assert_eq!(found, Err(FrameError::Short(frame::HEADER_BYTES + (2 << 20))));
    }
}
