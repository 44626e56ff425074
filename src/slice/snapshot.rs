//! Snapshot scan: writes all users of a slice to a snapshot, in bounded steps, while the slice
//! serves.
//!
//! Each user is written whole, in the state of that moment. A user added during the scan gets a
//! higher slot, so the scan still reaches it. An image may hold records that are not yet durable.
//! After the last frame, the log must therefore become durable up to its end at that moment before
//! the snapshot is synced and may be published.

use super::disk::Task;
use super::framing::{FRAME_BYTES, Framing};
use super::{Lsn, StepOutcome};
use crate::journal::Place;
use crate::journal::frame::FrameBuffer;
use crate::ledger::book::Book;
use crate::ledger::index::UserSlot;
use crate::ledger::memory::PrefetchStep;

/// Bytes of users that one step serialises while reads wait for it; the last user may exceed it.
/// Without waiting reads, a step fills a whole frame.
const SMALL_STEP_BYTES: usize = 8 << 10;
/// Most frame writes in flight.
const MAX_IN_FLIGHT: usize = 2;
/// Number of buffers that a scan needs. The disk that allocates them writes every byte once: a
/// page's first touch can take as long as many reads.
pub const BUFFERS: usize = MAX_IN_FLIGHT + 1;
/// Payload bytes of each of the [`BUFFERS`]: enough for the largest of all but a few users.
pub const BUFFER_BYTES: usize = 5 << 18;
/// Prefetch distance, in users, for a user's sections; half of it for the memory that these point
/// to.
const PREFETCH_USERS: usize = 8;

/// Whether reads wait for the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLoad {
    /// Reads arrive: steps are small.
    Reads,
    /// Only the feed may be waiting: steps are large.
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
    /// The users frame that is being filled.
    filling: Option<FrameBuffer>,
    blocks: Vec<FrameBuffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Creating,
    Scanning,
    /// All frames are written or in flight; the log must become durable up to this position.
    Scanned(Lsn),
    Syncing,
    Synced,
}

/// The snapshot failed, and none of its writes is in flight any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFailed;

impl Scan {
    /// Begins a snapshot over which the log is replayed from `segment` on. `place.file` is the
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

    /// Takes at most one step, a small one while reads arrive. `position` is the position of the
    /// log's last record; `durable` is the position up to which the log is durable.
    pub fn advance(
        &mut self,
        book: &Book,
        read_load: ReadLoad,
        (position, durable): (Lsn, Lsn),
        ask: &mut impl FnMut(Task),
    ) {
        let step_bytes = match read_load {
            ReadLoad::Reads => SMALL_STEP_BYTES,
            ReadLoad::NoReads => FRAME_BYTES,
        };
        match self.stage {
            _ if self.failed => {}
            Stage::Scanning if self.in_flight < MAX_IN_FLIGHT => {
                self.step(book, step_bytes, position, ask);
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
                for (ahead, step) in [
                    (PREFETCH_USERS, PrefetchStep::Sections),
                    (PREFETCH_USERS / 2, PrefetchStep::RareState),
                ] {
                    if self.next_user + ahead < users {
                        book.prefetch_slot((self.next_user + ahead) as UserSlot, step);
                    }
                }
                let user = book.user(self.next_user as UserSlot);
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

    /// The file was created, or could not be.
    pub fn created(&mut self, buffers: Option<Vec<FrameBuffer>>) {
        self.failed |= buffers.is_none();
        self.blocks = buffers.unwrap_or_default();
        self.stage = Stage::Scanning;
    }

    /// A frame was written, or could not be.
    pub fn written(&mut self, mut block: FrameBuffer, ok: bool) {
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

    /// State of the scan. After [`StepOutcome::Done`] the snapshot is on stable storage and may be
    /// named in the manifest.
    pub fn progress(&self) -> Result<StepOutcome, SnapshotFailed> {
        match self.stage {
            Stage::Creating | Stage::Syncing => Ok(StepOutcome::Waiting),
            _ if self.failed && self.in_flight == 0 => Err(SnapshotFailed),
            _ if self.failed => Ok(StepOutcome::Waiting),
            Stage::Synced => Ok(StepOutcome::Done),
            Stage::Scanning if self.in_flight < MAX_IN_FLIGHT => Ok(StepOutcome::Going),
            Stage::Scanning | Stage::Scanned(_) => Ok(StepOutcome::Waiting),
        }
    }

    /// Whether another step can be taken now.
    pub fn is_ready_for_step(&self) -> bool {
        self.progress() == Ok(StepOutcome::Going)
    }

    /// The snapshot's number.
    pub const fn number(&self) -> u64 {
        self.framing.number()
    }

    /// First segment of the log that is replayed over the snapshot.
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Offset of the last frame; 0 until it is framed.
    pub const fn last_frame(&self) -> u64 {
        self.framing.last_frame()
    }

    /// Bytes written so far, including the frame that is being filled.
    pub fn bytes(&self) -> u64 {
        self.framing.bytes() + self.filling.as_ref().map_or(0, |block| block.payload_bytes() as u64)
    }
}
