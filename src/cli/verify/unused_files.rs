//! Stray files: files in a data directory that no manifest names, because a crash left them or they
//! never belonged there.
//!
//! Each becomes a note. A file that no crash leaves, though, is a fault: then the manifest is not
//! to be trusted.

use super::super::Error;
use crate::engine::directory::{
    Directory, LOCK, MANIFEST, NEW_MANIFEST, SliceDirectory, is_of_volume,
};
use crate::journal::{File, generation_directory, manifest, slice_directory};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A note of a complete file or directory that a crash left.
pub fn not_in_use(path: &Path) -> String {
    format!("{} is not in use; the next start removes it", path.display())
}

fn foreign(path: &Path) -> String {
    format!("{} does not belong to the data and is ignored", path.display())
}

/// Notes the files of a slice that its manifest does not name. A file that no crash leaves is a
/// fault.
pub fn in_slice(
    directory: &SliceDirectory,
    manifest: &manifest::SliceManifest,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    fs::read_dir(&directory.path).map_err(|error| {
        Error::Failed(format!("cannot list {}: {error}", directory.path.display()))
    })?;
    for name in names(&directory.path) {
        let file = directory.path.join(&name);
        match File::parse(&name) {
            Some(named) => {
                let is_named = manifest.names(named);
                if !is_named.map_err(|fault| Error::Fault(directory.locate(fault).to_string()))? {
                    notes.push(not_in_use(&file));
                }
            }
            None if name == MANIFEST || name == NEW_MANIFEST => {}
            None if name.ends_with(".new") => {
                notes.push(format!(
                    "{} was never finished; the next start removes it",
                    file.display()
                ));
            }
            None => notes.push(foreign(&file)),
        }
    }
    Ok(())
}

/// Notes files beside the directories of the slices. The `unnamed` generations are noted already,
/// and what belongs to the volume is as it should be.
pub fn beside_slices(directory: &Directory, unnamed: &[PathBuf]) -> Vec<String> {
    let manifest::DataManifest { generation, slices } = *directory.manifest();
    let path = directory.path();
    let below = path.join(generation_directory(generation));
    let mut expected: BTreeSet<PathBuf> =
        (0..slices).map(|n| path.join(slice_directory(generation, n))).collect();
    expected.extend([path.join(LOCK), path.join(MANIFEST), below.clone()]);
    let found =
        [path, &below].into_iter().flat_map(|at| names(at).into_iter().map(|name| at.join(name)));
    found
        .filter(|file| !expected.contains(file) && !unnamed.contains(file))
        .filter(|file| file.parent() != Some(path) || !is_of_volume(file))
        .map(|file| foreign(&file))
        .collect()
}

/// Whether there are files that a manifest once named.
pub fn has_files_of_slices(path: &Path) -> bool {
    let generations = names(path).into_iter().filter(|name| name.starts_with("generation-"));
    let mut slices = generations.flat_map(|generation| {
        let generation = path.join(generation);
        names(&generation).into_iter().map(move |slice| generation.join(slice))
    });
    slices.any(|slice| names(&slice).iter().any(|name| File::parse(name).is_some()))
}

/// The sorted names in a directory; none if it cannot be listed.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}
