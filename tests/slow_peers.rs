//! Slow peers: those that make progress are served however slow they are, those that make none are
//! closed.
//!
//! The machine runs with a fake clock. The real server is read and fed over sockets at a steady
//! pace; `PURSER_SLOW_PEERS=60` is the long form: default timeouts, several rates, receive buffers
//! up to the largest that this machine allows, 60 seconds each.

use crate::drive::driver::{UNLIMITED, info};
use crate::drive::{get, post};
use crate::server::client::{self, batch, feed};
use crate::server::expected::{CLOSE, duplicate, fed, json, problem};
use crate::server::{Client, Server, TIMEOUT, credit, entries};
use purser::limits::Limits;
use purser::server::core;
use purser::server::machine::{Clocks, Machine as _, Output, Wait};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const T: u64 = 1_700_000_100_000;

/// A machine with one connection and a clock that the test sets.
struct Wired {
    machine: core::Server,
    now_ms: u64,
    /// The send in flight, and how much of it was taken.
    send: Option<(Vec<u8>, usize)>,
    is_closed: bool,
}

const TIMEOUT_MS: u64 = 10_000;

impl Wired {
    fn new() -> Self {
        let limits = Limits {
            request_ms: TIMEOUT_MS,
            send_ms: TIMEOUT_MS,
            idle_ms: u64::MAX >> 1,
            ..UNLIMITED
        };
        let machine = core::Server::new(core::Setup::alone(limits, info(1)));
        let mut wired = Self { machine, now_ms: 0, send: None, is_closed: false };
        wired.turn(|_| {});
        wired.turn(|machine| machine.opened(0, 0));
        wired
    }

    fn turn(&mut self, events: impl FnOnce(&mut core::Server)) {
        let clocks = Clocks { monotonic_ms: self.now_ms, unix_ms: T, spun_us: 0 };
        self.machine.begin_turn(clocks);
        events(&mut self.machine);
        self.machine.end_turn().expect("there is no disk");
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { buffer, from, .. } => self.send = Some((buffer, from)),
                Output::Close { .. } => self.is_closed = true,
                _ => {}
            }
        }
    }

    /// Lets time pass, with a turn each tick.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = (self.now_ms + 250).min(until_ms);
            self.turn(|_| {});
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if !self.is_closed {
            self.turn(|machine| machine.received(0, bytes));
        }
    }

    /// The socket takes some bytes, across sends.
    fn take(&mut self, mut bytes: usize) {
        while bytes > 0 && !self.is_closed {
            // Answers that waited for the mark are written in the next turns.
            while self.send.is_none() {
                assert!(self.machine.wait() == Wait::Work, "the machine has more answers");
                self.turn(|_| {});
            }
            let (buffer, from) = self.send.take().expect("a send is in flight");
            let count = bytes.min(buffer.len() - from);
            bytes -= count;
            self.turn(|machine| machine.sent(0, buffer, count));
        }
    }

    /// Takes the answer in flight as text.
    fn answer(&mut self) -> String {
        while self.send.is_none() && self.machine.wait() == Wait::Work {
            self.turn(|_| {});
        }
        let text = self.send.as_ref().map(|(buffer, _)| buffer.clone()).unwrap_or_default();
        self.take(text.len());
        String::from_utf8(text).expect("an answer is text")
    }

    /// A connection that has asked for more than its peer ever takes.
    fn with_answers() -> Self {
        let mut wired = Self::new();
        for _ in 0..200 {
            wired.receive(&get("/v1/users/nobody/balance").repeat(100));
        }
        assert!(wired.send.is_some());
        wired
    }
}

/// A peer that reads steadily behind a large receive buffer takes much at a time, with pauses
/// between.
#[test]
fn a_reader_that_takes_much_at_a_time_may_pause_for_longer_than_the_timeout() {
    let mut wired = Wired::with_answers();
    wired.take(1 << 20);
    for _ in 0..20 {
        wired.pass(TIMEOUT_MS + 2_000);
        assert!(!wired.is_closed);
        wired.take(360 << 10);
        for _ in 0..20 {
            wired.receive(&get("/v1/users/nobody/balance").repeat(100));
        }
    }
}

#[test]
fn a_reader_that_takes_nothing_is_closed() {
    let mut wired = Wired::with_answers();
    wired.pass(TIMEOUT_MS - 1);
    assert!(!wired.is_closed);
    wired.pass(1_001);
    assert!(wired.is_closed);
}

#[test]
fn a_reader_that_takes_a_byte_now_and_then_is_closed() {
    let mut wired = Wired::with_answers();
    wired.pass(9_000);
    wired.take(1);
    wired.pass(9_000);
    assert!(wired.is_closed, "one byte does not extend the timeout by another");
}

/// A pause of the server's own does not count: nothing is in flight.
#[test]
fn a_reader_is_not_timed_while_nothing_is_sent() {
    let mut wired = Wired::new();
    for _ in 0..10 {
        wired.pass(3 * TIMEOUT_MS);
        wired.receive(&get("/healthz"));
        assert!(wired.answer().ends_with("ok"));
    }
    assert!(!wired.is_closed);
}

