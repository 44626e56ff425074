//! Simulated repartition, on a file system with crashes in the middle of any step.
//!
//! One seed is one directory: it is fed, then its number of slices is changed several times. Each
//! attempt may end with a kill or a power cut. After each, the generation that the manifest names
//! must have every user unchanged: the old generation or the complete new one. `PURSER_SEED=n`
//! repeats one seed.

use super::counts::Counts;
use super::disk::Crash;
use super::random::Random;
use super::tree::{Crashed, Tree};
use crate::offline::{Figures, Reference};
use crate::seeds::number;
use purser::engine::directory::{LOCK, MANIFEST};
use purser::journal::{
    File, Place, generation_directory, manifest, parse_generation, slice_directory,
};
use purser::ledger::amount::{Amount, Currency, Direction};
use purser::ledger::entry::{Action, EntryRef, Movement};
use purser::ledger::id::EntryId;
use purser::ledger::secret::Secret;
use purser::ledger::time::Millis;
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::Recovery;
use purser::slice::repartition::{DirectoryTask, Error, Order, Repartition};
use purser::slice::snapshot::ReadLoad;
use purser::slice::source::{self, Source};
use purser::slice::store::{Recovered, Settings, Store, TurnInput};
use purser::slice::{LogSink, Lsn, Slice, StepOutcome};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds of a test run.
const SEEDS: u64 = 100;
/// Most seeds until a planted bug shows.
const BUG_SEEDS: u64 = 400;
const NOW: u64 = 1_700_000_000_000;
const KINDS: [&str; 5] = ["topup", "gift", "fee", "refund", "prize"];
const SEGMENTS: Segments = Segments { first_bytes: 56 << 10, largest_bytes: 112 << 10 };
/// Attempts at a change that may crash; later ones run without a crash.
const ATTEMPTS: usize = 6;

/// A bug to plant in the code that does the repartition's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The manifest names the new generation before its snapshots are durable.
    SnapshotsNotSynced,
    /// The manifest names the new generation before its slices' directory entries are durable.
    GenerationNotSynced,
    /// The old generation is removed before the manifest without it is durable.
    RemovedEarly,
    /// Leftovers of an earlier attempt are removed while the manifest that was read may be lost.
    RecoveredNotSynced,
}

/// Each bug with a text of the failure that shows it.
const BUGS: [(Bug, &str); 4] = [
    (Bug::SnapshotsNotSynced, "snapshot-1 at byte"),
    (Bug::GenerationNotSynced, "/manifest is missing"),
    (Bug::RemovedEarly, "/manifest is missing"),
    (Bug::RecoveredNotSynced, "/manifest is missing"),
];

/// Least counts for all seeds of a test run.
const MET: [(&str, u64); 7] = [
    ("attempts", 1_500),
    ("kills", 300),
    ("power cuts", 300),
    ("unfinished generations", 300),
    ("generations replaced and not removed", 100),
    ("records replayed", 100_000),
    ("users", 200_000),
];

/// Reason for an attempt to end.
enum Stop {
    Crashed,
    Wrong(String),
}

impl From<Crashed> for Stop {
    fn from(_: Crashed) -> Self {
        Self::Crashed
    }
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

struct World {
    tree: Tree,
    random: Random,
    bug: Option<Bug>,
    reference: Reference,
    /// Expected figures of all users.
    figures: Figures,
    entries: u128,
    counts: Counts,
}

impl World {
    fn run(seed: u64, bug: Option<Bug>) -> Result<Counts, String> {
        let (random, reference) = (Random(seed), Reference::new());
        let tree = Tree::new(Random(!seed));
        let figures = reference.figures();
        let mut world =
            Self { tree, random, bug, reference, figures, entries: 0, counts: Counts::default() };
        world.begin();
        for life in 0..3 {
            world.live().map_err(|what| format!("life {life}: {what}"))?;
            for _ in 0..world.random.between(1, 2) {
                let slices = world.random.pick(&[1, 2, 3, 5]);
                world
                    .change_to(slices)
                    .map_err(|what| format!("after life {life}, to {slices} slices: {what}"))?;
            }
        }
        Ok(world.counts)
    }

