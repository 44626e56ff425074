//! Differential test: Purser against the same service in Go, written from the contract by others.
//! Both get the same requests, and every answer is compared byte for byte.
//!
//! Purser runs on one, two and three slices: each history on one of these counts, the other tests
//! on all of them.
//!
//! - `histories`: long seeded histories.
//! - `requests`: requests that exercise HTTP.
//! - `sweep`: reads that cover everything that a user's entries can show.
//! - `pair`: sends requests to both servers and compares.
//! - `peer`: builds, starts and reads the Go server.
//!
//! A failure prints the command that reproduces it; `PURSER_HISTORIES=n` sets how many histories
//! run. Without Go these tests pass and print what was skipped.

mod histories;
mod pair;
mod peer;
mod requests;
mod sweep;

use crate::model::texts;
use crate::seeds;
use crate::server::client::{batch, feed, get};
use histories::{Plant, Run, now_ms};
use pair::Pair;
use peer::Peers;
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;

on_slices!([one = 1, two = 2, three = 3] [
    requests_nethttp,
    requests_fasthttp,
    requests_hertz,
    berka,
]);

const ENTRIES: &str = include_str!("data/berka/entries.ndjson");
const EXPECTED: &str = include_str!("data/berka/expected.json");

/// Runs histories against a peer. Returns the number of answers compared; `None` without Go.
fn histories(peer: &'static str, cases: u32, limits: bool) -> Option<usize> {
    let what =
        format!("{} with {peer}", if limits { "histories at the limits" } else { "histories" });
    let peers = Peers::built(&what)?;
    let compared = Cell::new(0);
    seeds::each(cases, |seed| {
        let run = Run { seed, now_ms: now_ms(), limits, peer, plant: None };
        let count = run.run(peers)?;
        compared.update(|sum| sum + count);
        Ok(())
    });
    println!("{what}: {} answers compared", compared.get());
    Some(compared.get())
}

#[test]
fn histories_nethttp() {
    let compared = histories("nethttp", 60, false);
    let is_whole =
        seeds::number("PURSER_SEED").is_none() && seeds::number("PURSER_HISTORIES").is_none();
    assert!(
        !is_whole || compared.is_none_or(|count| count >= 100_000),
        "too few answers: {compared:?}"
    );
}

#[test]
fn limits_nethttp() {
    histories("nethttp", 8, true);
}

#[test]
fn histories_fasthttp() {
    histories("fasthttp", 12, false);
}

#[test]
fn limits_fasthttp() {
    histories("fasthttp", 2, true);
}

#[test]
fn histories_hertz() {
    histories("hertz", 12, false);
}

#[test]
fn limits_hertz() {
    histories("hertz", 2, true);
}

#[test]
#[ignore = "a million entries: some ten seconds"]
fn spans_nethttp() {
    let Some(peers) = Peers::built("spans of the dedup window") else { return };
    let compared = histories::run_spans(peers, "nethttp");
    println!("spans of the dedup window: {compared} answers compared");
}

/// Each planted difference is found in some histories, and the report has the command that
/// reproduces it. In others it cannot be seen: an entry that is booked 15 minutes earlier may stay
/// in the same day.
#[test]
fn planted_differences_are_found() {
    /// A clock in 2020, so that all entries of these histories are in the past.
    const NOW_MS: u64 = 1_600_000_000_000;
    const SEEDS: u64 = 12;
    const WANTED: u64 = 2;
    let Some(peers) = Peers::built("planted differences") else { return };
    let run = |seed, plant| {
        Run { seed, now_ms: NOW_MS, limits: false, peer: "nethttp", plant }.run(peers)
    };
    for seed in 0..SEEDS / 4 {
        run(seed, None).unwrap_or_else(|report| panic!("nothing was planted: {report}"));
    }
    for plant in [Plant::More, Plant::Amount, Plant::Earlier, Plant::Kind] {
        let mut found = 0;
        for seed in 0..SEEDS {
            if found == WANTED {
                break;
            }
            let Err(report) = run(seed, Some(plant)) else { continue };
            found += 1;
            let says = |text: String| {
                assert!(report.contains(&text), "{plant:?}: no {text:?} in {report}");
            };
            says(format!("seed {seed} step "));
            says(format!(
                "PURSER_SEED={seed} PURSER_NOW={NOW_MS} cargo test --test purser \
                 differential::histories_nethttp"
            ));
        }
        assert_eq!(found, WANTED, "{plant:?} was found in {found} of {SEEDS} histories");
    }
}

/// Texts that are almost JSON: the lines in feeds, and each batch.
#[test]
fn faults_of_texts() {
    let Some(peers) = Peers::built("texts that are almost JSON") else { return };
    let mut pair = Pair::start(peers, "nethttp");
    for request in
        texts::feeds().into_iter().map(feed).chain(texts::batches().into_iter().map(batch))
    {
        pair.ask(&request).unwrap_or_else(|parted| panic!("{}", parted.shown()));
    }
    println!("texts that are almost JSON: {} answers compared", pair.compared);
}

/// Sends all requests, then reads the users they may have changed.
fn check_requests(peer: &'static str) {
    let Some(peers) = Peers::built(&format!("requests to {peer}")) else { return };
    let mut pair = Pair::start(peers, peer);
    let mut parted = Vec::new();
    let last = [get("/v1/users/9/balance"), get("/v1/users/10/balance")].map(String::into_bytes);
    let more = match peer {
        "nethttp" => requests::extensions(),
        "fasthttp" => [requests::extensions(), requests::bad_escapes()].concat(),
        _ => requests::bad_escapes(),
    };
    for request in [vec![requests::opening()], requests::all(), more, last.to_vec()].concat() {
        parted.extend(pair.ask(&request).err().map(|parted| parted.shown()));
        pair.reconnect();
    }
    parted.extend(pair.ask_pipelined(&requests::pipeline()).err().map(|parted| parted.shown()));
    println!("requests to {peer}: {} answers compared", pair.compared);
    assert!(
        parted.is_empty(),
        "{} requests are answered differently:\n{}",
        parted.len(),
        parted.join("\n\n")
    );
}

fn requests_nethttp() {
    check_requests("nethttp");
}

fn requests_fasthttp() {
    check_requests("fasthttp");
}

fn requests_hertz() {
    check_requests("hertz");
}

/// Real transactions: fed, read at every edge by single reads and in batches, then resent.
fn berka() {
    let Some(peers) = Peers::built("real transactions") else { return };
    let users: BTreeMap<String, Value> = serde_json::from_str(EXPECTED).expect("the file is JSON");
    let questions: Vec<_> = users
        .iter()
        .flat_map(|(user, of)| sweep::edges(user, of["last_at_ms"].as_u64().expect("a time")))
        .collect();
    let lines: Vec<_> = ENTRIES.lines().collect();
    let feeds: Vec<_> = lines.chunks(10_000).map(|part| feed(part.join("\n"))).collect();
    let gets = questions.iter().map(|question| get(&question.target).into_bytes());
    let batches = questions.chunks(1_000).map(|part| batch(sweep::batch(part)));
    let mut pair = Pair::start(peers, "nethttp");
    for request in feeds.iter().cloned().chain(gets).chain(batches).chain(feeds.iter().cloned()) {
        pair.ask(&request).unwrap_or_else(|parted| panic!("{}", parted.shown()));
    }
    println!("real transactions: {} answers compared", pair.compared);
}
