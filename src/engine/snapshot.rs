//! Offline snapshot: written to a file user by user, for an import, while no server runs.
//!
//! The snapshot does not count until the slice's manifest names it; the caller publishes that
//! manifest. Sizes are in bytes.

use super::Failure;
use super::directory::SliceDirectory;
use super::files::Files;
use crate::journal::{File, Place, manifest};
use crate::ledger::names::Names;
use crate::ledger::user::User;
use crate::slice::disk::Task;
use crate::slice::offline::Writer;
use std::fs;

/// A snapshot that is being written. Its file is removed if it is dropped before it is finished.
#[derive(Debug)]
pub struct Snapshot {
    writer: Writer,
    files: Files,
    number: u64,
    /// Tasks of the writer that are not done yet.
    asked: Vec<Task>,
}

/// A snapshot on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// The slice's manifest that names the snapshot.
    pub manifest: manifest::SliceManifest,
    /// Size of the file.
    pub bytes: u64,
}

impl Snapshot {
    /// Begins snapshot `number`; the log is replayed over it from `segment` on.
    pub fn begin(directory: &SliceDirectory, number: u64, segment: u64) -> Result<Self, Failure> {
        let (files, mut asked) = (Files::new(directory.clone()), Vec::new());
        let place = Place { file: number, ..directory.place };
        let writer = Writer::begin(place, segment, &mut |task| asked.push(task));
        let mut snapshot = Self { writer, files, number, asked };
        snapshot.work()?;
        Ok(snapshot)
    }

    /// Adds a user with at least one accepted entry.
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

    /// Writes the last frame after all users, and syncs the file and its name. The snapshot is
    /// valid only if the log reaches `position`. The new manifest replaces `before`.
    pub fn finish(
        mut self,
        names: &Names,
        position: u64,
        before: manifest::SliceManifest,
    ) -> Result<OnDisk, Failure> {
        self.writer.finish(names, position, &mut |task| self.asked.push(task));
        self.work()?;
        Ok(OnDisk { manifest: self.writer.manifest(before), bytes: self.writer.bytes() })
    }

    /// The number of users added.
    pub const fn users(&self) -> u64 {
        self.writer.users()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.writer.is_synced() {
            // A file that stays is removed by the next start: no manifest names it.
            let _ = fs::remove_file(self.files.path(File::Snapshot(self.number)));
        }
    }
}
