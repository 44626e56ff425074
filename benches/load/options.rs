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
    /// Users of the population; a list if a suite compares several populations [default: 1000000;
    /// memory: 1000000,10000000; users: 10000,1000000,10000000; recovery, snapshot: 10000000]
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000)
    )]
    pub users: Vec<u64>,
    /// Number of connections; a list if a suite compares several [default: 64; connections:
    /// 64,512,5000]
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    pub connections: Vec<usize>,
    /// Rounds per server; the first is discarded
    #[arg(long, default_value = "7", value_parser = positive)]
    pub rounds: usize,
    /// Length of a round in seconds
    #[arg(long, default_value = "4", value_parser = seconds)]
    pub seconds: f64,
    /// An older purser binary to compare with, in balance, pipelined, stats, batch, open, feed,
    /// durable, recovery, slices and instructions
    #[arg(long, value_name = "PATH", value_parser = program)]
    pub before: Option<PathBuf>,
    /// Requests per second in the suite open
    #[arg(
        long,
        default_value = "75000",
        value_parser = clap::value_parser!(u32).range(1..=10_000_000)
    )]
    pub rate: u32,
    /// Seed of population and request order
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// CPU of the servers [default: the first allowed CPU]
    #[arg(long)]
    server_core: Option<usize>,
    /// CPU of wrk and of this program [default: the second allowed CPU]
    #[arg(long)]
    load_core: Option<usize>,
    /// Data directory of durable servers, on the disk to measure [default: in the target
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Write the results to benches/runs/
    #[arg(long)]
    pub keep: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// GET balance: CPU per request against the floor
    Balance,
    /// GET balance, 16 deep pipelined
    Pipelined,
    /// GET stats of 7 days
    Stats,
    /// POST batch of 100 balances
    Batch,
    /// GET balance at an earlier time: CPU per request against GET balance
    Past,
    /// GET balance at a fixed rate: CPU per request, latency from each due time
    Open,
    /// POST entries, 1,000 per request, without a disk
    Feed,
    /// Memory of whole populations
    Memory,
    /// GET balance from few to many users
    Users,
    /// UUIDs as user ids against numbers: GET balance, POST entries, memory, instructions
    TextIds,
    /// GET balance from few to many connections
    Connections,
    /// POST entries onto a disk: CPU per entry, latency by batch size and connections, compared
    /// with Redis
    Durable,
    /// Duration of a start from a snapshot and a tail of log
    Recovery,
    /// GET balance while a snapshot is written
    Snapshot,
    /// GET balance at a fixed rate beside reads of the heaviest user's statistics
    Heavy,
    /// GET balance with 1 to 8 slices on two CPUs, with users on the same core or the other
    Slices,
    /// Round trip of a request to another core, awake or asleep
    Hop,
    /// GET balance with other event loops: epoll, monoio, glommio
    Engines,
    /// Instructions per entry and per read, counted by callgrind
    Instructions,
    /// GET balance and POST entries with an arena per core and with the common heap
    Arena,
    /// Go services compared with Purser: balance, stats, batch, memory
    Peers,
    /// Slow readers and uploaders beside GET balance: all must be served
    SlowPeers,
    /// One of two servers is ended under load: errors, latency
    Drain,
}

impl Suite {
    /// Whether the suite measures an older build with `--before`.
    pub fn compares(self) -> bool {
        use Suite::{
            Balance, Batch, Drain, Durable, Feed, Heavy, Instructions, Open, Pipelined, Recovery,
            Slices, SlowPeers, Stats,
        };
        matches!(
            self,
            Balance
                | Pipelined
                | Stats
                | Batch
                | Open
                | Feed
                | Heavy
                | Durable
                | Recovery
                | Slices
                | Instructions
                | SlowPeers
                | Drain
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
        let allowed = sys::allowed_cores().context("reading the allowed CPUs")?;
        let first = *allowed.first().ok_or_else(|| Error::new("no CPU is allowed"))?;
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
        .ok_or_else(|| "must be a whole number above 0".to_owned())
}

/// The full path of a program, so that it is not looked up on the PATH when it is started.
fn program(text: &str) -> std::result::Result<PathBuf, String> {
    let path = std::fs::canonicalize(text).map_err(|error| error.to_string())?;
    if path.is_file() { Ok(path) } else { Err("must be an executable file".to_owned()) }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3_600.0).contains(seconds));
    seconds.ok_or_else(|| "must be from 0.1 to 3600".to_owned())
}
