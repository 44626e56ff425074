//! Framing of requests, compared with other readers: the comparison of the fuzz target `framing` on
//! its seeds, on the bytes of the conformance tables, and on random streams.

use crate::house::sources::root;
use crate::http_conformance::all_bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use readers::{Found, by_httparse, compare, naive, ours};
use std::fs;

#[path = "fuzz/src/framing.rs"]
mod readers;

const REQUEST_LINES: [&str; 6] = [
    "GET / HTTP/1.1",
    "POST /a HTTP/1.1",
    "HEAD /b HTTP/1.0",
    "OPTIONS * HTTP/1.2",
    "PUT http://a/b HTTP/1.9",
    "\r\nDELETE /c?d HTTP/1.1",
];

/// Header lines; most requests get a host and at most one framing.
const LINES: [&str; 14] = [
    "Host: a",
    "host:a:80",
    "Content-Length: 5",
    "content-length: 5, 5",
    "Content-Length: 0005",
    "content-length:\t0 ",
    "Transfer-Encoding: chunked",
    "transfer-encoding: Chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "x: \u{fc}",
    "Connection: close",
    "x: a\r\n b",
    "x : a",
];

const BODIES: [&str; 9] = [
    "",
    "hello",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "00005 ;a\r\nhello\r\n0;b=\"c\\\"\"\r\n\r\n",
    "1\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\nz:\r\n\r\n",
    "5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "5;a = b ;c\r\nhello\r\n000;d\r\ncontent-length: 3\r\n\r\n",
    "hello5\r\nhello\r\n0\r\n\r\n",
];

/// Bytes that readers take differently.
const BYTES: &[u8] = b"\r\n\t \0:;,=\"\\0159aAfFxX+-_\x0b\x7f\x80\xff/.H";

/// A stream of a few requests.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let request = (select(&REQUEST_LINES[..]), vec(select(&LINES[..]), 0..4), select(&BODIES[..]));
    let request = request.prop_map(|(first, lines, body)| {
        let host = if lines.first() == Some(&"host:a:80") { "" } else { "Host: b\r\n" };
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{first}\r\n{host}{lines}\r\n{body}")
    });
    vec(request, 1..4).prop_map(|requests| requests.concat().into_bytes())
}

/// Inserts, removes or replaces a byte.
fn change(stream: &mut Vec<u8>, (at, byte, how): (usize, u8, u8)) {
    let at = at % (stream.len() + 1);
    match how {
        0 => stream.insert(at, byte),
        1 if at < stream.len() => drop(stream.remove(at)),
        _ if at < stream.len() => stream[at] = byte,
        _ => {}
    }
}

#[test]
fn the_readers_accept_what_is_plain() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (stream, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), ""),
        ("\r\nGET / HTTP/1.0\r\n\r\n".to_owned(), ""),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(), "hello"),
        (format!("{chunked}5\r\nhello\r\n0\r\n\r\n"), "hello"),
        (format!("{chunked}3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nx: y\r\n\r\n"), "hello"),
    ] {
        let (whole, end) = (stream.clone() + "GET", stream.len());
        for reader in [ours, naive, by_httparse] {
            let found = Found::Request { end, body: body.into() };
            assert_eq!(reader(whole.as_bytes()), found, "{stream:?}");
            assert_eq!(reader(&stream.as_bytes()[..end - 1]), Found::Unfinished, "{stream:?}");
        }
        assert_eq!(compare(stream.repeat(3).as_bytes()), 3, "{stream:?}");
    }
}

#[test]
fn on_the_seeds_of_the_fuzzer() {
    let mut count = 0;
    for target in ["framing", "request"] {
        let seeds = fs::read_dir(root().join("tests/fuzz/seeds").join(target));
        for seed in seeds.expect("there are seeds") {
            count += compare(&fs::read(seed.expect("an entry").path()).expect("a seed"));
        }
    }
    assert!(count > 20, "the seeds have requests: {count}");
}

#[test]
fn on_the_conformance_tables() {
    let behind = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = all_bytes();
    let count: usize = cases.iter().map(|bytes| compare(&[bytes, &behind[..]].concat())).sum();
    assert!(count > cases.len(), "the tables have good requests: {count}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_random_streams(
        stream in streams(),
        changes in vec((any::<usize>(), select(BYTES), 0..3_u8), 0..4),
    ) {
        compare(&stream);
        let mut stream = stream;
        for one in changes {
            change(&mut stream, one);
            compare(&stream);
        }
    }
}
