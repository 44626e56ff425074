//! Write-ahead log of a slice: group commit into preallocated segments.
//!
//! Records are appended to a block while the block before it is being written; that is the group
//! commit. One write is in flight at a time. A write begins when somebody waits for it or when its
//! block is full, and it carries all records of its block.
//!
//! A write that does not fit into the current segment goes to the next one, which is prepared in
//! the background. The switch has three steps in this order:
//!
//! 1. The header of the next segment is written; it records where the log ends in the old segment.
//! 2. The manifest names the next segment.
//! 3. Writes go to the next segment.
//!
//! A write for which the disk has no space is asked for again, with the same bytes at the same
//! place, until it succeeds; until then the log is stalled ([`Log::is_stalled`]). Only a
//! copy-on-write file system needs space there: every byte of a segment was written when it was
//! prepared.
//!
//! After a start, the log continues in a new segment, after the last one that recovery has read.

use super::disk::Task;
use super::{LogSink, Lsn};
use crate::journal::frame::{ALIGN, FrameBuffer, Kind, MAX_WRITE_BYTES, NO_SALT, size_of_payload};
use crate::journal::segment::{End, Header};
use crate::journal::{File, Place, record};
use crate::ledger::entry::EntryRef;
use std::collections::VecDeque;

/// Backlog limit: bytes of records in full blocks that wait for earlier writes. At this limit the
/// feed must wait.
const BACKLOG_BYTES: usize = 4 << 20;
/// Bytes of records that may be appended before [`Log::is_throttled`] is asked again: more than a
/// turn's entries of one body.
const STEP_BYTES: usize = 256 * record::MAX_BYTES;
/// Delay before a segment that could not be prepared, or a write, is tried again.
pub(super) const RETRY_MS: u64 = 1_000;
/// Empty blocks that are kept for later writes.
const SPARE_BLOCKS: usize = 2;

const _: () = assert!(
    size_of_payload(MAX_WRITE_BYTES) + ALIGN < Segments::DISK.first_bytes as usize,
    "a write fits into any segment"
);
const _: () = assert!(STEP_BYTES < MAX_WRITE_BYTES, "a step fits into one write");

/// Segment sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Size of the first segment that a start creates.
    pub first_bytes: u64,
    /// Largest size. Each further segment is twice as large as the one before, up to this; segments
    /// of this size are recycled.
    pub largest_bytes: u64,
}

impl Segments {
    /// Sizes on a server's disk.
    pub const DISK: Self = Self { first_bytes: 1 << 20, largest_bytes: 64 << 20 };

    const fn fit_a_step(&self) -> bool {
        let least = (size_of_payload(STEP_BYTES) + 2 * ALIGN) as u64;
        least <= self.first_bytes && self.first_bytes <= self.largest_bytes
    }
}

/// End of the log, as recovery found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Number of the last segment; 0 if there is none yet.
    pub segment: u64,
    /// Offset in that segment where its last frame ends.
    pub offset: u64,
    /// Checksum of that frame.
    pub crc: u32,
    /// Number of the last write.
    pub position: u64,
}

/// A slice's write-ahead log.
#[derive(Debug)]
pub struct Log {
    place: Place,
    segments: Segments,
    capacity: u64,
    end: u64,
    crc: u32,
    /// Salt of the current segment's writes; of no use before the first switch.
    salt: u64,
    /// Number of the write that is being filled.
    number: u64,
    filling: FrameBuffer,
    /// Full blocks whose writes have not begun. Their numbers are those just before `number`.
    full: VecDeque<FrameBuffer>,
    in_flight: Option<InFlightWrite>,
    /// The write for which there was no space, until it is asked for again.
    refused: Option<RefusedWrite>,
    /// Whether a write was refused, and has not succeeded since.
    is_stalled: bool,
    durable: u64,
    next: NextSegment,
    next_bytes: u64,
    /// Salt of the next segment, once it is prepared.
    next_salt: u64,
    spare_blocks: Vec<FrameBuffer>,
    written_bytes: u64,
}

/// The write in flight.
#[derive(Debug)]
struct InFlightWrite {
    number: u64,
    size: u64,
    crc: u32,
}

