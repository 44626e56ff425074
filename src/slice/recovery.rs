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
use super::log::Tail;
use super::reader::Reader;
use super::store::Recovered;
use crate::journal::frame::{self, ALIGN, Frame, FrameError, Kind, NO_SALT};
use crate::journal::segment::{End, Header};
use crate::journal::{Fault, File, Place, manifest, record, snapshot};
use crate::ledger::book::Replayed;
use crate::ledger::id::UserId;
use crate::ledger::image::Malformed;
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use crate::ledger::user::User;
use smallvec::SmallVec;

/// Users that are loaded before the first of them is indexed; in this time its prefetched place in
/// the index arrives.
const BATCH_USERS: usize = 16;
/// Bytes of the shortest image of a user. Bounds the number of users that a snapshot can claim.
const MIN_IMAGE_BYTES: u64 = 30;
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
    owner: ExpectedOwner,
    stage: Stage,
    reader: Reader,
    /// Sizes of the segments, from the first one on, and of the snapshot.
    segment_bytes: Vec<u64>,
    snapshot_bytes: u64,
    min_position: u64,
    /// Salt of the current segment's writes.
    salt: u64,
    before: Option<End>,
    found: Recovered,
    report: Report,
    expected_bytes: usize,
}

/// ```text
/// Measure ─▶ LastFrame ─▶ FirstFrame ─▶ Users ─▶ Header ─▶ NextHeader ─▶ Writes ─▶ TornTail ─┐
///    └─ no snapshot ─────────────────────────────▶ ▲ ◀─ the next segment ──┘                 │
///                       Done ◀─ LaterFrames ◀─ LaterSegment ◀────────────────────────────────┘
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

/// The owner of the users that are loaded: one of `slices` slices.
#[derive(Clone, Copy, Debug)]
struct ExpectedOwner {
    slice: u32,
    slices: u32,
}

impl ExpectedOwner {
    /// What is wrong with a user being in this slice, if anything.
    fn refuses(self, user: UserId) -> Option<String> {
        let Self { slice, slices } = self;
        let owner = user.slice(slices);
        (owner != slice).then(|| {
            format!("user {} is in slice {slice} but belongs to slice {owner} of {slices}", user.0)
        })
    }
}

impl Recovery {
    /// A recovery of what `manifest` names: the manifest of one of `slices` slices. `place.file` is
    /// ignored.
    pub fn new(place: Place, slices: u32, manifest: manifest::SliceManifest) -> Self {
        let mut recovery = Self {
            place,
            owner: ExpectedOwner { slice: place.slice, slices },
            stage: Stage::Done,
            reader: Reader::new(),
            segment_bytes: Vec::new(),
            snapshot_bytes: 0,
            min_position: 0,
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
        let manifest = self.found.manifest;
        let file = File::Snapshot(manifest.snapshot);
        let place = self.at(file);
        let Some(frame) = self.reader.frame(place, NO_SALT, ask) else { return Ok(None) };
        let (end, size) = match frame {
            Ok(last) if last.kind == Kind::End => {
                let mut named = |end: snapshot::End<'_>| {
                    end.kinds().try_for_each(|kind| slice.add_kind(kind))?;
                    let users = end.users.min(manifest.snapshot_end / MIN_IMAGE_BYTES) as usize;
                    self.expected_bytes = slice.presize(users, manifest.snapshot_end as usize);
                    Ok::<_, Malformed>(end.position)
                };
                (
                    snapshot::End::decode(last.payload).and_then(|end| named(end).ok()),
                    last.size() as u64,
                )
            }
            _ => (None, 0),
        };
        let position = end.ok_or_else(|| {
            self.reader
                .fault("this is not the snapshot's last frame, which the manifest places here")
        })?;
        (self.min_position, self.found.snapshot_bytes) = (position, manifest.snapshot_end + size);
        self.reader.open(file, self.snapshot_bytes, 0, self.found.snapshot_bytes);
        self.stage = Stage::FirstFrame;
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
        let (file, place, owner) = (self.reader.file(), self.at(self.reader.file()), self.owner);
        let last_frame = self.found.manifest.snapshot_end;
        let (start, kinds) = (self.reader.at(), slice.book().names().len() as u32);
        let fault = |offset: u64, what: String| Fault::new(file, offset, what);
        let found = match self.reader.frame(place, NO_SALT, ask) {
            None => return Ok(None),
            Some(Ok(found)) if found.number == frames => found,
            Some(_) => return Err(fault(start, format!("frame {frames} is broken"))),
        };
        let size = found.size() as u64;
        match found.kind {
            Kind::Users if start < last_frame => {
                let (mut rest, mut restored) = (found.payload, SmallVec::<[_; BATCH_USERS]>::new());
                while !rest.is_empty() {
                    while restored.len() < BATCH_USERS && !rest.is_empty() {
                        let offset =
                            start + (frame::HEADER_BYTES + found.payload.len() - rest.len()) as u64;
                        let malformed = |e: Malformed| fault(offset, format!("user image: {e}"));
                        let (user, bytes) = User::load(rest, kinds).map_err(malformed)?;
                        let (id, version) = (user.id(), user.version());
                        if let Some(what) = owner.refuses(id) {
                            return Err(fault(offset, what));
                        }
                        slice.prefetch(id, None, PrefetchStep::Index, &Lookup::default());
                        restored.push((offset, slice.restore(user).map_err(malformed)?));
                        self.report.users += 1;
                        self.report.snapshot_entries += version;
                        rest = &rest[bytes..];
                    }
                    for (offset, slot) in restored.drain(..) {
                        slice.index(slot).map_err(|e| fault(offset, format!("user image: {e}")))?;
                    }
                }
                self.stage = Stage::Users { frames: frames + 1 };
            }
            Kind::End if start == last_frame => {
                let end = snapshot::End::decode(found.payload)
                    .expect("the last frame was validated before");
                let promised = (end.users, end.entries, end.position);
                self.scanned(start, promised)?;
            }
            _ => return Err(fault(start, "unexpected frame".to_owned())),
        }
        if matches!(self.stage, Stage::Users { .. }) {
            self.reader.skip(size);
        }
        self.report.bytes += size;
        Ok(Some(size))
    }

    /// Checks the end of the snapshot: the users and entries that were read are those promised by
    /// the last frame at `start`, and its log exists.
    fn scanned(
        &mut self,
        start: u64,
        (users, entries, position): (u64, u64, u64),
    ) -> Result<(), Fault> {
        let fault = |what| Fault::new(self.reader.file(), start, what);
        let Report { users: read, snapshot_entries, .. } = self.report;
        if (users, entries) != (read, snapshot_entries) {
            return Err(fault(format!(
                "the last frame states {users} users with {entries} entries, but {read} users with \
                 {snapshot_entries} entries were read",
            )));
        }
        let first = self.found.manifest.first;
        if first == 0 && position > 0 {
            return Err(fault(format!(
                "the snapshot needs the log up to write {position}, but the manifest names no log"
            )));
        }
        self.stage = match first {
            0 => Stage::LaterSegment { is_asked: false },
            segment => {
                self.open_segment(segment, 0, ALIGN as u64);
                Stage::Header { segment }
            }
        };
        Ok(())
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
        let (number, owner) = (self.found.tail.position + 1, self.owner);
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
                    let what = format!("user {}, version {version}: {error}", entry.user.0);
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
        if position < self.min_position {
            return fault(format!(
                "the log ends with write {position}, but the snapshot needs it up to write {}",
                self.min_position
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
