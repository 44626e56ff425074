//! The request target: its forms, its bytes, percent-encoded segments, the query.

use super::case::{BAD_USER, Case, NO_METHOD, NOT_FOUND, OK, Wanted, malformed, problem, status};
use crate::server::client::get;
use purser::http::NotHttp as Fault;

const NO_CURRENCY: Wanted = problem(400, "invalid_parameter").field("currency");
const NO_FIELD: Wanted = problem(400, "invalid_parameter");
/// The balance of user 42.
const BALANCE: Wanted = status(200).with(&[("etag", Some("\"v2\""))]);

/// Targets of a `GET`.
const TARGETS: &[(&str, &str, Wanted)] = &[
    // Forms.
    ("origin form", "/healthz", OK),
    ("an empty query", "/healthz?", OK),
    ("absolute form", "http://test/healthz", OK),
    ("absolute form with a port", "http://test:8080/healthz", OK),
    ("absolute form of https", "https://test/healthz", OK),
    ("absolute form with an upper-case scheme", "HTTP://test/healthz", OK),
    ("absolute form with an IPv6 address", "http://[::1]:80/healthz", OK),
    ("absolute form of another host than the header's", "http://elsewhere/healthz", OK),
    ("absolute form without a path", "http://test", NOT_FOUND),
    ("absolute form with a query and no path", "http://test?a", NOT_FOUND),
    ("absolute form without a host", "http:///healthz", malformed(Fault::TargetForm)),
    ("absolute form with a port and no host", "http://:80/healthz", malformed(Fault::TargetForm)),
    ("absolute form with a user", "http://u@test/healthz", malformed(Fault::TargetForm)),
    ("absolute form of another scheme", "ftp://test/healthz", malformed(Fault::TargetForm)),
    ("absolute form with one slash", "http:/healthz", malformed(Fault::TargetForm)),
    ("a path without a slash", "healthz", malformed(Fault::TargetForm)),
    ("a query alone", "?a=b", malformed(Fault::TargetForm)),
    ("authority form of a GET", "test:80", malformed(Fault::TargetForm)),
    ("asterisk form of a GET", "*", malformed(Fault::TargetForm)),
    ("a fragment", "/healthz#top", malformed(Fault::TargetFragment)),
    ("a path of a host", "//test/healthz", NOT_FOUND),
    ("dots in a path", "/v1/../healthz", NOT_FOUND),
    ("a slash behind", "/healthz/", NOT_FOUND),
    // Bytes.
    ("a DEL", "/healthz\x7f", malformed(Fault::TargetByte)),
    ("a NUL", "/heal\0thz", malformed(Fault::TargetByte)),
    ("an escape character", "/heal\x1bthz", malformed(Fault::TargetByte)),
    ("UTF-8", "/h\u{e9}althz", malformed(Fault::TargetByte)),
    // Percent-encoded segments.
    ("an encoded letter of a word", "/%68ealthz", OK),
    ("a whole encoded word", "/%68%65%61%6c%74%68%7A", OK),
    ("an encoded user id", "/v1/users/%34%32/balance", BALANCE),
    ("encoded words around an id", "/%761/%75sers/42/balanc%65", BALANCE),
    ("an encoded slash in an id", "/v1/users/4%2F2/balance", BAD_USER),
    ("an encoded slash for a separator", "/v1/users/42%2Fbalance", NOT_FOUND),
    ("an encoded slash before a word", "/v1%2fusers/42/balance", NOT_FOUND),
    ("an id that is encoded twice", "/v1/users/%2534%2532/balance", BAD_USER),
    ("an encoded zero byte", "/healthz%00", NOT_FOUND),
    ("an encoded zero byte in an id", "/v1/users/42%00/balance", BAD_USER),
    ("an encoded query mark", "/healthz%3F", NOT_FOUND),
    ("bad hex digits in an id", "/v1/users/%zz/balance", BAD_USER),
    ("half an escape in an id", "/v1/users/42%3/balance", BAD_USER),
    ("a percent sign at the end of an id", "/v1/users/42%/balance", BAD_USER),
    ("bad hex digits in a word", "/v1/users/42/bal%zznce", NOT_FOUND),
    ("half an escape in a word", "/healthz%2", NOT_FOUND),
    ("an id that is none", "/v1/users/4 2/balance", malformed(Fault::RequestLine)),
    ("an id with a plus", "/v1/users/+42/balance", BAD_USER),
    ("no id", "/v1/users//balance", BAD_USER),
    ("an id and nothing behind", "/v1/users/42", NOT_FOUND),
    // The query.
    ("a parameter", "/v1/users/42/balance?currency=COIN", BALANCE),
    ("an encoded parameter", "/v1/users/42/balance?%63urrency=%43OIN", BALANCE),
    ("an empty query of a read", "/v1/users/42/balance?", BALANCE),
    ("an empty value", "/v1/users/42/balance?currency=", NO_CURRENCY),
    ("no value", "/v1/users/42/balance?currency", NO_CURRENCY),
    ("a repeated parameter", "/v1/users/42/balance?currency=A1B&currency=A1B", NO_CURRENCY),
    ("half an escape in a value", "/v1/users/42/balance?currency=%4", NO_CURRENCY),
    ("half an escape in a name", "/v1/users/42/balance?%6=1", NO_FIELD),
    ("an empty parameter", "/v1/users/42/balance?currency=COIN&", NO_FIELD),
    (
        "an unknown parameter",
        "/v1/users/42/balance?colour=red",
        problem(400, "invalid_parameter").field("colour"),
    ),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let targets =
        TARGETS.iter().map(|&(name, target, wanted)| Case::new(name, get(target), &[wanted]));
    let whole = [
        Case::new(
            "absolute form without a host line",
            "GET http://test/healthz HTTP/1.1\r\n\r\n",
            &[malformed(Fault::NoHost)],
        ),
        Case::new(
            "absolute form under HTTP/1.0",
            "GET http://test/healthz HTTP/1.0\r\n\r\n",
            &[OK.closes()],
        ),
        Case::new(
            "authority form of a CONNECT",
            "CONNECT test:80 HTTP/1.1\r\nhost: test:80\r\n\r\n",
            &[NO_METHOD],
        ),
    ];
    targets.chain(whole).collect()
}
