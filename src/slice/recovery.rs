//! From what is on disk to a slice that serves: the current snapshot, then the log over it.
//!
//! A step at a time, so that the caller can say how far it has come. What is not as it should be is a [`Fault`], a user who belongs to another
//! slice too; but for one thing: where the last segment's frames end, a write may be torn; nobody was told that it was done, and it is cut.

use super::Slice;
use super::log::Tail;
use super::store::Found;
use crate::journal::frame::{self, ALIGN, Frame, Kind, NoFrame};
use crate::journal::segment::{End, Header};
use crate::journal::{Fault, File, Place, manifest, record, snapshot};
use crate::ledger::book::Replayed;
use crate::ledger::id::UserId;
use crate::ledger::image::Malformed;
use crate::ledger::memory::{Step, Way, ahead};
use crate::ledger::user::User;
use smallvec::SmallVec;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Users that are read before the first of them gets its place: what says where that is arrives meanwhile.
const TOGETHER: usize = 16;
/// The shortest image of a user takes no less.
const LEAST_IMAGE_BYTES: u64 = 30;
/// Bytes of frames that are loaded in one step: about a millisecond.
const STEP_BYTES: usize = 256 << 10;

/// Where files are read from.
pub trait Source {
    /// Why reading failed.
    type Error;

    /// The size of a file; `None` if there is none.
    fn size(&mut self, file: File) -> Result<Option<u64>, Self::Error>;

    /// Appends up to `bytes` bytes from `offset` on to `into`: fewer only where the file ends.
    fn read(&mut self, file: File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> Result<(), Self::Error>;
}

/// Why recovery ended.
#[derive(Debug)]
pub enum Error<E> {
    /// The disk could not be read.
    Disk(E),
    /// It was read, and something is not as it should be.
    Fault(Fault),
}

impl<E> From<Fault> for Error<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What recovery has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes read, of `bytes_total`.
    pub bytes: u64,
    /// Bytes of the files that are read; the last segment may hold fewer.
    pub bytes_total: u64,
    /// Users loaded from the snapshot.
    pub users: u64,
    /// Entries that the snapshot's users had accepted.
    pub snapshot_entries: u64,
    /// Records of the log that went beyond the snapshot.
    pub replayed: u64,
    /// Records that the snapshot already held.
    pub known: u64,
    /// A torn write that was cut: its segment, and where it began.
    pub cut: Option<(u64, u64)>,
}

/// A recovery under way.
#[derive(Debug)]
pub struct Recovery {
    place: Place,
    owner: Owner,
    stage: Stage,
    window: Window,
    must_reach: u64,
    before: Option<End>,
    found: Found,
    report: Report,
    expected_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Users { frames: u64 },
    Open { segment: u64 },
    Writes { segment: u64, end: Option<End> },
    Behind,
    Done,
}

/// A part of a file in memory.
#[derive(Debug)]
struct Window {
    file: File,
    bytes: Vec<u8>,
    /// Where `bytes` begin in the file.
    start: u64,
    /// Where the next frame begins in the file.
    at: u64,
    size: u64,
}

impl Window {
    fn open<S: Source>(file: File, source: &mut S) -> Result<Self, Error<S::Error>> {
        let size = source.size(file).map_err(Error::Disk)?;
        let size = size.ok_or_else(|| Fault::new(file, 0, "the manifest names this file, and it is not there"))?;
        Ok(Self { file, bytes: Vec::new(), start: 0, at: 0, size })
    }

