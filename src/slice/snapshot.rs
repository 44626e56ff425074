//! The scan that writes a snapshot: user after user, a bounded step at a time, while serving goes on.
//!
//! Each user is written whole, as they are at that moment. Users who come meanwhile have higher slots, so the scan meets them too. When it
//! is over, the log must become durable up to where it then ends: only then does every record that an image holds count.

use super::Lsn;
use super::disk::Task;
use crate::journal::frame::{Block, Kind};
use crate::journal::snapshot::{Begin, End};
use crate::journal::{File, Place};
use crate::ledger::book::Book;
use crate::ledger::index::Slot;
use crate::ledger::memory::Step;

/// Users of one frame, in bytes; the last of them may go beyond.
const FRAME_BYTES: usize = 64 << 10;
/// Users that one step serialises, in bytes, while reads wait for it; the last of them may go beyond. Else a step makes a frame.
const SMALL_STEP_BYTES: usize = 8 << 10;
/// Frames that are written at one time.
const IN_FLIGHT: usize = 2;
/// Buffers that a scan needs, and their room: for the largest of all but a few users. Who makes them has each byte written once, for a first touch of
/// memory can take as long as many reads.
pub const BUFFERS: usize = IN_FLIGHT + 1;
/// See [`BUFFERS`].
pub const BUFFER_BYTES: usize = 5 << 18;
/// Prefetch distance, in users: a user's parts; what hangs on these, half of it.
const AHEAD: usize = 8;

/// Who waits for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Reads come in.
    Reads,
    /// Nobody but the feed.
    NoReads,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Scan {
    place: Place,
    segment: u64,
    stage: Stage,
    next_user: usize,
    frames: u64,
    offset: u64,
    last_frame: u64,
    entries: u64,
    in_flight: usize,
    failed: bool,
    /// The frame of users that is being filled.
    filling: Option<Block>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Creating,
    Scanning,
    /// All is written, or on its way; the log must reach this position.
    Scanned(Lsn),
    Syncing,
    Synced,
}

/// What a scan has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Going,
    /// The snapshot is on stable storage, and may be named in the manifest.
    Ready,
    /// It cannot be written, and nothing of it is in flight any more.
    Failed,
}

impl Scan {
    /// Begins a snapshot from which the log will be replayed from `segment` on. `place.file` is the snapshot's number.
    pub fn begin(place: Place, segment: u64, ask: &mut impl FnMut(Task)) -> Self {
        ask(Task::Create { snapshot: place.file });
        Self {
            place,
            segment,
            stage: Stage::Creating,
            next_user: 0,
            frames: 0,
            offset: 0,
            last_frame: 0,
            entries: 0,
            in_flight: 0,
            failed: false,
            filling: None,
            blocks: Vec::new(),
        }
    }

    /// Takes at most one step, a small one while reads come in. `position` is that of the log's last record, `durable` up to where it is durable.
    pub fn advance(
        &mut self,
        book: &Book,
        traffic: Traffic,
        (position, durable): (Lsn, Lsn),
        ask: &mut impl FnMut(Task),
    ) {
        let step_bytes = match traffic {
            Traffic::Reads => SMALL_STEP_BYTES,
            Traffic::NoReads => FRAME_BYTES,
        };
        match self.stage {
            _ if self.failed => {}
            Stage::Scanning if self.in_flight < IN_FLIGHT => self.step(book, step_bytes, position, ask),
            Stage::Scanned(reached) if self.in_flight == 0 && durable >= reached => {
                self.stage = Stage::Syncing;
                ask(Task::Sync { snapshot: self.place.file });
            }
            _ => {}
        }
    }

    fn step(&mut self, book: &Book, step_bytes: usize, position: Lsn, ask: &mut impl FnMut(Task)) {
        let empty = || Block::with_room(FRAME_BYTES + FRAME_BYTES / 4);
        let mut block = self.filling.take().or_else(|| self.blocks.pop()).unwrap_or_else(empty);
        let users = book.users();
        let kind = if self.frames == 0 {
            Begin { segment: self.segment }.write(block.payload());
            Kind::Snapshot
        } else if self.next_user < users {
            let until = (block.payload_bytes() + step_bytes).min(FRAME_BYTES);
            while self.next_user < users && block.payload_bytes() < until {
                for (ahead, step) in [(AHEAD, Step::Parts), (AHEAD / 2, Step::Deep)] {
                    if self.next_user + ahead < users {
                        book.prefetch_slot((self.next_user + ahead) as Slot, step);
                    }
                }
                let user = book.user(self.next_user as Slot);
                user.store(block.payload());
                self.entries += user.version();
                self.next_user += 1;
            }
            if self.next_user < users && block.payload_bytes() < FRAME_BYTES {
                self.filling = Some(block);
                return;
            }
            Kind::Users
        } else {
            End::write(block.payload(), users as u64, self.entries, position.0, book.names());
            self.last_frame = self.offset;
            self.stage = Stage::Scanned(position);
            Kind::End
        };
        block.seal(kind, self.place, self.frames);
        let (offset, size) = (self.offset, block.bytes().len() as u64);
        self.frames += 1;
        self.offset += size;
        self.in_flight += 1;
        ask(Task::Write { file: File::Snapshot(self.place.file), offset, block });
    }

    /// The file was made, or could not be.
    pub fn created(&mut self, buffers: Option<Vec<Block>>) {
        self.failed |= buffers.is_none();
        self.blocks = buffers.unwrap_or_default();
        self.stage = Stage::Scanning;
    }

    /// A frame was written, or could not be.
    pub fn written(&mut self, mut block: Block, ok: bool) {
        self.in_flight -= 1;
        self.failed |= !ok;
        block.clear();
        self.blocks.push(block);
    }

    /// The file was brought to stable storage, or could not be.
    pub fn synced(&mut self, ok: bool) {
        self.failed |= !ok;
        self.stage = Stage::Synced;
    }

    /// What has come of it.
    pub fn progress(&self) -> Progress {
        match self.stage {
            Stage::Creating | Stage::Syncing => Progress::Going,
            _ if self.failed => {
                if self.in_flight == 0 {
                    Progress::Failed
                } else {
                    Progress::Going
                }
            }
            Stage::Synced => Progress::Ready,
            _ => Progress::Going,
        }
    }

    /// Whether another step could be taken at once.
    pub fn is_ready_for_step(&self) -> bool {
        self.stage == Stage::Scanning && !self.failed && self.in_flight < IN_FLIGHT
    }

    /// The snapshot's number.
    pub const fn number(&self) -> u64 {
        self.place.file
    }

    /// The segment from which the log is replayed over it.
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Where the last frame begins.
    pub const fn last_frame(&self) -> u64 {
        self.last_frame
    }

    /// Bytes so far, those of the frame that is being filled included.
    pub fn bytes(&self) -> u64 {
        self.offset + self.filling.as_ref().map_or(0, |block| block.payload_bytes() as u64)
    }
}
