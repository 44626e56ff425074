//! `--memory-mib` is a promise about resident memory: at the least limit that a start accepts, at
//! 256 MiB and, with `PURSER_MEMORY_TEST=long`, at 1,024 MiB, on one, two and four slices.
//!
//! A server is filled with users, and then has as many connections as it takes, of which some read
//! nothing and some send half a body. Asserted:
//!
//! - The peak of its resident memory (`VmHWM`) is at most the limit.
//! - The first `507` comes when at least 80 % of the ledger's share is resident.
//! - The kernel queues a bounded amount for each connection.
//! - What peers have used is given back when they are gone.

use crate::server::client::{batch, feed, get};
use crate::server::{Server, becomes_true, credit, entries, purser, run, with_slices};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const T: u64 = 1_700_000_000_000;
const MIB: usize = 1 << 20;
/// Lines of a feed.
const LINES: u64 = 5_000;
/// Part of the ledger's share that is resident before the first `507`, in percent.
const LEAST_PERCENT: usize = 80;
/// Upper bounds of what the kernel queues for one connection: twice the socket buffers.
const MAX_SENDING_BYTES: usize = 128 << 10;
const MAX_RECEIVED_BYTES: usize = 64 << 10;

/// A field of the server's `/proc/PID/status`, in MiB.
fn status_mib(server: &Server, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a known field");
    let kib = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    kib.parse::<usize>().expect("a number") >> 10
}

/// A limit of `/v1/info`.
fn limit(server: &Server, name: &str) -> usize {
    let info: serde_json::Value =
        serde_json::from_str(&server.ask(get("/v1/info")).body).expect("it is JSON");
    info["limits"][name].as_u64().expect("a limit") as usize
}

/// The least limit for so many slices, in MiB, as a refused start names it.
fn least_mib(slices: u32) -> usize {
    let refused = |mib: usize| {
        let mut command = purser();
        command.args(["serve", "--ephemeral", "--listen", "127.0.0.1:0"]);
        command.args(["--slices", &slices.to_string(), "--memory-mib", &mib.to_string()]);
        let (code, _, message) = run(&mut command);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("--memory-mib"), "{message}");
        let least = message.split("at least ").nth(1).and_then(|rest| rest.split(' ').next());
        least.and_then(|least| least.parse::<usize>().ok()).expect("the message names the least")
    };
    let least = refused(1);
    assert_eq!(refused(least - 1), least, "one less is refused");
    least
}

fn start(mib: usize, slices: u32, flags: &[&str]) -> Server {
    let (mib, slices) = (mib.to_string(), slices.to_string());
    let flags = [&["--memory-mib", &mib, "--slices", &slices], flags].concat();
    with_slices(2, || {
        let mut command = purser();
        command.args(["serve", "--listen", "127.0.0.1:0", "--ephemeral"]);
        Server::spawn(command.args(flags))
    })
}

/// How users grow.
#[derive(Clone, Copy, Debug)]
enum Growth {
    /// Each entry is of a new user.
    New,
    /// Entries of so many users in random order, each a while after the one before: blocks grow
    /// at random.
    Random(u64),
    /// Like it, but most entries are of few users.
    Mixed(u64),
}

/// A stream of entries.
struct Entries {
    growth: Growth,
    state: u64,
    count: u64,
}

impl Entries {
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.state >> 33
    }

    fn line(&mut self) -> String {
        self.count += 1;
        let (kind, amount) = (self.random() % 4, 1 + self.random() % 100_000);
        let user = match self.growth {
            Growth::New => self.count,
            Growth::Random(users) => self.random() % users,
            Growth::Mixed(users) => {
                let part = (self.random() % 1_000) * (self.random() % 1_000);
                part * users / 1_000_000 + self.random() % (users / 1_000)
            }
        };
        // Other ids than those of the heaviest user, which was fed before.
        let id = 10_000_000_000 + self.count;
        let line = credit(id, user, amount as i64, T + self.count * 200);
        line.replace("topup", ["topup", "gift", "refund", "purchase"][kind as usize])
    }
}

