//! Order of writes and syncs: the real program runs under strace, and its calls are checked. A file
//! or directory lasts only if the directory that holds its name was synced after the name was made.
//!
//! Files and names:
//!
//! - A file is renamed only after all of its bytes were synced.
//! - A write to a log segment is synchronous (`O_DSYNC`), or the same thread's next call syncs it.
//! - A segment is written to only after its name was synced.
//!
//! A slice's manifest:
//!
//! - Before it is renamed, the snapshot that it names anew is synced, bytes and name, as is the
//!   segment that it names anew, which has its header. The manifest before it has a synced name.
//! - A record is written only to the segment that a manifest with a synced name names last; a
//!   header only to a segment that no manifest names.
//! - A snapshot that is named is not written to any more.
//! - No file is removed, renamed or replaced while the manifest names it, or the one before it
//!   whose successor has no synced name yet.
//!
//! The data directory's manifest:
//!
//! - Before it is renamed, every name that was made is synced, except in a generation that it does
//!   not name, and every byte of the generation that it names.
//! - Nothing is removed while a name in the data directory is not synced: the manifest may be that
//!   name, and the removed file what the manifest before it named.
//!
//! A start:
//!
//! - A process that was killed leaves syncs to the next one. In a slice's directory nothing is
//!   made, written, renamed or removed before the last segment and that directory were synced.
//! - That a generation was removed is synced before any slice changes, or another generation is
//!   named.
//!
//! An answer to a feed comes after the log write that holds its entries has ended. Every name that
//! an import made is synced when it ends, even if it was killed before at any call.
//!
//! The calls that the rules are about are counted. Of each kind of sync, most break a rule if they
//! are left out of a kept trace.

mod order;
mod trace;

use crate::import::{entries_in, import};
use crate::server::client::feed;
use crate::server::expected;
use crate::server::{Scratch, Server, becomes_true, credit, entries, serve};
use order::{Order, Seen};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};
use trace::{Trace, can_trace, finished, traced};

const T: u64 = 1_700_000_100_000;
/// Calls at which an import is killed; whichever of these names this machine has.
const CALLS: [&str; 4] = [
    "?mkdir,?mkdirat",
    "?rename,?renameat,?renameat2",
    "?fsync,?fdatasync",
    "?unlink,?unlinkat,?rmdir",
];
/// Users of a feed.
const USERS: u64 = 50;
/// Entries of a feed: they fill the first segment.
const FEED: u64 = 20_000;

/// A data directory, and the programs that were traced on it.
struct Traced {
    data: PathBuf,
    trace: PathBuf,
    order: Order,
    /// Each run's calls, and what was known before it.
    runs: Vec<(Order, Trace)>,
    /// Entries that were sent.
    sent: u64,
    _scratch: Scratch,
}

impl Traced {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let whole = fs::canonicalize(scratch.join("")).expect("it is there");
        let (data, trace) = (whole.join("a/b/data"), whole.join("trace"));
        let order = Order::new(&data);
        Self { data, trace, order, runs: Vec::new(), sent: 0, _scratch: scratch }
    }

    /// Starts a server, with further flags for it and for strace.
    fn serve(&mut self, flags: &[&str], for_strace: &[&str]) -> Server {
        self.order.start();
        let mut program = serve("127.0.0.1:0");
        program.arg("--data").arg(&self.data).args(flags);
        Server::spawn(&mut traced(&program, &self.trace, for_strace))
    }

    /// Starts a server, and waits until it listens; `None` if it is killed before.
    fn serve_or_die(&mut self, flags: &[&str], for_strace: &[&str]) -> Option<Server> {
        self.order.start();
        let mut program = serve("127.0.0.1:0");
        program.arg("--data").arg(&self.data).args(flags);
        let mut server = Server::begin(&mut traced(&program, &self.trace, for_strace));
        while let Some(line) = server.line() {
            if line.starts_with("listening on ") {
                return Some(server);
            }
        }
        server.ended();
        self.check(server.id());
        None
    }

    /// Checks the calls of a process that has ended. Returns how it ended.
    fn check(&mut self, id: u32) -> String {
        let mut text = None;
        let is_finished = || {
            text = finished(&self.trace, id);
            text.is_some()
        };
        assert!(becomes_true(is_finished), "strace ends with the program");
        let text = text.expect("it is finished");
        let trace = Trace::parse(&text);
        let before = self.order.clone();
        self.order.take(&trace, None);
        self.runs.push((before, trace));
        fs::remove_file(&self.trace).expect("it is there");
        text.lines().last().expect("it has lines").to_owned()
    }

    /// Kills a server at some moment of a feed that it does not answer.
    fn kill_in_a_feed(&mut self, mut server: Server) {
        let lines = self.lines(FEED);
        let mut client = server.connect();
        client.send(feed(entries(&lines)));
        // Whichever moment it is, the rules hold.
        thread::sleep(Duration::from_millis(self.sent / FEED % 7 * 20));
        server.kill();
        self.check(server.id());
    }

    /// Whether an old segment was renamed, as far as strace has written it.
    fn has_recycled(&self) -> bool {
        let text = fs::read_to_string(&self.trace).expect("strace writes it");
        text.lines().any(|line| line.contains("rename") && line.contains("/log-7\", "))
    }

    fn stop(&mut self, mut server: Server) {
        server.signal("TERM");
        assert!(server.ended().success());
        self.check(server.id());
    }

    /// New entries.
    fn lines(&mut self, count: u64) -> Vec<String> {
        let from = self.sent;
        self.sent += count;
        (from..self.sent).map(|n| credit(n + 1, n % USERS, 1, T + n)).collect()
    }

    /// Imports three entries and a line that is none, with further flags for strace. Returns how
    /// the import ended.
    fn import(&mut self, for_strace: &[&str]) -> String {
        self.order.start();
        let body = self.trace.with_extension("body");
        let mut lines: Vec<_> = (0..3).map(|n| credit(n + 1, n, 1, T)).collect();
        lines.push("{}".to_owned());
        fs::write(&body, entries(&lines)).expect("it can be written");
        let mut program = import(&self.data);
        program.args(["--slices", "2"]).arg(&body);
        let mut command = traced(&program, &self.trace, for_strace);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("strace runs");
        child.wait().expect("it is a child of this process");
        self.check(child.id())
    }
}

