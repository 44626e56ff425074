//! Another number of slices: all users are written once more, into a new generation, before a
//! start.
//!
//! A state machine without a disk. [`Repartition::advance`] takes a bounded step and says what is
//! to be done: tasks of a slice, which are done in the order in which they are asked, and steps
//! with the data directory. The engine does them with files, a simulation with faults.
//!
//! 1. What an attempt before this one left is removed.
//! 2. Each slice of the old generation is recovered as a start recovers it, one after the other,
//!    and nothing of it is changed. Its users go to the snapshots of the new slices, all of which
//!    are open meanwhile; then it is dropped. So the memory that this takes is that of the largest
//!    old slice, and some blocks for each new one.
//! 3. The new generation is brought to stable storage, then the directory's manifest names it: that
//!    is the moment of the change.
//! 4. The old generation is removed.
//!
//! ```text
//! Measure ─▶ Clean ─▶ Make ─▶ Load ─▶ Deal ─▶ Finish ─▶ Sync ─▶ Publish ─▶ Remove ─▶ Done
//!               │               ▲        │
//!               │               └────────┘ the next old slice
//!               └─ the number stays ──────────────────────────────────────────────▶ Done
//! ```
//!
//! Killed in 2 or before, the old generation counts, and whatever there is of the new one is
//! removed by the next start; killed later, the new one counts, and the old one is removed.
//! Progress is in bytes of the old files.

use super::disk::{Done, Task};
use super::offline::Writer;
use super::recovery::Recovery;
use super::{Headway, Slice};
use crate::journal::manifest::{self, Directory};
use crate::journal::{Fault, Place};
use crate::ledger::id::UserId;
use crate::ledger::index::{HashOccupancy, Slot};
use crate::ledger::memory::Step;
use crate::ledger::names::Names;
use std::collections::VecDeque;

/// Users that are dealt in one step.
const USERS_PER_STEP: usize = 1_024;
/// Prefetch distance, in users: a user's parts; what hangs on these, half of it.
const AHEAD: usize = 8;
/// The number of each new slice's snapshot.
const SNAPSHOT: u64 = 1;
/// The segment from which the log is replayed over it: the first, once there is one.
const SEGMENT: u64 = 1;

/// Something to be done.
#[derive(Debug)]
pub enum Order {
    /// A task of the slice at this place, whose file is not looked at.
    Slice(Place, Task),
    /// A step with the data directory.
    Directory(DirectoryTask),
}

/// A step with the data directory. A failed one ends the attempt: it is never reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryTask {
    /// Make the directory of a generation, and those of its slices in it.
    Make(Directory),
    /// Bring the names in this generation's directory to stable storage, if one is given; then
    /// those in the data directory.
    Sync(Option<u64>),
    /// Replace the manifest, so that after a crash at any time there is either the old or the new
    /// one, and when it is done the new one.
    Publish(Directory),
    /// Remove a generation, with all that is in it.
    Remove(u64),
}

/// Why the number of slices cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something in an old slice is not as it should be.
    Fault(Place, Fault),
    /// A new slice has no room for a user: their id was chosen to share its hash with others.
    NoRoom(Place, UserId),
}

/// A change of the number of slices.
#[derive(Debug)]
pub struct Repartition {
    old: Directory,
    new: Directory,
    stage: Stage,
    /// Generations that an attempt before this one left.
    unnamed: Vec<u64>,
    /// Those whose users are not dealt yet; the first is at hand.
    olds: VecDeque<Old>,
    /// The users of the old slice at hand.
    slice: Slice,
    news: Vec<New>,
    /// Steps to be taken one after the other before anything else.
    next: VecDeque<DirectoryTask>,
    /// What was asked for and is not done.
    owed: usize,
    /// Bytes of the old slices that are done, and of all.
    passed: u64,
    bytes: u64,
    /// Users and entries that were dealt.
    dealt: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The files of this old slice are measured.
    Measure(usize),
    Clean,
    Make,
    Load,
    /// The users from this one on are to be dealt.
    Deal(usize),
    /// This new slice is brought to stable storage.
    Finish(usize),
    Sync,
    Publish,
    Remove,
    Done,
}

/// A slice of the old generation.
#[derive(Debug)]
struct Old {
    place: Place,
    recovery: Recovery,
}

impl Old {
    fn bytes_total(&self) -> u64 {
        self.recovery.report().bytes_total
    }
}

