//! Real bank transactions, fed and read back. Every balance and statistic is compared with the
//! results of an independent program, and balances with those that the bank printed.
//! `data/berka/README.md` describes the source.

use crate::server::client::{batch, feed, get};
use crate::server::expected::{self, duplicate, fed, json, read, rejected};
use crate::server::{Scratch, Server, becomes_true, credit, entries, slice_manifest, slices};
use purser::ledger::id::UserId;
use serde_json::Value;
use std::collections::BTreeMap;

on_slices!([one = 1, two = 2, three = 3, seven = 7] [
    berka,
    berka_survives_restarts,
]);

/// The entries, oldest first.
pub const ENTRIES: &str = include_str!("data/berka/entries.ndjson");
const EXPECTED: &str = include_str!("data/berka/expected.json");
const DAY_MS: u64 = 86_400_000;
const BUCKET_MS: u64 = 900_000;
/// Most difference to the bank's balance, in minor units, because the bank rounded.
const ROUNDED: i64 = 50;

/// Expected results of the independent program, by user.
pub fn users() -> BTreeMap<String, Value> {
    let users: BTreeMap<String, Value> = serde_json::from_str(EXPECTED).expect("the file is JSON");
    assert_eq!((users.len(), ENTRIES.lines().count()), (177, 14_827), "the data set is whole");
    users
}

