//! `purser import`: real and random histories, imported in any order, give the same result as the
//! same entries fed in order. An interrupted import has imported nothing.
//!
//! - `lines`: blank lines, and `metadata` in lines.

mod lines;

use crate::faults::tree;
use crate::model::history::{History, Step};
use crate::model::{Code, Model, Verdict};
use crate::offline::Offline;
use crate::real_data;
use crate::repartition::generation;
use crate::seeds;
use crate::server::client::get;
use crate::server::expected::{self, balance_body, problem};
use crate::server::{Scratch, Server, becomes_true, credit, ended, entries, purser};
use flate2::Compression;
use flate2::write::GzEncoder;
use purser::journal::slice_directory;
use purser::ledger::id::{EntryId, UserId};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

const T: u64 = 1_700_000_100_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Outcome of a command: exit code, standard output, standard error.
pub type Outcome = (Option<i32>, String, String);

/// Runs a command to its end with this standard input.
pub fn run(command: &mut Command, stdin: &[u8]) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut to = child.stdin.take().expect("piped");
    let outcome = thread::scope(|scope| {
        // A command that ends early leaves the rest unread.
        scope.spawn(move || to.write_all(stdin));
        child.wait_with_output().expect("it is a child of this process")
    });
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (outcome.status.code(), text(outcome.stdout), text(outcome.stderr))
}

/// The command `purser import` into a directory.
pub fn import(data: &Path) -> Command {
    let mut command = purser();
    command.args(["import", "--data"]).arg(data);
    command
}

/// Imports lines, all of which must be accepted.
pub fn import_all(data: &Path, lines: &[String]) {
    let (code, out, err) = run(import(data).arg("-"), &entries(lines));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let starts = format!(
        "{}: {} accepted, 0 duplicates, 0 rejected",
        many(lines.len(), "line"),
        commas(lines.len())
    );
    assert!(out.starts_with(&starts), "{out}");
}

/// A number with thousands separators.
pub fn commas(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

fn many(n: usize, one: &str) -> String {
    format!("{} {one}{}", commas(n), if n == 1 { "" } else { "s" })
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).expect("memory takes all");
    out.finish().expect("memory takes all")
}

fn files_of(directory: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("a name").file_name());
    names.map(|name| name.into_string().expect("our names are text")).collect()
}

/// The first slice of the current generation.
pub fn slice_of(data: &Path) -> PathBuf {
    data.join(slice_directory(generation(data).generation, 0))
}

#[test]
fn berka_in_any_order() {
    let (scratch, users) = (Scratch::new("import-berka"), real_data::users());
    let mut lines: Vec<_> = real_data::ENTRIES.lines().collect();
    Random(1).shuffle(&mut lines);
    let (first, second) = lines.split_at(5_000);
    let [plain, gzip, two] = ["a.ndjson", "b.ndjson.gz", "c"].map(|name| scratch.join(name));
    fs::write(&plain, entries(first)).unwrap();
    // A gzip file of two members, without a line feed at its end.
    fs::write(
        &gzip,
        [packed(&entries(&second[..3_000])), packed(second[3_000..].join("\n").as_bytes())]
            .concat(),
    )
    .unwrap();
    fs::write(&two, packed(&entries(first))).unwrap();
    let whole = entries(&lines);
    let cases: [(&str, Vec<&Path>, Vec<u8>); 3] = [
        ("plain and packed", vec![&plain, &gzip], Vec::new()),
        ("packed and piped", vec![&two, Path::new("-")], entries(second)),
        ("piped and packed", vec![Path::new("-")], packed(&whole)),
    ];
    let mut snapshots = Vec::new();
    for (name, files, stdin) in cases {
        let data = scratch.join(name);
        let (code, out, err) = run(import(&data).args(["--memory-mib", "1"]).args(files), &stdin);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{name}: {out}");
        assert!(
            out.starts_with("14,827 lines: 14,827 accepted, 0 duplicates, 0 rejected; 177 users\n"),
            "{name}: {out}"
        );
        assert_eq!(
            files_of(&slice_of(&data)),
            ["manifest", "snapshot-1"].map(str::to_owned).into(),
            "{name}"
        );
        snapshots.push(fs::read(slice_of(&data).join("snapshot-1")).unwrap());
        real_data::check_all(&Server::with_data(&data, &[]), &users);
        real_data::check_all(&Server::with_data(&data, &[]), &users);
    }
    assert!(
        snapshots.iter().all(|snapshot| *snapshot == snapshots[0]),
        "the order of lines makes no difference"
    );
}

