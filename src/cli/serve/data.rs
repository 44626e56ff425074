//! Opens the data directory, and re-partitions what is kept in another number of slices.

use super::super::Error;
use super::super::progress::Progress;
use super::super::text::{count, many, say};
use crate::engine::control::{Command, Control};
use crate::engine::directory::{self, Directory};
use crate::engine::repartition::repartition;
use std::path::Path;
use std::time::Instant;

/// Opens the data directory and gives it so many slices; `None` if it was told to end before that
/// was done.
pub fn open(path: &Path, slices: u32, control: &Control) -> Result<Option<Directory>, Error> {
    let (start, directory) = (Instant::now(), Directory::open_or_create(path, slices)?);
    let before = directory.manifest().slices;
    if before != slices {
        let slices = many(slices.into(), "slice", "slices");
        say(&format!("data: {}: re-partitioning from {} to {slices}", path.display(), count(before.into())));
    }
    let mut progress = Progress::new("re-partitioning");
    let look = &mut |done, total| {
        progress.at(done, total);
        control.command() == Command::Serve
    };
    let opened = repartition(directory, slices, look);
    drop(progress);
    match opened {
        Err(error @ directory::Error::Stopped(_)) => {
            say(&error.to_string());
            return Ok(None);
        }
        Ok(_) if before != slices => say(&format!("data: re-partitioned in {:.2} s", start.elapsed().as_secs_f64())),
        _ => {}
    }
    Ok(Some(opened?))
}
