//! The request line: spaces, versions, line ends, empty lines before it.

use super::case::{Case, NO_METHOD, NO_VERSION, OK, Wanted, malformed, problem};
use purser::http::NotHttp as Fault;

/// Request lines, each sent with a `Host` line behind it.
const LINES: &[(&str, &str, Wanted)] = &[
    ("a plain line", "GET /healthz HTTP/1.1", OK),
    ("HTTP/1.2", "GET /healthz HTTP/1.2", OK),
    ("HTTP/1.9", "GET /healthz HTTP/1.9", OK),
    ("HTTP/0.9 with its name", "GET /healthz HTTP/0.9", NO_VERSION),
    ("HTTP/0.0", "GET /healthz HTTP/0.0", NO_VERSION),
    ("HTTP/2.0", "GET /healthz HTTP/2.0", NO_VERSION),
    ("HTTP/3.1", "GET /healthz HTTP/3.1", NO_VERSION),
    ("HTTP/9.9", "GET /healthz HTTP/9.9", NO_VERSION),
    ("the preface of HTTP/2", "PRI * HTTP/2.0", NO_VERSION),
    ("no version", "GET /healthz", malformed(Fault::RequestLine)),
    ("a space and no version", "GET /healthz ", malformed(Fault::NoVersion)),
    ("a method alone", "GET", malformed(Fault::RequestLine)),
    ("a lower-case protocol", "GET /healthz http/1.1", malformed(Fault::NoVersion)),
    ("a protocol in mixed case", "GET /healthz Http/1.1", malformed(Fault::NoVersion)),
    ("a misspelt protocol", "GET /healthz HTPT/1.1", malformed(Fault::NoVersion)),
    ("another protocol", "GET /healthz ICE/1.1", malformed(Fault::NoVersion)),
    ("a protocol with letters behind", "GET /healthz XHTTP/1.1", malformed(Fault::NoVersion)),
    ("a version without a minor digit", "GET /healthz HTTP/1", malformed(Fault::NoVersion)),
    ("a version without digits", "GET /healthz HTTP/", malformed(Fault::NoVersion)),
    ("a minor version of two digits", "GET /healthz HTTP/1.10", malformed(Fault::NoVersion)),
    ("a major version of two digits", "GET /healthz HTTP/11.1", malformed(Fault::NoVersion)),
    ("a version with a leading zero", "GET /healthz HTTP/01.1", malformed(Fault::NoVersion)),
    ("a version with a comma", "GET /healthz HTTP/1,1", malformed(Fault::NoVersion)),
    ("a version with a space inside", "GET /healthz HTTP/ 1.1", malformed(Fault::RequestLine)),
    ("a version with a sign", "GET /healthz HTTP/+1.1", malformed(Fault::NoVersion)),
    ("a version with a letter behind", "GET /healthz HTTP/1.1x", malformed(Fault::NoVersion)),
    ("a version with a letter inside", "GET /healthz HTTP/1.a", malformed(Fault::NoVersion)),
    ("three words and a version", "GET /healthz x HTTP/1.1", malformed(Fault::RequestLine)),
    ("two versions", "GET /healthz HTTP/1.1 HTTP/1.1", malformed(Fault::RequestLine)),
    ("a space after the version", "GET /healthz HTTP/1.1 ", malformed(Fault::RequestLine)),
    ("a tab after the version", "GET /healthz HTTP/1.1\t", malformed(Fault::NoVersion)),
    ("two spaces before the target", "GET  /healthz HTTP/1.1", malformed(Fault::RequestLine)),
    ("two spaces before the version", "GET /healthz  HTTP/1.1", malformed(Fault::RequestLine)),
    ("a tab before the target", "GET\t/healthz HTTP/1.1", malformed(Fault::Method)),
    ("a tab before the version", "GET /healthz\tHTTP/1.1", malformed(Fault::RequestLine)),
    ("a form feed before the target", "GET\x0c/healthz HTTP/1.1", malformed(Fault::Method)),
    ("a space before the method", " GET /healthz HTTP/1.1", malformed(Fault::RequestLine)),
    ("no method", "/healthz HTTP/1.1", malformed(Fault::Method)),
    ("a colon in the method", "GE:T /healthz HTTP/1.1", malformed(Fault::Method)),
    ("a quote in the method", "\"GET\" /healthz HTTP/1.1", malformed(Fault::Method)),
    ("a bracket in the method", "GET( /healthz HTTP/1.1", malformed(Fault::Method)),
    ("a NUL in the method", "G\0ET /healthz HTTP/1.1", malformed(Fault::Method)),
    ("an empty line of spaces", "  ", malformed(Fault::RequestLine)),
    ("a status line", "HTTP/1.1 200 OK", malformed(Fault::Method)),
    ("a method of every token byte", "!#$%&'*+-.^_`|~09aZ /healthz HTTP/1.1", NO_METHOD),
];

/// Whole requests.
const WHOLE: &[(&str, &str, &[Wanted])] = &[
    ("one empty line first", "\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", &[OK]),
    ("two empty lines first", "\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", &[OK]),
    (
        "three empty lines first",
        "\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[malformed(Fault::EmptyLines)],
    ),
    (
        "empty lines between requests",
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[OK, OK],
    ),
    ("a bare LF first", "\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", &[malformed(Fault::BareLf)]),
    ("a bare CR first", "\rGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", &[malformed(Fault::BareCr)]),
    (
        "a bare LF after the line",
        "GET /healthz HTTP/1.1\nhost: a\r\n\r\n",
        &[malformed(Fault::BareLf)],
    ),
    (
        "a bare CR after the line",
        "GET /healthz HTTP/1.1\rhost: a\r\n\r\n",
        &[malformed(Fault::BareCr)],
    ),
    (
        "two CRs after the line",
        "GET /healthz HTTP/1.1\r\r\nhost: a\r\n\r\n",
        &[malformed(Fault::BareCr)],
    ),
    (
        "a bare CR in the target",
        "GET /heal\rthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[malformed(Fault::BareCr)],
    ),
    ("HTTP/0.9 without its name", "GET /healthz\r\n\r\n", &[malformed(Fault::RequestLine)]),
    ("the first bytes of TLS", "\x16\x03\x01\x02\0\x01\0\r\n\r\n", &[malformed(Fault::Method)]),
    ("HTTP/1.2 without a host", "GET /healthz HTTP/1.2\r\n\r\n", &[malformed(Fault::NoHost)]),
    (
        "HTTP/1.2 stays open like 1.1",
        "GET /healthz HTTP/1.2\r\nhost: a\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\n\r\n",
        &[OK, OK],
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let lines = LINES.iter().map(|&(name, line, wanted)| {
        Case::new(name, format!("{line}\r\nhost: a\r\n\r\n"), &[wanted])
    });
    let whole = WHOLE.iter().map(|&(name, bytes, wanted)| Case::new(name, bytes, wanted));
    let too_long = problem(414, "uri_too_long").closes();
    let long = |bytes: usize, end: &str| format!("GET /{}{end}", "a".repeat(bytes - 1));
    let line_end = " HTTP/1.1\r\nhost: a\r\n\r\n";
    let lengths = [
        Case::new("a target of 2 KiB", long(2_048, line_end), &[problem(404, "not_found")]),
        Case::new("a longer target", long(2_049, line_end), &[too_long]),
        Case::new("a line that does not end", long(3_000, ""), &[too_long]),
        Case::new("a method that does not end", "G".repeat(3_000), &[NO_METHOD]),
    ];
    lines.chain(whole).chain(lengths).collect()
}
