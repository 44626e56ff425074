//! Methods, escapes in paths, conditions, the order of refusals, and blank lines of a feed.

use super::{Checker, T};
use crate::server::client::{feed, get, request};
use crate::server::expected::{
    self, CLOSE, NDJSON, NO_CACHE, POSTS, READS, balance, duplicate, fed, feed_answer, json,
    no_content, problem, rejected,
};
use crate::server::{Server, credit};
use purser::api::problem::Code;
use purser::http::NotHttp;

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    methods,
    requests_that_are_malformed,
    the_first_refusal_in_order_decides,
    escapes_in_paths,
    reads_if_the_version_matches,
    blank_lines,
]);

/// Which methods are known, and which of them each path takes.
fn methods() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let chunked = "transfer-encoding: chunked\r\n";
    for (target, allow) in [
        ("/v1/users/42/balance", READS),
        ("/v1/users/x/stats?x", READS),
        ("/v1/users/%/st%61ts", READS),
        ("/healthz", READS),
        ("/readyz", READS),
        ("/v1/info", READS),
        ("/v1/entries", POSTS),
        ("/v1/b%61tch?x", POSTS),
    ] {
        for lines in ["", "content-length: 0\r\n"] {
            c.check(request("OPTIONS", target, lines), &no_content(allow));
        }
        c.check(request("OPTIONS", target, chunked) + "0\r\n\r\n", &no_content(allow));
        c.check(
            request("OPTIONS", target, "content-length: 1\r\n") + "x",
            &problem("content_too_large", "", CLOSE),
        );
        for method in ["PUT", "DELETE", "PATCH", "TRACE"] {
            c.check(request(method, target, ""), &problem("method_not_allowed", "", allow));
        }
        let other = if allow == READS { "POST" } else { "GET" };
        c.check(request(other, target, ""), &problem("method_not_allowed", "", allow));
        for method in ["BREW", "get", "Options", "CONNECT"] {
            c.check(request(method, target, ""), &problem("method_not_implemented", "", ""));
        }
    }
    let all = "allow: GET, HEAD, POST, OPTIONS\r\n";
    c.check(request("OPTIONS", "*", ""), &no_content(all));
    c.check(request("OPTIONS", "*", chunked) + "0\r\n\r\n", &no_content(all));
    c.check(request("CONNECT", "test:443", ""), &problem("method_not_implemented", "", ""));
    for method in ["GET", "POST", "OPTIONS", "DELETE"] {
        c.check(request(method, "/nowhere", ""), &problem("not_found", "", ""));
    }
}

/// A request for each reason of `malformed_request`, in the order of their table.
fn requests_that_are_malformed() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let line = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    let field = |field: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n");
    let chunked = |body: &str| {
        let head = "POST /v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson";
        format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    let requests = [
        "\r\n\r\n\r\nGET".to_owned(),
        "GET / HTTP/1.1\nhost: a\n\n".to_owned(),
        field("a: b\rc: d"),
        line("GET /a b HTTP/1.1"),
        line("G(T / HTTP/1.1"),
        line("GET /\u{e9} HTTP/1.1"),
        line("GET /#a HTTP/1.1"),
        line("GET a HTTP/1.1"),
        line("GET / HTTP/one"),
        field("a: b\r\n c"),
        field("a"),
        field("a : b"),
        field("(a): b"),
        field("a: \0"),
        "GET / HTTP/1.2\r\n\r\n".to_owned(),
        field("host: a"),
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned(),
        field("content-type: a\r\ncontent-type: a"),
        field("content-length: 0x1"),
        field("content-length: 1, 2"),
        field("content-length: 1\r\ntransfer-encoding: chunked"),
        "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        field("transfer-encoding: chunked,"),
        field("transfer-encoding: chunked, chunked"),
        field("transfer-encoding: chunked, gzip"),
        chunked("0x1\r\n"),
        chunked("1 \r\n"),
        chunked("1;a=\r\n"),
        chunked(&format!("1;{}", "a".repeat(255))),
        chunked("1\r\nab\r\n"),
        chunked("0\r\na b: c\r\n"),
        chunked("0\r\na: \0\r\n"),
    ];
    assert_eq!(requests.len(), expected::MALFORMED_REQUEST.len());
    for ((reason, _), request) in expected::MALFORMED_REQUEST.into_iter().zip(&requests) {
        c.check(request, &problem(&format!("malformed_request: {reason}"), "", CLOSE));
        // The refusal of a HEAD request has no content.
        if let Some(rest) = request.strip_prefix("GET /") {
            let shown = problem(&format!("malformed_request: {reason}"), "", CLOSE);
            let head = &shown[..shown.find('{').expect("a body")];
            c.check(format!("HEAD /{rest}"), head);
        }
    }
    let all = Code::ALL.iter().filter(|code| code.name() == "malformed_request");
    // Two readers of a head have never differed.
    let all = all.filter(|&&code| code != Code::MalformedRequest(NotHttp::Ambiguous));
    let details: Vec<_> = all.map(|code| code.detail()).collect();
    assert_eq!(details, expected::MALFORMED_REQUEST.map(|(_, detail)| detail));
}

