//! The mesh's queue and parking under loom: every order in which two or three cores can take their
//! steps, and every value that a weak load may see, within a bound of preemptions.
//!
//! The sources themselves are compiled once more, with `sync` in the place of `src/engine/sync.rs`.
//! A model that passes says little unless it can fail. So each order of the sources that is
//! stronger than `Relaxed` is weakened, one at a time, and turns are taken wrongly ([`Turn`]); each
//! time a model must object.

mod models;
#[path = "../../src/engine/padding.rs"]
mod padding;
#[path = "../../src/engine/parking.rs"]
mod parking;
#[path = "../../src/engine/queue.rs"]
mod queue;
mod sync;

use models::{MODELS, Turn, WRONG};
use std::env;
use std::process::Command;

/// The model that alone is to be run, and what is planted.
const ALONE: &str = "PURSER_MODEL";
const PLANTED: &str = "PURSER_PLANTED";

#[test]
fn every_item_arrives_once_and_no_wake_up_is_lost() {
    let (alone, planted) = (env::var(ALONE), env::var(PLANTED).unwrap_or_default());
    let turn = WRONG.into_iter().find(|turn| format!("{turn:?}") == planted).unwrap_or(Turn::Right);
    sync::weaken(sync::ordered_lines().find(|line| line.to_string() == planted));
    for (name, model) in
        MODELS.into_iter().filter(|(name, _)| alone.as_deref().unwrap_or(name) == *name)
    {
        println!("{name}");
        model(turn);
    }
}

/// The first model that fails once something is planted, and with what. Each runs in a process of
/// its own: one that has failed cannot be tidied up.
fn objection(planted: &str) -> Option<String> {
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
        (!output.status.success()).then(|| format!("{name}: {}", what.expect("it says why")))
    };
    let objection = MODELS.into_iter().find_map(fails);
    println!("{planted}: {objection:?}");
    objection
}

#[test]
fn each_order_is_needed() {
    let lines: Vec<_> = sync::ordered_lines().collect();
    for line in &lines {
        assert!(
            objection(&line.to_string()).is_some(),
            "no model needs the order of {line}, in {}",
            line.function()
        );
    }
    assert_eq!(lines.len(), 6, "the two ends of a queue, each stored and loaded, and two fences");
}

#[test]
fn each_wrong_turn_is_caught() {
    for turn in WRONG {
        assert!(objection(&format!("{turn:?}")).is_some(), "{turn:?} does not show");
    }
}
