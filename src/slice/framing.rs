//! Snapshot framing: turns users into the frames of a snapshot, in order: first frame, users
//! frames, last frame.
//!
//! The callers choose the order of the users: the [scan](super::snapshot) of a serving slice, and
//! the [offline writer](super::offline).

use super::disk::Task;
use crate::journal::frame::{FrameBuffer, Kind, NO_SALT};
use crate::journal::snapshot::{Begin, End};
use crate::journal::{File, Place};
use crate::ledger::names::Names;
use crate::ledger::user::User;

/// Bytes of users in one frame; the last user may exceed it.
pub(super) const FRAME_BYTES: usize = 64 << 10;

/// A snapshot that is being framed. Each frame becomes a write task; these may be done in any order
/// once the file is created.
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

    /// An empty block for a users frame.
    pub(super) fn block() -> FrameBuffer {
        FrameBuffer::with_capacity(FRAME_BYTES + FRAME_BYTES / 4)
    }

    /// Seals the first frame: the log is replayed from `segment` on.
    pub(super) fn first(&mut self, segment: u64, mut block: FrameBuffer) -> Task {
        assert!(self.frames == 0, "the first frame is sealed before any other");
        Begin { segment }.write(block.payload());
        self.seal(Kind::Snapshot, block)
    }

    /// Counts a user who was added to the block that is being filled.
    pub(super) fn count(&mut self, user: &User) {
        self.users += 1;
        self.entries += user.version();
    }

    /// Seals a frame of the users in `block`.
    pub(super) fn users(&mut self, block: FrameBuffer) -> Task {
        assert!(
            self.frames > 0 && self.last_frame == 0,
            "users frames come after the first frame and before the last"
        );
        self.seal(Kind::Users, block)
    }

    /// Seals the last frame: the snapshot holds once the log is durable up to `position`.
    pub(super) fn last(&mut self, mut block: FrameBuffer, names: &Names, position: u64) -> Task {
        assert!(
            self.frames > 0 && self.last_frame == 0,
            "the last frame is sealed once, after the first"
        );
        self.last_frame = self.offset;
        End::write(block.payload(), self.users, self.entries, position, names);
        self.seal(Kind::End, block)
    }

    fn seal(&mut self, kind: Kind, mut block: FrameBuffer) -> Task {
        block.seal(kind, self.place, NO_SALT, self.frames);
        let (file, offset) = (File::Snapshot(self.place.file), self.offset);
        self.frames += 1;
        self.offset += block.bytes().len() as u64;
        Task::Write { file, offset, block }
    }

    /// The snapshot's number.
    pub(super) const fn number(&self) -> u64 {
        self.place.file
    }

    /// Frames sealed so far.
    pub(super) const fn frames(&self) -> u64 {
        self.frames
    }

    /// Offset of the last frame; 0 until it is sealed.
    pub(super) const fn last_frame(&self) -> u64 {
        self.last_frame
    }

    /// Bytes of the frames so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.offset
    }

    /// Users added so far.
    pub(super) const fn user_count(&self) -> u64 {
        self.users
    }

    /// Entries that these users had accepted.
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }
}
