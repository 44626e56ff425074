//! The seeded simulation: slices, logs, snapshots and recovery on a fake clock and a disk with
//! faults.
//!
//! One seed is one run: some slices of one process live, crash in whatever they are doing, recover,
//! crash in that too, and in the end everything that was told is there, once.
//! `PURSER_SIMULATIONS=n` runs more seeds, `PURSER_SEED=n` one of them again: `PURSER_SEED=n cargo
//! test --test purser simulation`.
//!
//! `repartition` does the same to a change of the number of slices, on a `tree` of directories and
//! files.
//!
//! `disk` has the faults of a crash, `damage` those at rest; `client` sends, `world` drives,
//! `oracle` judges. Each [`Bug`] is one that this system could have had, planted outside of it; a
//! test shows that none of them gets through.

mod client;
pub mod counts;
mod damage;
pub mod disk;
mod oracle;
pub mod random;
mod repartition;
mod tree;
mod world;

use crate::seeds::number;
use counts::Counts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Seeds of one test.
const SEEDS: u64 = 1_000;

/// A bug that this system could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A write of the log is reported when it is asked for.
    WriteReportedEarly,
    /// Answers do not wait.
    AnswerLeavesEarly,
    /// Replay applies what the snapshot holds.
    ReplayUnchecked,
    /// A snapshot becomes current when it is written, whether or not the log is durable up to its
    /// end.
    SnapshotAheadOfLog,
    /// A snapshot becomes current that was not synced.
    SnapshotNotSynced,
    /// The log goes on a block behind where it ended.
    CutTooLate,
    /// The log goes on before its last write.
    CutTooEarly,
    /// The log goes on behind a torn write.
    TornWriteKept,
    /// A new segment is named in the manifest, and its own name may be lost.
    SegmentNotNamed,
    /// A new segment has no header.
    HeaderForgotten,
    /// A manifest counts as published before its directory is synced.
    ManifestNotSynced,
    /// Segments go when the manifest that does without them is asked for.
    RemovedEarly,
    /// What recovery has read is not brought to stable storage.
    NothingSettled,
    /// The names that recovery has seen are not brought to stable storage.
    DirectoryNotSettled,
}

/// What can be planted, and how it shows.
const BUGS: [(Bug, &str); 14] = [
    (Bug::WriteReportedEarly, " was shown, and "),
    (Bug::AnswerLeavesEarly, " was shown, and "),
    (Bug::ReplayUnchecked, "now judged otherwise"),
    (Bug::SnapshotAheadOfLog, "before the snapshot, which needs it"),
    (Bug::SnapshotNotSynced, "refuses: snapshot-"),
    (Bug::CutTooLate, " is missing"),
    (Bug::CutTooEarly, "leads to version"),
    (Bug::TornWriteKept, " is broken"),
    (Bug::SegmentNotNamed, "the manifest names this file, and it is not there"),
    (Bug::HeaderForgotten, "not the beginning of a segment"),
    (Bug::ManifestNotSynced, "it is an older one"),
    (Bug::RemovedEarly, "the manifest names this file, and it is not there"),
    (Bug::NothingSettled, " is missing"),
    (Bug::DirectoryNotSettled, "the manifest names this file, and it is not there"),
];

/// What half a test's seeds meet at least.
const MET: [(&str, u64); 21] = [
    ("accepted", 100_000),
    ("answers that waited", 50_000),
    ("segments", 2_000),
    ("recycled segments", 200),
    ("snapshots", 1_000),
    ("failed snapshots", 200),
    ("failed segments", 400),
    ("failed task", 200),
    ("full disk", 500),
    ("refused for want of room", 10_000),
    ("held feeds", 10_000),
    ("kills", 500),
    ("power cuts", 500),
    ("fatal errors", 10),
    ("crashes in recovery", 300),
    ("reads of recovery", 10_000),
    ("torn writes", 200),
    ("torn writes cut", 30),
    ("records known", 50_000),
    ("untold entries lost", 5_000),
    ("damage refused", 500),
];

/// Runs a seed. A panic of the machines is a failure like any other.
fn run(seed: u64, bug: Option<Bug>) -> Result<Counts, String> {
    let again = format!("seed {seed}: PURSER_SEED={seed} cargo test --test purser simulation");
    match catch_unwind(AssertUnwindSafe(|| World::run(seed, bug))) {
        Ok(result) => result.map_err(|what| format!("{again}\n{what}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            Err(format!("{again}\n{text}"))
        }
    }
}

#[test]
fn nothing_told_is_lost_and_nothing_counts_twice() {
    if let Some(seed) = number("PURSER_SEED") {
        let counts = run(seed, None).unwrap_or_else(|what| panic!("{what}"));
        println!("{counts:#?}");
        return;
    }
    let seeds = number("PURSER_SIMULATIONS").unwrap_or(SEEDS);
    let mut sum = Counts::default();
    for seed in 0..seeds {
        sum.take(&run(seed, None).unwrap_or_else(|what| panic!("{what}")));
    }
    println!("{seeds} seeds: {sum:#?}");
    // In half as many runs as are usual, or more, it must have come to all of this.
    for (what, least) in MET.iter().filter(|_| seeds >= SEEDS / 2) {
        assert!(sum.of(what) >= *least, "{seeds} seeds met only {} {what}", sum.of(what));
    }
}

#[test]
fn a_user_larger_than_what_is_read_at_a_time_is_recovered() {
    let largest = World::run_large(1).unwrap_or_else(|what| panic!("{what}"));
    println!("a frame of {largest} bytes");
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, shows) in BUGS {
        let mut failures = (0..SEEDS).filter_map(|seed| run(seed, Some(bug)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how =
            how.unwrap_or_else(|| panic!("{bug:?} does not show in {SEEDS} seeds: {shows:?}"));
        println!("{bug:?}: {how}");
    }
}
