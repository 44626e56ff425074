//! Past balances: `balance?at_ms`, alone and in batches.

use super::{Checker, T};
use crate::server::client::{batch, get, post, request};
use crate::server::expected::{json, problem, read};
use crate::server::{Server, credit, entries};

on_slices!([one = 1, two = 2, three = 3] [
    edges,
    forms_of_the_request,
    beyond_64_bits,
]);

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The latest booking time: a full day.
const N: u64 = T - T % DAY;

fn feed_late(server: &Server, lines: &[String]) {
    let body = entries(lines);
    let answer = server.ask(post("/v1/entries?late=accept", "application/x-ndjson", body));
    assert_eq!(answer.status(), 200, "{}", answer.body);
}

/// Entries of user 1 in every grain, each of another bit, and one in another currency.
fn fed() -> Server {
    let server = Server::start(&[]);
    let times =
        [N, N - 1, N - 26 * HOUR, N - 27 * HOUR, N - 9 * DAY, N - 400 * DAY, N - 401 * DAY, 0];
    let mut lines: Vec<_> = (0..).zip(times).map(|(n, at)| credit(n, 1, 1 << n, at)).collect();
    lines.push(credit(8, 1, 3, N - DAY).replace("COIN", "EUR").replace("credit", "debit"));
    lines.push(credit(9, 1, 7, N - DAY).replace('}', r#","state":"pending"}"#));
    feed_late(&server, &lines);
    server
}

fn body(at: u64, coin: i128, euro: i128) -> String {
    format!(
        "{{\"user_id\":\"1\",\"version\":10,\"as_of_ms\":{N},\"at_ms\":{at},\"balances\":[\
         {{\"currency\":\"COIN\",\"posted\":{coin}}},{{\"currency\":\"EUR\",\"posted\":{euro}}}]}}"
    )
}

/// The balance is that before the first edge of the grain at the time asked for, and not before the
/// days that are kept.
fn edges() {
    let server = fed();
    let mut c = Checker::new(&server);
    for (at, instant, coin, euro) in [
        (N + 400 * DAY, N + 400 * DAY, 255, -3),
        (N + 1, N + 15 * MINUTE, 255, -3),
        (N, N, 254, -3),
        (N - 1, N, 254, -3),
        (N - 15 * MINUTE, N - 15 * MINUTE, 252, -3),
        (N - DAY, N - DAY, 252, 0),
        // 15 minutes from N − 26 h on, then hours.
        (N - 26 * HOUR, N - 26 * HOUR, 248, 0),
        (N - 26 * HOUR - 1, N - 26 * HOUR, 248, 0),
        (N - 27 * HOUR, N - 27 * HOUR, 240, 0),
        (N - 28 * HOUR + 1, N - 27 * HOUR, 240, 0),
        // Days.
        (N - 8 * DAY - 1, N - 8 * DAY, 240, 0),
        (N - 8 * DAY - HOUR, N - 8 * DAY, 240, 0),
        (N - 9 * DAY, N - 9 * DAY, 224, 0),
        (N - 400 * DAY, N - 400 * DAY, 192, 0),
        (N - 400 * DAY + 1, N - 399 * DAY, 224, 0),
        // Nothing before it is kept but the sum.
        (N - 401 * DAY, N - 400 * DAY, 192, 0),
        (0, N - 400 * DAY, 192, 0),
    ] {
        let target = format!("/v1/users/1/balance?at_ms={at}");
        c.check(get(&target), &read("etag: \"v10\"\r\n", &body(instant, coin, euro)));
    }
}

/// Filters, conditions, `HEAD`, batches, and refusals.
fn forms_of_the_request() {
    let server = fed();
    let mut c = Checker::new(&server);
    let etag = "etag: \"v10\"\r\n";
    let only = |list: &str| {
        format!(
            "{{\"user_id\":\"1\",\"version\":10,\"as_of_ms\":{N},\"at_ms\":{N},\
             \"balances\":[{list}]}}"
        )
    };
    let euro = only(r#"{"currency":"EUR","posted":-3}"#);
    let target = format!("/v1/users/1/balance?at_ms={N}");
    c.check(get(&format!("{target}&currency=EUR")), &read(etag, &euro));
    c.check(get(&format!("/v1/users/1/balance?currency=EUR&at_ms={N}")), &read(etag, &euro));
    c.check(get(&format!("{target}&currency=XXX")), &read(etag, &only("")));
    c.check(get(&format!("/v1/users/2/balance?at_ms={N}")), &problem("user_not_found", "", ""));
    let not_modified = request("GET", &target, "if-none-match: \"v10\"\r\n");
    let answer = server.ask(not_modified);
    assert_eq!((answer.status(), answer.header("etag")), (304, Some("\"v10\"")));
    let changed = request("GET", &target, "if-match: \"v9\"\r\n");
    c.check(changed, &problem("version_changed", "", ""));
    let mut client = server.connect();
    client.send(request("HEAD", &target, ""));
    let head = client.head();
    let length = body(N, 254, -3).len().to_string();
    assert_eq!((head.status(), head.header("content-length")), (200, Some(&*length)));
    for (query, field) in [
        ("at_ms=", "at_ms"),
        ("at_ms=-1", "at_ms"),
        ("at_ms=01", "at_ms"),
        ("at_ms=253402300800000", "at_ms"),
        ("at_ms=1&at_ms=1", "at_ms"),
        ("at_ms=1&window=1d", "window"),
    ] {
        let asked = get(&format!("/v1/users/1/balance?{query}"));
        c.check(asked, &problem("invalid_parameter", field, ""));
    }
    let items = format!(
        "{{\"requests\":[{{\"user_id\":\"1\",\"read\":\"balance\",\"at_ms\":{N}}},\
         {{\"at_ms\":0,\"currency\":\"EUR\",\"read\":\"balance\",\"user_id\":\"1\"}}]}}"
    );
    let past = format!(
        "{{\"user_id\":\"1\",\"version\":10,\"as_of_ms\":{N},\"at_ms\":{},\
         \"balances\":[{{\"currency\":\"EUR\",\"posted\":0}}]}}",
        N - 400 * DAY
    );
    let responses = format!("{{\"responses\":[{},{past}]}}", body(N, 254, -3));
    c.check(batch(items), &json("", &responses));
    for (item, code, field) in [
        (r#""at_ms":"1""#, "invalid_field", "requests[0].at_ms"),
        (r#""at_ms":1.0"#, "invalid_field", "requests[0].at_ms"),
        (r#""at_ms":null"#, "invalid_field", "requests[0].at_ms"),
        (r#""at_ms":1,"window":"1d""#, "unknown_field", "requests[0].window"),
        (r#""at_ms":1,"kind":"a""#, "unknown_field", "requests[0].kind"),
    ] {
        let asked = batch(format!(r#"{{"requests":[{{"user_id":"1","read":"balance",{item}}}]}}"#));
        c.check(asked, &problem(code, field, ""));
    }
}

/// Where entries did not arrive in the order of their times, a past balance may exceed 64 bits.
fn beyond_64_bits() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let line = |id: u64, kind: &str, direction: &str, at: u64| {
        let line = credit(id, 1, i64::MAX, at).replace("topup", kind);
        line.replace("credit", direction)
    };
    let lines = [
        line(1, "a", "credit", N - 2 * DAY),
        line(2, "b", "debit", N),
        line(3, "c", "credit", N - 2 * DAY),
        line(4, "d", "debit", N),
        line(5, "e", "credit", N - 2 * DAY),
        line(6, "f", "debit", N),
        line(7, "g", "debit", N - 5 * DAY),
    ];
    feed_late(&server, &lines);
    let max = i128::from(i64::MAX);
    for (at, posted) in [(N + DAY, -max), (N, 2 * max), (N - 3 * DAY, -max), (N - 9 * DAY, 0)] {
        let body = format!(
            "{{\"user_id\":\"1\",\"version\":7,\"as_of_ms\":{N},\"at_ms\":{at},\"balances\":[\
             {{\"currency\":\"COIN\",\"posted\":{posted}}}]}}"
        );
        let target = format!("/v1/users/1/balance?at_ms={at}");
        c.check(get(&target), &read("etag: \"v7\"\r\n", &body));
    }
}
