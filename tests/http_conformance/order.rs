//! Which refusal wins when several apply: malformed, 505, 501, 414 and 431, 404, 405, the user id,
//! the query, 415, 411, 413, and then what needs the body.

use super::case::{
    BAD_USER, Case, NO_CODING, NO_METHOD, NO_VERSION, NOT_FOUND, TOO_LARGE, Wanted, batch_head,
    feed_head, malformed, problem,
};
use crate::server::client::request;
use purser::http::NotHttp as Fault;

const NOT_ALLOWED: Wanted = problem(405, "method_not_allowed").closes_or_not();
const NO_PARAMETER: Wanted = problem(400, "invalid_parameter").field("a").closes_or_not();
const NO_TYPE: Wanted =
    problem(415, "unsupported_media_type").field("content-type").closes_or_not();
const NO_LENGTH: Wanted = problem(411, "length_required").closes_or_not();

/// Whole requests.
const WHOLE: &[(&str, &str, Wanted)] = &[
    (
        "malformed before 505",
        "GET / HTTP/2.0\r\nhost : a\r\n\r\n",
        malformed(Fault::SpaceBeforeColon),
    ),
    ("malformed before 501", "BREW / HTTP/1.1\r\n\r\n", malformed(Fault::NoHost)),
    (
        "malformed before a coding",
        "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        malformed(Fault::NoHost),
    ),
    ("505 before 501", "BREW / HTTP/2.0\r\nhost: a\r\n\r\n", NO_VERSION),
    (
        "505 before a coding",
        "POST / HTTP/2.0\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        NO_VERSION,
    ),
    ("501 before 404", "BREW /nowhere HTTP/1.1\r\nhost: a\r\n\r\n", NO_METHOD),
    (
        "a coding before 404",
        "POST /nowhere HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        NO_CODING,
    ),
    (
        "a coding before 405",
        "PUT /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        NO_CODING,
    ),
];

/// Requests whose head is well-formed: name, method, target, header lines, answer.
const HEADS: &[(&str, &str, &str, &str, Wanted)] = &[
    ("404 before 405", "PUT", "/nowhere", "", NOT_FOUND),
    ("404 before the query", "GET", "/nowhere?a=b", "", NOT_FOUND),
    ("404 before 411", "POST", "/nowhere", "", NOT_FOUND),
    (
        "404 before 413",
        "GET",
        "/nowhere",
        "content-length: 9000000000\r\n",
        NOT_FOUND.closes_or_not(),
    ),
    ("405 before the user id", "PUT", "/v1/users/*/balance", "", NOT_ALLOWED),
    ("405 before the query", "DELETE", "/healthz?a=b", "", NOT_ALLOWED),
    ("405 before 415", "PUT", "/v1/entries", "content-type: a/b\r\n", NOT_ALLOWED),
    ("405 before 411", "PUT", "/v1/entries", "", NOT_ALLOWED),
    ("405 before 413", "PUT", "/v1/batch", "content-length: 9000000000\r\n", NOT_ALLOWED),
    ("the user id before the query", "GET", "/v1/users/*/balance?a=b", "", BAD_USER),
    (
        "the user id before 413",
        "GET",
        "/v1/users/*/balance",
        "content-length: 3\r\n",
        BAD_USER.closes_or_not(),
    ),
    (
        "the query before 413",
        "GET",
        "/v1/users/42/balance?a=b",
        "content-length: 3\r\n",
        NO_PARAMETER,
    ),
    ("the query before 415", "POST", "/v1/entries?a=b", "content-type: a/b\r\n", NO_PARAMETER),
    ("the query before 411", "POST", "/v1/batch?a=b", "", NO_PARAMETER),
    ("415 before 411", "POST", "/v1/entries", "", NO_TYPE),
    ("415 before 411, of a batch", "POST", "/v1/batch", "content-type: a/b\r\n", NO_TYPE),
    (
        "415 before 413",
        "POST",
        "/v1/entries",
        "content-type: a/b\r\ncontent-length: 9000000000\r\n",
        NO_TYPE,
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> =
        WHOLE.iter().map(|&(name, bytes, wanted)| Case::new(name, bytes, &[wanted])).collect();
    cases.extend(HEADS.iter().map(|&(name, method, target, lines, wanted)| {
        Case::new(name, request(method, target, lines), &[wanted])
    }));
    let long = |method: &str, version: &str, lines: &str| {
        format!("{method} /{} HTTP/{version}\r\n{lines}\r\n", "a".repeat(2_048))
    };
    let many = "x: a\r\n".repeat(80);
    let too_long = problem(414, "uri_too_long").closes();
    let too_many = problem(431, "header_fields_too_large").closes();
    cases.extend([
        Case::new("malformed before 414", long("GET", "1.1", ""), &[malformed(Fault::NoHost)]),
        Case::new("505 before 414", long("GET", "2.0", "host: a\r\n"), &[NO_VERSION]),
        Case::new("501 before 414", long("BREW", "1.1", "host: a\r\n"), &[NO_METHOD]),
        Case::new("414 before 404", long("GET", "1.1", "host: a\r\n"), &[too_long]),
        Case::new("431 before 404", request("GET", "/nowhere", &many), &[too_many]),
        Case::new("431 before 405", request("PUT", "/healthz", &many), &[too_many]),
        Case::new("411 of a batch", batch_head(""), &[NO_LENGTH]),
        Case::new("411 of a feed", feed_head(""), &[NO_LENGTH]),
        Case::new("413 of a batch", batch_head("content-length: 9000000000\r\n"), &[TOO_LARGE]),
        Case::new("413 of a feed", feed_head("content-length: 9000000000\r\n"), &[TOO_LARGE]),
    ]);
    cases
}
