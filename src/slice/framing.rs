//! Snapshot framing: turns users and kinds into the frames of a snapshot, in order: first frame,
//! users frames, kinds frames, last frame.
//!
//! The callers choose the order of the users: the [scan](super::snapshot) of a serving slice, and
//! the [offline writer](super::offline).

use super::disk::Task;
use crate::journal::frame::{FrameBuffer, Kind, NO_SALT};
use crate::journal::snapshot::{
    Begin, End, FULL_FRAME_BYTES, Kinds, MAX_KINDS_BYTES, MAX_USERS_BYTES,
};
use crate::journal::{File, Place};
use crate::ledger::names::{KindId, Names};
use crate::ledger::user::User;

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
    kinds: u64,
    /// Offset of the first kinds frame; 0 until it is sealed.
    kinds_at: u64,
}

impl Framing {
    pub(super) const fn new(place: Place) -> Self {
        Self {
            place,
            frames: 0,
            offset: 0,
            last_frame: 0,
            users: 0,
            entries: 0,
            kinds: 0,
            kinds_at: 0,
        }
    }

    /// An empty block for a frame.
    pub(super) fn block() -> FrameBuffer {
        FrameBuffer::with_capacity(FULL_FRAME_BYTES + FULL_FRAME_BYTES / 4)
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

    /// Seals a frame of the users and pieces in `block`.
    pub(super) fn users(&mut self, block: FrameBuffer) -> Task {
        assert!(
            self.frames > 0 && self.kinds_at == 0 && self.last_frame == 0,
            "users frames come after the first frame and before the kinds"
        );
        assert!(block.payload_bytes() <= MAX_USERS_BYTES, "a reader accepts every users frame");
        self.seal(Kind::Users, block)
    }

    /// Appends the next of the first `kinds` kinds to `block`, until its payload has `until` bytes.
    /// Returns whether there are more.
    pub(super) fn fill_kinds(
        &mut self,
        names: &Names,
        kinds: usize,
        until: usize,
        block: &mut FrameBuffer,
    ) -> bool {
        while self.kinds < kinds as u64 && block.payload_bytes() < until {
            Kinds::write(block.payload(), names.name(KindId(self.kinds as u32)));
            self.kinds += 1;
        }
        self.kinds < kinds as u64
    }

    /// Seals a frame of the kinds in `block`.
    pub(super) fn kinds(&mut self, block: FrameBuffer) -> Task {
        assert!(
            self.frames > 0 && self.last_frame == 0,
            "kinds frames come after all users and before the last frame"
        );
        assert!(block.payload_bytes() <= MAX_KINDS_BYTES, "a reader accepts every kinds frame");
        self.kinds_at = if self.kinds_at == 0 { self.offset } else { self.kinds_at };
        self.seal(Kind::Kinds, block)
    }

    /// Seals the last frame: the snapshot holds once the log is durable up to `position`.
    pub(super) fn last(&mut self, mut block: FrameBuffer, position: u64) -> Task {
        assert!(
            self.frames > 0 && self.last_frame == 0,
            "the last frame is sealed once, after the first"
        );
        self.last_frame = self.offset;
        let kinds_at = if self.kinds > 0 { self.kinds_at } else { self.last_frame };
        let (users, entries, kinds) = (self.users, self.entries, self.kinds);
        End { users, entries, position, kinds, kinds_at }.write(block.payload());
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
