//! Shutdown of a server: a lame duck serves as before, a draining server finishes what has begun
//! and closes each connection with its last answer, and the process ends by itself.

use crate::server::client::{batch, feed, get};
use crate::server::expected::{self, CLOSE, RETRY, RETRY_ELSEWHERE, balance, fed, json, problem};
use crate::server::{Client, Scratch, Server, credit, entries, own_address, serve};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

on_slices!([one = 1, two = 2, three = 3] [
    a_lame_duck_serves,
    an_interrupt_has_no_delay,
    requests_that_have_begun_are_finished,
    pipelined_requests_are_all_answered,
    connections_that_wait_to_be_accepted_are_served,
    a_signal_during_a_feed,
    a_feed_that_is_being_applied_is_answered_in_full,
    an_idle_server_ends_at_once_and_idle_connections_in_time,
    draining_ends_despite_an_unfinished_request,
    a_second_signal_stops_at_once,
    requests_during_loading_are_refused_after_a_signal,
]);

const T: u64 = 1_700_000_100_000;

/// A connection that the server has accepted.
fn accepted(server: &Server) -> Client {
    let mut client = server.connect();
    assert_eq!(client.ask(get("/readyz")).shown(), expected::text("ready"));
    client
}

/// The summary line of an ended server.
fn summary_line(server: &Server) -> String {
    let mut lines = std::iter::from_fn(|| server.line());
    lines
        .find(|line| line.starts_with("drained: ") || line.starts_with("stopped: "))
        .unwrap_or_default()
}

/// Group commit: the entries of one body are one write, however many turns it takes to apply them,
/// because the answer waits for the last of them anyway.
#[test]
fn the_entries_of_a_body_are_one_write() {
    let scratch = Scratch::new("together");
    let mut server = Server::with_data(&scratch.join("data"), &["--slices", "1"]);
    server.feed(&[credit(1, 1, 5, T)]);
    for body in 0..3 {
        let lines: Vec<_> = (0..1_000).map(|n| credit(2 + body * 1_000 + n, n, 5, T)).collect();
        server.feed(&lines);
    }
    server.signal("TERM");
    assert!(server.ended().success());
    let mut lines = std::iter::from_fn(|| server.line());
    let log = lines.find(|line| line.starts_with("log: ")).expect("it tells what it wrote");
    assert!(log.starts_with("log: 4 writes, "), "{log}");
}

