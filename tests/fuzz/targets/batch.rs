//! Fuzzes the reader of a batch body against `serde_json` and a second reading of the contract.
//!
//! Never panics; accepts exactly what the oracle accepts, with equal reads; says `invalid_json`
//! only where the text is no JSON object or repeats a member, and always where it is not JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::api::batch;
use purser::api::problem::Code;
use purser_fuzz::batch::Body;
use purser_fuzz::grammar::{self, Grammar};
use purser_fuzz::object::Object;

fuzz_target!(|body: &[u8]| {
    let mut reads = Vec::new();
    let ours = batch::read(body, &mut reads);
    let oracle = serde_json::from_slice::<Object<Body>>(body).ok().map(|object| object.0);
    let expected = oracle.as_ref().and_then(Body::reads);
    assert_eq!(ours.is_ok().then_some(&reads), expected.as_ref(), "the oracle reads another batch");
    let says_bad = ours.is_err_and(|problem| problem.code == Code::InvalidJson);
    match grammar::judge(body) {
        Grammar::Unsure => {}
        Grammar::Bad | Grammar::Other => assert!(says_bad, "not an object, and not said"),
        Grammar::Object { repeats, repeats_inside } => {
            assert!(says_bad || !repeats, "a member is repeated, and not said");
            assert!(!says_bad || repeats_inside, "JSON without repeats, and called bad");
        }
    }
});
