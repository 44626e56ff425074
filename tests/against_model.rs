//! Model test of the ledger and its API: random histories go to Purser and to the naive model, and
//! every answer is compared byte for byte.
//!
//! A failure prints its seed. `PURSER_SEED=n cargo test --test purser against_model` runs only that
//! history; `PURSER_HISTORIES=n` sets how many histories run.

use crate::drive::{Answer, Wire, get, post};
use crate::model::history::{History, Step};
use crate::model::{Model, Reply, texts};
use crate::seeds;

const STEPS: usize = 300;

/// Runs one history through the model and Purser; `Err` describes the first difference.
fn run(seed: u64, limits: bool) -> Result<(), String> {
    let history = if limits { History::at_limits(seed) } else { History::new(seed) };
    let (mut model, mut wire) = (Model::default(), Wire::new(0));
    for (number, step) in history.take(STEPS).enumerate() {
        let (want, got, asked) = match step {
            Step::Feed { now_ms, late, body } => {
                wire.set_now(now_ms);
                let (status, text) = model.feed(now_ms, late, &body);
                let is_of_feed = [200, 422].contains(&status);
                let content_type =
                    if is_of_feed { "application/json" } else { "application/problem+json" };
                let want = Answer {
                    status,
                    content_type: content_type.to_owned(),
                    etag: None,
                    body: text,
                };
                let target = if late { "/v1/entries?late=accept" } else { "/v1/entries" };
                (want, wire.ask(&post(target, "application/x-ndjson", &body)), body)
            }
            Step::Get { now_ms, target } => {
                wire.set_now(now_ms);
                (answer(model.get(now_ms, &target)), wire.ask(&get(&target)), target.into_bytes())
            }
            Step::Batch { now_ms, body } => {
                wire.set_now(now_ms);
                let want = answer(model.batch(now_ms, &body));
                (want, wire.ask(&post("/v1/batch", "application/json", &body)), body)
            }
        };
        if want != got {
            let asked = String::from_utf8_lossy(&asked).chars().take(3_000).collect::<String>();
            let (at, around) =
                seeds::first_difference([("model", &want.body), ("purser", &got.body)]);
            return Err(format!(
                "seed {seed} (limits: {limits}) step {number}: model {} {:?}, purser {} {:?}; \
                 bodies differ at byte {at}:\n{around}\nasked: {asked}",
                want.status, want.etag, got.status, got.etag
            ));
        }
    }
    Ok(())
}

fn answer(reply: Reply) -> Answer {
    let Reply { status, content_type, etag, body } = reply;
    Answer { status, content_type: content_type.to_owned(), etag, body }
}

/// A text that is almost JSON is refused for the same reason as by the model.
#[test]
fn faults_of_texts_equal_the_model() {
    let (mut model, mut wire) = (Model::default(), Wire::new(0));
    for lines in texts::feeds() {
        let (status, body) = model.feed(0, false, &lines);
        let got = wire.ask(&post("/v1/entries", "application/x-ndjson", &lines));
        let (at, around) = seeds::first_difference([("model", &body), ("purser", &got.body)]);
        assert!((status, &body) == (got.status, &got.body), "they differ at byte {at}: {around}");
    }
    for body in texts::batches() {
        let want = answer(model.batch(0, &body));
        let got = wire.ask(&post("/v1/batch", "application/json", &body));
        assert_eq!(want, got, "{}", body.escape_ascii());
    }
}

#[test]
fn answers_equal_the_model() {
    seeds::each(60, |seed| run(seed, false));
}

#[test]
fn answers_at_the_limits_equal_the_model() {
    seeds::each(8, |seed| run(seed, true));
}
