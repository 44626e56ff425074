//! Fuzzes the reader of a feed line against an oracle: `serde_json` and a second implementation of
//! the contract.
//!
//! The reader never panics, and accepts exactly what the oracle accepts, with equal fields. It
//! reports `invalid_json` exactly for a text that is no JSON object or repeats a member, with a
//! reason that the message of `serde_json` allows. A text beyond the limits of `serde_json` may be
//! either. No result depends on earlier contents of the scratch buffer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::api::entry::{self, LineScratch};
use purser::api::json::NotJson;
use purser_fuzz::entry::Line;
use purser_fuzz::grammar::{self, Grammar};
use purser_fuzz::object::Object;

fuzz_target!(|line: &[u8]| {
    let mut scratch = LineScratch::EMPTY;
    let ours = entry::parse(line, &mut scratch);
    let oracle = serde_json::from_slice::<Object<Line>>(line).ok().map(|object| object.0);
    let expected = oracle.as_ref().and_then(Line::entry);
    let grammar = grammar::judge(line);
    // The oracle takes any `metadata`, also what is not JSON.
    if ours.entry.is_ok() || matches!(grammar, Grammar::Object { .. } | Grammar::Other) {
        assert_eq!(
            ours.entry.as_ref().ok(),
            expected.as_ref(),
            "reader and oracle give the same entry"
        );
    }
    if let (Some(oracle), true) = (&oracle, ours.entry.is_ok()) {
        assert_eq!(ours.id_text, oracle.entry_id.as_bytes(), "an id is echoed as sent");
    }
    let reason = ours.entry.as_ref().err().and_then(grammar::reason);
    match grammar {
        Grammar::Unsure => assert!(
            reason.is_some() || expected.is_some() == ours.entry.is_ok(),
            "reader and oracle differ about more than JSON"
        ),
        Grammar::Bad(why) => {
            let reason = reason.expect("a text that is not JSON is invalid_json");
            grammar::check_reason(line, &why, reason);
        }
        Grammar::Other => assert_eq!(reason, Some(NotJson::NotObject)),
        Grammar::Object { repeats, .. } => {
            assert_eq!(
                reason,
                repeats.then_some(NotJson::Repeated),
                "an object is invalid_json exactly if a member is repeated"
            )
        }
    }
    check_scratch(line);
});

/// A used scratch buffer reads a line like a fresh one.
fn check_scratch(line: &[u8]) {
    let (mut fresh, mut used) = (LineScratch::EMPTY, LineScratch::EMPTY);
    entry::parse(br#"{"entry_id":"\u0039\u0039","kind":"\u0071\u0071\u0071"}"#, &mut used);
    assert_eq!(
        entry::parse(line, &mut fresh),
        entry::parse(line, &mut used),
        "the result does not depend on the scratch"
    );
}
