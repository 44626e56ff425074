//! The HTTP contract, request by request: each request with its whole answer, except the date.
//!
//! At least one request provokes each code of `api/problem.rs`; `every_code_is_provoked` fails if
//! a code has none.
//!
//! - `feed`: media types, statuses and `metadata` of a feed.
//! - `holds`: entries on holds.
//! - `http`: methods, paths, conditions, the order of refusals, blank lines.
//! - `ids`: ids of users and of entries.
//! - `late`: the dedup window, late entries.
//! - `past`: past balances.

mod feed;
mod holds;
mod http;
mod ids;
mod late;
mod past;

use crate::server::client::{batch, feed, get, post, request};
use crate::server::expected::{
    self, CLOSE, NDJSON, NO_CACHE, POSTS, READS, RETRY_ELSEWHERE, balance, duplicate, fed,
    feed_answer, json, problem, read, rejected,
};
use crate::server::{Client, Server, credit, entries};
use std::collections::BTreeSet;

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    every_code_is_provoked,
    texts_that_are_not_json,
    balances,
    conditional_reads,
    head_answers_equal_get_answers_without_the_body,
    versions_and_persistence,
    bodies,
    expectations,
    a_batch_answers_as_its_single_reads,
    health,
]);

/// Booking time: in the past, so that no entry is in the future, and the start of a 15-minute
/// bucket.
const T: u64 = 1_700_000_100_000;
const TIMEOUTS: [&str; 4] = ["--request-timeout-ms", "100", "--idle-timeout-ms", "100"];

/// Entry id, code (or `duplicate`) and field of a line that is not accepted.
type Verdict = (&'static str, &'static str, &'static str);

/// Sends requests to a server, compares the answers, and collects their error codes.
struct Checker<'s> {
    server: &'s Server,
    codes: BTreeSet<String>,
}

impl<'s> Checker<'s> {
    fn new(server: &'s Server) -> Self {
        Self { server, codes: BTreeSet::new() }
    }

    /// Sends a request on a new connection and compares the answer. The connection must then be
    /// closed or usable, as the answer's `connection` header says.
    fn check(&mut self, request: impl AsRef<[u8]>, expected: &str) {
        let mut client = self.server.connect();
        self.check_on(&mut client, request, expected);
        if expected.contains(CLOSE) {
            client.is_closed();
        } else {
            assert_eq!(client.ask(get("/healthz")).shown(), expected::text("ok"));
        }
    }

    fn check_on(&mut self, client: &mut Client, request: impl AsRef<[u8]>, expected: &str) {
        let request = request.as_ref();
        let shown = client.ask(request).shown();
        let start = request[..request.len().min(300)].escape_ascii();
        assert_eq!(shown, expected, "to {start}");
        self.note(&shown);
    }

