//! Persistence and pipelining: who closes when, and that each answer belongs to its request.

use super::case::{
    BATCH, BATCH_OK, Case, NO_VERSION, NOT_FOUND, OK, TOO_LARGE, Wanted, batch_head, malformed,
    problem, status, with_lines,
};
use crate::server::client::{get, request};
use purser::http::NotHttp as Fault;

const CLOSED: Wanted = OK.closes();
const NO_LINE: &[(&str, Option<&str>)] = &[("connection", None)];
const KEPT: Wanted = OK.with(&[("connection", Some("keep-alive"))]);

/// Header lines of a `GET` under HTTP/1.1.
const LINES: &[(&str, &str, Wanted)] = &[
    ("no line", "", OK.with(NO_LINE)),
    ("keep-alive", "connection: keep-alive\r\n", OK.with(NO_LINE)),
    ("close", "connection: close\r\n", CLOSED),
    ("close in upper case", "connection: CLOSE\r\n", CLOSED),
    ("close in a list", "connection: te, close\r\n", CLOSED),
    ("close in a list without spaces", "connection: te,close,x\r\n", CLOSED),
    ("close among empty elements", "connection: , ,close,\r\n", CLOSED),
    ("close on a second line", "connection: te\r\nconnection: close\r\n", CLOSED),
    ("close and keep-alive", "connection: close, keep-alive\r\n", CLOSED),
    ("keep-alive and close", "connection: keep-alive\r\nconnection: close\r\n", CLOSED),
    ("a word that begins with close", "connection: closed\r\n", OK),
    ("two words", "connection: close x\r\n", OK),
    ("an empty line", "connection:\r\n", OK),
    ("another option", "connection: x-hop\r\nx-hop: a\r\n", OK),
    ("proxy-connection", "proxy-connection: close\r\n", OK),
    ("keep-alive parameters", "keep-alive: timeout=5, max=1\r\n", OK),
    (
        "an upgrade to HTTP/2",
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
      http2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        OK,
    ),
    ("an upgrade to a web socket", "connection: upgrade\r\nupgrade: websocket\r\n", OK),
    ("an upgrade and a close", "connection: upgrade, close\r\nupgrade: h2c\r\n", CLOSED),
    ("ranges", "range: bytes=0-0\r\n", OK),
    ("a type that is not served", "accept: image/png\r\n", OK),
    ("a coding that is not served", "accept-encoding: gzip;q=1, *;q=0\r\n", OK),
    ("trailers", "te: trailers\r\nconnection: te\r\ntrailer: x\r\n", OK),
    ("a hop of a proxy", "via: 1.1 a\r\nforwarded: for=b\r\nmax-forwards: 0\r\n", OK),
];

/// Whole conversations.
const WHOLE: &[(&str, &str, &[Wanted])] = &[
    ("HTTP/1.0 closes", "GET /healthz HTTP/1.0\r\n\r\n", &[CLOSED]),
    (
        "HTTP/1.0 with keep-alive stays",
        "GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        &[KEPT],
    ),
    (
        "HTTP/1.0 with keep-alive in a list stays",
        "GET /healthz HTTP/1.0\r\nconnection: x, Keep-Alive\r\n\r\n",
        &[KEPT],
    ),
    (
        "HTTP/1.0 with keep-alive and close closes",
        "GET /healthz HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n",
        &[CLOSED],
    ),
    (
        "HTTP/1.0 twice",
        "GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n\
         GET /healthz HTTP/1.0\r\n\r\n",
        &[KEPT, CLOSED],
    ),
    (
        "nothing is answered after a close",
        "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n\
         GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[CLOSED],
    ),
    (
        "nothing is refused after a close",
        "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n\0\0\0",
        &[CLOSED],
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let mut cases = with_lines(LINES);
    cases.extend(WHOLE.iter().map(|&(name, bytes, wanted)| Case::new(name, bytes, wanted)));
    let batch = batch_head(&format!("content-length: {}\r\n", BATCH.len())) + BATCH;
    let closing =
        batch_head(&format!("connection: close\r\ncontent-length: {}\r\n", BATCH.len())) + BATCH;
    let chunked = format!(
        "{}{:x}\r\n{BATCH}\r\n0\r\n\r\n",
        batch_head("transfer-encoding: chunked\r\n"),
        BATCH.len()
    );
    let (health, unknown) = (get("/healthz"), get("/nowhere"));
    let balance = get("/v1/users/42/balance");
    let read = status(200).with(&[("etag", Some("\"v2\""))]);
    let all = |parts: &[&str]| parts.concat();
    let in_row =
        |name: &str, parts: &[&str], wanted: &[Wanted]| Case::new(name, all(parts), wanted);
    cases.extend([
        in_row("three requests", &[&health, &unknown, &health], &[OK, NOT_FOUND, OK]),
        in_row(
            "reads and posts in turn",
            &[&balance, &batch, &health, &chunked, &balance],
            &[read, BATCH_OK, OK, BATCH_OK, read],
        ),
        in_row(
            "HEAD among others",
            &[&request("HEAD", "/v1/users/42/balance", ""), &batch, &health],
            &[read.empty(), BATCH_OK, OK],
        ),
        in_row(
            "a refusal among others",
            &[&balance, "GET /healthz HTTP/3.0\r\n\r\n", &health],
            &[read, NO_VERSION],
        ),
        in_row(
            "malformed bytes behind a body",
            &[&batch, "}\r\n\r\n", &health],
            &[BATCH_OK, malformed(Fault::Method)],
        ),
        in_row(
            "content of a GET among others",
            &[&health, &request("GET", "/healthz", "content-length: 2\r\n"), "{}", &health],
            &[OK, TOO_LARGE],
        ),
        in_row("a post that closes", &[&health, &closing, &health], &[OK, BATCH_OK.closes()]),
        in_row("empty lines behind a body", &[&batch, "\r\n\r\n", &health], &[BATCH_OK, OK]),
        in_row(
            "an expectation that is not met",
            &[&batch_head("expect: a\r\ncontent-length: 2\r\n"), "{}"],
            &[problem(417, "expectation_failed").closes()],
        ),
    ]);
    cases
}
