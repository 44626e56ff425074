//! Targets of GETs and bodies of batches: good ones at every edge of a range, and malformed ones of
//! every kind.

use super::super::stats::{BUCKET, DAY, Edges, HOUR, MAX_TIME, MINUTE};
use super::drafts::{bad_value, with_one_byte_wrong};
use super::{History, Random};

impl History {
    pub(super) fn any_target(&mut self) -> String {
        if self.random.percent(5) {
            return self.strange_path();
        }
        let user = self.asked_user();
        let stats = self.random.percent(70);
        let mut query = if stats { self.stats_query(&user) } else { self.balance_query(&user) };
        if self.random.percent(12) {
            spoil(&mut query, &mut self.random);
        }
        let random = &mut self.random;
        let read = if stats { "stats" } else { "balance" };
        let query = query.join("&");
        let user = percent_encoded(&user, random);
        let path = format!("/v1/users/{user}/{}", percent_encoded(read, random));
        match query.is_empty() {
            true => format!("{path}{}", random.pick(&["", "", "?"])),
            false => format!("{path}?{query}"),
        }
    }

    fn strange_path(&mut self) -> String {
        let paths = [
            "/",
            "/v1",
            "/v1/users",
            "/v1/users/",
            "/v1/users/1",
            "/v1/users/1/",
            "/v1/users/1/balance/",
            "/v1/users/1/Balance",
            "/v1/users/1/%62alance",
            "/%76%31/%75sers/1/balance",
            "/v1/users/1%2Fbalance",
            "/v1%2Fusers/1/balance",
            "/v1/users/1/balance%2f",
            "/v1/users/1%2F2/balance",
            "/v1/users/%2531/balance",
            "/v1/users/%30%31/stats?x=1",
            "/v1/%62atch",
            "/v1/users/1/2/balance",
            "/v2/users/1/balance",
            "/v1/user/1/balance",
            "/v1//users/1/balance",
            "//v1/users/1/balance",
            "/v1/users/01/balance",
            "/v1/users/-1/balance",
            "/v1/users/+1/stats",
            "/v1/users/x/balance",
            "/v1/users/*/balance",
            "/v1/users/%2E/balance",
            "/v1/users/x%2Fy/balance",
            "/v1/users/users%3a1/balance",
            "/v1/users/0123456789012345678901234567890123456789012345678901234567890123/balance",
            "/v1/users/01234567890123456789012345678901234567890123456789012345678901234/balance",
            "/v1/users/%31/balance",
            "/v1/users/18446744073709551616/balance",
            "/v1/users/18446744073709551615/balance",
            "/v1/users/1.0/stats?window=1d",
            "/v1/users/x/stats?window=5",
            "/v1/users/99999999999999999999999/stats?x=1",
            "/v1/users/1/stat?window=1d",
            "/v1/users/1/balances",
            "/v1/entries",
            "/v1/batch",
            "/v1/entries?x=1",
            "/v1/entries/",
            "/v1/nothing?window=1d",
        ];
        self.random.pick(&paths).to_owned()
    }

    fn asked_user(&mut self) -> String {
        if self.random.percent(5) {
            let bits = self.random.below(64);
            return (self.random.next() >> bits).to_string();
        }
        self.random.pick(&self.users)
    }

    fn asked_currency(&mut self) -> String {
        match self.random.percent(15) {
            true => "NOSUCH".to_owned(),
            false => self.random.pick(&self.bias.currencies),
        }
    }

    fn asked_kind(&mut self) -> String {
        match self.random.percent(15) {
            true => "no_such".to_owned(),
            false => self.random.pick(&self.bias.kinds),
        }
    }

    fn balance_query(&mut self, user: &str) -> Vec<String> {
        let mut query = Vec::new();
        if self.random.percent(50) {
            query.push(format!("at_ms={}", self.asked_time(user, DAY)));
        }
        if self.random.percent(30) {
            let currency = self.asked_currency();
            query.push(format!("currency={}", percent_encoded(&currency, &mut self.random)));
        }
        if self.random.percent(30) {
            self.random.shuffle(&mut query);
        }
        query
    }

