//! Repartition tests: a data directory changes its number of slices. From any number to any other,
//! whenever it is killed and whatever fails, every user is there exactly once and unchanged.
//!
//! `PURSER_KILLS=1000` runs that many rounds of kills, `PURSER_SEED=…` repeats one seed.

use crate::faults::{flip, restore, show, tree};
use crate::import::{Random, import_all};
use crate::model::history::{History, Step};
use crate::offline::{Offline, Reference, each_entry, reports};
use crate::seeds;
use crate::server::client::get;
use crate::server::{Scratch, Server, becomes_true, credit, entries, run, serve, slice_manifest};
use crate::verify::{sound, verify};
use purser::engine::directory::{Directory, Error};
use purser::engine::repartition::repartition;
use purser::journal::{Place, generation_directory, manifest, slice_directory};
use purser::ledger::entry::Verdict;
use purser::ledger::id::UserId;
use purser::slice::recovery::Report;
use std::cell::Cell;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Numbers of slices: one, a few, and more than a small directory has users.
const NUMBERS: [u32; 4] = [1, 2, 3, 7];
const T: u64 = 1_700_000_100_000;
const DAY_MS: u64 = 86_400_000;
/// Rounds of kills unless `PURSER_KILLS` is set.
const KILLS: u64 = 12;

/// A data directory and a reference slice with the same entries.
struct Fixture {
    scratch: Scratch,
    reference: Reference,
}

impl Fixture {
    fn new() -> Self {
        Self { scratch: Scratch::new("repartition"), reference: Reference::new() }
    }

    fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// Feeds a body to both; all verdicts must agree.
    fn feed(&mut self, offline: &mut Offline, now_ms: u64, body: &[u8], context: &str) {
        each_entry(body, |entry| {
            let verdict = offline.apply(now_ms, entry);
            assert_eq!(verdict, self.reference.apply(now_ms, entry), "{context}: {entry:?}");
        });
    }

    /// Opens a directory, repartitions it to `slices` slices, and compares all users.
    fn open(&self, data: &Path, slices: u32, context: &str) -> Offline {
        let offline = Offline::open(data, slices);
        self.reference.figures().assert_same(&offline.figures(), context);
        offline
    }

    /// Runs `purser verify` on a directory and checks its numbers of slices, users and entries.
    fn verified(&self, data: &Path, slices: u32, context: &str) {
        let out = sound(data);
        let told = |name: &str| -> Vec<u64> {
            let figures =
                out.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
            figures.map(|n| n.trim().replace(',', "").parse().expect("a number")).collect()
        };
        for (told, all) in
            [(told("users "), self.reference.users()), (told("entries "), self.reference.entries())]
        {
            // A number per slice, then the sum if there are several slices.
            let (parts, sum) = told.split_at(slices as usize);
            assert!(
                parts.iter().sum::<u64>() == all && sum.iter().all(|&sum| sum == all),
                "{context}: {all}, {out}"
            );
            assert_eq!(sum.len(), usize::from(slices > 1), "{context}: {out}");
        }
        assert!(out.contains(&format!(", {slices} slice")), "{context}: {out}");
    }
}

