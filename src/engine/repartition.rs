//! Re-partition of a data directory: changes the number of slices, on real files, before a start.
//!
//! Executes the orders of [the state machine](crate::slice::repartition), each synchronously. The
//! directory stays locked throughout.
//!
//! **Errors.** A fault in an old file, or a failed system call. The new generation is then removed,
//! if possible, and the data is unchanged.

use super::directory::{self, Directory, Error};
use super::files::Files;
use super::generation::Unfinished;
use super::random;
use super::{Failure, arena};
use crate::journal::{Place, manifest};
use crate::slice::StepOutcome;
use crate::slice::repartition::{DirectoryTask, Error as Refusal, Order, Repartition};
use std::collections::BTreeMap;

/// Progress callback: bytes done, and bytes in total. Returns whether to continue.
pub type OnProgress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Changes the number of slices to `slices`, at least one. If it already has `slices` slices, no
/// data is rewritten: only unnamed generations are removed, and only if the files that the
/// manifests name exist. If `on_progress` returns false before the new manifest is published, the
/// data stays as it is ([`Error::Stopped`]).
pub fn repartition(
    directory: Directory,
    slices: u32,
    on_progress: OnProgress<'_>,
) -> Result<Directory, Error> {
    let (unnamed, old) = (directory.unnamed()?, *directory.manifest());
    let new = if old.slices == slices {
        old
    } else {
        manifest::DataManifest { generation: directory.next_generation()?, slices }
    };
    if new == old && unnamed.is_empty() {
        return Ok(directory);
    }
    let mut manifests = Vec::new();
    for slice in (0..old.slices).map(|slice| directory.slice(slice)) {
        let manifest = slice.manifest()?;
        // Unnamed files stay here, but files that no crash leaves are an error, as at a start.
        slice.unnamed(&manifest)?;
        manifests.push(manifest);
    }
    let mut machine = Repartition::new(old, new, manifests, unnamed, random::secret()?);
    let mut driver = Driver { unfinished: None, directory, new, files: BTreeMap::new() };
    loop {
        let (mut orders, left) = (Vec::new(), machine.old_slices_left());
        let outcome =
            machine.advance(&mut |order| orders.push(order)).map_err(|why| driver.failure(why))?;
        for order in orders {
            driver.perform(order, &mut machine)?;
        }
        if machine.old_slices_left() < left {
            arena::recycle();
        }
        match outcome {
            StepOutcome::Waiting => {}
            StepOutcome::Going => {
                let goes_on = machine.progress().is_none_or(|(done, all)| on_progress(done, all));
                if !goes_on && !machine.is_published() {
                    return Err(Error::Stopped(driver.directory.path().to_owned()));
                }
            }
            StepOutcome::Done => return Ok(driver.directory),
        }
    }
}

/// Executes the orders of the state machine on real files.
struct Driver {
    // Dropped first, while the directory is locked.
    unfinished: Option<Unfinished>,
    directory: Directory,
    new: manifest::DataManifest,
    /// The files of each slice of both generations, by generation and slice.
    files: BTreeMap<(u64, u32), Files>,
}

impl Driver {
    fn perform(&mut self, order: Order, machine: &mut Repartition) -> Result<(), Error> {
        match order {
            Order::Slice(place, task) => {
                let directory = self.directory.slice_by(&self.generation(place), place.slice);
                let files = self.files.entry((place.generation, place.slice));
                machine.done(place, files.or_insert_with(|| Files::new(directory)).perform(task)?);
                return Ok(());
            }
            Order::Directory(DirectoryTask::Make(manifest)) => {
                self.unfinished = Some(Unfinished::begin(&self.directory, &manifest)?);
            }
            Order::Directory(DirectoryTask::Sync(generation)) => {
                if let Some(generation) = generation {
                    directory::sync(&self.directory.generation(generation))?;
                }
                directory::sync(self.directory.path())?;
            }
            Order::Directory(DirectoryTask::Publish(manifest)) => {
                self.directory.publish(manifest)?;
                self.unfinished = None;
            }
            Order::Directory(DirectoryTask::Remove(generation)) => {
                directory::remove(&self.directory.generation(generation))?;
            }
        }
        machine.directory_done();
        Ok(())
    }

    /// The manifest of a place's generation: the old one or the new one.
    fn generation(&self, place: Place) -> manifest::DataManifest {
        if place.generation == self.new.generation { self.new } else { *self.directory.manifest() }
    }

    fn failure(&self, Refusal(place, fault): Refusal) -> Failure {
        self.directory.slice(place.slice).unloadable(fault)
    }
}
