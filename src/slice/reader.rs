//! A file that is read from one end to the other: its frames come out in order, its chunks are
//! asked for ahead.
//!
//! At most [`AHEAD`] reads are on their way at a time, each of at most [`CHUNK_BYTES`], so that
//! decoding overlaps with the disk. A frame that lies within one chunk is read where it is; only
//! one that spans two is copied together. Buffers go to the disk and come back; there are never
//! more than [`BUFFERS`] of them.

use super::disk::Task;
use crate::journal::frame::{self, Frame, NoFrame};
use crate::journal::{Fault, File, Place};
use std::collections::VecDeque;

/// Bytes of one read: enough to make the way to the disk and back a small part of it.
const CHUNK_BYTES: u64 = 1 << 20;
/// Reads on their way.
const AHEAD: usize = 2;
/// Buffers: one for each of these, and one that is being decoded.
const BUFFERS: usize = AHEAD + 1;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    size: u64,
    /// Read-ahead ends here; what lies behind is read when a frame needs it.
    until: u64,
    /// Where the next frame begins.
    at: u64,
    /// Up to where reads were asked for.
    asked: u64,
    /// In the file's order, one after the other without a gap.
    chunks: VecDeque<Chunk>,
    /// What was copied together, and where in the file it begins.
    joined: Vec<u8>,
    joined_at: u64,
    /// Reads on their way that nobody waits for any more.
    stale: usize,
    spare: Vec<Vec<u8>>,
}

/// What was asked of the disk, and its bytes if they have come.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    end: u64,
    bytes: Option<Vec<u8>>,
}

