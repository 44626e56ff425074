//! Ids of users: numbers and texts, in paths, in batches and in entries.

use super::{Checker, T};
use crate::server::client::{batch, feed, get, request};
use crate::server::expected::{
    balance, balance_body, duplicate, feed_answer, json, problem, problem_body, read, rejected,
};
use crate::server::{Scratch, Server, credit, entries, slices, with_slices};

on_slices!([one = 1, two = 2, seven = 7] [
    texts_are_users,
    forms_of_paths,
    bad_ids,
    batches,
    other_forms_of_a_number,
    restarts,
]);

/// Texts that are ids, the longest among them.
fn texts() -> Vec<String> {
    let mut texts = [
        "users:1234",
        "0192f0c1-0000-7000-8000-00000000abcd",
        "0192F0C1-0000-7000-8000-00000000ABCD",
        "a",
        "-",
        "...",
        ".a",
        "~_.-:@AZaz09",
        "042",
        "00",
        "-1",
        "18446744073709551616",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend(["x".repeat(64), "x".repeat(63), format!("{}y", "x".repeat(63))]);
    texts
}

/// Each text is a user of its own, in feeds and in reads, and is echoed as it is.
fn texts_are_users() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let lines: Vec<_> = (1..)
        .zip(texts())
        .map(|(n, user)| credit(n, user, i64::try_from(n).expect("few"), T))
        .collect();
    c.check(feed(entries(&lines)), &feed_answer(lines.len(), 0, &[]));
    for (n, user) in (1..).zip(texts()) {
        let target = format!("/v1/users/{user}/balance");
        c.check(get(&target), &balance(&user, 1, T, n));
        let body = format!(
            "{{\"user_id\":\"{user}\",\"version\":1,\"from_ms\":0,\"to_ms\":{},\"stats\":[\
             {{\"currency\":\"COIN\",\"kind\":\"topup\",\"direction\":\"credit\",\"count\":1,\
             \"sum\":{n},\"min\":{n},\"max\":{n}}}]}}",
            T + 900_000
        );
        let stats = get(&format!("/v1/users/{user}/stats?window=lifetime"));
        c.check(stats, &read("", &body));
    }
    // The same entry id is another entry for another user.
    let results = [duplicate(0, "1")];
    let again = [credit(1, "users:1234", 1, T), credit(1, "a", 1, T)];
    c.check(feed(entries(&again)), &feed_answer(1, 1, &results));
    c.check(get("/v1/users/a/balance"), &balance("a", 2, T, 5));
    c.check(get("/v1/users/users:1235/balance"), &problem("user_not_found", "", ""));
}

/// An id may be percent-encoded in a path.
fn forms_of_paths() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    c.check(feed(credit(1, "users:1@~.x", 5, T)), &feed_answer(1, 0, &[]));
    for id in [
        "users:1@~.x",
        "users%3A1%40~.x",
        "users%3a1%40%7e%2ex",
        "%75%73%65%72%73%3a%31%40%7e%2e%78",
    ] {
        c.check(get(&format!("/v1/users/{id}/balance")), &balance("users:1@~.x", 1, T, 5));
        let head = request("HEAD", &format!("/v1/users/{id}/balance"), "");
        let want = balance("users:1@~.x", 1, T, 5);
        let want = want.split_once("\r\n\r\n").expect("a head").0;
        c.check(head, &format!("{want}\r\n\r\n"));
    }
    let upper = get("/v1/users/USERS:1@~.x/balance");
    c.check(upper, &problem("user_not_found", "", ""));
}

