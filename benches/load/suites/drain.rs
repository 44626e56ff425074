//! `drain`: one of two servers is ended under load. Each client keeps a connection to the first
//! server and moves to the second when an answer carries `connection: close`, the connection is
//! closed between two requests, or the server refuses new ones. Anything else is an error: another
//! status, another body, or a connection that is lost while a request is on it.
//!
//! There is no delay before the drain, so that no client knows of it beforehand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, Loaded};
use crate::error::{Error, Result};
use crate::http::Client;
use crate::options::{Cores, Options, Suite};
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::Subject;

const CLIENTS: usize = 16;
const USERS: u64 = 1_000;
/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(1);

/// When a request was sent, and how long its answer took.
type Sample = (Instant, Duration);

#[derive(Default)]
struct Seen {
    samples: Vec<Sample>,
    errors: usize,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    let options = bench.options.clone();
    let current = Subject::purser(bench.cores.server);
    let older = options.older(Subject::purser(bench.cores.server));
    let head = ["", "requests", "errors", "p99 us before", "p99 us while it ends", "longest us"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let mut figures = Vec::new();
    for (name, subject) in [("purser", Some(current)), ("before", older)] {
        let Some(subject) = subject else { continue };
        let Ended { seen, began, ended } = end_one(&subject, &options, bench.cores)?;
        let us = |during: bool| {
            let mut us: Vec<_> = (seen.samples.iter())
                .filter(|(sent, _)| during == (*sent >= began && *sent <= ended))
                .map(|(_, latency)| latency.as_secs_f64() * 1e6)
                .collect();
            us.sort_by(f64::total_cmp);
            us
        };
        let (before, during) = (us(false), us(true));
        let p99 = |us: &[f64]| us.get(us.len() * 99 / 100).map_or_else(|| "-".to_owned(), round);
        rows.push(vec![
            format!(
                "{name}, {CLIENTS} clients, the end takes {:.1} s",
                (ended - began).as_secs_f64()
            ),
            seen.samples.len().to_string(),
            seen.errors.to_string(),
            p99(&before),
            p99(&during),
            during.last().map_or_else(|| "-".to_owned(), round),
        ]);
        figures.push(Figure {
            what: format!("{name}: errors of {CLIENTS} clients when one of two servers ends"),
            value: Spread::one(seen.errors as f64),
            decimals: 0,
            unit: "",
            at_most: (name == "purser").then_some(0.0),
        });
    }
    Ok(Report {
        suite: Suite::Drain,
        title: format!("the end of one of two servers: {CLIENTS} keep-alive clients, GET balance"),
        rows,
        figures,
        notes: Vec::new(),
    })
}

fn round(us: &f64) -> String {
    format!("{us:.0}")
}

struct Ended {
    seen: Seen,
    began: Instant,
    ended: Instant,
}

/// Ends the first of two servers in the middle of the load.
fn end_one(subject: &Subject, options: &Options, cores: Cores) -> Result<Ended> {
    let one = Loaded::of(subject, USERS, options, cores)?;
    let two = Loaded::of(subject, USERS, options, cores)?;
    let addresses = [one.server.address, two.server.address];
    let target = format!("/v1/users/{}/balance", one.population.user_id(7));
    let expected = Client::connect(addresses[0])?.get(&target)?.body().to_vec();
    let request = format!("GET {target} HTTP/1.1\r\nHost: purser\r\n\r\n").into_bytes();
    let (part, is_over) = (Duration::from_secs_f64(options.seconds), AtomicBool::new(false));
    let ended = thread::scope(|scope| {
        let load = || load(addresses, &request, &expected, &is_over);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(load)).collect();
        thread::sleep(part);
        let began = Instant::now();
        let stopped = one.server.stop();
        let ended = Instant::now();
        thread::sleep(part);
        // Relaxed: no other data depends on the flag.
        is_over.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for client in clients {
            let some = client.join().map_err(|_| Error::new("a client panicked"))?;
            seen.samples.extend(some.samples);
            seen.errors += some.errors;
        }
        stopped.map(|()| Ended { seen, began, ended })
    })?;
    two.server.stop()?;
    Ok(ended)
}

/// The result of a request on a kept connection.
enum Answered {
    /// As expected; the flag says that the connection ends.
    Right(bool),
    /// The connection ended before the answer's first byte.
    Closed,
    Wrong,
}

fn load(addresses: [SocketAddr; 2], request: &[u8], expected: &[u8], is_over: &AtomicBool) -> Seen {
    let (mut seen, mut kept, mut servers) = (Seen::default(), None, addresses.into_iter());
    let mut address = servers.next();
    // Relaxed: see above.
    while !is_over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let Some(at) = address else {
            seen.errors += 1;
            return seen;
        };
        let was_used = kept.is_some();
        let Some(mut stream) = kept.take().or_else(|| TcpStream::connect(at).ok()) else {
            address = servers.next();
            continue;
        };
        match ask(&mut stream, request, expected) {
            Answered::Right(ends) => {
                seen.samples.push((sent, sent.elapsed()));
                kept = (!ends).then_some(stream);
            }
            // A kept connection may have been closed after its last answer.
            Answered::Closed if was_used && sent.elapsed() < PAUSE => {}
            Answered::Closed | Answered::Wrong => seen.errors += 1,
        }
        thread::sleep(PAUSE);
    }
    seen
}

fn ask(stream: &mut TcpStream, request: &[u8], expected: &[u8]) -> Answered {
    if stream.write_all(request).is_err() {
        return Answered::Closed;
    }
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ if bytes.is_empty() => return Answered::Closed,
            _ => return Answered::Wrong,
        }
        let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n").map(|at| at + 4) else {
            continue;
        };
        let (head, body) = bytes.split_at(end);
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Answered::Wrong;
        }
        if body.len() >= expected.len() {
            let ends = memchr::memmem::find(head, b"connection: close").is_some();
            return if body == expected { Answered::Right(ends) } else { Answered::Wrong };
        }
    }
}