impl Reader {
    /// Of nothing, until a file is opened.
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
            stale: 0,
            spare: Vec::new(),
        }
    }

    /// Goes on with a file of `size` bytes, from `at` on; reads ahead up to `until`.
    pub(super) fn open(&mut self, file: File, size: u64, at: u64, until: u64) {
        self.stale += self.on_their_way();
        self.spare.extend(self.chunks.drain(..).filter_map(|chunk| chunk.bytes));
        self.joined.clear();
        (self.file, self.size, self.until) = (file, size, until.min(size));
        (self.at, self.asked, self.joined_at) = (at, at, at);
    }

    /// Reads ahead up to `until` from now on.
    pub(super) fn read_until(&mut self, until: u64) {
        self.until = until.min(self.size);
    }

    /// Which file it is.
    pub(super) const fn file(&self) -> File {
        self.file
    }

    /// Bytes of the file.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Where the next frame begins.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Passes so many bytes.
    pub(super) const fn pass(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// Whether the disk owes nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stale == 0 && self.on_their_way() == 0
    }

    fn on_their_way(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.bytes.is_none()).count()
    }

    /// The next frame, if it is whole; `None` as long as the disk has not read it.
    pub(super) fn frame(
        &mut self,
        place: Place,
        ask: &mut impl FnMut(Task),
    ) -> Option<Result<Frame<'_>, NoFrame>> {
        loop {
            let needed = frame::needed_bytes(self.ahead());
            if self.ahead().len() >= needed {
                break;
            }
            if self.at.saturating_add(needed as u64) > self.size {
                return Some(Err(NoFrame::Short(needed)));
            }
            if !self.gather(needed, ask) {
                return None;
            }
        }
        self.ask_ahead(self.at, ask);
        Some(frame::read(self.ahead(), place))
    }

    /// What has come from `at` on and is together.
    fn ahead(&self) -> &[u8] {
        let (bytes, from) = match self.chunks.front() {
            _ if self.at < self.joined_end() => (&self.joined, self.joined_at),
            Some(Chunk { bytes: Some(bytes), offset, .. }) => (bytes, *offset),
            _ => return &[],
        };
        let passed = usize::try_from(self.at - from).unwrap_or(usize::MAX);
        bytes.get(passed..).unwrap_or_default()
    }

    fn joined_end(&self) -> u64 {
        self.joined_at + self.joined.len() as u64
    }

    /// Puts the next `needed` bytes together. Returns whether they are there.
    fn gather(&mut self, needed: usize, ask: &mut impl FnMut(Task)) -> bool {
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
                self.joined
                    .extend_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
            if end <= self.joined_end() {
                self.forget_passed();
                return true;
            }
            self.take_back();
        }
        self.ask_ahead(end, ask);
        false
    }

    /// Drops what was passed of the bytes that were copied together, once it is most of them.
    fn forget_passed(&mut self) {
        let passed = (self.at - self.joined_at) as usize;
        if passed > self.joined.len() / 2 {
            self.joined.drain(..passed);
            self.joined_at = self.at;
        }
    }

    /// Nothing of the first chunk is needed any more.
    fn take_back(&mut self) {
        let first = self.chunks.pop_front();
        self.spare.extend(first.and_then(|chunk| chunk.bytes));
    }

    /// Asks for what may be on its way, at least up to `needed`.
    fn ask_ahead(&mut self, needed: u64, ask: &mut impl FnMut(Task)) {
        while let Some(Chunk { bytes: Some(_), end, .. }) = self.chunks.front()
            && *end <= self.at
        {
            self.take_back();
        }
        let until = self.until.max(needed).min(self.size);
        while self.stale == 0
            && self.asked < until
            && self.chunks.len() < BUFFERS
            && self.on_their_way() < AHEAD
        {
            let (offset, bytes) = (self.asked, CHUNK_BYTES.min(until - self.asked));
            self.asked += bytes;
            self.chunks.push_back(Chunk { offset, end: self.asked, bytes: None });
            let buffer = self.spare.pop().unwrap_or_default();
            ask(Task::Read { file: self.file, offset, bytes: bytes as usize, buffer });
        }
    }

    /// The disk has read what was asked for.
    pub(super) fn read(&mut self, file: File, offset: u64, buffer: Vec<u8>) {
        if self.stale > 0 {
            self.stale -= 1;
            self.spare.push(buffer);
            return;
        }
        let chunk =
            self.chunks.iter_mut().find(|chunk| chunk.offset == offset && chunk.bytes.is_none());
        let chunk = chunk.filter(|_| file == self.file).expect("only what was asked for is read");
        let end = offset + buffer.len() as u64;
        assert!(end <= chunk.end, "no more is read than was asked for");
        if end < chunk.end {
            // It was longer when it was measured.
            self.size = self.size.min(end);
            chunk.end = end;
        }
        chunk.bytes = Some(buffer);
    }

    /// Something is wrong where the next frame begins.
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.file, self.at, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{Block, Kind};

    const PLACE: Place = Place { generation: 1, slice: 0, file: 7 };
    const FILE: File = File::Segment(7);

    /// Frames with payloads of these sizes, one after the other.
    fn file(payloads: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, &length) in payloads.iter().enumerate() {
            let mut block = Block::with_room(length);
            block.payload().extend(std::iter::repeat_n(number as u8, length));
            block.seal(Kind::Write, PLACE, number as u64);
            bytes.extend_from_slice(block.bytes());
        }
        bytes
    }

    /// Answers the newest read first.
    fn answer(reader: &mut Reader, asked: &mut Vec<Task>, file: &[u8]) {
        assert!(asked.len() <= AHEAD, "so many reads are on their way at most");
        let Some(Task::Read { file: name, offset, bytes, mut buffer }) = asked.pop() else {
            panic!("it waits")
        };
        let from = &file[offset as usize..];
        buffer.clear();
        buffer.extend_from_slice(&from[..bytes.min(from.len())]);
        reader.read(name, offset, buffer);
    }

    #[test]
    fn frames_come_out_in_order_whatever_their_size_and_in_whatever_order_reads_are_done() {
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
                if let Some(frame) = reader.frame(PLACE, &mut |task| asked.push(task)) {
                    let frame = frame.expect("it is whole");
                    assert_eq!((frame.number, frame.payload.len()), (number as u64, length));
                    assert!(frame.payload.iter().all(|&byte| byte == number as u8));
                    break frame.size() as u64;
                }
                answer(&mut reader, &mut asked, &file);
            };
            reader.pass(size);
        }
        assert_eq!(reader.at(), file.len() as u64);
        assert!(reader.spare.len() + reader.chunks.len() + asked.len() <= BUFFERS);
    }

    #[test]
    fn another_file_waits_until_nothing_of_the_one_before_is_on_its_way() {
        let (first, second) = (file(&[3 << 20]), file(&[7]));
        let (mut reader, mut asked, mut later) = (Reader::new(), Vec::new(), Vec::new());
        reader.open(FILE, first.len() as u64, 0, u64::MAX);
        assert!(reader.frame(PLACE, &mut |task| asked.push(task)).is_none());
        reader.open(FILE, second.len() as u64, 0, u64::MAX);
        assert!(reader.frame(PLACE, &mut |task| later.push(task)).is_none());
        assert!(later.is_empty() && !reader.is_at_rest());
        while !asked.is_empty() {
            answer(&mut reader, &mut asked, &first);
        }
        assert!(reader.is_at_rest() && reader.frame(PLACE, &mut |task| later.push(task)).is_none());
        answer(&mut reader, &mut later, &second);
        let found = reader.frame(PLACE, &mut |_| {}).expect("it was read").expect("it is whole");
        assert_eq!(found.payload.len(), 7);
    }

    #[test]
    fn a_file_that_is_shorter_than_it_was_ends_in_the_midst_of_a_frame() {
        let whole = file(&[2 << 20]);
        let (mut reader, mut asked) = (Reader::new(), Vec::new());
        reader.open(FILE, whole.len() as u64, 0, u64::MAX);
        let found = loop {
            if let Some(found) = reader.frame(PLACE, &mut |task| asked.push(task)) {
                break found.map(|frame| frame.number);
            }
            answer(&mut reader, &mut asked, &whole[..(1 << 20) + 5_000]);
        };
        assert_eq!(found, Err(NoFrame::Short(frame::HEADER_BYTES + (2 << 20))));
    }
}
