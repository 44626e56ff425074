//! Feeds a whole population to a server over one keep-alive connection, 1,000 entries per request,
//! and checks each answer.
//!
//! A second thread makes the bodies ahead of time (on the load core, like all of the runner), so
//! that the server seldom waits. The measure is the server's CPU time, which idling does not
//! change.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::lines::{self, LINES_PER_BODY};
use crate::population::Population;
use crate::server::Running;
use crate::tally::Tally;

const BODIES_AHEAD: usize = 4;

/// One of the equal parts of a measured feed.
pub struct Part {
    pub entries: u64,
    pub cpu: Duration,
    pub wall: Duration,
}

impl Part {
    pub fn cpu_us_per_entry(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.entries as f64
    }
}

struct Body {
    bytes: Vec<u8>,
    lines: u64,
}

/// Feeds all entries, measured in `parts` parts, and records each in `tally`.
pub fn feed(
    server: &Running,
    population: &Population,
    tally: &mut Tally,
    parts: u64,
) -> Result<Vec<Part>> {
    std::thread::scope(|scope| {
        let (full, bodies) = sync_channel(BODIES_AHEAD);
        let (empty, returned) = channel();
        scope.spawn(move || generate(population, tally, &full, &returned));
        send(server, population.len(), parts, &bodies, &empty)
    })
}

/// Makes bodies until the history ends or the receiver is dropped.
fn generate(
    population: &Population,
    tally: &mut Tally,
    full: &SyncSender<Body>,
    returned: &Receiver<Vec<u8>>,
) {
    let mut entries = population.entries();
    loop {
        let mut body = Body { bytes: returned.try_recv().unwrap_or_default(), lines: 0 };
        body.bytes.clear();
        for entry in entries.by_ref().take(LINES_PER_BODY as usize) {
            tally.observe(&entry);
            lines::write(&mut body.bytes, population, &entry);
            body.lines += 1;
        }
        if body.lines == 0 || full.send(body).is_err() {
            return;
        }
    }
}

fn send(
    server: &Running,
    entries: u64,
    parts: u64,
    bodies: &Receiver<Body>,
    empty: &Sender<Vec<u8>>,
) -> Result<Vec<Part>> {
    let mut client = Client::connect(server.address)?;
    let mut done = Vec::new();
    let (mut sent, mut began_at) = (0, 0);
    let (mut cpu, mut clock) = (server.cpu()?, Instant::now());
    for body in bodies {
        let answer = client.post("/v1/entries", "application/x-ndjson", &body.bytes)?;
        let expected =
            format!(r#"{{"accepted":{},"duplicates":0,"rejected":0,"results":[]}}"#, body.lines);
        if answer.status != 200 || answer.body() != expected.as_bytes() {
            let said = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(400)]);
            return Err(Error::new(format!(
                "{} refused entries: {} {said}",
                server.name, answer.status
            )));
        }
        sent += body.lines;
        let _ = empty.send(body.bytes); // the generator may have ended
        if sent * parts >= entries * (done.len() as u64 + 1) {
            let now = (server.cpu()?, Instant::now());
            done.push(Part { entries: sent - began_at, cpu: now.0 - cpu, wall: now.1 - clock });
            (cpu, clock) = now;
            began_at = sent;
        }
    }
    if sent == entries {
        Ok(done)
    } else {
        Err(Error::new(format!("fed {sent} of {entries} entries")))
    }
}

/// Lines per second that the generator makes without back pressure: a feed's figure is valid only
/// if this is well above the server's rate.
pub fn generator_speed(population: &Population) -> Result<f64> {
    const LINES: usize = 2_000_000;
    let (mut bytes, mut made) = (Vec::new(), 0_u64);
    let clock = Instant::now();
    for entry in population.entries().take(LINES) {
        lines::write(&mut bytes, population, &entry);
        made += 1;
        if made.is_multiple_of(LINES_PER_BODY) {
            std::hint::black_box(&bytes);
            bytes.clear();
        }
    }
    (made > 0).then(|| made as f64 / clock.elapsed().as_secs_f64()).context("an empty population")
}
