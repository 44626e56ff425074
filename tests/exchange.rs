//! The seeded simulation of the exchange: several cores, many connections, and a mesh between them that takes its time.
//!
//! One seed is one run. Clients have users apart, then every answer must be, byte for byte, that of a server with one core; or they share them,
//! then no version falls, and as many entries are in the books as were answered. In both, no answer leaves before what it shows is durable at
//! its owner, nobody has more parcels away than credits, and in the end nothing is under way and nobody waits.
//! `PURSER_EXCHANGES=n` runs more seeds, `PURSER_SEED=n` one of them again: `PURSER_SEED=n cargo test --test purser exchange`.
//!
//! `client` asks and judges, `mesh` carries, `world` drives. Each [`Bug`] is one that cores could have, planted outside of them; a test shows that
//! none of them gets through.

mod client;
mod mesh;
mod patience;
mod room;
mod world;

use crate::seeds::number;
use crate::simulation::counts::Counts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Users, World};

/// Seeds of one test.
const SEEDS: u64 = 300;

/// A bug that the exchange could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A core sends answers home before what they show is durable.
    ReleasedEarly,
    /// Answers of a core's own users do not wait.
    AnswerLeavesEarly,
    /// Parcels of one core to another overtake each other.
    OutOfOrder,
    /// Answers of one connection are put in each other's place.
    WrongGap,
    /// An answer comes to another connection.
    WrongConnection,
    /// A question comes to a core that does not own its users.
    WrongCore,
    /// A credit does not come back.
    CreditKept,
    /// A parcel does not arrive.
    ParcelLost,
}

/// What can be planted, and how it shows.
const BUGS: [(Bug, Users, &str); 11] = [
    (Bug::ReleasedEarly, Users::Apart, " is durable"),
    (Bug::ReleasedEarly, Users::Shared, " is durable"),
    (Bug::AnswerLeavesEarly, Users::Apart, " is durable"),
    (Bug::AnswerLeavesEarly, Users::Shared, " is durable"),
    (Bug::OutOfOrder, Users::Apart, "answers part at byte"),
    (Bug::WrongGap, Users::Apart, "answers part at byte"),
    (Bug::WrongConnection, Users::Apart, "comes back to whoever waits for it"),
    (Bug::WrongCore, Users::Apart, "answers part at byte"),
    (Bug::WrongCore, Users::Shared, "was there before"),
    (Bug::CreditKept, Users::Apart, "no rest after"),
    (Bug::ParcelLost, Users::Shared, "no rest after"),
];

/// What a test's seeds meet at least: with users apart, and shared.
const MET: [(&str, [u64; 2]); 10] = [
    ("requests", [20_000, 10_000]),
    ("accepted", [20_000, 20_000]),
    ("parcels", [20_000, 20_000]),
    ("dropped connections", [300, 1_000]),
    ("ended connections", [300, 0]),
    ("parcels of connections that are gone", [200, 1_000]),
    ("turns without a credit", [10_000, 10_000]),
    ("turns in which a connection waits for others", [10_000, 10_000]),
    ("turns with as many gaps as may be", [100, 0]),
    ("turns with entries that are not durable", [10_000, 10_000]),
];

/// Runs a seed. A panic of the machines is a failure like any other.
fn run(seed: u64, users: Users, bug: Option<Bug>) -> Result<Counts, String> {
    let again = format!("seed {seed}, users {users:?}: PURSER_SEED={seed} cargo test --test purser exchange");
    match catch_unwind(AssertUnwindSafe(|| World::run(seed, users, bug))) {
        Ok(result) => result.map_err(|what| format!("{again}\n{what}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
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
    let seeds = number("PURSER_EXCHANGES").unwrap_or(SEEDS);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        sum.take(&run(seed, users, None).unwrap_or_else(|what| panic!("{what}")));
    }
    println!("{seeds} seeds: {sum:#?}");
    for (what, least) in MET.iter().filter(|_| seeds >= SEEDS) {
        assert!(sum.of(what) >= least[users as usize], "{seeds} seeds met only {} {what}", sum.of(what));
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
fn planted_bugs_are_caught() {
    for (bug, users, shows) in BUGS {
        let mut failures = (0..SEEDS).filter_map(|seed| run(seed, users, Some(bug)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how = how.unwrap_or_else(|| panic!("{bug:?} does not show in {SEEDS} seeds: {shows:?}"));
        println!("{bug:?}: {how}");
    }
}