    /// Creates an empty data directory.
    fn begin(&mut self) {
        let slices = self.random.pick(&[1, 2, 3]);
        let first = manifest::DataManifest { generation: 1, slices };
        let made = self.make(first).and_then(|()| {
            for slice in 0..slices {
                let place = Place { generation: 1, slice, file: 0 };
                self.replace(&directory(place), &manifest::SliceManifest::default().write(place))?;
            }
            self.tree.sync(&generation_directory(1))?;
            self.replace("", &first.write())
        });
        made.expect("no crash is planned");
    }

    // One run of a process: all slices are recovered and fed.

    fn live(&mut self) -> Result<(), String> {
        let named = self.named()?;
        let mut nodes = Vec::new();
        for slice in 0..named.slices {
            let (mut machine, found) = self.recover(named, slice)?;
            let place = Place { generation: named.generation, slice, file: 0 };
            let settings = Settings { place, snapshot_after_bytes: 24 << 10, segments: SEGMENTS };
            machine.recovered(Lsn(found.tail.position));
            nodes.push((place, machine, Store::new(settings, found)));
        }
        let (users, mut now_ms) = (self.random.pick(&[3, 40, 300]), 0);
        for _ in 0..self.random.below(900) {
            self.entries += 1;
            let entry = self.entry(users);
            let (place, slice, store) = &mut nodes[entry.user.slice(named.slices) as usize];
            if store.is_throttled() || !store.has_space() {
                settle(&mut self.tree, &mut now_ms, *place, slice, store);
            }
            let (_, verdict) = slice.apply(Millis(NOW), &entry, store);
            assert_eq!(verdict, self.reference.apply(NOW, &entry), "{entry:?}");
        }
        nodes.iter_mut().for_each(|(place, slice, store)| {
            settle(&mut self.tree, &mut now_ms, *place, slice, store);
        });
        self.figures = self.reference.figures();
        let crash = self.crash();
        self.tree.crash(crash);
        self.check("fed")
    }

    fn entry(&mut self, users: u64) -> EntryRef<'static> {
        let movement = Movement {
            currency: Currency::parse(b"COIN").expect("it is a valid currency"),
            kind: self.random.pick(&KINDS),
            direction: Direction::Credit,
            amount: Amount::new(self.random.between(1, 1_000) as i64).expect("it is not negative"),
        };
        let action = if self.random.in_thousand(100) {
            Action::Hold(movement)
        } else {
            Action::Post(movement)
        };
        let user = crate::users::id(self.random.below(users) * 7 + 1);
        EntryRef {
            id: EntryId(self.entries),
            user,
            at: Millis(NOW - self.random.below(3_600_000)),
            late_accepted: false,
            action,
        }
    }

    fn crash(&mut self) -> Crash {
        let crash = self.random.pick(&[Crash::Kill, Crash::Power]);
        self.counts.add(if crash == Crash::Kill { "kills" } else { "power cuts" }, 1);
        crash
    }

    // A start with another number of slices.

    /// Attempts a change until one succeeds.
    fn change_to(&mut self, slices: u32) -> Result<(), String> {
        for attempt in 0.. {
            let slices = if attempt < ATTEMPTS {
                self.random.pick(&[slices, slices, 1, 2, 3, 5])
            } else {
                slices
            };
            let before = self.named()?;
            let most = u64::from(20 + 20 * slices + 8 * before.slices);
            self.tree.left = (attempt < ATTEMPTS).then(|| self.random.below(most));
            self.counts.add("attempts", 1);
            match self.attempt(slices) {
                Ok(()) if self.named()?.slices == slices && attempt >= ATTEMPTS => break,
                Ok(()) => self.tree.left = None,
                Err(Stop::Wrong(what)) => return Err(what),
                Err(Stop::Crashed) => {
                    let generations = self.generations();
                    let is_named = self.named()? == before;
                    let is_new =
                        generations.iter().any(|&generation| generation > before.generation);
                    let is_old = generations.contains(&before.generation);
                    self.counts.add("unfinished generations", u64::from(is_named && is_new));
                    self.counts.add(
                        "generations replaced and not removed",
                        u64::from(!is_named && is_old),
                    );
                    let crash = self.crash();
                    self.tree.crash(crash);
                }
            }
            self.check("changed")?;
        }
        self.check("in the end")?;
        let named = self.named()?.generation;
        if self.generations() == [named] {
            Ok(())
        } else {
            Err(format!("there is more than generation {named}"))
        }
    }