/// Each request could be refused for several reasons.
fn the_first_refusal_in_order_decides() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let large = "content-length: 99999999\r\n";
    let gzip = "content-encoding: gzip\r\n";
    let ndjson = "content-type: application/x-ndjson\r\n";
    let close = |lines: &str| format!("{lines}{CLOSE}");
    for (method, target, lines, wanted) in [
        ("BREW", "/nowhere", large, problem("method_not_implemented", "", CLOSE)),
        ("PATCH", "/nowhere?x", large, problem("not_found", "", CLOSE)),
        ("PUT", "/v1/users/x/stats?x", "", problem("method_not_allowed", "", READS)),
        ("GET", "/v1/entries?x", "", problem("method_not_allowed", "", POSTS)),
        ("GET", "/v1/users/*/stats?x", large, problem("invalid_parameter", "user_id", CLOSE)),
        ("GET", "/v1/users/1/stats?x", large, problem("invalid_parameter", "x", CLOSE)),
        ("POST", "/v1/entries?x", gzip, problem("invalid_parameter", "x", "")),
        ("POST", "/v1/entries", gzip, problem("unsupported_media_type", "content-type", NDJSON)),
        (
            "POST",
            "/v1/entries",
            &format!("{ndjson}{gzip}{large}"),
            problem(
                "unsupported_media_type",
                "content-encoding",
                &close("accept-encoding: identity\r\n"),
            ),
        ),
        ("POST", "/v1/entries", ndjson, problem("length_required", "", "")),
        (
            "POST",
            "/v1/entries",
            &format!("{ndjson}{large}"),
            problem("content_too_large", "", CLOSE),
        ),
        ("GET", "/v1/users/7/balance", large, problem("content_too_large", "", CLOSE)),
    ] {
        c.check(request(method, target, lines), &wanted);
    }
}

/// A path is split into segments before its escapes are decoded.
fn escapes_in_paths() {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 5, T)]);
    let mut c = Checker::new(&server);
    for target in ["/v1/users/%34%32/balance", "/%76%31/u%73ers/4%32/b%61l%61nc%65?"] {
        c.check(get(target), &balance(42, 1, T, 5));
    }
    c.check(get("/%68ealthz"), &expected::text("ok"));
    for target in [
        "/v1/users/42%2Fbalance",
        "/v1%2fusers/42/balance",
        "/v1/users/42/balance%2F",
        "/v1/users/42/%2562alance",
        "/v1/users/42/balance%",
        "/v1/%zz/42/balance",
        "/%",
    ] {
        c.check(get(target), &problem("not_found", "", ""));
    }
}

/// `if-match` is judged before `if-none-match`, by strong comparison.
fn reads_if_the_version_matches() {
    let server = Server::start(&[]);
    server.feed(&[credit(1, 42, 5, T)]);
    let mut c = Checker::new(&server);
    let bare = |full: String| full[..full.find("\r\n\r\n").expect("a head") + 4].to_owned();
    let target = "/v1/users/42/balance";
    for value in ["\"v1\"", "*", "\"v0\", \"v1\"", "W/\"v1\",\"v1\"", ",, \"v1\" , x"] {
        let lines = format!("if-match: {value}\r\n");
        c.check(request("GET", target, &lines), &balance(42, 1, T, 5));
        c.check(request("HEAD", target, &lines), &bare(balance(42, 1, T, 5)));
        c.check(
            request("GET", target, &format!("if-none-match: *\r\n{lines}")),
            &format!("HTTP/1.1 304 Not Modified\r\ndate: D\r\n{NO_CACHE}etag: \"v1\"\r\n\r\n"),
        );
    }
    let changed = || problem("version_changed", "", "");
    for value in [
        "\"v0\"",
        "W/\"v1\"",
        "v1",
        "\"v11\"",
        "*, \"v1\"",
        "x, \"v1\"",
        "\"v0\" \"v1\"",
        "\"v1\"x",
        ",",
        "",
    ] {
        let lines = format!("if-match: {value}\r\n");
        c.check(request("GET", target, &lines), &changed());
        c.check(request("HEAD", target, &lines), &bare(changed()));
        c.check(request("GET", target, &format!("if-none-match: *\r\n{lines}")), &changed());
    }
    let two = "if-match: \"v9\"\r\naccept: */*\r\nIf-Match: \"v1\"\r\n";
    c.check(request("GET", target, two), &balance(42, 1, T, 5));
    let stats = "/v1/users/42/stats?window=lifetime";
    let answer = server.ask(get(stats)).shown();
    c.check(request("GET", stats, "if-match: *\r\n"), &answer);
    c.check(request("GET", stats, "if-match: \"v1\"\r\n"), &changed());
    for value in ["*", "\"v1\""] {
        c.check(
            request("GET", "/v1/users/7/balance", &format!("if-match: {value}\r\n")),
            &problem("user_not_found", "", ""),
        );
        c.check(
            request("GET", "/healthz", &format!("if-match: {value}\r\n")),
            &expected::text("ok"),
        );
    }
}

/// Lines of only spaces, tabs and carriage returns are skipped and not counted.
fn blank_lines() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    for body in ["\n\n", "\r\n", " ", "\t\n \r", &" ".repeat(70_000), &"\n".repeat(20_000)] {
        c.check(feed(body), &json("", &fed(0, 0, &[])));
    }
    let entry = credit(1, 1, 1, T);
    let body = format!("\n{entry}\n \n\t\r\n{entry}\n\n\x0c\n\r");
    let results = [duplicate(1, "1"), rejected(2, "", "invalid_json: no object", "")];
    c.check(feed(body), &feed_answer(1, 1, &results));
    let full = format!("\n{entry}\n \r").repeat(10_000);
    let again: Vec<_> = (0..10_000).map(|index| duplicate(index, "1")).collect();
    c.check(feed(&full), &json("", &fed(0, 10_000, &again)));
    c.check(feed(full + "\n" + &entry), &problem("too_many_items", "", ""));
}
