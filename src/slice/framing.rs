//! The frames of a snapshot, in their order: the first, frames of users, the last. Who fills them,
//! and when, is for the [scan](super::snapshot) beside serving and for the [writer](super::offline)
//! that serves nobody.

use super::disk::Task;
use crate::journal::frame::{Block, Kind};
use crate::journal::snapshot::{Begin, End};
use crate::journal::{File, Place};
use crate::ledger::names::Names;
use crate::ledger::user::User;

/// Users of one frame, in bytes; the last of them may go beyond.
pub(super) const FRAME_BYTES: usize = 64 << 10;

/// A snapshot, as far as it is framed. Each frame becomes a task; they may be done in any order
/// once the file is made.
#[derive(Debug)]
pub(super) struct Framing {
    /// `place.file` is the snapshot's number.
    place: Place,
    frames: u64,
    offset: u64,
    last_frame: u64,
    users: u64,
    entries: u64,
}

impl Framing {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, frames: 0, offset: 0, last_frame: 0, users: 0, entries: 0 }
    }

    /// An empty block for a frame.
    pub(super) fn block() -> Block {
        Block::with_room(FRAME_BYTES + FRAME_BYTES / 4)
    }

    /// The first frame: the log is replayed from `segment` on.
    pub(super) fn first(&mut self, segment: u64, mut block: Block) -> Task {
        assert!(self.frames == 0, "the first frame comes first");
        Begin { segment }.write(block.payload());
        self.seal(Kind::Snapshot, block)
    }

    /// A user was added to the block that is being filled.
    pub(super) fn count(&mut self, user: &User) {
        self.users += 1;
        self.entries += user.version();
    }

    /// A frame of the users that were added to `block`.
    pub(super) fn users(&mut self, block: Block) -> Task {
        assert!(
            self.frames > 0 && self.last_frame == 0,
            "users stand between the first frame and the last"
        );
        self.seal(Kind::Users, block)
    }

    /// The last frame: the log must reach `position` for the snapshot to hold.
    pub(super) fn last(&mut self, mut block: Block, names: &Names, position: u64) -> Task {
        assert!(self.frames > 0 && self.last_frame == 0, "there is one last frame");
        self.last_frame = self.offset;
        End::write(block.payload(), self.users, self.entries, position, names);
        self.seal(Kind::End, block)
    }

    fn seal(&mut self, kind: Kind, mut block: Block) -> Task {
        block.seal(kind, self.place, self.frames);
        let (file, offset) = (File::Snapshot(self.place.file), self.offset);
        self.frames += 1;
        self.offset += block.bytes().len() as u64;
        Task::Write { file, offset, block }
    }

    /// The snapshot's number.
    pub(super) const fn number(&self) -> u64 {
        self.place.file
    }

    /// Frames so far.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Where the last frame begins; 0 as long as it is not framed.
    pub(super) const fn last_frame(&self) -> u64 {
        self.last_frame
    }

    /// Bytes so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.offset
    }

    /// Users that were added.
    pub(super) const fn user_count(&self) -> u64 {
        self.users
    }

    /// Entries that they had accepted.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }
}