    /// The frame at `at`, if it is whole.
    fn frame<S: Source>(
        &mut self,
        place: Place,
        source: &mut S,
    ) -> Result<Result<Frame<'_>, NoFrame>, Error<S::Error>> {
        for _ in 0..2 {
            let needed = frame::needed_bytes(self.ahead());
            let have = self.ahead().len();
            if have >= needed {
                break;
            }
            if self.at + needed as u64 > self.size {
                return Ok(Err(NoFrame::Short(needed)));
            }
            // A frame's padding need not have been read.
            let passed = ((self.at - self.start) as usize).min(self.bytes.len());
            self.bytes.drain(..passed);
            self.start = self.at;
            let (from, more) = (self.at + have as u64, needed.max(CHUNK_BYTES) - have);
            source.read(self.file, from, more, &mut self.bytes).map_err(Error::Disk)?;
        }
        Ok(frame::read(self.ahead(), place))
    }

    /// What was read from `at` on.
    fn ahead(&self) -> &[u8] {
        self.bytes.get((self.at - self.start) as usize..).unwrap_or_default()
    }

    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.file, self.at, what)
    }
}

/// Whose users these are: those of one slice of so many.
#[derive(Clone, Copy, Debug)]
struct Owner {
    slice: u32,
    slices: u32,
}

impl Owner {
    /// What is wrong with a user who is in the slice.
    fn refuses(self, user: UserId) -> Option<String> {
        let Self { slice, slices } = self;
        let owner = user.slice(slices);
        (owner != slice)
            .then(|| format!("user {} is in slice {slice}, and belongs to slice {owner} of {slices}", user.0))
    }
}

impl Recovery {
    /// A recovery of what `manifest` names, the manifest of one of so many slices. `place.file` is not looked at.
    pub fn new(place: Place, slices: u32, manifest: manifest::Slice) -> Self {
        let stage = match (manifest.snapshot, manifest.first) {
            (0, 0) => Stage::Behind,
            (0, segment) => Stage::Open { segment },
            _ => Stage::Begin,
        };
        let file = File::Snapshot(manifest.snapshot);
        Self {
            place,
            owner: Owner { slice: place.slice, slices },
            stage,
            window: Window { file, bytes: Vec::new(), start: 0, at: 0, size: 0 },
            must_reach: 0,
            before: None,
            found: Found { manifest, ..Found::default() },
            report: Report::default(),
            expected_bytes: 0,
        }
    }

    /// Sums up what there is to read.
    pub fn measure<S: Source>(&mut self, source: &mut S) -> Result<(), Error<S::Error>> {
        let manifest = self.found.manifest;
        let segments = (manifest.first..=manifest.last).filter(|&n| n > 0).map(File::Segment);
        let snapshot = (manifest.snapshot > 0).then_some(File::Snapshot(manifest.snapshot));
        for file in segments.chain(snapshot) {
            self.report.bytes_total += Window::open(file, source)?.size;
        }
        Ok(())
    }

    /// Takes a step. Returns whether it was the last; then [`Self::finish`].
    pub fn step<S: Source>(&mut self, slice: &mut Slice, source: &mut S) -> Result<bool, Error<S::Error>> {
        let before = self.report.bytes;
        while self.stage != Stage::Done && self.report.bytes < before + STEP_BYTES as u64 {
            match self.stage {
                Stage::Begin => self.begin(slice, source)?,
                Stage::Users { frames } => self.users(frames, slice, source)?,
                Stage::Open { segment } => self.open(segment, source)?,
                Stage::Writes { segment, end } => self.writes(segment, end, slice, source)?,
                Stage::Behind => self.behind(source)?,
                Stage::Done => {}
            }
        }
        Ok(self.stage == Stage::Done)
    }

    /// What was done so far.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Bytes of memory that what is loaded will take, as far as is known.
    pub const fn expected_bytes(&self) -> usize {
        self.expected_bytes
    }

    /// What a store needs to go on.
    pub fn finish(self) -> Found {
        assert!(self.stage == Stage::Done, "recovery is over");
        self.found
    }

    fn at(&self, file: File) -> Place {
        Place { file: file.number(), ..self.place }
    }

