//! The log of a slice: records gather in a block while the block before is being written, which is
//! the group commit.
//!
//! One write is in flight at a time, and one is begun when somebody waits for it or its block is
//! full. A write that does not fit into the segment goes to the next, which was made ready in the
//! background: first its header says where the log left the old one, then the manifest names it,
//! then writes go there. A start begins with the segment that recovery read to its end, and writes
//! to a new one.

use super::disk::Task;
use super::{LogSink, Lsn};
use crate::journal::frame::{ALIGN, Block, Kind, size_of_payload};
use crate::journal::segment::{End, Header};
use crate::journal::{File, Place, record};
use crate::ledger::entry::EntryRef;
use std::collections::VecDeque;

/// Records of one write: large enough to make the header and the padding small, small enough to be
/// summed in a fraction of a turn.
const WRITE_BYTES: usize = 256 << 10;
/// Records that wait for earlier writes; the feed is held above it.
const BACKLOG_BYTES: usize = 4 << 20;
/// Records of the entries that may be applied before it is asked again whether the feed is held:
/// more than a turn's of one body.
const STEP_BYTES: usize = 256 * record::MAX_BYTES;
/// How long to wait until a segment that could not be made ready is tried again.
const RETRY_MS: u64 = 1_000;
/// Blocks that are kept for the next writes.
const SPARE_BLOCKS: usize = 2;

const _: () = assert!(
    size_of_payload(WRITE_BYTES) + ALIGN < Segments::DISK.first_bytes as usize,
    "a write fits into any segment"
);
const _: () = assert!(STEP_BYTES < WRITE_BYTES, "a step fits into one write");

/// How large segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The first that a start makes.
    pub first_bytes: u64,
    /// Each further one is twice as large, up to this; these are used again.
    pub largest_bytes: u64,
}

impl Segments {
    /// What a server's disk gets.
    pub const DISK: Self = Self { first_bytes: 1 << 20, largest_bytes: 64 << 20 };

    const fn take_a_step(&self) -> bool {
        let least = (size_of_payload(STEP_BYTES) + 2 * ALIGN) as u64;
        least <= self.first_bytes && self.first_bytes <= self.largest_bytes
    }
}

/// Where the log ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The segment; 0 if there is none yet.
    pub segment: u64,
    /// Where its last frame ends.
    pub offset: u64,
    /// That frame's checksum.
    pub crc: u32,
    /// The number of the last write.
    pub position: u64,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    place: Place,
    segments: Segments,
    capacity: u64,
    end: u64,
    crc: u32,
    /// The number of the write that is being filled.
    number: u64,
    filling: Block,
    /// Full, and not yet begun: the blocks of the numbers before.
    full: VecDeque<Block>,
    flight: Option<Flight>,
    durable: u64,
    next: Next,
    next_bytes: u64,
    blocks: Vec<Block>,
    written_bytes: u64,
}

/// The write that is in flight.
#[derive(Debug)]
struct Flight {
    number: u64,
    size: u64,
    crc: u32,
}

/// The next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    None,
    Asked,
    Failed {
        at_ms: u64,
    },
    Ready,
    /// Its header is being written.
    Headed,
    /// The manifest is being told.
    Named,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The log is durable up to here.
    Durable(Lsn),
    /// A new segment has its header, and is to be named in the manifest: then [`Log::named`].
    Headed(u64),
}

impl Log {
    /// A log that goes on behind `tail`, which recovery read. `place.file` is not looked at.
    pub fn new(place: Place, segments: Segments, tail: Tail) -> Self {
        assert!(segments.take_a_step(), "the entries of a step fit into any segment");
        Self {
            segments,
            place: Place { file: tail.segment, ..place },
            capacity: tail.offset,
            end: tail.offset,
            crc: tail.crc,
            number: tail.position + 1,
            filling: Block::with_room(WRITE_BYTES),
            full: VecDeque::new(),
            flight: None,
            durable: tail.position,
            next: Next::None,
            next_bytes: segments.first_bytes,
            blocks: Vec::new(),
            written_bytes: 0,
        }
    }

