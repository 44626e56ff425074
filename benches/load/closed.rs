//! A closed loop of feeders: each connection, in a thread of its own, sends a body of entries,
//! waits for the answer and sends the next. Bodies are made before the clock runs, so the load core
//! does little else meanwhile.

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

/// A round ends when this much was sent, however short it was: bodies are kept in memory.
const BODIES_BYTES: usize = 96 << 20;
const BODIES: usize = 100_000;
/// What an entry takes at most, in either dialect.
const LONGEST_BYTES: usize = 320;

/// How a server wants its entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/entries`.
    Http,
    /// One call of a script with all of them.
    Redis,
}

struct Body {
    bytes: Vec<u8>,
    entries: u64,
    /// Those that the tally wants to see once they are sent.
    wanted: Vec<Entry>,
}

/// One connection.
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

    fn stay_awake(&mut self) -> Result<()> {
        match self {
            Self::Http(client) => client.stay_awake(),
            Self::Redis(client) => client.stay_awake(),
        }
    }

    /// Sends a body; all of its entries must be accepted.
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
                Err(Error::new(format!("entries were refused: {} {said}", answer.status)))
            }
            Self::Redis(client) => {
                let accepted = client.integer(&body.bytes)?;
                let all = u64::try_from(accepted) == Ok(body.entries);
                if all {
                    Ok(())
                } else {
                    Err(Error::new(format!("{accepted} of {} entries", body.entries)))
                }
            }
        }
    }
}

/// Entries for one server: made, sent, and counted in a tally.
pub struct Feeder<'a> {
    pub server: &'a Running,
    pub tally: Tally,
    dialect: Dialect,
    population: Population,
    entries: Box<dyn Iterator<Item = Entry> + Send>,
}

/// What a round gave.
#[derive(Default)]
pub struct Fed {
    pub entries: u64,
    pub wall: Duration,
    pub cpu: Duration,
    pub latencies: Latencies,
}

impl<'a> Feeder<'a> {
    /// Sends `entries`; `tally` has seen those that were sent before.
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
                entries.iter().for_each(|entry| lines::write(&mut bytes, &self.population, entry))
            }
            Dialect::Redis => redis::write_call(&mut bytes, &self.population, &entries),
        }
        bytes.shrink_to_fit();
        let count = entries.len() as u64;
        entries.retain(|entry| self.tally.wants(entry.user));
        Body { bytes, entries: count, wanted: entries }
    }

    /// Bodies for a round: what is not sent in it is forgotten.
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

    /// A round: `connections` of them send bodies of `batch` entries for `seconds`, or until all
    /// that were made are sent. One alone stays awake; several leave the load core to each other.
    pub fn round(&mut self, batch: usize, connections: usize, seconds: f64) -> Result<Fed> {
        let bodies = Mutex::new(self.bodies(batch, connections, seconds));
        let mut ready: Vec<Connection> = (0..connections)
            .map(|_| Connection::new(self.server, self.dialect))
            .collect::<Result<_>>()?;
        if let [alone] = &mut ready[..] {
            alone.stay_awake()?;
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

    /// Sends `count` entries over one connection, 1,000 a request.
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

    /// Sends `per_second` entries a second over one connection, 1,000 a request, until it is told
    /// to stop. Returns how many.
    pub fn send_paced(&mut self, per_second: f64, stop: &AtomicBool) -> Result<u64> {
        let mut connection = Connection::new(self.server, self.dialect)?;
        let (clock, mut sent) = (Instant::now(), 0);
        // Relaxed: nothing else is told by it.
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
    /// Counts another round in.
    pub fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.latencies.0.extend(other.latencies.0);
    }
}

/// What one connection did in a round.
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

/// Each answer's time, in nanoseconds.
#[derive(Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency.as_nanos() as u64);
    }

    /// The value, in microseconds, that so large a share of them does not exceed.
    pub fn us(&mut self, share: f64) -> Result<f64> {
        let last = self.0.len().checked_sub(1).context("nothing was measured")?;
        let (_, value, _) = self.0.select_nth_unstable((last as f64 * share).round() as usize);
        Ok(*value as f64 / 1e3)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
