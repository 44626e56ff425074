//! Hostile clients: malformed requests, slow or greedy peers, and peers that vanish.
//!
//! None of them stops the server or blocks other clients, and each gets every answer that can still
//! reach it.

use crate::server::client::{batch, feed, get};
use crate::server::expected::{
    self, CLOSE, RETRY_ELSEWHERE, balance, duplicate, fed, json, problem,
};
use crate::server::{Client, Server, TIMEOUT, becomes_true, credit, entries};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

on_slices!([one = 1, two = 2, three = 3] [
    refused_requests,
    refused_byte_by_byte,
    answers_come_in_order,
    a_client_that_writes_everything_before_reading,
    an_endless_feed_does_not_block_others,
    a_read_sees_the_entries_posted_before_it,
    an_unfinished_request_times_out,
    an_idle_connection_is_closed_silently,
    a_client_that_reads_nothing_is_dropped,
    a_client_that_reads_nothing_and_keeps_asking_is_dropped,
    the_send_timeout_does_not_shorten_the_request_timeout,
    many_connections_at_once,
    connections_above_the_limit_are_refused,
    a_refused_connection_that_has_sent_data_gets_its_answer,
    garbage,
    vanished_peers_free_their_connections,
]);

const T: u64 = 1_700_000_100_000;
const USERS: u64 = 50;

