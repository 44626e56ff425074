//! A data directory of any number of slices, fed without a server: the slices' state machines on
//! real files, one disk task at a time.
//!
//! Dropping it is like killing a server: only settled entries are on disk. [`Figures`] hold
//! everything known of the users, independent of the number of slices and of the order in which
//! each slice numbered its kinds.

use purser::api::entry::{self, LineScratch};
use purser::engine::directory::{Directory, SliceDirectory};
use purser::engine::files::Files;
use purser::engine::repartition::repartition;
use purser::journal::frame::{FrameBuffer, Kind};
use purser::journal::{File, Place};
use purser::ledger::book::View;
use purser::ledger::entry::{EntryRef, Verdict};
use purser::ledger::names::Names;
use purser::ledger::secret::Secret;
use purser::ledger::time::{Millis, Window};
use purser::ledger::user::{RowSource, StatsQuery};
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::{Recovery, Report};
use purser::slice::snapshot::ReadLoad;
use purser::slice::store::{Recovered, Settings, Store, TurnInput};
use purser::slice::{LogSink, Lsn, NoLog, Slice, source};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Small segments, so that a few thousand entries fill several.
const SEGMENTS: Segments = Segments { first_bytes: 64 << 10, largest_bytes: 128 << 10 };
const SNAPSHOT_AFTER_BYTES: u64 = 48 << 10;
/// Time between two turns of a store, long enough that it never delays a snapshot.
const TURN_MS: u64 = 1_000;

/// A data directory with all its slices.
pub struct Offline {
    nodes: Vec<Node>,
    // Dropped last, because it holds the lock.
    _directory: Directory,
}

struct Node {
    directory: SliceDirectory,
    slice: Slice,
    store: Store,
    now_ms: u64,
}

impl Offline {
    /// Opens a directory and repartitions it to `slices` slices.
    pub fn open(data: &Path, slices: u32) -> Self {
        let directory =
            Directory::open_or_create(data, slices).unwrap_or_else(|error| panic!("{error}"));
        let directory = repartition(directory, slices, &mut |_, _| true)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(directory.manifest().slices, slices);
        assert!(
            directory.unnamed().is_ok_and(|unnamed| unnamed.is_empty()),
            "no unnamed generation is left"
        );
        let nodes = (0..slices).map(|slice| Node::recover(directory.slice(slice))).collect();
        Self { nodes, _directory: directory }
    }

    /// Applies an entry to its user's slice.
    pub fn apply(&mut self, now_ms: u64, entry: &EntryRef<'_>) -> Verdict {
        let slices = self.nodes.len() as u32;
        self.nodes[entry.user.slice(slices) as usize].apply(now_ms, entry)
    }

    /// Makes everything durable.
    pub fn settle(&mut self) {
        self.nodes.iter_mut().for_each(Node::settle);
    }

    /// Appends a torn write to the log of a slice, as a crash does. Returns `false` if the slice
    /// has no log.
    pub fn tear(&mut self, slice: usize) -> bool {
        let node = &mut self.nodes[slice];
        node.settle();
        let (_, found, _) = recover(&node.directory);
        if found.tail.segment == 0 {
            return false;
        }
        let place = Place { file: found.tail.segment, ..node.directory.place };
        let mut block = FrameBuffer::with_capacity(6_000);
        block.payload().extend_from_slice(&[7; 6_000]);
        // Its header arrived, and not all of its payload.
        block.seal(Kind::Write, place, salt(place.file), found.tail.position + 1);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(node.path(File::Segment(place.file)))
            .expect("it is there");
        file.write_all_at(&block.bytes()[..4_096], found.tail.offset).expect("it can be written");
        true
    }

    /// Figures of all users of the directory.
    pub fn figures(&self) -> Figures {
        Figures::of(self.nodes.iter().map(|node| &node.slice))
    }
}

/// The salt of a segment.
const fn salt(segment: u64) -> u64 {
    segment << 32 | 1
}