    fn note(&mut self, shown: &str) {
        let codes = shown.split(r#""code":""#).skip(1).filter_map(|rest| rest.split('"').next());
        self.codes.extend(codes.map(str::to_owned));
    }

    /// Feeds entries in one body and compares the answer.
    fn check_feed(&mut self, lines: &[impl AsRef<str>], accepted: usize, results: &[String]) {
        let duplicates =
            results.iter().filter(|result| result.ends_with(r#""duplicate"}"#)).count();
        self.check(feed(entries(lines)), &feed_answer(accepted, duplicates, results));
    }
}

fn every_code_is_provoked() {
    let mut codes = BTreeSet::new();
    for provoke in
        [requests, reads, batches, verdicts, limits, out_of_memory, timeouts, overload, drain]
    {
        codes.append(&mut provoke());
    }
    // `recovering` needs data to load: the crash test checks it at each start.
    codes.insert("recovering".to_owned());
    let all: BTreeSet<_> =
        purser::api::problem::Code::ALL.iter().map(|code| code.name().to_owned()).collect();
    assert_eq!(codes, all, "left: provoked here, right: the program's");
    let mut written: BTreeSet<_> = expected::PROBLEMS.iter().map(|row| row.0.to_owned()).collect();
    written.extend(["invalid_json".to_owned(), "malformed_request".to_owned()]);
    assert_eq!(written, all, "left: the contract's, right: the program's");
}

/// Requests refused for their head.
fn requests() -> BTreeSet<String> {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let entries_head = |lines: &str| request("POST", "/v1/entries", lines);
    let ndjson =
        |lines: &str| entries_head(&format!("content-type: application/x-ndjson\r\n{lines}"));
    let close = |code| problem(code, "", CLOSE);
    c.check("GET /healthz HTTP/1.1\r\n\r\n", &close("malformed_request: no host"));
    c.check(get("/"), &problem("not_found", "", ""));
    c.check(get("/v1/users/42"), &problem("not_found", "", ""));
    c.check(get("/v1/users/42/balance/"), &problem("not_found", "", ""));
    c.check(request("OPTIONS", "/v1/users/42", ""), &problem("not_found", "", ""));
    c.check(post("/nowhere", "text/plain", "body"), &close("not_found"));
    c.check(request("PUT", "/v1/users/42/balance", ""), &problem("method_not_allowed", "", READS));
    c.check(request("get", "/v1/users/x/stats", ""), &problem("method_not_implemented", "", ""));
    c.check(request("POST", "/healthz", ""), &problem("method_not_allowed", "", READS));
    c.check(get("/v1/entries"), &problem("method_not_allowed", "", POSTS));
    c.check(request("DELETE", "/v1/batch", ""), &problem("method_not_allowed", "", POSTS));
    c.check(ndjson(""), &problem("length_required", "", ""));
    c.check(ndjson("content-length: 8388609\r\n"), &close("content_too_large"));
    c.check(get(&format!("/{}", "a".repeat(2_048))), &close("uri_too_long"));
    c.check(get(&format!("/{}", "a".repeat(2_047))), &problem("not_found", "", ""));
    c.check(
        post("/v1/entries", "application/json", ""),
        &problem("unsupported_media_type", "content-type", NDJSON),
    );
    c.check(
        post("/v1/entries", "application/json", "{}"),
        &problem("unsupported_media_type", "content-type", &format!("{NDJSON}{CLOSE}")),
    );
    c.check(entries_head(""), &problem("unsupported_media_type", "content-type", NDJSON));
    c.check(
        post("/v1/batch", "text/plain", ""),
        &problem("unsupported_media_type", "content-type", "accept: application/json\r\n"),
    );
    c.check(
        ndjson("content-encoding: gzip\r\n"),
        &problem("unsupported_media_type", "content-encoding", "accept-encoding: identity\r\n"),
    );
    c.check(
        ndjson("content-encoding: identity\r\ncontent-length: 0\r\n"),
        &json("", &fed(0, 0, &[])),
    );
    c.check(
        post("/v1/entries", "Application/X-NDJSON ; charset=utf-8", ""),
        &json("", &fed(0, 0, &[])),
    );
    c.check(ndjson("expect: a-miracle\r\ncontent-length: 2\r\n"), &close("expectation_failed"));
    c.check(
        request("GET", "/", &format!("x: {}\r\n", "a".repeat(8_192))),
        &close("header_fields_too_large"),
    );
    c.check(request("GET", "/", &"x: a\r\n".repeat(64)), &close("header_fields_too_large"));
    c.check(request("GET", "/", &"x: a\r\n".repeat(63)), &problem("not_found", "", ""));
    c.check(ndjson("transfer-encoding: gzip, chunked\r\n"), &close("unsupported_transfer_coding"));
    c.check("GET / HTTP/2.0\r\nhost: a\r\n\r\n", &close("http_version_not_supported"));
    c.codes
}

/// Reads refused for their parameters.
fn reads() -> BTreeSet<String> {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 5, T)]);
    let mut c = Checker::new(&server);
    c.check(get("/v1/users/7/balance"), &problem("user_not_found", "", ""));
    c.check(get("/v1/users/7/stats?window=1h"), &problem("user_not_found", "", ""));
    c.check(get("/v1/users/18446744073709551615/balance"), &problem("user_not_found", "", ""));
    for (target, field) in [
        ("*/balance", "user_id"),
        ("+1/balance", "user_id"),
        ("/balance", "user_id"),
        ("4%2F2/balance", "user_id"),
        ("%/balance", "user_id"),
        ("4%3/balance?x=1", "user_id"),
        ("%30%34%2a/balance", "user_id"),
        ("%2542/st%61ts", "user_id"),
        ("42/balance?currency=coin", "currency"),
        ("42/balance?currency=", "currency"),
        ("42/balance?currency", "currency"),
        ("42/balance?currency=COIN&currency=COIN", "currency"),
        ("42/balance?currency=%zz", "currency"),
        ("42/balance?window=1h", "window"),
        ("42/balance?colour=red&currency=coin", "colour"),
        ("42/balance?%22=1", ""),
        ("42/balance?&", ""),
        ("42/stats?window=1h&at_ms=01", "at_ms"),
        ("42/stats?window=1h&at_ms=253402300800000", "at_ms"),
        ("42/stats?window=1h&kind=_topup", "kind"),
        ("42/stats?at_ms=1&window=lifetime", "at_ms"),
        ("42/stats?window=1h&window=1h", "window"),
        ("42/stats?x=1&window=bad", "x"),
    ] {
        c.check(get(&format!("/v1/users/{target}")), &problem("invalid_parameter", field, ""));
    }
    for query in [
        "",
        "?",
        "?currency=COIN",
        "?window=7m",
        "?window=0d",
        "?window=401d",
        "?window=1H",
        "?window=bad&x=1",
    ] {
        c.check(
            get(&format!("/v1/users/42/stats{query}")),
            &problem("invalid_window", "window", ""),
        );
    }
    c.check(get("/healthz?a=1"), &problem("invalid_parameter", "a", ""));
    c.check(
        request("GET", "/v1/users/42/balance", "if-match: \"v2\"\r\n"),
        &problem("version_changed", "", ""),
    );
    c.codes
}