/// Request heads that are refused, and the code. `http_conformance` has all kinds; these are of
/// different ends: at once, after the head, with and without a body behind it.
const HEADS: &[(&str, &str)] = &[
    (
        "POST /v1/entries HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\
         transfer-encoding: chunked\r\n\r\n",
        "malformed_request: length and coding",
    ),
    ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\n", "malformed_request: length value"),
    (
        "POST /v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n\
         content-length: 99999999999999999999\r\n\r\n",
        "content_too_large",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "malformed_request: chunked not last",
    ),
    (
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "unsupported_transfer_coding",
    ),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", "malformed_request: folded line"),
    ("GET / HTTP/1.1\nhost: a\r\n\r\n", "malformed_request: bare LF"),
    ("GET / HTTP/1.1\rhost: a\r\n\r\n", "malformed_request: bare CR"),
    ("GET / HTTP/1.1\r\nx: a\r\n\r\n", "malformed_request: no host"),
    ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", "malformed_request: header value"),
    ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", "malformed_request: request line"),
    ("\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "malformed_request: more empty lines"),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n", "malformed_request: method"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http_version_not_supported"),
    ("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", "not_found"),
    ("BREW / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n", "method_not_implemented"),
    (
        "GET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n",
        "content_too_large",
    ),
    (
        "GET /healthz HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx",
        "malformed_request: chunk size",
    ),
    (
        "POST /v1/entries HTTP/1.1\r\nhost: a\r\nexpect: x\r\ncontent-length: 9\r\n\r\n",
        "expectation_failed",
    ),
];

/// Malformed chunked bodies, without the head, and the code.
const CHUNKS: &[(&str, &str)] = &[
    ("x\r\n", "malformed_request: chunk size"),
    ("1 \r\na", "malformed_request: chunk space"),
    ("1;\u{1}\r\na", "malformed_request: chunk extension"),
    ("1\rx", "malformed_request: bare CR"),
    ("1\r\nab", "malformed_request: chunk end"),
    ("800001\r\n", "content_too_large"),
    ("0\r\nx y: a\r\n", "malformed_request: trailer name"),
    ("0\r\nx: a\n", "malformed_request: bare LF"),
];

/// A server with users 1 to [`USERS`]; each has as many `COIN`s as its id.
fn server_with_users(flags: &[&str]) -> Server {
    let server = Server::start(flags);
    server.feed(&(1..=USERS).map(|user| credit(1, user, user as i64, T)).collect::<Vec<_>>());
    server
}

/// A balance read and its answer, for a pseudo-random user, so that answers in the wrong order are
/// noticed.
fn nth(n: u64) -> (String, String) {
    let user = 1 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % USERS;
    (get(&format!("/v1/users/{user}/balance")), balance(user, 1, T, user as i64))
}

/// Checks that the next answer is this refusal and that the server then closes the connection.
fn refused(client: &mut Client, code: &str, context: &str) {
    assert_eq!(client.response().shown(), problem(code, "", CLOSE), "to {context:?}");
    client.is_closed();
}

fn refused_requests() {
    let server = Server::start(&[]);
    let chunked = "POST /v1/entries HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n\
                   transfer-encoding: chunked\r\n\r\n";
    let chunks = CHUNKS.iter().map(|(chunk, code)| (format!("{chunked}{chunk}"), *code));
    let heads = HEADS.iter().map(|(head, code)| ((*head).to_owned(), *code));
    let long = [
        (format!("GET /{}", "a".repeat(3_000)), "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(9_000)), "header_fields_too_large"),
        (format!("{chunked}1;{}", "a".repeat(300)), "malformed_request: chunk line too long"),
        (format!("{chunked}0\r\nx: {}", "a".repeat(5_000)), "header_fields_too_large"),
    ];
    for (bad, code) in heads.chain(chunks).chain(long) {
        let mut whole = server.connect();
        whole.send(&bad);
        refused(&mut whole, code, &bad);
        let mut behind_others = server.connect();
        behind_others.send(get("/healthz").repeat(3) + &bad);
        (0..3).for_each(|_| assert_eq!(behind_others.response().shown(), expected::text("ok")));
        refused(&mut behind_others, code, &bad);
        // The answer arrives although the client sends much more before it reads.
        let mut talkative = server.connect();
        talkative.send(&bad);
        talkative.send(vec![b'a'; 1 << 20]);
        refused(&mut talkative, code, &bad);
    }
    server.check_all_cores_answer();
}

fn refused_byte_by_byte() {
    let server = Server::start(&[]);
    for (bad, code) in HEADS.iter().filter(|(bad, _)| bad.len() < 60) {
        let mut client = server.connect();
        client.trickle(bad.as_bytes());
        refused(&mut client, code, bad);
    }
    let mut client = server.connect();
    client.trickle(&feed(entries(&[credit(1, 1, 1, T)])));
    assert_eq!(client.response().shown(), json("", &fed(1, 0, &[])));
    client.trickle(get("/v1/users/1/balance").as_bytes());
    assert_eq!(client.response().shown(), balance(1, 1, T, 1));
}

fn answers_come_in_order() {
    let server = server_with_users(&[]);
    let (requests, answers): (Vec<_>, Vec<_>) = (0..1_000).map(nth).unzip();
    let all = requests.concat();
    let check = |client: &mut Client| {
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(&client.response().shown(), answer, "answer {n}");
        }
    };
    let mut client = server.connect();
    client.send(&all);
    check(&mut client);
    // Again, with a client that reads little at a time.
    client.read_slowly(97, Duration::from_micros(100));
    client.send(&all);
    check(&mut client);
    // Again, with a client that has closed its sending side.
    client.read_slowly(1 << 16, Duration::ZERO);
    client.send(&all);
    client.finish();
    check(&mut client);
    client.is_closed();
}

/// More answers than the server buffers: backpressure stops it reading until answers leave, and
/// none is lost.
fn a_client_that_writes_everything_before_reading() {
    const COUNT: u64 = 200_000;
    let server = server_with_users(&[]);
    let mut client = server.connect();
    let mut socket = client.socket();
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for start in (0..COUNT).step_by(1_000) {
                let some: String = (start..start + 1_000).map(|n| nth(n).0).collect();
                socket.write_all(some.as_bytes()).expect("the server takes what is sent");
                // Relaxed: only progress is watched.
                written.fetch_add(some.len(), Ordering::Relaxed);
            }
        });
        stands_still(&written);
        for n in 0..COUNT {
            let response = client.response();
            assert!(response.shown() == nth(n).1, "answer {n} of {COUNT}: {response:?}");
        }
    });
    client.finish();
    client.is_closed();
}

/// Waits until a counter has not changed for 300 ms.
fn stands_still(figure: &AtomicUsize) {
    let mut last = (usize::MAX, Instant::now());
    assert!(becomes_true(|| {
        // Relaxed: only progress is watched.
        let now = figure.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(300)
    }));
}

