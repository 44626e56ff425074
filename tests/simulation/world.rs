//! One simulation run: a process with some slices on a disk that runs, crashes or stops, recovers,
//! and runs again.
//!
//! It drives the slices' state machines like the engine: process disk completions, release answers
//! that have become durable, take entries from clients, submit disk tasks. Time is simulated.

use super::Bug;
use super::client::Clients;
use super::counts::Counts;
use super::damage;
use super::disk::{Crash, Disk, DiskError, Files, Name, unnamed_files};
use super::oracle::{Draft, History, Oracle, version_of};
use super::random::Random;
use crate::offline::Figures;
use crate::users;
use purser::journal::{File, Place, frame, frame::Kind, manifest, record};
use purser::ledger::book::Replayed;
use purser::ledger::entry::{Rejection, Verdict};
use purser::ledger::secret::Secret;
use purser::ledger::time::Millis;
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::{Recovery, Report};
use purser::slice::snapshot::ReadLoad;
use purser::slice::store::{Recovered, Settings, Store, TurnInput};
use purser::slice::{LogSink, Lsn, NoLog, Slice, StepOutcome, Waiter, source};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Most turns of a phase that must come to an end.
const MAX_TURNS: usize = 20_000;
/// Start time of a run, in 2023.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// Most crashes in a row while the process starts.
const MAX_CRASHES: u64 = 200;
/// Most entries of one body.
const STEP: u64 = 256;
/// Bytes of users in a snapshot that is large enough: more than one read of recovery.
const ENOUGH: u64 = 9 << 17;

/// One slice of a running process.
struct Node {
    slice: Slice,
    store: Store,
    waiting: BTreeMap<u64, Answer>,
    waiters: u64,
}

/// An answer to a client.
struct Answer {
    position: Lsn,
    /// Users with the version that the answer shows of each, at least.
    shows: Vec<(u64, u64)>,
    /// Whether it answers a read, which shows the exact version.
    is_read: bool,
    /// The entries that it acknowledges.
    acknowledges: Vec<Draft>,
    /// Entries refused for lack of space.
    refused: Vec<Draft>,
}

/// Reason for a turn to end early.
enum Stop {
    /// A disk task failed that must not fail: the process ends.
    Fatal,
    Wrong(String),
}

impl From<String> for Stop {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl From<DiskError> for Stop {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Fatal => Self::Fatal,
            DiskError::Refused(what) => Self::Wrong(what),
        }
    }
}

/// State of a run.
pub struct World {
    random: Random,
    bug: Option<Bug>,
    now_ms: u64,
    disk: Disk,
    settings: Settings,
    nodes: Vec<Node>,
    oracles: Vec<Oracle>,
    clients: Vec<Clients>,
    /// Crashes per thousand points at which recovery can be interrupted.
    interrupted: u64,
    counts: Counts,
}

impl World {
    /// Runs a seed; `Err` describes the failure.
    pub fn run(seed: u64, bug: Option<Bug>) -> Result<Counts, String> {
        let mut world = Self::new(seed, bug);
        world.run_lives()?;
        world.check_at_end()?;
        let mut counts = world.counts;
        counts.take(&world.disk.counts);
        Ok(counts)
    }