/// Texts that are no ids are refused wherever an id may be.
fn bad_ids() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let long = "x".repeat(65);
    let refused = problem("invalid_parameter", "user_id", "");
    for id in [
        "%2e%2E", "%2E", "%2e", "a%2Fb", "a%20b", "a+b", "*", "a%00", "%C3%A9", "a%", "a%4", "%zz",
        "a!", "a'b", "(a)", "a,b", "a;b", "a=b", "a$", "a&b", "%2525", "", &long,
    ] {
        for what in ["balance", "stats?window=1d"] {
            c.check(get(&format!("/v1/users/{id}/{what}")), &refused);
        }
    }
    let texts = [r"\u00e9", r"a\/b", "a b", "", ".", "..", r"a\n", "a/b", "*", "é", &long];
    let lines: Vec<_> = (0..).zip(texts).map(|(n, user)| credit(n, user, 1, T)).collect();
    let results: Vec<_> =
        (0..texts.len()).map(|n| rejected(n, &n.to_string(), "invalid_field", "user_id")).collect();
    c.check(feed(entries(&lines)), &feed_answer(0, 0, &results));
    for user in texts {
        let item = |user: &str| format!(r#"{{"user_id":"{user}","read":"balance"}}"#);
        let body = [item("1"), item(user)].join(",");
        c.check(
            batch(format!(r#"{{"requests":[{body}]}}"#)),
            &problem("invalid_field", "requests[1].user_id", ""),
        );
    }
    let number = feed(credit(1, 7, 1, T).replace("\"7\"", "7"));
    let results = [rejected(0, "1", "invalid_field", "user_id")];
    c.check(number, &feed_answer(0, 0, &results));
}

/// A batch mixes both forms, and texts with escapes.
fn batches() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let long = "y".repeat(64);
    let lines = [credit(1, 7, 5, T), credit(2, "users:7", 6, T), credit(3, &long, 7, T)];
    c.check(feed(entries(&lines)), &feed_answer(3, 0, &[]));
    let escaped = "\\u0079".repeat(64);
    let users = ["7", "users:7", "07", r"users\u003a7", &escaped, "users:8", r"\u0037", "7"];
    let items: Vec<_> =
        users.iter().map(|user| format!(r#"{{"user_id":"{user}","read":"balance"}}"#)).collect();
    let unknown = |user: &str| {
        let open = problem_body("user_not_found", "");
        format!("{},\"user_id\":\"{user}\"}}", open.trim_end_matches('}'))
    };
    let bodies = [
        balance_body(7, 1, T, 5),
        balance_body("users:7", 1, T, 6),
        unknown("07"),
        balance_body("users:7", 1, T, 6),
        balance_body(&long, 1, T, 7),
        unknown("users:8"),
        balance_body(7, 1, T, 5),
        balance_body(7, 1, T, 5),
    ];
    let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
    c.check(batch(body), &json("", &format!(r#"{{"responses":[{}]}}"#, bodies.join(","))));
}

/// Numbers have one form; anything that only looks like one is another user.
fn other_forms_of_a_number() {
    let server = Server::start(&[]);
    let mut c = Checker::new(&server);
    let users = ["42", "042", "0042", "42.0", "-42", "18446744073709551615"];
    let lines: Vec<_> = (1..).zip(users).map(|(n, user)| credit(n, user, 1 << n, T)).collect();
    c.check(feed(entries(&lines)), &feed_answer(users.len(), 0, &[]));
    for (n, user) in (1..).zip(users) {
        c.check(get(&format!("/v1/users/{user}/balance")), &balance(user, 1, T, 1 << n));
    }
    let holds = [
        credit(10, "042", 9, T).replace('}', r#","state":"pending"}"#),
        r#"{"entry_id":"11","user_id":"42","at_ms":1700000100000,"amount":9,"pending_id":"10"}"#
            .to_owned(),
    ];
    let results = [rejected(1, "11", "pending_not_found", "pending_id")];
    c.check(feed(entries(&holds)), &feed_answer(1, 0, &results));
}

/// Users with texts are in the log and in snapshots.
fn restarts() {
    let scratch = Scratch::new(&format!("contract-ids-{}", slices()));
    let data = scratch.join("data");
    for (round, slices) in (0..).zip([slices(), 3, 2]) {
        let mut server = with_slices(slices, || Server::with_data(&data, &[]));
        let lines: Vec<_> =
            (0..).zip(texts()).map(|(n, user)| credit(100 * round + n, user, 1, T)).collect();
        server.feed(&lines);
        for user in texts() {
            let got = server.ask(get(&format!("/v1/users/{user}/balance"))).body;
            let version = round + 1;
            assert_eq!(got, balance_body(user, version, T, i64::try_from(version).expect("few")));
        }
        server.signal("TERM");
        assert!(server.ended().success());
    }
}
