//! Recovery of a slice from disk: loads the current snapshot, then replays the log over it.
//!
//! A state machine without a disk. [`Recovery::advance`] takes a bounded step and asks for reads,
//! at most two ahead; [`Recovery::done`] takes their completions. The sizes of all files are
//! determined first.
//!
//! Everything invalid is a [`Fault`], including a user who belongs to another slice, with one
//! exception: the last segment may end with a torn write. It was never acknowledged, so it is cut.

use super::Slice;
use super::StepOutcome;
use super::disk::{Done, Task};
use super::loader::{ExpectedOwner, UsersLoader};
use super::log::Tail;
use super::reader::Reader;
use super::store::Recovered;
use crate::journal::frame::{self, ALIGN, Frame, FrameError, Kind, NO_SALT};
use crate::journal::segment::{End, Header};
use crate::journal::{Fault, File, Place, manifest, record, snapshot};
use crate::ledger::book::Replayed;
use crate::ledger::image::Malformed;
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};

/// Bytes of the shortest image of a user. Bounds the number of users that a snapshot can claim.
const MIN_IMAGE_BYTES: u64 = 24;
/// Bytes of the shortest kind. Bounds the number of kinds that a snapshot can claim.
const MIN_KIND_BYTES: u64 = 2;
/// Bytes of frames that one step processes, copies and checksums: about a millisecond. The last
/// frame of a step may exceed it.
const STEP_BYTES: u64 = 256 << 10;

/// Progress and results of a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes copied and checksummed so far, also of what turned out not to be a frame.
    pub worked_bytes: u64,
    /// Total size of the files in bytes. The last segment may hold fewer bytes of log.
    pub bytes_total: u64,
    /// Users loaded from the snapshot.
    pub users: u64,
    /// Entries that the snapshot's users had accepted.
    pub snapshot_entries: u64,
    /// Records of the log that the snapshot did not hold.
    pub replayed: u64,
    /// Records of the log that the snapshot already held.
    pub already_known: u64,
    /// A torn write that was cut: its segment and its offset.
    pub torn_write: Option<(u64, u64)>,
}

/// A recovery in progress.
#[derive(Debug)]
pub struct Recovery {
    place: Place,
    stage: Stage,
    reader: Reader,
    /// Sizes of the segments, from the first one on, and of the snapshot.
    segment_bytes: Vec<u64>,
    snapshot_bytes: u64,
    /// The snapshot's last frame: what it states and its number.
    last_frame: (snapshot::End, u64),
    /// Number of the snapshot's first kinds frame; of its last frame if there are no kinds.
    kinds_frame: u64,
    loader: UsersLoader,
    /// Salt of the current segment's writes.
    salt: u64,
    before: Option<End>,
    found: Recovered,
    report: Report,
    expected_bytes: usize,
}

/// ```text
/// Measure ─▶ LastFrame ─▶ Kinds ─▶ FirstFrame ─▶ Users ─▶ Header ─▶ NextHeader ─▶ Writes
///    │                                                     ▲ ▲          │           │
///    └─ no snapshot ───────────────────────────────────────┘ └──────────┘           ▼
///                                                      the next segment          TornTail
///                       Done ◀─ LaterFrames ◀─ LaterSegment ◀───────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Determining the sizes of the files, one after the other.
    Measure {
        file: File,
        is_asked: bool,
    },
    /// A file that the manifest names does not exist.
    Missing {
        file: File,
    },
    /// Reading the snapshot's last frame, which says what the snapshot needs.
    LastFrame,
    /// Reading the snapshot's kinds, which its users refer to, from frame `number` on. There is no
    /// number before the first frame.
    Kinds {
        number: Option<u64>,
    },
    /// Reading the snapshot's first frame.
    FirstFrame,
    Users {
        frames: u64,
    },
    /// Reading a segment's header.
    Header {
        segment: u64,
    },
    /// Reading the next segment's header, which says where this segment ends.
    NextHeader {
        segment: u64,
    },
    Writes {
        segment: u64,
        end: Option<End>,
    },
    /// The last segment's frames end at `start`, where write `number` is expected: looking for
    /// later writes after that offset.
    TornTail {
        start: u64,
        number: u64,
        why: &'static str,
        is_torn: bool,
    },
    /// Looking for a segment that follows the last one that the manifest names.
    LaterSegment {
        is_asked: bool,
    },
    /// Reading that segment's header and the frame after it.
    LaterFrames {
        /// Number of the header, and the salt that it states.
        header: Option<(u64, u64)>,
    },
    Done,
}

/// Bytes that a stage has processed; `None` while it waits for the disk.
type Processed = Result<Option<u64>, Fault>;