/// A write for which the disk had no space.
#[derive(Debug)]
struct RefusedWrite {
    segment: u64,
    block: FrameBuffer,
    at_ms: u64,
}

/// State of the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextSegment {
    None,
    Requested,
    Failed {
        at_ms: u64,
    },
    Prepared,
    /// Its header is being written.
    WritingHeader,
    /// The manifest that names it is being published.
    Publishing,
}

/// Outcome of a completed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWrite {
    /// The log is durable up to this position.
    Durable(Lsn),
    /// The header of this new segment was written. The manifest must name it next; then call
    /// [`Log::switch_segment`].
    Header(u64),
}

impl Log {
    /// A log that continues after `tail`, where recovery ended. `place.file` is ignored.
    pub fn new(place: Place, segments: Segments, tail: Tail) -> Self {
        assert!(segments.fit_a_step(), "the entries of a step fit into any segment");
        Self {
            segments,
            place: Place { file: tail.segment, ..place },
            capacity: tail.offset,
            end: tail.offset,
            crc: tail.crc,
            salt: NO_SALT,
            number: tail.position + 1,
            filling: FrameBuffer::with_capacity(MAX_WRITE_BYTES),
            full: VecDeque::new(),
            in_flight: None,
            refused: None,
            is_stalled: false,
            durable: tail.position,
            next: NextSegment::None,
            next_bytes: segments.first_bytes,
            next_salt: NO_SALT,
            spare_blocks: Vec::new(),
            written_bytes: 0,
        }
    }

    /// Asks for what is due: preparation of the next segment, and the next write. A block that is
    /// not full is due only if `is_awaited`.
    pub fn advance(
        &mut self,
        now_ms: u64,
        is_awaited: bool,
        recycled: impl FnOnce(u64) -> Option<u64>,
        ask: &mut impl FnMut(Task),
    ) {
        let is_due = match self.next {
            NextSegment::None => true,
            NextSegment::Failed { at_ms } => now_ms >= at_ms + RETRY_MS,
            _ => false,
        };
        if is_due {
            let (segment, bytes) = (self.place.file + 1, self.next_bytes);
            ask(Task::Prepare { segment, bytes, from: recycled(bytes) });
            self.next = NextSegment::Requested;
        }
        if let Some(RefusedWrite { segment, block, .. }) =
            self.refused.take_if(|refused| now_ms >= refused.at_ms + RETRY_MS)
        {
            let offset = if segment == self.place.file { self.end } else { 0 };
            ask(Task::Write { file: File::Segment(segment), offset, block });
        }
        if self.in_flight.is_some()
            || matches!(self.next, NextSegment::WritingHeader | NextSegment::Publishing)
        {
            return;
        }
        let payload = match self.full.front() {
            Some(block) => block.payload_bytes(),
            None if self.filling.payload_bytes() == 0 || !is_awaited => return,
            None => self.filling.payload_bytes(),
        };
        if self.end + size_of_payload(payload) as u64 <= self.capacity {
            self.write(ask);
        } else if self.next == NextSegment::Prepared {
            self.write_header(ask);
        }
    }

    fn write(&mut self, ask: &mut impl FnMut(Task)) {
        let number = self.number - self.full.len() as u64;
        let mut block = match self.full.pop_front() {
            Some(block) => block,
            None => self.take_filling(),
        };
        let payload = block.payload_bytes();
        let crc = block.seal(Kind::Write, self.place, self.salt, number);
        let size = block.bytes().len() as u64;
        assert!(
            payload > 0 && size == size_of_payload(payload) as u64,
            "a sealed frame holds exactly the appended records"
        );
        assert!(
            number > self.durable && self.end + size <= self.capacity,
            "a write is not yet durable, and fits its segment"
        );
        self.in_flight = Some(InFlightWrite { number, size, crc });
        ask(Task::Write { file: File::Segment(self.place.file), offset: self.end, block });
    }

    fn take_filling(&mut self) -> FrameBuffer {
        let next =
            self.spare_blocks.pop().unwrap_or_else(|| FrameBuffer::with_capacity(MAX_WRITE_BYTES));
        self.number += 1;
        std::mem::replace(&mut self.filling, next)
    }