/// User, time and id of a line of a random history, if it has all three.
fn placed(line: &[u8]) -> Option<(String, u64, u128)> {
    /// Other members may be anything, deep or with numbers that no type holds.
    #[derive(Deserialize)]
    struct Placed {
        entry_id: String,
        user_id: String,
        at_ms: u64,
    }
    let Placed { entry_id, user_id, at_ms } = serde_json::from_slice(line).ok()?;
    let id = EntryId::parse(entry_id.as_bytes())?.0;
    UserId::parse(user_id.as_bytes())?;
    Some((user_id, at_ms, id))
}

/// Lines of a random history. No two entries of a user share a time or an id, so that the result
/// does not depend on the order of lines.
fn history(seed: u64, now_ms: u64) -> Vec<Vec<u8>> {
    let history = History::at_the_clock(seed, now_ms);
    let history = if seed.is_multiple_of(4) { history.near_limits() } else { history };
    let (mut lines, mut times, mut ids) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for step in history.take(250) {
        let Step::Feed { body, .. } = step else { continue };
        let split: Vec<_> = body.split(|byte| *byte == b'\n').collect();
        // Bodies at the feed's limits do not matter here, and a listed line is cut at 64 KiB.
        for line in split.iter().filter(|line| split.len() < 1_000 && line.len() <= 64 << 10) {
            let is_unlike = placed(line).is_none_or(|(user, at, id)| {
                let (time, id) = ((user.clone(), at), (user, id));
                !times.contains(&time) && !ids.contains(&id) && times.insert(time) && ids.insert(id)
            });
            if is_unlike && !is_blank(line) {
                lines.push(line.to_vec());
            }
        }
    }
    lines
}

/// Whether an import skips a line.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| b" \t\r".contains(byte))
}

/// Whether a code is a verdict of the ledger rather than of the line parser.
fn is_of_ledger(code: Code) -> bool {
    let before =
        ["invalid_json", "unknown_field", "missing_field", "invalid_field", "amount_negative"];
    !before.contains(&code.name())
}

#[test]
fn a_shuffled_history_gives_the_result_of_its_order() {
    seeds::each(12, against_the_model);
}

