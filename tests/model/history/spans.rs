//! History of a busy user: two spans of 524,288 entries, after which the dedup window begins anew.
//!
//! It takes 130 MB of lines and some 400 MB in a model, so only ignored tests run it.

use super::super::ledger::SPAN;
use super::Step;

/// The history: feeds of at most 10,000 lines up to one entry before the second span ends, then
/// feeds around its end: resends from before and after the new start of the window, late entries,
/// and a settlement of the first hold.
pub fn spans() -> impl Iterator<Item = Step> {
    const USER: u64 = 42;
    const START: u64 = 1_763_899_200_000; // Start of a day.
    const TOTAL: u64 = 2 * SPAN as u64 - 1;
    let line = |id: u64, at_ms: u64| {
        let state = if id == 0 { r#","state":"pending""# } else { "" };
        format!(
            "{{\"entry_id\":\"{id}\",\"user_id\":\"{USER}\",\"currency\":\"COIN\",\
             \"kind\":\"gift\",\"direction\":\"credit\",\"amount\":1,\"at_ms\":{at_ms}{state}}}"
        )
    };
    // A thousand entries share each millisecond.
    let at_ms = |id: u64| START + id / 1_000;
    let now_ms = START + 3_600_000;
    let feed = move |late: bool, lines: Vec<String>| Step::Feed {
        now_ms,
        late,
        body: lines.join("\n").into_bytes(),
    };
    let settle = format!(
        "{{\"entry_id\":\"9000001\",\"user_id\":\"{USER}\",\"amount\":1,\"at_ms\":{},\
         \"pending_id\":\"0\"}}",
        at_ms(TOTAL)
    );
    let filling = (0..TOTAL.div_ceil(10_000)).map(move |chunk| {
        let ids = chunk * 10_000..TOTAL.min((chunk + 1) * 10_000);
        feed(false, ids.map(|id| line(id, at_ms(id))).collect())
    });
    // After the second span the window begins at the last entry of the first one: 524 ms.
    let resent = || [0, 1, 523_999, 524_000, 524_287, TOTAL].map(|id| line(id, at_ms(id)));
    let trials = [
        (false, resent()[..5].to_vec()),
        (false, vec![line(TOTAL, at_ms(TOTAL))]),
        (false, resent().to_vec()),
        (true, resent().to_vec()),
        (true, resent().to_vec()),
        (false, vec![settle, line(2_000_000, at_ms(523_999)), line(2_000_001, at_ms(524_000))]),
    ];
    let reads = ["balance", "stats?window=lifetime", "stats?window=24h"]
        .map(|read| Step::Get { now_ms, target: format!("/v1/users/{USER}/{read}") });
    filling.chain(trials.into_iter().map(move |(late, lines)| feed(late, lines))).chain(reads)
}

#[cfg(test)]
mod tests {
    use super::super::super::Model;
    use super::super::{Step, spans};

    #[test]
    #[ignore = "a million entries: some five seconds"]
    fn the_window_begins_anew() {
        let mut model = Model::new();
        let mut answers = Vec::new();
        for step in spans() {
            match step {
                Step::Feed { now_ms, late, body } => {
                    let answer = model.feed(now_ms, late, &body).1;
                    answers.push(answer.chars().take(400).collect::<String>());
                }
                Step::Get { now_ms, target } => answers.push(model.get(now_ms, &target).body),
                Step::Batch { .. } => unreachable!("no batches here"),
            }
        }
        let trials = &answers[answers.len() - 9..];
        for (trial, want) in trials.iter().zip([
            r#"{"accepted":0,"duplicates":5,"rejected":0,"#,
            r#"{"accepted":1,"duplicates":0,"rejected":0,"#,
            r#"{"accepted":0,"duplicates":3,"rejected":3,"#,
            // The open hold's id is remembered; two entries are booked again.
            r#"{"accepted":2,"duplicates":3,"rejected":1,"#,
            r#"{"accepted":0,"duplicates":5,"rejected":1,"#,
            r#"{"accepted":2,"duplicates":0,"rejected":1,"#,
        ]) {
            assert!(trial.starts_with(want), "{trial} does not begin with {want}");
        }
    }
}