    /// Asks for what is due: the next segment, the next write. What fills no block yet is due if
    /// `is_awaited`.
    pub fn advance(
        &mut self,
        now_ms: u64,
        is_awaited: bool,
        recycled: impl FnOnce(u64) -> Option<u64>,
        ask: &mut impl FnMut(Task),
    ) {
        let is_due = match self.next {
            Next::None => true,
            Next::Failed { at_ms } => now_ms >= at_ms + RETRY_MS,
            _ => false,
        };
        if is_due {
            let (segment, bytes) = (self.place.file + 1, self.next_bytes);
            ask(Task::Prepare { segment, bytes, from: recycled(bytes) });
            self.next = Next::Asked;
        }
        if self.flight.is_some() || matches!(self.next, Next::Headed | Next::Named) {
            return;
        }
        let payload = match self.full.front() {
            Some(block) => block.payload_bytes(),
            None if self.filling.payload_bytes() == 0 || !is_awaited => return,
            None => self.filling.payload_bytes(),
        };
        if self.end + size_of_payload(payload) as u64 <= self.capacity {
            self.write(ask);
        } else if self.next == Next::Ready {
            self.head(ask);
        }
    }

    fn write(&mut self, ask: &mut impl FnMut(Task)) {
        let number = self.number - self.full.len() as u64;
        let mut block = match self.full.pop_front() {
            Some(block) => block,
            None => self.take_filling(),
        };
        let payload = block.payload_bytes();
        let crc = block.seal(Kind::Write, self.place, number);
        let size = block.bytes().len() as u64;
        assert!(
            payload > 0 && size == size_of_payload(payload) as u64,
            "what is sealed is what was appended"
        );
        assert!(
            number > self.durable && self.end + size <= self.capacity,
            "a write is new, and fits its segment"
        );
        self.flight = Some(Flight { number, size, crc });
        ask(Task::Write { file: File::Segment(self.place.file), offset: self.end, block });
    }

    fn take_filling(&mut self) -> Block {
        let next = self.blocks.pop().unwrap_or_else(|| Block::with_room(WRITE_BYTES));
        self.number += 1;
        std::mem::replace(&mut self.filling, next)
    }

    fn head(&mut self, ask: &mut impl FnMut(Task)) {
        let mut block = Block::with_room(ALIGN);
        let end = End { segment: self.place.file, offset: self.end, crc: self.crc };
        let header = Header { capacity: self.next_bytes, before: (end.segment > 0).then_some(end) };
        header.write(block.payload());
        let segment = self.place.file + 1;
        self.crc = block.seal(Kind::Segment, Place { file: segment, ..self.place }, self.durable);
        self.next = Next::Headed;
        ask(Task::Write { file: File::Segment(segment), offset: 0, block });
    }

    /// A write to a segment is done.
    pub fn written(&mut self, segment: u64, mut block: Block) -> Written {
        if segment != self.place.file {
            assert!(
                self.next == Next::Headed && segment == self.place.file + 1,
                "nothing else is written"
            );
            self.next = Next::Named;
            return Written::Headed(segment);
        }
        let Flight { number, size, crc } = self.flight.take().expect("a write was in flight");
        assert!(number == self.durable + 1, "writes become durable one after the other");
        assert!(
            block.bytes().len() as u64 == size && block.crc() == crc,
            "what was written is what was sealed"
        );
        (self.durable, self.crc) = (number, crc);
        self.end += size;
        self.written_bytes += size;
        if self.blocks.len() < SPARE_BLOCKS {
            block.clear();
            self.blocks.push(block);
        }
        Written::Durable(Lsn(number))
    }

    /// The manifest names the new segment: writes go there from now on. Returns its number and its
    /// size.
    pub fn named(&mut self) -> (u64, u64) {
        assert!(self.next == Next::Named, "a segment was headed");
        self.place.file += 1;
        (self.capacity, self.end, self.next) = (self.next_bytes, ALIGN as u64, Next::None);
        self.next_bytes = (self.capacity * 2).min(self.segments.largest_bytes);
        (self.place.file, self.capacity)
    }

    /// The next segment is ready, or could not be made.
    pub fn prepared(&mut self, ok: bool, now_ms: u64) {
        assert!(self.next == Next::Asked, "one segment at a time is made ready");
        self.next = if ok { Next::Ready } else { Next::Failed { at_ms: now_ms } };
    }

    /// Whether entries must wait: too much waits for the disk, or for the next segment.
    pub fn is_held(&self) -> bool {
        let backlog = self.full.iter().map(Block::payload_bytes).sum::<usize>();
        backlog >= BACKLOG_BYTES
            || (!matches!(self.next, Next::Failed { .. }) && !self.fits(STEP_BYTES))
    }

