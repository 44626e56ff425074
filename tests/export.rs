//! `purser export`: all of one user, as the server's answers have it, and directories that cannot
//! be read.

use crate::import::{Outcome, run};
use crate::server::client::{get, post};
use crate::server::{Scratch, Server, credit, entries, purser, with_slices};
use crate::users;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The latest booking time: ten minutes after a full day.
const N: u64 = 19_700 * DAY + 10 * MINUTE;

fn export(data: &Path, user: &str) -> Outcome {
    run(purser().args(["export", "--user", user, "--data"]).arg(data), b"")
}

/// The document of a user.
fn exported(data: &Path, user: &str) -> Value {
    let (code, out, err) = export(data, user);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    serde_json::from_str(&out).expect("it is JSON")
}

/// Lines of a user in every grain, in two currencies and kinds, with holds of both forms.
fn lines(user: &str) -> Vec<String> {
    let ago = [0, 15 * MINUTE, 26 * HOUR, 30 * HOUR, 9 * DAY, 9 * DAY - HOUR, 400 * DAY, 401 * DAY];
    let mut lines = Vec::new();
    for (n, ago) in (0..).zip(ago) {
        lines.push(credit(2 * n, user, 1 << n, N - ago));
        let other = credit(2 * n + 1, user, 3, N - ago).replace("topup", "gift.sent");
        lines.push(other.replace("COIN", "EUR").replace("credit", "debit"));
    }
    let held = credit(0x0192_f0c1, user, 40, N).replace('}', r#","state":"pending"}"#);
    let named = held.replace("\"26407105\"", "\"tx:1\"").replace('}', r#","pending_id":"tx:0"}"#);
    lines.extend([held, named]);
    lines
}

fn filled(scratch: &Scratch, slices: u32) -> std::path::PathBuf {
    let data = scratch.join("data");
    let mut server = with_slices(slices, || Server::with_data(&data, &[]));
    for user in (0..8).map(users::name) {
        let body = entries(&lines(&user));
        let answer = server.ask(post("/v1/entries?late=accept", "application/x-ndjson", body));
        assert_eq!(answer.status(), 200, "{}", answer.body);
    }
    server.signal("TERM");
    assert!(server.ended().success());
    data
}

fn list<'v>(document: &'v Value, name: &str) -> &'v [Value] {
    document[name].as_array().expect("a list")
}

/// Count and sum of the rows of a range, by currency, kind and direction.
fn sums(rows: &[Value], from_ms: u64, to_ms: u64) -> BTreeMap<String, (u64, i64)> {
    let mut sums = BTreeMap::new();
    for row in rows {
        let [from, to] = ["from_ms", "to_ms"].map(|name| row[name].as_u64().expect("a time"));
        assert!(from < to && from % (15 * MINUTE) == 0 && to % (15 * MINUTE) == 0, "{row}");
        if from_ms <= from && to <= to_ms {
            let key = ["currency", "kind", "direction"].map(|name| row[name].to_string()).join(" ");
            let (count, sum) = sums.entry(key).or_insert((0, 0));
            *count += row["count"].as_u64().expect("a count");
            *sum += row["sum"].as_i64().expect("a sum");
        }
    }
    sums
}

/// What is exported is what the server answers: balances and lifetime figures whole, rows summed up
/// over the ranges of statistics.
#[test]
fn an_export_is_what_the_server_answers() {
    for slices in [1, 3] {
        let scratch = Scratch::new(&format!("export-{slices}"));
        let data = filled(&scratch, slices);
        let documents: Vec<_> = (0..8).map(|n| exported(&data, &users::name(n))).collect();
        let server = with_slices(slices, || Server::with_data(&data, &[]));
        for (user, document) in (0..8).map(users::name).zip(&documents) {
            let ask = |read: &str| -> Value {
                let answer = server.ask(get(&format!("/v1/users/{user}/{read}")));
                serde_json::from_str(&answer.body).expect("it is JSON")
            };
            let balance = ask("balance");
            for member in ["user_id", "version", "as_of_ms", "balances"] {
                assert_eq!(document[member], balance[member], "{user}: {member}");
            }
            assert_eq!(document["lifetime"], ask("stats?window=lifetime")["stats"], "{user}");
            for window in ["15m", "24h", "27h", "8d", "10d", "400d"] {
                let stats = ask(&format!("stats?window={window}&at_ms={N}"));
                let [from, to] = ["from_ms", "to_ms"].map(|name| stats[name].as_u64().unwrap());
                let mut of_server = list(&stats, "stats").to_vec();
                for stat in &mut of_server {
                    (stat["from_ms"], stat["to_ms"]) = (from.into(), to.into());
                }
                let rows = sums(list(document, "rows"), from, to);
                assert_eq!(rows, sums(&of_server, from, to), "{user}: {window}");
            }
            let holds = list(document, "holds");
            assert_eq!(holds.len(), 2, "{user}");
            assert_eq!(holds[0]["pending_id"], "00000000-0000-0000-0000-00000192f0c1");
            let terms = |hold: &Value| (hold["amount"].clone(), hold["own_line"].clone());
            assert_eq!(terms(&holds[0]), (40.into(), true.into()), "{user}");
            assert_eq!(terms(&holds[1]), (40.into(), false.into()), "{user}");
            assert_eq!(list(document, "rows").len(), 2 * 6, "{user}: two days, an hour, buckets");
        }
    }
}

/// Two users with the same entries have the same document but for the id, whatever the order in
/// which the entries came.
#[test]
fn the_order_of_entries_does_not_show() {
    let scratch = Scratch::new("export-order");
    let data = scratch.join("data");
    let mut server = Server::with_data(&data, &[]);
    let mut all = lines("1");
    all.extend(lines("2").into_iter().rev());
    let answer = server.ask(post("/v1/entries?late=accept", "application/x-ndjson", entries(&all)));
    assert_eq!(answer.status(), 200, "{}", answer.body);
    server.signal("TERM");
    assert!(server.ended().success());
    let [first, second] = ["1", "2"].map(|user| export(&data, user).1);
    assert_eq!(first, second.replace(r#""user_id":"2""#, r#""user_id":"1""#));
}

#[test]
fn what_cannot_be_exported_is_named() {
    let scratch = Scratch::new("export-errors");
    let data = filled(&scratch, 2);
    let files = || {
        let mut files = Vec::new();
        let mut directories = vec![data.clone()];
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    directories.push(path);
                } else {
                    files.push((fs::read(&path).unwrap(), path));
                }
            }
        }
        files.sort();
        files
    };
    let before = files();
    let check = |user: &str, code: i32, error: &str| {
        let (got, out, err) = export(&data, user);
        assert_eq!((got, out.as_str()), (Some(code), ""), "{err}");
        assert!(err.contains(error), "no {error:?} in {err}");
    };
    check("99", 1, "has no accepted entry of user 99");
    check("users:99", 1, "has no accepted entry of user users:99");
    check("a/b", 2, "\"a/b\" is not a user id");
    assert!(exported(&data, "users:1")["version"] == 18);
    assert!(before == files(), "an export changes nothing");

    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = purser();
    command.args(["export", "--user", "users:1", "--data"]).arg(&data).stdout(full);
    let output = command.output().expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write to standard output: No space left"), "{error}");

    let server = Server::with_data(&data, &[]);
    check("0", 1, "is in use by another process");
    drop(server);
    fs::write(data.join("manifest"), "nothing").unwrap();
    check("0", 3, "manifest at byte 0");
    fs::remove_dir_all(&data).unwrap();
    check("0", 1, "cannot open");
}