impl Recovery {
    /// A recovery of what `manifest` names: the manifest of one of `slices` slices. `place.file` is
    /// ignored.
    pub fn new(place: Place, slices: u32, manifest: manifest::SliceManifest) -> Self {
        let mut recovery = Self {
            place,
            stage: Stage::Done,
            reader: Reader::new(),
            segment_bytes: Vec::new(),
            snapshot_bytes: 0,
            last_frame: (snapshot::End::default(), 0),
            kinds_frame: 0,
            loader: UsersLoader::new(ExpectedOwner { slice: place.slice, slices }),
            salt: NO_SALT,
            before: None,
            found: Recovered { manifest, ..Recovered::default() },
            report: Report::default(),
            expected_bytes: 0,
        };
        recovery.stage = match (manifest.first, manifest.snapshot) {
            (0, 0) => Stage::LaterSegment { is_asked: false },
            (0, snapshot) => Stage::Measure { file: File::Snapshot(snapshot), is_asked: false },
            (segment, _) => Stage::Measure { file: File::Segment(segment), is_asked: false },
        };
        recovery
    }

    /// Takes at most one step and asks for the reads it needs. When it is
    /// [done](StepOutcome::Done), call [`Self::finish`].
    pub fn advance(
        &mut self,
        slice: &mut Slice,
        ask: &mut impl FnMut(Task),
    ) -> Result<StepOutcome, Fault> {
        let mut worked = 0;
        while worked < STEP_BYTES {
            let more = match self.stage {
                Stage::Measure { .. } | Stage::LaterSegment { .. } => self.measure(ask),
                Stage::Missing { file } => {
                    return Err(Fault::new(
                        file,
                        0,
                        "the manifest names this file, but it is missing",
                    ));
                }
                Stage::LastFrame => self.last_frame(slice, ask)?,
                Stage::Kinds { number } => self.kinds(number, slice, ask)?,
                Stage::FirstFrame => self.first_frame(ask)?,
                Stage::Users { frames } => self.users(frames, slice, ask)?,
                Stage::Header { segment } => self.open_header(segment, ask)?,
                Stage::NextHeader { segment } => self.next_header(segment, ask)?,
                Stage::Writes { segment, end } => self.writes(segment, end, slice, ask)?,
                Stage::TornTail { start, number, why, is_torn } => {
                    self.torn_tail((start, number, why), is_torn, ask)?
                }
                Stage::LaterFrames { header } => self.later_frames(header, ask)?,
                Stage::Done if self.reader.is_at_rest() => return Ok(StepOutcome::Done),
                Stage::Done => None,
            };
            let before = std::mem::replace(&mut self.report.worked_bytes, self.reader.worked());
            let Some(more) = more else { return Ok(StepOutcome::Waiting) };
            worked += more.max(self.report.worked_bytes - before);
        }
        Ok(StepOutcome::Going)
    }

    /// Takes the completion of a measurement or a read.
    pub fn done(&mut self, done: Done) {
        match done {
            Done::Read { file, offset, buffer } => self.reader.read(file, offset, buffer),
            Done::Measured { file, bytes } => self.measured(file, bytes),
            other => unreachable!("recovery only measures and reads, but got {other:?}"),
        }
    }

    /// Whether the sizes of all files that the manifest names are known.
    pub const fn is_measured(&self) -> bool {
        !matches!(self.stage, Stage::Measure { .. } | Stage::Missing { .. })
    }

    /// Progress so far.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Estimated memory of the loaded slice in bytes; 0 until the snapshot's last frame was read.
    pub const fn expected_bytes(&self) -> usize {
        self.expected_bytes
    }

    /// The result, from which a store continues.
    pub fn finish(self) -> Recovered {
        assert!(
            self.stage == Stage::Done && self.reader.is_at_rest(),
            "recovery is done and no read is in flight"
        );
        self.found
    }

    fn at(&self, file: File) -> Place {
        Place { file: file.number(), ..self.place }
    }

    // File sizes.

    /// Asks for the size of the current file.
    fn measure(&mut self, ask: &mut impl FnMut(Task)) -> Option<u64> {
        let beyond = self.found.manifest.last.saturating_add(1);
        let (file, is_asked) = match &mut self.stage {
            Stage::Measure { file, is_asked } => (*file, is_asked),
            Stage::LaterSegment { is_asked } => (File::Segment(beyond), is_asked),
            stage => unreachable!("no size is asked for in {stage:?}"),
        };
        if !std::mem::replace(is_asked, true) {
            ask(Task::Measure { file });
        }
        None
    }

