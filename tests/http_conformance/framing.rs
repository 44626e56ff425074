//! Framing of a body: `Content-Length`, `Transfer-Encoding`, both, none. A wrong end would be read
//! as another request (request smuggling).

use super::case::{
    BATCH, BATCH_OK, Case, NO_CODING, OK, TOO_LARGE, Wanted, batch_head, feed_head, malformed,
    problem, status,
};
use crate::server::client::{get, request};
use purser::http::NotHttp as Fault;

/// Values of `Content-Length` of a batch of 48 bytes.
const LENGTHS: &[(&str, Wanted)] = &[
    ("48", BATCH_OK),
    ("048", BATCH_OK),
    ("000000000000000000000000000048", BATCH_OK),
    ("48, 48", BATCH_OK),
    ("48,048 ,48", BATCH_OK),
    (" \t48 \t", BATCH_OK),
    ("48, 47", malformed(Fault::LengthsDiffer)),
    ("48, 480", malformed(Fault::LengthsDiffer)),
    ("48,", malformed(Fault::LengthValue)),
    (",48", malformed(Fault::LengthValue)),
    ("", malformed(Fault::LengthValue)),
    (",", malformed(Fault::LengthValue)),
    ("+48", malformed(Fault::LengthValue)),
    ("-48", malformed(Fault::LengthValue)),
    ("-0", malformed(Fault::LengthValue)),
    ("0x30", malformed(Fault::LengthValue)),
    ("30h", malformed(Fault::LengthValue)),
    ("4_8", malformed(Fault::LengthValue)),
    ("4 8", malformed(Fault::LengthValue)),
    ("48.0", malformed(Fault::LengthValue)),
    ("4.8e1", malformed(Fault::LengthValue)),
    ("48;x", malformed(Fault::LengthValue)),
    ("\"48\"", malformed(Fault::LengthValue)),
    ("forty-eight", malformed(Fault::LengthValue)),
    ("\u{ff14}\u{ff18}", malformed(Fault::LengthValue)),
    ("48\0", malformed(Fault::HeaderValue)),
    ("\x0b48", malformed(Fault::HeaderValue)),
    ("48\r", malformed(Fault::BareCr)),
    ("18446744073709551615", TOO_LARGE),
    ("18446744073709551616", TOO_LARGE),
    ("18446744073709551664", TOO_LARGE),
    ("99999999999999999999999999999999999", TOO_LARGE),
    ("262145", TOO_LARGE),
];

/// Values of `Transfer-Encoding` of a chunked batch.
const CODINGS: &[(&str, Wanted)] = &[
    ("chunked", BATCH_OK),
    ("Chunked", BATCH_OK),
    ("CHUNKED", BATCH_OK),
    ("\tchunked \t", BATCH_OK),
    ("gzip", malformed(Fault::ChunkedNotLast)),
    ("identity", malformed(Fault::ChunkedNotLast)),
    ("xchunked", malformed(Fault::ChunkedNotLast)),
    ("chunkedx", malformed(Fault::ChunkedNotLast)),
    ("chunk", malformed(Fault::ChunkedNotLast)),
    ("chunked, gzip", malformed(Fault::ChunkedNotLast)),
    ("chunked, identity", malformed(Fault::ChunkedNotLast)),
    ("chunked;a=b", malformed(Fault::ChunkedNotLast)),
    ("\"chunked\"", malformed(Fault::ChunkedNotLast)),
    ("chunked chunked", malformed(Fault::ChunkedNotLast)),
    ("chunked\u{a0}", malformed(Fault::ChunkedNotLast)),
    ("gzip, chunked", NO_CODING),
    ("identity, chunked", NO_CODING),
    ("gzip;q=1, chunked", NO_CODING),
    ("deflate,gzip,chunked", NO_CODING),
    ("xchunked, chunked", NO_CODING),
    ("chunked, chunked", malformed(Fault::ChunkedTwice)),
    ("chunked, gzip, chunked", malformed(Fault::ChunkedTwice)),
    ("", malformed(Fault::CodingEmpty)),
    (",", malformed(Fault::CodingEmpty)),
    ("chunked,", malformed(Fault::CodingEmpty)),
    (", chunked", malformed(Fault::CodingEmpty)),
    ("\x0bchunked", malformed(Fault::HeaderValue)),
    ("chunked\0", malformed(Fault::HeaderValue)),
    ("chunked\r", malformed(Fault::BareCr)),
];

