//! Order of calls: the rules of [the parent module](super), checked call by call.
//!
//! A requirement is checked when a call begins: what it builds on must have ended before. A sync
//! covers what had ended when the sync began.

use super::trace::{Call, Event, Trace, descriptor};
use purser::journal::{File, generation_directory, parse_generation};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest";

/// How often each rule had something to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Writes of records, and writes of segment headers.
    pub log_writes: u64,
    pub headers: u64,
    /// Segments that were made of zeros, and old ones that were renamed.
    pub prepared: u64,
    pub recycled: u64,
    /// Manifests of slices, and those of them that name another segment or snapshot.
    pub manifests: u64,
    pub segments: u64,
    pub snapshots: u64,
    /// Manifests of data directories.
    pub generations: u64,
    /// Files of a slice and generations that were removed.
    pub removed: u64,
    pub removed_generations: u64,
    /// Directories of slices that a start has synced, and segments.
    pub settled: u64,
    pub settled_segments: u64,
}

/// What a slice's manifest names, or a data directory's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Names {
    snapshot: u64,
    first: u64,
    last: u64,
    generation: u64,
}

impl Names {
    fn of(text: &str) -> Self {
        let figure = |name: &str, at: usize| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().split(' ').nth(at)?.parse().ok()).unwrap_or(0)
        };
        let names = Self {
            snapshot: figure("snapshot ", 0),
            first: figure("segments ", 0),
            last: figure("segments ", 1),
            generation: figure("generation ", 0),
        };
        assert!(names.generation > 0, "no manifest: {text}");
        names
    }

    fn has(&self, file: File) -> bool {
        match file {
            File::Segment(number) => (self.first..=self.last).contains(&number),
            File::Snapshot(number) => number == self.snapshot,
        }
    }
}

/// The manifest of a directory.
#[derive(Clone, Copy, Debug, Default)]
struct Manifests {
    /// What it names on stable storage; `None` if that is not known.
    stable: Option<Names>,
    /// What it names since a rename that is not synced, and when that ended.
    renamed: Option<(u64, Names)>,
}

impl Manifests {
    fn current(&self) -> Option<Names> {
        self.renamed.map(|(_, names)| names).or(self.stable)
    }

    fn names(&self, file: File) -> bool {
        let both = [self.stable, self.renamed.map(|(_, names)| names)];
        both.into_iter().flatten().any(|names| names.has(file))
    }
}

/// What is not on stable storage yet, as far as the calls show.
#[derive(Clone)]
pub struct Order {
    data: PathBuf,
    /// Number of the event.
    now: u64,
    /// Names that were made since their directory was synced, and when.
    names: BTreeMap<PathBuf, u64>,
    /// Generations that were removed since the data directory was synced.
    removed: BTreeMap<PathBuf, u64>,
    /// Files with bytes that are not synced.
    bytes: BTreeMap<PathBuf, u64>,
    /// Open descriptors: path, and whether each write is synchronous.
    open: BTreeMap<i32, (PathBuf, bool)>,
    /// What was written to `manifest.new`, and to `manifest` if the two were exchanged.
    texts: BTreeMap<PathBuf, String>,
    /// The manifest of each directory.
    manifests: BTreeMap<PathBuf, Manifests>,
    /// Segments with a header.
    headers: BTreeSet<PathBuf>,
    /// Directories and segments that a start has found and must sync.
    unsettled: BTreeSet<PathBuf>,
    /// By thread: a file with a write that must be synced next.
    owed: BTreeMap<u32, PathBuf>,
    /// When each call that has not ended began.
    begun: BTreeMap<usize, u64>,
    pub seen: Seen,
}

