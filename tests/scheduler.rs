//! Seeded simulation of the scheduler: several cores of the production machine
//! ([`purser::server::core::Server`]) in one thread, with simulated clocks and disks, over several
//! lives of their process.
//!
//! One seed is one run. Clients either have separate users, and every answer must equal, byte for
//! byte, that of a server with one core and one slice; or they share users, and then no version
//! decreases, and the books contain exactly the entries that were reported as accepted. A process
//! ends at rest, in a crash, or by draining; the next one recovers from its disks.
//!
//! Checked after each turn: no answer and no reply is sent before what it shows is durable; no core
//! has more requests in flight to another than it has credits; no reply is larger than its
//! reservation; a slice applies at most 256 entries per turn, and none stalls while its neighbours
//! progress. A core takes a turn only when [`purser::server::machine::Machine::wait`] or an event
//! asks for one. Checked at rest: no request is in flight, all credits and budgets are released,
//! every connection is idle.
//!
//! `PURSER_SCHEDULES=n` runs n seeds; `PURSER_SEED=n` repeats one of them: `PURSER_SEED=n cargo
//! test --test purser scheduler`.
//!
//! `client` sends requests and checks answers against its `reference`, `peer_connection` is a
//! connection with a slow peer, `mesh` delivers messages, `watch` checks turns, `world` drives; the
//! disk is that of [`crate::simulation`]. Each [`Bug`] is planted in the mesh, each [`Fault`] in
//! the machine; a test shows that every one of them is caught.

mod client;
mod mesh;
mod peer_connection;
mod reference;
mod watch;
mod world;

use crate::seeds::number;
use crate::simulation::counts::Counts;
use purser::server::planted_bug::PlantedBug as CoreBug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Users, World};

/// Seeds per test.
const SEEDS: u64 = 300;

/// A bug to plant in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshBug {
    /// Messages from one core to another are reordered.
    OutOfOrder,
    /// Replies to one connection are swapped.
    WrongGap,
    /// A reply is delivered to another connection.
    WrongConnection,
    /// A request is delivered to a core that does not own its users.
    WrongCore,
    /// A reply appears to come from a third core, which gets its credit.
    WrongSender,
    /// A message is lost.
    MessageLost,
}

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A bug of the mesh.
    Mesh(MeshBug),
    /// A bug of the machine.
    Core(CoreBug),
}

impl Planted {
    const fn bug(self) -> Option<MeshBug> {
        match self {
            Self::Mesh(bug) => Some(bug),
            Self::Core(_) => None,
        }
    }
}

/// Every planted bug, and a part of the failure text that it causes.
const PLANTED: [(Planted, Users, &str); 16] = [
    (Planted::Core(CoreBug::UndurableAnswer), Users::Separate, " is durable"),
    (Planted::Core(CoreBug::UndurableAnswer), Users::Shared, " is durable"),
    (Planted::Core(CoreBug::LeakedCredit), Users::Separate, "lacks credits at rest"),
    (Planted::Core(CoreBug::LeakedCredit), Users::Shared, "lacks credits at rest"),
    (Planted::Core(CoreBug::StarvedSlice), Users::Separate, "makes no progress for"),
    (Planted::Core(CoreBug::StarvedSlice), Users::Shared, "makes no progress for"),
    (Planted::Core(CoreBug::LongTurn), Users::Shared, "257 entries in one turn"),
    (Planted::Core(CoreBug::LargeReply), Users::Separate, " are reserved"),
    (Planted::Core(CoreBug::LargeReply), Users::Shared, " are reserved"),
    (Planted::Core(CoreBug::ForgottenRequest), Users::Shared, "the core is done, but"),
    (Planted::Mesh(MeshBug::OutOfOrder), Users::Separate, "answers part at byte"),
    (Planted::Mesh(MeshBug::WrongGap), Users::Separate, "answers part at byte"),
    (
        Planted::Mesh(MeshBug::WrongConnection),
        Users::Separate,
        "comes back to whoever waits for it",
    ),
    (Planted::Mesh(MeshBug::WrongCore), Users::Shared, " go to the core that has their slice"),
    (Planted::Mesh(MeshBug::WrongSender), Users::Shared, "a credit that is returned was taken"),
    (Planted::Mesh(MeshBug::MessageLost), Users::Shared, "no rest after"),
];

/// Events, and how often a test's seeds meet them at least: with separate users, and with shared
/// ones.
const MET: [(&str, [u64; 2]); 21] = [
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
    ("refused requests", [0, 1_000]),
    ("answers without space", [0, 100]),
    ("requests with the last credit", [20_000, 20_000]),
    ("turns with a connection waiting for other cores", [20_000, 20_000]),
    ("turns with the maximum of gaps", [100, 0]),
    ("turns with entries of other cores left", [1_000, 3_000]),
    ("turns with entries that are not durable", [50_000, 100_000]),
    ("turns with a slice waiting for its disk", [5_000, 5_000]),
    ("snapshots", [100, 400]),
];

/// Runs a seed. A panic of a machine is a failure like any other.
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
fn answers_equal_those_of_a_single_core() {
    each(Users::Separate);
}

#[test]
fn versions_of_shared_users_never_decrease() {
    each(Users::Shared);
}

#[test]
fn planted_bugs_are_caught() {
    for (planted, users, shows) in PLANTED {
        let mut failures = (0..SEEDS).filter_map(|seed| run(seed, users, Some(planted)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how =
            how.unwrap_or_else(|| panic!("{planted:?} does not show in {SEEDS} seeds: {shows:?}"));
        println!("{planted:?}: {how}");
    }
}
