//! A snapshot that is written user by user for a slice that serves nobody meanwhile: by an import,
//! or a re-partition.
//!
//! A state machine without a disk. What it asks is to be done in the order in which it asks: the
//! file is made, its frames are written, then it is brought to stable storage. Nothing of it counts
//! until the slice's manifest names it, which is left to the caller. Whatever fails ends the
//! attempt: a failure is never reported here. Sizes are in bytes.

use super::disk::{Done, Task};
use super::framing::{FRAME_BYTES, Framing};
use crate::journal::frame::Block;
use crate::journal::{Place, manifest};
use crate::ledger::names::Names;
use crate::ledger::user::User;

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Writer {
    framing: Framing,
    block: Block,
    /// A block that came back.
    spare: Option<Block>,
    /// Tasks that were asked for and are not done.
    owed: usize,
    is_synced: bool,
}

impl Writer {
    /// Begins a snapshot from which the log is replayed from `segment` on. `place.file` is the
    /// snapshot's number.
    pub fn begin(place: Place, segment: u64, ask: &mut impl FnMut(Task)) -> Self {
        let mut writer = Self {
            framing: Framing::new(place),
            block: Framing::block(),
            spare: None,
            owed: 2,
            is_synced: false,
        };
        ask(Task::Create { snapshot: place.file });
        let block = writer.take_block();
        ask(writer.framing.first(segment, block));
        writer
    }

    /// Adds a user of whom something was accepted.
    pub fn add(&mut self, user: &User, ask: &mut impl FnMut(Task)) {
        user.store(self.block.payload());
        self.added(user, ask);
    }

    /// Adds a user of another slice, whose kinds have the numbers of `own` there. Those that
    /// `names` lacks get one.
    pub fn add_from(
        &mut self,
        user: &User,
        own: &Names,
        names: &mut Names,
        ask: &mut impl FnMut(Task),
    ) {
        user.store_for(own, names, self.block.payload());
        self.added(user, ask);
    }

    fn added(&mut self, user: &User, ask: &mut impl FnMut(Task)) {
        self.framing.count(user);
        if self.block.payload_bytes() >= FRAME_BYTES {
            self.write_users(ask);
        }
    }

    fn write_users(&mut self, ask: &mut impl FnMut(Task)) {
        let block = self.take_block();
        self.owed += 1;
        ask(self.framing.users(block));
    }

    /// The block that was being filled; another is, from now on.
    fn take_block(&mut self) -> Block {
        let next = self.spare.take().unwrap_or_else(Framing::block);
        std::mem::replace(&mut self.block, next)
    }

    /// All users were added. The log must reach `position` for the snapshot to hold.
    pub fn finish(&mut self, names: &Names, position: u64, ask: &mut impl FnMut(Task)) {
        if self.block.payload_bytes() > 0 {
            self.write_users(ask);
        }
        let block = self.take_block();
        self.owed += 2;
        ask(self.framing.last(block, names, position));
        ask(Task::Sync { snapshot: self.framing.number() });
    }

    /// Hears what was done.
    pub fn done(&mut self, done: Done) {
        self.owed = self.owed.checked_sub(1).expect("only what was asked for is done");
        match done {
            Done::Created { buffers: Some(_), .. } => {}
            Done::Written { mut block, ok: true, .. } => {
                block.clear();
                self.spare = Some(block);
            }
            Done::Synced { ok: true, .. } => {
                assert!(
                    self.owed == 0 && self.framing.last_frame() > 0,
                    "all of it was written before it was synced"
                );
                self.is_synced = true;
            }
            other => unreachable!("nothing of this kind was asked for: {other:?}"),
        }
    }

    /// Whether the snapshot is on stable storage.
    pub const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// The manifest that names the snapshot in the place of what `before` named.
    pub fn manifest(&self, before: manifest::Slice) -> manifest::Slice {
        assert!(self.is_synced, "a snapshot is named when it is on stable storage");
        manifest::Slice {
            snapshot: self.framing.number(),
            snapshot_end: self.framing.last_frame(),
            ..before
        }
    }

    /// How many users were added.
    pub const fn users(&self) -> u64 {
        self.framing.user_count()
    }

    /// How many entries they had accepted.
    pub const fn entries(&self) -> u64 {
        self.framing.entries()
    }

    /// Bytes of the frames so far.
    pub const fn bytes(&self) -> u64 {
        self.framing.bytes()
    }
}
