//! Offline snapshot: all users of a slice of a new generation, written user by user, for an import.
//!
//! The slice has no log yet. Nothing counts until the generation is published
//! ([`super::generation`]), which is left to the caller. Sizes are in bytes.

use super::Failure;
use super::directory::SliceDirectory;
use super::files::Files;
use crate::journal::Place;
use crate::journal::manifest::SliceManifest;
use crate::ledger::id::UserId;
use crate::ledger::names::Names;
use crate::ledger::user::User;
use crate::slice::disk::Task;
use crate::slice::offline::{SEGMENT, SNAPSHOT, Writer};

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Snapshot {
    directory: SliceDirectory,
    writer: Writer,
    files: Files,
    /// Tasks of the writer that are not done yet.
    asked: Vec<Task>,
}

impl Snapshot {
    /// Begins the snapshot of the slice in `directory`.
    pub fn begin(directory: SliceDirectory) -> Result<Self, Failure> {
        let (files, mut asked) = (Files::new(directory.clone()), Vec::new());
        let place = Place { file: SNAPSHOT, ..directory.place };
        let writer = Writer::begin(place, SEGMENT, &mut |task| asked.push(task));
        let mut snapshot = Self { directory, writer, files, asked };
        snapshot.work()?;
        Ok(snapshot)
    }

    /// Adds a user with at least one accepted entry.
    pub fn add(&mut self, id: UserId<'_>, user: &User) -> Result<(), Failure> {
        self.writer.add(id, user, &mut |task| self.asked.push(task));
        self.work()
    }

    fn work(&mut self) -> Result<(), Failure> {
        for task in self.asked.drain(..) {
            self.writer.done(self.files.perform(task)?);
        }
        Ok(())
    }

    /// Writes the last frame after all users, syncs the file and its name, and then writes the
    /// slice's manifest, which names it. Returns the size of the file.
    pub fn finish(mut self, names: &Names) -> Result<u64, Failure> {
        self.writer.finish(names, 0, &mut |task| self.asked.push(task));
        self.work()?;
        let manifest = self.writer.manifest(SliceManifest::default());
        self.directory.publish(&manifest.write(self.directory.place))?;
        Ok(self.writer.bytes())
    }

    /// The number of users added.
    pub const fn users(&self) -> u64 {
        self.writer.users()
    }
}