    fn stats_query(&mut self, user: &str) -> Vec<String> {
        let (window, millis) = window(&mut self.random);
        let mut query = vec![format!("window={window}")];
        if self.random.percent(90) && (millis.is_some() || self.random.percent(10)) {
            query.push(format!("at_ms={}", self.asked_time(user, millis.unwrap_or(DAY))));
        }
        if self.random.percent(25) {
            let currency = self.asked_currency();
            query.push(format!("currency={}", percent_encoded(&currency, &mut self.random)));
        }
        if self.random.percent(25) {
            let kind = self.asked_kind();
            query.push(format!("kind={}", percent_encoded(&kind, &mut self.random)));
        }
        if self.random.percent(30) {
            self.random.shuffle(&mut query);
        }
        query
    }

    /// A time that puts the end or the start of a range at or next to one of the user's edges.
    fn asked_time(&mut self, user: &str, window: i64) -> i64 {
        let latest = self.model.user(user).and_then(|user| user.as_of_ms());
        let latest = latest.unwrap_or(self.now_ms);
        let edges = Edges::of(latest);
        let random = &mut self.random;
        let edge = match random.below(12) {
            0 | 1 => edges.fine,
            2 | 3 => edges.hourly,
            4 | 5 => edges.cut,
            6 | 7 => latest,
            8 => self.now_ms,
            9 => latest - random.between(0, 9 * DAY),
            10 => latest - random.between(0, 420 * DAY),
            _ => random.pick(&[0, MAX_TIME]),
        };
        let shift = match random.below(8) {
            0..3 => 0,
            3..5 => window, // Puts the start of the range near the edge.
            5 => random.pick(&[-BUCKET, BUCKET, -HOUR, HOUR, -DAY, DAY]),
            6 => window + random.pick(&[-BUCKET, BUCKET, -HOUR, HOUR, -DAY, DAY]),
            _ => random.between(-2 * DAY, 2 * DAY),
        };
        (edge + shift + random.between(-1, 1)).clamp(0, MAX_TIME)
    }

    pub(super) fn any_batch(&mut self) -> Vec<u8> {
        let count = match self.random.below(45) {
            0 => 999 + self.random.below(3),
            1 => 0,
            _ => 1 + self.random.below(12),
        };
        let mut items: Vec<String> = (0..count).map(|_| self.item()).collect();
        let random = &mut self.random;
        if random.percent(25) && !items.is_empty() {
            for _ in 0..=random.below(2) {
                let at = random.below(items.len());
                items[at] = spoiled_item(&items[at], random);
            }
        }
        let list = format!("[{}]", items.join(","));
        let body = match random.below(76) {
            0 => format!("{{\"requests\":{list},\"requests\":[]}}"),
            1 => format!("{{\"requests\":{list},\"note\":1}}"),
            2 => format!("{{\"Requests\":{list}}}"),
            3 => "{}".to_owned(),
            4 => list,
            5 => "{\"requests\":{}}".to_owned(),
            6 => "{\"requests\":null}".to_owned(),
            7 => format!("\u{feff}{{\"requests\":{list}}}"),
            8 => format!("{{\"requests\":{list}"),
            9 => format!("{{\"requests\":{list}}}}}"),
            10 => String::new(),
            11 => format!("{{\"note\":\"\\ud800\",\"requests\":{list}}}"),
            12 => format!("{{\"x\":1,\"x\":2,\"requests\":{list}}}"),
            13 => format!("{{\"\\u0072equests\":{list}}}"),
            14 => format!(" \r\n{{ \"requests\" :\t{list} }}\n"),
            15 => format!(
                "{{\"{}\":1,\"requests\":{list}}}",
                random.pick(&["", "\u{e9}", "a b", "a\\\"b"])
            ),
            16..20 => format!("{{\"note\":{},\"requests\":{list}}}", bad_value(random)),
            20..23 => format!("{{\"requests\":[{},{{\"user_id\":", bad_value(random)),
            23..26 => {
                format!("{{\"requests\":[{{\"at_ms\":{},\"read\":1", bad_value(random))
            }
            26..30 => {
                let body = format!("{{\"requests\":{list}}}").into_bytes();
                return with_one_byte_wrong(body, random);
            }
            _ => format!("{{\"requests\":{list}}}"),
        };
        body.into_bytes()
    }

