//! Re-partition: changes the number of slices by writing all users into a new generation, before a
//! start.
//!
//! A state machine without a disk. [`Repartition::advance`] takes a bounded step and emits orders:
//! tasks of a slice, which must be done in the order in which they are asked for, and steps on the
//! data directory. The engine performs them on files, the simulation with injected faults.
//!
//! 1. Remove what an earlier attempt left.
//! 2. Recover each old slice, one after the other, as a start recovers it; nothing of it is
//!    changed. Its users go to the snapshots of the new slices, all of which are open in this time.
//!    Then it is dropped. Memory is thus bounded by the largest old slice plus some blocks for each
//!    new one.
//! 3. Bring the new generation to stable storage, then name it in the directory's manifest. That
//!    publication is the moment of the change.
//! 4. Remove the old generation.
//!
//! ```text
//! Measure ─▶ Clean ─▶ Make ─▶ Load ─▶ Distribute ─▶ Finish ─▶ Sync ─▶ Publish ─▶ Remove ─▶ Done
//!               │               ▲        │
//!               │               └────────┘ the next old slice
//!               └─ the number of slices is unchanged ───────────────────────────────────▶ Done
//! ```
//!
//! After a kill in step 2 or before, the old generation counts, and the next start removes what
//! there is of the new one. After a later kill the new generation counts, and the old one is
//! removed. Progress is in bytes of the old files.

use super::disk::{Done, Task};
use super::offline::{SEGMENT, SNAPSHOT, Writer};
use super::recovery::Recovery;
use super::{Slice, StepOutcome};
use crate::journal::manifest::{self, DataManifest};
use crate::journal::{Fault, Place};
use crate::ledger::index::UserSlot;
use crate::ledger::memory::PrefetchStep;
use crate::ledger::names::Names;
use crate::ledger::secret::Secret;
use std::collections::VecDeque;

/// Users that one step distributes.
const USERS_PER_STEP: usize = 1_024;
/// Prefetch distance, in users, for a user's sections; half of it for the memory that these point
/// to.
const PREFETCH_USERS: usize = 8;

/// Work for the driver.
#[derive(Debug)]
pub enum Order {
    /// A task of the slice at this place; the place's file is ignored.
    Slice(Place, Task),
    /// A step on the data directory.
    Directory(DirectoryTask),
}

/// A step on the data directory. A failed step ends the attempt, so it is never reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryTask {
    /// Create the directory of a generation and the directories of its slices.
    Make(DataManifest),
    /// Sync the directory of this generation, if one is given, then the data directory, so that the
    /// names in them are on stable storage.
    Sync(Option<u64>),
    /// Replace the manifest atomically. After a crash at any time there is either the old or the
    /// new manifest; when done, it is the new one.
    Publish(DataManifest),
    /// Remove a generation with everything in it.
    Remove(u64),
}

/// Reason why the number of slices cannot be changed: an old slice is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub Place, pub Fault);

/// A re-partition.
#[derive(Debug)]
pub struct Repartition {
    old: DataManifest,
    new: DataManifest,
    stage: Stage,
    /// Generations that an earlier attempt left.
    unnamed: Vec<u64>,
    /// Old slices whose users are not yet distributed; the first is the current one.
    old_slices: VecDeque<OldSlice>,
    /// Users of the current old slice.
    slice: Slice,
    /// Keys the hash tables while users are distributed.
    secret: Secret,
    new_slices: Vec<NewSlice>,
    /// Steps on the data directory that come before anything else, one at a time.
    next: VecDeque<DirectoryTask>,
    /// Orders that are not done yet.
    outstanding: usize,
    /// Bytes of the old slices that are finished, and of all old slices.
    finished_bytes: u64,
    bytes: u64,
    /// Users and entries that were distributed.
    distributed: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Measuring the files of this old slice.
    Measure(usize),
    Clean,
    Make,
    Load,
    /// Distributing users, from this one on.
    Distribute(usize),
    /// Bringing this new slice to stable storage.
    Finish(usize),
    Sync,
    Publish,
    Remove,
    Done,
}

/// A slice of the old generation.
#[derive(Debug)]
struct OldSlice {
    place: Place,
    recovery: Recovery,
}

impl OldSlice {
    fn bytes_total(&self) -> u64 {
        self.recovery.report().bytes_total
    }
}

/// A slice of the new generation.
#[derive(Debug)]
struct NewSlice {
    place: Place,
    writer: Writer,
    names: Names,
    stage: NewStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewStage {
    Filling,
    Finished,
    Published,
}

impl Repartition {
    /// A re-partition from the slices of `old`, each with its manifest, to those of `new`, which is
    /// the next generation. If `new` equals `old`, only the `unnamed` generations are removed.
    pub fn new(
        old: DataManifest,
        new: DataManifest,
        manifests: Vec<manifest::SliceManifest>,
        unnamed: Vec<u64>,
        secret: Secret,
    ) -> Self {
        assert!(new.slices > 0, "there is at least one slice");
        assert!(
            new == old || new.generation == old.generation + 1,
            "generations are numbered consecutively"
        );
        assert!(manifests.len() == old.slices as usize, "each old slice has its manifest");
        let old_slices = manifests.into_iter().zip(0..).map(|(manifest, slice)| {
            let place = Place { generation: old.generation, slice, file: 0 };
            OldSlice { place, recovery: Recovery::new(place, old.slices, manifest) }
        });
        Self {
            old,
            new,
            stage: Stage::Measure(0),
            unnamed,
            old_slices: old_slices.collect(),
            slice: Slice::new(usize::MAX, secret),
            secret,
            new_slices: Vec::new(),
            next: VecDeque::new(),
            outstanding: 0,
            finished_bytes: 0,
            bytes: 0,
            distributed: (0, 0),
        }
    }