    fn measured(&mut self, file: File, bytes: Option<u64>) {
        let manifest = self.found.manifest;
        if matches!(self.stage, Stage::LaterSegment { is_asked: true }) {
            self.stage = match bytes {
                None => Stage::Done,
                Some(bytes) => {
                    self.reader.open(file, bytes, 0, 2 * ALIGN as u64);
                    Stage::LaterFrames { header: None }
                }
            };
            return;
        }
        assert!(
            self.stage == Stage::Measure { file, is_asked: true },
            "a size that arrives was asked for"
        );
        let Some(bytes) = bytes else {
            self.stage = Stage::Missing { file };
            return;
        };
        self.report.bytes_total += bytes;
        let next = match file {
            File::Segment(segment) => {
                self.segment_bytes.push(bytes);
                if segment < manifest.last { Some(File::Segment(segment + 1)) } else { None }
            }
            File::Snapshot(_) => {
                self.snapshot_bytes = bytes;
                None
            }
        };
        let snapshot = (manifest.snapshot > 0).then_some(File::Snapshot(manifest.snapshot));
        if let Some(file) = next.or(snapshot.filter(|&snapshot| snapshot != file)) {
            self.stage = Stage::Measure { file, is_asked: false };
        } else if let Some(snapshot) = snapshot {
            self.reader.open(snapshot, self.snapshot_bytes, manifest.snapshot_end, u64::MAX);
            self.stage = Stage::LastFrame;
        } else {
            self.open_segment(manifest.first, 0, ALIGN as u64);
            self.stage = Stage::Header { segment: manifest.first };
        }
    }

    // The snapshot.

    fn last_frame(&mut self, slice: &mut Slice, ask: &mut impl FnMut(Task)) -> Processed {
        let at = self.found.manifest.snapshot_end;
        let place = self.at(self.reader.file());
        let Some(frame) = self.reader.frame(place, NO_SALT, ask) else { return Ok(None) };
        let read = match frame {
            Ok(last) if last.kind == Kind::End => {
                snapshot::End::decode(last.payload).map(|end| (end, last.number, last.size()))
            }
            _ => None,
        };
        let is_possible = |end: &snapshot::End| {
            let kinds_bytes = at.checked_sub(end.kinds_at);
            end.kinds_at >= ALIGN as u64
                && end.kinds_at.is_multiple_of(ALIGN as u64)
                && kinds_bytes.is_some_and(|bytes| end.kinds <= bytes / MIN_KIND_BYTES)
        };
        let (end, number, size) = read.filter(|(end, ..)| is_possible(end)).ok_or_else(|| {
            self.reader
                .fault("this is not the snapshot's last frame, which the manifest places here")
        })?;
        let users = end.users.min(at / MIN_IMAGE_BYTES) as usize;
        self.expected_bytes = slice.presize(users, at as usize);
        slice.presize_kinds(end.kinds as usize);
        self.last_frame = (end, number);
        self.found.snapshot_bytes = at + size as u64;
        self.report.bytes += size as u64;
        self.reader.open(self.reader.file(), self.snapshot_bytes, end.kinds_at, at);
        self.stage = Stage::Kinds { number: None };
        Ok(Some(size as u64))
    }

    /// Reads a frame of kinds, or ends the kinds where the last frame begins.
    fn kinds(
        &mut self,
        number: Option<u64>,
        slice: &mut Slice,
        ask: &mut impl FnMut(Task),
    ) -> Processed {
        let (file, start, (end, last)) = (self.reader.file(), self.reader.at(), self.last_frame);
        let fault = |what: String| Fault::new(file, start, what);
        let expected = number.unwrap_or(last);
        if start == self.found.manifest.snapshot_end {
            let read = slice.book().names().len() as u64;
            if read != end.kinds {
                return Err(fault(format!(
                    "the last frame states {} kinds, but {read} kinds were read",
                    end.kinds
                )));
            }
            if expected != last {
                return Err(fault(format!("frame {expected} is broken")));
            }
            self.kinds_frame = if number.is_none() { last } else { self.kinds_frame };
            self.reader.open(file, self.snapshot_bytes, 0, end.kinds_at);
            self.stage = Stage::FirstFrame;
            return Ok(Some(0));
        }
        let place = self.at(file);
        let Some(frame) = self.reader.frame(place, NO_SALT, ask) else { return Ok(None) };
        let found = match frame {
            Ok(found) if number.is_none_or(|number| found.number == number) => found,
            _ => return Err(fault("a frame of kinds is broken".to_owned())),
        };
        let kinds = snapshot::Kinds::decode(found.payload).filter(|_| {
            let is_within = start < self.found.manifest.snapshot_end && found.number < last;
            found.kind == Kind::Kinds && is_within && !found.payload.is_empty()
        });
        let kinds = kinds.ok_or_else(|| fault("this is not a frame of kinds".to_owned()))?;
        for kind in kinds.iter() {
            slice.add_kind(kind).map_err(|e: Malformed| fault(format!("kinds: {e}")))?;
        }
        let (size, number_here) = (found.size() as u64, found.number);
        self.kinds_frame = if number.is_none() { number_here } else { self.kinds_frame };
        self.reader.skip(size);
        self.report.bytes += size;
        self.stage = Stage::Kinds { number: Some(number_here + 1) };
        Ok(Some(size))
    }