    /// Runs with a user whose remembered ids are stored in pieces and with many kinds, which takes
    /// many turns in which their entries arrive. Ends the process while a snapshot is being
    /// written, then after one. Returns what the largest snapshot had.
    pub fn run_large(seed: u64, crash: Crash) -> Result<Frames, String> {
        let mut world = Self::new(seed, None);
        (world.disk.failing, world.disk.fatal, world.interrupted) = (0, 0, 0);
        world.settings.segments = Segments::DISK;
        world.settings.snapshot_after_bytes = 1 << 20;
        world.clients = vec![Clients::new(40, 0, 1).with_large(6_000)];
        world.oracles = vec![Oracle::default()];
        world.start()?;
        let is_large = |frames: &Frames| frames.users_bytes > ENOUGH && frames.kinds > 1;
        let large = world.grow(|world| frames(world, world.snapshot()).filter(is_large))?;
        // A snapshot is half written.
        world.grow(|world| {
            let next = frames(world, world.snapshot() + 1)?;
            (next.users_bytes > large.users_bytes / 2).then_some(())
        })?;
        world.end(crash);
        world.start()?;
        world.compare_images("after a crash while a snapshot was written");
        let before = world.snapshot();
        let large = world.grow(|world| {
            let is_new = world.snapshot() > before;
            frames(world, world.snapshot()).filter(|frames| is_new && is_large(frames))
        })?;
        world.end(Crash::Kill);
        world.start()?;
        world.compare_images("after a snapshot");
        Ok(large)
    }

    /// Feeds the only slice until `until` returns something.
    fn grow<T>(&mut self, until: impl Fn(&Self) -> Option<T>) -> Result<T, String> {
        for turn in 0..MAX_TURNS {
            self.drive(0).map_err(description)?;
            if !self.nodes[0].store.is_throttled() {
                let (client, oracle) = (&mut self.clients[0], &self.oracles[0]);
                let drafts = (0..STEP)
                    .map(|_| client.draft(oracle, self.now_ms, &mut self.random))
                    .collect();
                self.send(0, drafts).map_err(description)?;
            }
            self.advance(0)?;
            self.now_ms += 5;
            if turn % 10 == 0
                && let Some(found) = until(self)
            {
                return Ok(found);
            }
        }
        Err("no snapshot is as large as expected".to_owned())
    }

    /// Number of the only slice's current snapshot.
    fn snapshot(&self) -> u64 {
        let text = self.disk.files_of(0).bytes(Name::Manifest).expect("there is a manifest");
        let manifest = manifest::SliceManifest::decode(&text, self.place(0));
        manifest.expect("the manifest is valid").snapshot
    }