/// Recovery reports of all slices; changes nothing.
pub fn reports(data: &Path) -> Vec<Report> {
    let directory = Directory::open(data).unwrap_or_else(|error| panic!("{error}"));
    (0..directory.manifest().slices).map(|slice| recover(&directory.slice(slice)).2).collect()
}

fn recover(directory: &SliceDirectory) -> (Slice, Recovered, Report) {
    let (mut slice, mut files) =
        (Slice::new(usize::MAX, Secret::default()), Files::new(directory.clone()));
    let manifest = directory.manifest().unwrap_or_else(|error| panic!("{error}"));
    let mut recovery = Recovery::new(directory.place, directory.slices, manifest);
    while !source::step(&mut recovery, &mut slice, &mut files)
        .unwrap_or_else(|error| panic!("{error:?}"))
    {}
    let report = *recovery.report();
    let found = recovery.finish();
    slice.recovered(Lsn(found.tail.position));
    (slice, found, report)
}

impl Node {
    fn recover(directory: SliceDirectory) -> Self {
        let (slice, found, _) = recover(&directory);
        let settings = Settings {
            place: directory.place,
            snapshot_after_bytes: SNAPSHOT_AFTER_BYTES,
            segments: SEGMENTS,
        };
        Self { directory, slice, store: Store::new(settings, found), now_ms: 0 }
    }

    fn apply(&mut self, now_ms: u64, entry: &EntryRef<'_>) -> Verdict {
        if self.store.is_throttled() || !self.store.has_space() {
            self.settle();
        }
        let (_, verdict) = self.slice.apply(Millis(now_ms), entry, &mut self.store);
        verdict
    }

    /// Does the store's disk tasks until there are none.
    fn settle(&mut self) {
        let mut asked = VecDeque::new();
        loop {
            self.now_ms += TURN_MS;
            let now_ms = self.now_ms;
            let turn = TurnInput { now_ms, read_load: ReadLoad::NoReads, is_log_awaited: true };
            self.store.advance(turn, &mut self.slice, &mut |task| asked.push_back(task));
            let Some(task) = asked.pop_front() else { break };
            let Some(done) = self.work(task) else { continue };
            if let Some(lsn) = self.store.done(now_ms, done, &mut |task| asked.push_back(task)) {
                self.slice.durable(lsn);
            }
        }
        assert!(self.store.is_durable(), "a store is durable once all its tasks are done");
    }

    fn path(&self, file: File) -> PathBuf {
        self.directory.path.join(file.to_string())
    }

    fn work(&self, task: Task) -> Option<Done> {
        Some(match task {
            Task::Write { file, offset, block } => {
                let open = fs::OpenOptions::new()
                    .write(true)
                    .open(self.path(file))
                    .expect("the file was created");
                open.write_all_at(block.bytes(), offset).expect("it can be written");
                Done::Written { file, block, ok: true }
            }
            Task::Prepare { segment, bytes, from } => {
                let path = self.path(File::Segment(segment));
                match from {
                    Some(from) => fs::rename(self.path(File::Segment(from)), path),
                    None => fs::write(path, vec![0; bytes as usize]),
                }
                .expect("it can be created");
                Done::Prepared { segment, salt: Some(salt(segment)) }
            }
            Task::Create { snapshot } => {
                fs::write(self.path(File::Snapshot(snapshot)), b"").expect("it can be created");
                Done::Created { snapshot, buffers: Some(Vec::new()) }
            }
            Task::Sync { snapshot } => Done::Synced { snapshot, ok: true },
            Task::Publish { text } => {
                self.directory.publish(&text).expect("it can be written");
                Done::Published { ok: true }
            }
            Task::Remove { file } => {
                fs::remove_file(self.path(file)).expect("it is there");
                return None;
            }
            Task::Measure { .. } | Task::Read { .. } | Task::SyncRecovered { .. } => {
                unreachable!("a store does not read")
            }
        })
    }
}