    fn first_frame(&mut self, ask: &mut impl FnMut(Task)) -> Processed {
        let place = self.at(self.reader.file());
        let Some(frame) = self.reader.frame(place, NO_SALT, ask) else { return Ok(None) };
        let begin = match frame {
            Ok(Frame { kind: Kind::Snapshot, number: 0, payload, .. }) => {
                snapshot::Begin::decode(payload)
            }
            _ => None,
        };
        // A snapshot that was written without a log is followed by the first segment, once there is
        // one.
        if begin != Some(snapshot::Begin { segment: self.found.manifest.first.max(1) }) {
            return Err(self
                .reader
                .fault("this is not the first frame of the snapshot that the manifest names"));
        }
        self.reader.skip(ALIGN as u64);
        self.stage = Stage::Users { frames: 1 };
        Ok(Some(0))
    }

    fn users(&mut self, frames: u64, slice: &mut Slice, ask: &mut impl FnMut(Task)) -> Processed {
        let (file, start, (end, _)) = (self.reader.file(), self.reader.at(), self.last_frame);
        let fault = |what: String| Fault::new(file, start, what);
        if start == end.kinds_at && frames == self.kinds_frame {
            return self.scanned();
        }
        let place = self.at(file);
        let found = match self.reader.frame(place, NO_SALT, ask) {
            None => return Ok(None),
            Some(Ok(found)) if found.number == frames => found,
            Some(_) => return Err(fault(format!("frame {frames} is broken"))),
        };
        let is_users = found.kind == Kind::Users && start < end.kinds_at;
        if !is_users {
            return Err(fault("unexpected frame".to_owned()));
        }
        let size = found.size() as u64;
        let at = start + frame::HEADER_BYTES as u64;
        let (users, entries) = self.loader.load(file, at, found.payload, slice)?;
        self.report.users += users;
        self.report.snapshot_entries += entries;
        self.stage = Stage::Users { frames: frames + 1 };
        self.reader.skip(size);
        self.report.bytes += size;
        Ok(Some(size))
    }

    /// Checks the end of the users: what was read is what the last frame promises, and the log that
    /// the snapshot needs exists.
    fn scanned(&mut self) -> Processed {
        let manifest = self.found.manifest;
        let fault = |what| Fault::new(self.reader.file(), manifest.snapshot_end, what);
        self.loader.check_complete(self.reader.file())?;
        let (Report { users: read, snapshot_entries, .. }, (end, _)) =
            (self.report, self.last_frame);
        let (users, entries, position) = (end.users, end.entries, end.position);
        if (users, entries) != (read, snapshot_entries) {
            return Err(fault(format!(
                "the last frame states {users} users with {entries} entries, but {read} users with \
                 {snapshot_entries} entries were read",
            )));
        }
        if manifest.first == 0 && position > 0 {
            return Err(fault(format!(
                "the snapshot needs the log up to write {position}, but the manifest names no log"
            )));
        }
        self.stage = match manifest.first {
            0 => Stage::LaterSegment { is_asked: false },
            segment => {
                self.open_segment(segment, 0, ALIGN as u64);
                Stage::Header { segment }
            }
        };
        Ok(Some(0))
    }

    // The log.

    fn open_segment(&mut self, segment: u64, at: u64, until: u64) {
        let size = self.segment_bytes[(segment - self.found.manifest.first) as usize];
        self.reader.open(File::Segment(segment), size, at, until);
    }

    /// The header of the open segment, with its frame's number and checksum; `None` until it is
    /// read.
    fn header(&mut self, ask: &mut impl FnMut(Task)) -> Result<Option<(Header, u64, u32)>, Fault> {
        let place = self.at(self.reader.file());
        let Some(frame) = self.reader.frame(place, NO_SALT, ask) else { return Ok(None) };
        let read = match frame {
            Ok(Frame { kind: Kind::Segment, number, crc, payload }) => {
                // No log has more writes than this, so one can be added without overflow.
                let is_countable = i64::try_from(number).is_ok();
                Header::decode(payload).filter(|_| is_countable).map(|header| (header, number, crc))
            }
            _ => None,
        };
        let header = read.ok_or_else(|| self.reader.fault("invalid segment header"))?;
        self.reader.skip(ALIGN as u64);
        Ok(Some(header))
    }