    /// Compares everything that is stored of each user of the only slice with a slice that was fed
    /// the same entries and never restarted.
    fn compare_images(&self, when: &str) {
        let mut expected = Slice::new(usize::MAX, Secret::default());
        for draft in self.oracles[0].users.values().flat_map(History::entries) {
            let verdict = expected.apply(Millis(self.now_ms), draft, &mut NoLog).1;
            assert_eq!(verdict, Verdict::Accepted, "{when}: {draft:?}");
        }
        Figures::of([&expected]).assert_same(&Figures::of([&self.nodes[0].slice]), when);
    }

    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random(seed);
        let slices = random.between(1, 3) as usize;
        let first_bytes = random.pick(&[56 << 10, 80 << 10]);
        let segments = Segments { first_bytes, largest_bytes: first_bytes << random.below(2) };
        let snapshot_after_bytes = random.pick(&[16 << 10, 32 << 10, 64 << 10, 96 << 10]);
        let place = Place { generation: random.between(1, 3), slice: 0, file: 0 };
        let mut disk = Disk::new((0..slices as u32).map(|slice| Place { slice, ..place }), bug);
        disk.slowness = random.pick(&[1, 1, 2, 8]);
        disk.failing = random.pick(&[0, 0, 20, 100]);
        disk.fatal = random.pick(&[0, 0, 1, 4]);
        disk.copies_on_write = random.in_thousand(250);
        Self {
            bug,
            now_ms: BEGIN_MS,
            disk,
            settings: Settings { place, snapshot_after_bytes, segments },
            nodes: Vec::new(),
            oracles: (0..slices).map(|_| Oracle::default()).collect(),
            clients: (0..slices as u32)
                .map(|slice| Clients::new(random.between(3, 12), slice, slices as u32))
                .collect(),
            interrupted: random.pick(&[0, 10, 30]),
            counts: Counts::default(),
            random,
        }
    }

    fn slices(&self) -> usize {
        self.oracles.len()
    }

    fn place(&self, slice: usize) -> Place {
        Place { slice: slice as u32, ..self.settings.place }
    }

    fn run_lives(&mut self) -> Result<(), String> {
        for life in 0..self.random.between(2, 5) {
            self.start().map_err(|what| format!("start {life}: {what}"))?;
            let turns = self.random.between(5, 80);
            self.live(turns).map_err(|what| format!("life {life}: {what}"))?;
            if self.bug.is_none() && self.random.in_thousand(600) {
                self.damage().map_err(|what| format!("damage after life {life}: {what}"))?;
            }
        }
        Ok(())
    }

    /// End of a run on a disk without faults: every entry without a known outcome is resent, and
    /// after one more crash all entries must be there.
    fn check_at_end(&mut self) -> Result<(), String> {
        let failed = |what| format!("in the end: {what}");
        (self.disk.capacity, self.disk.failing, self.disk.fatal, self.interrupted) =
            (u64::MAX, 0, 0, 0);
        self.start().map_err(failed)?;
        let mut turns = 0;
        while self.clients.iter().any(Clients::has_doubtful_entries) || !self.is_durable() {
            turns += 1;
            if turns == MAX_TURNS {
                return Err(failed(
                    "the disk does all it is asked, and entries are still not taken".to_owned(),
                ));
            }
            for slice in 0..self.slices() {
                self.turn(slice, false).map_err(|stop| failed(description(stop)))?;
            }
            self.pass();
        }
        self.collect();
        self.end(Crash::Power);
        self.start().map_err(failed)?;
        for (node, oracle) in self.nodes.iter().zip(&self.oracles) {
            for (&user, history) in &oracle.users {
                if history.shown != history.version() {
                    let (shown, version) = (history.shown, history.version());
                    return Err(failed(format!(
                        "user {user}: all was told, up to version {shown} of {version}"
                    )));
                }
                oracle.compare(&node.slice, user, self.now_ms).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        self.nodes.iter().all(|node| node.store.is_durable() && node.waiting.is_empty())
    }

    fn pass(&mut self) {
        self.now_ms += match self.random.below(100) {
            0 => self.random.between(1_000, 12_000),
            1..20 => self.random.between(5, 50),
            _ => self.random.below(5),
        };
    }

    /// Runs the process for some turns and ends it.
    fn live(&mut self, turns: u64) -> Result<(), String> {
        for _ in 0..turns {
            if self.random.in_thousand(15) {
                // The disk fills up or gets space again.
                self.disk.capacity = self.random.pick(&[
                    u64::MAX,
                    u64::MAX,
                    56 << 10,
                    150 << 10,
                    300 << 10,
                    600 << 10,
                ]);
            }
            for slice in 0..self.slices() {
                match self.turn(slice, true) {
                    Ok(()) => {}
                    Err(Stop::Fatal) => {
                        self.collect();
                        self.end(Crash::Kill);
                        return Ok(());
                    }
                    Err(Stop::Wrong(what)) => return Err(format!("slice {slice}: {what}")),
                }
            }
            self.pass();
        }
        let is_clean = self.random.in_thousand(250) && self.close()?;
        self.collect();
        let crash =
            if is_clean || self.random.in_thousand(350) { Crash::Kill } else { Crash::Power };
        self.end(crash);
        Ok(())
    }

    /// Shuts the process down. Returns whether it finished its work.
    fn close(&mut self) -> Result<bool, String> {
        self.nodes.iter_mut().for_each(|node| node.store.drain());
        for _ in 0..200 {
            if self.is_durable() && self.disk.is_idle() {
                return Ok(true);
            }
            for slice in 0..self.slices() {
                match self.drive(slice) {
                    Ok(()) => {}
                    Err(Stop::Fatal) => return Ok(false),
                    Err(Stop::Wrong(what)) => return Err(what),
                }
                self.advance(slice)?;
            }
            self.pass();
        }
        Ok(false)
    }

    /// Adds the stores' counts to those of the run.
    fn collect(&mut self) {
        for node in &self.nodes {
            let done = node.store.counts();
            self.counts.add("segments", done.segments);
            self.counts.add("snapshots", done.snapshots);
            self.counts.add("failed snapshots", done.failed_snapshots);
            self.counts.add("failed segments", done.failed_segments);
            self.counts.add("stalls", done.failed_writes + done.failed_publications);
        }
    }

    /// Ends the process. The outcome of unanswered entries is unknown.
    fn end(&mut self, crash: Crash) {
        match crash {
            Crash::Kill => self.counts.add("kills", 1),
            Crash::Power => self.counts.add("power cuts", 1),
        }
        for (node, clients) in self.nodes.drain(..).zip(&mut self.clients) {
            clients.add_doubtful(
                node.waiting
                    .into_values()
                    .flat_map(|answer| answer.acknowledges.into_iter().chain(answer.refused)),
            );
        }
        self.disk.crash(crash, &mut self.random);
    }

    // A turn of the process.

    fn turn(&mut self, slice: usize, new: bool) -> Result<(), Stop> {
        self.drive(slice)?;
        for _ in 0..self.random.below(4) {
            if self.random.in_thousand(300) {
                self.read(slice)?;
            } else {
                self.feed(slice, new)?;
            }
        }
        Ok(self.advance(slice)?)
    }

    /// Processes disk completions and releases answers.
    fn drive(&mut self, slice: usize) -> Result<(), Stop> {
        while let Some(done) = self.disk.next(self.now_ms, slice, &mut self.random) {
            let done = done?;
            let node = &mut self.nodes[slice];
            let mut tasks = Vec::new();
            if let Some(lsn) = node.store.done(self.now_ms, done, &mut |task| tasks.push(task)) {
                node.slice.durable(lsn);
            }
            while let Some(Waiter(waiter)) = self.nodes[slice].slice.next_released() {
                let answer = self.nodes[slice].waiting.remove(&waiter);
                let answer = answer
                    .ok_or_else(|| format!("waiter {waiter} is released twice or unknown"))?;
                self.send_answer(slice, answer)?;
            }
            if self.nodes[slice].store.is_stalled() {
                self.refuse_answers(slice);
            }
            for task in tasks {
                self.disk.ask(slice, self.now_ms, task, &mut self.random);
            }
        }
        Ok(())
    }

    /// Refuses the answers that wait for a log without space. The outcome of their entries is
    /// unknown to the client.
    fn refuse_answers(&mut self, slice: usize) {
        let node = &mut self.nodes[slice];
        while let Some(Waiter(waiter)) = node.slice.next_waiter() {
            let answer = node.waiting.remove(&waiter).expect("each waiter has an answer");
            self.counts.add("refused answers", 1);
            self.clients[slice].add_doubtful(answer.acknowledges.into_iter().chain(answer.refused));
        }
    }

    fn advance(&mut self, slice: usize) -> Result<(), String> {
        let (node, mut tasks) = (&mut self.nodes[slice], Vec::new());
        let read_load = self.random.pick(&[ReadLoad::Reads, ReadLoad::NoReads]);
        // The log may be delayed in any turn, but not for ever.
        let turn = TurnInput {
            now_ms: self.now_ms,
            read_load,
            is_log_awaited: self.random.in_thousand(900),
        };
        node.store.advance(turn, &mut node.slice, &mut |task| tasks.push(task));
        for task in tasks {
            self.disk.ask(slice, self.now_ms, task, &mut self.random);
        }
        let most = 9 * self.settings.snapshot_after_bytes.max(64 << 10)
            + self.settings.segments.largest_bytes;
        let uncovered = self.nodes[slice].store.uncovered_bytes();
        if uncovered > most {
            return Err(format!("{uncovered} bytes of log since the last snapshot"));
        }
        self.disk.broken.take().map_or(Ok(()), Err)
    }

    fn read(&mut self, slice: usize) -> Result<(), Stop> {
        let user = self.clients[slice].user(&mut self.random);
        let node = &self.nodes[slice];
        let (position, view) = node.slice.view(users::id(user));
        let version = view.map_or(0, |view| view.user.version());
        let expected = self.oracles[slice].users.get(&user).map_or(0, |history| history.version());
        if version != expected {
            return Err(Stop::Wrong(format!(
                "user {user}: version {version}, and {expected} entries were accepted"
            )));
        }
        if self.random.in_thousand(100) {
            self.oracles[slice].compare(&node.slice, user, self.now_ms)?;
        }
        let shows = vec![(user, version)];
        Ok(self.answer(
            slice,
            Answer {
                position,
                shows,
                is_read: true,
                acknowledges: Vec::new(),
                refused: Vec::new(),
            },
        )?)
    }

    /// Feeds a body of entries: new ones or resends.
    fn feed(&mut self, slice: usize, new: bool) -> Result<(), Stop> {
        if self.nodes[slice].store.is_throttled() {
            self.counts.add("held feeds", 1);
            return Ok(());
        }
        let most = match self.random.below(120) {
            0 => self.random.between(1, STEP),
            1..24 => self.random.between(2, 12),
            _ => 1,
        };
        // The first record of a write: its place in the segment is known.
        let is_first = self.nodes[slice].store.is_durable();
        if new && is_first && self.random.in_thousand(20) {
            let drafts = self.forged(slice);
            return self.send(slice, drafts);
        }
        let drafts = if !new
            || (self.clients[slice].has_doubtful_entries() && self.random.in_thousand(300))
        {
            self.clients[slice].take_resends(most as usize)
        } else {
            (0..most)
                .map(|_| {
                    self.clients[slice].draft(&self.oracles[slice], self.now_ms, &mut self.random)
                })
                .collect()
        };
        self.send(slice, drafts)
    }

    /// A body that looks like a write of a later segment, near the present end of the log.
    fn forged(&mut self, slice: usize) -> Vec<Draft> {
        self.counts.add("forged records", 1);
        let last = self.disk.last_segment(slice);
        let place = Place { file: last + self.random.between(3, 4), ..self.place(slice) };
        let number = self.disk.written(slice) + self.random.between(1, 60);
        self.clients[slice].forged(place, number, &mut self.random)
    }

    fn send(&mut self, slice: usize, drafts: Vec<Draft>) -> Result<(), Stop> {
        let mut answer = Answer {
            position: Lsn(0),
            shows: Vec::new(),
            is_read: false,
            acknowledges: Vec::new(),
            refused: Vec::new(),
        };
        for draft in drafts {
            let node = &mut self.nodes[slice];
            let has_space = node.store.has_space();
            let (position, verdict) =
                node.slice.apply(Millis(self.now_ms), &draft, &mut node.store);
            if verdict == Verdict::Rejected(Rejection::InsufficientStorage) {
                if has_space {
                    return Err(Stop::Wrong(format!(
                        "{draft:?} is refused although there is space"
                    )));
                }
                self.counts.add("refused for lack of space", 1);
                answer.refused.push(draft);
            } else {
                self.oracles[slice].judge(self.now_ms, &draft, verdict, position.0)?;
                self.counts.add("accepted", u64::from(verdict == Verdict::Accepted));
                answer.acknowledges.push(draft);
            }
            let (node, user) = (&self.nodes[slice], users::of(draft.user));
            answer.shows.push((user, version_of(&node.slice, user)));
            answer.position = answer.position.max(position);
        }
        Ok(self.answer(slice, answer)?)
    }

    /// Sends an answer now if everything it shows is durable, else lets it wait.
    fn answer(&mut self, slice: usize, answer: Answer) -> Result<(), String> {
        let node = &mut self.nodes[slice];
        if answer.position <= node.slice.durable_upto() || self.bug == Some(Bug::AnswerLeavesEarly)
        {
            return self.send_answer(slice, answer);
        }
        self.counts.add("answers that waited", 1);
        node.waiters += 1;
        node.slice.wait(answer.position, Waiter(node.waiters));
        node.waiting.insert(node.waiters, answer);
        if node.store.is_stalled() {
            self.refuse_answers(slice);
        }
        Ok(())
    }

    fn send_answer(&mut self, slice: usize, answer: Answer) -> Result<(), String> {
        self.counts.add("answers", 1);
        let durable = self.disk.written(slice);
        if self.bug.is_none() && answer.position.0 > durable {
            return Err(format!(
                "an answer leaves at write {}, and the disk holds {durable}",
                answer.position.0
            ));
        }
        for (user, version) in answer.shows {
            let history = self.oracles[slice].users.entry(user).or_default();
            history.shown = history.shown.max(version);
            if answer.is_read {
                if version < history.read {
                    return Err(format!(
                        "user {user}: a read shows version {version} after {}",
                        history.read
                    ));
                }
                history.read = version;
            }
        }
        self.clients[slice].add_doubtful(answer.refused);
        Ok(())
    }

    // A start of the process.

    /// Recovers all slices; starts over after a crash. After many crashes, nothing interrupts a
    /// start any more: on a slow disk it would take millions of them.
    fn start(&mut self) -> Result<(), String> {
        let (interrupted, fatal) = (self.interrupted, self.disk.fatal);
        for attempt in 0.. {
            if attempt == MAX_CRASHES {
                (self.interrupted, self.disk.fatal) = (0, 0);
            }
            if self.try_start()? {
                break;
            }
        }
        (self.interrupted, self.disk.fatal) = (interrupted, fatal);
        Ok(())
    }

    /// Recovers all slices. Returns whether no crash has interrupted that.
    fn try_start(&mut self) -> Result<bool, String> {
        let mut nodes = Vec::new();
        for slice in 0..self.slices() {
            let node = self.recover(slice).map_err(|what| format!("slice {slice}: {what}"))?;
            let Some(node) = node else {
                self.counts.add("crashes in recovery", 1);
                let crash = self.random.pick(&[Crash::Kill, Crash::Power]);
                self.end(crash);
                return Ok(false);
            };
            nodes.push(node);
        }
        self.nodes = nodes;
        Ok(true)
    }

    /// Whether recovery is interrupted here.
    fn is_interrupted(&mut self) -> bool {
        self.random.in_thousand(self.interrupted)
    }

    /// Recovers one slice like the engine; `None` if the process crashed.
    fn recover(&mut self, slice: usize) -> Result<Option<Node>, String> {
        match self.recovered(slice) {
            Ok(node) => Ok(Some(node)),
            Err(Stop::Fatal) => Ok(None),
            Err(Stop::Wrong(what)) => Err(what),
        }
    }

    fn recovered(&mut self, slice: usize) -> Result<Node, Stop> {
        let place = self.place(slice);
        let mut machine = Slice::new(usize::MAX, Secret::default());
        let mut recovery = begin(self.disk.files_of(slice), place, self.slices())?;
        loop {
            while let Some(done) = self.done(slice)? {
                recovery.done(done);
            }
            let mut tasks = Vec::new();
            let outcome = recovery.advance(&mut machine, &mut |task| tasks.push(task));
            let outcome = outcome.map_err(|fault| format!("recovery refuses: {fault}"))?;
            for task in tasks {
                self.counts.add("reads of recovery", u64::from(matches!(task, Task::Read { .. })));
                self.disk.ask(slice, self.now_ms, task, &mut self.random);
            }
            match outcome {
                StepOutcome::Waiting => self.now_ms += self.random.between(1, 4),
                StepOutcome::Going => {}
                StepOutcome::Done => break,
            }
        }
        let report = *recovery.report();
        let mut found = recovery.finish();
        let position = found.tail.position;
        let reported = self.disk.written(slice);
        if self.bug.is_none() && position < reported {
            let what = format!(
                "the log ends with write {position}, and write {reported} was reported as durable"
            );
            return Err(Stop::Wrong(what));
        }
        if self.bug == Some(Bug::ReplayUnchecked) {
            replay_again(&mut machine, self.disk.files_of(slice), place, &found)?;
        }
        let settle = Task::SyncRecovered { segment: found.tail.segment, manifest: found.manifest };
        self.disk.ask(slice, self.now_ms, settle, &mut self.random);
        while self.done(slice)?.is_none() {
            self.now_ms += self.random.between(1, 4);
        }
        // Crash more often here: removed files may come back, and so may a manifest that names
        // them.
        if self.random.in_thousand(10 * self.interrupted) {
            return Err(Stop::Fatal);
        }
        self.counts.add("records known", report.already_known);
        self.counts.add("torn writes cut", u64::from(report.torn_write.is_some()));
        self.counts.add("untold entries lost", self.oracles[slice].cut(position, self.now_ms)?);
        self.oracles[slice].check(&machine, position, self.now_ms)?;
        self.disk.recovered(slice, position);
        self.plant_log_end_bug(slice, &report, &mut found);
        machine.recovered(Lsn(found.tail.position));
        let store = Store::new(Settings { place, ..self.settings }, found);
        Ok(Node { slice: machine, store, waiting: BTreeMap::new(), waiters: 0 })
    }

    /// The next disk completion of a recovery, which may be interrupted wherever it waits.
    fn done(&mut self, slice: usize) -> Result<Option<Done>, Stop> {
        if self.is_interrupted() {
            return Err(Stop::Fatal);
        }
        Ok(self.disk.next(self.now_ms, slice, &mut self.random).transpose()?)
    }

    /// Moves the end of the log if such a bug is planted.
    fn plant_log_end_bug(&self, slice: usize, report: &Report, found: &mut Recovered) {
        let tail = &mut found.tail;
        if tail.segment == 0 {
            return;
        }
        let place = Place { file: tail.segment, ..self.place(slice) };
        let bytes = self
            .disk
            .files_of(slice)
            .bytes(Name::File(File::Segment(tail.segment)))
            .expect("it was read");
        match self.bug {
            Some(Bug::CutTooLate) => tail.offset += frame::ALIGN as u64,
            Some(Bug::CutTooEarly) => {
                let frames = damage::frames(&bytes, place);
                if let [.., last, _] = frames[..] {
                    (tail.offset, tail.crc, tail.position) =
                        (last.next as u64, last.crc, last.number);
                }
            }
            Some(Bug::TornWriteKept) if report.torn_write.is_some() => {
                let torn = &bytes[tail.offset as usize..];
                tail.crc = u32::from_le_bytes(torn[..4].try_into().expect("four bytes"));
                tail.offset += frame::ALIGN as u64;
                tail.position += 1;
            }
            _ => {}
        }
    }

    // Damage at rest.

    /// Damages a copy of the files and checks its recovery. If recovery succeeds without losing
    /// entries, the run may continue on the damaged files.
    fn damage(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let slice = self.random.below(self.slices() as u64) as usize;
            let place = self.place(slice);
            let mut damaged = self.disk.at_rest();
            let what = damage::damage(&mut damaged, self.slices(), slice, place, &mut self.random);
            self.counts.add("damaged files", 1);
            let must_reach =
                damage::must_reach(self.disk.files_of(slice), damaged.files_of(slice), place);
            let Ok((machine, position)) = recover_at_once(&damaged, slice, self.slices(), place)
            else {
                self.counts.add("damage refused", 1);
                continue;
            };
            if position < must_reach {
                return Err(format!(
                    "{what}: the log ends with write {position}, and write {must_reach} is whole"
                ));
            }
            let reported = self.disk.written(slice);
            self.oracles[slice]
                .check(&machine, position, self.now_ms)
                .map_err(|why| format!("{what}: {why}"))?;
            if position < reported {
                self.counts.add("damage cut", 1);
            } else if self.random.coin() {
                self.disk.take_files(damaged);
            }
        }
        Ok(())
    }
}