/// Imports a shuffled history and compares with the model, which gets it in order.
fn against_the_model(seed: u64) -> Result<(), String> {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let scratch = Scratch::new("import-history");
    let mut lines = history(seed, now_ms);
    let mut in_order: Vec<_> = lines.iter().collect();
    in_order.sort_by_key(|line| placed(line).map(|(user, at, _)| (user, at)));
    let (mut model, mut want, mut accepted) = (Model::new(), BTreeMap::new(), Vec::new());
    for line in in_order {
        match model.apply_line(now_ms, false, line) {
            Verdict::Accepted => accepted.push(line.clone()),
            Verdict::Duplicate { .. } => {
                return Err(format!("seed {seed}: no line is there twice"));
            }
            Verdict::Rejected { entry_id, code, field } => {
                let text = String::from_utf8_lossy(line).into_owned();
                let known =
                    want.entry((text, entry_id, code.name().to_owned(), field)).or_insert(0);
                *known += 1;
                if is_of_ledger(code) && placed(line).is_none() {
                    return Err(format!("seed {seed}: the ledger judged what has no place"));
                }
            }
        }
    }
    let mut random = Random(seed);
    let mut duplicates = 0;
    for line in &accepted {
        if random.below(8) == 0 {
            lines.push(line.clone());
            duplicates += 1;
        }
    }
    let count = lines.len();
    lines.extend([&b""[..], b" ", b"\r", b"\t \r"].map(<[u8]>::to_vec));
    random.shuffle(&mut lines);
    let (data, file, rejected) =
        (scratch.join("data"), scratch.join("lines"), scratch.join("rejected"));
    let mut body: Vec<u8> = lines.join(&b'\n');
    body.push(b'\n');
    let stdin = if random.below(2) == 0 { std::mem::take(&mut body) } else { Vec::new() };
    fs::write(&file, &body).expect("it can be written");
    let name = if stdin.is_empty() { file.as_path() } else { Path::new("-") };
    let (code, out, err) = run(
        import(&data).args(["--memory-mib", "1", "--rejected"]).args([&rejected, name]),
        &stdin,
    );
    let refused: usize = want.values().sum();
    let starts = format!(
        "{}: {} accepted, {}, {} rejected",
        many(count, "line"),
        commas(accepted.len()),
        many(duplicates, "duplicate"),
        commas(refused)
    );
    if !out.starts_with(&starts) || code != Some(if refused > 0 { 4 } else { 0 }) {
        return Err(format!("seed {seed}: {code:?}, {out}{err}, and not {starts}"));
    }
    let mut got = BTreeMap::new();
    let listed = fs::read_to_string(&rejected).unwrap_or_default();
    for line in listed.lines() {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("seed {seed}: {error}: {line}"))?;
        let part = |name: &str| {
            value[name]
                .as_str()
                .unwrap_or_else(|| panic!("seed {seed}: no {name}: {line}"))
                .to_owned()
        };
        let at = value["line"].as_u64().unwrap_or_default() as usize;
        if part("text") != String::from_utf8_lossy(&lines[at - 1])
            || part("file") != name.to_string_lossy()
        {
            return Err(format!("seed {seed}: line {at} is another: {line}"));
        }
        let known =
            got.entry((part("text"), part("entry_id"), part("code"), part("field"))).or_insert(0);
        *known += 1;
    }
    if got != want {
        let other: Vec<_> =
            want.iter().filter(|(line, count)| got.get(*line) != Some(*count)).take(3).collect();
        let more: Vec<_> =
            got.iter().filter(|(line, count)| want.get(*line) != Some(*count)).take(3).collect();
        return Err(format!("seed {seed}: the model rejects {other:#?}, and the import {more:#?}"));
    }
    same_answers(seed, now_ms, &model, &Server::with_data(&data, &[]), &lines)
}

/// Compares the reads of every user of the server with the model's.
fn same_answers(
    seed: u64,
    now_ms: u64,
    model: &Model,
    server: &Server,
    lines: &[Vec<u8>],
) -> Result<(), String> {
    let users: BTreeSet<String> =
        lines.iter().filter_map(|line| placed(line)).map(|(user, ..)| user).collect();
    let mut client = server.connect();
    for user in users {
        for read in [
            "balance".to_owned(),
            "stats?window=lifetime".to_owned(),
            format!("stats?window=400d&at_ms={now_ms}"),
        ] {
            let target = format!("/v1/users/{user}/{read}");
            let (want, got) = (model.get(now_ms, &target), client.ask(get(&target)));
            if (want.status, &want.body) != (got.status(), &got.body) {
                return Err(format!(
                    "seed {seed}: {target}: the model has {}, the server {}",
                    want.body, got.body
                ));
            }
        }
    }
    Ok(())
}

/// A rejected line, as the file of rejected lines lists it.
fn listed(file: &str, number: usize, id: &str, code: &str, field: &str, text: &str) -> String {
    let (code, _, _, detail) = expected::row(code);
    let text = serde_json::to_string(text).expect("text is JSON");
    format!(
        "{{\"file\":\"{file}\",\"line\":{number},\"entry_id\":\"{id}\",\"code\":\"{code}\",\
         \"field\":\"{field}\",\"detail\":\"{detail}\",\"text\":{text}}}\n"
    )
}

