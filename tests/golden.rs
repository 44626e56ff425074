//! Golden test of disk format version 3: a data directory, kept as text, that every later program
//! must load, and the answers that a server gives on it.
//!
//! - `data/golden/v3/data.txt` holds each file of the directory: a line with its name and size,
//!   then rows of its bytes in hexadecimal, each with its offset. Rows of zeros are left out.
//! - `data/golden/v3/answers.txt` is a script: requests (`> `), each followed by its answer (`< `,
//!   status and body), in order. `LATE` is a feed that accepts late entries.
//!
//! `cargo test --test purser make_golden -- --ignored` made both and refuses to run again: a new
//! format version gets a new directory beside this one.

use crate::server::client::{self, Client, feed, get};
use crate::server::{Scratch, Server, becomes_true, entries, slice_manifest};
use crate::users::name;
use purser::journal::{File, manifest, slice_directory};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const DATA: &str = include_str!("data/golden/v3/data.txt");
const ANSWERS: &str = include_str!("data/golden/v3/answers.txt");
/// Bytes per row.
const ROW: usize = 64;

/// Writes the files described by `text` below `root`.
fn unpack(text: &str, root: &Path) {
    let mut open = None;
    for line in text.lines() {
        let (first, second) = line.split_once(' ').expect("two words");
        if let Ok(offset) = first.parse() {
            let byte =
                |at: usize| u8::from_str_radix(&second[at..at + 2], 16).expect("hexadecimal");
            let bytes: Vec<_> = (0..second.len()).step_by(2).map(byte).collect();
            let file: &fs::File = open.as_ref().expect("a name comes first");
            file.write_all_at(&bytes, offset).expect("it can be written");
        } else {
            let path = root.join(first);
            fs::create_dir_all(path.parent().expect("the file is below the root"))
                .expect("it can be created");
            let file = fs::File::create(path).expect("it can be created");
            file.set_len(second.parse().expect("a size")).expect("it can be sized");
            open = Some(file);
        }
    }
}

/// A feed of one line that accepts late entries.
fn feed_late(line: &str) -> Vec<u8> {
    client::post("/v1/entries?late=accept", "application/x-ndjson", line)
}

/// Sends the script's requests and returns the script with the answers received.
fn play(client: &mut Client, script: &str) -> String {
    let mut said = String::new();
    for request in script.lines().filter_map(|line| line.strip_prefix("> ")) {
        let response = match request.strip_prefix("GET ") {
            Some(target) => client.ask(get(target)),
            None => match request.strip_prefix("LATE ") {
                Some(line) => client.ask(feed_late(line)),
                None => client.ask(feed(entries(&[request]))),
            },
        };
        writeln!(said, "> {request}\n< {} {}", response.status(), response.body)
            .expect("a string takes all");
    }
    said
}

fn check(client: &mut Client, script: &str) {
    let said = play(client, script);
    for (said, wanted) in said.lines().zip(script.lines()) {
        assert_eq!(said, wanted);
    }
    assert_eq!(said.len(), script.len());
}

#[test]
fn version_3_loads() {
    assert!(DATA.len() + ANSWERS.len() < 200_000, "golden files are small");
    let scratch = Scratch::new("golden");
    let root = scratch.join("data");
    unpack(DATA, &root);
    let (manifest, names) = slice_files(&root);
    assert!(
        manifest.snapshot > 0 && manifest.last >= manifest.first + 2 && names.len() >= 4,
        "{manifest:?} {names:?}"
    );

    let mut server = Server::with_data(&root, &[]);
    let line = server
        .startup_lines
        .iter()
        .find(|line| line.starts_with("data: "))
        .expect("it says what it loaded");
    assert!(
        line.contains("users from the snapshot") && !line.contains(" 0 entries from the log"),
        "{line}"
    );
    check(&mut server.connect(), ANSWERS);
    // The entries that the script fed survive a kill too.
    let (_, reads) =
        ANSWERS.rsplit_once("> {").expect("the script feeds, and reads again after that");
    let (_, reads) = reads.split_once("\n> ").expect("reads follow");
    let reads = format!("> {reads}");
    assert!(reads.lines().count() > 20, "{reads}");
    server.kill();
    let server = Server::with_data(&root, &[]);
    check(&mut server.connect(), &reads);
}

/// The slice's manifest and the files that it names.
fn slice_files(root: &Path) -> (manifest::SliceManifest, Vec<PathBuf>) {
    let (slice, manifest) = (PathBuf::from(slice_directory(1, 0)), slice_manifest(root, 0));
    let segments = (manifest.first..=manifest.last).map(File::Segment);
    let files = segments
        .chain([File::Snapshot(manifest.snapshot)])
        .map(|file| slice.join(file.to_string()))
        .collect();
    (manifest, files)
}

