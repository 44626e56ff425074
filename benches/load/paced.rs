//! Open-loop reads at a fixed rate, independent of the server's speed. Each read has a due time,
//! and its latency counts from there even if it could not be sent then, so a stalled server does
//! not hide the reads that it delays (G. Tene, "How NOT to Measure Latency", 2013, on coordinated
//! omission).
//!
//! One thread polls all sockets without pause. Each connection has at most one read in flight; free
//! connections are used in turn, and a due read waits if none is free.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::closed::Latencies;
use crate::error::{Context, Error, Result};
use crate::population::Population;
use crate::random::Random;
use crate::server::Running;
use crate::sys::Poll;

/// Longest wait for the next answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between the last connect and the first read.
const SETTLE: Duration = Duration::from_millis(100);
/// Share of the requested rate at which it counts as kept.
const KEPT: f64 = 0.99;

/// Parameters of a run.
#[derive(Clone, Copy)]
pub struct Pace {
    pub per_second: f64,
    pub connections: usize,
    pub seconds: f64,
    pub seed: u64,
}

/// Which users are read.
#[derive(Clone, Copy)]
pub enum Users {
    All,
    /// Users of even index, so that a feed may write to the others.
    Even,
}

/// Expected answers.
#[derive(Clone, Copy)]
pub enum Answers<'a> {
    /// A 200 with the balance of the requested user.
    Balances,
    /// Exactly these bytes, head and body: the floor's answer.
    Constant(&'a [u8]),
}

/// Result of a run.
pub struct Done {
    /// From a read's due time to its answer.
    pub latencies: Latencies,
    /// From a read's due time until it was sent.
    pub late: Latencies,
    /// Bytes received, heads included.
    pub bytes: u64,
    /// CPU time of the server.
    pub cpu: Duration,
    /// From the first read's due time to the last answer.
    pub wall: Duration,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.wall.as_secs_f64()
    }

    /// Whether reads were sent and answered at the requested rate.
    pub fn kept(&self, pace: &Pace) -> bool {
        self.per_second() >= KEPT * pace.per_second
    }
}

/// Reads balances at this pace.
pub fn read(
    server: &Running,
    population: &Population,
    users: Users,
    answers: Answers<'_>,
    pace: &Pace,
) -> Result<Done> {
    let mut sockets = Sockets::connect(server, pace.connections)?;
    std::thread::sleep(SETTLE);
    let (mut random, mut request) = (Random::new(pace.seed), Request::default());
    let count = (pace.per_second * pace.seconds).ceil() as u64;
    let (mut latencies, mut late, mut bytes) = (Latencies::default(), Latencies::default(), 0);
    let (cpu, clock) = (server.cpu()?, Instant::now());
    let (mut sent, mut received_at) = (0, clock);
    let due = |n: u64| clock + Duration::from_secs_f64(n as f64 / pace.per_second);
    while (latencies.count() as u64) < count {
        let now = Instant::now();
        while sent < count && due(sent) <= now {
            let Some(number) = sockets.free.pop_front() else { break };
            let user = population.user_number(users.index(population, &mut random));
            sockets.connections[number].ask(&mut request, user, due(sent))?;
            late.add(due(sent).elapsed());
            sent += 1;
        }
        sockets.receive(answers, |latency, length| {
            latencies.add(latency);
            bytes += length as u64;
            received_at = now;
        })?;
        if now.duration_since(received_at) > ANSWER_TIMEOUT {
            return Err(Error::new(format!(
                "{} of {count} reads were not answered",
                count - latencies.count() as u64
            )));
        }
    }
    Ok(Done {
        latencies,
        late,
        bytes,
        cpu: server.cpu()?.saturating_sub(cpu),
        wall: clock.elapsed(),
    })
}

impl Users {
    /// A random user's index.
    fn index(self, population: &Population, random: &mut Random) -> u64 {
        match self {
            Self::All => random.below(population.users),
            Self::Even => random.below(population.users.div_ceil(2)) * 2,
        }
    }
}

