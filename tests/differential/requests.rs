//! Requests that exercise HTTP rather than the ledger: methods, content types, sizes, conditions,
//! queries, framing.
//!
//! All are well-formed, because HTTP libraries answer malformed requests in their own ways.

use crate::server::client::{batch, feed, get, post, request};

const NDJSON: &str = "content-type: application/x-ndjson\r\n";
const JSON: &str = "content-type: application/json\r\n";
const FEED_BYTES: usize = 8 << 20;
const BATCH_BYTES: usize = 256 << 10;

/// Targets: existing paths, unknown ones, and near misses.
#[rustfmt::skip]
const TARGETS: &[&str] = &[
    "/", "/v1", "/v1/", "/v1/users", "/v1/users/", "/v1/users/42", "/v1/users/42/",
    "/v1/users/42/balance/", "/v1/users/42/Balance", "/v1/users/42/%62alance",
    "/v1/users/42/../42/balance", "/v1/users/./42/balance", "/v1/users//balance",
    "/v1/users/%34%32/balance", "/v1/users/42%2Fbalance", "/v1/users/42/stats/x",
    "//v1/users/42/balance", "/v1//users/42/balance", "/V1/users/42/balance",
    "/v1/users/042/balance", "/v1/users/18446744073709551615/balance",
    "/v1/users/18446744073709551616/balance", "/v1/entries/", "/v1/batches", "/healthz",
    "/healthz/", "/readyz", "http://test/v1/users/42/balance",
    "http://test/v1/users/42/stats?window=lifetime", "http://test/nowhere",
];

/// Values of `content-type`.
#[rustfmt::skip]
const TYPES: &[&str] = &[
    "", "application/json", "application/x-ndjson", "Application/JSON", "APPLICATION/X-NDJSON",
    "application/json; charset=utf-8", "application/x-ndjson ;charset=\"a;b\"", "application/json;",
    "application/jsonl", "application/json, text/plain", "application/ json", "text/plain", "*/*",
    "json",
];

/// Values of `if-none-match` for a user at version 2.
#[rustfmt::skip]
const TAGS: &[&str] = &[
    r#""v2""#, r#"W/"v2""#, "*", r#""v1", "v2""#, r#""v1",W/"v2" , "v3""#, r#""a,b", "v2""#,
    r#"W/"v1", W/"v3""#, r#""v1""#, r#""v22""#, r#""v02""#, r#""V2""#, r#"w/"v2""#, "v2", r#""v2"#,
    r#""""#, "\"v1\"\r\nif-none-match: \"v2\"",
    "\"v1\"\r\naccept: \"v2\"\r\nif-none-match: W/\"v3\"", "*\r\nif-none-match: *",
];

/// Queries after `/balance`.
#[rustfmt::skip]
const BALANCE_QUERIES: &[&str] = &[
    "?", "?currency=COIN", "?currency=EUR", "?currency=%43%4f%49%4E", "?%63urrency=COIN",
    "?currency=COIN%", "?currency=COIN%4", "?currency=%zz", "?currency=+COIN", "?currency=COIN+",
    "?currency==COIN", "?currency=COIN;x=1", "?;", "?&", "?currency=COIN&", "?&currency=COIN",
    "?currency=COIN&&", "??currency=COIN", "?currency=COIN&currency=EUR", "?Currency=COIN",
    "?currency", "?currency=", "?=COIN", "?window=1d", "?a%20b=1", "?a+b=1", "?a%22b=1", "?a%00b=1",
    "?currency=COIN%00", "?currency=COIN%20", "?currency[]=COIN", "?currency%5B%5D=COIN", "?a/b=1",
    "?a:b@c=1", "?'=1", "?~!$()*,=1", "?{}|^`=1",
];

/// Queries after `/stats`.
#[rustfmt::skip]
const STATS_QUERIES: &[&str] = &[
    "", "?", "?window=lifetime", "?window=life%74ime", "?window=lifetime&at_ms=0",
    "?at_ms=0&window=lifetime", "?window=1d&at_ms=1700000000000",
    "?at_ms=1700000000000&window=1%64&kind=topup", "?window=1d&at_ms=1700000000000&kind=Topup",
    "?window=1d&at_ms=%31", "?window=1d&at_ms=+1", "?window=1d&at_ms=1e3",
    "?window=1d&at_ms=253402300799999", "?window=1d&at_ms=253402300800000", "?window=7m&x=1",
    "?x=1&window=7m", "?window=&window=1d", "?window=1d&window=1d", "?kind=topup&at_ms=0",
    "?window=1d&at_ms=0&currency=COIN&kind=gift_sent&direction=debit", "?window=1d;at_ms=0",
    "?window=1+d&at_ms=0", "?window=400d&at_ms=1700000900000&currency=%43OIN",
    "?window=lifetime&kind=top%75p",
];