    fn attempt(&mut self, slices: u32) -> Result<(), Stop> {
        let old = self.named()?;
        let unnamed = self.unnamed(old)?;
        let new = if old.slices == slices {
            old
        } else {
            manifest::DataManifest { generation: old.generation + 1, slices }
        };
        if new == old && unnamed.is_empty() {
            return Ok(());
        }
        let manifests = (0..old.slices)
            .map(|slice| self.manifest(old, slice))
            .collect::<Result<Vec<_>, _>>()?;
        let mut machine = Repartition::new(old, new, manifests, unnamed, Secret::default());
        loop {
            let mut orders = Vec::new();
            let outcome = machine
                .advance(&mut |order| orders.push(order))
                .map_err(|Error(place, fault)| format!("slice {} refuses: {fault}", place.slice))?;
            for order in orders {
                match order {
                    Order::Slice(place, task) => {
                        let done = self.work(place, task)?;
                        machine.done(place, done);
                    }
                    Order::Directory(task) => {
                        self.directory_work(task)?;
                        machine.directory_done();
                    }
                }
            }
            if outcome == StepOutcome::Done {
                assert!(machine.is_published());
                return Ok(());
            }
        }
    }

    fn work(&mut self, place: Place, task: Task) -> Result<Done, Crashed> {
        let path = |file: File| format!("{}/{file}", directory(place));
        Ok(match task {
            Task::Create { snapshot } => {
                self.tree.create(&path(File::Snapshot(snapshot)))?;
                Done::Created { snapshot, buffers: Some(Vec::new()) }
            }
            Task::Sync { snapshot } => {
                if self.bug != Some(Bug::SnapshotsNotSynced) {
                    self.tree.sync(&path(File::Snapshot(snapshot)))?;
                }
                self.tree.sync(&directory(place))?;
                Done::Synced { snapshot, ok: true }
            }
            Task::Write { file, offset, block } => {
                self.tree.write(&path(file), offset as usize, block.bytes())?;
                Done::Written { file, block, ok: true }
            }
            Task::Publish { text } => {
                self.replace(&directory(place), &text)?;
                Done::Published { ok: true }
            }
            task => read(&mut Files { tree: &self.tree, place }, task),
        })
    }

    fn directory_work(&mut self, task: DirectoryTask) -> Result<(), Crashed> {
        match task {
            DirectoryTask::Make(manifest) => self.make(manifest),
            DirectoryTask::Sync(Some(_)) if self.bug == Some(Bug::GenerationNotSynced) => {
                self.tree.sync("")
            }
            DirectoryTask::Sync(Some(generation)) => {
                self.tree.sync(&generation_directory(generation))?;
                self.tree.sync("")
            }
            DirectoryTask::Sync(None) if self.bug == Some(Bug::RecoveredNotSynced) => Ok(()),
            DirectoryTask::Sync(None) if self.bug == Some(Bug::RemovedEarly) => Ok(()),
            DirectoryTask::Sync(None) => self.tree.sync(""),
            DirectoryTask::Publish(manifest) => self.replace("", &manifest.write()),
            DirectoryTask::Remove(generation) => {
                self.tree.remove(&generation_directory(generation))
            }
        }
    }

    fn make(&mut self, manifest: manifest::DataManifest) -> Result<(), Crashed> {
        self.tree.make_directory(&generation_directory(manifest.generation))?;
        (0..manifest.slices).try_for_each(|slice| {
            self.tree.make_directory(&slice_directory(manifest.generation, slice))
        })
    }

    /// Replaces the manifest in a directory.
    fn replace(&mut self, directory: &str, text: &str) -> Result<(), Crashed> {
        let is_ours = directory.is_empty();
        let new =
            if is_ours { "manifest.new".to_owned() } else { format!("{directory}/manifest.new") };
        self.tree.create(&new)?;
        self.tree.write(&new, 0, text.as_bytes())?;
        self.tree.sync(&new)?;
        self.tree.rename(directory, "manifest.new", MANIFEST)?;
        if is_ours && self.bug == Some(Bug::RemovedEarly) && self.tree.left.is_some() {
            return Ok(());
        }
        self.tree.sync(directory)
    }

