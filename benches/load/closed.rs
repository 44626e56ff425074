//! Closed-loop feed: each connection, in its own thread, sends a body of entries, waits for the
//! answer and sends the next. Bodies are made before the clock starts, so that the load core does
//! little else during a round.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::lines::{self, LINES_PER_BODY};
use crate::population::{Entry, Population};
use crate::redis;
use crate::server::Running;
use crate::tally::Tally;

/// Most bytes of prepared bodies per round, because bodies are kept in memory. A round ends early
/// when all are sent.
const BODIES_BYTES: usize = 96 << 20;
const BODIES: usize = 100_000;
/// Most bytes of an entry, in either protocol.
const LONGEST_BYTES: usize = 320;

/// Protocol in which a server takes entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/entries`.
    Http,
    /// One call of a function with all entries.
    Redis,
}

struct Body {
    bytes: Vec<u8>,
    entries: u64,
    /// Entries of sampled users, reported to the tally once they are sent.
    wanted: Vec<Entry>,
}

/// A connection to a server.
enum Connection {
    Http(Client),
    Redis(redis::Client),
}

impl Connection {
    fn new(server: &Running, dialect: Dialect) -> Result<Self> {
        Ok(match dialect {
            Dialect::Http => Self::Http(Client::connect(server.address)?),
            Dialect::Redis => Self::Redis(redis::Client::connect(server.address)?),
        })
    }

    fn spin_for_answers(&mut self) -> Result<()> {
        match self {
            Self::Http(client) => client.spin_for_answers(),
            Self::Redis(client) => client.spin_for_answers(),
        }
    }

    /// Sends a body; every entry must be accepted.
    fn send(&mut self, body: &Body) -> Result<()> {
        match self {
            Self::Http(client) => {
                let answer = client.post("/v1/entries", "application/x-ndjson", &body.bytes)?;
                let expected = format!(
                    r#"{{"accepted":{},"duplicates":0,"rejected":0,"results":[]}}"#,
                    body.entries
                );
                if answer.status == 200 && answer.body() == expected.as_bytes() {
                    return Ok(());
                }
                let said = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(400)])
                    .into_owned();
                Err(Error::new(format!("the server refused entries: {} {said}", answer.status)))
            }
            Self::Redis(client) => {
                let accepted = client.integer(&body.bytes)?;
                let all = u64::try_from(accepted) == Ok(body.entries);
                if all {
                    Ok(())
                } else {
                    Err(Error::new(format!(
                        "only {accepted} of {} entries were accepted",
                        body.entries
                    )))
                }
            }
        }
    }
}

/// Makes entries for one server, sends them and records them in a tally.
pub struct Feeder<'a> {
    pub server: &'a Running,
    pub tally: Tally,
    dialect: Dialect,
    population: Population,
    entries: Box<dyn Iterator<Item = Entry> + Send>,
}

/// Result of a round.
#[derive(Default)]
pub struct Fed {
    pub entries: u64,
    pub wall: Duration,
    pub cpu: Duration,
    pub latencies: Latencies,
}

impl<'a> Feeder<'a> {
    /// Creates a feeder that sends `entries`; `tally` already contains those sent before.
    pub fn new(
        server: &'a Running,
        dialect: Dialect,
        population: Population,
        tally: Tally,
        entries: impl Iterator<Item = Entry> + Send + 'static,
    ) -> Self {
        Self { server, tally, dialect, population, entries: Box::new(entries) }
    }

    fn body(&mut self, batch: usize) -> Body {
        let mut entries: Vec<Entry> = self.entries.by_ref().take(batch).collect();
        let mut bytes = Vec::with_capacity(batch * LONGEST_BYTES);
        match self.dialect {
            Dialect::Http => {
                entries.iter().for_each(|entry| lines::write(&mut bytes, &self.population, entry));
            }
            Dialect::Redis => redis::write_call(&mut bytes, &self.population, &entries),
        }
        bytes.shrink_to_fit();
        let count = entries.len() as u64;
        entries.retain(|entry| self.tally.wants(entry.user));
        Body { bytes, entries: count, wanted: entries }
    }

