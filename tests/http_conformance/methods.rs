//! Methods: known ones that a path takes or does not take, unknown ones, `OPTIONS`.

use super::case::{Case, NO_METHOD, NOT_FOUND, TOO_LARGE, Wanted, problem, status};
use crate::server::client::request;

const READS: &[(&str, Option<&str>)] = &[("allow", Some("GET, HEAD, OPTIONS"))];
const POSTS: &[(&str, Option<&str>)] = &[("allow", Some("POST, OPTIONS"))];
const ALL: &[(&str, Option<&str>)] = &[("allow", Some("GET, HEAD, POST, OPTIONS"))];
const NO_READ: Wanted = problem(405, "method_not_allowed").with(READS);
const NO_POST: Wanted = problem(405, "method_not_allowed").with(POSTS);
const OPTIONS: Wanted = status(204).empty();

/// Paths that are read and paths that are posted to.
const READ_PATHS: [&str; 5] = [
    "/healthz",
    "/readyz",
    "/v1/info",
    "/v1/users/42/balance",
    "/v1/users/42/stats?window=lifetime",
];
const POST_PATHS: [&str; 2] = ["/v1/entries", "/v1/batch"];

/// Requests without a body: method, target, answer.
const REQUESTS: &[(&str, &str, Wanted)] = &[
    ("CONNECT", "test:80", NO_METHOD),
    ("get", "/healthz", NO_METHOD),
    ("Get", "/healthz", NO_METHOD),
    ("GETT", "/healthz", NO_METHOD),
    ("GE", "/healthz", NO_METHOD),
    ("QUERY", "/healthz", NO_METHOD),
    ("PROPFIND", "/healthz", NO_METHOD),
    ("M-SEARCH", "/healthz", NO_METHOD),
    ("BREW", "/nowhere", NO_METHOD),
    ("GET", "/nowhere", NOT_FOUND),
    ("HEAD", "/nowhere", NOT_FOUND.empty()),
    ("POST", "/nowhere", NOT_FOUND),
    ("PUT", "/nowhere", NOT_FOUND),
    ("DELETE", "/nowhere", NOT_FOUND),
    ("PATCH", "/nowhere", NOT_FOUND),
    ("TRACE", "/nowhere", NOT_FOUND),
    ("OPTIONS", "/nowhere", NOT_FOUND),
    ("OPTIONS", "/", NOT_FOUND),
    ("OPTIONS", "*", OPTIONS.with(ALL)),
    // `OPTIONS` looks at neither the user nor the query.
    ("OPTIONS", "/v1/users/none/balance?a=b", OPTIONS.with(READS)),
    ("OPTIONS", "/v1/entries?a=b", OPTIONS.with(POSTS)),
];

/// The table.
pub fn cases() -> Vec<Case> {
    let case = |method: &str, target: &str, wanted| {
        Case::new(&format!("{method} {target}"), request(method, target, ""), &[wanted])
    };
    let mut cases: Vec<_> =
        REQUESTS.iter().map(|&(method, target, wanted)| case(method, target, wanted)).collect();
    for path in READ_PATHS {
        cases.push(case("GET", path, status(200)));
        cases.push(case("HEAD", path, status(200).empty()));
        cases.push(case("OPTIONS", path, OPTIONS.with(READS)));
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            cases.push(case(method, path, NO_READ));
        }
    }
    for path in POST_PATHS {
        cases.push(case("OPTIONS", path, OPTIONS.with(POSTS)));
        cases.push(case("HEAD", path, NO_POST.empty()));
        for method in ["GET", "PUT", "DELETE", "PATCH", "TRACE"] {
            cases.push(case(method, path, NO_POST));
        }
    }
    let with_body = |name: &str, line: &str, body: &str, wanted| {
        Case::new(name, request("OPTIONS", "*", line) + body, &[wanted])
    };
    cases.extend([
        with_body("OPTIONS with an empty body", "content-length: 0\r\n", "", OPTIONS.with(ALL)),
        with_body(
            "OPTIONS with an empty chunked body",
            "transfer-encoding: chunked\r\n",
            "0\r\n\r\n",
            OPTIONS.with(ALL),
        ),
        with_body("OPTIONS with content", "content-length: 2\r\n", "{}", TOO_LARGE),
        with_body(
            "OPTIONS with chunked content",
            "transfer-encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
            TOO_LARGE,
        ),
        Case::new(
            "OPTIONS under HTTP/1.0",
            "OPTIONS * HTTP/1.0\r\n\r\n",
            &[OPTIONS.with(ALL).closes()],
        ),
    ]);
    cases
}
