//! Fuzzes the reader of a feed line against `serde_json` and a second reading of the contract.
//!
//! Never panics; accepts exactly what the oracle accepts, with equal fields; says `invalid_json`
//! exactly where the text is no JSON object or repeats a member; and no answer depends on what the
//! scratch held before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::api::entry::{self, LineScratch};
use purser::api::problem::Code;
use purser_fuzz::entry::Line;
use purser_fuzz::grammar::{self, Grammar};
use purser_fuzz::object::Object;

fuzz_target!(|line: &[u8]| {
    let mut scratch = LineScratch::EMPTY;
    let ours = entry::read(line, &mut scratch);
    let oracle = serde_json::from_slice::<Object<Line>>(line).ok().map(|object| object.0);
    let expected = oracle.as_ref().and_then(Line::entry);
    assert_eq!(ours.entry.as_ref().ok(), expected.as_ref(), "the oracle reads another entry");
    if let (Some(oracle), true) = (&oracle, expected.is_some()) {
        assert_eq!(ours.id_text, oracle.entry_id.as_bytes(), "an id is echoed as it was sent");
    }
    let says_bad = ours.entry.is_err_and(|problem| problem.code == Code::InvalidJson);
    match grammar::judge(line) {
        Grammar::Unsure => {}
        Grammar::Bad | Grammar::Other => assert!(says_bad, "not an object, and not said"),
        Grammar::Object { repeats, .. } => {
            assert_eq!(says_bad, repeats, "said to be JSON, or not, against serde_json")
        }
    }
    check_scratch(line);
});

/// A scratch that was used reads as a fresh one does.
fn check_scratch(line: &[u8]) {
    let (mut fresh, mut used) = (LineScratch::EMPTY, LineScratch::EMPTY);
    entry::read(br#"{"entry_id":"\u0039\u0039","kind":"\u0071\u0071\u0071"}"#, &mut used);
    assert_eq!(
        entry::read(line, &mut fresh),
        entry::read(line, &mut used),
        "the scratch shows through"
    );
}
