//! The one history that fills a user to the limit of 1,048,576 remembered ids, and tries it.
//!
//! 130 MB of lines and some 400 MB in a model: for a rare run, not for every one.

use super::Step;

/// The limit of 1,048,576 remembered ids: 105 feeds of 10,000 lines and fewer fill one user to it,
/// and a few steps try the limit: one more, a resend, settlement of the first hold, then later
/// entries that free whole buckets.
pub fn recent_limit() -> impl Iterator<Item = Step> {
    const USER: u64 = 42;
    const START: u64 = 1_763_899_200_000; // A day's edge.
    const TOTAL: u64 = 1_048_576;
    let line = |id: u64, at_ms: u64| {
        let state = if id == 0 { r#","state":"pending""# } else { "" };
        format!(
            r#"{{"entry_id":"{id}","user_id":"{USER}","currency":"COIN","kind":"gift","direction":"credit","amount":1,"at_ms":{at_ms}{state}}}"#
        )
    };
    // One entry in each 82 ms: the whole of them spans a little less than 24 h.
    let at_ms = |id: u64| START + id * 82;
    let feed = |now_ms: u64, lines: Vec<String>| Step::Feed {
        now_ms,
        body: lines.join("\n").into_bytes(),
    };
    let settle = |at_ms: u64| {
        format!(
            r#"{{"entry_id":"9000001","user_id":"{USER}","amount":1,"at_ms":{at_ms},"pending_id":"0"}}"#
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
        // The cut-off is still in the first bucket, whatever instant of it.
        vec![line(TOTAL, day), line(TOTAL, day + bucket - 1), settle(day)],
        // One bucket is let go: as many as it held may follow, the first of them the one refused
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
    fn the_recent_limit_is_met_and_left() {
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