    fn open_header(&mut self, segment: u64, ask: &mut impl FnMut(Task)) -> Processed {
        let Some((header, number, crc)) = self.header(ask)? else { return Ok(None) };
        if self.reader.size() < header.capacity {
            let (size, capacity) = (self.reader.size(), header.capacity);
            return Err(self
                .reader
                .fault(format!("the file has {size} bytes but was created with {capacity}")));
        }
        let manifest = self.found.manifest;
        if segment == manifest.first {
            let is_whole = manifest.snapshot > 0 || (header.before.is_none() && number == 0);
            if !is_whole {
                let what = "earlier log segments are missing, and there is no snapshot";
                return Err(self.reader.fault(what));
            }
            self.found.tail.position = number;
        } else if header.before != self.before || number != self.found.tail.position {
            return Err(self.reader.fault("this segment does not continue the previous one"));
        }
        self.salt = header.salt;
        self.found.segments.push((segment, header.capacity));
        self.found.tail =
            Tail { segment, offset: ALIGN as u64, crc, position: self.found.tail.position };
        self.report.bytes += ALIGN as u64;
        self.stage = if segment < manifest.last {
            self.open_segment(segment + 1, 0, ALIGN as u64);
            Stage::NextHeader { segment }
        } else {
            self.reader.read_until(u64::MAX);
            Stage::Writes { segment, end: None }
        };
        Ok(Some(ALIGN as u64))
    }

    fn next_header(&mut self, segment: u64, ask: &mut impl FnMut(Task)) -> Processed {
        let Some((Header { before, .. }, ..)) = self.header(ask)? else { return Ok(None) };
        let is_next = |end: &End| end.segment == segment;
        let fault = || self.reader.fault("this segment does not continue the previous one");
        let end = before.filter(is_next).ok_or_else(fault)?;
        self.open_segment(segment, ALIGN as u64, end.offset);
        self.stage = Stage::Writes { segment, end: Some(end) };
        Ok(Some(0))
    }

    fn writes(
        &mut self,
        segment: u64,
        end: Option<End>,
        slice: &mut Slice,
        ask: &mut impl FnMut(Task),
    ) -> Processed {
        if end.is_some_and(|end| self.reader.at() >= end.offset) {
            return self.ended(segment, end);
        }
        let (file, place, start) =
            (self.reader.file(), self.at(self.reader.file()), self.reader.at());
        let (number, owner) = (self.found.tail.position + 1, self.loader.owner());
        let Some(frame) = self.reader.frame(place, self.salt, ask) else { return Ok(None) };
        let found = match frame {
            Ok(found) if found.kind == Kind::Write && found.number == number => found,
            why => {
                let why = match why {
                    Err(FrameError::Empty | FrameError::Foreign) => "missing",
                    Err(FrameError::Short(_) | FrameError::Broken) => "broken",
                    Ok(_) => "replaced by another frame",
                };
                if end.is_some() {
                    return Err(Fault::new(file, start, format!("write {number} is {why}")));
                }
                self.stage = Stage::TornTail { start, number, why, is_torn: false };
                return Ok(Some(0));
            }
        };
        let (mut rest, mut records) = (found.payload, Vec::new());
        while !rest.is_empty() {
            let offset = start + (frame::HEADER_BYTES + found.payload.len() - rest.len()) as u64;
            let read = record::decode(&mut rest)
                .ok_or_else(|| Fault::new(file, offset, "malformed record"))?;
            // Only a user's first record is checked: users with earlier records were checked
            // before.
            let foreign = if read.1 == 1 { owner.refuses(read.0.user) } else { None };
            if let Some(what) = foreign {
                return Err(Fault::new(file, offset, what));
            }
            records.push((offset, read, Lookup::default()));
        }
        for (at, (offset, (entry, version), _)) in records.iter().enumerate() {
            for ((_, (next, _), lookup), step) in
                prefetch_steps(&records, at, PrefetchStep::FOR_ENTRY)
            {
                slice.prefetch(next.user, Some(next.id), step, lookup);
            }
            match slice.replay(entry, *version) {
                Ok(Replayed::Booked) => self.report.replayed += 1,
                Ok(Replayed::Known) => self.report.already_known += 1,
                Err(error) => {
                    let what = format!("user {}, version {version}: {error}", entry.user);
                    return Err(Fault::new(file, *offset, what));
                }
            }
        }
        let (size, crc) = (found.size() as u64, found.crc);
        self.reader.skip(size);
        self.found.tail = Tail { segment, offset: self.reader.at(), crc, position: number };
        self.found.log_bytes += size;
        self.report.bytes += size;
        Ok(Some(size))
    }