#[test]
fn an_id_counts_once_however_far_apart_its_lines_are() {
    let scratch = Scratch::new("import-ids");
    let uuid = "0192F0C1-0000-7000-8000-00000000ABcd";
    let value = 0x0192_f0c1_0000_7000_8000_0000_0000_abcd_u128;
    let named = |id: &str, at| {
        credit(1, 7, 5, at).replace("\"entry_id\":\"1\"", &format!("\"entry_id\":\"{id}\""))
    };
    let lines = [
        credit(2, 7, 9, T + 400 * DAY_MS),
        credit(1, 7, 5, T + 30 * DAY_MS),
        credit(1, 8, 5, T + 30 * DAY_MS),
        named(uuid, T + 2),
        credit(1, 7, 5, T),
        named(&value.to_string(), T + 2),
        credit(1, 7, 6, T),
        format!(" {} ", credit(1, 7, 5, T)),
        credit(3, 7, 1, T + 10 * DAY_MS),
    ];
    let data = scratch.join("data/");
    let (code, out, err) = run(import(&data).arg("-"), &entries(&lines));
    assert_eq!((code, err.as_str()), (Some(4), ""));
    let file = fs::canonicalize(scratch.join("data.rejected.ndjson"))
        .expect("it lies beside the directory");
    let counts = format!(
        "9 lines: 5 accepted, 2 duplicates, 2 rejected; 2 users\n  entry_id_conflict: 2\n  \
         rejected lines are in {}\n",
        file.display()
    );
    assert!(out.starts_with(&counts), "{out}");
    let rejected = fs::read_to_string(file).unwrap();
    let want = [(7, &lines[6]), (2, &lines[1])]
        .map(|(n, text)| listed("-", n, "1", "entry_id_conflict", "entry_id", text));
    assert_eq!(rejected, want.concat());
    let server = Server::with_data(&data, &[]);
    assert_eq!(
        server.ask(get("/v1/users/7/balance")).body,
        balance_body(7, 4, T + 400 * DAY_MS, 20)
    );
    assert_eq!(server.ask(get("/v1/users/8/balance")).body, balance_body(8, 1, T + 30 * DAY_MS, 5));
}

#[test]
fn a_settlement_finds_a_hold_booked_at_the_same_time() {
    let scratch = Scratch::new("import-holds");
    let hold = |id: u64, at| credit(id, 7, 100, at).replace('}', ",\"state\":\"pending\"}");
    let settle = |id: u64, hold: u64, amount: u64, at| {
        format!(
            "{{\"entry_id\":\"{id}\",\"user_id\":\"7\",\"amount\":{amount},\"at_ms\":{at},\
             \"pending_id\":\"{hold}\"}}"
        )
    };
    let void = |id: u64, hold: u64, at| {
        format!(
            "{{\"entry_id\":\"{id}\",\"user_id\":\"7\",\"state\":\"voided\",\"at_ms\":{at},\
             \"pending_id\":\"{hold}\"}}"
        )
    };
    let lines = [
        settle(10, 1, 30, T),      // Before its hold: waits for it.
        void(11, 1, T),            // Too late: the hold is settled by then.
        settle(10, 1, 30, T),      // A duplicate of the first line.
        settle(12, 3, 5, T),       // Too early: its hold is booked later.
        hold(1, T),                //
        settle(16, 2, 1, T),       // Before its hold, and before the void.
        hold(2, T),                //
        void(13, 2, T),            // Too late: the hold is settled by then.
        hold(3, T + 1),            //
        settle(14, 3, 101, T + 1), // More than its hold: all of it is posted.
        settle(15, 9, 1, T + 5),   // There is no such hold.
        settle(17, 4, 1, T + 6),   // Before the line that opens its hold by name.
        hold(18, T + 6).replace('}', ",\"pending_id\":\"4\"}"),
        settle(19, 5, 1, T + 6).replace('}', ",\"final\":false}"), // Stays without a hold.
        credit(20, 7, 2, T + 6).replace('}', ",\"pending_id\":\"6\"}"), // Needs none.
    ];
    let (code, out, _) = run(
        import(&scratch.join("data")).args(["--rejected"]).args([scratch.join("r"), "-".into()]),
        &entries(&lines),
    );
    assert_eq!(code, Some(4));
    assert!(out.starts_with("15 lines: 9 accepted, 1 duplicate, 5 rejected; 1 user\n"), "{out}");
    let late = |n: usize, id| listed("-", n, id, "pending_not_found", "pending_id", &lines[n - 1]);
    let want =
        [late(2, "11"), late(8, "13"), late(4, "12"), late(11, "15"), late(14, "19")].concat();
    assert_eq!(fs::read_to_string(scratch.join("r")).unwrap(), want);
    let server = Server::with_data(&scratch.join("data"), &[]);
    let balance = concat!(
        r#"{"user_id":"7","version":9,"as_of_ms":1700000100006,"balances":[{"currency":"COIN","#,
        r#""posted":135,"pending_debits":0,"pending_credits":0,"available":135}]}"#
    );
    assert_eq!(server.ask(get("/v1/users/7/balance")).body, balance);
}

