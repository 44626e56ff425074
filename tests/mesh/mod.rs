//! Loom models of the mesh's queue and parking: every interleaving of two or three cores and every
//! value that a weak load may see, within a bound on preemptions.
//!
//! The sources are compiled a second time, with `sync` in place of `src/engine/sync.rs`. To show
//! that the models can fail, each memory ordering stronger than `Relaxed` is weakened, one at a
//! time, and bugs are planted in turns ([`Bug`]); each time a model must fail.

mod models;
#[path = "../../src/engine/parking.rs"]
mod parking;
#[path = "../../src/engine/queue.rs"]
mod queue;
mod sync;

use models::{BUGS, Bug, MODELS};
use std::env;
use std::process::Command;

/// Environment variable with the only model to run.
const ALONE: &str = "PURSER_MODEL";
/// Environment variable with what is planted: a source line to weaken, or a bug.
const PLANTED: &str = "PURSER_PLANTED";

#[test]
fn every_item_arrives_once_and_no_wake_up_is_lost() {
    let (alone, planted) = (env::var(ALONE), env::var(PLANTED).unwrap_or_default());
    let bug = BUGS.into_iter().find(|bug| format!("{bug:?}") == planted).unwrap_or(Bug::None);
    sync::weaken(sync::ordered_lines().find(|line| line.to_string() == planted));
    for (name, model) in
        MODELS.into_iter().filter(|(name, _)| alone.as_deref().unwrap_or(name) == *name)
    {
        println!("{name}");
        model(bug);
    }
}

/// The first model that fails with a planted bug, and its message. Each model runs in its own
/// process, because a failed one cannot be cleaned up.
fn failure_with(planted: &str) -> Option<String> {
    let fails = |(name, _)| {
        let test = "mesh::every_item_arrives_once_and_no_wake_up_is_lost";
        let mut run = Command::new(env::current_exe().unwrap());
        run.args(["--exact", test, "--nocapture"])
            .env(ALONE, name)
            .env(PLANTED, planted)
            .env("RUST_BACKTRACE", "0");
        let output = run.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let what =
            told.lines().skip_while(|line| !line.contains("panicked at")).nth(1).map(str::to_owned);
        (!output.status.success())
            .then(|| format!("{name}: {}", what.expect("a failed model says why")))
    };
    let failure = MODELS.into_iter().find_map(fails);
    println!("{planted}: {failure:?}");
    failure
}

#[test]
fn each_memory_ordering_is_needed() {
    let lines: Vec<_> = sync::ordered_lines().collect();
    for line in &lines {
        assert!(
            failure_with(&line.to_string()).is_some(),
            "no model needs the ordering of {line}, in {}",
            line.function()
        );
    }
    assert_eq!(lines.len(), 6, "two queue indexes, each stored and loaded, and two fences");
}

#[test]
fn each_planted_bug_is_caught() {
    for bug in BUGS {
        assert!(failure_with(&format!("{bug:?}")).is_some(), "no model fails with {bug:?}");
    }
}
