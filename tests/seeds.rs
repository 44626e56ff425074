//! Seeded runs: many seeds or one repeated; and the first difference of two bodies.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A number from an environment variable.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Runs `cases` random seeds, or `PURSER_HISTORIES` of them, or only `PURSER_SEED`; panics with the
/// first failure.
pub fn each(cases: u32, run: impl Fn(u64) -> Result<(), String>) {
    if let Some(seed) = number("PURSER_SEED") {
        run(seed).unwrap_or_else(|message| panic!("{message}"));
        return;
    }
    let cases = number("PURSER_HISTORIES").map_or(cases, |n| n as u32);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    TestRunner::new(config)
        .run(&any::<u64>(), |seed| run(seed).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// The first byte where two texts differ, and an excerpt of each around it, after its name.
pub fn first_difference([(one, a), (other, b)]: [(&str, &str); 2]) -> (usize, String) {
    let at = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let near = |text: &str| {
        let bytes = &text.as_bytes()[at.saturating_sub(100)..(at + 200).min(text.len())];
        String::from_utf8_lossy(bytes).into_owned()
    };
    (at, format!("  {one}: {}\n  {other}: {}", near(a), near(b)))
}