    fn item(&mut self) -> String {
        let user = self.asked_user();
        let mut members = vec![format!("\"user_id\":\"{user}\"")];
        if self.random.percent(40) {
            members.push("\"read\":\"balance\"".to_owned());
            if self.random.percent(50) {
                members.push(format!("\"at_ms\":{}", self.asked_time(&user, DAY)));
            }
        } else {
            members.push("\"read\":\"stats\"".to_owned());
            let (window, millis) = window(&mut self.random);
            members.push(format!("\"window\":\"{window}\""));
            if let Some(millis) = millis
                && (self.random.percent(85) || self.clock.is_some())
            {
                members.push(format!("\"at_ms\":{}", self.asked_time(&user, millis)));
            }
            if self.random.percent(25) {
                members.push(format!("\"kind\":\"{}\"", self.asked_kind()));
            }
        }
        if self.random.percent(25) {
            members.push(format!("\"currency\":\"{}\"", self.asked_currency()));
        }
        if self.random.percent(30) {
            self.random.shuffle(&mut members);
        }
        format!("{{{}}}", members.join(","))
    }
}

/// A valid window, and its length unless it is `lifetime`.
fn window(random: &mut Random) -> (String, Option<i64>) {
    let fixed = [
        ("15m", 15 * MINUTE),
        ("30m", 30 * MINUTE),
        ("1h", HOUR),
        ("60m", HOUR),
        ("24h", DAY),
        ("1d", DAY),
        ("1440m", DAY),
        ("26h", 26 * HOUR),
        ("27h", 27 * HOUR),
        ("7d", 7 * DAY),
        ("8d", 8 * DAY),
        ("9d", 9 * DAY),
        ("30d", 30 * DAY),
        ("399d", 399 * DAY),
        ("400d", 400 * DAY),
        ("9600h", 400 * DAY),
        ("576000m", 400 * DAY),
    ];
    match random.below(10) {
        0 => ("lifetime".to_owned(), None),
        1..6 => {
            let (text, millis) = random.pick(&fixed);
            (text.to_owned(), Some(millis))
        }
        6 | 7 => {
            let count = random.between(1, 800);
            (format!("{}m", count * 15), Some(count * BUCKET))
        }
        8 => {
            let count = random.between(1, 240);
            (format!("{count}h"), Some(count * HOUR))
        }
        _ => {
            let count = random.between(1, 400);
            (format!("{count}d"), Some(count * DAY))
        }
    }
}

const BAD_WINDOWS: [&str; 26] = [
    "0m",
    "14m",
    "16m",
    "015m",
    "15",
    "m",
    "d",
    "401d",
    "9601h",
    "576015m",
    "576000015m",
    "1.5h",
    "-1d",
    "+1d",
    "1D",
    "1w",
    "15s",
    "Lifetime",
    "lifetime ",
    "1h30m",
    "0d",
    "1000000m",
    "99999999999999999999d",
    "1 d",
    "\u{661}d",
    "0000015m",
];