/// What a snapshot of the only slice has.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes of its users and of the largest frame of them.
    pub users_bytes: u64,
    pub largest_bytes: u64,
    /// Number of its frames of kinds.
    pub kinds: u64,
}

/// Frames of a snapshot of the only slice, as far as it is written; `None` if there is no such
/// file.
fn frames(world: &World, number: u64) -> Option<Frames> {
    let bytes = world.disk.files_of(0).bytes(Name::File(File::Snapshot(number)))?;
    let place = Place { file: number, ..world.place(0) };
    let (mut at, mut frames) = (0, Frames::default());
    while let Ok(frame) = frame::decode(bytes.get(at..).unwrap_or_default(), place, frame::NO_SALT)
    {
        let bytes = frame.payload.len() as u64;
        match frame.kind {
            Kind::Users => {
                frames.users_bytes += bytes;
                frames.largest_bytes = frames.largest_bytes.max(bytes);
            }
            Kind::Kinds => frames.kinds += 1,
            _ => {}
        }
        at += frame.size();
    }
    Some(frames)
}

fn description(stop: Stop) -> String {
    match stop {
        Stop::Fatal => "the disk failed".to_owned(),
        Stop::Wrong(what) => what,
    }
}

fn fault(error: source::Error<Infallible>) -> String {
    match error {
        source::Error::Disk(never) => match never {},
        source::Error::Fault(fault) => format!("recovery refuses: {fault}"),
    }
}