/// Feeds users until the first `507`. Returns the number of lines that were sent before.
fn fill(server: &Server, growth: Growth) -> u64 {
    let mut stream = Entries { growth, state: 1, count: 0 };
    let mut client = server.connect();
    loop {
        let before = stream.count;
        let lines: Vec<_> = (0..LINES).map(|_| stream.line()).collect();
        let answer = client.ask(feed(entries(&lines)));
        if answer.status() == 507 || answer.body.contains("insufficient_storage") {
            return before;
        }
        assert_eq!(answer.status(), 200, "{}", answer.body);
    }
}

/// A connection with a small receive buffer and a write timeout.
fn tight(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(&address.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    stream
}

/// Gives user 7 the most groups, so that its statistics take 50 kB.
fn feed_long_user(server: &Server) {
    let line = |n| credit(n, 7, 1_000_000_007, T).replace("topup", &format!("kind_number_{n}"));
    server.feed(&(0..250).map(line).collect::<Vec<_>>());
}

/// A batch whose answer takes `items` × 50 kB.
fn long_batch(items: usize) -> Vec<u8> {
    let item = r#"{"user_id":"7","read":"stats","window":"lifetime"}"#;
    batch(format!(r#"{{"requests":[{}]}}"#, vec![item; items].join(",")))
}

/// The longest queues of the kernel for the server's connections: bytes to be sent, or sent and
/// not acknowledged; bytes that the server has not read.
fn longest_queues(server: &Server) -> (usize, usize) {
    const ESTABLISHED: &str = "01";
    let ports: Vec<_> = server.cores().iter().chain([&server.address]).map(|a| a.port()).collect();
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", server.id())).expect("it runs");
    let mut longest = (0, 0);
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let hex = |text: &str| usize::from_str_radix(text, 16).expect("a hexadecimal number");
        let (port, queues) = (fields[1].split(':').nth(1), fields[4].split_once(':'));
        if fields[3] == ESTABLISHED && ports.contains(&(hex(port.expect("a port")) as u16)) {
            let (sending, received) = queues.expect("two queues");
            longest = (longest.0.max(hex(sending)), longest.1.max(hex(received)));
        }
    }
    longest
}

/// Opens as many connections as the server takes: half of them request answers and read nothing,
/// half send parts of bodies. Returns them.
fn overload(server: &Server, slices: usize) -> Vec<TcpStream> {
    let count = limit(server, "connections_per_slice").min(400) * slices;
    let cores = server.cores();
    let body = feed(vec![b' '; 8 * MIB]);
    let mut peers: Vec<_> = (0..count).map(|n| tight(cores[n % cores.len()])).collect();
    for (n, peer) in peers.iter_mut().enumerate() {
        // The server may answer 503 and close: the errors are ignored.
        if (n / cores.len()).is_multiple_of(2) {
            let _ = peer.write_all(&long_batch(if n % 3 == 0 { 20 } else { 500 }));
            let _ = peer.write_all(&long_batch(40));
        } else {
            let _ = peer.write_all(&body[..if n % 3 == 0 { 7 * MIB } else { 300_000 }]);
        }
    }
    peers
}

fn check(mib: usize, slices: u32, growth: Growth) {
    let server = start(mib, slices, &["--request-timeout-ms", "4000", "--send-timeout-ms", "4000"]);
    let context = format!("{mib} MiB, {slices} slices, {growth:?}");
    feed_long_user(&server);
    let before = status_mib(&server, "VmRSS");
    let ledger = limit(&server, "ledger_bytes_per_slice") * slices as usize / MIB;
    let lines = fill(&server, growth);
    let full = status_mib(&server, "VmRSS");
    let peers = overload(&server, slices as usize);
    std::thread::sleep(Duration::from_secs(2));
    let (sending, received) = longest_queues(&server);
    drop(peers);
    let peak = status_mib(&server, "VmHWM");
    println!(
        "{context}: at rest {before}, ledger {ledger}; first 507 after {lines} lines, {full} \
         resident; peak {peak}; longest kernel queues {sending} and {received} bytes"
    );
    assert!(peak <= mib, "{context}: the peak is {peak} MiB");
    // Each core has touched a huge page ahead at rest, which the ledger fills without growth.
    let used = full - before + 2 * server.cores().len().min(2);
    assert!(used * 100 >= ledger * LEAST_PERCENT, "{context}: {used} of {ledger} MiB are used");
    assert!(sending <= MAX_SENDING_BYTES, "{context}: the kernel holds {sending} unsent bytes");
    assert!(received <= MAX_RECEIVED_BYTES, "{context}: the kernel holds {received} unread bytes");
    // The server may still have connections of peers that left, and refuse others until then.
    std::thread::sleep(Duration::from_millis(500));
    for core in 0..server.cores().len() {
        let answers = || server.connect_to(core).ask(get("/healthz")).status() == 200;
        assert!(becomes_true(answers), "{context}: core {core} does not answer");
    }
}

fn is_long() -> bool {
    std::env::var("PURSER_MEMORY_TEST").is_ok_and(|kind| kind == "long")
}

#[test]
fn the_least_limit_is_kept() {
    for slices in [1, 2, 4] {
        let least = least_mib(slices);
        check(least, slices, Growth::New);
        check(least, slices, Growth::Random(10_000));
    }
}

#[test]
fn a_limit_of_256_mib_is_kept() {
    for slices in [1, 2] {
        check(256, slices, Growth::New);
        check(256, slices, Growth::Random(if is_long() { 60_000 } else { 300_000 }));
        check(256, slices, Growth::Mixed(if is_long() { 100_000 } else { 400_000 }));
    }
}

#[test]
fn a_limit_of_1024_mib_is_kept() {
    if !is_long() {
        println!("skipped: PURSER_MEMORY_TEST=long runs it");
        return;
    }
    for slices in [1, 2, 4] {
        check(1_024, slices, Growth::New);
        check(1_024, slices, Growth::Random(1_000_000));
        check(1_024, slices, Growth::Mixed(1_000_000));
    }
}

/// After slow readers have left, the process has no more resident memory than a moment later.
#[test]
fn memory_of_peers_that_left_is_given_back() {
    let server = start(3_072, 1, &["--max-connections", "400"]);
    feed_long_user(&server);
    let before = status_mib(&server, "VmRSS");
    let mut peers: Vec<_> = (0..300).map(|_| tight(server.address)).collect();
    for peer in &mut peers {
        let _ = peer.write_all(&long_batch(16));
    }
    let during = || status_mib(&server, "VmRSS");
    assert!(becomes_true(|| during() > before + 150), "answers are buffered: {}", during());
    let most = during();
    drop(peers);
    let left = Instant::now();
    assert!(
        becomes_true(|| during() < before + (most - before) / 3 || left.elapsed().as_secs() > 10),
        "waited for 30 seconds"
    );
    println!("{before} MiB at rest, {most} with slow readers, {} afterwards", during());
    assert!(during() < before + (most - before) / 3, "{} MiB ten seconds later", during());
}

/// A ledger that does not fit is refused with the largest that does; fewer connections than asked
/// for are announced.
#[test]
fn what_does_not_fit_is_refused_or_announced() {
    let mut command = purser();
    command.args(["serve", "--ephemeral", "--memory-mib", "512", "--ledger-mib", "500"]);
    command.args(["--listen", "127.0.0.1:0", "--slices", "1"]);
    let (code, _, message) = run(&mut command);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("--ledger-mib") && message.contains("at most "), "{message}");
    let server = start(512, 1, &["--max-connections", "20000"]);
    let lines = &server.startup_lines;
    assert!(lines.iter().any(|line| line.contains("instead of 20000")), "{lines:?}");
    assert!(limit(&server, "connections_per_slice") < 20_000);
}