    fn write_header(&mut self, ask: &mut impl FnMut(Task)) {
        let mut block = FrameBuffer::with_capacity(ALIGN);
        let end = End { segment: self.place.file, offset: self.end, crc: self.crc };
        let before = (end.segment > 0).then_some(end);
        Header { capacity: self.next_bytes, before, salt: self.next_salt }.write(block.payload());
        let segment = self.place.file + 1;
        let place = Place { file: segment, ..self.place };
        self.crc = block.seal(Kind::Segment, place, NO_SALT, self.durable);
        self.next = NextSegment::WritingHeader;
        ask(Task::Write { file: File::Segment(segment), offset: 0, block });
    }

    /// Takes back a write to a segment for which the disk had no space.
    pub fn refused(&mut self, now_ms: u64, segment: u64, block: FrameBuffer) {
        assert!(
            self.refused.is_none()
                && (self.in_flight.is_some() || self.next == NextSegment::WritingHeader),
            "a write that is refused was in flight"
        );
        self.refused = Some(RefusedWrite { segment, block, at_ms: now_ms });
        self.is_stalled = true;
    }

    /// Takes a completed write to a segment.
    pub fn written(&mut self, segment: u64, mut block: FrameBuffer) -> LogWrite {
        self.is_stalled = false;
        if segment != self.place.file {
            assert!(
                self.next == NextSegment::WritingHeader && segment == self.place.file + 1,
                "outside the current segment, only the next one's header is written"
            );
            self.next = NextSegment::Publishing;
            return LogWrite::Header(segment);
        }
        let InFlightWrite { number, size, crc } =
            self.in_flight.take().expect("a write was in flight");
        assert!(number == self.durable + 1, "writes become durable in order");
        assert!(
            block.bytes().len() as u64 == size && block.crc() == crc,
            "the block that comes back is the one that was sealed"
        );
        (self.durable, self.crc) = (number, crc);
        self.end += size;
        self.written_bytes += size;
        if self.spare_blocks.len() < SPARE_BLOCKS {
            block.clear();
            self.spare_blocks.push(block);
        }
        LogWrite::Durable(Lsn(number))
    }

    /// Switches to the new segment, which the manifest names from now on. Returns its number and
    /// its size.
    pub fn switch_segment(&mut self) -> (u64, u64) {
        assert!(self.next == NextSegment::Publishing, "the new segment's header was written");
        self.place.file += 1;
        self.salt = self.next_salt;
        (self.capacity, self.end, self.next) = (self.next_bytes, ALIGN as u64, NextSegment::None);
        self.next_bytes = (self.capacity * 2).min(self.segments.largest_bytes);
        (self.place.file, self.capacity)
    }

    /// The next segment was prepared and has this salt, or could not be prepared.
    pub fn prepared(&mut self, salt: Option<u64>, now_ms: u64) {
        assert!(self.next == NextSegment::Requested, "one segment is prepared at a time");
        assert!(salt != Some(NO_SALT), "a prepared segment has a salt");
        self.next_salt = salt.unwrap_or(NO_SALT);
        self.next = match salt {
            Some(_) => NextSegment::Prepared,
            None => NextSegment::Failed { at_ms: now_ms },
        };
    }

    /// Whether entries must wait: the backlog is at its limit, or a step's records would not fit
    /// into the segments there are. While the next segment has failed, entries do not wait for it:
    /// [`LogSink::has_space`] refuses what does not fit.
    pub fn is_throttled(&self) -> bool {
        let backlog = self.full.iter().map(FrameBuffer::payload_bytes).sum::<usize>();
        backlog >= BACKLOG_BYTES
            || (!matches!(self.next, NextSegment::Failed { .. }) && !self.fits(STEP_BYTES))
    }

