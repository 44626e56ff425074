//! Load suite: measures what a request, an entry and a user cost Purser, from outside, on the whole
//! server.
//!
//! `cargo bench --bench load -- [suite…] [options]` starts servers on one core, loads them from
//! another with wrk (the feed with its own client), and prints medians with their spread beside the
//! targets. The measure is the server's exact CPU time per request and, where possible, its ratio
//! to the **floor**: the same engine answering a constant of equal size (`floor`). Populations are
//! seeded (`population`), answers are checked before and after (`check`), and compared subjects are
//! measured in interleaved rounds (`rounds`).
//!
//! | suites (`suites`) | what they measure |
//! |---|---|
//! | `balance` `pipelined` `stats` `batch` | one read each, against the floor |
//! | `past` | a balance at an earlier time, against one of now |
//! | `open` | balance at a fixed `--rate`: CPU, latency from each due time |
//! | `feed` | entries, 1,000 per request, no disk |
//! | `memory` | memory of whole populations |
//! | `users` `connections` | how a read's cost grows with either |
//! | `text-ids` | UUIDs as user ids, against numbers: balance, entry, memory, instructions |
//! | `durable` | entries with a disk: CPU and latency, bare write and Redis beside |
//! | `recovery` | time of a start from a snapshot and a tail of log |
//! | `snapshot` | cost and latency of reads while a snapshot is written |
//! | `heavy` | latency of reads beside statistics of the heaviest user |
//! | `slices` | cost of several slices, and of requests to another core |
//! | `hop` | round-trip time of a request to another core |
//! | `engines` | the same machine under epoll, monoio and glommio, and the floor |
//! | `instructions` | user-space instructions of a request and an entry, by callgrind |
//! | `arena` | effect of a core's own memory region |
//! | `peers` | the Go services beside Purser |
//! | `slow-peers` | slow readers and uploaders beside balance reads: all must be served |
//! | `drain` | errors and latency when one of two servers is ended under load |
//!
//! `--before PATH` measures an older `purser` program beside the current one: both servers hold the
//! same population, run at the same time on the same core, and alternate in a seeded random order.
//! The reports of `balance`, `pipelined`, `stats`, `batch`, `open`, `feed`, `heavy`, `durable`,
//! `recovery`, `slices` and `instructions` then have figures *after against before* (`compare`);
//! those of `slow-peers` and `drain` have rows of both, and the other suites measure only the
//! current build. `--rounds 13` keeps 12 pairs. The path is absolute, or relative to the package.
//!
//! Durable servers keep their data below the target directory, or below `--dir`; it is removed at
//! the end.
//!
//! Under `cargo test` every suite runs with tiny settings; without wrk the run is skipped with a
//! message.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::items_after_statements,
    clippy::unchecked_time_subtraction,
    reason = "figures are small and grow; a static stands beside its use"
)]

mod bare;
mod check;
mod closed;
mod compare;
#[path = "../common/constant.rs"]
mod constant;
mod data;
#[path = "../engines/mod.rs"]
mod engines;
mod error;
mod feed;
mod floor;
#[path = "../common/heaviest.rs"]
mod heaviest;
mod host;
mod http;
mod ids;
mod interval;
mod lines;
mod options;
mod paced;
mod peers;
mod population;
mod random;
mod redis;
mod report;
mod rounds;
mod server;
mod stream;
mod suites;
mod sys;
mod tally;
mod user_id;
mod wrk;

use std::process::ExitCode;

use clap::Parser;

use error::{Context, Error, Result};
use host::Host;
use options::{Options, Suite};
use suites::Bench;

/// The same allocator as the `purser` program, so that the floor and the rival engines use the same
/// memory.
#[global_allocator]
static ALLOCATOR: purser::engine::arena::Allocator = purser::engine::arena::Allocator;

fn main() -> ExitCode {
    match run(std::env::args().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Cargo passes `--bench` under `cargo bench`; without it this is a test run.
fn run(args: Vec<String>) -> Result<()> {
    if args.get(1).is_some_and(|arg| arg == "floor") {
        return floor::command(&floor::Args::parse_from(&args[1..]));
    }
    if args.get(1).is_some_and(|arg| arg == "engine") {
        return engines::command(engines::Args::parse_from(&args[1..]));
    }
    let missing = ["wrk", "taskset"].into_iter().find(|program| !host::has(program));
    if args.iter().any(|arg| arg == "--bench" || arg == "--help") {
        let options = Options::parse_from(&args);
        return match missing {
            Some(program) => Err(Error::new(format!("{program} is not on the PATH"))),
            None => run_suites(options, &command_line(&args[1..])),
        };
    }
    if args.iter().any(|arg| arg == "--list") || !is_asked_for(&args[1..]) {
        return Ok(());
    }
    match missing {
        Some(program) => println!("load: skipped, {program} is not on the PATH"),
        None => run_suites(Options::tiny(), "cargo test --bench load")?,
    }
    Ok(())
}

/// Whether the name filters of `cargo test` select this test.
fn is_asked_for(args: &[String]) -> bool {
    let mut names = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| "load".contains(name.as_str()))
}

/// The command line as typed, with a placeholder for each path.
fn command_line(args: &[String]) -> String {
    const PATHS: [(&str, &str); 2] = [("--dir", "DIR"), ("--before", "OLD")];
    let mut words = vec!["cargo bench --bench load --".to_owned()];
    for arg in args.iter().filter(|arg| *arg != "--bench") {
        let flag = arg.split_once('=').map_or(&**arg, |(flag, _)| flag);
        let path = |name: &str| PATHS.iter().find(|(flag, _)| *flag == name).map(|(_, word)| *word);
        let word = match (words.last().and_then(|last| path(last)), path(flag)) {
            (Some(word), _) => word.to_owned(),
            (None, Some(word)) if flag != arg => format!("{flag}={word}"),
            _ => arg.clone(),
        };
        words.push(word);
    }
    words.join(" ")
}

fn run_suites(options: Options, command: &str) -> Result<()> {
    let cores = options.cores()?;
    sys::pin(cores.load).context("pinning the runner")?;
    sys::raise_open_files().context("raising the limit of open files")?;
    let suites = options.suites().to_vec();
    let keep = options.keep;
    let mut bench = Bench::new(options, cores);
    for suite in suites {
        let needed = match suite {
            Suite::Peers => Some("go"),
            Suite::Instructions => Some("valgrind"),
            _ => None,
        };
        if let Some(missing) = needed.filter(|program| !host::has(program)) {
            println!("suite {}: skipped, {missing} is not on the PATH", suite.name());
            continue;
        }
        let host = Host::look();
        let report = bench.run(suite).context(format!("suite {}", suite.name()))?;
        report.print();
        if keep {
            report.keep(&host, command)?;
        }
    }
    bench.unload()
}
