//! Media types and statuses of a feed, and `metadata` in its lines.

use super::{Checker, T};
use crate::server::client::{batch, feed, get, post};
use crate::server::expected::{NDJSON, balance, duplicate, fed, json, problem, rejected};
use crate::server::{Server, credit, entries};

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    media_types,
    statuses,
    metadata,
]);

/// Three media types are taken, in any case and with any parameters.
fn media_types() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    for media_type in [
        "Application/X-NDJSON ; charset=utf-8",
        "application/ndjson",
        "APPLICATION/NDJSON;a=b",
        "application/jsonl",
        "application/JsonL\t; charset=\"utf-8\"",
    ] {
        c.check(post("/v1/entries", media_type, ""), &json("", &fed(0, 0, &[])));
    }
    for media_type in [
        "application/x-jsonl",
        "application/json-lines",
        "application/ndjson, application/jsonl",
        "application/x-ndjson, application/ndjson, application/jsonl",
        "text/jsonl",
        "jsonl",
        ",",
    ] {
        c.check(
            post("/v1/entries", media_type, ""),
            &problem("unsupported_media_type", "content-type", NDJSON),
        );
    }
}

/// A feed has a status of its own as soon as one line is rejected.
fn statuses() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let ask = |lines: &[String]| {
        let answer = server.ask(feed(entries(lines)));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        (answer.status(), answer.body)
    };
    let many: Vec<_> = (0..1_000).map(|n| credit(n, n % 7, 1, T)).collect();
    assert_eq!(ask(&[]).0, 200);
    assert_eq!(ask(&many), (200, fed(1_000, 0, &[])));
    assert_eq!(ask(&many).0, 200, "duplicates are not rejected");
    for at in [0, 500, 1_000] {
        let mut lines = many.clone();
        lines.insert(at, "{".to_owned());
        assert_eq!(ask(&lines).0, 422, "one line of a thousand");
    }
    let late = [credit(2_000, 1, 5, T - 86_400_001), credit(2_001, 1, 5, T)];
    let too_old = rejected(0, "2000", "entry_too_old", "at_ms");
    assert_eq!(ask(&late), (422, fed(1, 0, &[too_old])), "the good line is booked");
    c.check(get("/v1/users/1/balance"), &balance(1, 144, T, 148));
    // The answers keep their order, and the connection stays open.
    let mut client = server.connect();
    client.send([feed("{"), feed(&many[0]), get("/healthz").into()].concat());
    let statuses = [(); 3].map(|()| client.response().status());
    assert_eq!(statuses, [422, 200, 200]);
}

/// Any value of `metadata` is taken and dropped.
fn metadata() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let with = |id: u64, value: &str| {
        credit(id, 1, 5, T).replace('}', &format!(r#","metadata":{value}}}"#))
    };
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let order = r#"{"amount":-5,"lines":[1.5e3,-0,1E400,null,{"a":1,"a":2}],"\ud83d\ude00":""}"#;
    let padded = |id: u64, bytes: usize| {
        let rest = bytes - with(id, "\"\"").len();
        with(id, &format!("\"{}\"", "x".repeat(rest)))
    };
    let rows = [
        (with(1, "null"), None),
        (with(2, order), None),
        (with(3, &nested(127)), None),
        (credit(4, 1, 5, T), None),
        (padded(5, 64 << 10), None),
        // It is no field of the entry.
        (credit(2, 1, 5, T), Some(("2", "duplicate", ""))),
        (with(2, r#"{"other":true}"#), Some(("2", "duplicate", ""))),
        (with(4, "0"), Some(("4", "duplicate", ""))),
        (with(4, "0").replace(":5,", ":6,"), Some(("4", "entry_id_conflict", "entry_id"))),
        (with(6, &nested(128)), Some(("", "invalid_json: too deep", ""))),
        (with(6, "[01]"), Some(("", "invalid_json: number", ""))),
        (with(6, r#"{"a":"\ud83d"}"#), Some(("", "invalid_json: lone surrogate", ""))),
        (with(6, "\"\t\""), Some(("", "invalid_json: control character", ""))),
        (with(6, "[1,]"), Some(("", "invalid_json: syntax", ""))),
        (with(6, r#"1,"metadata":1"#), Some(("", "invalid_json: repeated", "metadata"))),
        (with(6, "1").replace("metadata", "Metadata"), Some(("6", "unknown_field", "Metadata"))),
        (padded(6, (64 << 10) + 1), Some(("", "line_too_long", ""))),
        (with(6, r#""\u0000""#).replace("metadata", r"m\u0065tadata"), None),
    ];
    let results: Vec<_> = rows
        .iter()
        .enumerate()
        .filter_map(|(index, (_, verdict))| {
            verdict.map(|(id, code, field)| match code {
                "duplicate" => duplicate(index, id),
                _ => rejected(index, id, code, field),
            })
        })
        .collect();
    let lines: Vec<_> = rows.iter().map(|(line, _)| line).collect();
    c.check_feed(&lines, rows.len() - results.len(), &results);
    c.check(get("/v1/users/1/balance"), &balance(1, 6, T, 30));
    c.check(
        batch(r#"{"requests":[{"user_id":"1","read":"balance","metadata":{}}]}"#),
        &problem("unknown_field", "requests[0].metadata", ""),
    );
    c.check(batch(r#"{"requests":[],"metadata":{}}"#), &problem("unknown_field", "metadata", ""));
}