/// Entries of many users, each with a few of 150 kinds, and open holds.
fn crowd(first: u64, users: u64, each: u64) -> Vec<String> {
    let line = |n: u64| {
        let (user, round) = (first + n % users, n / users);
        let kind = format!("kind_{}", (user * 7 + round * 3) % 150);
        let line = credit(n, user, 1 + n as i64, T + n).replace("topup", &kind);
        if round % 3 == 2 { line.replace('}', r#","state":"pending"}"#) } else { line }
    };
    (0..users * each).map(line).collect()
}

/// What the chains have covered.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    /// Slices with a torn write at the end of their log.
    torn: usize,
    /// Slices with a snapshot and a log after it.
    mixed: usize,
    /// Slices without users.
    empty: usize,
    changes: usize,
}

#[test]
fn a_chain_of_repartitions_changes_no_user() {
    let met = Cell::new(Met::default());
    seeds::each(24, |seed| {
        met.set(chain(seed, met.get()));
        Ok(())
    });
    let met = met.get();
    println!("{met:?}");
    if seeds::number("PURSER_SEED").is_none() {
        assert!(met.torn > 0 && met.mixed > 0 && met.empty > 0 && met.changes > 0, "{met:?}");
    }
}

fn chain(seed: u64, mut met: Met) -> Met {
    let mut random = Random(seed);
    let mut history =
        if seed.is_multiple_of(3) { History::at_limits(seed) } else { History::new(seed) };
    let mut fixture = Fixture::new();
    let data = fixture.data();
    let mut before = 0;
    for life in 0..6 {
        let slices = if seed.is_multiple_of(2) {
            [1, 2, 3, 7, 1, 7][life]
        } else {
            NUMBERS[random.below(4)]
        };
        let context = format!("seed {seed}, life {life}, from {before} to {slices} slices");
        if before > 0 {
            for Report { users, replayed, torn_write, .. } in reports(&data) {
                met.torn += usize::from(torn_write.is_some());
                met.mixed += usize::from(users > 0 && replayed > 0);
                met.empty += usize::from(users + replayed == 0);
            }
            met.changes += usize::from(before != slices);
        }
        drop(fixture.open(&data, slices, &context));
        fixture.verified(&data, slices, &context);
        let mut offline = fixture.open(&data, slices, &context);
        for step in history.by_ref().take(random.below(80)) {
            let Step::Feed { now_ms, body, .. } = step else { continue };
            fixture.feed(&mut offline, now_ms, &body, &context);
            if random.below(4) == 0 {
                offline.settle();
            }
        }
        offline.settle();
        for slice in (0..slices as usize).filter(|_| random.below(3) == 0) {
            offline.tear(slice);
        }
        before = slices;
    }
    met
}

/// A directory of three slices, each with a snapshot, a log after it and a torn write at its end.
fn three_slices(users: u64) -> Fixture {
    let mut fixture = Fixture::new();
    let mut offline = fixture.open(&fixture.data(), 3, "empty");
    fixture.feed(&mut offline, T + DAY_MS, &entries(&crowd(0, users, 5)), "the first");
    offline.settle();
    drop(offline);
    let mut offline = fixture.open(&fixture.data(), 3, "all");
    fixture.feed(&mut offline, T + DAY_MS, &entries(&crowd(1_000_000, 100, 2)), "the second");
    (0..3).for_each(|slice| assert!(offline.tear(slice)));
    drop(offline);
    let reports = reports(&fixture.data());
    assert!(
        reports
            .iter()
            .all(|report| report.users > 0 && report.replayed > 0 && report.torn_write.is_some()),
        "{reports:?}"
    );
    fixture
}

#[test]
fn an_empty_directory_can_be_repartitioned() {
    let fixture = Fixture::new();
    for slices in [3, 1, 7, 2, 2] {
        drop(fixture.open(&fixture.data(), slices, "empty"));
        fixture.verified(&fixture.data(), slices, "empty");
    }
    let mut server = Server::spawn(&mut serving(&fixture.data(), 1));
    server.feed(&[credit(1, 7, 5, T)]);
    server.kill();
    assert!(sound(&fixture.data()).contains("generation 5, 1 slice\n"));
}

/// Copies the directory at each progress report of a repartition, also with files half removed, and
/// opens each copy. Then stops a repartition at each report.
#[test]
fn a_repartition_ended_at_any_point_loses_and_repeats_no_user() {
    let fixture = three_slices(4_000);
    let image = |n: usize| fixture.scratch.join(format!("image-{n}"));
    let (whole, mut images) = (tree(&fixture.data()), 0);
    let directory = Directory::open(&fixture.data()).expect("the directory is sound");
    let look = &mut |_, _| {
        copy(&fixture.data(), &image(images));
        images += 1;
        true
    };
    drop(repartition(directory, 2, look).expect("the disk has space"));
    restore(&fixture.data(), &whole);
    let (mut unfinished, mut replaced) = (0, 0);
    for n in 0..images {
        let (path, old) = (image(n), image(n).join("generation-1"));
        let named = fs::read(path.join("manifest")).expect("the manifest always exists");
        let named = manifest::DataManifest::decode(&named)
            .expect("the manifest is always whole")
            .generation;
        // The unnamed generation may be partly removed.
        let other = if named == 1 { path.join("generation-2") } else { old };
        unfinished += usize::from(named == 1);
        replaced += usize::from(named == 2);
        let note = format!("note: {} is not in use; the next start removes it\n", other.display());
        assert!(sound(&path).contains(&note), "image {n}");
        if n % 3 == 1 {
            fs::remove_dir_all(other.join("slice-0")).expect("it is there");
        } else if n % 3 == 2 {
            tree(&other)
                .into_keys()
                .step_by(2)
                .for_each(|file| fs::remove_file(file).expect("it is there"));
        }
        let slices = NUMBERS[n % NUMBERS.len()];
        let context = format!("image {n} of {images}, to {slices} slices");
        drop(fixture.open(&path, slices, &context));
        fixture.verified(&path, slices, &context);
        fs::remove_dir_all(path).expect("it can be removed");
    }
    assert!(
        unfinished >= 10 && replaced > 0,
        "{unfinished} images with an unfinished generation, {replaced} with an old one"
    );
    // Stopped at a report before the new generation is named, it leaves the directory unchanged.
    for stop in 0..unfinished {
        let mut reports = 0;
        let directory = Directory::open(&fixture.data()).expect("the directory is sound");
        let look = &mut |done, total| {
            assert!(done <= total && total > 0, "{done} of {total}");
            reports += 1;
            reports <= stop
        };
        let error = repartition(directory, 2, look).expect_err("the repartition is stopped");
        assert!(matches!(error, Error::Stopped(_)), "{error}");
        assert!(
            tree(&fixture.data()) == whole && !fixture.data().join("generation-2").exists(),
            "stopped at report {stop}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("a name");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("it can be copied");
        }
    }
}

/// The command that serves a directory with `slices` slices.
fn serving(data: &Path, slices: u32) -> Command {
    let mut command = serve("127.0.0.1:0");
    command.arg("--data").arg(data).args(["--slices", &slices.to_string()]);
    command
}

/// Starts a server and waits until it prints that it re-partitions.
fn begun(data: &Path, slices: u32) -> Server {
    let server = Server::begin(&mut serving(data, slices));
    let said =
        std::iter::from_fn(|| server.line()).any(|line| line.contains(": re-partitioning from "));
    assert!(said, "the server re-partitions");
    server
}

#[test]
fn a_server_repartitions_a_directory_to_its_slices() {
    let mut fixture = three_slices(4_000);
    let data = fixture.data();
    let mut before = 3;
    for (life, slices) in [1, 1, 7, 2, 3].into_iter().enumerate() {
        let mut server = Server::spawn(&mut serving(&data, slices));
        let said =
            format!("data: {}: re-partitioning from {before} to {slices} slice", data.display());
        let is_said = server.startup_lines.iter().any(|line| line.starts_with(&said));
        assert_eq!(is_said, before != slices, "{:#?}", server.startup_lines);
        assert!(
            becomes_true(|| server.ask(get("/readyz")).status() == 200),
            "the server becomes ready"
        );
        let lines: Vec<_> =
            (0..50).map(|user| credit(9_000_000 + life as u64, user, 1, T + DAY_MS)).collect();
        server.feed(&lines);
        each_entry(&entries(&lines), |entry| {
            assert_eq!(fixture.reference.apply(T + DAY_MS, entry), Verdict::Accepted);
        });
        server.kill();
        fixture.verified(&data, slices, "served");
        drop(fixture.open(&data, slices, "served"));
        before = slices;
    }
}

#[test]
fn a_server_ends_on_a_signal_during_a_repartition() {
    let fixture = three_slices(20_000);
    let whole = tree(&fixture.data());
    let mut server = begun(&fixture.data(), 1);
    server.signal("TERM");
    let lines: Vec<_> = std::iter::from_fn(|| server.line()).collect();
    assert!(server.ended().success(), "{lines:#?}");
    // If the signal came too late, the repartition was completed.
    if lines.contains(&format!("stopped: {} is unchanged", fixture.data().display())) {
        assert!(tree(&fixture.data()) == whole);
    } else {
        fixture.verified(&fixture.data(), 1, "too late");
    }
}

/// Number of kills in each phase.
#[derive(Debug, Default)]
struct Hits {
    kills: u64,
    /// The new generation existed, in part or whole, and was not named.
    unfinished: u64,
    /// The new generation was named and the old one still existed.
    replaced: u64,
    /// The repartition was over or had not begun.
    other: u64,
}

#[test]
fn no_kill_loses_or_repeats_a_user() {
    let rounds = seeds::number("PURSER_KILLS").unwrap_or(KILLS);
    let seed = seeds::number("PURSER_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let (mut random, mut hits) = (Random(seed), Hits::default());
    let mut fixture = three_slices(6_000);
    let data = fixture.data();
    let mut span = Duration::from_millis(400);
    for round in 0..rounds {
        let context = format!("seed {seed}, round {round}");
        let from = NUMBERS[random.below(4)];
        let mut offline = fixture.open(&data, from, &context);
        let more = crowd(
            2_000_000 + random.below(50) as u64,
            1 + random.below(200) as u64,
            1 + random.below(3) as u64,
        );
        fixture.feed(&mut offline, T + DAY_MS, &entries(&more), &context);
        offline.settle();
        (0..from as usize)
            .filter(|_| random.below(2) == 0)
            .for_each(|slice| _ = offline.tear(slice));
        drop(offline);
        let mut path = vec![from];
        for _ in 0..=random.below(3) {
            let named = generation(&data).slices;
            let others: Vec<_> = NUMBERS.into_iter().filter(|&slices| slices != named).collect();
            let to = others[random.below(others.len())];
            path.push(to);
            let mut server = begun(&data, to);
            thread::sleep(span.mul_f64(random.below(1_000) as f64 / 900.0));
            server.kill();
            hits.look(&data);
        }
        let to = NUMBERS[random.below(4)];
        let context = format!("{context}, by {path:?} to {to} slices");
        if random.below(2) == 0 {
            let start = Instant::now();
            drop(Server::spawn(&mut serving(&data, to)));
            span = span.min(start.elapsed());
        }
        drop(fixture.open(&data, to, &context));
        fixture.verified(&data, to, &context);
    }
    println!("{hits:?}, of {span:?}");
    if rounds >= KILLS {
        assert!(hits.unfinished > 0, "seed {seed}: {hits:?}");
    }
}

/// The manifest of a data directory.
pub fn generation(data: &Path) -> manifest::DataManifest {
    let text = fs::read(data.join("manifest")).expect("the manifest always exists");
    manifest::DataManifest::decode(&text).expect("the manifest is always whole")
}

impl Hits {
    fn look(&mut self, data: &Path) {
        let generation = generation(data).generation;
        let is_there = |generation: u64| data.join(generation_directory(generation)).exists();
        self.kills += 1;
        *(if is_there(generation + 1) {
            &mut self.unfinished
        } else if is_there(generation - 1) {
            &mut self.replaced
        } else {
            &mut self.other
        }) += 1;
    }
}

/// Checks that a start fails with an error that contains each of `says` and leaves the directory
/// unchanged.
fn check_refused(fixture: &Fixture, what: &str, command: &mut Command, says: &[&str]) {
    let whole = tree(&fixture.data());
    let (code, out, err) = run(command);
    assert_eq!(code, Some(1), "{what}: {out}{err}");
    assert!(err.starts_with("error: ") && !out.contains("listening on"), "{what}: {out}{err}");
    says.iter().for_each(|part| assert!(err.contains(part), "{what}: no {part:?} in {err:?}"));
    assert!(tree(&fixture.data()) == whole, "{what}: the directory was changed");
}

#[test]
fn a_fault_in_an_old_file_leaves_the_directory_unchanged() {
    let fixture = three_slices(4_000);
    let whole = tree(&fixture.data());
    let slice = fixture.data().join(slice_directory(1, 2));
    let manifest::SliceManifest { snapshot, snapshot_end, first, last } =
        slice_manifest(&fixture.data(), 2);
    let check = |what: &str, damage: &dyn Fn(), says: &[&str]| {
        damage();
        check_refused(&fixture, what, &mut serving(&fixture.data(), 1), says);
        assert!(!fixture.data().join("generation-2").exists(), "{what}");
        restore(&fixture.data(), &whole);
    };
    let file = |name: String| slice.join(name);
    let (snapshot, log) = (file(format!("snapshot-{snapshot}")), file(format!("log-{first}")));
    check(
        "a user",
        &|| flip(&snapshot, snapshot_end - 4_096),
        &["cannot load", &show(&snapshot), "is broken"],
    );
    check("a write", &|| flip(&log, 4_096 + 60), &["cannot load", &show(&log)]);
    check(
        "a missing file",
        &|| fs::remove_file(&log).expect("it is there"),
        &[&show(&log), "is missing"],
    );
    let other = file("manifest".to_owned());
    check(
        "a missing manifest",
        &|| fs::remove_file(&other).expect("it is there"),
        &[&show(&other), "is missing"],
    );
    let newer = file(format!("log-{}", last + 2));
    let write = |path: &Path| fs::write(path, "").expect("it can be written");
    check(
        "a segment that came later",
        &|| write(&newer),
        &["cannot load", &show(&newer), "it is outdated"],
    );
    // A file that is not Purser's at the new generation's path.
    let blocker = fixture.data().join("generation-2");
    write(&blocker);
    check_refused(
        &fixture,
        "a file at the new path",
        &mut serving(&fixture.data(), 1),
        &["cannot create", &show(&blocker)],
    );
    restore(&fixture.data(), &whole);
    drop(fixture.open(&fixture.data(), 2, "whole"));
}

/// A file size limit acts like a full disk and needs no privilege.
#[test]
fn a_full_disk_leaves_the_directory_unchanged() {
    let fixture = three_slices(4_000);
    for bytes in [0, 4_096, 100_000, 300_000] {
        let server = serving(&fixture.data(), 1);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={bytes}:")).arg(server.get_program()).args(server.get_args());
        let new = fixture.data().join("generation-2/slice-0/snapshot-1");
        check_refused(
            &fixture,
            "too little space",
            &mut limited,
            &["cannot write", &show(&new), "File too large"],
        );
        assert!(!fixture.data().join("generation-2").exists());
    }
    drop(fixture.open(&fixture.data(), 1, "whole"));
}

/// Thousands of users whose ids were chosen to have nearly the same hash are like any others.
#[test]
fn users_with_chosen_ids_are_repartitioned() {
    let fixture = Fixture::new();
    let lines: Vec<_> = (0..6_000).map(|n| credit(n, with_hash(7 << 40 | n), 5, T)).collect();
    let mut offline = Offline::open(&fixture.data(), 3);
    each_entry(&entries(&lines), |entry| assert_eq!(offline.apply(T, entry), Verdict::Accepted));
    offline.settle();
    let figures = offline.figures();
    drop(offline);
    for slices in [1, 2] {
        figures.assert_same(&Offline::open(&fixture.data(), slices).figures(), "all are there");
    }
    assert!(sound(&fixture.data()).contains("  users       "));
}

/// The user with this hash: the hash is a bijection and is inverted step by step.
fn with_hash(hash: u64) -> u64 {
    let mut x = hash;
    x ^= x >> 31 ^ x >> 62;
    x = x.wrapping_mul(0x3196_42b2_d24d_8ec3);
    x ^= x >> 27 ^ x >> 54;
    x = x.wrapping_mul(0x96de_1b17_3f11_9089);
    x ^= x >> 30 ^ x >> 60;
    x = x.wrapping_sub(0x9e37_79b9_7f4a_7c15);
    assert_eq!(UserId::Number(x).hash(), hash);
    x
}

#[test]
fn unnamed_generations_are_removed_only_if_the_named_one_is_whole() {
    let fixture = three_slices(500);
    let data = fixture.data();
    copy(&data.join("generation-1"), &fixture.scratch.join("aside"));
    // Leftovers of a kill: the old generation and one before it.
    drop(fixture.open(&data, 2, "two"));
    for generation in [0, 1] {
        copy(&fixture.scratch.join("aside"), &data.join(generation_directory(generation)));
    }
    let whole = tree(&data);
    let named = data.join("generation-2/slice-1/snapshot-1");
    fs::remove_file(&named).expect("it is there");
    check_refused(
        &fixture,
        "a named file is missing",
        &mut serving(&data, 2),
        &["cannot load", &show(&named), "is missing"],
    );
    restore(&data, &whole);
    // A manifest from before.
    let old = manifest::DataManifest { generation: 0, slices: 3 };
    fs::write(data.join("manifest"), old.write()).expect("it can be written");
    let says = ["is outdated: files of the newer generation "];
    check_refused(&fixture, "an older manifest", &mut serving(&data, 2), &says);
    let (code, out, err) = verify(&data);
    let starts = format!(
        "fault: {} at byte 0: the manifest is outdated: files of the newer generation ",
        data.join("manifest").display()
    );
    assert!(code == Some(3) && err.starts_with(&starts), "{out}{err}");
    restore(&data, &whole);
    drop(fixture.open(&data, 2, "whole"));
    assert!(!data.join("generation-0").exists() && !data.join("generation-1").exists());
}

/// A user in the wrong slice, in its snapshot or in its log.
#[test]
fn a_user_in_the_wrong_slice_is_a_fault() {
    for is_logged in [true, false] {
        let scratch = Scratch::new("repartition-stranger");
        let data = scratch.join("data");
        let lines: Vec<_> = (0..20).map(|n| credit(n, n, 1, T)).collect();
        if is_logged {
            Server::with_data(&data, &[]).feed(&lines);
        } else {
            import_all(&data, &lines);
        }
        sound(&data);
        // Now a directory of two slices with all users in the first.
        let generation = generation(&data).generation;
        let [first, second] = [0, 1].map(|slice| data.join(slice_directory(generation, slice)));
        fs::create_dir(&second).expect("it can be made");
        let empty =
            manifest::SliceManifest::default().write(Place { generation, slice: 1, file: 0 });
        fs::write(second.join("manifest"), empty).expect("it can be written");
        let two = manifest::DataManifest { generation, slices: 2 };
        fs::write(data.join("manifest"), two.write()).expect("it can be written");
        let file = first.join(if is_logged { "log-1" } else { "snapshot-1" });
        let stranger =
            (0..20).find(|&id| UserId::Number(id).slice(2) == 1).expect("about half of them");
        let what = format!("user {stranger} is in slice 0 but belongs to slice 1 of 2\n");
        let (code, out, err) = verify(&data);
        assert_eq!(code, Some(3), "{out}{err}");
        assert!(
            err.starts_with(&format!("fault: {} at byte ", file.display())) && err.ends_with(&what),
            "{err}"
        );
        let (code, out, err) = run(&mut serving(&data, 2));
        assert_eq!(code, Some(1), "{out}{err}");
        assert!(
            err.starts_with(&format!("error: cannot load {}: byte ", file.display()))
                && err.ends_with(&what),
            "{err}"
        );
    }
}