    /// Whether `bytes` more bytes of records fit into the segments there are.
    fn fits(&self, bytes: usize) -> bool {
        let flight = self.in_flight.as_ref().map_or(0, |f| f.size);
        // The append may start a new block.
        let filling = size_of_payload(self.filling.payload_bytes() + bytes) + ALIGN;
        let waits =
            self.full.iter().map(|b| size_of_payload(b.payload_bytes())).sum::<usize>() + filling;
        let free = match self.next {
            NextSegment::Prepared | NextSegment::WritingHeader | NextSegment::Publishing => {
                self.next_bytes - ALIGN as u64
            }
            _ => self.capacity - self.end - flight,
        };
        waits as u64 <= free
    }

    /// Whether the disk has no space for the next write, although it is prepared.
    pub const fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Whether every appended record is durable.
    pub fn is_durable(&self) -> bool {
        self.durable == self.position().0
    }

    /// Position of the last appended record.
    pub fn position(&self) -> Lsn {
        Lsn(if self.filling.payload_bytes() == 0 { self.number - 1 } else { self.number })
    }

    /// Position up to which the log is durable.
    pub const fn durable(&self) -> Lsn {
        Lsn(self.durable)
    }

    /// Number of the segment that is written to.
    pub const fn segment(&self) -> u64 {
        self.place.file
    }

    /// Bytes written since the start, without segment headers.
    pub const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }
}

impl LogSink for Log {
    #[inline]
    fn has_space(&self) -> bool {
        !matches!(self.next, NextSegment::Failed { .. }) || self.fits(record::MAX_BYTES)
    }

    #[inline]
    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
        if self.filling.payload_bytes() + record::MAX_BYTES > MAX_WRITE_BYTES {
            let full = self.take_filling();
            self.full.push_back(full);
        }
        let before = self.filling.payload_bytes();
        record::write(self.filling.payload(), entry, version);
        let after = self.filling.payload_bytes();
        assert!(
            before < after && after <= before + record::MAX_BYTES && after <= MAX_WRITE_BYTES,
            "a record is not empty, and within its size limit"
        );
        Lsn(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::entry::{Action, Movement};
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;

    /// A log whose first segment is in use and has no writes yet.
    fn begun() -> Log {
        let place = Place { generation: 1, slice: 0, file: 0 };
        let mut log = Log::new(place, Segments::DISK, Tail::default());
        requested(&mut log, true);
        log.prepared(Some(0x5a17), 0);
        append(&mut log);
        let Some(Task::Write { block, .. }) = requested(&mut log, true) else {
            panic!("the segment's header is written")
        };
        assert_eq!(log.written(1, block), LogWrite::Header(1));
        log.switch_segment();
        log
    }

    fn append(log: &mut Log) -> Lsn {
        append_of(log, "topup")
    }

    fn append_of(log: &mut Log, kind: &str) -> Lsn {
        let currency = Currency::parse(b"COIN").unwrap();
        let movement = Movement {
            currency,
            kind,
            direction: Direction::Credit,
            amount: Amount::new(5).unwrap(),
        };
        let entry = EntryRef {
            id: EntryId(7),
            user: UserId::Number(1),
            at: Millis(1_000),
            late_accepted: false,
            action: Action::Post(movement),
        };
        log.append(&entry, 1)
    }

    /// The write that is asked for in a turn, if any.
    fn requested(log: &mut Log, is_awaited: bool) -> Option<Task> {
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
    fn a_write_begins_when_somebody_waits_for_it_or_its_block_is_full() {
        let mut log = begun();
        assert!(requested(&mut log, false).is_none());
        assert_eq!(append(&mut log), Lsn(1), "the block is still being filled");
        let Some(Task::Write { block, .. }) = requested(&mut log, true) else {
            panic!("a write begins when somebody waits")
        };
        assert_eq!(append(&mut log), Lsn(2));
        assert_eq!(log.written(1, block), LogWrite::Durable(Lsn(1)));
        while append(&mut log) == Lsn(2) {
            assert!(requested(&mut log, false).is_none() && !log.is_durable());
        }
        let Some(Task::Write { block, .. }) = requested(&mut log, false) else {
            panic!("a write begins when its block is full")
        };
        assert_eq!(log.written(1, block), LogWrite::Durable(Lsn(2)));
        assert!(requested(&mut log, false).is_none(), "the next block is not full");
        assert!(requested(&mut log, true).is_some());
    }

    /// Random numbers: SplitMix64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % end as u64) as usize
        }
    }