    fn begin<S: Source>(&mut self, slice: &mut Slice, source: &mut S) -> Result<(), Error<S::Error>> {
        let manifest = self.found.manifest;
        let file = File::Snapshot(manifest.snapshot);
        let place = self.at(file);
        self.window = Window::open(file, source)?;
        self.window.at = manifest.snapshot_end;
        self.window.start = manifest.snapshot_end;
        let end = match self.window.frame(place, source)? {
            Ok(last) if last.kind == Kind::End => {
                let size = last.size() as u64;
                let mut named = |end: snapshot::End<'_>| {
                    end.kinds().try_for_each(|kind| slice.name(kind))?;
                    let users = end.users.min(manifest.snapshot_end / LEAST_IMAGE_BYTES) as usize;
                    self.expected_bytes = slice.expect(users, manifest.snapshot_end as usize);
                    Ok::<_, Malformed>((end.position, manifest.snapshot_end + size))
                };
                snapshot::End::read(last.payload).and_then(|end| named(end).ok())
            }
            _ => None,
        };
        let (position, bytes) = end.ok_or_else(|| self.window.fault("here should be the snapshot's last frame"))?;
        (self.must_reach, self.found.snapshot_bytes) = (position, bytes);
        self.window = Window::open(file, source)?;
        let begin = match self.window.frame(place, source)? {
            Ok(Frame { kind: Kind::Snapshot, number: 0, payload, .. }) => snapshot::Begin::read(payload),
            _ => None,
        };
        // A snapshot that came without a log is followed by the first segment, once there is one.
        if begin != Some(snapshot::Begin { segment: manifest.first.max(1) }) {
            return Err(self.window.fault("this is not the beginning of the snapshot that the manifest names").into());
        }
        self.window.at = ALIGN as u64;
        self.stage = Stage::Users { frames: 1 };
        Ok(())
    }

    fn users<S: Source>(&mut self, frames: u64, slice: &mut Slice, source: &mut S) -> Result<(), Error<S::Error>> {
        let (file, place, owner) = (self.window.file, self.at(self.window.file), self.owner);
        let last_frame = self.found.manifest.snapshot_end;
        let (start, kinds) = (self.window.at, slice.book().names().len() as u32);
        let fault = |offset: u64, what: String| Error::Fault(Fault::new(file, offset, what));
        let found = match self.window.frame(place, source)? {
            Ok(found) if found.number == frames => found,
            _ => return Err(fault(start, format!("frame {frames} is broken"))),
        };
        let size = found.size() as u64;
        match found.kind {
            Kind::Users if start < last_frame => {
                let (mut rest, mut restored) = (found.payload, SmallVec::<[_; TOGETHER]>::new());
                while !rest.is_empty() {
                    while restored.len() < TOGETHER && !rest.is_empty() {
                        let offset = start + (frame::HEADER_BYTES + found.payload.len() - rest.len()) as u64;
                        let malformed = |e: Malformed| fault(offset, format!("a user: {e}"));
                        let (user, bytes) = User::load(rest, kinds).map_err(malformed)?;
                        let (id, version) = (user.id(), user.version());
                        if let Some(what) = owner.refuses(id) {
                            return Err(fault(offset, what));
                        }
                        slice.prefetch(id, None, Step::Place, &Way::default());
                        restored.push((offset, slice.restore(user).map_err(malformed)?));
                        self.report.users += 1;
                        self.report.snapshot_entries += version;
                        rest = &rest[bytes..];
                    }
                    for (offset, slot) in restored.drain(..) {
                        slice.index(slot).map_err(|e| fault(offset, format!("a user: {e}")))?;
                    }
                }
                self.stage = Stage::Users { frames: frames + 1 };
            }
            Kind::End if start == last_frame => {
                let end = snapshot::End::read(found.payload).expect("it was read before");
                if (end.users, end.entries) != (self.report.users, self.report.snapshot_entries) {
                    let Report { users, snapshot_entries, .. } = self.report;
                    return Err(fault(
                        start,
                        format!(
                            "{} users with {} entries are promised, and {users} with {snapshot_entries} are there",
                            end.users, end.entries
                        ),
                    ));
                }
                if self.found.manifest.first == 0 && end.position > 0 {
                    let what = format!("the log is needed up to write {}, and the manifest names none", end.position);
                    return Err(fault(start, what));
                }
                self.stage = match self.found.manifest.first {
                    0 => Stage::Behind,
                    segment => Stage::Open { segment },
                };
            }
            _ => return Err(fault(start, "a frame that does not belong here".to_owned())),
        }
        self.window.at += size;
        self.report.bytes += size;
        Ok(())
    }

    /// A segment's header, and where the log ended before it.
    fn header<S: Source>(&self, segment: u64, source: &mut S) -> Result<(Window, Header, u64, u32), Error<S::Error>> {
        let file = File::Segment(segment);
        let mut window = Window::open(file, source)?;
        let read = match window.frame(self.at(file), source)? {
            Ok(Frame { kind: Kind::Segment, number, crc, payload }) => {
                Header::read(payload).map(|header| (header, number, crc))
            }
            _ => None,
        };
        let (header, number, crc) = read.ok_or_else(|| window.fault("this is not the beginning of a segment"))?;
        window.at = ALIGN as u64;
        Ok((window, header, number, crc))
    }

    fn open<S: Source>(&mut self, segment: u64, source: &mut S) -> Result<(), Error<S::Error>> {
        let (window, header, number, crc) = self.header(segment, source)?;
        if window.size < header.capacity {
            let (size, capacity) = (window.size, header.capacity);
            return Err(window.fault(format!("the file has {size} bytes, and had {capacity} when it was made")).into());
        }
        let is_first = segment == self.found.manifest.first;
        if is_first {
            let is_whole = self.found.manifest.snapshot > 0 || (header.before.is_none() && number == 0);
            if !is_whole {
                return Err(window
                    .fault("the log begins here, but something came before, and there is no snapshot")
                    .into());
            }
            self.found.tail.position = number;
        } else if header.before != self.before || number != self.found.tail.position {
            return Err(window.fault("this segment does not follow the one before it").into());
        }
        let end = if segment < self.found.manifest.last {
            let (next, Header { before, .. }, ..) = self.header(segment + 1, source)?;
            let is_next = |end: &End| end.segment == segment;
            Some(before.filter(is_next).ok_or_else(|| next.fault("this segment does not follow the one before it"))?)
        } else {
            None
        };
        self.found.segments.push((segment, header.capacity));
        self.found.tail = Tail { segment, offset: ALIGN as u64, crc, position: self.found.tail.position };
        self.report.bytes += ALIGN as u64;
        self.window = window;
        self.stage = Stage::Writes { segment, end };
        Ok(())
    }

    fn writes<S: Source>(
        &mut self,
        segment: u64,
        end: Option<End>,
        slice: &mut Slice,
        source: &mut S,
    ) -> Result<(), Error<S::Error>> {
        if end.is_some_and(|end| self.window.at >= end.offset) {
            return self.ended(segment, end);
        }
        let (file, place, start) = (self.window.file, self.at(self.window.file), self.window.at);
        let (number, owner) = (self.found.tail.position + 1, self.owner);
        let found = match self.window.frame(place, source)? {
            Ok(found) if found.kind == Kind::Write && found.number == number => found,
            why => {
                let why = match why {
                    Err(NoFrame::Empty | NoFrame::Foreign) => "missing",
                    Err(NoFrame::Short(_) | NoFrame::Broken) => "broken",
                    Ok(_) => "not the one that should be here",
                };
                return match end {
                    Some(_) => Err(Fault::new(file, start, format!("write {number} is {why}")).into()),
                    None => self.cut(number, why, source),
                };
            }
        };
        let (mut rest, mut records) = (found.payload, Vec::new());
        while !rest.is_empty() {
            let offset = start + (frame::HEADER_BYTES + found.payload.len() - rest.len()) as u64;
            let read = record::read(&mut rest).ok_or_else(|| Fault::new(file, offset, "a record is malformed"))?;
            // A user's first: those who are there already were looked at.
            let stranger = if read.1 == 1 { owner.refuses(read.0.user) } else { None };
            if let Some(what) = stranger {
                return Err(Fault::new(file, offset, what).into());
            }
            records.push((offset, read, Way::default()));
        }
        for (at, (offset, (entry, version), _)) in records.iter().enumerate() {
            for ((_, (next, _), way), step) in ahead(&records, at, Step::OF_ENTRY) {
                slice.prefetch(next.user, Some(next.id), step, way);
            }
            match slice.replay(entry, *version) {
                Ok(Replayed::Booked) => self.report.replayed += 1,
                Ok(Replayed::Known) => self.report.known += 1,
                Err(error) => {
                    let what = format!("user {}, version {version}: {error}", entry.user.0);
                    return Err(Fault::new(file, *offset, what).into());
                }
            }
        }
        let (size, crc) = (found.size() as u64, found.crc);
        self.window.at += size;
        self.found.tail = Tail { segment, offset: self.window.at, crc, position: number };
        self.found.log_bytes += size;
        self.report.bytes += size;
        Ok(())
    }

    /// The last segment's frames end here. Is it because a crash tore the last write, or was something lost?
    fn cut<S: Source>(&mut self, number: u64, why: &str, source: &mut S) -> Result<(), Error<S::Error>> {
        let (file, place, start) = (self.window.file, self.at(self.window.file), self.window.at);
        let mut torn = false;
        let mut later = Window { file, bytes: Vec::new(), start, at: start, size: self.window.size };
        while later.at + (frame::HEADER_BYTES as u64) < later.size {
            match later.frame(place, source)? {
                Ok(frame) if frame.kind == Kind::Write && frame.number >= number => {
                    let (behind, at) = (frame.number, later.at);
                    let what = format!("write {number} is {why}, and write {behind} is there behind it, at byte {at}");
                    return Err(Fault::new(file, start, what).into());
                }
                Err(NoFrame::Empty | NoFrame::Foreign) => {}
                _ => torn |= later.at == start,
            }
            later.at += ALIGN as u64;
        }
        self.report.cut = torn.then_some((place.file, start));
        self.ended(place.file, None)
    }

    /// A segment was read to its end.
    fn ended<E>(&mut self, segment: u64, end: Option<End>) -> Result<(), Error<E>> {
        let Tail { offset, crc, position, .. } = self.found.tail;
        let here = End { segment, offset, crc };
        if end.is_some_and(|end| end != here) {
            return Err(self.window.fault("the log does not end here as the next segment says").into());
        }
        self.before = Some(here);
        if end.is_some() {
            self.stage = Stage::Open { segment: segment + 1 };
            return Ok(());
        }
        if position < self.must_reach {
            let what = format!(
                "the log ends with write {position}, before the snapshot, which needs it up to {}",
                self.must_reach
            );
            return Err(self.window.fault(what).into());
        }
        self.stage = Stage::Behind;
        Ok(())
    }

    /// A crash leaves no write in a segment that is not named: if there is one, the manifest is not the newest that there was.
    fn behind<S: Source>(&mut self, source: &mut S) -> Result<(), Error<S::Error>> {
        let file = File::Segment(self.found.manifest.last + 1);
        self.stage = Stage::Done;
        if source.size(file).map_err(Error::Disk)?.is_none() {
            return Ok(());
        }
        let (mut window, _, number, _) = match self.header(file.number(), source) {
            Err(Error::Fault(_)) => return Ok(()),
            header => header?,
        };
        match window.frame(self.at(file), source)? {
            Ok(frame) if frame.kind == Kind::Write && frame.number == number + 1 => Err(window
                .fault("the log goes on here, and the manifest does not name this file: it is an older one")
                .into()),
            _ => Ok(()),
        }
    }
}