/// A body of 1 MB at 110 KB/s, 50 KB/s and 17 KB/s, in pieces of a second.
#[test]
fn a_body_that_arrives_steadily_is_served() {
    for bytes_per_s in [110_000, 50_000, 17_000] {
        let body = (" ".repeat(999) + "\n").repeat(1_000);
        let request = post("/v1/entries", "application/x-ndjson", body.as_bytes());
        let mut wired = Wired::new();
        for piece in request.chunks(bytes_per_s) {
            wired.pass(1_000);
            wired.receive(piece);
        }
        assert!(wired.answer().starts_with("HTTP/1.1 200 OK\r\n"), "at {bytes_per_s} bytes/s");
    }
}

#[test]
fn a_body_that_stops_or_trickles_is_refused() {
    let request = post("/v1/entries", "application/x-ndjson", &vec![b' '; 1_000_000]);
    let (begun, rest) = request.split_at(500_000);
    let mut stopped = Wired::new();
    stopped.receive(begun);
    stopped.pass(TIMEOUT_MS - 1);
    assert!(stopped.send.is_none());
    stopped.pass(1_001);
    assert!(stopped.answer().starts_with("HTTP/1.1 408 "));

    let mut trickling = Wired::new();
    trickling.receive(&request[..300]);
    for byte in rest.chunks(1).take(3) {
        trickling.pass(9_000);
        trickling.receive(byte);
    }
    assert!(trickling.answer().starts_with("HTTP/1.1 408 "));
}

/// A head has its time from its first byte, whatever else arrives.
#[test]
fn a_head_that_trickles_is_refused() {
    let mut wired = Wired::new();
    for byte in b"GET /" {
        wired.receive(&[*byte]);
        wired.pass(3_000);
    }
    assert!(wired.answer().starts_with("HTTP/1.1 408 "));
}

// The real server.

/// Seconds of the long form.
fn long_form() -> Option<u64> {
    let text = std::env::var("PURSER_SLOW_PEERS").ok()?;
    Some(text.parse().expect("PURSER_SLOW_PEERS is a number of seconds"))
}

/// Feeds a user with 200 groups: statistics of 20 KB.
fn feed_wide_user(server: &Server) {
    let kinds = (0..200).map(|n| credit(n, 1, 1, T).replace("topup", &format!("kind_{n}")));
    server.feed(&kinds.collect::<Vec<_>>());
}

/// A connection whose receive buffer is at most this large.
fn connect(address: SocketAddr, buffer: Option<usize>) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if let Some(bytes) = buffer {
        socket.set_recv_buffer_size(bytes).expect("a buffer size");
    }
    socket.connect(&address.into()).expect("the server listens");
    Client::new(socket.into())
}

