//! A snapshot that is written user by user, by a process that serves nobody meanwhile: an import, or a change of the number of slices.
//!
//! Nothing of it counts until the slice's manifest names it, which is left to the caller. Sizes are in bytes.

use super::Failure;
use super::directory::SliceDirectory;
use crate::journal::frame::{Block, Kind};
use crate::journal::snapshot::{Begin, End};
use crate::journal::{File as Name, Place};
use crate::ledger::names::Names;
use crate::ledger::user::User;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// Users of one frame, in bytes; the last of them may go beyond.
const FRAME_BYTES: usize = 64 << 10;

/// A snapshot that is being written. If it is not finished, its file is removed.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    file: File,
    place: Place,
    block: Block,
    frames: u64,
    offset: u64,
    users: u64,
    entries: u64,
    is_finished: bool,
}

/// A snapshot on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub number: u64,
    /// Where its last frame begins.
    pub last_frame: u64,
    /// Its size.
    pub bytes: u64,
}

impl Snapshot {
    /// Begins a snapshot from which the log is replayed from `segment` on.
    pub fn begin(directory: &SliceDirectory, number: u64, segment: u64) -> Result<Self, Failure> {
        let path = directory.path.join(Name::Snapshot(number).to_string());
        let file = File::create(&path).map_err(Failure::of("create", path.display().to_string()))?;
        let mut snapshot = Self {
            path,
            file,
            place: Place { file: number, ..directory.place },
            block: Block::with_room(FRAME_BYTES + FRAME_BYTES / 4),
            frames: 0,
            offset: 0,
            users: 0,
            entries: 0,
            is_finished: false,
        };
        Begin { segment }.write(snapshot.block.payload());
        snapshot.write(Kind::Snapshot)?;
        Ok(snapshot)
    }

    /// Adds a user of whom something was accepted.
    pub fn add(&mut self, user: &User) -> Result<(), Failure> {
        user.store(self.block.payload());
        self.added(user)
    }

    /// Adds a user of another slice, whose kinds have the numbers of `own` there. Those that `names` lacks get one.
    pub fn add_from(&mut self, user: &User, own: &Names, names: &mut Names) -> Result<(), Failure> {
        user.store_for(own, names, self.block.payload());
        self.added(user)
    }

    fn added(&mut self, user: &User) -> Result<(), Failure> {
        self.users += 1;
        self.entries += user.version();
        if self.block.payload_bytes() >= FRAME_BYTES { self.write(Kind::Users) } else { Ok(()) }
    }

    fn write(&mut self, kind: Kind) -> Result<(), Failure> {
        self.block.seal(kind, self.place, self.frames);
        let bytes = self.block.bytes();
        self.file.write_all(bytes).map_err(Failure::of("write", self.path.display().to_string()))?;
        self.frames += 1;
        self.offset += bytes.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// All users were added: writes the last frame, and brings file and name to stable storage. The log must reach `position` for it to hold.
    pub fn finish(mut self, names: &Names, position: u64) -> Result<Written, Failure> {
        if self.block.payload_bytes() > 0 {
            self.write(Kind::Users)?;
        }
        let last_frame = self.offset;
        End::write(self.block.payload(), self.users, self.entries, position, names);
        self.write(Kind::End)?;
        let directory = self.path.parent().expect("a file is in a directory");
        self.file
            .sync_all()
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(Failure::of("sync", self.path.display().to_string()))?;
        self.is_finished = true;
        Ok(Written { number: self.place.file, last_frame, bytes: self.offset })
    }

    /// How many users were added.
    pub const fn users(&self) -> u64 {
        self.users
    }

    /// How many entries they had accepted.
    pub const fn entries(&self) -> u64 {
        self.entries
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.is_finished {
            // If it stays, the next start removes it: nothing names it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