impl Order {
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            now: 0,
            names: BTreeMap::new(),
            removed: BTreeMap::new(),
            bytes: BTreeMap::new(),
            open: BTreeMap::new(),
            texts: BTreeMap::new(),
            manifests: BTreeMap::new(),
            headers: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            owed: BTreeMap::new(),
            begun: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// A process is about to start. What it finds may not be synced: the last segment of each
    /// slice, and the names in the directories. Call it after the process before has ended.
    pub fn start(&mut self) {
        self.open.clear();
        self.owed.clear();
        self.begun.clear();
        self.texts.clear();
        self.manifests.clear();
        self.unsettled.clear();
        let Ok(text) = fs::read_to_string(self.data.join(MANIFEST)) else { return };
        let found = Names::of(&text);
        let renamed = |names| Manifests { stable: None, renamed: Some((self.now, names)) };
        self.manifests.insert(self.data.clone(), renamed(found));
        let generation = self.data.join(generation_directory(found.generation));
        for slice in fs::read_dir(generation).expect("it is there") {
            let slice = slice.expect("a name").path();
            let text = fs::read_to_string(slice.join(MANIFEST)).expect("each slice has one");
            let names = Names::of(&text);
            if names.last > 0 {
                self.unsettled.insert(slice.join(File::Segment(names.last).to_string()));
            }
            self.manifests.insert(slice.clone(), renamed(names));
            self.unsettled.insert(slice);
        }
    }

    /// Takes the calls of a process, from its start to its end. The call `left_out` is passed over.
    pub fn take(&mut self, trace: &Trace, left_out: Option<usize>) {
        for &event in &trace.events {
            self.now += 1;
            match event {
                Event::Begin(number) | Event::End(number) if Some(number) == left_out => {}
                Event::Begin(number) => {
                    self.begun.insert(number, self.now);
                    self.begin(&trace.calls[number]);
                }
                Event::End(number) => {
                    let begun = self.begun.remove(&number).expect("it has begun");
                    self.end(&trace.calls[number], begun);
                }
            }
        }
    }

    /// Names that were made and never synced.
    pub fn unsynced(&self) -> Vec<&PathBuf> {
        self.names.keys().collect()
    }

