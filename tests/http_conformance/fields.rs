//! Header lines: names, values, folding, line ends, `Host`, the limits of the section.

use super::case::{Case, OK, Wanted, malformed, problem, with_lines};
use crate::server::client::request;
use purser::http::NotHttp as Fault;

/// Header lines of a `GET` with a `Host`.
const LINES: &[(&str, &str, Wanted)] = &[
    ("a name and a value", "x: a\r\n", OK),
    ("a name of every token byte", "!#$%&'*+-.^_`|~09aZ: a\r\n", OK),
    ("no space after the colon", "x:a\r\n", OK),
    ("white space around a value", "x: \t a \t \r\n", OK),
    ("a tab inside a value", "x: a\tb\r\n", OK),
    ("an empty value", "x:\r\n", OK),
    ("a value of white space", "x: \t \r\n", OK),
    ("a value with colons", "x: a:b: c\r\n", OK),
    ("a value in UTF-8", "x: \u{fc}\u{20ac}\r\n", OK),
    ("a header sent twice", "x: a\r\nx: b\r\n", OK),
    ("an underscore in a name", "content_length: 5\r\n", OK),
    ("an upper-case name", "X-Y: a\r\n", OK),
    // Names.
    ("a space before the colon", "x : a\r\n", malformed(Fault::SpaceBeforeColon)),
    ("a tab before the colon", "x\t: a\r\n", malformed(Fault::SpaceBeforeColon)),
    (
        "a space before the colon of a length",
        "content-length : 5\r\n",
        malformed(Fault::SpaceBeforeColon),
    ),
    (
        "a space before the colon of a coding",
        "transfer-encoding : chunked\r\n",
        malformed(Fault::SpaceBeforeColon),
    ),
    ("a space in a name", "x y: a\r\n", malformed(Fault::HeaderName)),
    ("no name", ": a\r\n", malformed(Fault::HeaderName)),
    ("no name and no value", ":\r\n", malformed(Fault::HeaderName)),
    ("no colon", "x\r\n", malformed(Fault::NoColon)),
    ("no colon, but a value", "x a\r\n", malformed(Fault::NoColon)),
    ("a bracket in a name", "x(y): a\r\n", malformed(Fault::HeaderName)),
    ("an at sign in a name", "x@y: a\r\n", malformed(Fault::HeaderName)),
    ("a slash in a name", "x/y: a\r\n", malformed(Fault::HeaderName)),
    ("a quoted name", "\"x\": a\r\n", malformed(Fault::HeaderName)),
    ("a NUL in a name", "x\0y: a\r\n", malformed(Fault::HeaderName)),
    ("a NUL before the colon", "x\0: a\r\n", malformed(Fault::HeaderName)),
    ("a vertical tab before the colon", "x\x0b: a\r\n", malformed(Fault::HeaderName)),
    ("a control byte in a name", "x\x01: a\r\n", malformed(Fault::HeaderName)),
    ("a DEL in a name", "x\x7f: a\r\n", malformed(Fault::HeaderName)),
    ("UTF-8 in a name", "\u{fc}: a\r\n", malformed(Fault::HeaderName)),
    ("a request line among the lines", "GET /a HTTP/1.1\r\n", malformed(Fault::NoColon)),
    // Folded lines.
    ("a line folded with a space", "x: a\r\n b\r\n", malformed(Fault::FoldedLine)),
    ("a line folded with a tab", "x: a\r\n\tb\r\n", malformed(Fault::FoldedLine)),
    ("a folded length", "content-length:\r\n 5\r\n", malformed(Fault::FoldedLine)),
    ("a folded coding", "transfer-encoding:\r\n\tchunked\r\n", malformed(Fault::FoldedLine)),
    ("a folded line of white space", "x: a\r\n \r\n", malformed(Fault::FoldedLine)),
    // Values.
    ("a NUL in a value", "x: a\0b\r\n", malformed(Fault::HeaderValue)),
    ("a NUL for a value", "x: \0\r\n", malformed(Fault::HeaderValue)),
    ("a DEL in a value", "x: a\x7f\r\n", malformed(Fault::HeaderValue)),
    ("an escape character in a value", "x: \x1b[2J\r\n", malformed(Fault::HeaderValue)),
    ("a backspace in a value", "x: \x08\r\n", malformed(Fault::HeaderValue)),
    ("a form feed before a value", "x:\x0ca\r\n", malformed(Fault::HeaderValue)),
    ("a bare CR in a value", "x: a\rb\r\n", malformed(Fault::BareCr)),
    ("a bare CR for a line end", "x: a\ry: b\r\n", malformed(Fault::BareCr)),
    ("a bare CR before a value", "x:\ra\r\n", malformed(Fault::BareCr)),
    ("two CRs at a line end", "x: a\r\r\n", malformed(Fault::BareCr)),
    ("a bare LF for a line end", "x: a\ny: b\r\n", malformed(Fault::BareLf)),
    ("a bare LF in a name", "x\ny: b\r\n", malformed(Fault::BareLf)),
    ("a bare LF before a value", "x:\na\r\n", malformed(Fault::BareLf)),
    ("an empty line of a bare LF", "x: a\r\n\n", malformed(Fault::BareLf)),
    ("an LF and a CR for a line end", "x: a\n\r", malformed(Fault::BareLf)),
    ("a bare CR at the start of a line", "\rx: a\r\n", malformed(Fault::BareCr)),
    // Other headers.
    (
        "a repeated content-type",
        "content-type: text/plain\r\ncontent-type: text/plain\r\n",
        malformed(Fault::ContentTypeRepeated),
    ),
    ("a second host", "host: test\r\n", malformed(Fault::HostRepeated)),
    ("a second host in other letters", "HOST: other\r\n", malformed(Fault::HostRepeated)),
];