    /// A log on a disk that makes one segment and then no other.
    struct LastSegment {
        log: Log,
        now_ms: u64,
        /// Writes that are not done, and whether a segment is being prepared.
        writes: VecDeque<(File, FrameBuffer)>,
        is_preparing: bool,
    }

    impl LastSegment {
        fn new(bytes: u64) -> Self {
            let (place, segments) = (
                Place { generation: 1, slice: 0, file: 0 },
                Segments { first_bytes: bytes, largest_bytes: bytes },
            );
            let log = Log::new(place, segments, Tail::default());
            let mut disk = Self { log, now_ms: 0, writes: VecDeque::new(), is_preparing: false };
            disk.advance(true);
            disk.prepared(true);
            append(&mut disk.log);
            disk.advance(true);
            disk.written();
            disk
        }

        fn advance(&mut self, is_awaited: bool) {
            let Self { log, writes, is_preparing, .. } = self;
            log.advance(self.now_ms, is_awaited, |_| None, &mut |task| match task {
                Task::Write { file, block, .. } => writes.push_back((file, block)),
                Task::Prepare { .. } => *is_preparing = true,
                other => panic!("a log asks for no such task: {other:?}"),
            });
        }

        /// The segment is prepared, or not, if it was asked for.
        fn prepared(&mut self, ok: bool) {
            if std::mem::take(&mut self.is_preparing) {
                self.log.prepared(ok.then_some(1), self.now_ms);
            }
        }

        /// The write in flight is done, if there is one.
        fn written(&mut self) {
            let Some((file, block)) = self.writes.pop_front() else { return };
            if let LogWrite::Header(_) = self.log.written(file.number(), block) {
                self.log.switch_segment();
            }
        }

        /// Entries of one turn, as far as they are let in. Returns how many were.
        fn turn(&mut self, entries: usize, kinds: &[&str], random: &mut Random) -> usize {
            if self.log.is_throttled() {
                return 0;
            }
            for done in 0..entries {
                if !self.log.has_space() {
                    return done;
                }
                append_of(&mut self.log, kinds[random.below(kinds.len())]);
            }
            entries
        }
    }

    #[test]
    fn records_that_are_let_in_fit_the_segments_there_are() {
        let largest = "k".repeat(32);
        let (mut refused, mut throttled, mut blocks) = (0, 0, 0);
        for seed in 0..3_000 {
            let mut random = Random(seed);
            // The segment ends a few pages after a whole number of blocks.
            let pages = 16 + random.below(4) * MAX_WRITE_BYTES / ALIGN + random.below(6);
            let kinds: &[&str] = if seed % 2 == 0 { &[&largest] } else { &["a", &largest] };
            // Writes of whole blocks only, or of a few records.
            let awaited = if seed % 3 == 0 { 1 } else { 50 };
            let mut disk = LastSegment::new((pages * ALIGN) as u64);
            for _ in 0..300 {
                let entries = 1 + random.below(256);
                match disk.turn(entries, kinds, &mut random) {
                    0 if disk.log.is_throttled() => throttled += 1,
                    done => refused += u32::from(done < entries),
                }
                blocks += usize::from(!disk.log.full.is_empty());
                if random.below(2) == 0 {
                    disk.written();
                }
                if random.below(3) == 0 {
                    disk.prepared(false);
                }
                disk.now_ms += random.below(3) as u64 * RETRY_MS / 8;
                let is_awaited = random.below(awaited) == 0;
                disk.advance(is_awaited);
            }
            disk.prepared(false);
            while !disk.log.is_durable() {
                disk.advance(true);
                disk.prepared(false);
                assert!(!disk.writes.is_empty(), "seed {seed}: a record does not fit the segment");
                disk.written();
            }
            assert_eq!(disk.log.durable(), disk.log.position(), "seed {seed}");
        }
        let counts = (refused, throttled, blocks);
        assert!(refused > 10_000 && throttled > 10_000 && blocks > 500, "{counts:?}");
    }
}