    /// Checks what a call builds on.
    fn begin(&mut self, call: &Call) {
        let paths = call.paths();
        if let Some(owed) = self.owed.remove(&call.thread) {
            let is_sync = matches!(&*call.name, "fsync" | "fdatasync");
            let is_synced = is_sync && call.file().1 == owed;
            assert!(is_synced, "{} must be synced before {call:?}", owed.display());
        }
        match (&*call.name, &paths[..]) {
            ("openat", [path]) if call.has_flag("O_CREAT") || call.has_flag("O_TRUNC") => {
                self.check_start_is_over(path, call);
            }
            ("mkdir" | "mkdirat", [path]) => self.check_start_is_over(path, call),
            ("write" | "pwrite64", _) => self.check_write(&call.file().1, call),
            ("openat" | "fsync" | "fdatasync" | "ftruncate" | "fallocate", [_]) => {}
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                self.check_start_is_over(from, call);
                self.check_rename(from, to, call);
            }
            ("unlink" | "unlinkat" | "rmdir", [path]) => {
                self.check_start_is_over(path, call);
                self.check_removal(path, call);
            }
            _ if paths.iter().any(|path| path.starts_with(&self.data)) => {
                panic!("a call without a rule: {call:?}")
            }
            _ => {}
        }
    }

    /// The manifest of the slice that a file belongs to, if it is a slice of the generation that
    /// counts: of both, while the data directory's manifest is not synced.
    fn slice<'a>(&'a self, path: &'a Path) -> Option<(&'a Path, Option<&'a Manifests>)> {
        let data = self.manifests.get(&self.data)?;
        let both = [data.stable, data.renamed.map(|(_, names)| names)];
        let slice = path.parent()?;
        let generation = parse_generation(slice.parent()?.file_name()?.to_str()?)?;
        let counts = both.into_iter().flatten().any(|names| names.generation == generation);
        counts.then(|| (slice, self.manifests.get(slice)))
    }

    /// Nothing in a slice's directory changes until the start has synced that directory and the
    /// last segment, and until generations that were removed are removed for good.
    fn check_start_is_over(&self, path: &Path, call: &Call) {
        let Some((slice, _)) = self.slice(path) else { return };
        let left = self.unsettled.range(slice.to_owned()..).next();
        let left = left.filter(|left| left.starts_with(slice));
        assert!(left.is_none(), "a start has not synced {left:?}: {call:?}");
        assert!(self.removed.is_empty(), "{:?} may come back: {call:?}", self.removed);
    }

    fn check_write(&mut self, path: &Path, call: &Call) {
        if !path.starts_with(&self.data) {
            return;
        }
        self.check_start_is_over(path, call);
        let directory = path.parent().expect("it is a file");
        let manifests = self.manifests.get(directory).copied().unwrap_or_default();
        match path.file_name().and_then(|name| File::parse(name.to_str()?)) {
            Some(File::Segment(number)) => {
                assert!(!self.names.contains_key(path), "its name is not synced: {call:?}");
                let is_new = manifests.current().is_none_or(|names| number > names.last);
                if call.offset() == 0 {
                    assert!(is_new, "the manifest names it already: {call:?}");
                    self.seen.headers += 1;
                } else {
                    let is_last = manifests.stable.is_some_and(|names| names.last == number);
                    assert!(is_last, "no synced manifest names it last: {call:?}");
                    self.seen.log_writes += 1;
                }
            }
            Some(file) => assert!(!manifests.names(file), "the manifest names it: {call:?}"),
            None if path.ends_with("manifest.new") => {
                let is_synced = manifests.renamed.is_none();
                assert!(is_synced, "the manifest before it is not synced: {call:?}");
            }
            None => {}
        }
    }

    fn check_rename(&mut self, from: &Path, to: &Path, call: &Call) {
        assert!(!self.bytes.contains_key(from), "renamed before it was synced: {call:?}");
        let directory = to.parent().expect("it is a file");
        let manifests = self.manifests.get(directory).copied().unwrap_or_default();
        let parse = |path: &Path| File::parse(path.file_name()?.to_str()?);
        if to.ends_with(MANIFEST) {
            let text = self.texts.get(from);
            let new = Names::of(text.unwrap_or_else(|| panic!("it has no text: {call:?}")));
            assert!(manifests.renamed.is_none(), "the one before it is not synced: {call:?}");
            if directory == self.data {
                self.check_generation(new.generation, call);
            } else {
                self.check_files(directory, manifests.stable.unwrap_or_default(), new, call);
            }
        } else if let Some(file) = parse(to) {
            assert!(!manifests.names(file), "the manifest names the new name: {call:?}");
            match parse(from) {
                Some(old) => {
                    assert!(!manifests.names(old), "the manifest names the old name: {call:?}");
                    self.headers.remove(from);
                    self.seen.recycled += 1;
                }
                None => self.seen.prepared += 1,
            }
        }
    }

    /// The files that a slice's manifest names anew are on stable storage.
    fn check_files(&mut self, slice: &Path, old: Names, new: Names, call: &Call) {
        self.seen.manifests += 1;
        let mut files = Vec::new();
        if new.snapshot != old.snapshot && new.snapshot > 0 {
            files.push(File::Snapshot(new.snapshot));
            self.seen.snapshots += 1;
        }
        if new.last != old.last && new.last > 0 {
            files.push(File::Segment(new.last));
            self.seen.segments += 1;
        }
        for file in files {
            let path = slice.join(file.to_string());
            assert!(!self.bytes.contains_key(&path), "{file} is not synced: {call:?}");
            assert!(!self.names.contains_key(&path), "{file} has no synced name: {call:?}");
            let is_snapshot = matches!(file, File::Snapshot(_));
            assert!(is_snapshot || self.headers.contains(&path), "{file} has no header: {call:?}");
        }
    }

    /// Everything is on stable storage, above all the generation that is named; names in another
    /// one, from a process that was killed, do not count any more.
    fn check_generation(&mut self, generation: u64, call: &Call) {
        self.seen.generations += 1;
        let generation = self.data.join(generation_directory(generation));
        let is_old = |name: &&PathBuf| {
            let slice = name.strip_prefix(&self.data).is_ok_and(|inside| inside.iter().count() > 1);
            slice && !name.starts_with(&generation)
        };
        let left = self.names.keys().find(|name| !is_old(name));
        assert_eq!(left, None, "{call:?}");
        assert!(self.removed.is_empty(), "{:?}: {call:?}", self.removed);
        let mut unsynced = self.bytes.keys().filter(|file| file.starts_with(&generation));
        assert_eq!(unsynced.next(), None, "{call:?}");
        let mut slices = self.manifests.iter().filter(|(path, _)| path.starts_with(&generation));
        assert!(slices.all(|(_, manifests)| manifests.renamed.is_none()), "{call:?}");
    }

    fn check_removal(&mut self, path: &Path, call: &Call) {
        if is_temporary(path) || !path.starts_with(&self.data) {
            return;
        }
        let data = self.manifests.get(&self.data).copied().unwrap_or_default();
        let is_here = |name: &PathBuf| name.parent() == Some(&self.data);
        let is_synced = data.renamed.is_none() && !self.names.keys().any(is_here);
        assert!(is_synced, "removed before the data directory was synced: {call:?}");
        let current =
            data.stable.map(|names| self.data.join(generation_directory(names.generation)));
        if !current.is_some_and(|current| path.starts_with(current)) {
            self.seen.removed_generations += u64::from(path.parent() == Some(&self.data));
            return;
        }
        let file = path.file_name().and_then(|name| File::parse(name.to_str()?));
        let named_by = self.slice(path).and_then(|(_, manifests)| manifests);
        match (file, named_by) {
            (Some(file), Some(manifests)) if !manifests.names(file) => self.seen.removed += 1,
            _ => panic!("it counts: {call:?}"),
        }
    }

    /// Notes what a call has changed. It began at `begun`.
    fn end(&mut self, call: &Call, begun: u64) {
        match (&*call.name, &call.paths()[..]) {
            ("openat", [path]) => self.opened(path, call),
            ("mkdir" | "mkdirat", [path]) => self.made(path),
            ("write" | "pwrite64", _) => self.written(call),
            ("ftruncate" | "fallocate", [path]) => {
                self.bytes.insert(path.clone(), self.now);
            }
            ("fsync" | "fdatasync", [path]) => self.synced(path, begun),
            ("rename" | "renameat" | "renameat2", [from, to]) => {
                self.renamed(from, to, call.has_flag("RENAME_EXCHANGE"));
            }
            ("unlink" | "unlinkat" | "rmdir", [path]) => {
                self.names.remove(path);
                self.bytes.remove(path);
                if path.parent() == Some(&self.data) && !is_temporary(path) {
                    self.removed.insert(path.clone(), self.now);
                }
            }
            _ => {}
        }
    }

    fn made(&mut self, path: &Path) {
        if !is_temporary(path) && *path != self.data.join("lock") {
            self.names.insert(path.to_owned(), self.now);
        }
    }

    fn opened(&mut self, path: &Path, call: &Call) {
        let result = call.result.as_deref().and_then(descriptor);
        let (number, _) = result.unwrap_or_else(|| panic!("no descriptor: {call:?}"));
        let is_synchronous = call.has_flag("O_DSYNC") || call.has_flag("O_SYNC");
        self.open.insert(number, (path.to_owned(), is_synchronous));
        if call.has_flag("O_CREAT") {
            self.made(path);
        }
        if call.has_flag("O_TRUNC") {
            self.bytes.insert(path.to_owned(), self.now);
            self.texts.remove(path);
        }
    }

    fn written(&mut self, call: &Call) {
        let (number, path) = call.file();
        if !path.starts_with(&self.data) {
            return;
        }
        let opened = self.open.get(&number).filter(|(opened, _)| *opened == path);
        let is_synchronous = opened.is_some_and(|(_, is_synchronous)| *is_synchronous);
        let file = path.file_name().and_then(|name| File::parse(name.to_str()?));
        let manifests = self.manifests.get(path.parent().expect("it is a file"));
        match file {
            Some(File::Segment(_)) if call.offset() == 0 => {
                self.headers.insert(path.clone());
            }
            Some(file @ File::Snapshot(_)) => {
                let is_named = manifests.is_some_and(|manifests| manifests.names(file));
                assert!(!is_named, "the manifest names it by now: {call:?}");
            }
            _ => {}
        }
        if path.ends_with("manifest.new") {
            self.texts.insert(path.clone(), call.text());
        }
        if !is_synchronous {
            if matches!(file, Some(File::Segment(_))) {
                self.owed.insert(call.thread, path.clone());
            }
            self.bytes.insert(path, self.now);
        }
    }

    /// A file or a directory was synced: all that ended before the sync began.
    fn synced(&mut self, path: &Path, begun: u64) {
        let is_in = |name: &Path| name.parent() == Some(path);
        self.names.retain(|name, at| !is_in(name) || *at > begun);
        self.removed.retain(|name, at| !is_in(name) || *at > begun);
        self.bytes.retain(|file, at| file != path || *at > begun);
        if let Some(manifests) = self.manifests.get_mut(path)
            && let Some((at, names)) = manifests.renamed
            && at < begun
        {
            *manifests = Manifests { stable: Some(names), renamed: None };
        }
        if self.unsettled.remove(path) {
            let is_directory = self.manifests.contains_key(path);
            self.seen.settled += u64::from(is_directory);
            self.seen.settled_segments += u64::from(!is_directory);
        }
    }

    fn renamed(&mut self, from: &Path, to: &Path, is_exchange: bool) {
        let (text, old) = (self.texts.remove(from), self.texts.remove(to));
        self.names.remove(from);
        self.bytes.remove(to);
        self.made(to);
        if is_exchange {
            self.texts.extend(old.map(|old| (from.to_owned(), old)));
        }
        let Some(text) = text.filter(|_| to.ends_with(MANIFEST)) else { return };
        let directory = to.parent().expect("it is a file").to_owned();
        let manifests = self.manifests.entry(directory).or_default();
        manifests.renamed = Some((self.now, Names::of(&text)));
        self.texts.insert(to.to_owned(), text);
    }
}