    /// Whether so many more bytes of records find room in the segments that there are.
    fn fits(&self, bytes: usize) -> bool {
        let flight = self.flight.as_ref().map_or(0, |f| f.size);
        // What is appended may begin a block of its own.
        let filling = size_of_payload(self.filling.payload_bytes() + bytes) + ALIGN;
        let waits =
            self.full.iter().map(|b| size_of_payload(b.payload_bytes())).sum::<usize>() + filling;
        let room = match self.next {
            Next::Ready | Next::Headed | Next::Named => self.next_bytes - ALIGN as u64,
            _ => self.capacity - self.end - flight,
        };
        waits as u64 <= room
    }

    /// Whether everything that was appended is durable.
    pub fn is_settled(&self) -> bool {
        self.durable == self.position().0
    }

    /// The position of the last record that was appended.
    pub fn position(&self) -> Lsn {
        Lsn(if self.filling.payload_bytes() == 0 { self.number - 1 } else { self.number })
    }

    /// Up to where the log is durable.
    pub const fn durable(&self) -> Lsn {
        Lsn(self.durable)
    }

    /// The segment that is written to.
    pub const fn segment(&self) -> u64 {
        self.place.file
    }

    /// Bytes that were written since the start.
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl LogSink for Log {
    #[inline]
    fn has_room(&self) -> bool {
        !matches!(self.next, Next::Failed { .. }) || self.fits(record::MAX_BYTES)
    }

    #[inline]
    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
        if self.filling.payload_bytes() + record::MAX_BYTES > WRITE_BYTES {
            let full = self.take_filling();
            self.full.push_back(full);
        }
        let before = self.filling.payload_bytes();
        record::write(self.filling.payload(), entry, version);
        let after = self.filling.payload_bytes();
        assert!(
            before < after && after <= before + record::MAX_BYTES && after <= WRITE_BYTES,
            "a record has its size"
        );
        Lsn(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::{Action, Leg};
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;

    /// A log whose first segment is in use, and which has written nothing to it.
    fn begun() -> Log {
        let place = Place { generation: 1, slice: 0, file: 0 };
        let mut log = Log::new(place, Segments::DISK, Tail::default());
        asked(&mut log, true);
        log.prepared(true, 0);
        append(&mut log);
        let Some(Task::Write { block, .. }) = asked(&mut log, true) else {
            panic!("the segment's header is written")
        };
        assert_eq!(log.written(1, block), Written::Headed(1));
        log.named();
        log
    }

    fn append(log: &mut Log) -> Lsn {
        let currency = Currency::parse(b"COIN").unwrap();
        let leg = Leg {
            currency,
            kind: "topup",
            direction: Direction::Credit,
            amount: Amount::new(5).unwrap(),
        };
        let entry = EntryRef {
            id: EntryId(7),
            user: UserId(1),
            at: Millis(1_000),
            action: Action::Post(leg),
        };
        log.append(&entry, 1)
    }

    /// What is asked for in a turn, but for the next segment.
    fn asked(log: &mut Log, is_awaited: bool) -> Option<Task> {
        let mut writes = Vec::new();
        log.advance(0, is_awaited, |_| None, &mut |task| {
            if matches!(task, Task::Write { .. }) {
                writes.push(task);
            }
        });
        assert!(writes.len() <= 1, "one write at a time");
        writes.pop()
    }

    #[test]
    fn what_nobody_waits_for_is_written_when_somebody_does_or_its_block_is_full() {
        let mut log = begun();
        assert!(asked(&mut log, false).is_none());
        assert_eq!(append(&mut log), Lsn(1), "it is still being filled");
        let Some(Task::Write { block, .. }) = asked(&mut log, true) else {
            panic!("somebody waits")
        };
        assert_eq!(append(&mut log), Lsn(2));
        assert_eq!(log.written(1, block), Written::Durable(Lsn(1)));
        while append(&mut log) == Lsn(2) {
            assert!(asked(&mut log, false).is_none() && !log.is_settled());
        }
        let Some(Task::Write { block, .. }) = asked(&mut log, false) else {
            panic!("a block is full")
        };
        assert_eq!(log.written(1, block), Written::Durable(Lsn(2)));
        assert!(asked(&mut log, false).is_none(), "the next one is not");
        assert!(asked(&mut log, true).is_some());
    }
}
