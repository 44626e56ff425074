//! Requests that exercise HTTP rather than the ledger: methods, paths, content types, sizes, blank
//! lines, conditions, queries, framing.
//!
//! All are well-formed, because HTTP libraries answer malformed requests in their own ways.

use crate::server::client::{batch, feed, get, post, request};

const NDJSON: &str = "content-type: application/x-ndjson\r\n";
const JSON: &str = "content-type: application/json\r\n";
const CODED_JSON: &str = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
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
    "/healthz/", "/readyz", "/%68ealthz", "/%76%31/u%73ers/4%32/b%61l%61nce",
    "/v1/users/42/st%61ts?window=lifetime", "/v1/users/%35/balance", "/v1%2Fusers/42/balance",
    "/v1%2fusers/42/balance", "/v1/users%2F42/balance", "/v1/users/42/balance%2F",
    "/v1/users/42/%2562alance", "/v1/users/%2542/balance", "/v1/users/4%2F2/balance",
    "/v1/users/%30%34%32/balance", "/v1/users/42%20/balance", "/v1/users/%C2%B2/balance",
    "/v1/users/%2e%2e/balance", "/v1/users/%2E/stats", "/v1/%65ntries", "/%2e/v1/users/42/balance",
    "http://test/v1/users/%34%32/b%61lance", "http://test/v1/users/42/balance",
    "http://test/v1/users/42/stats?window=lifetime", "http://test/nowhere",
    "/v1/users/users:42/balance", "/v1/users/users%3A42/balance", "/v1/users/users%3a4%32/balance",
    "/v1/users/Users:42/balance", "/v1/users/*/balance", "/v1/users/.../balance",
    "/v1/users/a+b/balance", "/v1/users/a%2Bb/balance", "/v1/users/~_.-:@/balance",
    "/v1/users/%2Ea/balance", "/v1/users/a%00/balance", "/v1/users/a;b/balance",
    "/v1/users/0123456789012345678901234567890123456789012345678901234567890123/balance",
    "/v1/users/01234567890123456789012345678901234567890123456789012345678901234/balance",
];

/// Values of `content-type`.
#[rustfmt::skip]
const TYPES: &[&str] = &[
    "", "application/json", "application/x-ndjson", "Application/JSON", "APPLICATION/X-NDJSON",
    "application/json; charset=utf-8", "application/x-ndjson ;charset=\"a;b\"", "application/json;",
    "application/jsonl", "application/ndjson", "Application/JSONL;a=b", "application/NDJSON ;",
    "application/x-ndjson, application/ndjson, application/jsonl", "application/json-lines",
    "application/json, text/plain", "application/ json", "text/plain", "*/*",
    "json",
];

/// Targets with a bad escape, which net/http refuses itself.
const BAD_ESCAPES: &[&str] = &[
    "/v1/users/%/balance",
    "/v1/users/4%/balance?x=1",
    "/v1/users/%4/stats",
    "/v1/users/%zz/stats?window=lifetime",
    "/v1/users/42%2/balance",
    "/v1/users/42/balance%",
    "/v1/users/42/%6glance",
    "/v1/%zz/42/balance",
    "/%",
    "/healthz%0",
];

