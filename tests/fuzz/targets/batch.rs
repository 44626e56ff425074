//! Fuzzes the reader of a batch body against an oracle: `serde_json` and a second implementation of
//! the contract.
//!
//! The reader never panics, and accepts exactly what the oracle accepts, with equal reads. It
//! reports `invalid_json` only for a text that is no JSON object or repeats a member, and always
//! for a text that is not JSON, with a reason that the message of `serde_json` allows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::api::batch;
use purser::api::json::NotJson;
use purser::api::read::Reads;
use purser_fuzz::batch::Body;
use purser_fuzz::grammar::{self, Grammar};
use purser_fuzz::object::Object;

fuzz_target!(|body: &[u8]| {
    let mut reads = Reads::default();
    let ours = batch::parse(body, &mut reads);
    let oracle = serde_json::from_slice::<Object<Body>>(body).ok().map(|object| object.0);
    let expected = oracle.as_ref().and_then(Body::reads);
    assert_eq!(
        ours.is_ok().then(|| reads.iter().collect()),
        expected,
        "reader and oracle give the same batch"
    );
    let reason = ours.as_ref().err().and_then(grammar::reason);
    match grammar::judge(body) {
        Grammar::Unsure => {}
        Grammar::Bad(why) => {
            let reason = reason.expect("a text that is not JSON is invalid_json");
            grammar::check_reason(body, &why, reason);
        }
        Grammar::Other => assert_eq!(reason, Some(NotJson::NotObject)),
        Grammar::Object { repeats, repeats_inside } => {
            let is_repeated = reason == Some(NotJson::Repeated);
            assert!(is_repeated || reason.is_none(), "an object has no other fault");
            assert!(is_repeated || !repeats, "a repeated member is invalid_json");
            assert!(
                !is_repeated || repeats_inside,
                "JSON without repeated members is not invalid_json"
            );
        }
    }
});
