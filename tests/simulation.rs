//! Seeded simulation of slices, logs, snapshots and recovery, with a fake clock and a faulty disk.
//!
//! One seed is one run: the slices of a process run, crash at any point, recover, and crash during
//! recovery too. In the end every acknowledged entry must be there exactly once.
//! `PURSER_SIMULATIONS=n` sets how many seeds run; `PURSER_SEED=n cargo test --test purser
//! simulation` repeats one.
//!
//! - `world`: drives the slices of one run.
//! - `client`: the entries that clients send.
//! - `oracle`: checks verdicts and recovered users.
//! - `disk`: a disk with the faults of a crash; `directory`: the files of a slice on it.
//! - `damage`: damage to files at rest.
//! - `forgery`: bytes chosen by a client that look like writes of a later segment.
//! - `repartition`: the same for a change of the number of slices, on a file system (`tree`).
//! - `counts`: counters of what happened.
//! - `random`: random numbers.
//!
//! Each [`Bug`] is one that this system could have had, planted in the harness; a test shows that
//! each is caught.

mod client;
pub mod counts;
mod damage;
mod directory;
pub mod disk;
mod forgery;
mod oracle;
pub mod random;
mod repartition;
mod tree;
mod world;

use crate::seeds::number;
use counts::Counts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// Seeds of a test run.
const SEEDS: u64 = 1_000;
/// Seeds that are tried for a planted bug; most show in the first few.
const BUG_SEEDS: u64 = 10 * SEEDS;

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A log write is reported as done when it is submitted.
    WriteReportedEarly,
    /// Answers do not wait for the log.
    AnswerLeavesEarly,
    /// Replay applies entries that the snapshot already has.
    ReplayUnchecked,
    /// A snapshot becomes current when it is written, even if the log is not durable up to the
    /// snapshot's end.
    SnapshotAheadOfLog,
    /// A snapshot becomes current without a sync.
    SnapshotNotSynced,
    /// The log continues one block after its end.
    CutTooLate,
    /// The log continues before its last write.
    CutTooEarly,
    /// The log continues after a torn write.
    TornWriteKept,
    /// The manifest names a new segment whose directory entry is not durable.
    SegmentNotNamed,
    /// A new segment has no header.
    HeaderForgotten,
    /// A manifest is reported as published before its directory is synced.
    ManifestNotSynced,
    /// Segments are removed when the manifest without them is submitted rather than published.
    RemovedEarly,
    /// Neither the segment nor the directory that recovery has read is synced.
    RecoveredNotSynced,
    /// The directory that recovery has read is not synced.
    RecoveredDirectoryNotSynced,
    /// Clients know the salt of every segment.
    SaltKnown,
}

/// Each bug with a text of the failure that shows it.
const BUGS: [(Bug, &str); 15] = [
    (Bug::WriteReportedEarly, " was shown, and "),
    (Bug::AnswerLeavesEarly, " was shown, and "),
    (Bug::ReplayUnchecked, "gives another verdict"),
    (Bug::SnapshotAheadOfLog, "but the snapshot needs it up to write"),
    (Bug::SnapshotNotSynced, "refuses: snapshot-"),
    (Bug::CutTooLate, " is missing"),
    (Bug::CutTooEarly, "but the user is at version"),
    (Bug::TornWriteKept, " is broken"),
    (Bug::SegmentNotNamed, "the manifest names this file, but it is missing"),
    (Bug::HeaderForgotten, "invalid segment header"),
    (Bug::ManifestNotSynced, "is outdated"),
    (Bug::RemovedEarly, "the manifest names this file, but it is missing"),
    (Bug::RecoveredNotSynced, " is missing"),
    (Bug::RecoveredDirectoryNotSynced, "the manifest names this file, but it is missing"),
    (Bug::SaltKnown, " follows at byte "),
];

/// Least counts for half of the seeds of a test run.
const MET: [(&str, u64); 27] = [
    ("accepted", 100_000),
    ("answers that waited", 50_000),
    ("segments", 2_000),
    ("recycled segments", 200),
    ("snapshots", 1_000),
    ("failed snapshots", 200),
    ("failed segments", 400),
    ("failed task", 200),
    ("full disk", 500),
    ("refused for lack of space", 10_000),
    ("refused log writes", 100),
    ("failed publications", 100),
    ("refused answers", 100),
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
    ("forged records", 400),
    ("forged records recycled", 5),
    ("forged frames recycled", 600),
];

/// Runs a seed. A panic counts as a failure.
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
fn no_acknowledged_entry_is_lost_or_counted_twice() {
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
    // Runs of at least half the usual seeds must reach these counts.
    for (what, least) in MET.iter().filter(|_| seeds >= SEEDS / 2) {
        assert!(sum.of(what) >= *least, "{seeds} seeds met only {} {what}", sum.of(what));
    }
}

#[test]
fn a_large_user_and_many_kinds_are_stored_while_entries_arrive_and_recovered() {
    for crash in [disk::Crash::Kill, disk::Crash::Power] {
        let frames = World::run_large(1, crash).unwrap_or_else(|what| panic!("{what}"));
        println!("{crash:?}: {frames:?}");
        assert!(frames.largest_bytes <= 512 << 10, "no frame has more than an image too many");
    }
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, shows) in BUGS {
        let mut failures = (0..BUG_SEEDS).filter_map(|seed| run(seed, Some(bug)).err());
        let how = failures.find(|failure| failure.contains(shows));
        let how =
            how.unwrap_or_else(|| panic!("{bug:?} does not show in {BUG_SEEDS} seeds: {shows:?}"));
        println!("{bug:?}: {how}");
    }
}
