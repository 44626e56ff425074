//! Command line of the load bench: `cargo bench --bench load -- [suite…] [options]`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Context, Error, Result};
use crate::rounds::Plan;
use crate::server::Subject;
use crate::sys;

/// Purser's load suite: what a request, an entry and a user cost
#[derive(Parser, Clone)]
#[command(
    name = "load",
    bin_name = "cargo bench --bench load --",
    after_help = "Example: cargo bench --bench load -- balance pipelined --keep"
)]
pub struct Options {
    /// Suites to run [default: all, in this order]
    #[arg(value_enum)]
    pub suites: Vec<Suite>,
    /// Users of the population, or of each, where a suite compares several [default: 1000000;
    /// memory: 1000000,10000000; users: 10000,1000000,10000000; recovery, snapshot: 10000000]
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    pub users: Vec<u64>,
    /// Connections, or of each, where a suite compares several [default: 64; connections:
    /// 64,512,5000]
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    pub connections: Vec<usize>,
    /// Rounds of each subject; the first is discarded
    #[arg(long, default_value = "7", value_parser = positive)]
    pub rounds: usize,
    /// Length of a round
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub seconds: f64,
    /// Older purser program, measured beside the current one in balance, pipelined, stats, batch,
    /// open, feed, durable, recovery, slices and instructions
    #[arg(long, value_name = "PATH", value_parser = program)]
    pub before: Option<PathBuf>,
    /// Requests a second in the suite open
    #[arg(
        long,
        default_value = "75000",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000)
    )]
    pub rate: u32,
    /// Seed of population and request order
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Core of the servers [default: the first that may be used]
    #[arg(long)]
    server_core: Option<usize>,
    /// Core of wrk and of this program [default: the second that may be used]
    #[arg(long)]
    load_core: Option<usize>,
    /// Directory for the data of durable servers, on the disk to be measured [default: below the
    /// target directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the results in benches/runs/
    #[arg(long)]
    pub keep: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// GET balance: CPU a request against the floor
    Balance,
    /// GET balance, 16 deep pipelined
    Pipelined,
    /// GET stats of 7 days
    Stats,
    /// POST batch of 100 balances
    Batch,
    /// GET balance at a fixed rate: CPU a request, latency from when each was due
    Open,
    /// POST entries, 1,000 a request, no disk
    Feed,
    /// Memory of whole populations
    Memory,
    /// GET balance from few to many users
    Users,
    /// GET balance from few to many connections
    Connections,
    /// POST entries onto a disk: CPU an entry, latencies by batch size and connections, Redis
    /// beside it
    Durable,
    /// Starts from a snapshot and a tail of log
    Recovery,
    /// GET balance while a snapshot is written
    Snapshot,
    /// GET balance with 1 to 8 slices on two cores, and by the way to another core
    Slices,
    /// A question to another core and its answer: busy, asleep
    Hop,
    /// GET balance by the same machine under other engines: epoll, monoio, glommio
    Engines,
    /// Instructions of an entry and of each read, counted by callgrind
    Instructions,
    /// GET balance and POST entries with a core's own memory and without
    Arena,
    /// The Go services beside Purser: balance, stats, batch, memory
    Peers,
}

impl Suite {
    /// Whether the suite measures an older build with `--before`.
    pub fn compares(self) -> bool {
        use Suite::{
            Balance, Batch, Durable, Feed, Instructions, Open, Pipelined, Recovery, Slices, Stats,
        };
        matches!(
            self,
            Balance
                | Pipelined
                | Stats
                | Batch
                | Open
                | Feed
                | Durable
                | Recovery
                | Slices
                | Instructions
        )
    }

    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// CPUs of the servers and of the load.
#[derive(Clone, Copy)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Options {
    /// All suites with tiny settings, for `cargo test`. The current build stands in for an older
    /// one.
    pub fn tiny() -> Self {
        Self {
            suites: Vec::new(),
            before: Some(env!("CARGO_BIN_EXE_purser").into()),
            rate: 2_000,
            users: vec![1_000],
            connections: vec![4],
            rounds: 1,
            seconds: 0.2,
            seed: 1,
            server_core: None,
            load_core: None,
            dir: None,
            keep: false,
            bench: false,
        }
    }

    pub fn suites(&self) -> &[Suite] {
        if self.suites.is_empty() { Suite::value_variants() } else { &self.suites }
    }

    pub fn cores(&self) -> Result<Cores> {
        let allowed = sys::allowed_cores().context("asking which cores may be used")?;
        let first = *allowed.first().ok_or_else(|| Error::new("no core may be used"))?;
        let second = *allowed.get(1).unwrap_or(&first);
        Ok(Cores {
            server: self.server_core.unwrap_or(first),
            load: self.load_core.unwrap_or(second),
        })
    }

    pub fn plan(&self, cores: Cores) -> Plan {
        Plan {
            rounds: self.rounds,
            seconds: self.seconds,
            load_core: cores.load,
            seed: self.seed,
            shuffled: self.before.is_some(),
        }
    }

    /// The same server run by the older program, if `--before` is given.
    pub fn older(&self, subject: Subject) -> Option<Subject> {
        self.before.as_deref().map(|program| subject.older(program))
    }

    pub fn users_or(&self, default: &[u64]) -> Vec<u64> {
        if self.users.is_empty() { default.to_vec() } else { self.users.clone() }
    }

    pub fn connections_or(&self, default: &[usize]) -> Vec<usize> {
        if self.connections.is_empty() { default.to_vec() } else { self.connections.clone() }
    }
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| "a whole number above 0 is needed".to_owned())
}

/// The full path of a program, so that it is not looked up on the PATH when it is started.
fn program(text: &str) -> std::result::Result<PathBuf, String> {
    let path = std::fs::canonicalize(text).map_err(|error| error.to_string())?;
    if path.is_file() { Ok(path) } else { Err("a program is needed".to_owned()) }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3_600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds from 0.1 to 3600 are needed".to_owned())
}