/// Reads pipelined batches at a steady rate for some time, then the rest at once. Every answer must
/// arrive, whole and equal. Returns an error if the server closes the connection.
fn read_steadily(
    address: SocketAddr,
    buffer: Option<usize>,
    bytes_per_s: usize,
    time: Duration,
    (request, answer): (&[u8], &[u8]),
    count: usize,
) -> Result<(), String> {
    let mut stream = connect(address, buffer).socket();
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    stream.write_all(&request.repeat(count)).expect("the requests are small");
    let (start, mut read, mut bytes) = (Instant::now(), 0, vec![0; 64 << 10]);
    let total = answer.len() * count;
    while read < total {
        let due = match start.elapsed() {
            elapsed if elapsed < time => (bytes_per_s as f64 * elapsed.as_secs_f64()) as usize,
            _ => total,
        };
        let most = due.min(total).saturating_sub(read).min(bytes.len());
        if most < (bytes_per_s / 20).min(total - read) {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let at = format!("after {read} bytes and {:.1} s", start.elapsed().as_secs_f64());
        match stream.read(&mut bytes[..most]) {
            Ok(0) => return Err(format!("closed {at}")),
            Err(error) => return Err(format!("{error} {at}")),
            Ok(some) => {
                for (offset, byte) in bytes[..some].iter().enumerate() {
                    let expected = answer[(read + offset) % answer.len()];
                    // The date may differ; nothing else may.
                    let is_date = (read + offset) % answer.len() < 100;
                    assert!(is_date || *byte == expected, "another answer {at}");
                }
                read += some;
            }
        }
    }
    Ok(())
}

/// A batch of many statistics, and its answer's bytes.
fn wide_batch(server: &Server, items: usize) -> (Vec<u8>, Vec<u8>) {
    let item = r#"{"user_id":"1","read":"stats","window":"lifetime"}"#;
    let request = batch(format!(r#"{{"requests":[{}]}}"#, vec![item; items].join(",")));
    let mut client = server.connect();
    let date = client.ask(client::get("/healthz")).header("date").expect("a date").to_owned();
    let answer = client.ask(&request).shown().replacen("date: D", &format!("date: {date}"), 1);
    (request, answer.into_bytes())
}

/// Runs one reader for each buffer and rate, all at once. All must be served.
fn check_readers(
    server: &Server,
    cases: &[(Option<usize>, usize)],
    time: Duration,
    request: (&[u8], &[u8]),
    bytes: usize,
) {
    let (address, count) = (server.address, bytes.div_ceil(request.1.len()));
    thread::scope(|scope| {
        let readers: Vec<_> = cases
            .iter()
            .map(|&(buffer, bytes_per_s)| {
                let read =
                    move || read_steadily(address, buffer, bytes_per_s, time, request, count);
                (buffer, bytes_per_s, scope.spawn(read))
            })
            .collect();
        let results: Vec<_> = readers
            .into_iter()
            .map(|(buffer, bytes_per_s, reader)| {
                (buffer, bytes_per_s, reader.join().expect("the answers are right"))
            })
            .collect();
        let closed: Vec<_> = results.iter().filter(|(_, _, result)| result.is_err()).collect();
        assert!(
            closed.is_empty(),
            "{} of {} steady readers were closed (buffer, bytes/s, when): {closed:?}",
            closed.len(),
            results.len()
        );
    });
}

/// The receive buffer that a process may always set.
const COMMON_BUFFER: usize = 212_992;

#[test]
fn steady_readers_are_served() {
    if let Some(seconds) = long_form() {
        return steady_readers_at_default_timeouts(Duration::from_secs(seconds));
    }
    // A twentieth of the timeout stands for buffers that are twenty times as large.
    let server = Server::start(&["--send-timeout-ms", "500"]);
    feed_wide_user(&server);
    let (request, answer) = wide_batch(&server, 10);
    let cases = [(Some(COMMON_BUFFER), 100_000); 8];
    check_readers(&server, &cases, Duration::from_secs(10), (&request, &answer), 8 << 20);
}

fn steady_readers_at_default_timeouts(time: Duration) {
    let server = Server::start(&[]);
    feed_wide_user(&server);
    let mut cases = Vec::new();
    for bytes_per_s in [20_000, 30_000, 100_000] {
        for buffer in [Some(4 << 10), None, Some(COMMON_BUFFER), Some(3 << 20), Some(1 << 30)] {
            cases.push((buffer, bytes_per_s));
        }
    }
    // Many pipelined answers, and few large ones.
    for items in [4, 100, 1_000] {
        let (request, answer) = wide_batch(&server, items);
        check_readers(&server, &cases, time, (&request, &answer), 16 << 20);
    }
}

/// A reader that takes nothing is closed although its kernel has taken much, and so is one that
/// reads a few bytes now and then.
#[test]
fn readers_that_make_no_progress_are_closed() {
    let server = Server::start(&["--send-timeout-ms", "300"]);
    feed_wide_user(&server);
    let (request, _) = wide_batch(&server, 300);
    for (buffer, reads) in [(Some(COMMON_BUFFER), false), (Some(4_096), true)] {
        let mut stream = connect(server.address, buffer).socket();
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        stream.write_all(&request.repeat(4)).expect("the requests are small");
        let start = Instant::now();
        loop {
            thread::sleep(Duration::from_millis(100));
            if reads {
                _ = stream.read(&mut [0; 16]);
            }
            // A closed connection answers with a reset.
            if stream.write_all(client::get("/healthz").as_bytes()).is_err() {
                break;
            }
            assert!(start.elapsed() < 18 * Duration::from_millis(300) + TIMEOUT / 10, "still open");
        }
    }
}

/// A body at 110 KB/s takes many times the request timeout and is served; one that trickles gets
/// 408.
#[test]
fn steady_uploads_are_served() {
    let (timeout, seconds) = match long_form() {
        None => ("1000", 5),
        Some(seconds) => ("10000", seconds.min(70)),
    };
    let server = Server::start(&["--request-timeout-ms", timeout]);
    let bytes_per_s = 110_000;
    let line = credit(1, 1, 1, T) + &" ".repeat(1_000);
    let lines = vec![line; bytes_per_s * seconds as usize / 1_100];
    let request = feed(entries(&lines));
    let mut client = server.connect();
    let start = Instant::now();
    for (piece, n) in request.chunks(bytes_per_s / 50).zip(0..) {
        thread::sleep(Duration::from_millis(20 * n).saturating_sub(start.elapsed()));
        client.send(piece);
    }
    let again: Vec<_> = (1..lines.len()).map(|index| duplicate(index, "1")).collect();
    let answer = json("", &fed(1, lines.len() - 1, &again));
    assert_eq!(client.response().shown(), answer);

    let mut client = server.connect();
    client.send(&request[..300]);
    let mut socket = client.socket();
    thread::scope(|scope| {
        scope.spawn(move || trickle(&mut socket, &request[300..]));
        assert_eq!(client.response().shown(), problem("request_timeout", "", CLOSE));
        drop(client);
    });
}

/// Sends a byte every tenth of a second until the server has closed the connection.
fn trickle(socket: &mut TcpStream, bytes: &[u8]) {
    let until = Instant::now() + TIMEOUT;
    for byte in bytes {
        thread::sleep(Duration::from_millis(100));
        match socket.write_all(&[*byte]) {
            Ok(()) => assert!(Instant::now() < until, "a trickle is never refused"),
            Err(error) => {
                let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                return assert!(kinds.contains(&error.kind()), "{error}");
            }
        }
    }
}
