//! Reads at a fixed rate, whatever the server does: each has a moment when it is due, and its latency counts from there. One thread
//! that looks at its sockets without pause; it reads users of even index, so that a feed may write to the others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::closed::Latencies;
use crate::error::{Context, Error, Result};
use crate::population::Population;
use crate::random::Random;
use crate::server::Running;
use crate::sys::Poll;

/// For the last answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Pace {
    pub per_second: f64,
    pub connections: usize,
    pub seconds: f64,
    pub seed: u64,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    /// What is under way: when it was due, and whose balance it is.
    asked: Option<(Instant, u64)>,
}

/// Reads balances at this pace; every answer must be a 200 with the balance of the user who was asked for.
pub fn read(server: &Running, population: &Population, pace: &Pace) -> Result<Latencies> {
    let mut poll = Poll::new().context("making an epoll")?;
    let mut connections = Vec::new();
    for number in 0..pace.connections {
        let stream = TcpStream::connect(server.address).context("connecting")?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).context("setting a socket up")?;
        poll.add(&stream, number).context("adding a socket")?;
        connections.push(Connection { stream, answer: Vec::new(), asked: None });
    }
    let mut free: Vec<usize> = (0..pace.connections).collect();
    let (mut latencies, mut random) = (Latencies::default(), Random::new(pace.seed));
    let count = (pace.per_second * pace.seconds) as u64;
    let (clock, mut sent) = (Instant::now(), 0);
    let due = |n: u64| clock + Duration::from_secs_f64(n as f64 / pace.per_second);
    while sent < count || free.len() < pace.connections {
        let now = Instant::now();
        if now > due(count) + PATIENCE {
            return Err(Error::new(format!("{} of {count} reads are not answered", count - latencies.count() as u64)));
        }
        while sent < count && due(sent) <= now {
            let Some(number) = free.pop() else { break };
            let user = population.user_id(random.below(population.users.div_ceil(2)) * 2);
            connections[number].ask(user, due(sent))?;
            sent += 1;
        }
        let mut failed = None;
        let look = poll.look(|number| match connections[number].hear() {
            Ok(Some(latency)) => {
                latencies.add(latency);
                free.push(number);
            }
            Ok(None) => {}
            Err(error) => failed = Some(error),
        });
        look.context("looking at the sockets")?;
        failed.map_or(Ok(()), Err)?;
    }
    Ok(latencies)
}

impl Connection {
    fn ask(&mut self, user: u64, due: Instant) -> Result<()> {
        let request = format!("GET /v1/users/{user}/balance HTTP/1.1\r\nHost: purser\r\n\r\n");
        self.asked = Some((due, user));
        // A hundred bytes always find room: nothing else is under way.
        self.stream.write_all(request.as_bytes()).context("sending a read")
    }

    /// Reads what there is; returns the latency once an answer is whole.
    fn hear(&mut self) -> Result<Option<Duration>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Error::new("a connection was closed")),
            Ok(count) => self.answer.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error).context("receiving"),
        }
        let text = String::from_utf8_lossy(&self.answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() < length.context("an answer has no content-length")? {
            return Ok(None);
        }
        let (due, user) = self.asked.take().context("an answer that nobody asked for")?;
        if !head.starts_with("HTTP/1.1 200 ") || !body.starts_with(&format!("{{\"user_id\":\"{user}\",")) {
            return Err(Error::new(format!("a wrong answer: {text}")));
        }
        self.answer.clear();
        Ok(Some(due.elapsed()))
    }
}