fn begin(files: Files<'_>, place: Place, slices: usize) -> Result<Recovery, String> {
    let text = files.bytes(Name::Manifest).ok_or("the manifest is missing")?;
    let manifest = manifest::SliceManifest::decode(&text, place)
        .map_err(|why| format!("the manifest is unusable: {why:?}"))?;
    Ok(Recovery::new(place, slices as u32, manifest))
}

/// Runs a recovery without interruption, including its check for unnamed files.
fn recover_at_once(
    disk: &Disk,
    slice: usize,
    slices: usize,
    place: Place,
) -> Result<(Slice, u64), String> {
    let (mut machine, mut files) =
        (Slice::new(usize::MAX, Secret::default()), disk.files_of(slice));
    let mut recovery = begin(files, place, slices)?;
    while !source::step(&mut recovery, &mut machine, &mut files).map_err(fault)? {}
    let found = recovery.finish();
    unnamed_files(&found.manifest, disk.names(slice).iter())?;
    Ok((machine, found.tail.position))
}

/// Plants `Bug::ReplayUnchecked`: applies the log's entries again, whatever the users' versions.
fn replay_again(
    slice: &mut Slice,
    files: Files<'_>,
    place: Place,
    found: &Recovered,
) -> Result<(), String> {
    if found.manifest.snapshot == 0 {
        return Ok(());
    }
    for segment in found.manifest.first..=found.manifest.last {
        let bytes = files.bytes(Name::File(File::Segment(segment))).expect("it was read");
        for placed in damage::frames(&bytes, Place { file: segment, ..place }).into_iter().skip(1) {
            let mut rest = &bytes[placed.start + frame::HEADER_BYTES..placed.end];
            while let Some((entry, _)) = record::decode(&mut rest) {
                let version = version_of(slice, users::of(entry.user)) + 1;
                match slice.replay(&entry, version) {
                    Ok(Replayed::Booked | Replayed::Known) => {}
                    Err(error) => return Err(format!("recovery refuses: {error}")),
                }
            }
        }
    }
    Ok(())
}