/// A connection with a long queue of feeds gets no larger share of a turn than one that comes
/// later.
fn an_endless_feed_does_not_block_others() {
    const BODIES: usize = 1_500;
    let server = Server::start(&[]);
    let mut greedy = server.connect();
    let mut socket = greedy.socket();
    let body =
        |user: u64, n: u64| (0..n).map(|entry| credit(entry, user, 1, T)).collect::<Vec<_>>();
    let all = feed(entries(&body(1, 200))).repeat(BODIES);
    let answered = AtomicUsize::new(1);
    thread::scope(|scope| {
        scope.spawn(|| socket.write_all(&all).expect("the server takes what is sent"));
        assert_eq!(greedy.response().shown(), json("", &fed(200, 0, &[])));
        scope.spawn(|| {
            for _ in 1..BODIES {
                assert_eq!(greedy.response().status(), 200);
                // Relaxed: only progress is watched.
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        let modest = server.ask(feed(entries(&body(2, 1_000))));
        let before = answered.load(Ordering::Relaxed);
        assert_eq!(modest.shown(), json("", &fed(1_000, 0, &[])));
        assert!(before < BODIES, "a thousand entries waited for {BODIES} times two hundred");
    });
}

fn a_read_sees_the_entries_posted_before_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let lines: Vec<_> = (0..10_000).map(|n| credit(n, 1, 1, T)).collect();
    let mut all = Vec::new();
    let parts = [&lines[..1], &lines[1..1_000], &lines[1_000..]];
    for part in parts {
        all.extend(feed(entries(part)));
        all.extend(get("/v1/users/1/balance").bytes());
    }
    client.send(all);
    // A half-closed connection still gets its answers.
    client.finish();
    let mut total = 0;
    for part in parts {
        total += part.len();
        assert_eq!(client.response().shown(), json("", &fed(part.len(), 0, &[])));
        assert_eq!(client.response().shown(), balance(1, total as u64, T, total as i64));
    }
    client.is_closed();
}

fn an_unfinished_request_times_out() {
    let server = server_with_users(&["--request-timeout-ms", "300"]);
    let mut trickling = server.connect();
    let mut socket = trickling.socket();
    thread::scope(|scope| {
        // Further bytes do not extend the timeout.
        scope.spawn(move || {
            let slow = get("/v1/users/1/balance") + &"x".repeat(10_000);
            for byte in slow.bytes() {
                if socket.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        refused(&mut trickling, "request_timeout", "a trickle");
        drop(trickling);
    });
    // Complete requests before the unfinished one are answered.
    let mut client = server.connect();
    client.send(nth(1).0 + "GET /healthz HTT");
    assert_eq!(client.response().shown(), nth(1).1);
    refused(&mut client, "request_timeout", "half a request");
}

fn an_idle_connection_is_closed_silently() {
    let server = server_with_users(&["--request-timeout-ms", "200", "--idle-timeout-ms", "200"]);
    server.connect().is_closed();
    let mut client = server.connect();
    assert_eq!(client.ask(nth(1).0).shown(), nth(1).1);
    client.is_closed();
}

/// Writes and reads nothing until the server closes the connection, which must happen within
/// `TIMEOUT`.
fn is_dropped(mut write: impl FnMut() -> std::io::Result<usize>) {
    let until = Instant::now() + TIMEOUT;
    loop {
        assert!(Instant::now() < until, "a client that reads no answers is still served");
        match write() {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                    "{error}"
                );
                return;
            }
        }
    }
}

fn a_client_that_reads_nothing_is_dropped() {
    let server = server_with_users(&["--send-timeout-ms", "300"]);
    let mut socket = server.connect().socket();
    socket.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let many = nth(1).0.repeat(100);
    is_dropped(|| socket.write(many.as_bytes()));
    server.check_all_cores_answer();
}

/// Further small requests do not extend the send timeout of a client that reads no answers.
fn a_client_that_reads_nothing_and_keeps_asking_is_dropped() {
    let server = server_with_users(&["--send-timeout-ms", "500"]);
    let mut client = tight(&server);
    // Far more than socket buffers hold, however they are tuned.
    let kinds = (0..100).map(|n| credit(n, 1_000, 1, T).replace("topup", &format!("kind_{n}")));
    server.feed(&kinds.collect::<Vec<_>>());
    let lines = vec![r#"{"user_id":"1000","read":"stats","window":"lifetime"}"#; 1_000].join(",");
    client.send(batch(format!(r#"{{"requests":[{lines}]}}"#)));
    let (mut socket, start) = (client.socket(), Instant::now());
    is_dropped(|| {
        assert!(start.elapsed() < TIMEOUT / 3, "further requests extend the send timeout");
        thread::sleep(Duration::from_millis(100));
        socket.write(get("/healthz").as_bytes())
    });
}

/// A connection that buffers little: its receive buffer is small, and small segments keep the
/// server's send buffer small.
fn tight(server: &Server) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.set_tcp_mss(536).expect("small segments");
    socket.connect(&server.address.into()).expect("the server listens");
    Client::new(socket.into())
}

/// The send timeout and the request timeout are independent.
fn the_send_timeout_does_not_shorten_the_request_timeout() {
    let server = Server::start(&["--send-timeout-ms", "200", "--request-timeout-ms", "20000"]);
    let mut client = server.connect();
    client.send(get("/healthz") + "GET /heal");
    assert_eq!(client.response().shown(), expected::text("ok"));
    thread::sleep(Duration::from_millis(2_500));
    client.send("thz HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().shown(), expected::text("ok"));
}

fn many_connections_at_once() {
    let server = server_with_users(&[]);
    let mut clients: Vec<_> = (0..600).map(|_| server.connect()).collect();
    for _ in 0..2 {
        clients.iter_mut().zip(0..).for_each(|(client, n)| client.send(nth(n).0));
        clients
            .iter_mut()
            .zip(0..)
            .for_each(|(client, n)| assert_eq!(client.response().shown(), nth(n).1));
    }
}

fn connections_above_the_limit_are_refused() {
    let server = Server::start(&["--max-connections", "3"]).at_one_core();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(get("/healthz")).status(), 200));
    for _ in 0..3 {
        let mut late = server.connect();
        assert_eq!(late.response().shown(), problem("overloaded", "", RETRY_ELSEWHERE));
        late.is_closed();
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(get("/healthz")).status(), 200));
    clients.pop();
    let is_taken = || {
        let mut client = server.connect();
        client.is_ready()
    };
    assert!(becomes_true(is_taken), "a freed connection slot is used again");
}

/// A refused connection has often sent its request already. The answer must arrive, and the
/// connection must not be reset.
fn a_refused_connection_that_has_sent_data_gets_its_answer() {
    let server = Server::start(&["--max-connections", "1"]).at_one_core();
    let mut only = server.connect();
    assert_eq!(only.ask(get("/healthz")).status(), 200);
    server.signal("STOP");
    let mut late = server.connect();
    late.send(feed(vec![b'a'; 1 << 20]).split_at(1_000).0);
    server.signal("CONT");
    assert_eq!(late.response().shown(), problem("overloaded", "", RETRY_ELSEWHERE));
    late.is_closed();
    // A client that sends again before it reads must not fail.
    late.send(vec![b'a'; 1 << 20]);
}

/// Random numbers from a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Garbage: random bytes, or good requests with some bytes changed, removed or doubled.
/// `PURSER_SEED=7` runs only that seed.
fn garbage() {
    let server = server_with_users(&[]);
    let one = std::env::var("PURSER_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in one.map_or(0..300, |seed| seed..seed + 1) {
        let mut random = Random(seed);
        let mut bytes: Vec<u8> = if seed % 3 == 0 {
            (0..random.below(20_000)).map(|_| random.next() as u8).collect()
        } else {
            [feed(entries(&[credit(seed + 2, 60, 1, T)])), get("/v1/users/1/balance").into_bytes()]
                .concat()
                .repeat(3)
        };
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len().max(1));
            match random.below(3) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = random.next() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let mut client = server.connect();
        client.send(&bytes);
        client.finish();
        client.drained(&format!("PURSER_SEED={seed}"));
    }
    server.check_all_cores_answer();
    assert_eq!(server.ask(nth(1).0).shown(), nth(1).1);
}

/// Closes a connection with a reset.
fn reset(client: Client) {
    SockRef::from(&client.socket()).set_linger(Some(Duration::ZERO)).expect("a linger time");
    drop(client);
}

fn vanished_peers_free_their_connections() {
    let server = server_with_users(&["--max-connections", "4"]).at_one_core();
    let body = feed(entries(&(0..5_000).map(|n| credit(n, 60, 1, T)).collect::<Vec<_>>()));
    let pipeline = nth(1).0.repeat(5_000);
    for bytes in
        [&b""[..], b"GET / HT", &body[..200], &body[..body.len() - 1], &body, pipeline.as_bytes()]
    {
        for orderly in [true, false] {
            let mut client = taken(&server);
            client.send(bytes);
            if orderly { drop(client) } else { reset(client) }
        }
    }
    // Each of them has freed its connection slot.
    let mut clients: Vec<_> = (0..4).map(|_| taken(&server)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(nth(1).0).shown(), nth(1).1));
    // Of an incomplete feed nothing is applied. Of a complete one, the first lines may have been
    // applied before the server noticed that the peer was gone.
    let again = clients[0].ask(&body);
    let known = again.body.matches(r#""duplicate"}"#).count();
    let ids: Vec<_> = (0..known).map(|n| duplicate(n, &n.to_string())).collect();
    assert_eq!(again.shown(), json("", &fed(5_000 - known, known, &ids)));
}

/// A connection that the server has accepted; waits for a free slot.
fn taken(server: &Server) -> Client {
    let mut taken = None;
    let is_taken = || {
        let mut client = server.connect();
        let is_taken = client.is_ready();
        taken = is_taken.then_some(client);
        is_taken
    };
    assert!(becomes_true(is_taken), "no connection slot becomes free");
    taken.expect("a connection was accepted")
}
