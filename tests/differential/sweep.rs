//! Reads that cover everything of a user whose latest entry is at `latest`.

const MINUTE: u64 = 60_000;
const BUCKET: u64 = 15 * MINUTE;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const WINDOWS: [(&str, u64); 8] = [
    ("15m", BUCKET),
    ("1h", HOUR),
    ("24h", DAY),
    ("26h", 26 * HOUR),
    ("8d", 8 * DAY),
    ("30d", 30 * DAY),
    ("9585h", 9_585 * HOUR),
    ("400d", 400 * DAY),
];

/// A read, as a target and as a batch item.
pub struct Question {
    pub target: String,
    pub item: String,
}

impl Question {
    fn balance(user: &str) -> Self {
        Self {
            target: format!("/v1/users/{user}/balance"),
            item: format!(r#"{{"user_id":"{user}","read":"balance"}}"#),
        }
    }

    fn balance_at(user: &str, at_ms: u64) -> Self {
        Self {
            target: format!("/v1/users/{user}/balance?at_ms={at_ms}"),
            item: format!(r#"{{"user_id":"{user}","read":"balance","at_ms":{at_ms}}}"#),
        }
    }

    fn lifetime(user: &str) -> Self {
        Self {
            target: format!("/v1/users/{user}/stats?window=lifetime"),
            item: format!(r#"{{"user_id":"{user}","read":"stats","window":"lifetime"}}"#),
        }
    }

    fn stats(user: &str, window: &str, at_ms: u64) -> Self {
        Self {
            target: format!("/v1/users/{user}/stats?window={window}&at_ms={at_ms}"),
            item: format!(
                r#"{{"user_id":"{user}","read":"stats","window":"{window}","at_ms":{at_ms}}}"#
            ),
        }
    }
}

/// The body of a batch of reads.
pub fn batch<'q>(questions: impl IntoIterator<Item = &'q Question>) -> Vec<u8> {
    let items: Vec<_> = questions.into_iter().map(|question| question.item.as_str()).collect();
    format!(r#"{{"requests":[{}]}}"#, items.join(",")).into_bytes()
}

/// Reads with windows that begin or end at an edge, or one millisecond before it: edges of buckets,
/// of retention, and of the periods that a bank books by.
pub fn edges(user: &str, latest: u64) -> Vec<Question> {
    let back = |span: u64, grain: u64| latest.saturating_sub(span) / grain * grain;
    let edges = [
        latest,
        back(26 * HOUR, HOUR),
        back(8 * DAY, DAY),
        back(400 * DAY, DAY),
        back(30 * DAY, DAY),
        back(365 * DAY, DAY),
        back(390 * DAY, HOUR),
        0,
    ];
    let mut all = vec![Question::balance(user), Question::lifetime(user)];
    for edge in edges {
        let times = [edge, edge + 1, edge.saturating_sub(1)];
        all.extend(times.map(|at_ms| Question::balance_at(user, at_ms)));
    }
    for (window, length) in WINDOWS {
        for (index, edge) in edges.into_iter().enumerate() {
            let at_ms = if index % 2 == 0 { edge } else { edge + length };
            all.push(Question::stats(user, window, at_ms));
            all.push(Question::stats(user, window, at_ms.saturating_sub(1)));
        }
    }
    all
}

/// One read per bucket, the smallest ranges that can be told apart: any window's result is a sum of
/// theirs. Fewer than 1,000 reads.
pub fn atoms(user: &str, latest: u64) -> Vec<Question> {
    let mut all = vec![Question::balance(user), Question::lifetime(user)];
    for (window, grain, count) in
        [("15m", BUCKET, 27 * 4 + 1), ("1h", HOUR, 9 * 24 + 1), ("1d", DAY, 402)]
    {
        // The last millisecond of each bucket, so that the range is that bucket alone.
        let first_end = (latest / grain + 1) * grain - 1;
        let ends = (0..count).map_while(|back| first_end.checked_sub(back * grain));
        all.extend(ends.map(|end| Question::stats(user, window, end)));
    }
    all
}