/// A slice of the new generation.
#[derive(Debug)]
struct New {
    place: Place,
    writer: Writer,
    names: Names,
    /// For those who can be found there.
    occupancy: HashOccupancy,
    stage: NewStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewStage {
    Filling,
    Finished,
    Named,
}

impl Repartition {
    /// Gives the slices that `old` names, each with its manifest, the number of `new`; if it is the
    /// same manifest, only `unnamed` generations are removed. `new` is the next generation.
    pub fn new(
        old: Directory,
        new: Directory,
        manifests: Vec<manifest::Slice>,
        unnamed: Vec<u64>,
    ) -> Self {
        assert!(new.slices > 0, "each user has a slice");
        assert!(
            new == old || new.generation == old.generation + 1,
            "the next generation has the next number"
        );
        assert!(manifests.len() == old.slices as usize, "each old slice has its manifest");
        let olds = manifests.into_iter().zip(0..).map(|(manifest, slice)| {
            let place = Place { generation: old.generation, slice, file: 0 };
            Old { place, recovery: Recovery::new(place, old.slices, manifest) }
        });
        Self {
            old,
            new,
            stage: Stage::Measure(0),
            unnamed,
            olds: olds.collect(),
            slice: Slice::new(usize::MAX),
            news: Vec::new(),
            next: VecDeque::new(),
            owed: 0,
            passed: 0,
            bytes: 0,
            dealt: (0, 0),
        }
    }

    /// Takes at most one step, and says what is to be done for it. After [`Headway::Going`] it may
    /// be stopped for good, by being dropped: until it [is published](Self::is_published) the old
    /// generation is as it was.
    pub fn advance(&mut self, order: &mut impl FnMut(Order)) -> Result<Headway, Error> {
        match self.stage {
            // Reads go on while others are on their way.
            Stage::Measure(_) | Stage::Load => {}
            _ if self.owed > 0 => return Ok(Headway::Waiting),
            _ => {}
        }
        if let Some(task) = self.next.pop_front() {
            self.owed += 1;
            order(Order::Directory(task));
            return Ok(Headway::Waiting);
        }
        match self.stage {
            Stage::Measure(old) => return self.measure(old, order),
            Stage::Clean if self.new == self.old => self.stage = Stage::Done,
            Stage::Clean => {
                self.next.push_back(DirectoryTask::Make(self.new));
                self.stage = Stage::Make;
                return Ok(Headway::Waiting);
            }
            Stage::Make => {
                self.make(order);
                self.stage = Stage::Load;
                return Ok(Headway::Waiting);
            }
            Stage::Load => return self.load(order),
            Stage::Deal(slot) => self.deal(slot, order)?,
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
            Stage::Done => return Ok(Headway::Done),
        }
        Ok(Headway::Going)
    }

    /// Hears what was done for the slice at `place`.
    pub fn done(&mut self, place: Place, done: Done) {
        self.owed = self.owed.checked_sub(1).expect("only what was asked for is done");
        let slice = place.slice;
        if place.generation == self.old.generation {
            let old = self.olds.iter_mut().find(|old| old.place.slice == slice);
            return old.expect("it is not dealt yet").recovery.done(done);
        }
        let new = &mut self.news[slice as usize];
        match done {
            Done::Published => {
                assert!(
                    new.stage == NewStage::Finished && new.writer.is_synced(),
                    "it was brought there before"
                );
                new.stage = NewStage::Named;
            }
            done => new.writer.done(done),
        }
    }

    /// The step with the data directory that was asked for is done.
    pub fn directory_done(&mut self) {
        self.owed = self.owed.checked_sub(1).expect("only what was asked for is done");
    }

    /// How far it has come, in bytes of so many, while there are two generations.
    pub fn progress(&self) -> Option<(u64, u64)> {
        let old = || self.olds.front().expect("one is at hand");
        // The first half is passed when a slice is loaded, the second when it is written.
        let bytes = match self.stage {
            Stage::Measure(_) | Stage::Clean | Stage::Make | Stage::Done => return None,
            Stage::Load => self.olds.front().map_or(0, |old| old.recovery.report().bytes / 2),
            Stage::Deal(slot) => {
                let half = old().bytes_total() / 2;
                half + half * slot as u64 / self.slice.book().users().max(1) as u64
            }
            Stage::Finish(_) | Stage::Sync | Stage::Publish | Stage::Remove => 0,
        };
        Some((self.passed + bytes, self.bytes))
    }

    /// Whether the new generation counts: it is too late to stop.
    pub const fn is_published(&self) -> bool {
        matches!(self.stage, Stage::Remove | Stage::Done)
    }

    /// Old slices that are still to be dealt; the memory of the others is free.
    pub fn olds_left(&self) -> usize {
        self.olds.len()
    }

    /// What is named is on stable storage, then the generations go, for good before there may be
    /// others of the same name.
    fn remove(&mut self, generations: Vec<u64>) {
        self.next.push_back(DirectoryTask::Sync(None));
        self.next.extend(generations.into_iter().map(DirectoryTask::Remove));
        self.next.push_back(DirectoryTask::Sync(None));
    }

