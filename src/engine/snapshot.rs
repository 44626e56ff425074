//! A snapshot that is written to a file user by user, by a process that serves nobody meanwhile: an
//! import.
//!
//! Nothing of it counts until the slice's manifest names it, which is left to the caller. Sizes are
//! in bytes.

use super::Failure;
use super::directory::SliceDirectory;
use super::files::Files;
use crate::journal::{File, Place, manifest};
use crate::ledger::names::Names;
use crate::ledger::user::User;
use crate::slice::disk::Task;
use crate::slice::offline::Writer;
use std::fs;

/// A snapshot that is being written. If it is not finished, its file is removed.
#[derive(Debug)]
pub struct Snapshot {
    writer: Writer,
    files: Files,
    number: u64,
    /// What the writer has asked for and is not done.
    asked: Vec<Task>,
}

/// A snapshot on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// The manifest that names it.
    pub manifest: manifest::Slice,
    /// Its size.
    pub bytes: u64,
}

impl Snapshot {
    /// Begins a snapshot from which the log is replayed from `segment` on.
    pub fn begin(directory: &SliceDirectory, number: u64, segment: u64) -> Result<Self, Failure> {
        let (files, mut asked) = (Files::new(directory.clone()), Vec::new());
        let place = Place { file: number, ..directory.place };
        let writer = Writer::begin(place, segment, &mut |task| asked.push(task));
        let mut snapshot = Self { writer, files, number, asked };
        snapshot.work()?;
        Ok(snapshot)
    }

    /// Adds a user of whom something was accepted.
    pub fn add(&mut self, user: &User) -> Result<(), Failure> {
        self.writer.add(user, &mut |task| self.asked.push(task));
        self.work()
    }

    fn work(&mut self) -> Result<(), Failure> {
        for task in self.asked.drain(..) {
            self.writer.done(self.files.perform(task)?);
        }
        Ok(())
    }

    /// All users were added: writes the last frame, and brings file and name to stable storage. The
    /// log must reach `position` for it to hold. It takes the place of what `before` names.
    pub fn finish(
        mut self,
        names: &Names,
        position: u64,
        before: manifest::Slice,
    ) -> Result<OnDisk, Failure> {
        self.writer.finish(names, position, &mut |task| self.asked.push(task));
        self.work()?;
        Ok(OnDisk { manifest: self.writer.manifest(before), bytes: self.writer.bytes() })
    }

    /// How many users were added.
    pub const fn users(&self) -> u64 {
        self.writer.users()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.writer.is_synced() {
            // If it stays, the next start removes it: nothing names it.
            let _ = fs::remove_file(self.files.path(File::Snapshot(self.number)));
        }
    }
}
