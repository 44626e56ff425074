//! `slow_peers`: honest slow readers and uploaders beside balance reads at a fixed rate. All slow
//! peers must be served, and the reads are measured with and without them.
//!
//! The slow peers take four times `--seconds` at their rates and then finish at full speed. Their
//! answers are checked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, CONNECTIONS, Loaded, short};
use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::options::{Options, Suite};
use crate::paced::{self, Answers, Pace, Users};
use crate::report::{Figure, Report};
use crate::rounds::Spread;

const READERS: usize = 8;
const UPLOADERS: usize = 4;
/// Rates in bytes per second.
const READ_RATE: f64 = 30e3;
const UPLOAD_RATE: f64 = 110e3;
/// Bytes of answers that each reader has asked for: more than socket buffers take.
const READ_BYTES: usize = 16 << 20;
/// Timeout of a single read or write, longer than any pause of the server.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Latency in microseconds and CPU per read, with the slow peers or without.
struct Fast {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Requests of slow peers, and the expected answers.
#[derive(Clone)]
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    let options = bench.options.clone();
    let (loaded, before) = bench.both_loaded()?;
    let users = loaded.population.users;
    let head = ["", "slow peers served", "CPU us/read", "p50 us", "p99 us"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let mut figures = Vec::new();
    for (name, loaded) in [("purser", Some(loaded)), ("before", before)] {
        let Some(loaded) = loaded else { continue };
        loaded.check(0)?;
        let alone = fast(loaded, &options)?;
        let (beside, served) = thread::scope(|scope| {
            let peers = scope.spawn(|| slow_peers(loaded, seconds(&options)));
            let beside = fast(loaded, &options);
            let served = peers.join().map_err(|_| Error::new("a slow peer panicked"));
            Ok::<_, Error>((beside?, served??))
        })
        .context(name)?;
        loaded.check(1)?;
        for (with, fast, peers) in [
            ("alone", &alone, "-".to_owned()),
            ("beside slow peers", &beside, format!("{served} of {}", READERS + UPLOADERS)),
        ] {
            let figures =
                [fast.cpu_us, fast.p50_us, fast.p99_us].map(|figure| format!("{figure:.1}"));
            rows.push([vec![format!("{name}, {with}"), peers], figures.to_vec()].concat());
        }
        let lost = (READERS + UPLOADERS - served) as f64;
        figures.push(Figure {
            what: format!("{name}: slow peers that were cut"),
            value: Spread::one(lost),
            decimals: 0,
            unit: "",
            at_most: (name == "purser").then_some(0.0),
        });
    }
    Ok(Report {
        suite: Suite::SlowPeers,
        title: format!(
            "slow peers: {READERS} readers at 30 KB/s and {UPLOADERS} uploaders at 110 KB/s for \
             {:.0} s, beside GET balance at {} requests/s: {} users",
            seconds(&options).as_secs_f64(),
            options.rate,
            short(users)
        ),
        rows,
        figures,
        notes: Vec::new(),
    })
}

fn seconds(options: &Options) -> Duration {
    Duration::from_secs_f64(options.seconds * 4.0)
}

fn fast(loaded: &Loaded, options: &Options) -> Result<Fast> {
    let pace = Pace {
        per_second: options.rate.into(),
        connections: options.connections_or(&[CONNECTIONS])[0],
        seconds: seconds(options).as_secs_f64(),
        seed: options.seed,
    };
    let (server, population) = (&loaded.server, &loaded.population);
    let mut done = paced::read(server, population, Users::All, Answers::Balances, &pace)?;
    let cpu_us = done.cpu.as_secs_f64() * 1e6 / done.latencies.count() as f64;
    Ok(Fast { cpu_us, p50_us: done.latencies.us(0.5)?, p99_us: done.latencies.us(0.99)? })
}

/// Runs all slow peers. Returns how many were served; a wrong answer is an error.
fn slow_peers(loaded: &Loaded, time: Duration) -> Result<usize> {
    let address = loaded.server.address;
    let (read, upload) = (wide_batch(loaded)?, body(loaded, time)?);
    thread::scope(|scope| {
        let mut peers = Vec::new();
        for _ in 0..READERS {
            peers.push(scope.spawn(|| read_slowly(address, &read, time)));
        }
        for _ in 0..UPLOADERS {
            peers.push(scope.spawn(|| upload_slowly(address, &upload)));
        }
        let mut served = 0;
        for peer in peers {
            served += usize::from(peer.join().map_err(|_| Error::new("a slow peer panicked"))??);
        }
        Ok(served)
    })
}

/// A batch of a thousand statistics, and its body.
fn wide_batch(loaded: &Loaded) -> Result<Exchange> {
    let users = loaded.population.users;
    let item = |n| {
        let user = loaded.population.user_id(n % users);
        format!(r#"{{"user_id":"{user}","read":"stats","window":"lifetime"}}"#)
    };
    let items: Vec<_> = (0..1_000).map(item).collect();
    let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
    exchange(loaded.server.address, "/v1/batch", "application/json", body.as_bytes())
}

/// A body that takes this long: one entry of a user outside the population, many times.
fn body(loaded: &Loaded, time: Duration) -> Result<Exchange> {
    let line = format!(
        "{{\"entry_id\":\"1\",\"user_id\":\"{}\",\"currency\":\"COIN\",\"kind\":\"topup\",\
         \"direction\":\"credit\",\"amount\":1,\"at_ms\":1700000000000}}{}\n",
        u64::MAX,
        " ".repeat(1_000)
    );
    let lines = (UPLOAD_RATE * time.as_secs_f64()) as usize / line.len() + 1;
    // The first time accepts the entry: the answer is that of the second.
    for _ in 0..2 {
        let body = line.repeat(lines.min(7_000));
        let exchange = exchange(
            loaded.server.address,
            "/v1/entries",
            "application/x-ndjson",
            body.as_bytes(),
        )?;
        if exchange.answer.starts_with(br#"{"accepted":0,"#) {
            return Ok(exchange);
        }
    }
    Err(Error::new("an entry is accepted twice"))
}

fn exchange(address: SocketAddr, path: &str, content_type: &str, body: &[u8]) -> Result<Exchange> {
    let answer = Client::connect(address)?.post(path, content_type, body)?;
    if answer.status != 200 {
        return Err(Error::new(format!("{path} is answered {}", answer.status)));
    }
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: purser\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    Ok(Exchange { request, answer: answer.body().to_vec() })
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).context("connecting a slow peer")?;
    stream.set_read_timeout(Some(TIMEOUT)).context("setting a timeout")?;
    stream.set_write_timeout(Some(TIMEOUT)).context("setting a timeout")?;
    Ok(stream)
}

/// Sleeps until `bytes` are due at a rate.
fn pace(start: Instant, bytes: usize, rate: f64) {
    let due = Duration::from_secs_f64(bytes as f64 / rate);
    thread::sleep(due.saturating_sub(start.elapsed()));
}

/// Reads pipelined answers steadily, then the rest at once. Returns whether all arrived.
fn read_slowly(address: SocketAddr, read: &Exchange, time: Duration) -> Result<bool> {
    let mut stream = connect(address)?;
    let count = READ_BYTES / read.answer.len() + 1;
    let mut requests = stream.try_clone().context("cloning a socket")?;
    let all = read.request.repeat(count);
    // The server takes further requests only when answers are taken.
    let writer = thread::spawn(move || requests.write_all(&all).is_ok());
    let (start, mut bytes, mut buffer) = (Instant::now(), Vec::new(), vec![0; 64 << 10]);
    let mut whole = 0;
    let mut total = 0;
    while whole < count {
        let is_slow = start.elapsed() < time;
        let most = if is_slow { READ_RATE as usize / 20 } else { buffer.len() };
        if is_slow {
            pace(start, total, READ_RATE);
        }
        match stream.read(&mut buffer[..most]) {
            Ok(some) if some > 0 => {
                total += some;
                bytes.extend_from_slice(&buffer[..some]);
            }
            _ => return Ok(false),
        }
        while let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n").map(|at| at + 4) {
            let Some(body) = bytes.get(end..end + read.answer.len()) else { break };
            if body != read.answer {
                return Err(Error::new("a slow reader got another answer"));
            }
            bytes.drain(..end + read.answer.len());
            whole += 1;
        }
    }
    Ok(writer.join().unwrap_or(false))
}

/// Uploads a body steadily. Returns whether it was answered.
fn upload_slowly(address: SocketAddr, upload: &Exchange) -> Result<bool> {
    let mut stream = connect(address)?;
    let start = Instant::now();
    for (piece, at) in upload.request.chunks(4_096).zip((0..).step_by(4_096)) {
        pace(start, at, UPLOAD_RATE);
        if stream.write_all(piece).is_err() {
            return Ok(false);
        }
    }
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 4 << 10];
    while !bytes.ends_with(&upload.answer) {
        match stream.read(&mut buffer) {
            Ok(some) if some > 0 => bytes.extend_from_slice(&buffer[..some]),
            _ => return Ok(false),
        }
    }
    Ok(bytes.starts_with(b"HTTP/1.1 200 "))
}
