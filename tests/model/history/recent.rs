//! History that fills one user's dedup window to its limit of 1,048,576 ids and tests the limit.
//!
//! It takes 130 MB of lines and some 400 MB in a model, so only ignored tests run it.

use super::Step;

/// The history: 105 feeds of at most 10,000 lines fill one user to the limit. Further feeds test
/// it: one more entry, a resend, a settlement of the first hold, then later entries that free whole
/// buckets.
pub fn recent_limit() -> impl Iterator<Item = Step> {
    const USER: u64 = 42;
    const START: u64 = 1_763_899_200_000; // Start of a day.
    const TOTAL: u64 = 1_048_576;
    let line = |id: u64, at_ms: u64| {
        let state = if id == 0 { r#","state":"pending""# } else { "" };
        format!(
            "{{\"entry_id\":\"{id}\",\"user_id\":\"{USER}\",\"currency\":\"COIN\",\
             \"kind\":\"gift\",\"direction\":\"credit\",\"amount\":1,\"at_ms\":{at_ms}{state}}}"
        )
    };
    // One entry every 82 ms: all of them span a little less than 24 h.
    let at_ms = |id: u64| START + id * 82;
    let feed = |now_ms: u64, lines: Vec<String>| Step::Feed {
        now_ms,
        body: lines.join("\n").into_bytes(),
    };
    let settle = |at_ms: u64| {
        format!(
            "{{\"entry_id\":\"9000001\",\"user_id\":\"{USER}\",\"amount\":1,\"at_ms\":{at_ms},\
             \"pending_id\":\"0\"}}"
        )
    };
    let filling = (0..TOTAL.div_ceil(10_000)).map(move |chunk| {
        let ids = chunk * 10_000..TOTAL.min((chunk + 1) * 10_000);
        let now_ms = at_ms(ids.end);
        feed(now_ms, ids.map(|id| line(id, at_ms(id))).collect())
    });
    let last = at_ms(TOTAL - 1);
    let day = START + 86_400_000;
    let bucket = 900_000;
    let trials = [
        vec![line(TOTAL, last), line(5, at_ms(5)), settle(last)],
        // The start of the dedup window is still in the first bucket.
        vec![line(TOTAL, day), line(TOTAL, day + bucket - 1), settle(day)],
        // The first bucket is freed: as many entries as it had may follow, first the one refused
        // before.
        vec![line(TOTAL, day + bucket), settle(day + bucket)],
        (1..11_000).map(|more| line(TOTAL + more, day + bucket + more % 7)).take(10_000).collect(),
        (10_001..11_200).map(|more| line(TOTAL + more, day + bucket + more % 7)).collect(),
        vec![line(3, at_ms(3)), line(3, day + 2 * bucket)],
    ];
    let reads = ["balance", "stats?window=lifetime", "stats?window=24h"].map(|read| Step::Get {
        now_ms: day + 2 * bucket,
        target: format!("/v1/users/{USER}/{read}"),
    });
    filling.chain(trials.into_iter().map(move |lines| feed(day + 2 * bucket, lines))).chain(reads)
}

#[cfg(test)]
mod tests {
    use super::super::super::Model;
    use super::super::{Step, recent_limit};

    #[test]
    #[ignore = "a million entries: some five seconds"]
    fn the_dedup_limit_is_reached_and_left_again() {
        let mut model = Model::new();
        let mut answers = Vec::new();
        for step in recent_limit() {
            match step {
                Step::Feed { now_ms, body } => {
                    let answer = model.feed(now_ms, &body).1;
                    answers.push(answer.chars().take(400).collect::<String>());
                }
                Step::Get { now_ms, target } => answers.push(model.get(now_ms, &target).body),
                Step::Batch { .. } => unreachable!("no batches here"),
            }
        }
        let trials = &answers[answers.len() - 9..];
        println!("{trials:#?}");
        assert!(trials[0].starts_with(r#"{"accepted":0,"duplicates":1,"rejected":2,"#));
        assert!(trials[1].starts_with(r#"{"accepted":0,"duplicates":0,"rejected":3,"#));
        assert!(trials[2].starts_with(r#"{"accepted":2,"duplicates":0,"rejected":0,"#));
    }
}