/// The manifests and the files they name, as text.
fn pack(root: &Path) -> String {
    let mut text = String::new();
    let manifests =
        [PathBuf::from("manifest"), PathBuf::from(slice_directory(1, 0)).join("manifest")];
    for name in manifests.into_iter().chain(slice_files(root).1) {
        let bytes = fs::read(root.join(&name)).expect("it is there");
        writeln!(text, "{} {}", name.display(), bytes.len()).expect("a string takes all");
        for (row, bytes) in bytes.chunks(ROW).enumerate() {
            let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else { continue };
            let hex: String = bytes[..=last].iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{} {hex}", row * ROW).expect("a string takes all");
        }
    }
    text
}

/// Booking time of most entries.
const T: u64 = 1_700_000_000_000;
const BUCKET: u64 = 900_000;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// A user with a long history.
const OLD: u64 = 5;
const LAST: u64 = u64::MAX - 1;

fn post(
    id: impl std::fmt::Display,
    user: u64,
    money: (&str, &str, &str, i64),
    at: u64,
    state: &str,
) -> String {
    let (user, (currency, kind, direction, amount)) = (name(user), money);
    format!(
        "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"currency\":\"{currency}\",\
         \"kind\":\"{kind}\",\"direction\":\"{direction}\",\"amount\":{amount},\"at_ms\":{at},\
         \"state\":\"{state}\"}}"
    )
}

fn settle(id: u64, user: u64, hold: u64, amount: i64, at: u64) -> String {
    let user = name(user);
    format!(
        "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"amount\":{amount},\"at_ms\":{at},\
         \"state\":\"posted\",\"pending_id\":\"{hold}\"}}"
    )
}

fn void(id: u64, user: u64, hold: u64, at: u64) -> String {
    let user = name(user);
    format!(
        "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"at_ms\":{at},\"state\":\"voided\",\
         \"pending_id\":\"{hold}\"}}"
    )
}

/// A line on a hold with more members.
fn on_hold(id: &str, hold: &str, at: u64, members: &str) -> String {
    let user = name(3);
    format!(
        "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"at_ms\":{at},\"pending_id\":\"{hold}\",\
         {members}}}"
    )
}

/// Currency, kind and direction of a line on a hold.
const OWN: &str = r#""currency":"USD/2","kind":"Payment.captured:1","direction":"debit""#;

