//! Data directory of `serve`: opens it, re-partitions it if it has another number of slices, and
//! sets up the storage of each slice.

use super::super::Error;
use super::super::progress::ProgressMeter;
use super::super::text::{count, count_noun, print_line};
use crate::config::settings::Config;
use crate::engine::control::{Command, Control};
use crate::engine::directory::SliceDirectory;
use crate::engine::directory::{self, Directory};
use crate::engine::file_system::copy_on_write;
use crate::engine::files::Files;
use crate::engine::priority::SpareCpus;
use crate::engine::repartition::repartition;
use crate::engine::storage::Storage;
use crate::server::owner::Stored;
use crate::slice::log::Segments;
use crate::slice::recovery::Recovery;
use crate::slice::source;
use crate::slice::store::Settings;
use std::path::Path;
use std::time::Instant;

/// Opens the data directory and changes it to `slices` slices; `None` if the process was told to
/// end before that was done.
pub fn open(path: &Path, slices: u32, control: &Control) -> Result<Option<Directory>, Error> {
    let (start, directory) = (Instant::now(), Directory::open_or_create(path, slices)?);
    if let Some(name) = copy_on_write(path) {
        print_line(&format!(
            "data: {}: {name} is a copy-on-write file system: a full disk can also refuse what is \
             written over prepared space, and the last entries then get 507 until there is space",
            path.display()
        ));
    }
    let before = directory.manifest().slices;
    if before != slices {
        let slices = count_noun(slices.into(), "slice", "slices");
        print_line(&format!(
            "data: {}: re-partitioning from {} to {slices}",
            path.display(),
            count(before.into())
        ));
    }
    let mut progress = ProgressMeter::new("re-partitioning");
    let report = &mut |done, total| {
        progress.at(done, total);
        control.command() == Command::Serve
    };
    let opened = repartition(directory, slices, report);
    drop(progress);
    match opened {
        Err(error @ directory::Error::Stopped(_)) => {
            print_line(&error.to_string());
            return Ok(None);
        }
        Ok(_) if before != slices => {
            print_line(&format!("data: re-partitioned in {:.2} s", start.elapsed().as_secs_f64()));
        }
        _ => {}
    }
    Ok(Some(opened?))
}

/// Sets up the storage of the slice in `directory`: its recovery, which has measured the files, and
/// its disk. Call it before any thread is pinned: the disk starts threads that must not inherit a
/// core's CPU.
pub fn open_slice(
    directory: SliceDirectory,
    config: &Config,
    control: &Control,
    aside: &SpareCpus,
) -> Result<(Stored, Storage), Error> {
    let (place, snapshot_after_bytes) = (directory.place, config.snapshot_after_bytes);
    let settings = Settings { place, snapshot_after_bytes, segments: Segments::DISK };
    let mut recovery = Recovery::new(place, directory.slices, directory.manifest()?);
    let measured = source::measure(&mut recovery, &mut Files::new(directory.clone()));
    measured.map_err(|error| match error {
        source::Error::Disk(failure) => failure,
        source::Error::Fault(fault) => directory.unloadable(fault),
    })?;
    Ok((Stored { settings, recovery }, Storage::new(directory, control, aside)?))
}