fn whole(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Expected bodies of a user's balance and lifetime statistics.
fn bodies(user: &str, of: &Value) -> [String; 2] {
    let (version, last) = (whole(of, "entries"), whole(of, "last_at_ms"));
    let posted = of["posted"].as_i64().expect("a sum");
    let bank = of["bank_closing_balance"].as_i64().expect("a balance");
    assert!((posted - bank).abs() <= ROUNDED, "{user}: {posted} here, {bank} at the bank");
    let balance = format!(
        "{{\"user_id\":\"{user}\",\"version\":{version},\"as_of_ms\":{last},\
         \"balances\":[{{\"currency\":\"CZK\",\"posted\":{posted},\"pending_debits\":0,\
         \"pending_credits\":0,\"available\":{posted}}}]}}"
    );
    let mut stats: Vec<_> = of["stats"].as_array().expect("a list").iter().collect();
    stats.sort_by_key(|stat| (text(stat, "kind"), text(stat, "direction")));
    let stat = |stat: &&Value| {
        let [count, sum, min, max] = ["count", "sum", "min", "max"].map(|name| whole(stat, name));
        let (kind, direction) = (text(stat, "kind"), text(stat, "direction"));
        format!(
            "{{\"currency\":\"CZK\",\"kind\":\"{kind}\",\"direction\":\"{direction}\",\
             \"count\":{count},\"sum\":{sum},\"min\":{min},\"max\":{max}}}"
        )
    };
    let stats: Vec<_> = stats.iter().map(stat).collect();
    let to = (last / BUCKET_MS + 1) * BUCKET_MS;
    let stats = stats.join(",");
    [
        balance,
        format!(
            "{{\"user_id\":\"{user}\",\"version\":{version},\"from_ms\":0,\"to_ms\":{to},\
             \"stats\":[{stats}]}}"
        ),
    ]
}

/// Compares the reads of all users, one by one and in a batch.
pub fn check_all(server: &Server, users: &BTreeMap<String, Value>) {
    let mut client = server.connect();
    let (mut asked, mut answers) = (Vec::new(), Vec::new());
    for (user, of) in users {
        let [balance, stats] = bodies(user, of);
        let etag = format!("etag: \"v{}\"\r\n", whole(of, "entries"));
        assert_eq!(
            client.ask(get(&format!("/v1/users/{user}/balance"))).shown(),
            read(&etag, &balance)
        );
        assert_eq!(
            client.ask(get(&format!("/v1/users/{user}/stats?window=lifetime"))).shown(),
            read("", &stats)
        );
        asked.push(format!(r#"{{"user_id":"{user}","read":"balance"}}"#));
        asked.push(format!(r#"{{"user_id":"{user}","read":"stats","window":"lifetime"}}"#));
        answers.extend([balance, stats]);
    }
    let body = format!(r#"{{"requests":[{}]}}"#, asked.join(","));
    let answer = format!(r#"{{"responses":[{}]}}"#, answers.join(","));
    assert!(
        client.ask(batch(body)).shown() == json("", &answer),
        "a batch differs from its single reads"
    );
}

/// Expected answer to a resent part: entries in their user's dedup window are duplicates, older
/// ones too old.
fn resent(part: &[&str], users: &BTreeMap<String, Value>) -> String {
    let result = |(index, line): (usize, &&str)| {
        let entry: Value = serde_json::from_str(line).expect("a line is JSON");
        let last = whole(&users[text(&entry, "user_id")], "last_at_ms");
        let id = text(&entry, "entry_id");
        if whole(&entry, "at_ms") < last - DAY_MS {
            rejected(index, id, "entry_too_old", "at_ms")
        } else {
            duplicate(index, id)
        }
    };
    let results: Vec<_> = part.iter().enumerate().map(result).collect();
    let duplicates = results.iter().filter(|result| result.ends_with(r#""duplicate"}"#)).count();
    assert!(results.len() > duplicates, "some entries are too old and some are duplicates");
    expected::feed_answer(0, duplicates, &results)
}

/// Resends all entries: none is accepted, and nothing changes.
fn check_resend(server: &Server, users: &BTreeMap<String, Value>) {
    let mut duplicates = 0;
    for part in ENTRIES.lines().collect::<Vec<_>>().chunks(10_000) {
        let answer = resent(part, users);
        duplicates += answer.matches(r#""duplicate"}"#).count();
        assert!(
            server.ask(feed(entries(part))).shown() == answer,
            "the answer to a resent part is wrong"
        );
    }
    assert!(duplicates >= users.len(), "each user's last entry is in the dedup window");
    check_all(server, users);
}

fn feed_all(server: &Server) {
    let lines: Vec<_> = ENTRIES.lines().collect();
    for part in lines.chunks(10_000) {
        assert_eq!(server.ask(feed(entries(part))).shown(), json("", &fed(part.len(), 0, &[])));
    }
}

fn berka() {
    let (server, users) = (Server::start(&[]), users());
    feed_all(&server);
    check_all(&server, &users);
    check_resend(&server, &users);
    assert_eq!(
        server.ask(get("/v1/users/1/balance")).shown(),
        expected::problem("user_not_found", "", "")
    );
}

/// Entries of a filler user: enough log bytes for a snapshot, in however few writes.
const FILLING: u64 = 18_000;
/// Lowest id of filler users; all ids of the data set are below it.
const FILLER: u64 = 1 << 40;

/// A filler user for each slice, so that each log is large enough for a snapshot. A single slice
/// needs none: the data set is enough.
fn fillers() -> Vec<u64> {
    let user_of = |slice| {
        (FILLER..)
            .find(|&user| UserId::Number(user).slice(slices()) == slice)
            .expect("every slice has users")
    };
    (0..slices()).map(user_of).collect()
}

/// A number with thousands separators: `14,827`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|part| str::from_utf8(part).expect("digits"))
        .collect();
    parts.join(",")
}

/// The answers are the same byte for byte after every kind of restart: after a shutdown or a kill;
/// from the log, from a snapshot, or from both.
fn berka_survives_restarts() {
    let (scratch, users) = (Scratch::new("berka"), users());
    let data = scratch.join("data");
    let mut server = Server::with_data(&data, &[]);
    feed_all(&server);
    check_all(&server, &users);
    let fillers = fillers();
    for &user in &fillers {
        server.feed(&(0..FILLING).map(|n| credit(n, user, 1, DAY_MS)).collect::<Vec<_>>());
    }
    let of_all = 14_827 + FILLING * fillers.len() as u64;
    let of_users = users.len() + fillers.len();
    let has_snapshot = || (0..slices()).all(|slice| slice_manifest(&data, slice).snapshot > 0);
    let loaded = |server: &Server, users: usize, entries: u64, all: u64| {
        let [entries, all] = [entries, all].map(with_commas);
        let line = format!(
            "data: {}: {users} users from the snapshot, {entries} entries from the log, {all} \
             entries in all; ",
            data.display()
        );
        assert!(
            server.startup_lines.iter().any(|said| said.starts_with(&line)),
            "no {line:?} in {:#?}",
            server.startup_lines
        );
    };
    let end_and_start = |server: &mut Server, is_killed: bool, flags: &[&str]| {
        if is_killed {
            server.kill();
        } else {
            server.signal("TERM");
            assert!(server.ended().success());
        }
        *server = Server::with_data(&data, flags);
        check_all(server, &users);
    };
    end_and_start(&mut server, false, &[]);
    loaded(&server, 0, of_all, of_all);
    end_and_start(&mut server, true, &["--snapshot-after-mib", "1"]);
    loaded(&server, 0, of_all, of_all);
    assert!(becomes_true(has_snapshot), "each log is large enough for a snapshot");
    check_all(&server, &users);
    for is_killed in [false, true] {
        end_and_start(&mut server, is_killed, &[]);
        loaded(&server, of_users, 0, of_all);
    }
    check_resend(&server, &users);
    // One more user, in the log after the snapshot.
    server.feed(&[credit(1, 1, 7, DAY_MS)]);
    end_and_start(&mut server, true, &[]);
    loaded(&server, of_users, 1, of_all + 1);
    check_resend(&server, &users);
    assert_eq!(server.ask(get("/v1/users/1/balance")).shown(), expected::balance(1, 1, DAY_MS, 7));
}
