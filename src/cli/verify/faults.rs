//! Opens a data directory for a check, and classifies its errors.
//!
//! Data that is not as it was written is a [fault](Error::Fault). A directory that is in use,
//! missing, not readable or of another version [could not be checked](Error::Failed), and may be
//! sound.

use super::super::Error;
use super::unused_files;
use crate::engine::Failure;
use crate::engine::directory::{self, Directory, MANIFEST, SliceDirectory};
use crate::journal::manifest::{self, ManifestError};
use crate::slice::source;
use std::fs;
use std::path::Path;

/// Opens the directory. A missing manifest is a fault if there are files that it once named.
pub fn open(path: &Path) -> Result<Directory, Error> {
    fs::read_dir(path)
        .map_err(|error| Error::Failed(format!("cannot open {}: {error}", path.display())))?;
    if !path.join(MANIFEST).exists() && !unused_files::has_files_of_slices(path) {
        return Err(Error::Failed(format!(
            "{} is not a data directory: it has no manifest",
            path.display()
        )));
    }
    Directory::open(path).map_err(judged)
}

/// Classifies an error of recovery.
pub fn of_recovery(directory: &SliceDirectory, error: source::Error<Failure>) -> Error {
    match error {
        source::Error::Disk(failure) => failure.into(),
        source::Error::Fault(fault) => Error::Fault(directory.locate(fault).to_string()),
    }
}

/// Classifies an error of a directory or its manifests.
pub fn judged(error: directory::Error) -> Error {
    let (path, what) = match &error {
        directory::Error::Failed(_)
        | directory::Error::InUse(_)
        | directory::Error::NoManifest(_)
        | directory::Error::Stopped(_) => return error.into(),
        // A manifest of another version need not have our format, so it is no fault; but one whose
        // checksum is wrong was damaged.
        directory::Error::Manifest(path, ManifestError::Version(_) | ManifestError::Hash(_))
            if is_sealed(path) =>
        {
            return error.into();
        }
        directory::Error::Manifest(path, why) => (path, what_is_wrong(*why)),
        directory::Error::Missing(path) => (path, "the file is missing".to_owned()),
    };
    Error::Fault(format!("{} at byte 0: {what}", path.display()))
}

fn what_is_wrong(why: ManifestError) -> String {
    match why {
        ManifestError::Elsewhere(generation, slice) => {
            format!("the manifest belongs to slice {slice} of generation {generation}")
        }
        ManifestError::Older(generation) => {
            format!("the manifest is outdated: files of the newer generation {generation} exist")
        }
        ManifestError::Malformed | ManifestError::Version(_) | ManifestError::Hash(_) => {
            "the manifest is damaged or was edited".to_owned()
        }
    }
}

fn is_sealed(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| manifest::unsealed(&text).is_some())
}