/// The connections and a queue of the free ones, least recently used first.
struct Sockets {
    poll: Poll,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    /// The read in flight: its due time and its user.
    asked: Option<(Instant, u64)>,
}

/// Reused buffer of a request.
#[derive(Default)]
struct Request {
    bytes: Vec<u8>,
    digits: itoa::Buffer,
}

impl Sockets {
    fn connect(server: &Running, count: usize) -> Result<Self> {
        let poll = Poll::new().context("making an epoll")?;
        let mut connections = Vec::new();
        for number in 0..count {
            let stream = TcpStream::connect(server.address).context("connecting")?;
            stream
                .set_nodelay(true)
                .and_then(|()| stream.set_nonblocking(true))
                .context("setting a socket up")?;
            poll.add(&stream, number).context("adding a socket")?;
            connections.push(Connection { stream, answer: Vec::new(), asked: None });
        }
        Ok(Self { poll, connections, free: (0..count).collect() })
    }

    /// Receives the answers that have arrived; calls `whole` with the latency and length of each.
    fn receive(
        &mut self,
        answers: Answers<'_>,
        mut whole: impl FnMut(Duration, usize),
    ) -> Result<()> {
        let Self { poll, connections, free } = self;
        let mut failed = None;
        let look = poll.look(|number| match connections[number].receive(answers) {
            Ok(Some((latency, length))) => {
                whole(latency, length);
                free.push_back(number);
            }
            Ok(None) => {}
            Err(error) => failed = Some(error),
        });
        look.context("polling the sockets")?;
        failed.map_or(Ok(()), Err)
    }
}

impl Connection {
    fn ask(&mut self, request: &mut Request, user: u64, due: Instant) -> Result<()> {
        let Request { bytes, digits } = request;
        bytes.clear();
        let id = digits.format(user);
        [b"GET /v1/users/", id.as_bytes(), b"/balance HTTP/1.1\r\nHost: purser\r\n\r\n"]
            .iter()
            .for_each(|part| bytes.extend_from_slice(part));
        self.asked = Some((due, user));
        // The socket always accepts a hundred bytes: the connection has nothing else in flight.
        self.stream.write_all(bytes).context("sending a read")
    }

    /// Receives available bytes; returns latency and length once an answer is complete.
    fn receive(&mut self, answers: Answers<'_>) -> Result<Option<(Duration, usize)>> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Error::new("the server closed a connection")),
            Ok(count) => self.answer.extend_from_slice(&bytes[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("receiving"),
        }
        let (due, user) = self.asked.context("an answer without a request")?;
        let is_right = match answers {
            Answers::Balances => {
                let Some((head, body)) = split(&self.answer)? else { return Ok(None) };
                head.starts_with(b"HTTP/1.1 200 ") && is_of(body, user)
            }
            Answers::Constant(answer) if self.answer.len() < answer.len() => return Ok(None),
            Answers::Constant(answer) => self.answer == answer,
        };
        if !is_right {
            return Err(Error::new(format!(
                "wrong answer: {}",
                String::from_utf8_lossy(&self.answer)
            )));
        }
        let length = self.answer.len();
        self.asked = None;
        self.answer.clear();
        Ok(Some((due.elapsed(), length)))
    }
}

/// Splits an answer into head and body; `None` until it is complete.
fn split(answer: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let at = memmem::find(head, LENGTH).context("an answer has no content-length")? + LENGTH.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Ok((body.len() >= length).then_some((head, body)))
}

/// Whether a body is that of the requested user.
fn is_of(body: &[u8], user: u64) -> bool {
    let mut digits = itoa::Buffer::new();
    let rest = body
        .strip_prefix(b"{\"user_id\":\"")
        .and_then(|rest| rest.strip_prefix(digits.format(user).as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\","))
}