/// The first request: user 42 gets two entries and user 7 one; user 5 has none.
pub fn opening() -> Vec<u8> {
    let mut body = Vec::new();
    for (entry, user, kind, at_ms) in [
        (1, 42, "gift_sent", 1_700_000_000_000_u64),
        (2, 42, "topup", 1_700_000_900_000),
        (3, 7, "topup", 0),
    ] {
        body.extend(line(entry, user, kind, at_ms));
        body.push(b'\n');
    }
    feed(body)
}

fn line(entry: u64, user: u64, kind: &str, at_ms: u64) -> Vec<u8> {
    format!(
        "{{\"entry_id\":\"{entry}\",\"user_id\":\"{user}\",\"currency\":\"COIN\",\
         \"kind\":\"{kind}\",\"direction\":\"credit\",\"amount\":{entry},\"at_ms\":{at_ms}}}"
    )
    .into_bytes()
}

/// All requests, each for a connection of its own.
pub fn all() -> Vec<Vec<u8>> {
    [paths(), methods(), content_types(), conditions(), queries(), framing(), sizes()].concat()
}

fn paths() -> Vec<Vec<u8>> {
    TARGETS.iter().map(|target| get(target).into_bytes()).collect()
}

fn methods() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let targets = [
        "/v1/users/42/balance",
        "/v1/users/x/stats",
        "/v1/entries",
        "/v1/batch",
        "/v1/batch?x=1",
        "/nowhere",
    ];
    for target in targets {
        for method in ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW", "get", "Post"] {
            all.push(request(method, target, ""));
        }
    }
    all.extend(
        ["/v1/users/42/balance", "/healthz", "/nowhere"]
            .map(|target| request("POST", target, "content-length: 0\r\n")),
    );
    for target in [
        "42/balance",
        "42/stats?window=lifetime",
        "5/balance",
        "42/stats",
        "x/balance",
        "42/balance?x=1",
    ] {
        all.push(request("HEAD", &format!("/v1/users/{target}"), ""));
    }
    all.into_iter().map(String::into_bytes).collect()
}

fn content_types() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for kind in TYPES {
        all.push(post("/v1/entries", kind, ""));
        all.push(post("/v1/batch", kind, r#"{"requests":[]}"#));
    }
    for lines in ["", JSON, NDJSON] {
        all.push(
            request("POST", "/v1/entries", &format!("{lines}content-length: 0\r\n")).into_bytes(),
        );
        all.push(
            [
                request("POST", "/v1/batch", &format!("{lines}content-length: 2\r\n")),
                "{}".to_owned(),
            ]
            .concat()
            .into_bytes(),
        );
        for coding in
            ["gzip", "br", "x", "gzip, identity", "identity", "Identity", "identity, Identity,", ""]
        {
            let lines = format!("{lines}content-encoding: {coding}\r\ncontent-length: 0\r\n");
            all.push(request("POST", "/v1/entries", &lines).into_bytes());
            all.push(request("POST", "/v1/batch?x=1", &lines).into_bytes());
        }
    }
    all
}

fn conditions() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for value in TAGS {
        for (method, target) in [
            ("GET", "/v1/users/42/balance"),
            ("HEAD", "/v1/users/42/balance"),
            ("GET", "/v1/users/42/balance?currency=COIN"),
            ("GET", "/v1/users/42/balance?currency=EUR"),
            ("GET", "/v1/users/42/stats?window=lifetime"),
            ("GET", "/v1/users/5/balance"),
            ("GET", "/v1/users/42/balance?x=1"),
        ] {
            all.push(request(method, target, &format!("if-none-match: {value}\r\n")).into_bytes());
        }
    }
    all
}

