//! Descriptors of the real server: files come first, connections get the rest.

use crate::server::client::{feed, get};
use crate::server::expected::{self, RETRY_ELSEWHERE, problem};
use crate::server::{
    Scratch, Server, becomes_true, credit, entries, run, serve, slice_manifest, slices,
};
use crate::surroundings::limited;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

const T: u64 = 1_700_000_100_000;
/// Limit of open files.
const LIMIT: usize = 256;

on_slices! {
    [one = 1, three = 3]
    [idle_connections_leave_descriptors_for_files, a_shortage_costs_no_turns]
}

/// How often each core of a server wakes up in a second in which nobody does anything: a turn each.
fn wakeups_a_second(server: &Server) -> u64 {
    let count = || -> (u64, u64) {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).expect("it runs");
        let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status"));
        let statuses = tasks.map(|task| status(task.expect("a task")).expect("it runs"));
        let sleeps = statuses.filter(|status| status.contains("\tcore-")).map(|status| {
            let line =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count")
        });
        sleeps.fold((0, 0), |(cores, sum), count| (cores + 1, sum + count))
    };
    let (cores, before) = count();
    thread::sleep(Duration::from_secs(2));
    (count().1 - before) / 2 / cores
}

/// Wake-ups of an idle core: a tick every 250 ms, and now and then something else.
const IDLE_WAKEUPS: u64 = 20;

fn limit_open_files(server: &Server, count: usize) {
    let limit = format!("--nofile={count}:");
    let status = Command::new("prlimit").args(["--pid", &server.id().to_string(), &limit]).status();
    assert!(status.expect("util-linux is there").success());
}

fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id())).expect("it runs").count()
}

/// Twice as many idle connections as descriptors, all at once: files have theirs, so entries are
/// accepted, segments are begun and snapshots taken; what is above the limit is refused.
fn idle_connections_leave_descriptors_for_files() {
    const LINES: u64 = 2_000;
    let scratch = Scratch::new("descriptors");
    let (data, log) = (scratch.join("data"), scratch.join("stderr"));
    let mut command = serve("127.0.0.1:0");
    command.args(["--snapshot-after-mib", "1", "--data"]).arg(&data);
    let mut command = limited(&[&format!("--nofile={LIMIT}")], &command);
    let stderr = fs::File::create(&log).expect("it can be created");
    let server = Server::spawn(command.stderr(stderr));
    let info: serde_json::Value =
        serde_json::from_str(&server.ask(get("/v1/info")).body).expect("it is JSON");
    let connections = info["limits"]["connections_per_slice"].as_u64().expect("a limit") as usize;
    let all = connections * slices() as usize;
    assert!((30..LIMIT).contains(&all), "{all}");
    let line = format!("limits: {connections} connections a slice instead of 10000 (--max-conn");
    assert!(
        server.startup_lines.iter().any(|said| said.starts_with(&line)
            && said.contains(&format!("{LIMIT} open descriptors"))
            && said.contains("ulimit -Hn")),
        "{:#?}",
        server.startup_lines
    );

    let mut feeder = server.connect();
    assert_eq!(feeder.ask(get("/readyz")).shown(), expected::text("ready"));
    let body = |from: u64| {
        let lines: Vec<_> = (from..from + LINES).map(|n| credit(n, n % 500, 1, T)).collect();
        feed(entries(&lines))
    };
    server.signal("STOP");
    feeder.send(body(0));
    let idle: Vec<TcpStream> = (0..2 * LIMIT)
        .map(|n| {
            let address = server.cores()[n % server.cores().len()];
            TcpStream::connect(address).expect("the backlog takes it")
        })
        .collect();
    server.signal("CONT");
    assert_eq!(feeder.response().status(), 200);
    for from in 1..40 {
        assert_eq!(feeder.ask(body(from * LINES)).status(), 200);
        assert!(open_files(&server) <= LIMIT);
    }
    for slice in 0..slices() {
        let has_snapshot = || slice_manifest(&data, slice).snapshot > 0;
        assert!(becomes_true(has_snapshot), "slice {slice} has no snapshot");
    }

    idle.iter().for_each(|stream| stream.set_nonblocking(true).expect("it can be set"));
    let refusal = problem("overloaded", "", RETRY_ELSEWHERE);
    let mut refused = vec![false; idle.len()];
    let are_refused = || {
        for (stream, refused) in idle.iter().zip(&mut refused).filter(|(_, refused)| !**refused) {
            let mut start = [0; 13];
            *refused = (&mut &*stream).read(&mut start).is_ok_and(|count| {
                assert_eq!(start[..count], refusal.as_bytes()[..13]);
                true
            });
        }
        refused.iter().filter(|refused| **refused).count() >= idle.len() - all
    };
    assert!(becomes_true(are_refused), "those above the limit are not refused");
    assert_eq!(feeder.ask(get("/readyz")).shown(), expected::text("ready"));
    // A last snapshot may still be written.
    let mut wakeups = Vec::new();
    let is_at_rest = || {
        wakeups.push(wakeups_a_second(&server));
        wakeups.last().is_some_and(|&count| count < IDLE_WAKEUPS)
    };
    assert!(becomes_true(is_at_rest), "{wakeups:?} turns a second while idle");
    drop(idle);
    assert!(becomes_true(|| server.connect().is_ready()), "a free place is not used");
    let said = fs::read_to_string(&log).expect("text");
    assert!(!said.contains("Too many open files"), "{said}");
}

/// Where descriptors run out in spite of the reserve, connections wait, and the core sleeps.
fn a_shortage_costs_no_turns() {
    let mut command = serve("127.0.0.1:0");
    command.arg("--ephemeral");
    let server = Server::spawn(&mut limited(&[&format!("--nofile={LIMIT}")], &command));
    // Accepts in flight still have the earlier limit.
    limit_open_files(&server, open_files(&server));
    let waiting: Vec<_> = (0..2 * LIMIT).map(|_| server.connect()).collect();
    let wakeups = wakeups_a_second(&server);
    assert!(wakeups < IDLE_WAKEUPS, "{wakeups} turns a second while idle");
    limit_open_files(&server, LIMIT);
    drop(waiting);
    assert!(becomes_true(|| server.connect().is_ready()), "nothing is accepted any more");
}

#[test]
fn a_limit_that_fits_no_connection_is_refused() {
    let scratch = Scratch::new("descriptors");
    let mut command = serve("127.0.0.1:0");
    command.args(["--slices", "2", "--data"]).arg(scratch.join("data"));
    let (code, _, err) = run(&mut limited(&["--nofile=40"], &command));
    assert_eq!(code, Some(2), "{err}");
    let least = err.split("need at least ").nth(1).and_then(|rest| rest.split(':').next());
    let least = least.unwrap_or_else(|| panic!("no least in {err}"));
    assert!(err.contains("the limit of open files is 40") && err.contains("ulimit -n"), "{err}");
    let limit = format!("--nofile={least}");
    let server = Server::spawn(&mut limited(&[&limit], &command));
    server.feed(&[credit(1, 1, 1, T)]);
}