/// Values of `if-match` and `if-none-match` for a user at version 2.
#[rustfmt::skip]
const TAGS: &[&str] = &[
    r#""v2""#, r#"W/"v2""#, "*", r#""v1", "v2""#, r#""v1",W/"v2" , "v3""#, r#""a,b", "v2""#,
    r#"W/"v1", W/"v3""#, r#""v1""#, r#""v22""#, r#""v02""#, r#""V2""#, r#"w/"v2""#, "v2", r#""v2"#,
    r#""""#, "", ",", r#",, "v2""#, r#""v1" "v2""#, r#""v2"x"#, r#""v2", x"#, r#"x, "v2""#,
    r#""a b", "v2""#, r#"W/ "v2""#, r#"W/"v2", "v2""#, r#"*, "v2""#, r#""v2", *"#,
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

/// The first request: users 42 and `users:42` get two entries and user 7 one; user 5 has none.
pub fn opening() -> Vec<u8> {
    let mut body = Vec::new();
    for (entry, user, kind, at_ms) in [
        (1, "42", "gift_sent", 1_700_000_000_000_u64),
        (2, "42", "topup", 1_700_000_900_000),
        (3, "7", "topup", 0),
        (1, "users:42", "gift_sent", 1_700_000_000_000),
        (2, "users:42", "topup", 1_700_000_900_000),
    ] {
        body.extend(line(entry, user, kind, at_ms));
        body.push(b'\n');
    }
    feed(body)
}

fn line(entry: u64, user: &str, kind: &str, at_ms: u64) -> Vec<u8> {
    format!(
        "{{\"entry_id\":\"{entry}\",\"user_id\":\"{user}\",\"currency\":\"COIN\",\
         \"kind\":\"{kind}\",\"direction\":\"credit\",\"amount\":{entry},\"at_ms\":{at_ms}}}"
    )
    .into_bytes()
}

/// All requests, each for a connection of its own.
pub fn all() -> Vec<Vec<u8>> {
    [
        paths(),
        methods(),
        content_types(),
        conditions(),
        queries(),
        framing(),
        lengths(),
        lines(),
        sizes(),
    ]
    .concat()
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
        "/healthz",
        "/v1/users/%34%32/st%61ts",
        "/v1/%62atch",
    ];
    let methods = [
        "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "Post",
        "Options", "G",
    ];
    for target in targets {
        for method in methods {
            all.push(request(method, target, ""));
        }
    }
    all.push(request("OPTIONS", "*", ""));
    all.push(request("BREW", "http://test/v1/batch", ""));
    all.push(request("OPTIONS", "http://test/v1/batch", ""));
    all.push(request("CONNECT", "test:443", ""));
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

/// Each with a bad escape in its path: reads, `OPTIONS`, and a method that the path does not take.
pub fn bad_escapes() -> Vec<Vec<u8>> {
    let methods = ["GET", "HEAD", "OPTIONS", "PUT", "BREW"];
    let all = BAD_ESCAPES.iter().flat_map(|target| methods.map(|one| request(one, target, "")));
    all.map(String::into_bytes).collect()
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
            for name in ["if-none-match", "if-match"] {
                all.push(request(method, target, &format!("{name}: {value}\r\n")));
            }
        }
    }
    // Several lines, and both headers.
    for lines in [
        "if-none-match: \"v1\"\r\nif-none-match: \"v2\"\r\n",
        "if-none-match: \"v1\"\r\naccept: \"v2\"\r\nif-none-match: W/\"v3\"\r\n",
        "if-none-match: *\r\nif-none-match: *\r\n",
        "if-match: \"v1\"\r\nIf-Match: \"v2\"\r\n",
        "if-match: \"v1\"\r\naccept: \"v2\"\r\nIf-Match: W/\"v2\"\r\n",
        "if-match:\r\nif-match: \"v2\"\r\n",
        "if-match: *\r\nif-match: *\r\n",
        "if-match: x\r\nif-match: \"v2\"\r\n",
        "if-match: \"v2\"\r\nif-none-match: \"v2\"\r\n",
        "if-none-match: \"v2\"\r\nif-match: \"v1\"\r\n",
        "if-none-match: \"v1\"\r\nif-match: *\r\n",
        "if-none-match: \"v1\"\r\nif-match: \"v1\"\r\n",
    ] {
        for (method, target) in [
            ("GET", "/v1/users/42/balance"),
            ("HEAD", "/v1/users/42/balance"),
            ("GET", "/v1/users/42/stats?window=lifetime"),
            ("GET", "/v1/users/5/stats?window=lifetime"),
            ("GET", "/healthz"),
            ("OPTIONS", "/v1/users/42/balance"),
            ("DELETE", "/v1/users/42/balance"),
        ] {
            all.push(request(method, target, lines));
        }
    }
    all.into_iter().map(String::into_bytes).collect()
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
    let entry = line(50, "9", "topup", 1_000);
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
    all.push(b"GET /v1/users/42/balance HTTP/1.2\r\nhost: test\r\n\r\n".to_vec());
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