fn percent_encoded(text: &str, random: &mut Random) -> String {
    if !random.percent(15) {
        return text.to_owned();
    }
    text.bytes()
        .map(|byte| match random.below(3) {
            0 => format!("%{byte:02x}"),
            1 => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}

/// Makes a query bad, mostly: one parameter changed, left out, repeated or added.
fn spoil(query: &mut Vec<String>, random: &mut Random) {
    let bad = [
        "",
        "=",
        "=1",
        "currency",
        "currency=",
        "currency=eur",
        "currency=EU",
        "currency=%45U%52",
        "currency=EUR%",
        "currency=%4",
        "currency=%zz",
        "currency=EUR%00",
        "currency=+EUR",
        "currency=EUR=",
        "%63urrency=EUR",
        "%63urrenc=EUR",
        "kind=",
        "kind=Gift",
        "kind=a-b",
        "kind=a%2Db",
        "kind",
        "kind=a%5fb",
        "at_ms=",
        "at_ms=-1",
        "at_ms=+1",
        "at_ms=01",
        "at_ms=00",
        "at_ms=0",
        "at_ms=1.0",
        "at_ms=1e3",
        "at_ms=253402300799999",
        "at_ms=253402300800000",
        "at_ms=99999999999999999999",
        "at_ms=%31",
        "at_ms=x",
        "window=",
        "window",
        "window=1%64",
        "window=%",
        "window=%FF",
        "Window=1d",
        "limit=10",
        "user_id=1",
        "a%22b=1",
        "a%5Cb=1",
        "a%20b=1",
        "a+b=1",
        "%=1",
        "%zz=1",
        "%C3%A9=1",
        "x%0A=1",
        "window%5B%5D=1d",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn=1",
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn=1",
    ];
    let at = random.below(query.len() + 1);
    match random.below(6) {
        0 => {
            let window = random.pick(&BAD_WINDOWS).replace(' ', "%20").replace('\u{661}', "%D9%A1");
            query.retain(|piece| !piece.starts_with("window="));
            query.insert(at.min(query.len()), format!("window={window}"));
        }
        1 if !query.is_empty() => {
            let again = random.pick(query);
            query.insert(at, again);
        }
        2 if !query.is_empty() => drop(query.remove(at.min(query.len() - 1))),
        3 => {
            query.insert(at, random.pick(&bad).to_owned());
            query.push(random.pick(&bad).to_owned());
        }
        _ => query.insert(at, random.pick(&bad).to_owned()),
    }
}

/// Changes a batch item so that it is mostly refused.
fn spoiled_item(item: &str, random: &mut Random) -> String {
    let inner = item.trim_start_matches('{').trim_end_matches('}');
    let mut members: Vec<String> = inner.split(',').map(str::to_owned).collect();
    let at = random.below(members.len());
    let name = members[at].split(':').next().unwrap_or_default().to_owned();
    match random.below(9) {
        0 => return (random.pick(&["null", "[]", "5", "\"x\"", "{}", "true"])).to_owned(),
        1 => drop(members.remove(at)),
        2 => members.push(members[at].clone()),
        3 => {
            let value = random.pick(&[
                "null",
                "5",
                "true",
                "[]",
                "{}",
                "\"\"",
                "\"x\"",
                "-1",
                "-0",
                "1.0",
                "1e3",
                "\"5\"",
                "253402300800000",
                "{\"a\":1,\"a\":1}",
            ]);
            members[at] = format!("{name}:{value}");
        }
        4 => {
            let strangers = [
                "\"note\":1",
                "\"Window\":\"1d\"",
                "\"at\":0",
                "\"\":1",
                "\"\u{e9}\":1",
                "\"a\\\"b\":{\"c\":1,\"c\":2}",
            ];
            members.insert(at, random.pick(&strangers).to_owned());
        }
        5 => {
            members.retain(|member| !member.starts_with("\"window\""));
            members.push(format!("\"window\":\"{}\"", random.pick(&BAD_WINDOWS)));
        }
        6 => {
            members.retain(|member| !member.starts_with("\"read\""));
            members.push(
                (random.pick(&[
                    "\"read\":\"Stats\"",
                    "\"read\":\"\"",
                    "\"read\":1",
                    "\"read\":\"balance\"",
                    "\"read\":\"stats\"",
                ]))
                .to_owned(),
            );
        }
        7 => {
            members.retain(|member| {
                !member.starts_with("\"window\"") && !member.starts_with("\"at_ms\"")
            });
            members.push("\"window\":\"lifetime\"".to_owned());
            members.push(
                (random.pick(&[
                    "\"at_ms\":0",
                    "\"at_ms\":1763900000000",
                    "\"at_ms\":\"0\"",
                    "\"at_ms\":-1",
                ]))
                .to_owned(),
            );
        }
        _ => {
            let values = [
                "\"user_id\":\"01\"",
                "\"user_id\":\"a b\"",
                "\"user_id\":\"..\"",
                "\"user_id\":\"users\\u003a1\"",
                "\"user_id\":1",
                "\"currency\":\"eur\"",
                "\"kind\":\"Gift\"",
                "\"at_ms\":253402300800000",
                "\"at_ms\":1.0",
                "\"user_id\":\"18446744073709551616\"",
            ];
            let value = random.pick(&values);
            let name = value.split(':').next().unwrap_or_default();
            members.retain(|member| !member.starts_with(name));
            members.insert(at.min(members.len()), value.to_owned());
        }
    }
    format!("{{{}}}", members.join(","))
}