#[test]
fn every_name_is_synced_even_after_a_kill_at_any_call() {
    if !can_trace() {
        return;
    }
    let mut kills = 0;
    for calls in CALLS {
        for number in 1.. {
            let mut traced = Traced::new("durability");
            let context = format!("killed at call {number} of {calls}");
            let inject = format!("inject={calls}:signal=KILL:when={number}");
            let end = traced.import(&["-e", &inject]);
            let is_killed = end.ends_with("+++ killed by SIGKILL +++");
            assert!(is_killed || end.ends_with("+++ exited with 4 +++"), "{context}: {end}");
            kills += u32::from(is_killed);
            if is_killed {
                let found = entries_in(&traced.data);
                assert!(found == 0 || found == 3, "{context}: {found} entries");
                traced.import(&[]);
            }
            let left = traced.order.unsynced();
            assert!(left.is_empty(), "{context}, and never synced: {left:?}");
            assert_eq!(entries_in(&traced.data), 3, "{context}");
            if !is_killed {
                let Seen { manifests, snapshots, generations, .. } = traced.order.seen;
                assert_eq!((manifests, snapshots, generations), (4, 2, 2), "{context}");
                break;
            }
        }
    }
    assert!(kills > 30, "{kills} kills");
}

#[test]
fn a_change_of_slices_keeps_the_order_even_after_a_kill_at_any_call() {
    if !can_trace() {
        return;
    }
    let (mut kills, mut seen) = (0, Seen::default());
    for calls in CALLS {
        for number in 1.. {
            let (mut traced, one) = (Traced::new("slices"), ["--slices", "1"]);
            traced.import(&[]);
            let inject = format!("inject={calls}:signal=KILL:when={number}");
            let server = traced.serve_or_die(&one, &["-e", &inject]);
            let is_killed = server.is_none();
            kills += u32::from(is_killed);
            let server = server.unwrap_or_else(|| traced.serve(&one, &[]));
            traced.stop(server);
            let context = format!("killed at call {number} of {calls}");
            assert_eq!(entries_in(&traced.data), 3, "{context}");
            seen = traced.order.seen;
            if !is_killed {
                break;
            }
        }
    }
    assert!(kills > 20, "{kills} kills");
    assert!(seen.generations == 3 && seen.removed_generations == 2, "{seen:?}");
}

#[test]
fn a_server_syncs_what_it_builds_on() {
    if !can_trace() {
        return;
    }
    let (mut traced, snapshots) = (Traced::new("order"), ["--snapshot-after-mib", "1"]);
    let server = traced.serve(&snapshots, &[]);
    for _ in 0..6 {
        server.feed(&traced.lines(FEED));
    }
    traced.kill_in_a_feed(server);
    for _ in 0..6 {
        let server = traced.serve(&snapshots, &[]);
        server.feed(&traced.lines(FEED));
        traced.kill_in_a_feed(server);
    }
    // Files that a process killed at another moment leaves.
    fs::create_dir(traced.data.join("generation-2/")).expect("it can be made");
    fs::write(traced.data.join("generation-1/slice-0/log-99.new"), "zeros").expect("a file");
    fs::write(traced.data.join("generation-1/slice-0/manifest.new"), "purser").expect("a file");
    for slices in ["1", "2", "2", "3", "1"] {
        let server = traced.serve(&[&snapshots[..], &["--slices", slices]].concat(), &[]);
        server.feed(&traced.lines(FEED));
        traced.kill_in_a_feed(server);
    }
    let server = traced.serve(&snapshots, &[]);
    traced.stop(server);
    let seen = traced.order.seen;
    println!("{seen:?}");
    assert!(seen.log_writes > 60 && seen.headers > 12 && seen.prepared > 12, "{seen:?}");
    assert!(seen.manifests > 20 && seen.segments > 12 && seen.snapshots > 6, "{seen:?}");
    assert!(seen.generations == 4 && seen.removed > 5 && seen.removed_generations == 4, "{seen:?}");
    assert!(seen.settled == 10 && seen.settled_segments == 10, "{seen:?}");
    leave_out_each_sync(&traced.runs);
}