/// Header lines of a chunked batch.
const LINES: &[(&str, &str, Wanted)] = &[
    (
        "a length and a coding",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        malformed(Fault::LengthAndCoding),
    ),
    (
        "a coding and a length",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        malformed(Fault::LengthAndCoding),
    ),
    (
        "a coding and a length of 0",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        malformed(Fault::LengthAndCoding),
    ),
    (
        "a coding and a length that is none",
        "transfer-encoding: chunked\r\ncontent-length: x\r\n",
        malformed(Fault::LengthValue),
    ),
    (
        "another coding and a length",
        "transfer-encoding: gzip\r\ncontent-length: 5\r\n",
        malformed(Fault::LengthAndCoding),
    ),
    (
        "chunked on two lines",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        malformed(Fault::ChunkedTwice),
    ),
    (
        "two codings on two lines",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        NO_CODING,
    ),
    (
        "two codings on two lines in the wrong order",
        "transfer-encoding: chunked\r\nx: a\r\ntransfer-encoding: gzip\r\n",
        malformed(Fault::ChunkedNotLast),
    ),
    (
        "an empty coding on a second line",
        "transfer-encoding: chunked\r\ntransfer-encoding:\r\n",
        malformed(Fault::CodingEmpty),
    ),
    (
        "a name with an underscore is another header",
        "transfer_encoding: gzip\r\n\
        transfer-encoding: chunked\r\n",
        BATCH_OK,
    ),
];