/// Batches refused for their body.
fn batches() -> BTreeSet<String> {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let items = |count| {
        format!(
            r#"{{"requests":[{}]}}"#,
            vec![r#"{"user_id":"1","read":"balance"}"#; count].join(",")
        )
    };
    for (body, code, field) in [
        ("", "invalid_json: ends early", ""),
        (r#"{"requests":[],"requests":[]}"#, "invalid_json: repeated", "requests"),
        (
            r#"{"requests":[{"read":"balance","read":"balance"}]}"#,
            "invalid_json: repeated",
            "requests[0].read",
        ),
        ("{}", "missing_field", "requests"),
        (r#"{"requests":{}}"#, "invalid_field", "requests"),
        (r#"{"requests":[],"more":1}"#, "unknown_field", "more"),
        (r#"{"requests":[7]}"#, "invalid_field", "requests[0]"),
        (
            r#"{"requests":[{"user_id":"1","read":"balance","kind":"a"}]}"#,
            "unknown_field",
            "requests[0].kind",
        ),
        (
            r#"{"requests":[{"user_id":1,"read":"balance"}]}"#,
            "invalid_field",
            "requests[0].user_id",
        ),
        (r#"{"requests":[{"user_id":"1","read":"stats"}]}"#, "missing_field", "requests[0].window"),
        (
            r#"{"requests":[{"user_id":"1","read":"stats","window":"7m"}]}"#,
            "invalid_window",
            "requests[0].window",
        ),
    ] {
        c.check(batch(body), &problem(code, field, ""));
    }
    c.check(batch(items(1_001)), &problem("too_many_items", "requests", ""));
    c.check(
        post("/v1/batch", "application/json", vec![b' '; (256 << 10) + 1]),
        &problem("content_too_large", "", CLOSE),
    );
    let unknown =
        expected::problem_body("user_not_found", "").replace("\"}", "\",\"user_id\":\"1\"}");
    let thousand = format!(r#"{{"responses":[{}]}}"#, vec![unknown; 1_000].join(","));
    c.check(batch(items(1_000)), &json("", &thousand));
    c.codes
}

/// Each reason of `invalid_json`, in a batch and in a line of a feed.
fn texts_that_are_not_json() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let deep = format!("{{\"a\":{}", "[".repeat(128));
    let texts: [&[u8]; 12] = [
        b"\xef\xbb\xbf{\"requests\":[]}",
        b"{\"\xe9\":01}",
        b"{\"requests\":[{\"at_ms\":-",
        b"[{}]",
        b"{\"a\":True}",
        b"{\"a\":01}",
        b"{\"a\":\"\t\"}",
        br#"{"a":"\x41"}"#,
        br#"{"a":"\ud83d"}"#,
        deep.as_bytes(),
        b"{\"requests\":[]}\0",
        br#"{"a":1,"\u0061":2}"#,
    ];
    for ((reason, _), text) in expected::INVALID_JSON.into_iter().zip(texts) {
        let code = format!("invalid_json: {reason}");
        let field = if reason == "repeated" { "a" } else { "" };
        c.check(batch(text), &problem(&code, field, ""));
        c.check(feed(text), &feed_answer(0, 0, &[rejected(0, "", &code, field)]));
    }
    let all = purser::api::problem::Code::ALL.iter().filter(|code| code.name() == "invalid_json");
    let details: Vec<_> = all.map(|code| code.detail()).collect();
    assert_eq!(details, expected::INVALID_JSON.map(|(_, detail)| detail));
}

/// Every verdict on a feed line, in one body.
fn verdicts() -> BTreeSet<String> {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let day = 86_400_000;
    let hold = |id: u64| {
        credit(id, 1, 50, T).replace("credit", "debit").replace('}', r#","state":"pending"}"#)
    };
    let settle = |id: u64, hold: u64, rest: &str| {
        format!(r#"{{"entry_id":"{id}","user_id":"1","at_ms":{T},"pending_id":"{hold}",{rest}}}"#)
    };
    let void = |members: &str, sign: &str| {
        format!(r#"{{"entry_id":"2","user_id":"1",{members}"at_ms":{sign}{T},"state":"voided"}}"#)
    };
    let rows = [
        (credit(1, 1, 500, T), None),
        (credit(1, 1, 500, T), Some(("1", "duplicate", ""))),
        (credit(1, 1, 501, T), Some(("1", "entry_id_conflict", "entry_id"))),
        ("\n \t\r\n\x0b".to_owned(), Some(("", "invalid_json: no object", ""))),
        ("x".repeat((64 << 10) + 1), Some(("", "line_too_long", ""))),
        (format!("\n{}\n\r", void("", "")), Some(("2", "missing_field", "pending_id"))),
        (void(r#""kind":"A","#, ""), Some(("2", "missing_field", "currency"))),
        (void(r#""amount":-1,"#, ""), Some(("2", "amount_negative", "amount"))),
        (void("", "-"), Some(("2", "invalid_field", "at_ms"))),
        (
            r#"{"entry_id":"1","entry_id":"1"}"#.to_owned(),
            Some(("", "invalid_json: repeated", "entry_id")),
        ),
        (credit(2, 1, 1, T).replace("amount", "sum"), Some(("2", "unknown_field", "sum"))),
        (credit(2, 1, 1, T).replace(r#""amount":1,"#, ""), Some(("2", "missing_field", "amount"))),
        (credit(2, 1, 1, T).replace(":1,", ":1.0,"), Some(("2", "invalid_field", "amount"))),
        (credit(2, 1, 1, T).replace("\"2\"", "\"0 2\""), Some(("", "invalid_field", "entry_id"))),
        (credit(2, 1, -1, T), Some(("2", "amount_negative", "amount"))),
        (credit(2, 1, 1, 253_402_300_799_999), Some(("2", "entry_in_future", "at_ms"))),
        (credit(2, 1, 1, T - day - 1), Some(("2", "entry_too_old", "at_ms"))),
        (credit(2, 1, 1, T - day), None),
        (hold(3), None),
        (settle(4, 9, r#""amount":1"#), Some(("4", "pending_not_found", "pending_id"))),
        (
            credit(4, 1, 5, T).replace('}', r#","pending_id":"3"}"#),
            Some(("4", "pending_mismatch", "pending_id")),
        ),
        (settle(4, 3, r#""amount":20"#), None),
        (settle(5, 3, r#""state":"voided""#), Some(("5", "pending_not_found", "pending_id"))),
        (credit(6, 1, i64::MAX, T), Some(("6", "balance_overflow", "amount"))),
        (credit(6, 2, i64::MAX, T), None),
    ];
    let said = |(index, (_, verdict)): (usize, &(String, Option<Verdict>))| {
        verdict.map(|(id, code, field)| match code {
            "duplicate" => duplicate(index, id),
            _ => rejected(index, id, code, field),
        })
    };
    let results: Vec<_> = rows.iter().enumerate().filter_map(said).collect();
    let lines: Vec<_> = rows.iter().map(|(line, _)| line).collect();
    c.check_feed(&lines, rows.len() - results.len(), &results);
    c.check(get("/v1/users/1/balance"), &balance(1, 4, T, 481));
    let many = entries(&vec![credit(1, 1, 500, T); 10_001]);
    c.check(feed(&many), &problem("too_many_items", "", ""));
    c.check(feed(&many[..many.len() - 1]), &problem("too_many_items", "", ""));
    c.check(feed(b"x\n\n".repeat(10_001)), &problem("too_many_items", "", ""));
    c.check(get("/v1/users/1/balance"), &balance(1, 4, T, 481));
    c.codes
}

/// Limits of one user: currencies, groups, open holds.
fn limits() -> BTreeSet<String> {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let mut full = |lines: Vec<String>, code, field| {
        let most = lines.len() - 1;
        c.check_feed(&lines, most, &[rejected(most, &most.to_string(), code, field)]);
    };
    let currency = |n: u64| credit(n, 1, 1, T).replace("COIN", &format!("C{n:02}"));
    full((0..17).map(currency).collect(), "too_many_currencies", "currency");
    let kind = |n: u64| credit(n, 2, 1, T).replace("topup", &format!("k{n}"));
    full((0..257).map(kind).collect(), "too_many_groups", "kind");
    let hold = |n: u64| credit(n, 3, 1, T).replace('}', r#","state":"pending"}"#);
    let holds: Vec<_> = (0..65_537).map(hold).collect();
    let (most, last) = holds.split_at(65_536);
    for part in most.chunks(8_192) {
        c.check_feed(part, part.len(), &[]);
    }
    c.check_feed(last, 0, &[rejected(0, "65536", "too_many_holds", "")]);
    // A line that opens nothing is taken, and a hold that is closed makes room for another.
    let empty = hold(70_001).replace(":1,", ":0,");
    let void = |id: u64| {
        format!(
            r#"{{"entry_id":"{id}","user_id":"3","at_ms":{T},"state":"voided","pending_id":"7"}}"#
        )
    };
    let lines = [empty, void(70_002), hold(70_003), hold(70_004)];
    c.check_feed(&lines, 3, &[rejected(3, "70004", "too_many_holds", "")]);
    let known = [
        credit(100, 1, 1, T).replace("COIN", "C05"),
        credit(300, 2, 1, T).replace("topup", "k255"),
    ];
    c.check_feed(&known, 2, &[]);
    c.codes
}

/// Above its memory limit a server refuses entries and still answers reads.
fn out_of_memory() -> BTreeSet<String> {
    let server = Server::start(&["--ledger-mib", "0"]);
    let mut c = Checker::new(&server);
    let body = fed(
        0,
        0,
        &[
            rejected(0, "1", "insufficient_storage", ""),
            rejected(1, "", "invalid_json: ends early", ""),
            rejected(2, "2", "insufficient_storage", ""),
        ],
    );
    let full = expected::answer("507 Insufficient Storage", "application/json", "", &body);
    c.check(feed(entries(&[&credit(1, 1, 1, T), "{", &credit(2, 2, 1, T)])), &full);
    c.check(feed("{"), &feed_answer(0, 0, &[rejected(0, "", "invalid_json: ends early", "")]));
    c.check(get("/v1/users/1/balance"), &problem("user_not_found", "", ""));
    c.codes
}

/// Requests that stay unfinished, in their head or in their body.
fn timeouts() -> BTreeSet<String> {
    let server = Server::start(&TIMEOUTS);
    let mut c = Checker::new(&server);
    let body = feed(entries(&[credit(1, 1, 1, T)]));
    for part in [&b"G"[..], &body[..body.len() - 2], b"\r\n"] {
        c.check(part, &problem("request_timeout", "", CLOSE));
    }
    c.codes
}

/// A connection above the limit.
fn overload() -> BTreeSet<String> {
    let server = Server::start(&["--max-connections", "1"]).at_one_core();
    let mut c = Checker::new(&server);
    let mut only = server.connect();
    c.check_on(&mut only, get("/readyz"), &expected::text("ready"));
    c.check("", &problem("overloaded", "", RETRY_ELSEWHERE));
    c.check_on(&mut only, get("/healthz"), &expected::text("ok"));
    c.codes
}

/// A lame duck serves everything but `/readyz`.
fn drain() -> BTreeSet<String> {
    let server = Server::start(&["--drain-delay-ms", "100000"]);
    let mut c = Checker::new(&server);
    let (mut probe, mut other) = (server.connect(), server.connect());
    c.check_on(&mut other, get("/readyz"), &expected::text("ready"));
    c.check_on(&mut probe, get("/readyz"), &expected::text("ready"));
    server.leave();
    c.check_on(&mut probe, get("/readyz"), &problem("draining", "", ""));
    c.check_on(&mut other, feed(""), &json("", &fed(0, 0, &[])));
    c.codes
}

fn balances() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let hold = concat!(
        r#"{"entry_id":"0192F0C1-0000-0000-0000-000000000001","user_id":"42","currency":"USD","#,
        r#""kind":"card","direction":"debit","amount":300,"at_ms":1700000000001,"#,
        r#""state":"pending"}"#
    );
    c.check_feed(&[&credit(1, 42, 1_500, T), hold, &credit(2, 42, 0, T - 5)], 3, &[]);
    let coin = concat!(
        r#"{"currency":"COIN","posted":1500,"pending_debits":0,"pending_credits":0,"#,
        r#""available":1500}"#
    );
    let usd = concat!(
        r#"{"currency":"USD","posted":0,"pending_debits":300,"pending_credits":0,"#,
        r#""available":-300}"#
    );
    for (query, list) in [
        ("", format!("{coin},{usd}")),
        ("?", format!("{coin},{usd}")),
        ("?currency=COIN", coin.to_owned()),
        ("?c%75rrency=%55SD", usd.to_owned()),
        ("?currency=EUR", String::new()),
    ] {
        let target = format!("/v1/users/42/balance{query}");
        let body = format!(r#"{{"user_id":"42","version":3,"as_of_ms":{T},"balances":[{list}]}}"#);
        let full = read("etag: \"v3\"\r\n", &body);
        c.check(get(&target), &full);
        c.check(get(&format!("http://user.example:80{target}")), &full);
        c.check(request("HEAD", &target, ""), &full.replace(&body, ""));
    }
    let stats = concat!(
        r#"{"currency":"COIN","kind":"topup","direction":"credit","count":2,"sum":1500,"min":0,"#,
        r#""max":1500}"#
    );
    for (query, from, to) in [
        ("window=lifetime", 0, T + 900_000),
        ("window=1h&at_ms=1700000100000&kind=topup&currency=COIN", T - 2_700_000, T + 900_000),
    ] {
        let body = format!(
            r#"{{"user_id":"42","version":3,"from_ms":{from},"to_ms":{to},"stats":[{stats}]}}"#
        );
        c.check(get(&format!("/v1/users/42/stats?{query}")), &read("", &body));
        c.check(
            request("HEAD", &format!("/v1/users/42/stats?{query}"), ""),
            &read("", &body).replace(&body, ""),
        );
    }
    let headers = server.ask(get("/v1/users/42/balance")).headers;
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "date", "cache-control", "etag", "content-length"]);
}

fn conditional_reads() {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 5, T)]);
    let mut c = Checker::new(&server);
    let target = "/v1/users/42/balance";
    let not_modified =
        format!("HTTP/1.1 304 Not Modified\r\ndate: D\r\n{NO_CACHE}etag: \"v1\"\r\n\r\n");
    let not_modified = not_modified.as_str();
    for value in ["\"v1\"", "*", "W/\"v1\"", "\"v0\", \"v1\"", "\"a,b\",\"v1\""] {
        c.check(request("GET", target, &format!("if-none-match: {value}\r\n")), not_modified);
        c.check(request("HEAD", target, &format!("If-None-Match: {value}\r\n")), not_modified);
    }
    for value in ["\"v0\"", "\"v11\"", "v1", "\"V1\"", ""] {
        c.check(
            request("GET", target, &format!("if-none-match: {value}\r\n")),
            &balance(42, 1, T, 5),
        );
    }
    c.check(
        request("GET", target, "if-none-match: \"v9\"\r\naccept: */*\r\nIf-None-Match: \"v1\"\r\n"),
        not_modified,
    );
    c.check(
        request("GET", "/v1/users/7/balance", "if-none-match: *\r\n"),
        &problem("user_not_found", "", ""),
    );
    server.feed(&[credit(2, 42, 5, T)]);
    c.check(request("GET", target, "if-none-match: \"v1\"\r\n"), &balance(42, 2, T, 10));
}

fn head_answers_equal_get_answers_without_the_body() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let bare = |full: String| full[..full.find("\r\n\r\n").expect("a head") + 4].to_owned();
    c.check(request("HEAD", "/healthz", ""), &bare(expected::text("ok")));
    c.check(request("HEAD", "/readyz", ""), &bare(expected::text("ready")));
    c.check(request("HEAD", "/nowhere", ""), &bare(problem("not_found", "", "")));
    c.check(request("HEAD", "/v1/users/7/balance", ""), &bare(problem("user_not_found", "", "")));
    c.check(request("HEAD", "/v1/batch", ""), &bare(problem("method_not_allowed", "", POSTS)));
}

fn versions_and_persistence() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let ok = |lines| expected::answer("200 OK", "text/plain; charset=utf-8", lines, "ok");
    let keep = "connection: keep-alive\r\n";
    for (head, lines) in [
        ("HTTP/1.1\r\nhost: a\r\n", ""),
        ("HTTP/1.1\r\nhost:\r\nconnection: keep-alive\r\n", ""),
        ("HTTP/1.1\r\nhost: a\r\nConnection: Close\r\n", CLOSE),
        ("HTTP/1.1\r\nhost: a\r\nconnection: x, close\r\nconnection: keep-alive\r\n", CLOSE),
        ("HTTP/1.0\r\n", CLOSE),
        ("HTTP/1.0\r\nconnection: close, keep-alive\r\n", CLOSE),
        ("HTTP/1.0\r\nconnection: Keep-Alive\r\n", keep),
    ] {
        c.check(format!("GET /healthz {head}\r\n"), &ok(lines));
    }
    let body = entries(&[credit(1, 1, 1, T)]);
    let old = format!(
        "POST /v1/entries HTTP/1.0\r\nexpect: 100-continue\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    c.check([old.as_bytes(), &body].concat(), &json(CLOSE, &fed(1, 0, &[])));
    let last =
        String::from_utf8(feed(&body)).expect("text").replace("host", "connection: close\r\nhost");
    c.check(last, &json(CLOSE, &fed(0, 1, &[duplicate(0, "1")])));
    c.check(
        request("GET", "/v1/users/7/balance", "connection: close\r\n"),
        &problem("user_not_found", "", CLOSE),
    );
}

fn bodies() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let lines = [credit(1, 1, 1, T), credit(2, 1, 1, T)];
    let body = entries(&lines);
    c.check(feed(""), &json("", &fed(0, 0, &[])));
    c.check(feed(&body[..body.len() - 1]), &json("", &fed(2, 0, &[])));
    let again = json("", &fed(0, 2, &[duplicate(0, "1"), duplicate(1, "2")]));
    c.check(feed(&body), &again);
    c.check(feed(lines.join("\r\n") + "\r\n"), &again);
    let chunked = "content-type: application/x-ndjson\r\ntransfer-encoding: Chunked\r\n";
    let head = request("POST", "/v1/entries", chunked);
    for size in [1, 7, 100, 1_000] {
        c.check([head.as_bytes(), &in_chunks(&body, size)].concat(), &again);
    }
    c.check(head.clone() + "0\r\nx-trailer: a\r\n\r\n", &json("", &fed(0, 0, &[])));

    let full = [entries(&lines), vec![b' '; (8 << 20) - body.len()]].concat();
    c.check(feed(&full), &again);
    let grown = [head.as_bytes(), &in_chunks(&[full, vec![b' ']].concat(), 1 << 20)].concat();
    c.check(grown, &problem("content_too_large", "", CLOSE));
    for target in ["/healthz", "/v1/users/1/balance"] {
        for method in ["GET", "HEAD"] {
            let large = problem("content_too_large", "", CLOSE);
            let end = if method == "HEAD" { large.find('{').expect("a body") } else { large.len() };
            c.check(request(method, target, "content-length: 1\r\n") + "x", &large[..end]);
            c.check(
                request(method, target, "transfer-encoding: chunked\r\n") + "1\r\nx\r\n0\r\n\r\n",
                &large[..end],
            );
        }
    }
    let empty = [
        ("content-length: 0\r\n", ""),
        ("transfer-encoding: chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "000;a=b\r\nx-trailer: a\r\n\r\n"),
    ];
    for (lines, end) in empty {
        let full = balance(1, 2, T, 2);
        c.check(request("GET", "/v1/users/1/balance", lines) + end, &full);
        let head = &full[..full.find('{').expect("a body")];
        c.check(request("HEAD", "/v1/users/1/balance", lines) + end, head);
    }
}

/// A body in chunks of `size` bytes.
fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let chunk =
        |part: &[u8]| [format!("{:X};a=b\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    body.chunks(size).flat_map(chunk).chain(*b"0\r\n\r\n").collect()
}

fn expectations() {
    let server = Server::start(&[]);
    let body = entries(&[credit(1, 1, 1, T)]);
    let head =
        |lines: &str| request("POST", "/v1/entries", &format!("expect: 100-continue\r\n{lines}"));
    let ndjson =
        format!("content-type: application/x-ndjson\r\ncontent-length: {}\r\n", body.len());
    let mut client = server.connect();
    for answer in [fed(1, 0, &[]), fed(0, 1, &[duplicate(0, "1")])] {
        client.send(head(&ndjson));
        assert_eq!(client.response().shown(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(&body);
        assert_eq!(client.response().shown(), json("", &answer));
    }
    // No interim answer: where the body is already there, where the request is refused, and where
    // there is no body.
    let mut c = Checker::new(&server);
    c.check(
        [head(&ndjson).as_bytes(), &body].concat(),
        &json("", &fed(0, 1, &[duplicate(0, "1")])),
    );
    c.check(
        head("content-length: 9\r\n"),
        &problem("unsupported_media_type", "content-type", &format!("{NDJSON}{CLOSE}")),
    );
    c.check(
        head("content-type: application/x-ndjson\r\ncontent-length: 99999999\r\n"),
        &problem("content_too_large", "", CLOSE),
    );
    c.check(
        head("content-type: application/x-ndjson\r\ncontent-length: 0\r\n"),
        &json("", &fed(0, 0, &[])),
    );
    c.check(request("GET", "/healthz", "expect: 100-continue\r\n"), &expected::text("ok"));
}

fn a_batch_answers_as_its_single_reads() {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 5, T), credit(1, 7, 6, T)]);
    let items = [
        (r#"{"user_id":"42","read":"balance"}"#, "42/balance"),
        (r#"{"user_id":"7","read":"stats","window":"lifetime"}"#, "7/stats?window=lifetime"),
        (r#"{"read":"balance","currency":"EUR","user_id":"42"}"#, "42/balance?currency=EUR"),
        (
            concat!(
                r#"{ "user_id" : "7", "read":"st\u0061ts", "window":"2d", "#,
                r#""at_ms":1700000100000, "kind":"topup" }"#
            ),
            "7/stats?window=2d&at_ms=1700000100000&kind=topup",
        ),
    ];
    let singles: Vec<_> = items
        .iter()
        .map(|(_, target)| server.ask(get(&format!("/v1/users/{target}"))).body)
        .collect();
    assert!(singles.iter().all(|body| body.contains("\"version\":1")), "{singles:?}");
    let missing =
        expected::problem_body("user_not_found", "").replace("\"}", "\",\"user_id\":\"9\"}");
    let body = items.iter().map(|(item, _)| *item).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"requests":[{body},{{"user_id":"9","read":"balance"}}]}}"#);
    let mut c = Checker::new(&server);
    c.check(
        batch(body),
        &json("", &format!(r#"{{"responses":[{},{missing}]}}"#, singles.join(","))),
    );
    c.check(batch(r#"{"requests":[]}"#), &json("", r#"{"responses":[]}"#));
}

fn health() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    c.check(get("/healthz"), &expected::text("ok"));
    c.check(get("/readyz"), &expected::text("ready"));
}