    /// Takes at most one step and emits its orders. After [`StepOutcome::Going`] it may be dropped
    /// for good: until it [is published](Self::is_published), the old generation is unchanged.
    pub fn advance(&mut self, order: &mut impl FnMut(Order)) -> Result<StepOutcome, Error> {
        match self.stage {
            // Reads overlap with other reads.
            Stage::Measure(_) | Stage::Load => {}
            _ if self.outstanding > 0 => return Ok(StepOutcome::Waiting),
            _ => {}
        }
        if let Some(task) = self.next.pop_front() {
            self.outstanding += 1;
            order(Order::Directory(task));
            return Ok(StepOutcome::Waiting);
        }
        match self.stage {
            Stage::Measure(old) => return self.measure(old, order),
            Stage::Clean if self.new == self.old => self.stage = Stage::Done,
            Stage::Clean => {
                self.next.push_back(DirectoryTask::Make(self.new));
                self.stage = Stage::Make;
                return Ok(StepOutcome::Waiting);
            }
            Stage::Make => {
                self.make(order);
                self.stage = Stage::Load;
                return Ok(StepOutcome::Waiting);
            }
            Stage::Load => return self.load(order),
            Stage::Distribute(slot) => self.distribute(slot, order)?,
            Stage::Finish(new) => return Ok(self.finish(new, order)),
            Stage::Sync => {
                self.next.push_back(DirectoryTask::Publish(self.new));
                self.stage = Stage::Publish;
            }
            Stage::Publish => {
                self.remove(vec![self.old.generation]);
                self.stage = Stage::Remove;
            }
            Stage::Remove => self.stage = Stage::Done,
            Stage::Done => return Ok(StepOutcome::Done),
        }
        Ok(StepOutcome::Going)
    }

    /// Takes the completion of a task of the slice at `place`.
    pub fn done(&mut self, place: Place, done: Done) {
        self.outstanding =
            self.outstanding.checked_sub(1).expect("every completion answers an order");
        let slice = place.slice;
        if place.generation == self.old.generation {
            let old = self.old_slices.iter_mut().find(|old| old.place.slice == slice);
            return old
                .expect("a task belongs to an old slice that is not yet distributed")
                .recovery
                .done(done);
        }
        let new = &mut self.new_slices[slice as usize];
        match done {
            Done::Published { ok: true } => {
                assert!(
                    new.stage == NewStage::Finished && new.writer.is_synced(),
                    "a snapshot is named only once it is on stable storage"
                );
                new.stage = NewStage::Published;
            }
            done => new.writer.done(done),
        }
    }

    /// Takes the completion of a step on the data directory.
    pub fn directory_done(&mut self) {
        self.outstanding =
            self.outstanding.checked_sub(1).expect("every completion answers an order");
    }

    /// Progress in bytes: done and total, while there are two generations.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let old =
            || self.old_slices.front().expect("a slice is loaded while its users are distributed");
        // Half of a slice's bytes count when it is loaded, half when it is written.
        let bytes = match self.stage {
            Stage::Measure(_) | Stage::Clean | Stage::Make | Stage::Done => return None,
            Stage::Load => self.old_slices.front().map_or(0, |old| old.recovery.report().bytes / 2),
            Stage::Distribute(slot) => {
                let half = old().bytes_total() / 2;
                half + half * slot as u64 / self.slice.book().users().max(1) as u64
            }
            Stage::Finish(_) | Stage::Sync | Stage::Publish | Stage::Remove => 0,
        };
        Some((self.finished_bytes + bytes, self.bytes))
    }

    /// Whether the new generation counts; then it is too late to stop.
    pub const fn is_published(&self) -> bool {
        matches!(self.stage, Stage::Remove | Stage::Done)
    }

    /// Old slices that are not yet distributed; the memory of the others is free.
    pub fn old_slices_left(&self) -> usize {
        self.old_slices.len()
    }

    /// Removes generations, after the manifest's name is on stable storage. A second sync makes the
    /// removal permanent before another generation may reuse a name.
    fn remove(&mut self, generations: Vec<u64>) {
        self.next.push_back(DirectoryTask::Sync(None));
        self.next.extend(generations.into_iter().map(DirectoryTask::Remove));
        self.next.push_back(DirectoryTask::Sync(None));
    }