/// Requests without a body or with an empty one, and `GET`s with content.
const READS: &[(&str, &str, &str, &[Wanted])] = &[
    ("a length of 0", "content-length: 0\r\n", "", &[OK]),
    ("a length of zeros", "content-length: 000, 0\r\n", "", &[OK]),
    ("an empty chunked body", "transfer-encoding: chunked\r\n", "0\r\n\r\n", &[OK]),
    ("an empty chunked body of zeros", "transfer-encoding: chunked\r\n", "0000\r\n\r\n", &[OK]),
    (
        "an empty chunked body with an extension",
        "transfer-encoding: chunked\r\n",
        "0;a=\"b\"\r\n\r\n",
        &[OK],
    ),
    (
        "an empty chunked body with a trailer",
        "transfer-encoding: chunked\r\n",
        "0\r\nx: a\r\n\r\n",
        &[OK],
    ),
    (
        "an empty chunked body and an expectation",
        "transfer-encoding: chunked\r\nexpect: 100-continue\r\n",
        "0\r\n\r\n",
        &[OK],
    ),
    (
        "an empty chunked body and another request",
        "transfer-encoding: chunked\r\n",
        "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[OK, OK],
    ),
    (
        "three empty chunked bodies",
        "transfer-encoding: chunked\r\n",
        "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
         0\r\nx: a\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
         \r\n0\r\n\r\n",
        &[OK, OK, OK],
    ),
    (
        "an empty chunked body and a close",
        "transfer-encoding: chunked\r\nconnection: close\r\n",
        "0\r\n\r\n",
        &[OK.closes()],
    ),
    ("content", "content-length: 3\r\n", "abc", &[TOO_LARGE]),
    ("chunked content", "transfer-encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n", &[TOO_LARGE]),
    ("a chunk's size", "transfer-encoding: chunked\r\n", "1\r\n", &[TOO_LARGE]),
    (
        "a chunk that is a request",
        "transfer-encoding: chunked\r\n",
        "1c\r\nGET /healthz HTTP/1.1\r\nhost\r\n0\r\n\r\n",
        &[TOO_LARGE],
    ),
    (
        "a chunk size that is none",
        "transfer-encoding: chunked\r\n",
        "x\r\n\r\n",
        &[malformed(Fault::ChunkSize)],
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let chunked = format!("{:x}\r\n{BATCH}\r\n0\r\n\r\n", BATCH.len());
    let mut cases = Vec::new();
    for &(value, wanted) in LENGTHS {
        let bytes = batch_head(&format!("content-length: {value}\r\n")) + BATCH;
        cases.push(Case::new(&format!("content-length {value:?}"), bytes, &[wanted]));
    }
    for &(value, wanted) in CODINGS {
        let bytes = batch_head(&format!("transfer-encoding: {value}\r\n")) + &chunked;
        cases.push(Case::new(&format!("transfer-encoding {value:?}"), bytes, &[wanted]));
    }
    for &(name, lines, wanted) in LINES {
        cases.push(Case::new(name, batch_head(lines) + &chunked, &[wanted]));
    }
    for &(name, lines, body, wanted) in READS {
        let read = |method, target, wanted: &[Wanted]| {
            let bytes = request(method, target, lines) + body;
            Case::new(&format!("{method} {target} with {name}"), bytes, wanted)
        };
        cases.push(read("GET", "/healthz", wanted));
        if let [first, rest @ ..] = wanted {
            let balance = if first.is_ok() { first.any_body() } else { *first };
            let all = [&[balance][..], rest].concat();
            cases.push(read("GET", "/v1/users/42/balance", &all));
            cases.push(read("GET", "/v1/users/42/stats?window=lifetime", &all));
            cases.push(read("HEAD", "/v1/users/42/balance", &[&[balance.empty()], rest].concat()));
        }
    }
    cases.extend(others());
    cases
}

/// Several lengths, HTTP/1.0, bodies without a length, requests behind a body.
fn others() -> Vec<Case> {
    let length = BATCH.len();
    let lengths = |a: usize, b: usize| {
        batch_head(&format!("content-length: {a}\r\nx: a\r\ncontent-length: {b}\r\n")) + BATCH
    };
    let no_length = problem(411, "length_required").closes_or_not();
    let hidden = get("/healthz");
    let hiding = |size: usize| feed_head(&format!("content-length: {size}\r\n")) + &hidden;
    vec![
        Case::new("one length on two lines", lengths(length, length), &[BATCH_OK]),
        Case::new("two lengths", lengths(length, 0), &[malformed(Fault::LengthsDiffer)]),
        Case::new(
            "a coding under HTTP/1.0",
            "POST /v1/batch HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &[malformed(Fault::CodingInHttp10)],
        ),
        Case::new(
            "a coding of a GET under HTTP/1.0",
            "GET /healthz HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            &[malformed(Fault::CodingInHttp10)],
        ),
        Case::new("a POST without a length", batch_head(""), &[no_length]),
        Case::new("a feed without a length", feed_head(""), &[no_length]),
        Case::new(
            "a POST without a length under HTTP/1.0",
            "POST /v1/entries HTTP/1.0\r\ncontent-type: application/x-ndjson\r\n\r\n",
            &[no_length],
        ),
        Case::new("an empty feed", feed_head("content-length: 0\r\n"), &[status(200)]),
        Case::new(
            "an empty chunked feed",
            feed_head("transfer-encoding: chunked\r\n") + "0\r\n\r\n",
            &[status(200)],
        ),
        // The bytes of a body are never a request.
        Case::new("a body that is a request", hiding(hidden.len()), &[status(422)]),
        Case::new(
            "a body that is a request, and a request",
            hiding(hidden.len()) + &hidden,
            &[status(422), OK],
        ),
        Case::new(
            "a chunk that is a request, and a request",
            format!(
                "{}{:x}\r\n{hidden}\r\n0\r\n\r\n{hidden}",
                feed_head("transfer-encoding: chunked\r\n"),
                hidden.len()
            ),
            &[status(422), OK],
        ),
        Case::new(
            "a length one byte short",
            batch_head(&format!("content-length: {}\r\n", length - 1))
                + BATCH
                + " / HTTP/1.1\r\n\r\n",
            &[problem(400, "invalid_json"), malformed(Fault::Method)],
        ),
    ]
}