    /// Looks that the files of all old slices are there: else what is unnamed may be all that is
    /// left.
    fn measure(&mut self, old: usize, order: &mut impl FnMut(Order)) -> Result<Headway, Error> {
        let Some(Old { place, recovery }) = self.olds.get_mut(old) else {
            let unnamed = std::mem::take(&mut self.unnamed);
            if !unnamed.is_empty() {
                self.remove(unnamed);
            }
            self.bytes = self.olds.iter().map(Old::bytes_total).sum();
            self.stage = Stage::Clean;
            return Ok(Headway::Going);
        };
        if recovery.is_measured() {
            self.stage = Stage::Measure(old + 1);
            return Ok(Headway::Going);
        }
        let (place, owed) = (*place, &mut self.owed);
        let mut ask = |task| {
            *owed += 1;
            order(Order::Slice(place, task));
        };
        recovery.advance(&mut self.slice, &mut ask).map_err(|fault| Error::Fault(place, fault))
    }

    /// Begins the snapshots of the new generation.
    fn make(&mut self, order: &mut impl FnMut(Order)) {
        for slice in 0..self.new.slices {
            let place = Place { generation: self.new.generation, slice, file: SNAPSHOT };
            let owed = &mut self.owed;
            let writer = Writer::begin(place, SEGMENT, &mut |task| {
                *owed += 1;
                order(Order::Slice(place, task));
            });
            let (names, occupancy) = (Names::default(), HashOccupancy::default());
            self.news.push(New { place, writer, names, occupancy, stage: NewStage::Filling });
        }
    }

    /// Loads the next old slice.
    fn load(&mut self, order: &mut impl FnMut(Order)) -> Result<Headway, Error> {
        let Some(Old { place, recovery }) = self.olds.front_mut() else {
            let written = self.news.iter().map(|new| (new.writer.users(), new.writer.entries()));
            let written =
                written.fold((0, 0), |sum, (users, entries)| (sum.0 + users, sum.1 + entries));
            assert!(
                written == self.dealt,
                "every user was written once: {written:?} of {:?}",
                self.dealt
            );
            self.stage = Stage::Finish(0);
            return Ok(Headway::Going);
        };
        let (place, owed) = (*place, &mut self.owed);
        let headway = recovery.advance(&mut self.slice, &mut |task| {
            *owed += 1;
            order(Order::Slice(place, task));
        });
        let headway = headway.map_err(|fault| Error::Fault(place, fault))?;
        if headway != Headway::Done {
            return Ok(headway);
        }
        self.stage = Stage::Deal(0);
        Ok(Headway::Going)
    }

    /// Deals some users, from this one on, out to the new slices.
    fn deal(&mut self, from: usize, order: &mut impl FnMut(Order)) -> Result<(), Error> {
        let book = self.slice.book();
        let to = book.users().min(from + USERS_PER_STEP);
        for slot in from..to {
            for (ahead, step) in [(AHEAD, Step::Sections), (AHEAD / 2, Step::Deep)] {
                if slot + ahead < book.users() {
                    book.prefetch_slot((slot + ahead) as Slot, step);
                }
            }
            let user = book.user(slot as Slot);
            let New { place, writer, names, occupancy, .. } =
                &mut self.news[user.id().slice(self.new.slices) as usize];
            if !occupancy.take(user.id()) {
                return Err(Error::NoRoom(*place, user.id()));
            }
            let owed = &mut self.owed;
            writer.add_from(user, book.names(), names, &mut |task| {
                *owed += 1;
                order(Order::Slice(*place, task));
            });
        }
        if to < book.users() {
            self.stage = Stage::Deal(to);
            return Ok(());
        }
        self.dealt.0 += book.users() as u64;
        self.dealt.1 += book.entries();
        self.slice = Slice::new(usize::MAX);
        self.passed += self.olds.pop_front().expect("it was at hand").bytes_total();
        self.stage = Stage::Load;
        Ok(())
    }

    /// Brings a new slice to stable storage, and names its snapshot. There is no log, so the
    /// snapshot needs none.
    fn finish(&mut self, new: usize, order: &mut impl FnMut(Order)) -> Headway {
        let Some(New { place, writer, names, stage, .. }) = self.news.get_mut(new) else {
            self.next.push_back(DirectoryTask::Sync(Some(self.new.generation)));
            self.stage = Stage::Sync;
            return Headway::Waiting;
        };
        let (place, owed) = (*place, &mut self.owed);
        let mut ask = |task| {
            *owed += 1;
            order(Order::Slice(place, task));
        };
        match stage {
            NewStage::Filling => {
                writer.finish(names, 0, &mut ask);
                *stage = NewStage::Finished;
                Headway::Waiting
            }
            NewStage::Finished => {
                let manifest = writer.manifest(manifest::Slice::default());
                ask(Task::Publish { text: manifest.write(place) });
                Headway::Waiting
            }
            NewStage::Named => {
                self.stage = Stage::Finish(new + 1);
                Headway::Going
            }
        }
    }
}
