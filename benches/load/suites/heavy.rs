//! `heavy`: GET balance at a fixed rate, `--rate`, beside clients that read the statistics of the
//! heaviest user, single and in batches, as fast as they get answers. The published figure is the
//! latency of the balances; the servers' logs tell how long their turns were.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Bench, Loaded, short};
use crate::error::{Context, Error, Result};
use crate::heaviest::{self, KINDS};
use crate::http::{Answer, Client};
use crate::options::Suite;
use crate::paced::{self, Answers, Pace, Users};
use crate::report::{self, Figure, Report};
use crate::rounds::{Round, Series, Spread, in_turn};
use crate::server::Running;

/// Connections that read balances.
const CONNECTIONS: usize = 16;
/// Most balances per second: the load core also takes the large answers.
const MOST_PER_SECOND: u32 = 2_000;
/// Clients that read the heaviest user's statistics: one by one, and in batches.
const READERS: usize = 4;
const BATCHES: usize = 4;
/// Reads of a batch.
const BATCH: usize = 50;
/// The heaviest user, who is not in the population.
const HEAVIEST: u64 = u64::MAX;
const P99_AT_MOST_US: f64 = 2_000.0;

pub fn run(bench: &mut Bench) -> Result<Report> {
    let options = bench.options.clone();
    let plan = options.plan(bench.cores);
    let rate = options.rate.min(MOST_PER_SECOND);
    let (loaded, before) = bench.both_loaded()?;
    let servers: Vec<&Loaded> = [Some(loaded), before].into_iter().flatten().collect();
    for loaded in &servers {
        loaded.check(0)?;
        feed_heaviest(&loaded.server).context("feeding the heaviest user")?;
    }
    let mut counts = vec![0; servers.len()];
    let rounds = in_turn(servers.len(), &plan, |variant, seed| {
        let connections = options.connections_or(&[CONNECTIONS])[0];
        let pace = Pace { per_second: rate.into(), connections, seconds: plan.seconds, seed };
        let (round, heavy) = measure(servers[variant], &pace)?;
        counts[variant] += heavy;
        Ok(round)
    })?;
    servers.iter().try_for_each(|loaded| loaded.check(1))?;
    let users = short(loaded.population.users);
    let series: Vec<Series> = servers
        .iter()
        .zip(rounds)
        .map(|(loaded, rounds)| Series { name: loaded.server.name.to_owned(), rounds })
        .collect();
    let notes = servers.iter().zip(&counts).map(|(loaded, count)| {
        format!("{}: {count} heavy answers in all rounds, each checked.", loaded.server.name)
    });
    let notes = notes.collect();
    // The next suite gets servers without that user; the logs tell about these.
    bench.unload()?;
    let p99 = |series: &Series| series.latency(1).context("latencies are measured");
    let figure = |what: &str, value: Spread, at_most| {
        let what = format!("p99 of a balance beside heavy reads, {what}");
        Figure { what, value, decimals: 0, unit: " us", at_most }
    };
    let mut figures = vec![figure("now", p99(&series[0])?, Some(P99_AT_MOST_US))];
    if let Some(before) = series.get(1) {
        figures.push(figure("before", p99(before)?, None));
    }
    Ok(Report {
        suite: Suite::Heavy,
        title: format!(
            "GET balance at {rate} requests/s beside {READERS} readers and {BATCHES} batches of \
             the heaviest user's statistics: {users} other users"
        ),
        rows: report::rows(&series),
        figures,
        notes,
    })
}

fn feed_heaviest(server: &Running) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?;
    let mut client = Client::connect(server.address)?;
    for body in heaviest::feeds(HEAVIEST, now.as_millis() as u64) {
        let answer = client.post("/v1/entries", "application/x-ndjson", &body)?;
        if answer.status != 200 {
            return Err(wrong(&answer));
        }
    }
    Ok(())
}

/// Reads balances at this pace while heavy clients run. Returns the round, and the number of heavy
/// answers.
fn measure(loaded: &Loaded, pace: &Pace) -> Result<(Round, usize)> {
    let (server, stop) = (&loaded.server, AtomicBool::new(false));
    let (done, heavy) = std::thread::scope(|scope| {
        let heavy: Vec<_> = (0..READERS + BATCHES)
            .map(|client| {
                let (items, stop) = (if client < READERS { 1 } else { BATCH }, &stop);
                scope.spawn(move || read_heavily(server, items, stop))
            })
            .collect();
        let done = paced::read(server, &loaded.population, Users::All, Answers::Balances, pace);
        stop.store(true, Ordering::Relaxed); // Relaxed: the flag publishes no other data
        let counts: Result<Vec<_>> =
            heavy.into_iter().map(|client| client.join().expect("a client panicked")).collect();
        (done, counts)
    });
    let (mut done, heavy) = (done.context(server.name)?, heavy?.iter().sum());
    let (requests, per_second) = (done.latencies.count() as f64, done.per_second());
    let mut us = |share| done.latencies.us(share).map(|us| us.round() as u64);
    let round = Round {
        cpu_us: done.cpu.as_secs_f64() * 1e6 / requests,
        bytes: done.bytes as f64 / requests,
        per_second,
        latency_us: Some([us(0.5)?, us(0.99)?, us(0.999)?]),
    };
    Ok((round, heavy))
}

/// Reads the heaviest user's statistics, so many at once, until told to stop. Returns the number of
/// answers.
fn read_heavily(server: &Running, items: usize, stop: &AtomicBool) -> Result<usize> {
    let mut client = Client::connect(server.address)?;
    let item = format!(r#"{{"user_id":"{HEAVIEST}","read":"stats","window":"400d"}}"#);
    let body = format!(r#"{{"requests":[{}]}}"#, vec![&*item; items].join(","));
    let mut count = 0;
    // Relaxed: the flag publishes no other data
    while !stop.load(Ordering::Relaxed) {
        let answer = if items == 1 {
            client.get(&format!("/v1/users/{HEAVIEST}/stats?window=400d"))?
        } else {
            client.post("/v1/batch", "application/json", body.as_bytes())?
        };
        let groups = memchr::memmem::find_iter(answer.body(), b"\"count\":").count();
        if answer.status != 200 || groups != items * 2 * KINDS as usize {
            return Err(wrong(&answer));
        }
        count += 1;
    }
    Ok(count)
}

fn wrong(answer: &Answer) -> Error {
    let start = &answer.bytes[..answer.bytes.len().min(500)];
    Error::new(format!("wrong answer: {}", String::from_utf8_lossy(start)))
}