/// Entries on holds of every form, with ids that begin with `id`.
fn on_holds(id: &str, at: u64) -> Vec<String> {
    let (new, open) = (format!("{id}:new"), format!("{id}:open"));
    let line =
        |n: u64, hold: &str, members: &str| on_hold(&format!("{id}:{n}"), hold, at + n, members);
    vec![
        line(1, &new, &format!(r#"{OWN},"amount":500,"state":"pending""#)),
        line(2, &new, r#""amount":70,"state":"pending""#),
        line(3, &new, r#""amount":120,"final":false"#),
        line(4, &new, &format!(r#"{OWN},"amount":1,"final":false"#)),
        line(5, &new, r#""amount":40,"state":"voided""#),
        line(6, &open, &format!(r#"{OWN},"amount":9,"state":"pending""#)),
        post(&open, 3, ("USD/2", "its.own", "debit", 90), at + 7, "pending"),
        line(8, "none", &format!(r#"{OWN},"amount":6"#)),
        line(9, "none", &format!(r#"{OWN},"state":"voided""#)),
    ]
}

/// Late entries, each in another grain.
fn late_lines(id: u64, n: u64) -> [String; 4] {
    [2 * DAY, 7 * DAY, 60 * DAY, 900 * DAY].map(|ago| {
        post(
            id + ago / DAY,
            OLD,
            ("COIN", "late", "credit", 1 + n.cast_signed()),
            T - ago - n,
            "posted",
        )
    })
}

/// Entries of the snapshot, fed in one request.
fn before_the_snapshot() -> Vec<String> {
    let coin = |direction, amount| ("COIN", "topup", direction, amount);
    let mut lines = vec![post(1, 1, coin("credit", 500), T, "posted")];
    // Several currencies.
    for (n, currency) in ["COIN", "EUR", "DIAMOND", "ABCDEFGH"].into_iter().enumerate() {
        lines.push(post(
            10 + n,
            2,
            (currency, "topup", "credit", 1_000 + n as i64),
            T + n as u64,
            "posted",
        ));
        lines.push(post(
            20 + n,
            2,
            (currency, "gift_sent", "debit", 10 * n as i64),
            T + 10 + n as u64,
            "posted",
        ));
    }
    // Holds: open, partly settled, fully settled, voided.
    for n in 0..20 {
        let direction = if n % 3 == 0 { "credit" } else { "debit" };
        lines.push(post(100 + n, 3, coin(direction, 100 + n as i64), T + n, "pending"));
    }
    lines.extend([
        settle(130, 3, 100, 40, T + 30),
        settle(131, 3, 101, 101, T + 31),
        void(132, 3, 102, T + 32),
    ]);
    lines.extend(on_holds("snapshot", T + 40));
    // Many ids in the dedup window, of every form.
    for n in 0..60_u128 {
        let id =
            format!("{:032x}", (n + 1).wrapping_mul(0x1234_5678_9abc_def0_0fed_cba9_8765_4321));
        let uuid = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
        lines.push(post(
            uuid,
            4,
            ("COIN", "gift_received", "credit", n as i64),
            T + n as u64 * 1_000,
            "posted",
        ));
    }
    lines.push(post(u128::MAX, 4, coin("debit", 1), T + 60_000, "posted"));
    // Days, hours and 15-minute buckets: more than a block of rows.
    for n in 0..3_000 {
        let ago = match 3_000 - n {
            ago @ 2_001.. => 9 * DAY + (ago - 2_000) * 9 * HOUR,
            ago @ 1_001.. => 27 * HOUR + (ago - 1_000) * 10 * 60_000,
            ago => ago * 95_000,
        };
        let kind =
            ["topup", "gift_sent", "gift_received", "refund", "card_declined"][(n % 5) as usize];
        let (currency, direction) =
            (["COIN", "EUR"][(n / 7 % 2) as usize], ["credit", "debit"][(n / 3 % 2) as usize]);
        let amount = (n * n * 7_919 % 100_003) as i64;
        lines.push(post(10_000 + n, OLD, (currency, kind, direction, amount), T - ago, "posted"));
    }
    // The largest and smallest values.
    lines.push(post(200, 6, ("COIN", "card_declined", "debit", 0), T, "posted"));
    lines.push(post(201, 6, coin("credit", i64::MAX), T, "posted"));
    lines.push(post(
        202,
        6,
        ("COIN", "abcdefghijklmnopqrstuvwxyz_01234", "debit", i64::MAX),
        T - DAY,
        "posted",
    ));
    lines.push(post(0, LAST, coin("credit", 7), 0, "posted"));
    lines
}

/// Requests whose entries are in the log after the snapshot, for each of three runs of the server.
fn after_the_snapshot() -> [Vec<Vec<String>>; 3] {
    let euro = |kind, amount| ("EUR", kind, "credit", amount);
    [
        vec![
            vec![settle(300, 3, 103, 3, T + 100), void(301, 3, 104, T + 101)],
            on_holds("log", T + 110),
            vec![post(302, 3, euro("new_kind", 9), T + 102, "pending")],
            (0..30).map(|n| post(310 + n, 7, euro("topup", n as i64), T + n, "posted")).collect(),
        ],
        vec![
            vec![post(400, OLD, euro("topup", 11), T + BUCKET, "posted")],
            vec![
                post(401, 1, euro("topup", 12), T + 2 * DAY, "posted"),
                settle(402, 3, 302, 8, T + 200),
            ],
        ],
        vec![vec![post(500, OLD, ("COIN", "newest_kind", "debit", 13), T + DAY, "posted")]],
    ]
}

/// Entries that fill the first segment, one write each.
fn filling(n: u64) -> String {
    post(1_000 + n, 100 + n % 16, ("COIN", "topup", "credit", n as i64), T + n, "posted")
}

/// Reads, further entries, and the same reads again.
fn script() -> String {
    let mut reads = String::new();
    for user in [1, 2, 3, 4, OLD, 6, 7, 8, 100, 115, LAST] {
        let id = name(user);
        let mut ask = |what: &str| {
            writeln!(reads, "> GET /v1/users/{id}/{what}").expect("a string takes all");
        };
        ask("balance");
        ask("stats?window=lifetime");
        let (latest, windows) = if user == OLD {
            (T + DAY, &["15m", "2h", "24h", "26h", "7d", "8d", "30d", "400d"][..])
        } else {
            (T + 200, &["15m", "24h", "400d"][..])
        };
        windows.iter().for_each(|window| ask(&format!("stats?window={window}&at_ms={latest}")));
    }
    for filter in ["currency=EUR", "kind=refund", "currency=COIN&kind=topup"] {
        let id = name(OLD);
        writeln!(reads, "> GET /v1/users/{id}/stats?window=90d&at_ms={}&{filter}", T - 5 * DAY)
            .expect("a string takes all");
    }
    let coin = |amount| ("COIN", "topup", "credit", amount);
    let feeds = [
        // Resends and conflicts: ids from the snapshot and from each run's part of the log.
        post(1, 3, coin(1), T, "posted"),
        post(100, 3, ("COIN", "topup", "credit", 100), T, "pending"),
        post(12_999, OLD, coin(1), T + DAY, "posted"),
        settle(300, 3, 103, 3, T + 100),
        post(310, 7, ("EUR", "topup", "credit", 0), T, "posted"),
        post(311, 7, ("EUR", "topup", "credit", 77), T, "posted"),
        post(500, OLD, ("COIN", "newest_kind", "debit", 13), T + DAY, "posted"),
        // Old and new booking times, settlements, and new users.
        post(501, OLD, coin(5), T - 2 * HOUR, "posted"),
        post(502, OLD, ("COIN", "newest_kind", "debit", 5), T + DAY + 1, "posted"),
        settle(503, 3, 105, 105, T + 300),
        settle(504, 3, 106, 1_000, T + 300),
        void(505, 3, 100, T + 300),
        post(506, 4, ("ZZZ", "topup", "debit", 1), T + 61_000, "posted"),
        post(507, 6, coin(1), T, "posted"),
        post(508, LAST, coin(1), 1, "posted"),
        post(509, 8, coin(1), T, "posted"),
        // Holds that the snapshot and the log have.
        on_hold("e1", "snapshot:new", T + 300, r#""amount":9,"final":false"#),
        on_hold("e2", "log:new", T + 300, r#""state":"voided","amount":1"#),
        on_hold("log:3", "log:new", T + 113, r#""amount":120,"final":false"#),
        post("snapshot:open", 3, ("USD/2", "its.own", "debit", 90), T + 300, "pending"),
        on_hold("e3", "log:open", T + 300, &format!(r#"{OWN},"amount":1,"state":"pending""#)),
    ];
    let feeds: String = feeds.iter().map(|line| format!("> {line}\n")).collect();
    let late = late_lines(20_000, 1).into_iter().chain(late_lines(30_000, 2));
    let late: String = late.map(|line| format!("> LATE {line}\n> {line}\n")).collect();
    let feeds = feeds + &late;
    format!("{reads}{feeds}{reads}")
}

#[test]
#[ignore = "it made the golden files, and refuses to make them again"]
fn make_golden() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/v3");
    assert_eq!(DATA, "", "version 3 is what it is: it is never made again");
    let scratch = Scratch::new("make-golden");
    let root = scratch.join("data");
    // An ephemeral server gets the same entries and must give the same answers.
    let other = Server::start(&[]);
    let fed = |server: &Server, lines: &[String]| {
        server.feed(lines);
        other.feed(lines);
    };
    let mut server = Server::with_data(&root, &["--snapshot-after-mib", "1"]);
    let fed_late = |server: &Server, id: u64| {
        for line in late_lines(id, 0) {
            server.ask(feed_late(&line));
            other.ask(feed_late(&line));
        }
    };
    fed(&server, &before_the_snapshot());
    fed_late(&server, 40_000);
    let mut n = 0;
    while slice_files(&root).0.last < 2 {
        fed(&server, &[filling(n)]);
        n += 1;
    }
    (n..n + 4).for_each(|n| fed(&server, &[filling(n)]));
    assert!(becomes_true(|| slice_files(&root).0.snapshot > 0), "a snapshot is taken");
    for (life, requests) in after_the_snapshot().iter().enumerate() {
        if life > 0 {
            server.kill();
            server = Server::with_data(&root, &[]);
        }
        requests.iter().for_each(|lines| fed(&server, lines));
    }
    fed_late(&server, 20_000);
    server.kill();
    let data = pack(&root);
    unpack(&data, &scratch.join("copy"));
    let script = script();
    let answers = play(&mut Server::with_data(&scratch.join("copy"), &[]).connect(), &script);
    assert_eq!(answers, play(&mut other.connect(), &script));
    fs::write(golden.join("data.txt"), data).expect("it can be written");
    fs::write(golden.join("answers.txt"), answers).expect("it can be written");
}