#[test]
fn every_rejected_line_is_listed() {
    let scratch = Scratch::new("import-rejected");
    let far =
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 + 3 * HOUR_MS;
    let long = vec![b'x'; (8 << 20) + 1];
    let lines: Vec<Vec<u8>> = vec![
        credit(1, 7, 5, T + 2).into(),
        b" \t\r".into(),
        b"{\"\xff\"}".into(),
        credit(2, 7, 5, far).into(),
        credit(3, 7, 5, T).replace("topup", "Top\\\"up").into(),
        credit(4, 7, i64::MAX, T + 4).replace("credit", "debit").into(),
        credit(5, 7, 5, T + 5)
            .replace("credit", "debit")
            .replace("\"5\"", "\"5\",\"x\":\"\\n\\u0007\t\"")
            .into(),
        (credit(6, 7, 9, T + 6).replace("credit", "debit") + "\r").into(),
        long,
        credit(8, 7, -8, T).into(),
        vec![b' '; 8 << 20],
    ];
    let body = lines.join(&b'\n');
    let (plain, gzip) = (scratch.join("plain"), scratch.join("gzip"));
    fs::write(&plain, &body).unwrap();
    fs::write(&gzip, packed(&body)).unwrap();
    let text = |n: usize| String::from_utf8_lossy(&lines[n - 1]).into_owned();
    for (name, stdin) in
        [(plain.to_str().unwrap(), &b""[..]), (gzip.to_str().unwrap(), b""), ("-", &body)]
    {
        let data = scratch.join(format!("data-{}", name.len()));
        let (code, out, err) = run(import(&data).arg(name), stdin);
        assert_eq!((code, err.as_str()), (Some(4), ""), "{name}");
        assert!(
            out.starts_with(
                "9 lines: 2 accepted, 0 duplicates, 7 rejected; 1 user\n  amount_negative: 1\n  \
                 balance_overflow: 1\n"
            ),
            "{out}"
        );
        let file = scratch.join(format!("data-{}.rejected.ndjson", name.len()));
        let rejected = fs::read_to_string(file).unwrap();
        let too_long = listed(name, 9, "", "line_too_long", "", &"x".repeat(64 << 10));
        let want = [
            listed(name, 3, "", "invalid_json: not UTF-8", "", &text(3)),
            listed(name, 5, "3", "invalid_field", "kind", &text(5)),
            listed(name, 7, "", "invalid_json: control character", "", &text(7)),
            too_long,
            listed(name, 10, "8", "amount_negative", "amount", &text(10)),
            listed(name, 8, "6", "balance_overflow", "amount", &text(8)),
            listed(name, 4, "2", "entry_in_future", "at_ms", &text(4)),
        ];
        for (n, (got, want)) in rejected.split_inclusive('\n').zip(&want).enumerate() {
            let (at, around) = seeds::first_difference([("listed", got), ("wanted", want)]);
            assert!(got == want, "{name}: object {n}, byte {at}: {around}");
        }
        assert_eq!(rejected.lines().count(), want.len(), "{name}");
    }
}

#[test]
fn a_byte_order_mark_is_named() {
    let scratch = Scratch::new("import-bom");
    let lines = [credit(1, 7, 5, T), credit(2, 7, 6, T)];
    let body = [b"\xef\xbb\xbf", &entries(&lines)[..]].concat();
    fs::write(scratch.join("a"), &body).unwrap();
    fs::write(scratch.join("b"), packed(&body)).unwrap();
    for name in ["a", "b", "-"] {
        let file = if name == "-" { name.into() } else { scratch.join(name) };
        let name = file.to_str().expect("text");
        let (data, rejected) = (scratch.join(format!("data-{}", name.len())), scratch.join("r"));
        let (code, out, err) =
            run(import(&data).args(["--rejected"]).args([&rejected, &file]), &body);
        assert_eq!((code, err.as_str()), (Some(4), ""));
        assert!(
            out.starts_with("2 lines: 1 accepted, 0 duplicates, 1 rejected; 1 user\n"),
            "{out}"
        );
        let text = format!("\u{feff}{}", lines[0]);
        let want = listed(name, 1, "", "invalid_json: byte order mark", "", &text);
        assert_eq!(fs::read_to_string(&rejected).unwrap(), want);
        fs::remove_dir_all(&data).unwrap();
    }
}

