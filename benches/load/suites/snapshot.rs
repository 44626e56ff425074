//! `snapshot`: GET balance while a snapshot is written.
//!
//! Two servers hold the same population. One takes no snapshot; the other starts with only a log,
//! and so begins a snapshot immediately. They are loaded in turn, and the second is paused while
//! the first is measured. A round counts only if the snapshot was being written throughout; if it
//! ended too soon, the server is started again from the same log. At the end the second server also
//! takes entries, and serves reads at half of the rate that the first reached.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Bench, CONNECTIONS, MILLION, short};
use crate::check;
use crate::closed::{Dialect, Feeder, Latencies};
use crate::data::DataDir;
use crate::error::{Context, Error, Result};
use crate::feed::feed;
use crate::ids::Ids;
use crate::options::{Cores, Options, Suite};
use crate::paced::{self, Answers, Pace, Users};
use crate::population::Population;
use crate::random::mix;
use crate::report::{self, Figure, Report};
use crate::rounds::{Plan, Series, Spread, Variant, measure};
use crate::server::{Running, Subject};
use crate::tally::Tally;
use crate::wrk::{Load, Script};

const AT_MOST: f64 = 1.15;
const AT_MOST_US: f64 = 500.0;
const ENTRIES_A_SECOND: f64 = 50_000.0;
/// Below this many users a snapshot ends before a round does, and the figures have no meaning.
const ENOUGH_USERS: u64 = MILLION;
/// Longest rounds, in seconds per million users: a snapshot of a million users takes five seconds,
/// and half of that with incoming entries.
const LONGEST: f64 = 3.0;
const LONGEST_FED: f64 = 1.0;
/// Snapshot threshold in MiB above the log that any suite writes.
const NO_SNAPSHOT: u64 = 1 << 20;
/// Most retries of a round that outlasts its snapshot.
const ATTEMPTS: usize = 3;

/// The server that writes a snapshot; it is started again once its snapshot is done.
struct Writer<'a> {
    log: &'a DataDir,
    cores: Cores,
    /// Too few users: their snapshots take too little time, and no target applies.
    must_not_snapshot: bool,
    running: Option<(DataDir, Running)>,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let (options, cores) = (bench.options.clone(), bench.cores);
    let users = options.users_or(&[10 * MILLION])[0];
    let population = Population::new(users, options.seed);
    let (log, mut tally) = (DataDir::new(options.dir.as_deref())?, Tally::new(&population));
    eprintln!("feeding {} entries of {users} users", population.len());
    let still = Subject::durable(cores.server, &log, Some(NO_SNAPSHOT)).start(cores.server)?;
    feed(&still, &population, &mut tally, 1)?;
    check::check(&still, &tally, 0)?;

    let ids = Ids::write(&population)?;
    let load = Load {
        script: Script::Balance,
        connections: options.connections_or(&[CONNECTIONS])[0],
        ids: &ids,
        port: None,
        core: None,
    };
    let mut writer =
        Writer { log: &log, cores, must_not_snapshot: users < ENOUGH_USERS, running: None };
    let series = rounds(&still, &mut writer, &load, &options)?;
    if let Some((_, server)) = &writer.running {
        check::check(server, &tally, 1)?;
    }
    check::check(&still, &tally, 1)?;
    still.stop()?;
    let pace = Pace {
        per_second: series[0].spread(|round| round.per_second).median / 2.0,
        connections: load.connections,
        seconds: at_most(options.seconds, LONGEST_FED, users),
        seed: options.seed,
    };
    let half = half_load(&mut writer, population, tally, pace)?;
    let judged = users >= ENOUGH_USERS;
    let mut notes = half.notes;
    notes.insert(0, format!("Disk: {}.", log.medium()));
    if !judged {
        notes.push(
            "With so few users a snapshot ends before a round does: the figures are meaningless."
                .to_owned(),
        );
    }
    Ok(Report {
        suite: Suite::Snapshot,
        title: format!(
            "GET balance while a snapshot is written: {} users, {} connections",
            short(users),
            load.connections
        ),
        rows: report::rows(&series),
        figures: vec![
            Figure {
                what: "CPU per read while a snapshot is written, against without".to_owned(),
                value: series[1].against(&series[0]),
                decimals: 3,
                unit: "x",
                at_most: judged.then_some(AT_MOST),
            },
            Figure {
                what: "half load, 50 k entries/s, snapshot: server p99.9, receive to send"
                    .to_owned(),
                value: half.sends_us,
                decimals: 1,
                unit: " us",
                at_most: judged.then_some(AT_MOST_US),
            },
        ],
        notes,
    })
}

/// The requested seconds, limited to `longest` per million users if targets apply.
fn at_most(seconds: f64, longest: f64, users: u64) -> f64 {
    let judged = users >= ENOUGH_USERS;
    if judged { seconds.min(longest * users as f64 / MILLION as f64) } else { seconds }
}