fn queries() -> Vec<Vec<u8>> {
    let balance = BALANCE_QUERIES.iter().map(|query| format!("/v1/users/42/balance{query}"));
    let stats = STATS_QUERIES.iter().map(|query| format!("/v1/users/42/stats{query}"));
    let mut all: Vec<Vec<u8>> =
        balance.chain(stats).map(|target| get(&target).into_bytes()).collect();
    all.extend(
        ["/healthz?", "/healthz?a=1", "/nowhere?a=1"].map(|target| get(target).into_bytes()),
    );
    for query in ["?", "?x=1", "?&", "?currency=COIN", "?%zz=1"] {
        all.push(post(&format!("/v1/entries{query}"), "application/x-ndjson", ""));
        all.push(post(&format!("/v1/batch{query}"), "application/json", r#"{"requests":[]}"#));
        all.push(post(&format!("/v1/batch{query}"), "text/plain", r#"{"requests":[]}"#));
    }
    all
}

fn framing() -> Vec<Vec<u8>> {
    let entry = line(50, 9, "topup", 1_000);
    let balance =
        br#"{"requests":[{"user_id":"9","read":"balance"},{"user_id":"5","read":"balance"}]}"#;
    let mut all = Vec::new();
    for size in [1, 7, 64, 1 << 20] {
        all.push(chunked("/v1/entries", NDJSON, &entry, size, ""));
        all.push(chunked("/v1/batch", JSON, balance, size, ""));
    }
    all.push(chunked("/v1/entries", NDJSON, b"", 1, ""));
    all.push(chunked("/v1/batch", JSON, b"", 1, ""));
    all.push(chunked("/v1/entries", NDJSON, &entry, 20, "expires: never\r\n"));
    all.push(chunked("/v1/entries", JSON, &entry, 20, ""));
    all.push(chunked("/nowhere", JSON, &entry, 20, ""));
    for (target, body) in
        [("/v1/users/42/balance", "x"), ("/healthz", "x"), ("/v1/users/42/stats?window=7m", "{}")]
    {
        let lines = format!("content-length: {}\r\n", body.len());
        all.push([request("GET", target, &lines), body.to_owned()].concat().into_bytes());
    }
    all.push(request("GET", "/v1/users/42/balance", "content-length: 0\r\n").into_bytes());
    let expecting = format!("{NDJSON}expect: 100-continue\r\ncontent-length: {}\r\n", entry.len());
    all.push([request("POST", "/v1/entries", &expecting).as_bytes(), &entry].concat());
    all.push([request("POST", "/v1/batch", &expecting).as_bytes(), &entry].concat());
    all.extend(["", "connection: keep-alive\r\n"].map(|line| {
        format!("GET /v1/users/42/balance HTTP/1.0\r\nhost: test\r\n{line}\r\n").into_bytes()
    }));
    all.push(request("GET", "/v1/users/42/balance", "connection: close\r\n").into_bytes());
    all.push(
        request("GET", "/v1/users/42/balance", "accept-encoding: gzip\r\nrange: bytes=0-3\r\n")
            .into_bytes(),
    );
    all
}

/// Chunk extensions, which Hertz does not read.
pub fn extensions() -> Vec<Vec<u8>> {
    let head = request("POST", "/v1/batch", &format!("{JSON}transfer-encoding: chunked\r\n"));
    let chunks = [
        "f;a\r\n{\"requests\":[]}\r\n0\r\n\r\n",
        "F;a=b;c=\"d e\"\r\n{\"requests\":[]}\r\n0;e\r\n\r\n",
    ];
    chunks.iter().map(|chunks| [&head, *chunks].concat().into_bytes()).collect()
}

fn chunked(target: &str, lines: &str, body: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let mut text =
        request("POST", target, &format!("{lines}transfer-encoding: chunked\r\n")).into_bytes();
    for chunk in body.chunks(size) {
        text.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
    }
    text.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    text
}

/// Bodies of exactly a limit's size, and one byte or item above it.
fn sizes() -> Vec<Vec<u8>> {
    let entry = line(60, 10, "topup", 1_000);
    let padded = |body: &[u8], size: usize| [body, &vec![b' '; size - body.len()]].concat();
    let list = |count: usize| {
        format!("[{}]", vec![r#"{"user_id":"42","read":"balance"}"#; count].join(","))
    };
    let items = |count: usize| format!(r#"{{"requests":{}}}"#, list(count)).into_bytes();
    let fed = padded(&entry, FEED_BYTES);
    let asked = padded(&items(2), BATCH_BYTES);
    vec![
        feed(&fed),
        chunked("/v1/entries", NDJSON, &fed, 100_000, ""),
        batch(&asked),
        chunked("/v1/batch", JSON, &asked, 10_000, ""),
        feed([&entry[..], &b"\n".repeat(10_000)].concat()),
        feed([&entry[..], &b"\n".repeat(10_001)].concat()),
        feed([&b"\n{}".repeat(10_000)[..], b" "].concat()),
        batch(items(1_000)),
        batch(items(1_001)),
        batch(format!(r#"{{"requests":[],"requests":{}}}"#, list(1_001))),
        batch(format!(r#"{{"requests":{},"requests":0}}"#, list(1_001))),
        batch(format!(r#"{{"requests":{},"requests":{}}}"#, list(600), list(600))),
        batch(format!(r#"{{"requests":[{},{}]}}"#, list(1_001), list(0))),
        feed(padded(&entry, FEED_BYTES + 1)),
        batch(padded(&items(2), BATCH_BYTES + 1)),
        post("/v1/batch", "text/plain", padded(&items(2), BATCH_BYTES + 1)),
        chunked("/v1/entries", NDJSON, &padded(&entry, FEED_BYTES + 1), 100_000, ""),
        chunked("/v1/batch", JSON, &padded(&items(2), BATCH_BYTES + 1), 10_000, ""),
    ]
}

/// Pipelined requests for one connection.
pub fn pipeline() -> Vec<Vec<u8>> {
    let balance = get("/v1/users/11/balance").into_bytes();
    let stats = get("/v1/users/11/stats?window=lifetime").into_bytes();
    let entry = |id| feed(line(id, 11, "topup", 1_000 * id));
    let both = batch(
        r#"{"requests":[{"user_id":"11","read":"balance"},{"user_id":"5","read":"balance"}]}"#,
    );
    let head = request("HEAD", "/v1/users/11/balance", "").into_bytes();
    let bad = get("/v1/users/11/balance?x=1").into_bytes();
    vec![
        balance.clone(),
        entry(70),
        balance.clone(),
        entry(71),
        entry(70),
        stats,
        bad,
        both,
        head,
        balance,
    ]
}