/// Values of `Host`, the only header.
const HOSTS: &[(&str, Wanted)] = &[
    ("a", OK),
    ("", OK),
    ("a:80", OK),
    ("a:", OK),
    ("A-b_c.~9", OK),
    ("127.0.0.1:8080", OK),
    ("[::1]:80", OK),
    ("[v1.x]", OK),
    ("a%41", OK),
    ("a b", malformed(Fault::HostValue)),
    ("a, b", malformed(Fault::HostValue)),
    ("a:b", malformed(Fault::HostValue)),
    ("a:80:80", malformed(Fault::HostValue)),
    ("a:-1", malformed(Fault::HostValue)),
    ("a/b", malformed(Fault::HostValue)),
    ("a?b", malformed(Fault::HostValue)),
    ("a#b", malformed(Fault::HostValue)),
    ("u@a", malformed(Fault::HostValue)),
    ("http://a", malformed(Fault::HostValue)),
    ("[::1", malformed(Fault::HostValue)),
    ("::1", malformed(Fault::HostValue)),
    ("[]", malformed(Fault::HostValue)),
    ("a\\b", malformed(Fault::HostValue)),
    ("a%4", malformed(Fault::HostValue)),
    ("\u{fc}", malformed(Fault::HostValue)),
];

/// Whole requests.
const WHOLE: &[(&str, &str, Wanted)] = &[
    ("no host", "GET /healthz HTTP/1.1\r\n\r\n", malformed(Fault::NoHost)),
    ("no host among others", "GET /healthz HTTP/1.1\r\nx: a\r\n\r\n", malformed(Fault::NoHost)),
    ("no host under HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", OK.closes()),
    (
        "two hosts under HTTP/1.0",
        "GET /healthz HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n",
        malformed(Fault::HostRepeated),
    ),
    (
        "a space before the first line",
        "GET /healthz HTTP/1.1\r\n host: a\r\n\r\n",
        malformed(Fault::FoldedLine),
    ),
    (
        "a space before the colon of the host",
        "GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n",
        malformed(Fault::SpaceBeforeColon),
    ),
    ("a folded host", "GET /healthz HTTP/1.1\r\nhost:\r\n a\r\n\r\n", malformed(Fault::FoldedLine)),
    (
        "a head that ends in a bare LF",
        "GET /healthz HTTP/1.1\r\nhost: a\n\n",
        malformed(Fault::BareLf),
    ),
    (
        "a head whose empty line is a bare LF",
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\n",
        malformed(Fault::BareLf),
    ),
];

/// A `GET` with one long line, so that the whole head has `bytes`.
fn long_head(bytes: usize) -> String {
    let rest = request("GET", "/healthz", "x: \r\n").len();
    request("GET", "/healthz", &format!("x: {}\r\n", "a".repeat(bytes - rest)))
}

/// The table.
pub fn cases() -> Vec<Case> {
    let mut cases = with_lines(LINES);
    cases.extend(HOSTS.iter().map(|&(host, wanted)| {
        let bytes = format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Case::new(&format!("host {host:?}"), bytes, &[wanted])
    }));
    cases.extend(WHOLE.iter().map(|&(name, bytes, wanted)| Case::new(name, bytes, &[wanted])));
    let too_large = problem(431, "header_fields_too_large").closes();
    let lines = |count: usize| request("GET", "/healthz", &"x: a\r\n".repeat(count - 1));
    let endless = request("GET", "/healthz", &"x: a\r\n".repeat(2_000));
    cases.extend([
        Case::new("a head of 8 KiB", long_head(8_192), &[OK]),
        Case::new("a longer head", long_head(8_193), &[too_large]),
        Case::new("a head that does not end", &endless[..9_000], &[too_large]),
        Case::new("64 header lines", lines(64), &[OK]),
        Case::new("65 header lines", lines(65), &[too_large]),
        Case::new(
            "a value in Latin-1",
            b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: \xe9\xff\x80\r\n\r\n",
            &[OK],
        ),
        Case::new(
            "a name in Latin-1",
            b"GET /healthz HTTP/1.1\r\nhost: a\r\n\xe9: a\r\n\r\n",
            &[malformed(Fault::HeaderName)],
        ),
    ]);
    cases
}
