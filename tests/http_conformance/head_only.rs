//! `HEAD` never gets content, whatever the answer: refusals of a head that cannot be parsed
//! included.

use super::case::{Case, OK, Wanted, malformed, problem, status};
use crate::server::client::{get, request};
use crate::server::{Server, credit};
use purser::http::NotHttp as Fault;

/// Whole requests and the answers, whose content is left out.
const WHOLE: &[(&str, &str, Wanted)] = &[
    ("a good one", "HEAD /healthz HTTP/1.1\r\nhost: a\r\n\r\n", OK),
    ("HTTP/1.0", "HEAD /healthz HTTP/1.0\r\n\r\n", OK.closes()),
    ("an empty line first", "\r\nHEAD /healthz HTTP/1.1\r\n\r\n", malformed(Fault::NoHost)),
    ("no host", "HEAD /healthz HTTP/1.1\r\n\r\n", malformed(Fault::NoHost)),
    (
        "a space before a colon",
        "HEAD /healthz HTTP/1.1\r\nhost : a\r\n\r\n",
        malformed(Fault::SpaceBeforeColon),
    ),
    ("a bare LF", "HEAD /healthz HTTP/1.1\nhost: a\r\n\r\n", malformed(Fault::BareLf)),
    ("no version", "HEAD /healthz\r\n\r\n", malformed(Fault::RequestLine)),
    ("a version that is none", "HEAD /healthz HTTP/x\r\n\r\n", malformed(Fault::NoVersion)),
    (
        "a target that is none",
        "HEAD healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        malformed(Fault::TargetForm),
    ),
    (
        "two framings",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        malformed(Fault::LengthAndCoding),
    ),
    (
        "another version",
        "HEAD /healthz HTTP/2.0\r\nhost: a\r\n\r\n",
        problem(505, "http_version_not_supported").closes(),
    ),
    (
        "a coding",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        problem(501, "unsupported_transfer_coding").closes(),
    ),
    (
        "an expectation",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\nexpect: a\r\n\r\n",
        problem(417, "expectation_failed").closes(),
    ),
    (
        "content",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        problem(413, "content_too_large").closes(),
    ),
    (
        "chunked content",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        problem(413, "content_too_large").closes(),
    ),
    (
        "a chunk size that is none",
        "HEAD /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        malformed(Fault::ChunkSize),
    ),
    (
        "a path to post to",
        "HEAD /v1/batch HTTP/1.1\r\nhost: a\r\n\r\n",
        problem(405, "method_not_allowed"),
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = WHOLE
        .iter()
        .map(|&(name, bytes, wanted)| Case::new(name, bytes, &[wanted.empty()]))
        .collect();
    let long_target = format!("HEAD /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(2_048));
    let too_long = problem(414, "uri_too_long").closes().empty();
    let too_large = problem(431, "header_fields_too_large").closes().empty();
    let lines = request("HEAD", "/healthz", &"x: a\r\n".repeat(80));
    let endless = request("HEAD", "/healthz", &"x: a\r\n".repeat(2_000));
    cases.extend([
        Case::new("a long target", long_target, &[too_long]),
        Case::new("a line that does not end", format!("HEAD /{}", "a".repeat(3_000)), &[too_long]),
        Case::new("many lines", lines, &[too_large]),
        Case::new("a head that does not end", &endless[..9_000], &[too_large]),
        // Only a refusal of the same request is without content.
        Case::new(
            "a method that begins with HEAD",
            "HEADER /healthz HTTP/2.0\r\nhost: a\r\n\r\n",
            &[problem(505, "http_version_not_supported").closes()],
        ),
        Case::new(
            "a bad GET behind a HEAD",
            request("HEAD", "/healthz", "") + "GET /healthz HTTP/2.0\r\n\r\n",
            &[status(200).empty(), problem(505, "http_version_not_supported").closes()],
        ),
        Case::new(
            "a bad HEAD behind a GET",
            get("/healthz") + "HEAD /healthz HTTP/2.0\r\n\r\n",
            &[OK, problem(505, "http_version_not_supported").closes().empty()],
        ),
    ]);
    cases
}

#[test]
fn an_unfinished_head_request_times_out_without_content() {
    let server = Server::start(&["--request-timeout-ms", "300"]);
    for bytes in ["HEAD /healthz HTTP/1.1\r\nhost: a\r\n", "HEAD /hea", "\r\nHEAD "] {
        let mut client = server.connect();
        client.send(bytes);
        let response = client.head();
        assert_eq!((response.status(), response.header("connection")), (408, Some("close")));
        client.is_closed();
    }
    let mut client = server.connect();
    client.send("GET /hea");
    let response = client.response();
    assert_eq!(response.status(), 408);
    assert!(response.body.contains("request_timeout"), "{response:?}");
    client.is_closed();
    // A body of a HEAD that does not come.
    let mut client = server.connect();
    client.send(request("HEAD", "/healthz", "transfer-encoding: chunked\r\n"));
    assert_eq!(client.head().status(), 408);
    client.is_closed();
}

#[test]
fn head_lines_are_those_of_get() {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 500, 1_700_000_100_000)]);
    for target in [
        "/healthz",
        "/nowhere",
        "/v1/users/42/balance",
        "/v1/users/42/stats?window=lifetime",
        "/v1/users/7/balance",
        "/v1/users/*/balance",
        "/v1/users/42/balance?a=b",
    ] {
        for lines in ["", "if-match: \"v0\"\r\n", "if-none-match: \"v1\"\r\n"] {
            let mut client = server.connect();
            let headers = |response: crate::server::Response| {
                let mut all = response.headers;
                all.retain(|(name, _)| name != "date");
                (response.status_line, all)
            };
            let head = headers(client.ask(request("HEAD", target, lines)));
            let get = headers(client.ask(request("GET", target, lines)));
            assert_eq!(head, get, "{target} {lines}");
        }
    }
}