/// The same users in one slice without a log: the expected result.
pub struct Reference(Slice);

impl Reference {
    pub fn new() -> Self {
        Self(Slice::new(usize::MAX, Secret::default()))
    }

    pub fn apply(&mut self, now_ms: u64, entry: &EntryRef<'_>) -> Verdict {
        self.0.apply(Millis(now_ms), entry, &mut NoLog).1
    }

    pub fn users(&self) -> u64 {
        self.0.book().users() as u64
    }

    pub fn entries(&self) -> u64 {
        self.0.book().entries()
    }

    pub fn figures(&self) -> Figures {
        Figures::of([&self.0])
    }
}

/// Calls `with` for each line of a body that is an entry.
pub fn each_entry(body: &[u8], mut with: impl FnMut(&EntryRef<'_>)) {
    for line in body.split(|&byte| byte == b'\n') {
        let mut scratch = LineScratch::EMPTY;
        if let Ok(entry) = entry::parse(line, &mut scratch).entry {
            with(&entry);
        }
    }
}

/// Everything known of each user, by id.
#[derive(PartialEq, Eq)]
pub struct Figures(BTreeMap<String, User>);

#[derive(PartialEq, Eq)]
struct User {
    /// Version, balances, statistics and kinds, as text.
    answers: Vec<String>,
    /// The user's image and its pieces, with kinds numbered in alphabetical order.
    image: Vec<u8>,
}

impl Figures {
    /// Figures of all users of these slices.
    pub fn of<'a>(slices: impl IntoIterator<Item = &'a Slice>) -> Self {
        let mut users = BTreeMap::new();
        for slice in slices {
            for slot in 0..slice.book().users() as u32 {
                let view = slice.book().view(slot);
                let before = users.insert(view.id.to_string(), User::of(&view));
                assert!(before.is_none(), "user {} is there twice", view.id);
            }
        }
        Self(users)
    }

    /// Asserts that `other` has the same users with the same figures.
    pub fn assert_same(&self, other: &Self, context: &str) {
        if let Some(id) = self.0.keys().find(|&id| !other.0.contains_key(id)) {
            panic!("{context}: user {id} is missing");
        }
        if let Some(id) = other.0.keys().find(|&id| !self.0.contains_key(id)) {
            panic!("{context}: user {id} was never fed");
        }
        for (id, user) in &self.0 {
            assert_eq!(user.answers, other.0[id].answers, "{context}: user {id}");
            assert!(user.image == other.0[id].image, "{context}: the images of user {id} differ");
        }
    }
}

impl User {
    fn of(view: &View<'_>) -> Self {
        let View { id, user, names } = *view;
        let (mut used, mut image) = (Names::default(), Vec::new());
        user.store_head_for(id, names, &mut used, &mut image);
        let mut kinds: Vec<_> = used.iter().collect();
        kinds.sort_unstable();
        let mut sorted = Names::default();
        kinds.iter().for_each(|kind| _ = sorted.number(kind));
        image.clear();
        user.write_canonical_for(names, &mut sorted, &mut image);
        let mut answers =
            vec![format!("version {} as of {}, {kinds:?}", user.version(), user.as_of().0)];
        user.visit_balances(|balance| answers.push(format!("{balance:?}")));
        let windows = [15, 60, 24 * 60, 8 * 24 * 60, 400 * 24 * 60]
            .map(|minutes| Window::Last(minutes * 60_000));
        for window in windows.into_iter().chain([Window::Lifetime]) {
            let (range, query) = (
                user.range(window, user.as_of()),
                StatsQuery { window, currency: None, kind: None },
            );
            let rows = &mut RowSource::Now { bytes_left: usize::MAX };
            user.visit_stats(names, &query, range, rows, |stat| {
                answers.push(format!("{window:?}: {stat:?}"));
            });
        }
        Self { answers, image }
    }
}
