//! `recovery`: time of a start from a snapshot of a whole population and a log tail of one entry
//! per ten users. Also of a start from a log of all entries, and of the first touch of as much
//! memory as a start takes.
//!
//! The data is made by feeding a server that takes no snapshot, restarting it so that it takes a
//! snapshot of all users, and feeding it the tail. Starts are measured before the tail and after
//! it; the difference is the cost of the tail.

use std::time::{Duration, Instant};

use super::{Bench, MILLION, before, short};
use crate::check;
use crate::closed::{Dialect, Feeder};
use crate::data::DataDir;
use crate::error::{Context, Error, Result};
use crate::feed::feed;
use crate::options::{Cores, Suite};
use crate::population::Population;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::{Memory, Running, Subject};
use crate::sys;
use crate::tally::Tally;

const AT_MOST_SECONDS: f64 = 10.0;
/// Population from which a start must take at most `AT_MOST_SECONDS`.
const ASKED_USERS: u64 = 10 * MILLION;
/// Smallest population whose log reaches the snapshot threshold.
const LEAST_USERS: u64 = 3_000;
/// Users per entry of the tail.
const USERS_PER_ENTRY: u64 = 10;
const STARTS: usize = 3;
/// Snapshot threshold in MiB above the log that any suite writes.
const NO_SNAPSHOT: u64 = 1 << 20;
/// Longest wait for a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(15);

/// Measured starts from one kind of data.
struct Starts {
    name: &'static str,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    rss: u64,
    log_line: String,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let users = bench.options.users_or(&[ASKED_USERS])[0].max(LEAST_USERS);
    let (population, tail) =
        (Population::new(users, bench.options.seed), users.div_ceil(USERS_PER_ENTRY));
    let data = DataDir::new(bench.options.dir.as_deref())?;
    let (cores, mut tally) = (bench.cores, Tally::new(&population));
    eprintln!("feeding {} entries of {users} users", population.len());
    let server = Subject::durable(cores.server, &data, Some(NO_SNAPSHOT)).start(cores.server)?;
    feed(&server, &population, &mut tally, 1)?;
    server.stop()?;

    let log = starts("a log of all entries", &data, cores, &tally, 1)?;
    eprintln!("writing the snapshot");
    let server = Subject::durable(cores.server, &data, Some(1)).start(cores.server)?;
    wait_for_snapshot(&data)?;
    server.stop()?;
    let snapshot_bytes = data.bytes("snapshot-")?;
    let snapshot = starts("a snapshot", &data, cores, &tally, STARTS)?;

    let server = Subject::durable(cores.server, &data, None).start(cores.server)?;
    let mut feeder = Feeder::new(&server, Dialect::Http, population, tally, population.more());
    feeder.send(tail)?;
    let tally = feeder.tally;
    server.stop()?;
    let both = starts("a snapshot and a tail", &data, cores, &tally, STARTS)?;
    let touches = first_touches(cores, both.rss)?;
    let tail_seconds = Spread::of(both.seconds.iter().copied()).median
        - Spread::of(snapshot.seconds.iter().copied()).median;
    let rate = |count: u64, seconds: f64| format!("{:.2} M/s", count as f64 / seconds / 1e6);
    let notes = vec![
        format!(
            "Disk: {}. The page cache is warm, except for direct writes not read since.",
            data.medium()
        ),
        format!(
            "Parts: {} users in a snapshot of {} MiB, {}; a tail of {tail} entries, {}; \
             a log of {} entries, {}.",
            short(users),
            Memory::mib(snapshot_bytes),
            rate(users, Spread::of(snapshot.seconds.iter().copied()).median),
            if tail_seconds > 0.0 {
                rate(tail, tail_seconds)
            } else {
                "too fast to measure".to_owned()
            },
            population.len(),
            rate(population.len(), log.seconds[0]),
        ),
        format!("Log line of the last start: {}.", both.log_line),
    ];
    let mut report = Report {
        suite: Suite::Recovery,
        title: format!(
            "Starts: {} users, a tail of {} entries, one core",
            short(users),
            short(tail)
        ),
        rows: rows(&[&log, &snapshot, &both], users),
        figures: vec![
            Figure {
                what: "from process start until /readyz answers 200".to_owned(),
                value: Spread::of(both.seconds.iter().copied()),
                decimals: 2,
                unit: " s",
                at_most: (users >= ASKED_USERS).then_some(AT_MOST_SECONDS),
            },
            Figure {
                what: "first touch of the same amount of memory by an idle thread on that core"
                    .to_owned(),
                value: Spread::of(touches.iter().copied()),
                decimals: 2,
                unit: " s",
                at_most: None,
            },
        ],
        notes,
    };
    before::recovery(bench, &data, &tally)?.add_to(&mut report);
    Ok(report)
}

/// Starts a server on `data` `count` times, checks its answers each time, and stops it.
fn starts(
    name: &'static str,
    data: &DataDir,
    cores: Cores,
    tally: &Tally,
    count: usize,
) -> Result<Starts> {
    let mut starts =
        Starts { name, seconds: Vec::new(), cpu: Vec::new(), rss: 0, log_line: String::new() };
    for turn in 0..count {
        let clock = Instant::now();
        let server = Subject::durable(cores.server, data, Some(NO_SNAPSHOT)).start(cores.server)?;
        starts.seconds.push(clock.elapsed().as_secs_f64());
        starts.cpu.push(server.cpu()?.as_secs_f64());
        check::check(&server, tally, turn)?;
        starts.rss = server.memory()?.rss;
        starts.log_line = loaded(server)?;
    }
    Ok(starts)
}

/// Seconds for the first touch of as much memory on this machine: a virtual machine may have to ask
/// its hypervisor for each page.
fn first_touches(cores: Cores, bytes: u64) -> Result<Vec<f64>> {
    let touch = || {
        sys::pin(cores.server).context("pinning")?;
        let touch = || sys::first_touch(bytes as usize).map(|took| took.as_secs_f64());
        (0..STARTS).map(|_| touch().context("touching memory")).collect()
    };
    std::thread::scope(|scope| scope.spawn(touch).join().expect("touching memory panicked"))
}

/// The server's log line about loading, without the path: kept results contain no paths.
fn loaded(server: Running) -> Result<String> {
    let said = server.leave()?;
    let line = said.iter().find_map(|line| line.strip_prefix("data: ")?.split_once(": "));
    line.map(|(_, what)| what.to_owned())
        .ok_or_else(|| Error::new("the server did not log what it loaded"))
}

fn wait_for_snapshot(data: &DataDir) -> Result<()> {
    let until = Instant::now() + SNAPSHOT_TIMEOUT;
    while data.snapshot()? == 0 {
        if Instant::now() > until {
            return Err(Error::new("the snapshot was not finished in time"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn rows(kinds: &[&Starts], users: u64) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["a start from", "seconds", "CPU seconds", "RSS MiB", "bytes per user"]
            .map(String::from)
            .to_vec(),
    ];
    for starts in kinds {
        rows.push(vec![
            starts.name.to_owned(),
            Spread::of(starts.seconds.iter().copied()).text(2),
            Spread::of(starts.cpu.iter().copied()).text(2),
            Memory::mib(starts.rss),
            format!("{:.1}", starts.rss as f64 / users as f64),
        ]);
    }
    rows
}
