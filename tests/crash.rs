//! Crash test with real kills: the server is fed from several connections, killed, and restarted,
//! over and over.
//!
//! Checked after each restart: every acknowledged entry is there, no entry is counted twice, and no
//! user's version is lower than one that an earlier answer showed.
//!
//! A campaign has its own data directory, a number of slices and ten rounds. Each round aims its
//! kill at a phase: load, recovery, a snapshot, a segment change, or it sends SIGTERM instead. What
//! the kill hit is read from the files it left. `PURSER_KILLS=1000` runs that many rounds;
//! `PURSER_SEED=…` repeats one campaign: its slices, entries and aims, but not its timing.

use crate::seeds::number;
use crate::server::client::{feed, get};
use crate::server::expected::{self, balance_body};
use crate::server::{
    Scratch, Server, TIMEOUT, becomes_true, entries, own_address, serve, slice_manifest, slices,
    with_slices,
};
use crate::users;
use purser::journal::frame::ALIGN;
use purser::journal::{File, manifest, slice_directory};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Booking time of each user's first entry. Each further entry is one millisecond later, so that
/// all ids stay in the dedup window.
const T: u64 = 1_700_000_100_000;
/// Rounds on one data directory.
const ROUNDS: u64 = 10;
/// Total number of rounds unless `PURSER_KILLS` is set.
const KILLS: u64 = 30;
/// Feeding connections, each with its own users.
const FEEDERS: u64 = 4;
/// Users per feeding connection.
const USERS: u64 = 20;
/// Most entries of one request.
const BATCH: u64 = 800;
/// Poll interval for short-lived conditions.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// Random numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Expected balance of a user after its entries so far.
#[derive(Clone, Copy, Debug, Default)]
struct Money {
    posted: i64,
    pending_debits: i64,
    pending_credits: i64,
}

