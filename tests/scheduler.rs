//! The seeded simulation of the scheduler: the machine that ships
//! ([`purser::server::core::Server`]), several cores of it in one thread, on fake clocks and disks,
//! over some lives of their process.
//!
//! One seed is one run. Clients have users apart, and every answer must be, byte for byte, that of
//! a server with one core and one slice; or they share them, and then no version falls, and as many
//! entries are in the books as were reported. A process ends at rest, in a crash, or by draining,
//! and the next one goes on with what the disks hold.
//!
//! After each turn: no answer and no reply has left before what it shows is durable; nobody has
//! more requests away than credits; no reply is larger than was reserved for it; a slice applies at
//! most 256 entries a turn, and none stands still while its neighbours do not. A core takes a turn
//! only when [`purser::server::machine::Machine::wait`] or an event asks for one. At rest: nothing
//! is away, all credits and budgets are back, every connection is idle.
//!
//! `PURSER_SCHEDULES=n` runs more seeds, `PURSER_SEED=n` one of them again: `PURSER_SEED=n cargo
//! test --test purser scheduler`.
//!
//! `client` asks and judges by its `reference`, `line` is a connection with a slow peer, `mesh`
//! carries messages, `watch` judges turns, `world` drives; the disk is that of
//! [`crate::simulation`]. Each [`Bug`] is one of the mesh, each [`Fault`] one within the machine; a
//! test shows that none of them gets through.

mod client;
mod line;
mod mesh;
mod reference;
mod watch;
mod world;

use crate::seeds::number;
use crate::simulation::counts::Counts;
use purser::server::planted::Planted as Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Users, World};

/// Seeds of one test.
const SEEDS: u64 = 300;

/// A bug that the mesh could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Messages of one core to another overtake each other.
    OutOfOrder,
    /// Replies to one connection are put in each other's place.
    WrongGap,
    /// A reply comes to another connection.
    WrongConnection,
    /// A request comes to a core that does not own its users.
    WrongCore,
    /// A reply seems to come from another core, which gets its credit.
    WrongSender,
    /// A message does not arrive.
    MessageLost,
}

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A bug of the mesh.
    Bug(Bug),
    /// A fault of the machine.
    Fault(Fault),
}

impl Planted {
    const fn bug(self) -> Option<Bug> {
        match self {
            Self::Bug(bug) => Some(bug),
            Self::Fault(_) => None,
        }
    }
}

/// What can be planted, and how it shows.
const PLANTED: [(Planted, Users, &str); 16] = [
    (Planted::Fault(Fault::UndurableAnswer), Users::Apart, " is durable"),
    (Planted::Fault(Fault::UndurableAnswer), Users::Shared, " is durable"),
    (Planted::Fault(Fault::LeakedCredit), Users::Apart, "has not all its credits at rest"),
    (Planted::Fault(Fault::LeakedCredit), Users::Shared, "has not all its credits at rest"),
    (Planted::Fault(Fault::StarvedSlice), Users::Apart, "stands still for"),
    (Planted::Fault(Fault::StarvedSlice), Users::Shared, "stands still for"),
    (Planted::Fault(Fault::LongTurn), Users::Shared, "257 entries in one turn"),
    (Planted::Fault(Fault::LargeReply), Users::Apart, " are reserved"),
    (Planted::Fault(Fault::LargeReply), Users::Shared, " are reserved"),
    (Planted::Fault(Fault::ForgottenRequest), Users::Shared, "it is done, and"),
    (Planted::Bug(Bug::OutOfOrder), Users::Apart, "answers part at byte"),
    (Planted::Bug(Bug::WrongGap), Users::Apart, "answers part at byte"),
    (Planted::Bug(Bug::WrongConnection), Users::Apart, "comes back to whoever waits for it"),
    (Planted::Bug(Bug::WrongCore), Users::Shared, " go to the core that has their slice"),
    (Planted::Bug(Bug::WrongSender), Users::Shared, "a credit that is returned was taken"),
    (Planted::Bug(Bug::MessageLost), Users::Shared, "no rest after"),
];

/// What a test's seeds meet at least: with users apart, and shared.
const MET: [(&str, [u64; 2]); 20] = [
    ("requests", [60_000, 20_000]),
    ("accepted", [60_000, 300_000]),
    ("messages", [80_000, 80_000]),
    ("lives", [600, 600]),
    ("crashes", [0, 80]),
    ("drains", [60, 80]),
    ("dropped connections", [1_000, 3_000]),
    ("half-closed connections", [1_000, 1_500]),
    ("ended connections", [300, 1_500]),
    ("sends in part", [10_000, 10_000]),
    ("replies to connections that are gone", [500, 1_000]),
    ("replies refused for their size", [30, 500]),
    ("refused requests", [1, 1_000]),
    ("requests with the last credit", [20_000, 20_000]),
    ("turns in which a connection waits for others", [20_000, 20_000]),
    ("turns with as many gaps as may be", [100, 0]),
    ("turns with entries of others left", [1_000, 3_000]),
    ("turns with entries that are not durable", [50_000, 100_000]),
    ("turns in which a slice is held", [5_000, 5_000]),
    ("snapshots", [100, 400]),
];

/// Runs a seed. A panic of the machines is a failure like any other.
fn run(seed: u64, users: Users, planted: Option<Planted>) -> Result<Counts, String> {
    let again = format!(
        "seed {seed}, users {users:?}: PURSER_SEED={seed} cargo test --test purser scheduler"
    );
    match catch_unwind(AssertUnwindSafe(|| World::run(seed, users, planted))) {
        Ok(result) => result.map_err(|what| format!("{again}\n{what}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            Err(format!("{again}\n{text}"))
        }
    }
}

fn each(users: Users) {
    if let Some(seed) = number("PURSER_SEED") {
        let counts = run(seed, users, None).unwrap_or_else(|what| panic!("{what}"));
        println!("{counts:#?}");
        return;
    }
    let seeds = number("PURSER_SCHEDULES").unwrap_or(SEEDS);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        sum.take(&run(seed, users, None).unwrap_or_else(|what| panic!("{what}")));
    }
    println!("{seeds} seeds: {sum:#?}");
    for (what, least) in MET.iter().filter(|_| seeds >= SEEDS) {
        assert!(
            sum.of(what) >= least[users as usize],
            "{seeds} seeds met only {} {what}",
            sum.of(what)
        );
    }
}

#[test]
fn answers_are_those_of_one_core() {
    each(Users::Apart);
}

#[test]
fn what_all_clients_share_never_goes_back() {
    each(Users::Shared);
}

#[test]
fn planted_faults_are_caught() {
    for (planted, users, shows) in PLANTED {
        let mut failures = (0..SEEDS).filter_map(|seed| run(seed, users, Some(planted)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how =
            how.unwrap_or_else(|| panic!("{planted:?} does not show in {SEEDS} seeds: {shows:?}"));
        println!("{planted:?}: {how}");
    }
}
