//! `If-Match`, `If-None-Match`, `ETag` and `Cache-Control` of a user's reads.
//!
//! User 42 is at version 2.

use super::case::{BATCH, BATCH_OK, Case, OK, Wanted, batch_head, problem, status};
use crate::server::client::{get, request};

const BALANCE: &str = "/v1/users/42/balance";
const STATS: &str = "/v1/users/42/stats?window=lifetime";

type Lines = &'static [(&'static str, Option<&'static str>)];
const TAGGED: Lines = &[("cache-control", Some("no-cache")), ("etag", Some("\"v2\""))];
const UNTAGGED: Lines = &[("cache-control", Some("no-cache")), ("etag", None)];
const NO_CACHE: Lines = &[("cache-control", Some("no-cache"))];
const PLAIN: Lines = &[("cache-control", None), ("etag", None)];

const YES: Wanted = status(200).with(TAGGED);
const SAME: Wanted = status(304).with(TAGGED).empty();
const CHANGED: Wanted = problem(412, "version_changed").with(NO_CACHE);
const FIGURES: Wanted = status(200).with(UNTAGGED);
const NOBODY: Wanted = problem(404, "user_not_found").with(UNTAGGED);

/// Header lines of a read: target, lines, answer.
const READS: &[(&str, &str, Wanted)] = &[
    (BALANCE, "", YES),
    (STATS, "", FIGURES),
    ("/v1/users/7/balance", "", NOBODY),
    ("/v1/users/7/stats?window=24h", "", NOBODY),
    // If-None-Match: weak comparison.
    (BALANCE, "if-none-match: \"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: W/\"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: *\r\n", SAME),
    (BALANCE, "if-none-match: \"v1\", \"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: \"v1\"\r\nif-none-match: \"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: ,\"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: \"v1\"\r\n", YES),
    (BALANCE, "if-none-match: \"v02\"\r\n", YES),
    (BALANCE, "if-none-match: v2\r\n", YES),
    (BALANCE, "if-none-match: w/\"v2\"\r\n", YES),
    (BALANCE, "if-none-match: x, \"v2\"\r\n", YES),
    (STATS, "if-none-match: \"v2\"\r\n", FIGURES),
    (STATS, "if-none-match: *\r\n", FIGURES),
    ("/v1/users/7/balance", "if-none-match: \"v2\"\r\n", NOBODY),
    ("/v1/users/7/balance", "if-none-match: *\r\n", NOBODY),
    // If-Match: strong comparison.
    (BALANCE, "if-match: \"v2\"\r\n", YES),
    (BALANCE, "if-match: *\r\n", YES),
    (BALANCE, "if-match: \"v1\", \"v2\"\r\n", YES),
    (BALANCE, "if-match: \"v1\" , ,\"v2\"\r\n", YES),
    (BALANCE, "if-match: \"v2\", x\r\n", YES),
    (BALANCE, "if-match: W/\"v2\", \"v2\"\r\n", YES),
    (BALANCE, "if-match: \"v1\"\r\nx: a\r\nIF-MATCH: \"v2\"\r\n", YES),
    (BALANCE, "if-match: \"a,b\", \"v2\"\r\n", YES),
    (BALANCE, "if-match: \"v1\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v3\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v22\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v02\"\r\n", CHANGED),
    (BALANCE, "if-match: \"V2\"\r\n", CHANGED),
    (BALANCE, "if-match: \"\"\r\n", CHANGED),
    (BALANCE, "if-match: W/\"v2\"\r\n", CHANGED),
    (BALANCE, "if-match: v2\r\n", CHANGED),
    (BALANCE, "if-match:\r\n", CHANGED),
    (BALANCE, "if-match: *, \"v1\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v2\r\n", CHANGED),
    (BALANCE, "if-match: x, \"v2\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v1\" \"v2\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v1,v2\"\r\n", CHANGED),
    (BALANCE, "if-match: \"v1\"\r\nif-match: \"v3\"\r\n", CHANGED),
    // Statistics have no tag: only `*` matches.
    (STATS, "if-match: *\r\n", FIGURES),
    (STATS, "if-match: \"v2\"\r\n", CHANGED),
    (STATS, "if-match: \"v1\"\r\n", CHANGED),
    // An unknown user stays unknown.
    ("/v1/users/7/balance", "if-match: \"v2\"\r\n", NOBODY),
    ("/v1/users/7/balance", "if-match: *\r\n", NOBODY),
    ("/v1/users/7/stats?window=24h", "if-match: *\r\n", NOBODY),
    // If-Match goes first.
    (BALANCE, "if-match: \"v2\"\r\nif-none-match: \"v2\"\r\n", SAME),
    (BALANCE, "if-none-match: \"v2\"\r\nif-match: \"v2\"\r\n", SAME),
    (BALANCE, "if-match: \"v2\"\r\nif-none-match: \"v1\"\r\n", YES),
    (BALANCE, "if-match: *\r\nif-none-match: *\r\n", SAME),
    (BALANCE, "if-match: \"v1\"\r\nif-none-match: \"v2\"\r\n", CHANGED),
    (BALANCE, "if-none-match: \"v1\"\r\nif-match: \"v1\"\r\n", CHANGED),
    (BALANCE, "if-match: W/\"v2\"\r\nif-none-match: W/\"v2\"\r\n", CHANGED),
    // Times and ranges mean nothing: there are no modification times.
    (BALANCE, "if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", YES),
    (BALANCE, "if-unmodified-since: Thu, 01 Jan 1970 00:00:00 GMT\r\n", YES),
    (BALANCE, "range: bytes=0-1\r\nif-range: \"v2\"\r\n", YES),
    // A refusal of the request goes before them, and is not a user's.
    (
        "/v1/users/*/balance",
        "if-match: \"v1\"\r\n",
        problem(400, "invalid_parameter").field("user_id").with(PLAIN),
    ),
    ("/nowhere", "if-match: \"v1\"\r\n", problem(404, "not_found").with(PLAIN)),
    // They are a user's reads' alone.
    ("/healthz", "if-match: \"v1\"\r\nif-none-match: *\r\n", OK.with(PLAIN)),
    ("/v1/info", "if-match: \"v1\"\r\n", status(200).with(PLAIN)),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(target, lines, wanted) in READS {
        for (method, wanted) in [("GET", wanted), ("HEAD", wanted.empty())] {
            let name = format!("{method} {target} {}", lines.escape_debug());
            cases.push(Case::new(&name, request(method, target, lines), &[wanted]));
        }
    }
    let head = batch_head(&format!("if-match: \"v1\"\r\ncontent-length: {}\r\n", BATCH.len()));
    cases.push(Case::new("a batch with if-match", head + BATCH, &[BATCH_OK.with(PLAIN)]));
    // Each read in a row is judged by its own lines.
    let row = [
        request("GET", BALANCE, "if-match: \"v1\"\r\n"),
        get(BALANCE),
        request("GET", BALANCE, "if-none-match: \"v2\"\r\n"),
        request("GET", BALANCE, "if-match: \"v2\"\r\n"),
        get("/v1/users/7/balance"),
        request("GET", STATS, "if-match: \"v2\"\r\n"),
    ];
    cases.push(Case::new("in a row", row.concat(), &[CHANGED, YES, SAME, YES, NOBODY, CHANGED]));
    let closing = request("GET", BALANCE, "if-match: \"v1\"\r\nconnection: close\r\n");
    cases.push(Case::new("a 412 that closes", closing, &[CHANGED.closes()]));
    let closing = request("GET", BALANCE, "if-none-match: *\r\nconnection: close\r\n");
    cases.push(Case::new("a 304 that closes", closing, &[SAME.closes()]));
    cases
}