/// Whether a file may vanish: its name does not count.
fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "new")
}

/// A trace of two publications by exchange, with `lines` between them.
fn exchanged(lines: &str) -> Order {
    let slice = "/d/generation-1/slice-0";
    let write = format!("7 pwrite64(3<{slice}/manifest.new>, \"generation 1\\n\", 13, 0) = 13\n");
    let publish = format!(
        "{write}7 fsync(3<{slice}/manifest.new>) = 0\n\
         7 renameat2(AT_FDCWD</w>, \"{slice}/manifest.new\", AT_FDCWD</w>, \"{slice}/manifest\", \
         RENAME_EXCHANGE) = 0\n"
    );
    let mut order = Order::new(Path::new("/d"));
    order.take(&Trace::parse(&format!("{publish}{lines}{publish}")), None);
    order
}

#[test]
fn manifests_that_are_exchanged_count_as_renamed() {
    let order = exchanged("7 fsync(4</d/generation-1/slice-0>) = 0\n");
    assert_eq!(order.seen.manifests, 2);
    assert_eq!(order.unsynced(), [Path::new("/d/generation-1/slice-0/manifest")]);
}

#[test]
#[should_panic(expected = "the manifest before it is not synced")]
fn an_exchanged_manifest_is_not_overwritten_before_its_name_is_synced() {
    exchanged("7 fsync(4</d/generation-1>) = 0\n");
}
