//! The scan that writes a snapshot: user after user, a bounded step at a time, while serving goes
//! on.
//!
//! Each user is written whole, as they are at that moment. Users who come meanwhile have higher
//! slots, so the scan meets them too. When it is over, the log must become durable up to where it
//! then ends: only then does every record that an image holds count.

use super::disk::Task;
use super::framing::{FRAME_BYTES, Framing};
use super::{Headway, Lsn};
use crate::journal::Place;
use crate::journal::frame::Block;
use crate::ledger::book::Book;
use crate::ledger::index::Slot;
use crate::ledger::memory::Step;

/// Users that one step serialises, in bytes, while reads wait for it; the last of them may go
/// beyond. Else a step makes a frame.
const SMALL_STEP_BYTES: usize = 8 << 10;
/// Frames that are written at one time.
const IN_FLIGHT: usize = 2;
/// Buffers that a scan needs, and their room: for the largest of all but a few users. Who makes
/// them has each byte written once, for a first touch of memory can take as long as many reads.
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
    framing: Framing,
    segment: u64,
    stage: Stage,
    next_user: usize,
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

/// A snapshot cannot be written, and nothing of it is in flight any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp;

impl Scan {
    /// Begins a snapshot from which the log will be replayed from `segment` on. `place.file` is the
    /// snapshot's number.
    pub fn begin(place: Place, segment: u64, ask: &mut impl FnMut(Task)) -> Self {
        ask(Task::Create { snapshot: place.file });
        Self {
            framing: Framing::new(place),
            segment,
            stage: Stage::Creating,
            next_user: 0,
            in_flight: 0,
            failed: false,
            filling: None,
            blocks: Vec::new(),
        }
    }

    /// Takes at most one step, a small one while reads come in. `position` is that of the log's
    /// last record, `durable` up to where it is durable.
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
            Stage::Scanning if self.in_flight < IN_FLIGHT => {
                self.step(book, step_bytes, position, ask)
            }
            Stage::Scanned(reached) if self.in_flight == 0 && durable >= reached => {
                self.stage = Stage::Syncing;
                ask(Task::Sync { snapshot: self.framing.number() });
            }
            _ => {}
        }
    }

    fn step(&mut self, book: &Book, step_bytes: usize, position: Lsn, ask: &mut impl FnMut(Task)) {
        let mut block =
            self.filling.take().or_else(|| self.blocks.pop()).unwrap_or_else(Framing::block);
        let users = book.users();
        let task = if self.framing.frames() == 0 {
            self.framing.first(self.segment, block)
        } else if self.next_user < users {
            let until = (block.payload_bytes() + step_bytes).min(FRAME_BYTES);
            while self.next_user < users && block.payload_bytes() < until {
                for (ahead, step) in [(AHEAD, Step::Sections), (AHEAD / 2, Step::Deep)] {
                    if self.next_user + ahead < users {
                        book.prefetch_slot((self.next_user + ahead) as Slot, step);
                    }
                }
                let user = book.user(self.next_user as Slot);
                user.store(block.payload());
                self.framing.count(user);
                self.next_user += 1;
            }
            if self.next_user < users && block.payload_bytes() < FRAME_BYTES {
                self.filling = Some(block);
                return;
            }
            self.framing.users(block)
        } else {
            self.stage = Stage::Scanned(position);
            self.framing.last(block, book.names(), position.0)
        };
        self.in_flight += 1;
        ask(task);
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

    /// What has come of it. When it is done, the snapshot is on stable storage, and may be named in
    /// the manifest.
    pub fn progress(&self) -> Result<Headway, GivenUp> {
        match self.stage {
            Stage::Creating | Stage::Syncing => Ok(Headway::Waiting),
            _ if self.failed && self.in_flight == 0 => Err(GivenUp),
            _ if self.failed => Ok(Headway::Waiting),
            Stage::Synced => Ok(Headway::Done),
            Stage::Scanning if self.in_flight < IN_FLIGHT => Ok(Headway::Going),
            Stage::Scanning | Stage::Scanned(_) => Ok(Headway::Waiting),
        }
    }

    /// Whether another step could be taken at once.
    pub fn is_ready_for_step(&self) -> bool {
        self.progress() == Ok(Headway::Going)
    }

    /// The snapshot's number.
    pub const fn number(&self) -> u64 {
        self.framing.number()
    }

    /// The segment from which the log is replayed over it.
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Where the last frame begins.
    pub const fn last_frame(&self) -> u64 {
        self.framing.last_frame()
    }

    /// Bytes so far, those of the frame that is being filled included.
    pub fn bytes(&self) -> u64 {
        self.framing.bytes() + self.filling.as_ref().map_or(0, |block| block.payload_bytes() as u64)
    }
}
