//! New generation of a data directory, written beside the current one.
//!
//! Its directories come first. The caller writes the files of each slice and brings them to stable
//! storage; then the directory's manifest is replaced, and from then on the new generation counts.
//! After a crash at any time there is the whole old or the whole new generation, and the next start
//! removes the rest.

use super::Failure;
use super::directory::{self, Directory, Error, SliceDirectory};
use crate::journal::generation_directory;
use crate::journal::manifest::DataManifest;
use std::fs;
use std::path::{Path, PathBuf};

/// The next generation of a directory without entries, for an import. The directory stays locked.
/// If it is dropped before it is published, it is removed.
#[derive(Debug)]
pub struct NewGeneration {
    // Dropped first, while the directory is locked.
    unfinished: Unfinished,
    directory: Directory,
    manifest: DataManifest,
}

impl NewGeneration {
    /// Removes what an earlier attempt left, and makes the directories of a generation of `slices`
    /// slices. The current generation must be whole, because nothing else is left then.
    pub fn begin(directory: Directory, slices: u32) -> Result<Self, Error> {
        assert!(slices > 0, "there is at least one slice");
        for left in directory.unnamed()? {
            directory::remove(&directory.generation(left))?;
        }
        let manifest = DataManifest { generation: directory.next_generation()?, slices };
        let unfinished = Unfinished::begin(&directory, &manifest)?;
        Ok(Self { unfinished, directory, manifest })
    }

    /// The path of the generation. A file in it is removed with it.
    pub fn path(&self) -> PathBuf {
        self.unfinished.path()
    }

    /// The directories of its slices.
    pub fn slices(&self) -> impl Iterator<Item = SliceDirectory> {
        (0..self.manifest.slices).map(|slice| self.directory.slice_by(&self.manifest, slice))
    }

    /// Makes the generation the current one. Each of its slices must have its manifest, and all of
    /// its files must be on stable storage.
    pub fn publish(mut self) -> Result<(), Failure> {
        let old = self.directory.generation(self.directory.manifest().generation);
        directory::sync(&self.path())?;
        directory::sync(self.directory.path())?;
        self.directory.publish(self.manifest)?;
        // If it stays, the next start removes it.
        let _ = directory::remove(&old);
        Ok(())
    }
}

/// Guard of a generation that is being written. Its drop removes the generation, but only if the
/// manifest can be read and names another one.
#[derive(Debug)]
pub(super) struct Unfinished {
    data: PathBuf,
    generation: u64,
}

impl Unfinished {
    /// Makes the directory of the generation and those of its slices.
    pub(super) fn begin(directory: &Directory, manifest: &DataManifest) -> Result<Self, Failure> {
        make(&directory.generation(manifest.generation))?;
        let unfinished =
            Self { data: directory.path().to_owned(), generation: manifest.generation };
        (0..manifest.slices)
            .try_for_each(|slice| make(&directory.slice_by(manifest, slice).path))?;
        Ok(unfinished)
    }

    fn path(&self) -> PathBuf {
        self.data.join(generation_directory(self.generation))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let named = Directory::manifest_at(&self.data);
        if named.is_ok_and(|named| named.generation != self.generation) {
            // If it stays, the next start removes it.
            let _ = directory::remove(&self.path());
        }
    }
}

fn make(path: &Path) -> Result<(), Failure> {
    fs::create_dir(path).map_err(Failure::at("create", path))
}