/// Line of a user's entry `n`, counted from 0; adds its effect to `money`. The line depends only on
/// user and `n`, so that it can be resent at any time.
fn entry(user: u64, n: u64, money: &mut Money) -> String {
    let amount = |n: u64| (Random(user << 32 | n).next() % 1_000 + 10) as i64;
    let (id, at) = (entry_id(user, n), T + n);
    let head = format!(r#"{{"entry_id":"{id}","user_id":"{}","#, users::name(user));
    let movement = |kind: &str, direction: &str, state: &str| {
        let amount = amount(n);
        format!(
            "{head}\"currency\":\"COIN\",\"kind\":\"{kind}\",\"direction\":\"{direction}\",\
             \"amount\":{amount},\"at_ms\":{at},\"state\":\"{state}\"}}"
        )
    };
    match n % 8 {
        // One in 64 of these holds stays open.
        3 => {
            money.pending_debits += amount(n);
            movement("gift_sent", "debit", "pending")
        }
        5 if (n - 2) % 512 != 3 => {
            let (of, settled) = (n - 2, amount(n - 2) / 2);
            money.pending_debits -= amount(of);
            money.posted -= settled;
            let hold = entry_id(user, of);
            format!(
                r#"{head}"amount":{settled},"at_ms":{at},"state":"posted","pending_id":"{hold}"}}"#
            )
        }
        6 => {
            money.pending_credits += amount(n);
            movement("refund", "credit", "pending")
        }
        7 => {
            let of = n - 1;
            money.pending_credits -= amount(of);
            let hold = entry_id(user, of);
            format!(r#"{head}"at_ms":{at},"state":"voided","pending_id":"{hold}"}}"#)
        }
        1 => {
            money.posted -= amount(n);
            movement("gift_sent", "debit", "posted")
        }
        _ => {
            money.posted += amount(n);
            movement("topup", "credit", "posted")
        }
    }
}

fn entry_id(user: u64, n: u64) -> u64 {
    user << 32 | n
}

/// Expected balance body of a user.
fn balance(user: u64, count: u64, money: Money) -> String {
    let Money { posted, pending_debits, pending_credits } = money;
    let plain = balance_body(users::name(user), count, T + count - 1, posted);
    let (from, available) = (r#""pending_debits":0,"pending_credits":0"#, posted - pending_debits);
    plain
        .replace(
            from,
            &format!(r#""pending_debits":{pending_debits},"pending_credits":{pending_credits}"#),
        )
        .replace(&format!(r#""available":{posted}"#), &format!(r#""available":{available}"#))
}

/// A connection that reports a killed server as `None` instead of failing.
struct Line(TcpStream);

impl Line {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        Self(stream)
    }

    /// Status and body; `None` if the server ended before the whole answer arrived.
    fn ask(&mut self, request: &[u8]) -> Option<(u16, String)> {
        self.0.write_all(request).ok()?;
        let (mut bytes, mut part) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = head {
                let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
                let length = head.split("content-length: ").nth(1).expect("a length follows");
                let length: usize = length
                    .split("\r\n")
                    .next()
                    .expect("split gives one")
                    .parse()
                    .expect("a number");
                if bytes.len() == end + 4 + length {
                    let status = head[9..12].parse().expect("a status");
                    return Some((
                        status,
                        String::from_utf8(bytes.split_off(end + 4)).expect("text"),
                    ));
                }
            }
            match self.0.read(&mut part) {
                Ok(0) => return None,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the server neither answers nor ends")
                }
                Err(_) => return None,
            }
        }
    }
}

/// One feeding connection: its users, and how many entries of each were acknowledged.
struct Feeder {
    random: Random,
    /// Slices of the server.
    slices: u32,
    first_user: u64,
    /// Number of acknowledged entries of each user, and the balance that they add up to.
    counts: [u64; USERS as usize],
    money: [Money; USERS as usize],
    /// The last request, if the server ended before answering it.
    unknown: Option<Request>,
    /// `counts` at the last start of the server.
    since: [u64; USERS as usize],
    /// Number of answered requests.
    requests: u64,
}

/// A feed request.
struct Request {
    lines: Vec<String>,
    /// Slice of each line's user.
    owners: Vec<usize>,
    /// Indexes of lines that were acknowledged before.
    again: BTreeSet<usize>,
    counts: [u64; USERS as usize],
    money: [Money; USERS as usize],
}

impl Feeder {
    fn new(number: u64, seed: u64) -> Self {
        let counts = [0; USERS as usize];
        let money = [Money::default(); USERS as usize];
        let first_user = 1 + number * USERS;
        Self {
            random: Random(seed ^ number),
            slices: slices(),
            first_user,
            counts,
            money,
            unknown: None,
            since: counts,
            requests: 0,
        }
    }

    /// A request with the next entries of random users. Some lines repeat an entry that was
    /// acknowledged before or is earlier in the request.
    fn request(&mut self) -> Request {
        let length = if self.random.below(3) == 0 { 1 } else { 1 + self.random.below(BATCH) };
        let (mut counts, mut money) = (self.counts, self.money);
        let (mut lines, mut owners, mut again) = (Vec::new(), Vec::new(), BTreeSet::new());
        for index in 0..length as usize {
            let which = self.random.below(USERS) as usize;
            let user = self.first_user + which as u64;
            owners.push(users::id(user).slice(self.slices) as usize);
            if counts[which] > 0 && self.random.below(20) == 0 {
                lines.push(entry(user, self.random.below(counts[which]), &mut Money::default()));
                again.insert(index);
            } else {
                lines.push(entry(user, counts[which], &mut money[which]));
                counts[which] += 1;
            }
        }
        Request { lines, owners, again, counts, money }
    }

    /// Sends requests one after the other until the server ends or `stop` is set.
    fn feed(&mut self, address: SocketAddr, stop: &AtomicBool, seed: u64) {
        let mut line = Line::open(address);
        // Relaxed: no other data depends on the flag.
        while !stop.load(Ordering::Relaxed) {
            let request = self.request();
            match line.ask(&feed(entries(&request.lines))) {
                Some((200, body)) => {
                    check_fed(&body, &request, false, seed);
                    self.known(request);
                }
                None => {
                    self.unknown = Some(request);
                    return;
                }
                Some(other) => panic!("seed {seed}: a feed is answered {other:?}"),
            }
        }
    }

    fn known(&mut self, request: Request) {
        (self.counts, self.money) = (request.counts, request.money);
        self.requests += 1;
    }

    /// Resends the request without an answer: a prefix of each slice's new lines may be
    /// duplicates.
    fn settle(&mut self, server: &Server, seed: u64) {
        if let Some(request) = self.unknown.take() {
            let (status, body) =
                Line::open(server.address).ask(&feed(entries(&request.lines))).expect("an answer");
            assert_eq!(status, 200, "seed {seed}: {body}");
            check_fed(&body, &request, true, seed);
            self.known(request);
        }
    }

    /// Reads every user: its version is at least the acknowledged entries, and at most those plus
    /// the entries of the unanswered request.
    fn check_least(&self, server: &Server, shown: &Shown, seed: u64) {
        let mut line = Line::open(server.address);
        for which in 0..USERS as usize {
            let user = self.first_user + which as u64;
            let version = shown.read(&mut line, user, seed).expect("the server runs");
            let most =
                self.unknown.as_ref().map_or(self.counts[which], |request| request.counts[which]);
            let least = self.counts[which];
            assert!(
                (least..=most).contains(&version),
                "seed {seed}: user {user} is at version {version}, and {least} to {most} entries \
                 were fed"
            );
        }
    }

    /// Compares the balance of every user.
    fn check_all(&self, server: &Server, seed: u64) {
        let mut client = server.connect();
        for which in 0..USERS as usize {
            let (user, count) = (self.first_user + which as u64, self.counts[which]);
            let answer = client.ask(get(&format!("/v1/users/{}/balance", users::name(user)))).body;
            let want = if count == 0 {
                expected::problem_body("user_not_found", "")
            } else {
                balance(user, count, self.money[which])
            };
            assert_eq!(answer, want, "seed {seed}: user {user} after {count} entries");
        }
    }

    /// Resends every entry acknowledged from `since` on: all must be duplicates.
    fn check_each(&self, server: &Server, since: &[u64; USERS as usize], seed: u64) {
        let own = |which: usize| self.first_user + which as u64;
        let fed = since.iter().zip(&self.counts).enumerate();
        let known =
            fed.flat_map(|(which, (&since, &count))| (since..count).map(move |n| (own(which), n)));
        let lines: Vec<_> = known.map(|(user, n)| entry(user, n, &mut Money::default())).collect();
        let mut client = server.connect();
        for part in lines.chunks(10_000) {
            let body = client.ask(feed(entries(part))).body;
            let said = format!(r#"{{"accepted":0,"duplicates":{},"rejected":0,"#, part.len());
            assert!(
                body.starts_with(&said),
                "seed {seed}: something acknowledged is not there: {}",
                first_part(&body)
            );
        }
    }
}

/// Checks the answer to a request. In a resent request, a slice's duplicates come before its new
/// entries, because a log is cut at one position.
fn check_fed(body: &str, request: &Request, is_resent: bool, seed: u64) {
    let answer: Value = serde_json::from_str(body).expect("an answer is JSON");
    let results = answer["results"].as_array().expect("a list");
    let mut duplicates = BTreeSet::new();
    for result in results {
        assert_eq!(result["status"], "duplicate", "seed {seed}: {result}");
        duplicates.insert(result["index"].as_u64().expect("a number") as usize);
    }
    assert!(
        duplicates.is_superset(&request.again),
        "seed {seed}: an acknowledged entry was taken again: {body}"
    );
    let slices = request.owners.iter().max().map_or(0, |last| last + 1);
    let mut there = vec![Vec::new(); slices];
    for index in (0..request.lines.len()).filter(|index| !request.again.contains(index)) {
        there[request.owners[index]].push(index);
    }
    let known_to =
        |there: &Vec<usize>| there.iter().take_while(|index| duplicates.contains(index)).count();
    let known: usize = there.iter().map(known_to).sum();
    let there: usize = there.iter().map(Vec::len).sum();
    assert!(
        is_resent || known == 0,
        "seed {seed}: a new entry is a duplicate: {}",
        first_part(body)
    );
    assert_eq!(
        known + request.again.len(),
        duplicates.len(),
        "seed {seed}: of one request, an entry is missing although later ones are there: {}",
        first_part(body)
    );
    assert_eq!(answer["accepted"].as_u64(), Some((there - known) as u64), "seed {seed}");
}

fn first_part(body: &str) -> &str {
    &body[..body.len().min(400)]
}

/// The highest version of each user that any answer showed.
struct Shown(Vec<AtomicU64>);

impl Shown {
    fn new() -> Self {
        Self((0..=FEEDERS * USERS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Reads a user's version, 0 for an unknown user; `None` if the server ended.
    fn read(&self, line: &mut Line, user: u64, seed: u64) -> Option<u64> {
        let seen = &self.0[user as usize];
        // SeqCst: a version that another thread saw before this request must not be missed here.
        let before = seen.load(Ordering::SeqCst);
        let (status, body) =
            line.ask(get(&format!("/v1/users/{}/balance", users::name(user))).as_bytes())?;
        let version = match status {
            200 => serde_json::from_str::<Value>(&body).expect("JSON")["version"]
                .as_u64()
                .expect("a number"),
            404 => 0,
            503 => return None,
            _ => panic!("seed {seed}: {status} {body}"),
        };
        assert!(
            version >= before,
            "seed {seed}: user {user} was shown at version {before}, and now at {version}"
        );
        // SeqCst: as above.
        seen.fetch_max(version, Ordering::SeqCst);
        Some(version)
    }
}

/// How often each phase was hit, over all rounds.
#[derive(Debug, Default)]
struct Hits {
    kills: u64,
    recovery: u64,
    snapshot: u64,
    segment: u64,
    /// Answers of `/readyz` with `recovering`.
    recovering: u64,
    terms: u64,
    entries: u64,
    requests: u64,
}

/// The phase that a round waits for before it kills the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Load,
    Segment,
    Snapshot,
    Recovery,
    Term,
}

const AIMS: [Aim; 5] = [Aim::Snapshot, Aim::Segment, Aim::Load, Aim::Recovery, Aim::Term];

/// Files of one slice.
struct Files {
    data: PathBuf,
    slice: u32,
}

impl Files {
    fn path(&self) -> PathBuf {
        self.data.join(slice_directory(1, self.slice))
    }

    fn manifest(&self) -> manifest::SliceManifest {
        slice_manifest(&self.data, self.slice)
    }

    fn names(&self) -> Vec<File> {
        let names = fs::read_dir(self.path())
            .expect("the directory exists")
            .map(|entry| entry.expect("a name").file_name());
        names.filter_map(|name| File::parse(name.to_str()?)).collect()
    }

    /// Whether a snapshot exists that the manifest does not name.
    fn has_unnamed_snapshot(&self) -> bool {
        let is_unnamed = |manifest: &manifest::SliceManifest| {
            self.names()
                .iter()
                .any(|file| matches!(file, File::Snapshot(number) if *number > manifest.snapshot))
        };
        let before = self.manifest();
        // A snapshot that becomes current in between changes the manifest.
        is_unnamed(&before) && self.manifest() == before
    }

    /// Whether the log changes segments: the next one has its header, but no record yet.
    fn changes_segment(&self, from: u64) -> bool {
        let last = self.manifest().last.max(from);
        (from + 1..=last + 1)
            .any(|segment| self.block(segment, 0) && !self.block(segment, ALIGN as u64))
    }

    /// Whether the first bytes of a segment's block at `offset` are not all zero.
    fn block(&self, segment: u64, offset: u64) -> bool {
        use std::os::unix::fs::FileExt;
        let mut head = [0; 40];
        let file = fs::File::open(self.path().join(File::Segment(segment).to_string()));
        file.and_then(|file| file.read_exact_at(&mut head, offset)).is_ok() && head != [0; 40]
    }
}

/// One data directory and what was fed to it.
struct Campaign {
    seed: u64,
    random: Random,
    scratch: Scratch,
    address: SocketAddr,
    feeders: Vec<Feeder>,
    shown: Shown,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let address = own_address();
        let feeders = (0..FEEDERS).map(|number| Feeder::new(number, random.next())).collect();
        Self { seed, random, scratch: Scratch::new("crash"), address, feeders, shown: Shown::new() }
    }

    fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// The files of each slice.
    fn files(&self) -> Vec<Files> {
        (0..slices()).map(|slice| Files { data: self.data(), slice }).collect()
    }

    fn command(&self) -> Command {
        let mut command = serve(&self.address.to_string());
        command.arg("--data").arg(self.data()).args(["--snapshot-after-mib", "1"]);
        command
    }

    /// Starts the server and polls `/readyz` until it is ready.
    fn start(&self, hits: &mut Hits) -> Server {
        let mut server = Server::begin(&mut self.command());
        let address = self.address;
        server.address = address;
        let is_ready = || {
            let Ok(stream) = TcpStream::connect(address) else { return false };
            stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            match Line(stream).ask(get("/readyz").as_bytes()) {
                Some((200, _)) => return true,
                Some((503, body)) => {
                    assert_eq!(
                        body,
                        expected::problem_body("recovering", ""),
                        "seed {}",
                        self.seed
                    );
                    hits.recovering += 1;
                }
                // The listening socket exists before the server answers.
                None => {}
                Some(other) => panic!("seed {}: /readyz is answered {other:?}", self.seed),
            }
            false
        };
        assert!(becomes_true(is_ready), "seed {}: it never becomes ready", self.seed);
        server.wait_until_listening();
        server
    }

    /// Starts the server one to three times and ends it before it is ready: with SIGKILL, sometimes
    /// immediately, or with SIGTERM.
    fn kill_in_recovery(&mut self, hits: &mut Hits) {
        for _ in 0..=self.random.below(3) {
            let mut server = Server::begin(&mut self.command());
            let is_late = self.random.below(3) > 0;
            if is_late {
                // The `limits:` line is the last before loading begins.
                let begins =
                    std::iter::from_fn(|| server.line()).any(|line| line.starts_with("limits: "));
                assert!(begins, "seed {}: the server ended", self.seed);
            }
            thread::sleep(Duration::from_micros(self.random.below(3_000)));
            let is_asked = is_late && self.random.below(4) == 0;
            if is_asked {
                server.signal("TERM");
                assert!(server.ended().success(), "seed {}: SIGTERM while it loads", self.seed);
                hits.terms += 1;
            } else {
                server.kill();
                hits.kills += 1;
            }
            let was_loaded =
                std::iter::from_fn(|| server.line()).any(|line| line.starts_with("data: "));
            hits.recovery += u64::from(is_late && !is_asked && !was_loaded);
        }
    }

    /// Starts the server, checks its data, feeds it, and ends it.
    fn round(&mut self, aim: Aim, hits: &mut Hits) {
        let seed = self.seed;
        if aim == Aim::Recovery || self.feeders.iter().all(|feeder| feeder.requests == 0) {
            self.kill_in_recovery(hits);
        }
        let mut server = self.start(hits);
        self.check(&server, false);
        let files = self.files();
        let segments: Vec<_> = files.iter().map(|files| files.manifest().last).collect();
        let has_unnamed_snapshot = || files.iter().any(Files::has_unnamed_snapshot);
        let changes_segment =
            || files.iter().zip(&segments).any(|(files, &segment)| files.changes_segment(segment));
        let is_met = || match aim {
            Aim::Snapshot => has_unnamed_snapshot(),
            Aim::Segment => changes_segment(),
            Aim::Load | Aim::Recovery | Aim::Term => true,
        };
        let is_timed = !matches!(aim, Aim::Snapshot | Aim::Segment);
        let first_ms = if is_timed { 20 + self.random.below(250) } else { 0 };
        let late =
            Duration::from_micros(if aim == Aim::Segment { 0 } else { self.random.below(3_000) });
        let reader_seed = self.random.next();

        let stop = AtomicBool::new(false);
        let (address, shown, feeders) = (server.address, &self.shown, &mut self.feeders);
        let cores = server.cores();
        let was_met = thread::scope(|scope| {
            let _stops = Stops(&stop);
            for (feeder, &core) in feeders.iter_mut().zip(cores.iter().cycle()) {
                let stop = &stop;
                scope.spawn(move || feeder.feed(core, stop, seed));
            }
            scope.spawn(|| read_on(address, shown, Random(reader_seed), &stop, seed));
            thread::sleep(Duration::from_millis(first_ms));
            let until = Instant::now() + TIMEOUT;
            while !is_met() && Instant::now() < until {
                thread::sleep(POLL_INTERVAL);
            }
            let was_met = is_met() || Instant::now() < until;
            thread::sleep(late);
            assert!(server.is_running(), "seed {seed}: the server ended by itself");
            if aim == Aim::Term {
                server.signal("TERM");
            } else {
                server.kill();
            }
            was_met
        });
        assert!(was_met, "seed {seed}: {aim:?} does not happen");
        if aim == Aim::Term {
            assert!(server.ended().success(), "seed {seed}: SIGTERM");
            hits.terms += 1;
        } else {
            hits.kills += 1;
            hits.snapshot += u64::from(has_unnamed_snapshot());
            hits.segment += u64::from(changes_segment());
        }
    }

    /// Checks the data of every feeder and resends its unanswered request. Resends all entries if
    /// `from_the_first`, else those since the last start.
    fn check(&mut self, server: &Server, from_the_first: bool) {
        for feeder in &mut self.feeders {
            feeder.check_least(server, &self.shown, self.seed);
            feeder.settle(server, self.seed);
            feeder.check_all(server, self.seed);
            let since = if from_the_first { [0; USERS as usize] } else { feeder.since };
            feeder.check_each(server, &since, self.seed);
            feeder.since = feeder.counts;
        }
    }

    fn run(mut self, hits: &mut Hits) {
        for round in 0..ROUNDS {
            self.round(AIMS[round as usize % AIMS.len()], hits);
        }
        // A last check of every entry; then an orderly stop must change nothing.
        for is_last in [false, true] {
            let mut server = self.start(hits);
            self.check(&server, !is_last);
            server.signal("TERM");
            assert!(server.ended().success(), "seed {}: SIGTERM", self.seed);
        }
        hits.requests += self.feeders.iter().map(|feeder| feeder.requests).sum::<u64>();
        hits.entries += self.feeders.iter().flat_map(|feeder| feeder.counts).sum::<u64>();
    }
}

/// Reads random users until the server ends.
fn read_on(address: SocketAddr, shown: &Shown, mut random: Random, stop: &AtomicBool, seed: u64) {
    let mut line = Line::open(address);
    // Relaxed: no other data depends on the flag.
    while !stop.load(Ordering::Relaxed) {
        if shown.read(&mut line, 1 + random.below(FEEDERS * USERS), seed).is_none() {
            return;
        }
    }
}

/// Sets the stop flag when dropped, so that the feeders end even if the test panics.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        // Relaxed: no other data depends on the flag.
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_kill_loses_or_repeats_an_entry() {
    let campaigns = number("PURSER_KILLS").unwrap_or(KILLS).div_ceil(ROUNDS);
    let seeds: Vec<u64> = match number("PURSER_SEED") {
        Some(seed) => vec![seed],
        // One, two and three slices in turn.
        None => (0..campaigns).map(|n| RandomState::new().hash_one(0) / 3 * 3 + n % 3).collect(),
    };
    let mut hits = Hits::default();
    for &seed in &seeds {
        with_slices(1 + (seed % 3) as u32, || Campaign::new(seed).run(&mut hits));
    }
    println!("{hits:?}");
    if seeds.len() as u64 * ROUNDS >= KILLS {
        let Hits { recovery, snapshot, segment, recovering, .. } = hits;
        let least = [recovery, snapshot, segment, recovering].into_iter().min();
        assert!(least > Some(0), "seeds {seeds:?}: something was never hit: {hits:?}");
    }
}

/// Checks the generator: the balances it expects are those that the server computes.
#[test]
fn generated_entries_add_up_to_the_balances() {
    let server = Server::start(&[]);
    let mut feeder = Feeder::new(0, 1);
    for _ in 0..10 {
        let request = feeder.request();
        let body = server.ask(feed(entries(&request.lines))).body;
        check_fed(&body, &request, false, 1);
        feeder.known(request);
        feeder.check_all(&server, 1);
    }
    assert!(feeder.money.iter().any(|money| money.pending_debits > 0), "a hold is open");
    feeder.check_each(&server, &[0; USERS as usize], 1);
}
