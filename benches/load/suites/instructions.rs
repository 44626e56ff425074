//! `instructions`: user-space instructions per request and per entry of the whole server, counted
//! by callgrind. The counts hardly depend on how busy the machine is, so that two builds can be
//! compared within a per cent where CPU time needs many rounds.
//!
//! The server runs under valgrind and gets one request at a time over one connection. The counters
//! are dumped and reset after the feed and after each kind of read. Turns in between that find
//! nothing to do are counted, too; the kernel's instructions are not.

use super::{Bench, short};
use crate::check;
use crate::data::DataDir;
use crate::error::{Context, Error, Result};
use crate::feed;
use crate::http::Client;
use crate::options::Suite;
use crate::population::Population;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::{Running, Subject};
use crate::tally::Tally;
use crate::wrk::{BATCH, Script};
use std::path::Path;
use std::process::Command;

/// A kind of read and its number of requests; a hundredth of it under `cargo test`.
pub type Read = (&'static str, Script, usize);

pub const BALANCE: Read = ("balance", Script::Balance, 8_000);
const READS: [Read; 3] = [
    BALANCE,
    ("stats of 7 days", Script::Stats, 8_000),
    ("batch of 100 balances", Script::Batch, 400),
];
/// Enough users to feed in seconds under an emulator.
pub const USERS: u64 = 10_000;
/// Greatest ratio of instructions, after against before.
const AT_MOST: f64 = 1.02;

pub fn run(bench: &mut Bench) -> Result<Report> {
    let options = &bench.options;
    let users = options.users_or(&[USERS])[0];
    let population = Population::new(users, options.seed);
    let subject = || Subject::purser(bench.cores.server);
    let after = count(bench, subject(), &population, &READS)?;
    let before = options
        .older(subject())
        .map(|older| count(bench, older, &population, &READS))
        .transpose()?;

    let mut rows = vec![["", "instructions", "before"].map(String::from).to_vec()];
    let mut figures = Vec::new();
    for (place, (name, each)) in after.iter().enumerate() {
        let older = before.as_ref().map(|counts| counts[place].1);
        let text = older.map_or_else(|| "-".to_owned(), |older| format!("{older:.0}"));
        rows.push(vec![(*name).to_owned(), format!("{each:.0}"), text]);
        figures.extend(older.map(|older| Figure {
            what: format!("after against before: instructions, {name}"),
            value: Spread::of([each / older].into_iter()),
            decimals: 3,
            unit: "x",
            at_most: Some(AT_MOST),
        }));
    }
    Ok(Report {
        suite: Suite::Instructions,
        title: format!("User-space instructions, one connection: {} users", short(users)),
        rows,
        figures,
        notes: Vec::new(),
    })
}

/// Instructions per entry and per request of each kind of read, with their names.
pub fn count(
    bench: &Bench,
    subject: Subject,
    population: &Population,
    reads: &[Read],
) -> Result<Vec<(&'static str, f64)>> {
    let divisor = if bench.options.seconds < 1.0 { 100 } else { 1 };
    let directory = DataDir::new(None)?;
    let counters = directory.path().join("counters");
    let server = subject.under_callgrind(&counters)?.start(bench.cores.server)?;
    let mut dumps = 0;
    let mut dump = || {
        dumps += 1;
        instructions(&server, &counters, dumps)
    };
    let mut tally = Tally::new(population);
    dump()?;
    feed::feed(&server, population, &mut tally, 1)?;
    let mut counts = vec![("entry, 1,000 a request", dump()? / population.len() as f64)];
    check::check(&server, &tally, 0)?;
    let mut client = Client::connect(server.address)?;
    for &(name, script, requests) in reads {
        let requests = requests / divisor;
        let users = if script == Script::Batch { requests * BATCH } else { requests };
        let users: Vec<u64> = tally.sample(1, users).collect();
        dump()?;
        for users in users.chunks(users.len() / requests) {
            let answer = check::ask(&mut client, &tally, script, users)?;
            if answer.status != 200 {
                return Err(Error::new(format!("{name}: status {}", answer.status)));
            }
        }
        counts.push((name, dump()? / requests as f64));
    }
    check::check(&server, &tally, 1)?;
    // Killed: a core that sleeps in its ring keeps the thread that takes signals from running.
    drop(server);
    Ok(counts)
}

/// Writes dump number `number` and returns the instructions since the one before.
fn instructions(server: &Running, counters: &Path, number: u32) -> Result<f64> {
    let mut control = Command::new("callgrind_control");
    let output = control.arg("--dump").arg(server.pid().to_string()).output();
    let output = output.context("starting callgrind_control")?;
    let path = counters.with_extension(number.to_string());
    let doing = format!("reading {}", path.display());
    let text = std::fs::read_to_string(&path).context(format!(
        "{doing} after callgrind_control: {}",
        String::from_utf8_lossy(&output.stdout)
    ))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context(format!("{doing}: it has no totals"))?;
    total.trim().parse().context(doing)
}
