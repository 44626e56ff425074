//! Overload test of a server with three slices and a memory limit of 896 MiB: thousands of
//! connections, among them clients that request gigabytes and read nothing, clients that send
//! bodies byte by byte, and a feed beyond the ledger's memory limit.
//!
//! Asserted:
//!
//! - Requests that cannot be served are refused early, and only with `503`, `507` or `408`.
//! - A healthy client's reads are answered the whole time.
//! - The process stays below its memory limit (`VmHWM`, the peak of its resident memory).
//! - Afterwards the server works, and a second round takes hardly more memory, because the first
//!   round's memory was given back.

use crate::server::client::{batch, feed, get, post};
use crate::server::expected::{balance, fed};
use crate::server::{Client, Server, TIMEOUT, becomes_true, credit, entries, with_slices};
use purser::ledger::id::UserId;
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: u64 = 1_700_000_100_000;
const SLICES: u32 = 3;
/// Memory limit of the server, in MiB.
const MEMORY_MIB: usize = 896;
/// Total number of connections.
const CONNECTIONS: usize = 2_500;
/// Connections that request large batches and read nothing.
const GREEDY: usize = 600;
/// Connections that pipeline reads and read nothing.
const PIPELINING: usize = 400;
/// Connections that send a body byte by byte.
const TRICKLING: usize = 60;
/// Users with long statistics.
const LONG_USERS: u64 = 6;
const GROUPS: u64 = 200;
/// Users with short answers, read by the healthy client.
const USERS: u64 = 60;
/// Longest acceptable time of a healthy read. It is generous because the machine is busy with the
/// overload, with other tests, and with first-touch page faults: a hypervisor may take milliseconds
/// for each huge page.
const MAX_READ_TIME: Duration = Duration::from_secs(20);
/// Fewest reads of the healthy client.
const HEALTHY_READS: u64 = 10;

/// Number of answers by client and status.
#[derive(Default)]
struct Statuses(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Statuses {
    fn note(&self, who: &'static str, status: u16) {
        *self.0.lock().expect("the lock is never poisoned").entry((who, status)).or_default() += 1;
    }

    fn count(&self, who: &str, status: u16) -> u64 {
        let all = self.0.lock().expect("the lock is never poisoned");
        all.iter()
            .filter(|((name, of), _)| *name == who && *of == status)
            .map(|(_, count)| count)
            .sum()
    }
}

/// Peak of the server's resident memory, in MiB.
fn peak_mib(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") >> 10
}

/// Raises this process's limit to `count` descriptors; returns whether that is allowed.
fn has_descriptors(count: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return false;
        }
        limit.rlim_cur = limit.rlim_cur.max(count.min(limit.rlim_max));
        limit.rlim_cur >= count && libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
    }
}