/// `count` lines of 997 users at most, with each user's times in disorder.
fn many_lines(count: usize) -> Vec<String> {
    (0..count as u64)
        .map(|n| credit(n + 1, n * n % 997, 1 + n as i64 % 100, T + n * 7_919 % 100_003 * 60_000))
        .collect()
}

#[test]
fn a_small_memory_budget_gives_the_same_snapshot() {
    let scratch = Scratch::new("import-memory");
    let mut lines = many_lines(60_000);
    let [small, large] = ["small", "large"].map(|name| scratch.join(name));
    let (code, out, err) = run(import(&small).args(["--memory-mib", "1", "-"]), &entries(&lines));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let figure = |name: &str| {
        let (before, _) = out.split_once(name).unwrap_or_else(|| panic!("no {name} in {out}"));
        before.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert!(
        figure(" runs sorted") > 16 && figure(" merges") > 1,
        "more runs than can be merged at once: {out}"
    );
    Random(5).shuffle(&mut lines);
    fs::write(scratch.join("lines"), entries(&lines)).unwrap();
    let (code, out, _) = run(import(&large).arg(scratch.join("lines")), b"");
    assert!(code == Some(0) && out.contains("1 run sorted, 1 merge;"), "{out}");
    let [one, other] =
        [small, large].map(|data| fs::read(slice_of(&data).join("snapshot-1")).unwrap());
    assert!(one == other, "the memory budget makes no difference");
}

/// Number of entries in a directory, as `purser verify` counts them; 0 if there is no directory.
pub fn entries_in(data: &Path) -> usize {
    if !data.join("manifest").exists() {
        return 0;
    }
    let (code, out, err) = run(purser().args(["verify", "--data"]).arg(data), b"");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    // The last figure is that of all slices.
    let figure = out.lines().rev().find_map(|line| line.strip_prefix("  entries     "));
    figure.expect("it counts them").replace(',', "").parse().expect("a number")
}

fn kill(mut child: Child) {
    child.kill().expect("it is a child of this process");
    child.wait().expect("it is a child of this process");
}

#[test]
fn a_killed_import_has_imported_nothing_or_everything() {
    let scratch = Scratch::new("import-killed");
    let lines = many_lines(30_000);
    let body = entries(&lines);
    let file = scratch.join("lines");
    fs::write(&file, &body).unwrap();
    let (data, lasting) = (scratch.join("data"), scratch.join("lasting"));
    let begin = |data: &Path, name: &Path| {
        let mut command = import(data);
        command.args(["--memory-mib", "1"]).arg(name).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().expect("it starts")
    };
    // Killed while it reads: it waits for a line that never comes.
    let mut child = begin(&data, Path::new("-"));
    child.stdin.as_mut().expect("piped").write_all(&body[..body.len() / 2]).expect("it reads");
    kill(child);
    assert_eq!(entries_in(&data), 0);
    // Killed anywhere: the longest delay is a little more than the time of a whole import.
    let start = std::time::Instant::now();
    let mut whole = begin(&lasting, &file);
    assert!(ended(&mut whole).success());
    let (takes, seed) = (start.elapsed(), seeds::number("PURSER_SEED").unwrap_or(11));
    let (mut random, mut nothing) = (Random(seed), 0);
    for round in 0..12 {
        let child = begin(&data, &file);
        thread::sleep(takes * random.below(1_100) as u32 / 1_000);
        kill(child);
        let have = entries_in(&data);
        assert!(have == 0 || have == lines.len(), "seed {seed}, round {round}: {have} entries");
        if have == 0 {
            nothing += 1;
        } else {
            fs::remove_dir_all(&data).unwrap();
        }
    }
    assert!(
        nothing > 2,
        "seed {seed}: {nothing} imports were killed in time, each of which takes {takes:?}"
    );
    // Leftover files do not disturb a server or another import.
    let child = begin(&data, Path::new("-"));
    assert!(becomes_true(|| data.join("manifest").exists()), "the directory is created first");
    kill(child);
    let leave_files = || {
        let next = data.join("generation-2/slice-0");
        fs::create_dir_all(&next).unwrap();
        for name in ["snapshot-1", "import.new"] {
            fs::write(slice_of(&data).join(name), b"a beginning").unwrap();
            fs::write(next.join(name), b"a beginning").unwrap();
        }
    };
    leave_files();
    let mut server = Server::with_data(&data, &[]);
    assert_eq!(server.ask(get("/v1/users/1/balance")).shown(), problem("user_not_found", "", ""));
    server.kill();
    assert!(!data.join("generation-2").exists());
    leave_files();
    let (code, out, err) = run(import(&data).arg(&file), b"");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(entries_in(&data), lines.len());
    let snapshot = |data: &Path| fs::read(slice_of(data).join("snapshot-1")).unwrap();
    assert!(
        snapshot(&data) == snapshot(&lasting),
        "the snapshot equals that of an import that was not killed"
    );
}

#[test]
fn import_needs_a_directory_without_entries() {
    let scratch = Scratch::new("import-first");
    let data = scratch.join("data");
    import_all(&data, &[]);
    import_all(&data, &[]);
    import_all(&data, &[credit(1, 7, 5, T)]);
    let refused = |name: &str| {
        let (code, out, err) = run(import(&data).arg("-"), b"{}\n");
        assert_eq!((code, out.as_str()), (Some(1), ""), "{name}");
        err
    };
    let err = refused("entries in a snapshot");
    assert!(err.contains("already holds entries: import into a new directory"), "{err}");
    assert_eq!(
        files_of(&data),
        ["generation-4", "lock", "manifest"].map(str::to_owned).into(),
        "each import was a generation"
    );
    // A server continues on the imported data: a log, restarts, and entries of its own.
    for round in 0..3 {
        let server = Server::with_data(&data, &[]);
        let (version, posted) = (1 + round, 5 * (1 + round as i64));
        assert_eq!(
            server.ask(get("/v1/users/7/balance")).body,
            balance_body(7, version, T + round, posted)
        );
        server.feed(&[credit(2 + round, 7, 5, T + version)]);
        let err = refused("in use");
        assert!(err.contains("is in use by another process"), "{err}");
    }
    // Its own snapshots too, after which the segments since the imported snapshot are deleted.
    let server = Server::with_data(&data, &["--snapshot-after-mib", "1"]);
    let more: Vec<_> = (0..20_000).map(|n| credit(100 + n, n % 500, 1, T + 10)).collect();
    server.feed(&more);
    assert!(becomes_true(|| files_of(&slice_of(&data)).contains("snapshot-2")
        && !files_of(&slice_of(&data)).contains("log-1")));
    drop(server);
    assert_eq!(entries_in(&data), 20_004);
    let last = files_of(&slice_of(&data))
        .into_iter()
        .find(|name| name.starts_with("snapshot-"))
        .expect("there is one");
    fs::remove_file(slice_of(&data).join(&last)).unwrap();
    let err = refused("a damaged directory");
    assert!(
        err.contains(&format!("{last} at byte 0: the manifest names this file, but it is missing")),
        "{err}"
    );
}

#[test]
fn an_import_into_the_empty_directory_of_a_server_writes_the_slices_asked_for() {
    let lines: Vec<_> = (0..300).map(|n| credit(1 + n, n % 100, 1, T + n)).collect();
    for (slices, asked, want) in
        [(3, None, 3), (3, Some("2"), 2), (1, Some("7"), 7), (2, Some("1"), 1)]
    {
        let scratch = Scratch::new("import-served");
        let data = scratch.join("data");
        let flags = ["--slices", &slices.to_string()];
        let mut server = Server::with_data(&data, &flags);
        server.signal("TERM");
        assert!(server.ended().success());
        let flags = asked.map_or(vec![], |asked| vec!["--slices", asked]);
        let (code, out, err) = run(import(&data).args(&flags).arg("-"), &entries(&lines));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{slices}, {asked:?}: {out}");
        assert!(out.starts_with("300 lines: 300 accepted, 0 duplicates, 0 rejected; 100 users\n"));
        assert_eq!(generation(&data).slices, want);
        let path = data.join("generation-2");
        assert_eq!(files_of(&path), (0..want).map(|slice| format!("slice-{slice}")).collect());
        assert!(!data.join("generation-1").exists());
        assert_eq!(entries_in(&data), lines.len());
        let before = tree(&data);
        for flags in [&flags[..], &["--slices", "4"]] {
            let (code, _, err) = run(import(&data).args(flags).arg("-"), &entries(&lines));
            assert!(code == Some(1) && err.contains("already holds entries"), "{code:?} {err}");
        }
        assert!(tree(&data) == before, "a refused import changes nothing");
        let server = Server::with_data(&data, &["--slices", &want.to_string()]);
        for user in 0..100 {
            let balance = balance_body(user, 3, T + 200 + user, 3);
            assert_eq!(server.ask(get(&format!("/v1/users/{user}/balance"))).body, balance);
        }
    }
}

#[test]
fn each_number_of_slices_gets_the_same_users() {
    let scratch = Scratch::new("import-slices");
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let lines = history(8, now_ms).join(&b'\n');
    let figures = |slices: u32| {
        let data = scratch.join(format!("data-{slices}"));
        let (code, out, _) =
            run(import(&data).args(["--slices", &slices.to_string(), "-"]), &lines);
        assert!(matches!(code, Some(0 | 4)), "{out}");
        assert_eq!(generation(&data).slices, slices);
        (entries_in(&data), Offline::open(&data, slices).figures())
    };
    let (count, one) = figures(1);
    assert!(count > 100, "{count} entries");
    for slices in [2, 3, 16] {
        let (entries, several) = figures(slices);
        assert_eq!(entries, count, "{slices} slices");
        one.assert_same(&several, &format!("{slices} slices"));
    }
}

#[test]
fn a_log_without_a_whole_write_does_not_prevent_an_import() {
    let scratch = Scratch::new("import-behind");
    let data = scratch.join("data");
    Server::with_data(&data, &[]).feed(&[credit(1, 7, 5, T)]);
    let segment = slice_of(&data).join("log-1");
    let mut torn = fs::read(&segment).unwrap();
    // Tears the first write, which begins after the header's block.
    torn[4_096 + 60] ^= 1;
    fs::write(&segment, torn).unwrap();
    import_all(&data, &[credit(1, 7, 6, T)]);
    for version in 1..3 {
        assert_eq!(entries_in(&data), version as usize);
        let server = Server::with_data(&data, &[]);
        assert_eq!(
            server.ask(get("/v1/users/7/balance")).body,
            balance_body(7, version, T, 5 + version as i64)
        );
        server.feed(&[credit(1 + version, 7, 1, T)]);
    }
}

#[test]
fn unreadable_input_is_not_imported() {
    let scratch = Scratch::new("import-unreadable");
    let (data, file) = (scratch.join("data"), scratch.join("lines.gz"));
    let whole = packed(&entries(&many_lines(1_000)));
    let check = |files: &[&str], code: i32, part: &str| {
        let (got, out, err) = run(import(&data).args(files), b"");
        assert!(
            got == Some(code) && out.is_empty() && err.starts_with("error: ") && err.contains(part),
            "{got:?} {out}{err}"
        );
        if data.exists() {
            assert_eq!(entries_in(&data), 0);
            assert_eq!(files_of(&slice_of(&data)), ["manifest".to_owned()].into());
            assert!(!data.join("generation-2").exists(), "the unfinished generation is removed");
        }
    };
    let name = file.to_str().unwrap();
    check(&["/nonexistent/lines"], 1, "cannot open /nonexistent/lines: ");
    check(&["-", "/tmp"], 1, "cannot read /tmp: ");
    fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    check(&["-", name], 1, &format!("cannot read {name}: "));
    let mut bad = whole.clone();
    let end = bad.len();
    bad[end - 6] ^= 1;
    fs::write(&file, &bad).unwrap();
    check(&[name], 1, "(after line 1000); nothing was imported");
    check(&["-", "-"], 2, "- (standard input) can be given only once");
    check(&["--memory-mib", "0", "-"], 2, "--memory-mib");
    check(&["--memory-mib", "99999999999999999", "-"], 2, "--memory-mib");
    check(&["--slices", "0", "-"], 2, "--slices");
    check(&[], 2, "<FILE>");
    let (code, out, _) = run(purser().args(["import", "--help"]), b"");
    assert_eq!(code, Some(0));
    for part in [
        "--data",
        "--rejected",
        "--memory-mib",
        "--slices",
        "DIR.rejected.ndjson",
        "Exit codes: 0 ",
        "4 some lines were rejected",
    ] {
        assert!(out.contains(part), "no {part} in {out}");
    }
}