/// Requests whose body has no length, the length 0, or content that the method or path may not
/// have, in chunks or not.
fn lengths() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for target in ["/v1/entries", "/v1/batch", "/v1/batch?x=1", "/healthz", "/nowhere"] {
        for lines in ["", JSON, NDJSON, CODED_JSON] {
            all.push(request("POST", target, lines).into_bytes());
            all.push(request("PUT", target, lines).into_bytes());
        }
    }
    for target in
        ["/v1/users/42/balance", "/v1/users/*/balance", "/v1/batch", "/readyz", "/nowhere"]
    {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH"] {
            all.push(chunked_by(method, target, "", b"", 1, ""));
            all.push(chunked_by(method, target, "", b"content", 3, ""));
            all.push(request(method, target, "content-length: 0\r\n").into_bytes());
            all.push((request(method, target, "content-length: 1\r\n") + "x").into_bytes());
        }
    }
    all.push(chunked_by("OPTIONS", "*", "", b"", 1, ""));
    all.push(chunked_by("OPTIONS", "*", "", b"content", 10, ""));
    all
}

/// Feeds with blank lines, lines that only look blank, and voids without `pending_id`.
fn lines() -> Vec<Vec<u8>> {
    let entry = line(55, "9", "topup", 1_000);
    let entry = String::from_utf8(entry).expect("an entry is text");
    let void = r#"{"entry_id":"56","user_id":"9","at_ms":1000,"state":"voided"}"#;
    let with = |members: &str| void.replace('}', &format!(",{members}}}"));
    let mut all = vec![
        format!("\n\r\n \n\t\n{entry}\n\n{entry}\n \t \r\n{{}}\n\r"),
        "\n \n\t\r\n\r\r\n".to_owned(),
        "\r\n".repeat(20_000),
        " ".repeat(70_000),
        format!("\n{}\n{}\n", "\t".repeat(65_537), "x".repeat(65_537)),
    ];
    for strange in ["\x0b", "\x0c", "\0", "\u{a0}", "\u{2028}", " \u{85}"] {
        all.push(format!("\n{strange}\n{entry}\n"));
    }
    all.push(void.to_owned());
    for members in [
        r#""amount":1"#,
        r#""amount":-1"#,
        r#""amount":null,"kind":"a""#,
        r#""kind":"A","currency":"COIN""#,
        r#""kind":"A","currency":"coin""#,
        r#""direction":"up","amount":-1"#,
        r#""direction":"debit","kind":"a","currency":"COIN","amount":1"#,
        r#""pending_id":"77""#,
        r#""pending_id":null"#,
    ] {
        all.push(with(members));
        all.push(with(members).replace("1000", "-1"));
        all.push(with(members).replace("\"9\"", "9"));
    }
    all.into_iter().map(feed).collect()
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
    chunked_by("POST", target, lines, body, size, trailers)
}

fn chunked_by(
    method: &str,
    target: &str,
    lines: &str,
    body: &[u8],
    size: usize,
    trailers: &str,
) -> Vec<u8> {
    let lines = format!("{lines}transfer-encoding: chunked\r\n");
    let mut text = request(method, target, &lines).into_bytes();
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
    let entry = line(60, "10", "topup", 1_000);
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
        feed([&b"\n".repeat(10_001), &entry[..]].concat()),
        feed([&entry[..], &b"\n{}".repeat(9_999)].concat()),
        feed([&entry[..], &b"\n{}\r\n \r".repeat(9_999)].concat()),
        feed([&entry[..], &b"\n{}\n".repeat(10_000)].concat()),
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
    let entry = |id| feed(line(id, "11", "topup", 1_000 * id));
    let both = batch(
        r#"{"requests":[{"user_id":"11","read":"balance"},{"user_id":"5","read":"balance"}]}"#,
    );
    let head = request("HEAD", "/v1/users/11/balance", "").into_bytes();
    let bad = get("/v1/users/11/balance?x=1").into_bytes();
    let options = request("OPTIONS", "/v1/users/11/balance", "").into_bytes();
    let plain = chunked_by("GET", "/v1/users/%31%31/balance", "", b"", 1, "");
    let same = request("GET", "/v1/users/11/balance", "if-none-match: *\r\n").into_bytes();
    let changed = request("GET", "/v1/users/11/balance", "if-match: \"v1\"\r\n").into_bytes();
    vec![
        balance.clone(),
        entry(70),
        balance.clone(),
        entry(71),
        entry(70),
        stats,
        bad,
        options,
        plain,
        same,
        changed,
        both,
        head,
        balance,
    ]
}