    // Reading the directory.

    fn named(&self) -> Result<manifest::DataManifest, String> {
        let text = self.tree.read(MANIFEST).ok_or("the directory's manifest is missing")?;
        manifest::DataManifest::decode(&text)
            .map_err(|why| format!("the directory's manifest is unusable: {why:?}"))
    }

    fn generations(&self) -> Vec<u64> {
        let known = |name: &str| [LOCK, MANIFEST, "manifest.new"].contains(&name);
        let names = self.tree.names("").into_iter().filter(|(name, _)| !known(name));
        names
            .map(|(name, _)| parse_generation(&name).expect("there are no other directories"))
            .collect()
    }

    fn unnamed(&self, named: manifest::DataManifest) -> Result<Vec<u64>, String> {
        let mut unnamed = Vec::new();
        for generation in self.generations() {
            let below = generation_directory(generation);
            let has_log = self.tree.names(&below).iter().any(|(slice, _)| {
                let files = self.tree.names(&format!("{below}/{slice}"));
                files.iter().any(|(name, _)| matches!(File::parse(name), Some(File::Segment(_))))
            });
            if !named.names(generation, has_log).map_err(|why| format!("refused: {why:?}"))? {
                unnamed.push(generation);
            }
        }
        Ok(unnamed)
    }

    fn manifest(
        &self,
        named: manifest::DataManifest,
        slice: u32,
    ) -> Result<manifest::SliceManifest, String> {
        let place = Place { generation: named.generation, slice, file: 0 };
        let path = format!("{}/{MANIFEST}", directory(place));
        let text = self.tree.read(&path).ok_or_else(|| format!("{path} is missing"))?;
        manifest::SliceManifest::decode(&text, place)
            .map_err(|why| format!("{path} is unusable: {why:?}"))
    }

    fn recover(
        &mut self,
        named: manifest::DataManifest,
        slice: u32,
    ) -> Result<(Slice, Recovered), String> {
        let place = Place { generation: named.generation, slice, file: 0 };
        let mut recovery = Recovery::new(place, named.slices, self.manifest(named, slice)?);
        let (mut machine, mut files) =
            (Slice::new(usize::MAX, Secret::default()), Files { tree: &self.tree, place });
        while !source::step(&mut recovery, &mut machine, &mut files).map_err(
            |error| match error {
                source::Error::Disk(never) => match never {},
                source::Error::Fault(fault) => format!("{}: {fault}", directory(place)),
            },
        )? {}
        self.counts.add("records replayed", recovery.report().replayed);
        Ok((machine, recovery.finish()))
    }

    /// Checks that every user is there exactly once and unchanged.
    fn check(&mut self, when: &str) -> Result<(), String> {
        let named = self.named().map_err(|what| format!("{when}: {what}"))?;
        let slices = (0..named.slices)
            .map(|slice| Ok(self.recover(named, slice)?.0))
            .collect::<Result<Vec<_>, _>>();
        let slices = slices.map_err(|what: String| format!("{when}: {what}"))?;
        self.counts.add("users", slices.iter().map(|slice| slice.book().users() as u64).sum());
        self.figures.assert_same(&Figures::of(slices.iter()), when);
        Ok(())
    }
}

fn directory(place: Place) -> String {
    slice_directory(place.generation, place.slice)
}

/// Executes a store's tasks immediately until there are none.
fn settle(tree: &mut Tree, now_ms: &mut u64, place: Place, slice: &mut Slice, store: &mut Store) {
    let mut asked = VecDeque::new();
    loop {
        *now_ms += 1_000;
        let now_ms = *now_ms;
        let turn = TurnInput { now_ms, read_load: ReadLoad::NoReads, is_log_awaited: true };
        store.advance(turn, slice, &mut |task| asked.push_back(task));
        let Some(task) = asked.pop_front() else { break };
        let Some(done) = kept(tree, place, task).expect("no crash is planned") else { continue };
        if let Some(lsn) = store.done(now_ms, done, &mut |task| asked.push_back(task)) {
            slice.durable(lsn);
        }
    }
    assert!(store.is_durable(), "a store is durable once all its tasks are done");
}