/// Syncs that find no space are tried again, and nothing is built on them meanwhile.
#[test]
fn nothing_is_built_on_a_sync_that_found_no_space() {
    if !can_trace() {
        return;
    }
    let (mut traced, snapshots) = (Traced::new("failed-syncs"), ["--snapshot-after-mib", "1"]);
    let server = traced.serve(&snapshots, &[]);
    server.feed(&traced.lines(FEED));
    traced.stop(server);
    // Each thread's fifth sync and every fourth after it: a start makes fewer.
    let server = traced.serve(&snapshots, &["-e", "inject=fsync:error=ENOSPC:when=5+4"]);
    for _ in 0..12 {
        let request = feed(entries(&traced.lines(FEED / 2)));
        let is_fed = || match server.ask(&request).status() {
            507 => false,
            status => status == 200,
        };
        assert!(becomes_true(is_fed), "it is taken when there is space");
    }
    traced.stop(server);
    let (_, last) = traced.runs.last().expect("it was run");
    let failed = |name: &str| {
        let is_failed = |call: &&trace::Call| {
            let result = call.result.as_deref().unwrap_or_default();
            call.name == "fsync" && call.file().1.ends_with(name) && result.contains("ENOSPC")
        };
        last.calls.iter().filter(is_failed).count()
    };
    let counts = [failed("slice-0"), failed("manifest.new")];
    println!("{counts:?} syncs of names and of manifests failed; {:?}", traced.order.seen);
    assert!(counts[0] > 1, "{counts:?}");
}

/// Checks the runs once more for each sync, without it: that breaks a rule. A few are not needed
/// where they are: another follows before anything builds on the first, or the kill does.
fn leave_out_each_sync(runs: &[(Order, Trace)]) {
    let mut missed = BTreeMap::<_, (u32, u32)>::new();
    for (before, trace) in runs {
        let syncs = trace.calls.iter().zip(0..).filter(|(call, _)| call.name == "fsync");
        for (call, number) in syncs {
            let mut order = before.clone();
            let taken = catch_unwind(AssertUnwindSafe(|| order.take(trace, Some(number))));
            let path = call.file().1;
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let kind = name.replace(|c: char| c.is_ascii_digit(), "");
            let counts = missed.entry(kind).or_default();
            counts.0 += u32::from(taken.is_err());
            counts.1 += 1;
        }
    }
    println!("syncs that were missed, of all: {missed:?}");
    for kind in ["manifest.new", "log-.new", "log-", "snapshot-", "slice-", "generation-", "data"] {
        let (found, all) = missed[kind];
        assert!(found * 2 > all, "{kind}: {found} of {all}");
    }
}

/// Records of the largest size fill segments until one of the largest size, 64 MiB, is used again:
/// the seventh.
#[test]
fn a_recycled_segment_is_named_by_no_manifest() {
    if !can_trace() {
        return;
    }
    let mut traced = Traced::new("recycled");
    // Snapshots keep up: the log grows by at most eight times this.
    let (server, kind) = (traced.serve(&["--snapshot-after-mib", "16"], &[]), "k".repeat(32));
    let mut rounds = 0;
    while rounds < 300 || (rounds < 900 && !traced.has_recycled()) {
        for _ in 0..10 {
            let lines = traced.lines(10_000);
            let lines: Vec<_> = lines.iter().map(|line| line.replace("topup", &kind)).collect();
            server.feed(&lines);
        }
        rounds += 10;
    }
    traced.stop(server);
    let seen = traced.order.seen;
    println!("{seen:?}");
    assert!(seen.recycled > 0 && seen.headers > 9, "{seen:?}");
    assert!(seen.snapshots > 3 && seen.removed > 6, "{seen:?}");
}

#[test]
fn an_answer_waits_for_the_write_that_holds_its_entries() {
    if !can_trace() {
        return;
    }
    let (mut traced, delay) = (Traced::new("answers"), Duration::from_millis(200));
    let inject = format!("inject=pwrite64:delay_exit={}", delay.as_micros());
    let server = traced.serve(&[], &["-e", &inject]);
    let mut client = server.connect();
    for _ in 0..5 {
        let (lines, start) = (traced.lines(1), Instant::now());
        let answer = client.ask(feed(entries(&lines)));
        assert_eq!(answer.shown(), expected::json("", &expected::fed(1, 0, &[])));
        let passed = start.elapsed();
        assert!(passed >= delay, "the answer came after {passed:?}");
    }
    drop(client);
    traced.stop(server);
    assert!(traced.order.seen.log_writes >= 5, "{:?}", traced.order.seen);
}