    /// Checks that the files of all old slices exist, before anything is removed: otherwise the
    /// unnamed generations may be all that is left.
    fn measure(&mut self, old: usize, order: &mut impl FnMut(Order)) -> Result<StepOutcome, Error> {
        let Some(OldSlice { place, recovery }) = self.old_slices.get_mut(old) else {
            let unnamed = std::mem::take(&mut self.unnamed);
            if !unnamed.is_empty() {
                self.remove(unnamed);
            }
            self.bytes = self.old_slices.iter().map(OldSlice::bytes_total).sum();
            self.stage = Stage::Clean;
            return Ok(StepOutcome::Going);
        };
        if recovery.is_measured() {
            self.stage = Stage::Measure(old + 1);
            return Ok(StepOutcome::Going);
        }
        let (place, outstanding) = (*place, &mut self.outstanding);
        let mut ask = |task| {
            *outstanding += 1;
            order(Order::Slice(place, task));
        };
        recovery.advance(&mut self.slice, &mut ask).map_err(|fault| Error(place, fault))
    }

    /// Begins the snapshots of the new generation.
    fn make(&mut self, order: &mut impl FnMut(Order)) {
        for slice in 0..self.new.slices {
            let place = Place { generation: self.new.generation, slice, file: SNAPSHOT };
            let outstanding = &mut self.outstanding;
            let writer = Writer::begin(place, SEGMENT, &mut |task| {
                *outstanding += 1;
                order(Order::Slice(place, task));
            });
            let names = Names::new(self.secret);
            self.new_slices.push(NewSlice { place, writer, names, stage: NewStage::Filling });
        }
    }

    /// Loads the next old slice.
    fn load(&mut self, order: &mut impl FnMut(Order)) -> Result<StepOutcome, Error> {
        let Some(OldSlice { place, recovery }) = self.old_slices.front_mut() else {
            let written =
                self.new_slices.iter().map(|new| (new.writer.users(), new.writer.entries()));
            let written =
                written.fold((0, 0), |sum, (users, entries)| (sum.0 + users, sum.1 + entries));
            assert!(
                written == self.distributed,
                "every user was written once: {written:?} of {:?}",
                self.distributed
            );
            self.stage = Stage::Finish(0);
            return Ok(StepOutcome::Going);
        };
        let (place, outstanding) = (*place, &mut self.outstanding);
        let outcome = recovery.advance(&mut self.slice, &mut |task| {
            *outstanding += 1;
            order(Order::Slice(place, task));
        });
        let outcome = outcome.map_err(|fault| Error(place, fault))?;
        if outcome != StepOutcome::Done {
            return Ok(outcome);
        }
        self.stage = Stage::Distribute(0);
        Ok(StepOutcome::Going)
    }

    /// Distributes some users, from `from` on, to the new slices.
    fn distribute(&mut self, from: usize, order: &mut impl FnMut(Order)) -> Result<(), Error> {
        let book = self.slice.book();
        let to = book.users().min(from + USERS_PER_STEP);
        for slot in from..to {
            for (ahead, step) in [
                (PREFETCH_USERS, PrefetchStep::Sections),
                (PREFETCH_USERS / 2, PrefetchStep::RareState),
            ] {
                if slot + ahead < book.users() {
                    book.prefetch_slot((slot + ahead) as UserSlot, step);
                }
            }
            let (id, user) = (book.id(slot as UserSlot), book.user(slot as UserSlot));
            let NewSlice { place, writer, names, .. } =
                &mut self.new_slices[id.slice(self.new.slices) as usize];
            let outstanding = &mut self.outstanding;
            writer.add_from((id, user), book.names(), names, &mut |task| {
                *outstanding += 1;
                order(Order::Slice(*place, task));
            });
        }
        if to < book.users() {
            self.stage = Stage::Distribute(to);
            return Ok(());
        }
        self.distributed.0 += book.users() as u64;
        self.distributed.1 += book.entries();
        self.slice = Slice::new(usize::MAX, self.secret);
        self.finished_bytes +=
            self.old_slices.pop_front().expect("the loaded slice is the first").bytes_total();
        self.stage = Stage::Load;
        Ok(())
    }

    /// Brings a new slice to stable storage and publishes its manifest. There is no log yet, so the
    /// snapshot's log position is 0.
    fn finish(&mut self, new: usize, order: &mut impl FnMut(Order)) -> StepOutcome {
        let Some(NewSlice { place, writer, names, stage, .. }) = self.new_slices.get_mut(new)
        else {
            self.next.push_back(DirectoryTask::Sync(Some(self.new.generation)));
            self.stage = Stage::Sync;
            return StepOutcome::Waiting;
        };
        let (place, outstanding) = (*place, &mut self.outstanding);
        let mut ask = |task| {
            *outstanding += 1;
            order(Order::Slice(place, task));
        };
        match stage {
            NewStage::Filling => {
                writer.finish(names, 0, &mut ask);
                *stage = NewStage::Finished;
                StepOutcome::Waiting
            }
            NewStage::Finished => {
                let manifest = writer.manifest(manifest::SliceManifest::default());
                ask(Task::Publish { text: manifest.write(place) });
                StepOutcome::Waiting
            }
            NewStage::Published => {
                self.stage = Stage::Finish(new + 1);
                StepOutcome::Going
            }
        }
    }
}
