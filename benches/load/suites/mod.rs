//! The suites and their shared state: a loaded server on the servers' core, kept from suite to
//! suite while the population stays the same.

mod arena;
mod before;
mod connections;
mod drain;
mod durable;
mod engines;
mod feed;
mod heavy;
mod hop;
mod instructions;
mod memory;
mod open;
mod past;
mod peers;
mod reads;
mod recovery;
mod slices;
mod slow_peers;
mod snapshot;
mod text_ids;
mod users;

use crate::check;
use crate::compare;
use crate::error::{Context, Result};
use crate::feed::{Part, feed};
use crate::ids::Ids;
use crate::options::{Cores, Options, Suite};
use crate::population::Population;
use crate::report::Report;
use crate::rounds::Variant;
use crate::server::{Running, Subject};
use crate::tally::Tally;
use crate::wrk::{Load, Script};

const MILLION: u64 = 1_000_000;
/// Connections of the published figures.
const CONNECTIONS: usize = 64;

/// A server that holds a population, with the tally and ids to check and load it.
pub struct Loaded {
    pub server: Running,
    pub population: Population,
    pub tally: Tally,
    pub ids: Ids,
}

impl Loaded {
    fn new(users: u64, options: &Options, cores: Cores) -> Result<Self> {
        Self::of(&Subject::purser(cores.server), users, options, cores)
    }

    fn of(subject: &Subject, users: u64, options: &Options, cores: Cores) -> Result<Self> {
        let population = Population::new(users, options.seed);
        Ok(Self::fed(subject, population, cores)?.0)
    }

    /// Also returns the cost of the feed.
    fn fed(subject: &Subject, population: Population, cores: Cores) -> Result<(Self, Part)> {
        let (server, users) = (subject.start(cores.server)?, population.users);
        eprintln!("feeding {} entries of {users} users to {}", population.len(), server.name);
        let mut tally = Tally::new(&population);
        let whole = feed(&server, &population, &mut tally, 1)?.pop().context("nothing was fed")?;
        let ids = Ids::write(&population)?;
        Ok((Self { server, population, tally, ids }, whole))
    }

    fn check(&self, turn: usize) -> Result<()> {
        check::check(&self.server, &self.tally, turn)
    }

    /// Balances of all its users, as one variant of a measurement.
    fn balances(&self, name: String, connections: usize) -> Variant<'_> {
        let (script, ids) = (Script::Balance, &self.ids);
        let loads = vec![Load { script, connections, ids, port: None, core: None }];
        Variant { name, server: &self.server, loads }
    }
}

pub struct Bench {
    options: Options,
    cores: Cores,
    loaded: Option<Loaded>,
    /// The older build's server with the same population.
    before: Option<Loaded>,
}

impl Bench {
    pub fn new(options: Options, cores: Cores) -> Self {
        Self { options, cores, loaded: None, before: None }
    }

    pub fn run(&mut self, suite: Suite) -> Result<Report> {
        let mut report = match suite {
            Suite::Balance | Suite::Pipelined | Suite::Stats | Suite::Batch => {
                reads::run(self, suite)
            }
            Suite::Open => open::run(self),
            Suite::Past => past::run(self),
            Suite::Feed => feed::run(self),
            Suite::Memory => memory::run(self),
            Suite::Users => users::run(self),
            Suite::TextIds => text_ids::run(self),
            Suite::Connections => connections::run(self),
            Suite::Durable => durable::run(self),
            Suite::Recovery => recovery::run(self),
            Suite::Snapshot => snapshot::run(self),
            Suite::Heavy => heavy::run(self),
            Suite::Slices => slices::run(self),
            Suite::Hop => hop::run(self),
            Suite::Engines => engines::run(self),
            Suite::Instructions => instructions::run(self),
            Suite::Arena => arena::run(self),
            Suite::Peers => peers::run(self),
            Suite::SlowPeers => slow_peers::run(self),
            Suite::Drain => drain::run(self),
        }?;
        let (core, subject) = (self.cores.server, Subject::purser(self.cores.server));
        if let Some(older) = self.options.older(Subject::purser(core)).filter(|_| suite.compares())
        {
            report.notes.push(compare::builds(&subject, &older, core)?);
        }
        Ok(report)
    }

    /// The loaded server of the single-population suites, fed on first use.
    fn loaded(&mut self) -> Result<&Loaded> {
        let subject = Subject::purser(self.cores.server);
        keep(&mut self.loaded, &subject, &self.options, self.cores)
    }

    /// The loaded server and, with `--before`, the older build's.
    fn both_loaded(&mut self) -> Result<(&Loaded, Option<&Loaded>)> {
        let subject = Subject::purser(self.cores.server);
        let loaded = keep(&mut self.loaded, &subject, &self.options, self.cores)?;
        let older = self.options.older(subject);
        let before = older
            .map(|older| keep(&mut self.before, &older, &self.options, self.cores))
            .transpose()?;
        Ok((loaded, before))
    }

    /// Stops the kept servers, for a suite that needs the memory.
    pub fn unload(&mut self) -> Result<()> {
        let kept = [self.loaded.take(), self.before.take()];
        kept.into_iter().flatten().try_for_each(|loaded| loaded.server.stop())
    }
}

/// The server in `slot` if it has the requested population; otherwise a new one, kept there.
fn keep<'a>(
    slot: &'a mut Option<Loaded>,
    subject: &Subject,
    options: &Options,
    cores: Cores,
) -> Result<&'a Loaded> {
    let users = options.users_or(&[MILLION])[0];
    let loaded = match slot.take() {
        Some(loaded) if loaded.population.users == users => loaded,
        other => {
            drop(other);
            Loaded::of(subject, users, options, cores)?
        }
    };
    Ok(slot.insert(loaded))
}

/// Formats 1000000 as `1 M` and 10000 as `10 k`.
fn short(number: u64) -> String {
    match number {
        n if n > 0 && n.is_multiple_of(MILLION) => format!("{} M", n / MILLION),
        n if n > 0 && n.is_multiple_of(1_000) => format!("{} k", n / 1_000),
        n => n.to_string(),
    }
}