/// A connection with a small receive buffer and small segments.
fn tight(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.set_tcp_mss(536).expect("small segments");
    socket.connect(&address.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    stream
}

fn long_user(n: u64) -> u64 {
    1_000_000 + n
}

/// Entries that give a user many groups, so that its statistics take about 30 kB.
fn long_entries(n: u64) -> Vec<String> {
    (0..GROUPS)
        .map(|group| {
            credit(group, long_user(n), 1_000_000_007, T)
                .replace("topup", &format!("a_rather_long_name_of_kind_{group}"))
        })
        .collect()
}

/// A batch with 600 kB of answer: statistics of long users, owned by every core.
fn long_batch() -> Vec<u8> {
    let item = |n: u64| {
        format!(
            r#"{{"user_id":"{}","read":"stats","window":"lifetime"}}"#,
            long_user(n % LONG_USERS)
        )
    };
    batch(format!(r#"{{"requests":[{}]}}"#, (0..20).map(item).collect::<Vec<_>>().join(",")))
}

/// Sets a flag when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // Relaxed: no other data depends on the flag.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Overloads the server for a while. Returns the slowest read of the healthy client.
fn storm(server: &Server, idle: &mut Vec<TcpStream>, statuses: &Statuses) -> Duration {
    let cores = server.cores();
    let core = |n: usize| cores[n % cores.len()];
    let stop = AtomicBool::new(false);
    let mut worst = Duration::ZERO;
    while idle.len() < CONNECTIONS - GREEDY - PIPELINING - TRICKLING {
        idle.push(TcpStream::connect(core(idle.len())).expect("the server listens"));
    }
    // Every second idle connection sends half a head.
    for stream in idle.iter_mut().step_by(2) {
        let _ = stream.write_all(b"GET /v1/users/1/bal");
    }
    thread::scope(|scope| {
        let stop = &stop;
        // Ends the other threads even if this one panics.
        let _ends = Ends(stop);
        // Greedy clients: request 600 kB again and again and read nothing.
        let mut greedy: Vec<_> = (0..GREEDY).map(|n| tight(core(n))).collect();
        let mut pipelining: Vec<_> = (0..PIPELINING).map(|n| tight(core(n))).collect();
        scope.spawn(move || {
            let (batch, reads) = (
                long_batch(),
                (0..100)
                    .map(|n| {
                        get(&format!(
                            "/v1/users/{}/stats?window=lifetime",
                            long_user(n % LONG_USERS)
                        ))
                    })
                    .collect::<String>(),
            );
            // Relaxed: no other data depends on the flag, here and below.
            while !stop.load(Ordering::Relaxed) {
                for (stream, bytes) in greedy
                    .iter_mut()
                    .map(|s| (s, &batch[..]))
                    .chain(pipelining.iter_mut().map(|s| (s, reads.as_bytes())))
                {
                    stream.set_nonblocking(true).expect("a socket can be non-blocking");
                    // The write may be partial, or fail if the server has dropped the connection.
                    let _ = stream.write(bytes);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        // Trickling clients: announce a large body, send half of it, then byte by byte.
        let mut trickling: Vec<_> = (0..TRICKLING).map(|n| tight(core(n))).collect();
        scope.spawn(move || {
            let body = vec![b' '; 8 << 20];
            let whole = post("/v1/entries", "application/x-ndjson", &body);
            for stream in &mut trickling {
                // Ends early at the timeout or a refusal.
                let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
                let _ = stream.write_all(&whole[..4 << 20]);
            }
            while !stop.load(Ordering::Relaxed) {
                for stream in &mut trickling {
                    stream.set_nonblocking(true).expect("a socket can be non-blocking");
                    let _ = stream.write(b" ");
                    let mut answer = [0; 512];
                    if let Ok(count) = stream.read(&mut answer)
                        && count > 12
                    {
                        let status = std::str::from_utf8(&answer[9..12])
                            .ok()
                            .and_then(|text| text.parse().ok());
                        statuses.note("trickling", status.expect("an answer"));
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        // A client that reads its large answers: it gets them, or a 503 to retry.
        scope.spawn(move || {
            let request = long_batch();
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let response =
                    Client::new(TcpStream::connect(core(n)).expect("it listens")).ask(&request);
                assert!(
                    response.status() == 200 || response.body.contains(r#""code":"overloaded""#),
                    "{response:?}"
                );
                statuses.note("batch", response.status());
            }
        });
        // A client that feeds although the ledger is full.
        scope.spawn(move || {
            let mut client = Client::new(TcpStream::connect(core(0)).expect("it listens"));
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let response = client.ask(new_users(1_000 + n));
                statuses.note("feed", response.status());
                if response.header("connection").is_some() {
                    client = Client::new(TcpStream::connect(core(0)).expect("it listens"));
                }
            }
        });
        // The healthy client: one read at a time, of users of all cores, by way of each core.
        let (until, latest) = (Instant::now() + Duration::from_secs(4), Instant::now() + TIMEOUT);
        let mut clients: Vec<_> =
            (0..SLICES as usize).map(|core| server.connect_to(core)).collect();
        let mut n = 0;
        let is_enough =
            || statuses.count("healthy", 200) >= HEALTHY_READS && statuses.count("feed", 507) > 0;
        while Instant::now() < until || !is_enough() && Instant::now() < latest {
            let (user, start) = (n % USERS, Instant::now());
            let answer = clients[n as usize % SLICES as usize]
                .ask(get(&format!("/v1/users/{user}/balance")));
            worst = worst.max(start.elapsed());
            assert_eq!(answer.shown(), balance(user, 1, T, 1), "a healthy client is answered");
            statuses.note("healthy", answer.status());
            n += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    worst
}

/// A feed of a thousand new users that are in no other feed.
fn new_users(n: u64) -> Vec<u8> {
    feed(entries(
        &(0..1_000).map(|line| credit(0, 10_000_000 + n * 1_000 + line, 1, T)).collect::<Vec<_>>(),
    ))
}

/// Feeds new users until the ledger is above its memory limit; accepted users can be read.
fn fill(server: &Server) {
    let mut client = server.connect();
    let full = (0..1_000).find(|&n| match client.ask(new_users(n)) {
        response if response.status() == 507 => true,
        response => {
            assert_eq!(response.body, fed(1_000, 0, &[]));
            false
        }
    });
    let full = full.expect("the ledger is never full");
    assert!(full > 10, "the ledger is full too early");
    assert_eq!(client.ask(get("/v1/users/10000000/balance")).shown(), balance(10_000_000, 1, T, 1));
}

#[test]
fn overload_is_refused_and_healthy_clients_are_served() {
    if !has_descriptors(2 * CONNECTIONS as u64) {
        println!("skipped: this process may not have {} descriptors", 2 * CONNECTIONS);
        return;
    }
    let memory = MEMORY_MIB.to_string();
    let flags = [
        "--memory-mib",
        &memory,
        "--ledger-mib",
        "12",
        "--request-timeout-ms",
        "3000",
        "--send-timeout-ms",
        "3000",
    ];
    let server = with_slices(SLICES, || Server::start(&flags));
    let owners: Vec<_> =
        (0..LONG_USERS).map(|n| UserId::Number(long_user(n)).slice(SLICES)).collect();
    assert!(
        (0..SLICES).all(|slice| owners.contains(&slice)),
        "every slice owns a long user: {owners:?}"
    );
    server.feed(&(0..USERS).map(|user| credit(1, user, 1, T)).collect::<Vec<_>>());
    (0..LONG_USERS).for_each(|n| server.feed(&long_entries(n)));
    fill(&server);
    let before = peak_mib(&server);
    let mut peaks = Vec::new();
    for round in 0..2 {
        let (mut idle, statuses) = (Vec::new(), Statuses::default());
        let worst = storm(&server, &mut idle, &statuses);
        let peak = peak_mib(&server);
        println!(
            "round {round}: peak {peak} MiB, {before} at rest before; slowest healthy read \
             {worst:?}; {:?}",
            statuses.0.lock()
        );
        assert!(peak < MEMORY_MIB, "{peak} MiB of {MEMORY_MIB}");
        assert!(worst < MAX_READ_TIME, "a healthy read took {worst:?}");
        assert!(statuses.count("healthy", 200) >= HEALTHY_READS, "hardly a read was answered");
        assert!(statuses.count("feed", 507) > 0, "no feed was told that the ledger is full");
        for &(who, status) in statuses.0.lock().expect("all threads have ended").keys() {
            assert!(
                [200, 503, 507].contains(&status) || (who == "trickling" && status == 408),
                "{who}: {status}"
            );
        }
        peaks.push(peak);
        drop(idle);
        // All overloading clients are gone: every core gives large answers again.
        let check_all_cores_answer = || {
            (0..SLICES as usize)
                .all(|core| server.connect_to(core).ask(long_batch()).status() == 200)
        };
        assert!(becomes_true(check_all_cores_answer), "it does not recover");
        server.check_all_cores_answer();
    }
    let whole = [&peaks[..1], &[before]].concat();
    assert!(
        peaks[1] < peaks[0] + peaks[0] / 4,
        "the second round takes more memory: {peaks:?}, {whole:?}"
    );
}
