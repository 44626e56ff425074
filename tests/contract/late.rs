//! The dedup window, and late entries.

use super::{Checker, T};
use crate::server::client::{get, post};
use crate::server::expected::{CLOSE, duplicate, fed, feed_answer, json, problem, read, rejected};
use crate::server::{Server, credit, entries};

on_slices!([one = 1, two = 2] [
    the_parameter,
    where_late_entries_count,
    ids_of_late_entries,
    a_busy_account,
]);

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// `POST /v1/entries?late=accept`.
fn late(lines: &[impl AsRef<str>]) -> Vec<u8> {
    post("/v1/entries?late=accept", "application/x-ndjson", entries(lines))
}

fn too_old(index: usize, id: &str) -> String {
    rejected(index, id, "entry_too_old", "at_ms")
}

/// `late=accept` is the only parameter and the only value.
fn the_parameter() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let ask = |query: &str| {
        post(&format!("/v1/entries?{query}"), "application/x-ndjson", credit(1, 1, 1, T))
    };
    for (query, field) in [
        ("late=refuse", "late"),
        ("late=Accept", "late"),
        ("late=", "late"),
        ("late", "late"),
        ("late=accept&late=accept", "late"),
        ("late=accept&at=1", "at"),
        ("Late=accept", "Late"),
        ("x=1", "x"),
    ] {
        c.check(ask(query), &problem("invalid_parameter", field, CLOSE));
    }
    c.check(ask("late=%61ccept"), &json("", &fed(1, 0, &[])));
    c.check(ask("late=accept"), &json("", &fed(0, 1, &[duplicate(0, "1")])));
}

/// A late entry counts in its bucket, hour or day, or in the lifetime figures alone.
fn where_late_entries_count() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    // The latest entry: a full day, so that all edges are known.
    let n = T - T % DAY;
    let times = [
        n,
        n - 24 * HOUR,
        n - 24 * HOUR - 1,
        n - 26 * HOUR - 1,
        n - 8 * DAY - 1,
        n - 400 * DAY,
        n - 400 * DAY - 1,
        0,
    ];
    let line = |(id, at): (u64, u64)| credit(id, 1, 1 << id, at);
    let lines: Vec<_> = (0..).zip(times).map(line).collect();
    let refused: Vec<_> = (2..8).map(|at| too_old(at, &at.to_string())).collect();
    c.check_feed(&lines, 2, &refused);
    let again: Vec<_> = (0..2).map(|at| duplicate(at, &at.to_string())).collect();
    c.check(late(&lines), &json("", &fed(6, 2, &again)));
    let mut stats = |window: &str, at: u64, range: (u64, u64), figures: &[(u64, u64, u64, u64)]| {
        let rows: Vec<_> = figures
            .iter()
            .map(|(count, sum, min, max)| {
                format!(
                    "{{\"currency\":\"COIN\",\"kind\":\"topup\",\"direction\":\"credit\",\
                     \"count\":{count},\"sum\":{sum},\"min\":{min},\"max\":{max}}}"
                )
            })
            .collect();
        let body = format!(
            "{{\"user_id\":\"1\",\"version\":8,\"from_ms\":{},\"to_ms\":{},\"stats\":[{}]}}",
            range.0,
            range.1,
            rows.join(",")
        );
        let at = if window == "lifetime" { String::new() } else { format!("&at_ms={at}") };
        c.check(get(&format!("/v1/users/1/stats?window={window}{at}")), &read("", &body));
    };
    let bucket = HOUR / 4;
    stats("lifetime", 0, (0, n + bucket), &[(8, 255, 1, 128)]);
    stats("15m", n, (n, n + bucket), &[(1, 1, 1, 1)]);
    stats("15m", times[2], (n - DAY - bucket, n - DAY), &[(1, 4, 4, 4)]);
    stats("15m", times[3], (n - 27 * HOUR, n - 26 * HOUR), &[(1, 8, 8, 8)]);
    stats("15m", times[4], (n - 9 * DAY, n - 8 * DAY), &[(1, 16, 16, 16)]);
    stats("15m", times[5], (n - 400 * DAY, n - 399 * DAY), &[(1, 32, 32, 32)]);
    stats("15m", times[6], (n - 400 * DAY, n - 400 * DAY), &[]);
    stats("400d", n, (n - 400 * DAY, n + bucket), &[(6, 63, 1, 32)]);
}

/// Late entries are looked up like any other, for as long as their ids are remembered: from their
/// acceptance on, not from their booking time.
fn ids_of_late_entries() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let old = credit(1, 1, 5, T - 40 * DAY);
    c.check_feed(&[credit(2, 1, 1, T)], 1, &[]);
    c.check(late(&[&old]), &json("", &fed(1, 0, &[])));
    c.check(late(&[&old]), &json("", &fed(0, 1, &[duplicate(0, "1")])));
    c.check_feed(&[&old], 0, &[too_old(0, "1")]);
    let other = credit(1, 1, 6, T - 40 * DAY);
    let conflict = rejected(0, "1", "entry_id_conflict", "entry_id");
    c.check(late(&[&other]), &feed_answer(0, 0, &[conflict]));
    // Remembered to the millisecond.
    c.check_feed(&[credit(3, 1, 1, T + DAY)], 1, &[]);
    c.check(late(&[&old]), &json("", &fed(0, 1, &[duplicate(0, "1")])));
    c.check_feed(&[credit(4, 1, 1, T + DAY + 1)], 1, &[]);
    c.check(late(&[&old]), &json("", &fed(1, 0, &[])));
    c.check_feed(&[&old], 0, &[too_old(0, "1")]);
}

/// After 524,288 entries twice, the window of a busy account begins at the end of the first
/// half: what is before is late, and its ids are forgotten.
fn a_busy_account() {
    const SPAN: u64 = 524_288;
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let mut client = server.connect();
    // Entry n is booked at T + n / 1,024 ms.
    let line = |n: u64| credit(n, 1, 1, T + n / 1_024);
    let mut next = 0;
    let mut feed_until = |c: &mut Checker<'_>, end: u64| {
        while next < end {
            let part: Vec<_> = (next..end.min(next + 10_000)).map(line).collect();
            let body = post("/v1/entries", "application/x-ndjson", entries(&part));
            c.check_on(&mut client, body, &json("", &fed(part.len(), 0, &[])));
            next += part.len() as u64;
        }
    };
    feed_until(&mut c, 2 * SPAN - 1);
    let first = [line(0), line(SPAN - 1)];
    c.check_feed(&first, 0, &[duplicate(0, "0"), duplicate(1, &(SPAN - 1).to_string())]);
    feed_until(&mut c, 2 * SPAN);
    // R is now the time of entry 524,287: 511 ms after T.
    let (inside, outside) = (511 * 1_024, 511 * 1_024 - 1);
    let known = [line(inside), line(SPAN), line(2 * SPAN - 1)];
    let ids = [inside, SPAN, 2 * SPAN - 1].map(|n| n.to_string());
    let all: Vec<_> = ids.iter().enumerate().map(|(at, id)| duplicate(at, id)).collect();
    c.check_feed(&known, 0, &all);
    c.check_feed(&[line(outside)], 0, &[too_old(0, &outside.to_string())]);
    // Whoever vouches for it books it again.
    c.check(late(&[line(outside)]), &json("", &fed(1, 0, &[])));
    c.check(late(&[line(outside)]), &json("", &fed(0, 1, &[duplicate(0, &outside.to_string())])));
}
