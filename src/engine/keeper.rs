//! What keeps a slice on its disk: recovery first, then the store, driven by the core's turns.
//!
//! Before the first turn that serves, a turn loads a step of what is there. Afterwards each turn hears what the disk has done, releases what has become
//! durable, and at its end submits what is due.

use super::Failure;
use super::control::Control;
use super::directory::{self, SliceDirectory};
use super::priority::Aside;
use super::storage::{Files, Storage};
use crate::journal::Fault;
use crate::slice::log::Segments;
use crate::slice::recovery::{self, Recovery, Report};
use crate::slice::store::{Counts, Found, Settings, Store, Turn};
use crate::slice::{LogSink, Lsn, ReleaseSink, Slice};
use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How often it is told how far loading has come.
const NEWS: Duration = Duration::from_millis(100);

/// How loading goes.
#[derive(Clone, Debug)]
pub enum News {
    /// So far.
    Loading(Report),
    /// It is over.
    Loaded(Report),
}

/// What keeps a slice.
pub struct Keeper {
    storage: Storage,
    state: State,
}

enum State {
    Loading(Box<Loading>),
    Keeping(Box<Store>),
    /// Told to stop while it was loading.
    Stopped,
}

struct Loading {
    recovery: Recovery,
    files: Files,
    settings: Settings,
    news: Sender<(u32, News)>,
    told: Instant,
}

impl Keeper {
    /// What keeps the slice in `directory`; `news` hears how loading goes, and of which slice. Call it before the core's thread is pinned: the threads that it
    /// starts are not.
    pub fn new(
        directory: SliceDirectory,
        snapshot_after_bytes: u64,
        control: Control,
        aside: &Aside,
        news: Sender<(u32, News)>,
    ) -> Result<Self, directory::Error> {
        let manifest = directory.manifest()?;
        let settings = Settings { place: directory.place, snapshot_after_bytes, segments: Segments::DISK };
        let mut files = Files::new(directory.clone());
        let mut recovery = Recovery::new(settings.place, directory.slices, manifest);
        recovery.measure(&mut files).map_err(|error| failure(&directory, error))?;
        let storage = Storage::new(directory, &control, aside)?;
        let loading = Loading { recovery, files, settings, news, told: Instant::now() };
        Ok(Self { storage, state: State::Loading(Box::new(loading)) })
    }

    /// Bytes of memory that what is being loaded will take, as far as is known.
    pub const fn expected_bytes(&self) -> usize {
        match &self.state {
            State::Loading(loading) => loading.recovery.expected_bytes(),
            _ => 0,
        }
    }

    /// Loads a step of what is there. Returns whether all is loaded: never, once it was told to end before.
    pub fn load(&mut self, slice: &mut Slice) -> Result<bool, Failure> {
        let State::Loading(loading) = &mut self.state else { return Ok(false) };
        let is_over = loading
            .recovery
            .step(slice, &mut loading.files)
            .map_err(|error| failure(self.storage.directory(), error))?;
        let report = *loading.recovery.report();
        if !is_over {
            if loading.told.elapsed() >= NEWS {
                loading.told = Instant::now();
                // Whoever listened may be gone: then nobody wants to know.
                let _ = loading.news.send((loading.settings.place.slice, News::Loading(report)));
            }
            return Ok(false);
        }
        let State::Loading(loading) = std::mem::replace(&mut self.state, State::Stopped) else {
            unreachable!("it was loading a moment ago")
        };
        let Loading { recovery, settings, news, .. } = *loading;
        let found: Found = recovery.finish();
        self.storage.settle(found.tail.segment)?;
        self.storage.remove_strays(&found.manifest)?;
        slice.recovered(Lsn(found.tail.position));
        self.state = State::Keeping(Box::new(Store::new(settings, found)));
        let _ = news.send((settings.place.slice, News::Loaded(report)));
        Ok(true)
    }

    /// The process is about to end: gives up what is not loaded yet, or the snapshot that is not done.
    pub fn drain(&mut self) {
        match &mut self.state {
            State::Loading(_) => self.state = State::Stopped,
            State::Keeping(store) => store.drain(),
            State::Stopped => {}
        }
    }

    /// Hears what the disk has done, releases what has become durable.
    pub fn hear(&mut self, now_ms: u64, slice: &mut Slice, released: &mut impl ReleaseSink) -> Result<(), Failure> {
        let State::Keeping(store) = &mut self.state else { return Ok(()) };
        let storage = &mut self.storage;
        while let Some(done) = storage.outcome()? {
            if let Some(lsn) = store.done(now_ms, done, &mut |task| storage.ask(task)) {
                slice.durable(lsn, released);
            }
        }
        Ok(())
    }

    /// Submits what is due.
    pub fn advance(&mut self, turn: Turn, slice: &Slice) {
        let State::Keeping(store) = &mut self.state else { return };
        let storage = &mut self.storage;
        store.advance(turn, slice.book(), &mut |task| storage.ask(task));
    }

    /// Where accepted entries are logged.
    #[inline]
    pub fn log(&mut self) -> &mut impl LogSink {
        match &mut self.state {
            State::Keeping(store) => &mut **store,
            State::Loading(_) | State::Stopped => unreachable!("no entry is taken before all is loaded"),
        }
    }

    /// Whether there is more to load.
    pub const fn is_loading(&self) -> bool {
        matches!(self.state, State::Loading(_))
    }

    /// Whether entries must wait for the disk.
    pub fn is_held(&self) -> bool {
        matches!(&self.state, State::Keeping(store) if store.is_held())
    }

    /// When the next turn is wanted at the latest; loading wants it at once.
    pub fn wakes_at_ms(&self) -> Option<u64> {
        match &self.state {
            State::Loading(_) => Some(0),
            State::Keeping(store) => store.wakes_at_ms(),
            State::Stopped => None,
        }
    }

    /// Whether everything that was taken in is durable.
    pub fn is_settled(&self) -> bool {
        match &self.state {
            State::Keeping(store) => store.is_settled(),
            State::Loading(_) | State::Stopped => true,
        }
    }

    /// What was done since the start.
    pub fn counts(&self) -> Counts {
        match &self.state {
            State::Keeping(store) => *store.counts(),
            State::Loading(_) | State::Stopped => Counts::default(),
        }
    }
}

/// What keeps a slice from being recovered.
pub(super) fn failure(directory: &SliceDirectory, error: recovery::Error<Failure>) -> Failure {
    match error {
        recovery::Error::Disk(failure) => failure,
        recovery::Error::Fault(fault) => {
            let Fault { file, offset, what } = directory.locate(fault);
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("byte {offset}: {what}"));
            Failure::new("load", file, error)
        }
    }
}