/// A lame duck serves everything as before, on old and new connections, except `/readyz`.
fn a_lame_duck_serves() {
    let mut server = Server::start(&["--drain-delay-ms", "2000"]);
    let mut old = accepted(&server);
    let start = Instant::now();
    server.leave();
    while start.elapsed() < Duration::from_millis(1_500) {
        let mut new = server.connect();
        for client in [&mut old, &mut new] {
            assert_eq!(client.ask(get("/readyz")).shown(), problem("draining", "", ""));
            assert_eq!(client.ask(get("/healthz")).shown(), expected::text("ok"));
            let missing = client.ask(get("/v1/users/42/balance"));
            assert_eq!((missing.status(), missing.header("connection")), (404, None));
            assert_eq!(client.ask(feed("")).shown(), json("", &fed(0, 0, &[])));
        }
        thread::sleep(Duration::from_millis(50));
    }
    // Then it drains: a busy connection is closed with an answer.
    let closed = loop {
        let answer = old.ask(get("/healthz"));
        assert_eq!(answer.shown_unless_closed(), expected::text("ok"));
        if answer.header("connection").is_some() {
            break start.elapsed();
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert!(closed >= Duration::from_secs(2), "the drain begins after {closed:?}");
    old.is_closed();
    assert!(server.ended().success());
    assert!(summary_line(&server).starts_with("drained: "));
}

/// SIGINT drains at once.
fn an_interrupt_has_no_delay() {
    let mut server = Server::start(&["--drain-delay-ms", "100000"]);
    server.signal("INT");
    assert!(server.ended().success());
}

fn requests_that_have_begun_are_finished() {
    let mut server = Server::start(&[]);
    let body = feed(entries(&[credit(1, 42, 5, T)]));
    let (batch, health) = (batch(r#"{"requests":[]}"#), get("/healthz").into_bytes());
    let begun = [&body[..10], &body[..body.len() - 3], &batch[..batch.len() - 1], &health[..5]];
    let whole = [&body, &body, &batch, &health];
    let mut idle = accepted(&server);
    let mut probe = accepted(&server);
    let mut fresh = accepted(&server);
    let mut clients: Vec<_> = begun.iter().map(|_| accepted(&server)).collect();
    for (client, part) in clients.iter_mut().zip(begun) {
        client.send(part);
    }
    // A later request is answered: the partial requests have arrived.
    server.check_all_cores_answer();
    server.drain();

    // Open connections: not ready, but served; every answer is the last one.
    assert_eq!(probe.ask(get("/readyz")).shown(), problem("draining", "", CLOSE));
    let missing = fresh.ask(get("/v1/users/43/balance"));
    assert_eq!((missing.status(), missing.header("connection")), (404, Some("close")));
    probe.is_closed();
    fresh.is_closed();

    let again = json(CLOSE, &fed(0, 1, &[expected::duplicate(0, "1")]));
    let ok = expected::text("ok").replacen("content-length", &format!("{CLOSE}content-length"), 1);
    let answers = [json(CLOSE, &fed(1, 0, &[])), again, json(CLOSE, r#"{"responses":[]}"#), ok];
    // One after the other, because each may be on another core.
    for (((client, part), whole), answer) in clients.iter_mut().zip(begun).zip(whole).zip(answers) {
        client.send(&whole[part.len()..]);
        assert_eq!(client.response().shown(), answer);
        client.is_closed();
    }

    // An idle connection is closed without a word, and the server ends.
    idle.is_closed();
    let status = server.ended();
    assert!(status.success(), "{status}");
    let line = summary_line(&server);
    assert!(
        line.starts_with("drained: ")
            && line.contains(" 1 entries accepted, 1 duplicates, 0 rejected"),
        "{line}"
    );
}

/// Requests that were sent one behind the other before the end are all answered: no answer but the
/// last one closes.
fn pipelined_requests_are_all_answered() {
    let mut server = Server::start(&[]);
    let mut client = accepted(&server);
    server.signal("STOP");
    server.signal("TERM");
    let count = 300;
    client.send(get("/healthz").repeat(count));
    server.signal("CONT");
    for n in 1..=count {
        let answer = client.response();
        assert_eq!(answer.shown_unless_closed(), expected::text("ok"));
        let closes = answer.header("connection").is_some();
        assert!(!closes || n == count, "answer {n} of {count} closes the connection");
    }
    client.is_closed();
    assert!(server.ended().success());
}

/// Connections that the kernel has accepted when the signal comes are served, not reset.
fn connections_that_wait_to_be_accepted_are_served() {
    let mut server = Server::start(&[]);
    server.check_all_cores_answer();
    server.signal("STOP");
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    server.signal("TERM");
    clients.iter_mut().for_each(|client| client.send(get("/healthz")));
    server.signal("CONT");
    for client in &mut clients {
        assert_eq!(client.response().shown_unless_closed(), expected::text("ok"));
    }
    drop(clients);
    assert!(server.ended().success());
}

fn a_signal_during_a_feed() {
    let mut server = Server::start(&[]);
    let mut client = accepted(&server);
    let lines: Vec<_> = (0..10_000).map(|n| credit(n, 1, 1, T)).collect();
    client.send(feed(entries(&lines)));
    server.signal("TERM");
    assert_eq!(client.response().shown_unless_closed(), json("", &fed(10_000, 0, &[])));
    drop(client);
    assert!(server.ended().success());
    let line = summary_line(&server);
    assert!(line.contains(" 10000 entries accepted"), "{line}");
}

/// A feed has arrived, except its last byte, when the signal comes: none of it may be lost.
fn a_feed_that_is_being_applied_is_answered_in_full() {
    let mut server = Server::start(&[]);
    let mut client = accepted(&server);
    let lines: Vec<_> = (0..10_000).map(|n| credit(n, 1, 1, T)).collect();
    let body = feed(entries(&lines));
    let (most, last) = body.split_at(body.len() - 1);
    client.send(most);
    server.check_all_cores_answer();
    server.signal("STOP");
    server.signal("TERM");
    client.send([last, get("/v1/users/1/balance").as_bytes()].concat());
    server.signal("CONT");
    assert_eq!(client.response().shown(), json("", &fed(10_000, 0, &[])));
    let behind = client.response();
    assert_eq!(behind.shown_unless_closed(), balance(1, 10_000, T, 10_000));
    assert_eq!(behind.header("connection"), Some("close"));
    drop(client);
    assert!(server.ended().success());
}

fn an_idle_server_ends_at_once_and_idle_connections_in_time() {
    let mut server = Server::start(&["--drain-timeout-ms", "20000"]);
    let start = Instant::now();
    server.signal("TERM");
    assert!(server.ended().success());
    assert!(start.elapsed() < Duration::from_secs(10), "an idle server does not linger");

    let mut server = Server::start(&[]);
    let mut client = accepted(&server);
    server.signal("INT");
    client.is_closed();
    drop(client);
    assert!(server.ended().success());
}

/// A request that is never finished does not block the shutdown for ever.
fn draining_ends_despite_an_unfinished_request() {
    let mut server = Server::start(&["--drain-timeout-ms", "500"]);
    let mut client = accepted(&server);
    client.send("GET /v1/users");
    server.check_all_cores_answer();
    server.signal("TERM");
    assert!(server.ended().success());
}

fn a_second_signal_stops_at_once() {
    let mut server = Server::start(&["--drain-delay-ms", "100000"]);
    let mut client = accepted(&server);
    server.leave();
    assert!(server.is_running());
    assert_eq!(client.ask(get("/healthz")).shown(), expected::text("ok"));
    server.signal("TERM");
    assert!(server.ended().success());
    let line = summary_line(&server);
    assert!(line.starts_with("stopped: "), "{line}");
}

/// A server that gets a signal while it loads answers nothing from partly loaded data and accepts
/// nothing: requests that have begun are refused too.
fn requests_during_loading_are_refused_after_a_signal() {
    let scratch = Scratch::new("drained-while-loading");
    let data = scratch.join("data");
    let lines: Vec<String> = (1..=100_000).map(|n| credit(n, n, 5, T)).collect();
    let mut server = Server::with_data(&data, &[]);
    server.feed(&lines);
    server.signal("TERM");
    assert!(server.ended().success());

    let address = own_address();
    let (read, post) = (get("/v1/users/1/balance"), feed(entries(&[credit(1 << 40, 1, 5, T)])));
    let hit = (0..20).any(|_| {
        let mut server = Server::begin(serve(&address.to_string()).arg("--data").arg(&data));
        // The `limits:` line is the last before loading begins.
        assert!(std::iter::from_fn(|| server.line()).any(|line| line.starts_with("limits: ")));
        let mut clients = [&read.as_bytes()[..8], &post[..8]].map(|begun| {
            let mut client = Client::new(TcpStream::connect(address).expect("it listens"));
            client.send(begun);
            client
        });
        let mut probe = Client::new(TcpStream::connect(address).expect("it listens"));
        let was_loading = probe.ask(get("/readyz")).shown() == problem("recovering", "", RETRY);
        server.signal("TERM");
        clients[0].send(&read.as_bytes()[8..]);
        clients[1].send(&post[8..]);
        let answers = clients.each_mut().map(|client| client.response());
        drop((clients, probe));
        assert!(server.ended().success());
        let refused = answers
            .iter()
            .filter(|answer| answer.shown() == problem("recovering", "", RETRY_ELSEWHERE));
        was_loading && refused.count() == 2
    });
    assert!(hit, "loading always ended before the signal");
}
