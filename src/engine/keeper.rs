//! What keeps a slice on its disk: recovery first, then the store, driven by the core's turns.
//!
//! Before the first turn that serves, a turn loads a step of what is there. Afterwards each turn hears what the disk has done, releases what has become
//! durable, and at its end submits what is due.

use super::Failure;
use super::control::Control;
use super::directory::{self, SliceDirectory};
use super::priority::Aside;
use crate::journal::Fault;
use super::files::Files;
use super::storage::Storage;
use crate::slice::disk::{Done, Task};
use crate::slice::log::Segments;
use crate::slice::recovery::{Recovery, Report};
use crate::slice::source;
use crate::slice::store::{Counts, Found, Settings, Store, Turn};
use crate::slice::{Headway, LogSink, Lsn, ReleaseSink, Slice};
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
    step: Step,
    headway: Headway,
    settings: Settings,
    news: Sender<(u32, News)>,
    told: Instant,
}

enum Step {
    Recover(Box<Recovery>),
    /// All is loaded, and is being brought to stable storage.
    Settle(Found, Report),
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
        source::measure(&mut recovery, &mut files).map_err(|error| failure(&directory, error))?;
        let storage = Storage::new(directory, &control, aside)?;
        let step = Step::Recover(Box::new(recovery));
        let loading = Loading { step, headway: Headway::Going, settings, news, told: Instant::now() };
        Ok(Self { storage, state: State::Loading(Box::new(loading)) })
    }

    /// Bytes of memory that what is being loaded will take, as far as is known.
    pub fn expected_bytes(&self) -> usize {
        match &self.state {
            State::Loading(loading) => match &loading.step {
                Step::Recover(recovery) => recovery.expected_bytes(),
                Step::Settle(..) => 0,
            },
            _ => 0,
        }
    }

    /// Loads a step of what is there. Returns whether all is loaded: never, once it was told to end before.
    pub fn load(&mut self, slice: &mut Slice) -> Result<bool, Failure> {
        let State::Loading(loading) = &mut self.state else { return Ok(false) };
        let storage = &mut self.storage;
        while let Some(done) = storage.outcome()? {
            match (&mut loading.step, done) {
                (Step::Settle(found, report), Done::Settled) => {
                    let (found, report) = (std::mem::take(found), *report);
                    slice.recovered(Lsn(found.tail.position));
                    let (settings, news) = (loading.settings, loading.news.clone());
                    self.state = State::Keeping(Box::new(Store::new(settings, found)));
                    let _ = news.send((settings.place.slice, News::Loaded(report)));
                    return Ok(true);
                }
                (Step::Recover(recovery), done) => recovery.done(done),
                (Step::Settle(..), done) => unreachable!("nothing else was asked for: {done:?}"),
            }
        }
        let Step::Recover(recovery) = &mut loading.step else { return Ok(false) };
        let headway = recovery.advance(slice, &mut |task| storage.ask(task));
        loading.headway = headway.map_err(|fault| failure(storage.directory(), fault.into()))?;
        let report = *recovery.report();
        if loading.headway == Headway::Done {
            let step = std::mem::replace(&mut loading.step, Step::Settle(Found::default(), report));
            let Step::Recover(recovery) = step else { unreachable!("it was recovering a moment ago") };
            let found = recovery.finish();
            storage.ask(Task::Settle { segment: found.tail.segment, manifest: found.manifest });
            loading.step = Step::Settle(found, report);
        } else if loading.told.elapsed() >= NEWS {
            loading.told = Instant::now();
            // Whoever listened may be gone: then nobody wants to know.
            let _ = loading.news.send((loading.settings.place.slice, News::Loading(report)));
        }
        Ok(false)
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

    /// When the next turn is wanted at the latest; loading wants it at once, unless it waits for the disk.
    pub fn wakes_at_ms(&self) -> Option<u64> {
        match &self.state {
            State::Loading(loading) => (loading.headway == Headway::Going).then_some(0),
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
pub(super) fn failure(directory: &SliceDirectory, error: source::Error<Failure>) -> Failure {
    match error {
        source::Error::Disk(failure) => failure,
        source::Error::Fault(fault) => {
            let Fault { file, offset, what } = directory.locate(fault);
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("byte {offset}: {what}"));
            Failure::new("load", file, error)
        }
    }
}
