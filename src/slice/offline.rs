//! Offline snapshot writer: writes a snapshot user by user for a slice that is not serving, for
//! import and re-partition.
//!
//! A state machine without a disk. Its tasks must be done in the order in which it asks for them:
//! create the file, write its frames, sync it. The snapshot is not part of the data until the
//! slice's manifest names it, which is left to the caller. Any failed task ends the attempt, so
//! failures are never reported here. Sizes are in bytes.

use super::disk::{Done, Task};
use super::framing::Framing;
use crate::journal::frame::FrameBuffer;
use crate::journal::snapshot::FULL_FRAME_BYTES;
use crate::journal::{Place, manifest};
use crate::ledger::id::UserId;
use crate::ledger::names::Names;
use crate::ledger::user::User;

/// Number of the first snapshot of a new generation's slice.
pub const SNAPSHOT: u64 = 1;
/// First segment of the log that is replayed over it, once there is a log.
pub const SEGMENT: u64 = 1;

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Writer {
    framing: Framing,
    block: FrameBuffer,
    /// An empty block, from a completed write.
    spare: Option<FrameBuffer>,
    /// Tasks asked for and not yet done.
    outstanding: usize,
    is_synced: bool,
}

impl Writer {
    /// Begins a snapshot over which the log is replayed from `segment` on. `place.file` is the
    /// snapshot's number.
    pub fn begin(place: Place, segment: u64, ask: &mut impl FnMut(Task)) -> Self {
        let mut writer = Self {
            framing: Framing::new(place),
            block: Framing::block(),
            spare: None,
            outstanding: 2,
            is_synced: false,
        };
        ask(Task::Create { snapshot: place.file });
        let block = writer.take_block();
        ask(writer.framing.first(segment, block));
        writer
    }

    /// Adds a user with at least one accepted entry.
    pub fn add(&mut self, id: UserId<'_>, user: &User, ask: &mut impl FnMut(Task)) {
        user.store_head(id, self.block.payload());
        self.added(user, ask);
    }

    /// Adds a user of another slice, whose kinds are numbered as in `own`. Kinds that `names` lacks
    /// get a number there.
    pub fn add_from(
        &mut self,
        (id, user): (UserId<'_>, &User),
        own: &Names,
        names: &mut Names,
        ask: &mut impl FnMut(Task),
    ) {
        user.store_head_for(id, own, names, self.block.payload());
        self.added(user, ask);
    }

    fn added(&mut self, user: &User, ask: &mut impl FnMut(Task)) {
        self.framing.count(user);
        self.write_full(ask);
        for piece in 0..user.pieces() {
            user.store_piece(piece, self.block.payload());
            self.write_full(ask);
        }
    }

    /// Writes the block that is being filled if it is full.
    fn write_full(&mut self, ask: &mut impl FnMut(Task)) {
        if self.block.payload_bytes() >= FULL_FRAME_BYTES {
            let block = self.take_block();
            let task = self.framing.users(block);
            self.ask(task, ask);
        }
    }

    /// Takes the block that was being filled; an empty one replaces it.
    fn take_block(&mut self) -> FrameBuffer {
        let next = self.spare.take().unwrap_or_else(Framing::block);
        std::mem::replace(&mut self.block, next)
    }

    /// Ends the snapshot after its last user. The snapshot holds once the log is durable up to
    /// `position`.
    pub fn finish(&mut self, names: &Names, position: u64, ask: &mut impl FnMut(Task)) {
        if self.block.payload_bytes() > 0 {
            let block = self.take_block();
            let task = self.framing.users(block);
            self.ask(task, ask);
        }
        let mut more = !names.is_empty();
        while more {
            more = self.framing.fill_kinds(names, names.len(), FULL_FRAME_BYTES, &mut self.block);
            let block = self.take_block();
            let task = self.framing.kinds(block);
            self.ask(task, ask);
        }
        let block = self.take_block();
        let task = self.framing.last(block, position);
        self.ask(task, ask);
        self.ask(Task::Sync { snapshot: self.framing.number() }, ask);
    }

    fn ask(&mut self, task: Task, ask: &mut impl FnMut(Task)) {
        self.outstanding += 1;
        ask(task);
    }

    /// Takes the completion of a task.
    pub fn done(&mut self, done: Done) {
        self.outstanding = self
            .outstanding
            .checked_sub(1)
            .expect("every completion answers a task that was asked for");
        match done {
            Done::Created { buffers: Some(_), .. } => {}
            Done::Written { mut block, ok: true, .. } => {
                block.clear();
                self.spare = Some(block);
            }
            Done::Synced { ok: true, .. } => {
                assert!(
                    self.outstanding == 0 && self.framing.last_frame() > 0,
                    "a snapshot is synced after all of its frames were written"
                );
                self.is_synced = true;
            }
            other => {
                unreachable!("an offline writer only creates, writes and syncs, but got {other:?}")
            }
        }
    }

    /// Whether the snapshot is on stable storage.
    pub const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// The manifest that names this snapshot instead of the one that `before` names.
    pub fn manifest(&self, before: manifest::SliceManifest) -> manifest::SliceManifest {
        assert!(self.is_synced, "a snapshot is named only once it is on stable storage");
        manifest::SliceManifest {
            snapshot: self.framing.number(),
            snapshot_end: self.framing.last_frame(),
            ..before
        }
    }

    /// Users added so far.
    pub const fn users(&self) -> u64 {
        self.framing.user_count()
    }

    /// Entries that these users had accepted.
    pub const fn entries(&self) -> u64 {
        self.framing.entries()
    }

    /// Bytes of the frames so far.
    pub const fn bytes(&self) -> u64 {
        self.framing.bytes()
    }
}