    /// Searches after the end of the last segment's frames. If a crash tore the last write, there
    /// are no later writes; if there are, something was lost. Records that are left from a former
    /// use of the file may hold whole frames, but none with this segment's salt.
    fn torn_tail(
        &mut self,
        (start, number, why): (u64, u64, &'static str),
        mut is_torn: bool,
        ask: &mut impl FnMut(Task),
    ) -> Processed {
        let (file, at) = (self.reader.file(), self.reader.at());
        if at + (frame::HEADER_BYTES as u64) >= self.reader.size() {
            self.report.torn_write = is_torn.then_some((file.number(), start));
            return self.ended(file.number(), None);
        }
        let place = self.at(file);
        let Some(frame) = self.reader.frame(place, self.salt, ask) else { return Ok(None) };
        match frame {
            Ok(frame) if frame.kind == Kind::Write && frame.number >= number => {
                let behind = frame.number;
                let what =
                    format!("write {number} is {why}, but write {behind} follows at byte {at}");
                return Err(Fault::new(file, start, what));
            }
            Err(FrameError::Empty | FrameError::Foreign) => {}
            _ => is_torn |= at == start,
        }
        self.reader.skip(ALIGN as u64);
        self.stage = Stage::TornTail { start, number, why, is_torn };
        Ok(Some(ALIGN as u64))
    }

    /// Ends a segment that was read to its end.
    fn ended(&mut self, segment: u64, end: Option<End>) -> Processed {
        let Tail { offset, crc, position, .. } = self.found.tail;
        let here = End { segment, offset, crc };
        let fault = |what: String| Err(Fault::new(File::Segment(segment), offset, what));
        if end.is_some_and(|end| end != here) {
            return fault(
                "the last write ends here, but the next segment's header states another end"
                    .to_owned(),
            );
        }
        self.before = Some(here);
        if end.is_some() {
            self.open_segment(segment + 1, 0, ALIGN as u64);
            self.stage = Stage::Header { segment: segment + 1 };
            return Ok(Some(0));
        }
        let needed = self.last_frame.0.position;
        if position < needed {
            return fault(format!(
                "the log ends with write {position}, but the snapshot needs it up to write {needed}"
            ));
        }
        self.stage = Stage::LaterSegment { is_asked: false };
        Ok(Some(0))
    }

    /// Checks the segment that the manifest does not name. A crash leaves no write in it: if there
    /// is one, the manifest is not the newest.
    fn later_frames(
        &mut self,
        header: Option<(u64, u64)>,
        ask: &mut impl FnMut(Task),
    ) -> Processed {
        let Some((number, salt)) = header else {
            self.stage = match self.header(ask) {
                Ok(None) => return Ok(None),
                Ok(Some((found, number, _))) => {
                    Stage::LaterFrames { header: Some((number, found.salt)) }
                }
                Err(_) => Stage::Done,
            };
            return Ok(Some(0));
        };
        let place = self.at(self.reader.file());
        let Some(frame) = self.reader.frame(place, salt, ask) else { return Ok(None) };
        if matches!(frame, Ok(frame) if frame.kind == Kind::Write && frame.number == number + 1) {
            let what = "the log continues in this file, but the manifest does not name it: \
                        the manifest is outdated";
            return Err(self.reader.fault(what));
        }
        self.stage = Stage::Done;
        Ok(Some(0))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::journal::frame::FrameBuffer;
    use crate::ledger::amount::{Amount, Currency};
    use crate::ledger::entry::{Action, EntryRef, Movement, Verdict};
    use crate::ledger::id::{EntryId, UserId};
    use crate::ledger::time::Millis;
    use crate::slice::{Lsn, NoLog};
    use std::collections::BTreeMap;

    pub(in crate::slice) const PLACE: Place = Place { generation: 1, slice: 0, file: 1 };
    const SALT: u64 = 7;
    const SNAPSHOT: File = File::Snapshot(1);
    const START_MS: u64 = 1_700_000_000_000;

    /// Books a posting of one minor unit.
    pub(in crate::slice) fn post(
        slice: &mut Slice,
        (user, id): (u64, u128),
        kind: &str,
        at: Millis,
    ) -> Verdict {
        let currency = Currency::parse(b"COIN").unwrap();
        let (direction, amount) =
            (crate::ledger::amount::Direction::Credit, Amount::new(1).unwrap());
        let action = Action::Post(Movement { currency, kind, direction, amount });
        let entry = EntryRef {
            id: EntryId(id),
            user: UserId::Number(user),
            at,
            late_accepted: false,
            action,
        };
        slice.apply(at, &entry, &mut NoLog).1
    }

    /// A snapshot's frames, and an empty log after it.
    #[derive(Default)]
    pub(in crate::slice) struct Files(pub(in crate::slice) BTreeMap<File, Vec<u8>>);

    impl Files {
        pub(in crate::slice) fn frame(
            &mut self,
            file: File,
            kind: Kind,
            number: u64,
            payload: &[u8],
        ) {
            let mut block = FrameBuffer::with_capacity(payload.len());
            block.payload().extend_from_slice(payload);
            let salt = if kind == Kind::Write { SALT } else { NO_SALT };
            block.seal(kind, PLACE, salt, number);
            self.0.entry(file).or_default().extend_from_slice(block.bytes());
        }

        /// Recovers a snapshot whose last frame is at `snapshot_end`, and calls `each` after each
        /// step with the bytes that it read.
        pub(in crate::slice) fn recover(
            &mut self,
            snapshot_end: u64,
            mut each: impl FnMut(u64),
        ) -> Result<Slice, Fault> {
            let header = Header { capacity: ALIGN as u64, before: None, salt: SALT };
            let mut payload = Vec::new();
            header.write(&mut payload);
            self.frame(File::Segment(1), Kind::Segment, 0, &payload);
            let manifest = manifest::SliceManifest { snapshot: 1, snapshot_end, first: 1, last: 1 };
            let (mut recovery, mut slice) = (
                Recovery::new(PLACE, 1, manifest),
                Slice::new(usize::MAX, crate::ledger::secret::Secret::default()),
            );
            loop {
                let (before, mut asked) = (recovery.report().bytes, Vec::new());
                let outcome = recovery.advance(&mut slice, &mut |task| asked.push(task))?;
                each(recovery.report().bytes - before);
                for task in asked {
                    recovery.done(self.done(task));
                }
                if outcome == StepOutcome::Done {
                    slice.recovered(Lsn(recovery.finish().tail.position));
                    return Ok(slice);
                }
            }
        }

        fn done(&self, task: Task) -> Done {
            match task {
                Task::Measure { file } => {
                    Done::Measured { file, bytes: self.0.get(&file).map(|all| all.len() as u64) }
                }
                Task::Read { file, offset, bytes, mut buffer } => {
                    let (all, from) = (&self.0[&file], offset as usize);
                    buffer.clear();
                    buffer.extend_from_slice(&all[from..all.len().min(from + bytes)]);
                    Done::Read { file, offset, buffer }
                }
                other => unreachable!("recovery only measures and reads, but asked for {other:?}"),
            }
        }
    }

    /// A snapshot to be damaged: a small user, one with pieces, and three kinds.
    struct Snapshot {
        small: Vec<u8>,
        head: Vec<u8>,
        pieces: Vec<Vec<u8>>,
        end: snapshot::End,
    }

    impl Snapshot {
        fn new() -> Self {
            let mut slice = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
            for (n, kind) in (0..).zip(["a", "b", "c"]) {
                post(&mut slice, (1, n), kind, Millis(START_MS));
            }
            for n in 0..12_000 {
                assert_eq!(
                    post(&mut slice, (2, n), "a", Millis(START_MS + n as u64)),
                    Verdict::Accepted
                );
            }
            let (mut small, mut head) = (Vec::new(), Vec::new());
            slice.book().user(0).store(slice.book().id(0), &mut small);
            let user = slice.book().user(1);
            user.store_head(slice.book().id(1), &mut head);
            let piece = |number| {
                let mut piece = Vec::new();
                user.store_piece(number, &mut piece);
                piece
            };
            let pieces = (0..user.pieces()).map(piece).collect();
            let end = snapshot::End { users: 2, entries: 12_003, kinds: 3, ..Default::default() };
            Self { small, head, pieces, end }
        }

        /// Recovers the snapshot with these payloads of users and of kinds frames; `change` changes
        /// the last frame.
        fn recover(
            &self,
            users: &[Vec<u8>],
            kinds: &[&[u8]],
            change: impl Fn(&mut snapshot::End),
        ) -> Result<Slice, String> {
            let (mut files, mut number) = (Files::default(), 0);
            let mut frame = |files: &mut Files, kind, payload: &[u8]| {
                files.frame(SNAPSHOT, kind, number, payload);
                number += 1;
                files.0[&SNAPSHOT].len() as u64
            };
            frame(&mut files, Kind::Snapshot, &1u64.to_le_bytes());
            let mut at = ALIGN as u64;
            for payload in users {
                at = frame(&mut files, Kind::Users, payload);
            }
            let mut end = snapshot::End { kinds_at: at, ..self.end };
            for payload in kinds {
                at = frame(&mut files, Kind::Kinds, payload);
            }
            change(&mut end);
            let mut payload = Vec::new();
            end.write(&mut payload);
            frame(&mut files, Kind::End, &payload);
            files.recover(at, |_| {}).map_err(|fault| fault.to_string())
        }
    }

    /// A change of the last frame.
    type Change = fn(&mut snapshot::End);

    const KINDS: &[u8] = b"\x01a\x01b\x01c";

    #[test]
    fn pieces_and_kinds_may_lie_in_any_frames() {
        let snapshot = Snapshot::new();
        let Snapshot { small, head, pieces, .. } = &snapshot;
        let all = [&small[..], head, &pieces.concat()].concat();
        let mut each = vec![small.clone(), head.clone()];
        each.extend(pieces.iter().cloned());
        let reversed = [&head[..], &pieces.concat(), small].concat();
        for (users, kinds) in [
            (vec![all], &[KINDS][..]),
            (each, &[&KINDS[..2], &KINDS[2..4], &KINDS[4..]]),
            (vec![reversed], &[KINDS]),
        ] {
            let slice = snapshot.recover(&users, kinds, |_| {}).unwrap();
            let mut again = Vec::new();
            let slot = slice.book().find(UserId::Number(2)).unwrap();
            slice.book().user(slot).store(slice.book().id(slot), &mut again);
            assert!(again.len() == head.len() + pieces.concat().len());
            assert_eq!(slice.book().names().iter().collect::<Vec<_>>(), ["a", "b", "c"]);
        }
    }

    #[test]
    fn incomplete_or_misplaced_pieces_and_kinds_are_faults() {
        let snapshot = Snapshot::new();
        let Snapshot { small, head, pieces, .. } = &snapshot;
        let all = [&small[..], head, &pieces.concat()].concat();
        let refused = |what: &str, users: &[Vec<u8>], kinds: &[&[u8]], says: &str| {
            let result = snapshot.recover(users, kinds, |_| {}).map(|_| ());
            assert!(result.as_ref().is_err_and(|why| why.contains(says)), "{what}: {result:?}");
        };
        let users = |users: &[Vec<u8>], says| refused(says, users, &[KINDS], says);
        users(&[small.clone(), head.clone()], "user 2 has 0 of 4 pieces");
        users(&[[head, &pieces[..3].concat()[..]].concat()], "user 2 has 3 of 4 pieces");
        // A piece without its user, a user between pieces, and a piece that comes twice.
        let misplaced =
            |parts: &[&[u8]]| users(&[parts.concat()], "user image: invariant violated");
        misplaced(&[&pieces[0], &all]);
        misplaced(&[head, &pieces[..2].concat(), small, &pieces[2..].concat()]);
        misplaced(&[head, &pieces[0], &pieces[0], &pieces[2..].concat(), small]);
        misplaced(&[&all, &pieces[3]]);
        // A piece that is split between frames.
        let split = all.len() - pieces[3].len() / 2;
        users(&[all[..split].to_vec(), all[split..].to_vec()], "user image: invariant violated");
        let kinds = |kinds: &[&[u8]], says| refused(says, std::slice::from_ref(&all), kinds, says);
        kinds(&[], "is not the snapshot's last frame");
        kinds(&[&KINDS[..4]], "states 3 kinds, but 2 kinds were read");
        kinds(&[KINDS, b"\x01d"], "states 3 kinds, but 4 kinds were read");
        kinds(&[KINDS, b"\x01a"], "a kind has one number");
        kinds(&[KINDS, b""], "this is not a frame of kinds");
        kinds(&[&KINDS[..5]], "this is not a frame of kinds");
        kinds(&[b"\x01_\x01b\x01c"], "this is not a frame of kinds");
    }

    #[test]
    fn a_last_frame_that_states_other_kinds_is_a_fault() {
        let snapshot = Snapshot::new();
        let all = [&snapshot.small[..], &snapshot.head, &snapshot.pieces.concat()].concat();
        let changes: [(Change, &str); 7] = [
            (|end| end.kinds = u64::MAX, "is not the snapshot's last frame"),
            (|end| end.kinds = 4, "states 4 kinds, but 3 kinds were read"),
            (|end| end.kinds_at = 0, "is not the snapshot's last frame"),
            (|end| end.kinds_at += 1, "is not the snapshot's last frame"),
            (|end| end.kinds_at = u64::MAX - 4_095, "is not the snapshot's last frame"),
            (|end| (end.kinds, end.kinds_at) = (0, 4_096), "this is not a frame of kinds"),
            (|end| end.kinds_at += 4_096, "is not the snapshot's last frame"),
        ];
        for (change, says) in changes {
            let result = snapshot.recover(std::slice::from_ref(&all), &[KINDS], change).map(|_| ());
            assert!(result.as_ref().is_err_and(|why| why.contains(says)), "{says}: {result:?}");
        }
        // The users end where the kinds begin.
        let users = [snapshot.small.clone(), all[snapshot.small.len()..].to_vec()];
        let earlier = |end: &mut snapshot::End| end.kinds_at = 2 * ALIGN as u64;
        let result = snapshot.recover(&users, &[KINDS], earlier).map(|_| ());
        assert!(
            result.as_ref().is_err_and(|why| why.contains("this is not a frame of kinds")),
            "{result:?}"
        );
    }
}