/// Does a store's task.
fn kept(tree: &mut Tree, place: Place, task: Task) -> Result<Option<Done>, Crashed> {
    let directory = directory(place);
    let path = |file: File| format!("{directory}/{file}");
    Ok(Some(match task {
        Task::Write { file, offset, block } => {
            tree.write(&path(file), offset as usize, block.bytes())?;
            if matches!(file, File::Segment(_)) {
                tree.sync(&path(file))?;
            }
            Done::Written { file, block, ok: true }
        }
        Task::Prepare { segment, bytes, from } => {
            let file = File::Segment(segment);
            match from {
                Some(from) => {
                    tree.rename(&directory, &File::Segment(from).to_string(), &file.to_string())?;
                }
                None => {
                    tree.create(&path(file))?;
                    tree.write(&path(file), 0, &vec![0; bytes as usize])?;
                    tree.sync(&path(file))?;
                }
            }
            tree.sync(&directory)?;
            Done::Prepared { segment, salt: Some(segment) }
        }
        Task::Create { snapshot } => {
            tree.create(&path(File::Snapshot(snapshot)))?;
            Done::Created { snapshot, buffers: Some(Vec::new()) }
        }
        Task::Sync { snapshot } => {
            tree.sync(&path(File::Snapshot(snapshot)))?;
            tree.sync(&directory)?;
            Done::Synced { snapshot, ok: true }
        }
        Task::Publish { text } => {
            tree.create(&format!("{directory}/manifest.new"))?;
            tree.write(&format!("{directory}/manifest.new"), 0, text.as_bytes())?;
            tree.sync(&format!("{directory}/manifest.new"))?;
            tree.rename(&directory, "manifest.new", MANIFEST)?;
            tree.sync(&directory)?;
            Done::Published { ok: true }
        }
        Task::Remove { file } => {
            tree.remove(&path(file))?;
            return Ok(None);
        }
        other => unreachable!("a store does not submit {other:?}"),
    }))
}

/// The files of a slice, as recovery reads them.
struct Files<'a> {
    tree: &'a Tree,
    place: Place,
}

impl Source for Files<'_> {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        Ok(self
            .tree
            .read(&format!("{}/{file}", directory(self.place)))
            .map(|bytes| bytes.len() as u64))
    }

    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Infallible> {
        let all = self
            .tree
            .read(&format!("{}/{file}", directory(self.place)))
            .expect("only existing files are read");
        let from = all.len().min(offset as usize);
        into.clear();
        into.extend_from_slice(&all[from..all.len().min(from + bytes)]);
        Ok(())
    }
}

/// Executes a recovery's task immediately.
fn read(files: &mut Files<'_>, task: Task) -> Done {
    source::serve(task, files).unwrap_or_else(|never| match never {})
}

fn run(seed: u64, bug: Option<Bug>) -> Result<Counts, String> {
    let again =
        format!("seed {seed}: PURSER_SEED={seed} cargo test --test purser simulation::repartition");
    match catch_unwind(AssertUnwindSafe(|| World::run(seed, bug))) {
        Ok(result) => result.map_err(|what| format!("{again}\n{what}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            Err(format!("{again}\n{text}"))
        }
    }
}

#[test]
fn a_crashed_repartition_leaves_the_old_or_the_complete_new_generation() {
    if let Some(seed) = number("PURSER_SEED") {
        let counts = run(seed, None).unwrap_or_else(|what| panic!("{what}"));
        println!("{counts:#?}");
        return;
    }
    let seeds = number("PURSER_SIMULATIONS").unwrap_or(SEEDS);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        sum.take(&run(seed, None).unwrap_or_else(|what| panic!("{what}")));
    }
    println!("{seeds} seeds: {sum:#?}");
    for (what, least) in MET.iter().filter(|_| seeds >= SEEDS) {
        assert!(sum.of(what) >= *least, "{seeds} seeds met only {} {what}", sum.of(what));
    }
}

#[test]
fn planted_bugs_of_a_repartition_are_caught() {
    for (bug, shows) in BUGS {
        let mut failures = (0..BUG_SEEDS).filter_map(|seed| run(seed, Some(bug)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how =
            how.unwrap_or_else(|| panic!("{bug:?} does not show in {BUG_SEEDS} seeds: {shows:?}"));
        println!("{bug:?}: {how}");
    }
}