/// Measures rounds without and with a snapshot, in turn.
fn rounds(
    still: &Running,
    writer: &mut Writer<'_>,
    load: &Load<'_>,
    options: &Options,
) -> Result<[Series; 2]> {
    let mut all = ["no snapshot", "a snapshot"]
        .map(|name| Series { name: name.to_owned(), rounds: Vec::new() });
    for round in 0..options.rounds {
        let seconds = at_most(options.seconds, LONGEST, load.ids.count);
        let plan = Plan {
            rounds: 1,
            seconds,
            seed: mix(options.seed ^ round as u64),
            ..options.plan(writer.cores)
        };
        let balance = |server: &Running| {
            measure(&[Variant { name: "balance".to_owned(), server, loads: vec![*load] }], &plan)
        };
        writer.running.as_ref().map_or(Ok(()), |(_, server)| server.pause())?;
        let one = balance(still)?;
        writer.running.as_ref().map_or(Ok(()), |(_, server)| server.resume())?;
        let other = writer.meanwhile(balance).context("reads alone")?;
        for (series, measured) in all.iter_mut().zip([one, other]) {
            series.rounds.extend(measured.into_iter().flat_map(|series| series.rounds));
        }
    }
    if options.rounds > 1 {
        for series in &mut all {
            series.rounds.remove(0);
        }
    }
    Ok(all)
}

impl Writer<'_> {
    /// Runs `work` entirely while a snapshot is written.
    fn meanwhile<R>(&mut self, mut work: impl FnMut(&Running) -> Result<R>) -> Result<R> {
        for _ in 0..ATTEMPTS {
            let (data, server) = match self.running.take() {
                Some((data, server)) if data.snapshot()? == 0 => (data, server),
                other => {
                    drop(other);
                    self.start()?
                }
            };
            let result = work(&server)?;
            let went_on = data.snapshot()? == 0 && data.bytes("snapshot-")? > 0;
            self.running = Some((data, server));
            if went_on || self.must_not_snapshot {
                return Ok(result);
            }
        }
        Err(Error::new("a snapshot ends before a round: use more users or fewer --seconds"))
    }

    /// Starts a server that begins a snapshot.
    fn start(&self) -> Result<(DataDir, Running)> {
        let data = self.log.linked()?;
        // Less than the existing log, so that a snapshot is due; enough that entries are not
        // refused for lack of a snapshot.
        let after_mib = ((data.bytes("log-")? / 4) >> 20).max(1);
        let server =
            Subject::durable(self.cores.server, &data, Some(after_mib)).start(self.cores.server)?;
        Ok((data, server))
    }
}

struct HalfLoad {
    sends_us: Spread,
    notes: Vec<String>,
}

/// Reads at a fixed rate while entries come in and a snapshot is written, on servers that do
/// nothing else, so that their log lines at shutdown cover only this load.
fn half_load(
    writer: &mut Writer<'_>,
    population: Population,
    tally: Tally,
    pace: Pace,
) -> Result<HalfLoad> {
    const TIMES: usize = 3;
    let (mut sends, mut clients, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TIMES {
        // A fresh server for each turn, never loaded by wrk.
        writer.running = None;
        let mut measured = None;
        let done = writer.meanwhile(|server| {
            measured = Some(mixed(server, population, tally.clone(), &pace)?);
            Ok(())
        });
        done.context("reads and entries")?;
        let (mut latencies, tally, entries) = measured.context("a round was measured")?;
        let (_, server) = writer.running.take().context("a server is running")?;
        check::check(&server, &tally, turn)?;
        clients.push(latencies.us(0.999)?);
        let said = server.leave()?;
        let turns = said
            .iter()
            .find(|line| line.starts_with("turns: "))
            .context("the server logs its turns")?;
        let us =
            turns.split_once("received to sent").and_then(|(_, rest)| rest.split_once("p99.9 "));
        let us = us.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        sends.push(us.context(format!("a p99.9 in: {turns}"))?);
        notes.push(format!(
            "Half load, {:.0} reads/s and {entries} entries in {} s: the server logs: {turns}.",
            pace.per_second, pace.seconds
        ));
    }
    let clients = Spread::of(clients.into_iter()).text(0);
    notes.push(format!(
        "Half load at the client, on the core that also makes the entries: p99.9 from a read's due \
         time to its answer, {clients} us; the reads are of users without pending writes."
    ));
    Ok(HalfLoad { sends_us: Spread::of(sends.into_iter()), notes })
}

/// Runs reads and entries at the same time: entries for users of odd index, reads of the others.
fn mixed(
    server: &Running,
    population: Population,
    tally: Tally,
    pace: &Pace,
) -> Result<(Latencies, Tally, u64)> {
    let odd = population.more().filter(|entry| entry.user % 2 == 1);
    let mut feeder = Feeder::new(server, Dialect::Http, population, tally, odd);
    let stop = AtomicBool::new(false);
    let (latencies, entries) = std::thread::scope(|scope| {
        let fed = scope.spawn(|| feeder.send_paced(ENTRIES_A_SECOND, &stop));
        let latencies = paced::read(server, &population, Users::Even, Answers::Balances, pace);
        stop.store(true, Ordering::Relaxed); // Relaxed: the flag publishes no other data
        (latencies, fed.join().expect("the feeder panicked"))
    });
    Ok((latencies?.latencies, feeder.tally, entries?))
}