    /// Makes the bodies of a round. Bodies that are not sent in it are discarded.
    fn bodies(&mut self, batch: usize, connections: usize, seconds: f64) -> Vec<Body> {
        let share = seconds.min(1.0);
        let (most, most_bytes) =
            ((BODIES as f64 * share) as usize, (BODIES_BYTES as f64 * share) as usize);
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        while bodies.len() < connections || (bodies.len() < most && bytes < most_bytes) {
            let body = self.body(batch);
            bytes += body.bytes.len();
            bodies.push(body);
        }
        bodies
    }

    /// Runs a round: `connections` connections send bodies of `batch` entries for `seconds`, or
    /// until all prepared bodies are sent. A single connection spins for its answers; several
    /// block, and leave the load core to each other.
    pub fn round(&mut self, batch: usize, connections: usize, seconds: f64) -> Result<Fed> {
        let bodies = Mutex::new(self.bodies(batch, connections, seconds));
        let mut ready: Vec<Connection> = (0..connections)
            .map(|_| Connection::new(self.server, self.dialect))
            .collect::<Result<_>>()?;
        if let [alone] = &mut ready[..] {
            alone.spin_for_answers()?;
        }
        let (cpu, clock) = (self.server.cpu()?, Instant::now());
        let until = clock + Duration::from_secs_f64(seconds);
        let sent: Vec<Sent> = std::thread::scope(|scope| {
            let threads: Vec<_> = ready
                .iter_mut()
                .map(|connection| scope.spawn(|| send_until(connection, &bodies, until)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a feeder panicked"))
                .collect::<Result<_>>()
        })?;
        let mut fed = Fed {
            entries: 0,
            cpu: self.server.cpu()? - cpu,
            wall: clock.elapsed(),
            latencies: Latencies::default(),
        };
        for some in sent {
            fed.entries += some.entries;
            fed.latencies.0.extend(some.latencies.0);
            some.wanted.iter().for_each(|entry| self.tally.observe(entry));
        }
        Ok(fed)
    }

    /// Sends `count` entries over one connection, 1,000 per request.
    pub fn send(&mut self, count: u64) -> Result<()> {
        let mut connection = Connection::new(self.server, self.dialect)?;
        let mut left = count;
        while left > 0 {
            let body = self.body(left.min(LINES_PER_BODY) as usize);
            connection.send(&body)?;
            left -= body.entries;
            body.wanted.iter().for_each(|entry| self.tally.observe(entry));
        }
        Ok(())
    }

    /// Sends `per_second` entries a second over one connection, 1,000 per request, until `stop` is
    /// set. Returns the number sent.
    pub fn send_paced(&mut self, per_second: f64, stop: &AtomicBool) -> Result<u64> {
        let mut connection = Connection::new(self.server, self.dialect)?;
        let (clock, mut sent) = (Instant::now(), 0);
        // Relaxed: the flag publishes no other data.
        while !stop.load(Ordering::Relaxed) {
            let body = self.body(LINES_PER_BODY as usize);
            let due = clock + Duration::from_secs_f64(sent as f64 / per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.send(&body)?;
            sent += body.entries;
            body.wanted.iter().for_each(|entry| self.tally.observe(entry));
        }
        Ok(sent)
    }
}

impl Fed {
    /// Adds another round.
    pub fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.latencies.0.extend(other.latencies.0);
    }
}

/// Result of one connection in a round.
struct Sent {
    entries: u64,
    latencies: Latencies,
    wanted: Vec<Entry>,
}

fn send_until(
    connection: &mut Connection,
    bodies: &Mutex<Vec<Body>>,
    until: Instant,
) -> Result<Sent> {
    let mut sent = Sent { entries: 0, latencies: Latencies::default(), wanted: Vec::new() };
    while Instant::now() < until {
        let Some(body) = bodies.lock().expect("no feeder panicked").pop() else { break };
        let clock = Instant::now();
        connection.send(&body)?;
        sent.latencies.add(clock.elapsed());
        sent.entries += body.entries;
        sent.wanted.extend(body.wanted);
    }
    Ok(sent)
}

/// Latency of each answer, in nanoseconds.
#[derive(Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency.as_nanos() as u64);
    }

    /// The quantile `share` in microseconds: the value that this share of latencies does not
    /// exceed.
    pub fn us(&mut self, share: f64) -> Result<f64> {
        let last = self.0.len().checked_sub(1).context("nothing was measured")?;
        let (_, value, _) = self.0.select_nth_unstable((last as f64 * share).round() as usize);
        Ok(*value as f64 / 1e3)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
