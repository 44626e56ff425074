//! A feeder: sends entries in the order of their commitment, over one connection, and sends any
//! request again while its ids are remembered.
//!
//! Ids are remembered until the user's booking time is 24 hours on, or half a million entries on.
//! So a request spans less than that, and a retry is sent before anything that is booked 24 hours
//! after the request's oldest line, and at most [`RETRY_WITHIN`] requests later.

use super::book::{DAY, Entry, HOUR};
use super::wallet::Wallet;
use crate::server::client::post;
use crate::server::expected::{duplicate, fed, feed_answer, json, rejected};
use crate::server::{Client, Server};
use crate::simulation::random::Random;
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Lines of a request, at most.
const LINES: u64 = 10_000;
/// A request is sent again at most this many requests later: fewer entries than are remembered.
const RETRY_WITHIN: u64 = 40;
/// Time from the oldest line of a request to its newest.
const SPAN: u64 = 20 * HOUR;
/// Requests kept for a much later retry.
const KEPT: usize = 32;

/// A request as it was sent.
pub struct Request {
    late: bool,
    body: String,
    /// User, time and id of each line.
    pub lines: Vec<(usize, u64, String)>,
}

impl Request {
    fn oldest(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.1)
    }

    fn newest(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.1)
    }

    fn bytes(&self, late: bool) -> Vec<u8> {
        let target = if late { "/v1/entries?late=accept" } else { "/v1/entries" };
        post(target, "application/x-ndjson", &self.body)
    }
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub requests: u64,
    pub sent: u64,
    pub retried: u64,
    pub lost_answers: u64,
}

pub struct Feeder {
    addresses: Vec<SocketAddr>,
    client: Client,
    random: Random,
    /// Requests to be sent again, each when so many have been sent.
    retries: Vec<(u64, Arc<Request>)>,
    /// Some requests of the past.
    pub kept: Vec<Arc<Request>>,
    /// User and time of each line since they were last taken.
    pub accepted: Vec<(usize, u64)>,
    pub counts: Counts,
}

impl Feeder {
    pub fn new(server: &Server, seed: u64) -> Self {
        let mut addresses = server.cores();
        addresses.push(server.address);
        Self {
            client: connect(addresses[0]),
            addresses,
            random: Random(seed),
            retries: Vec::new(),
            kept: Vec::new(),
            accepted: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Sends entries in requests of many sizes. Each must be accepted.
    pub fn feed(
        &mut self,
        names: &[String],
        entries: Vec<Entry>,
        late: bool,
    ) -> Result<(), String> {
        let mut entries = entries.into_iter().peekable();
        while let Some(first) = entries.peek() {
            let end = first.at + SPAN;
            let most = self.random.pick(&[1, 10, 100, 1_000, LINES, LINES]);
            let size = self.random.between(most / 2 + 1, most) as usize;
            let mut request = Request { late, body: String::new(), lines: Vec::new() };
            while let Some(entry) =
                entries.next_if(|entry| request.lines.len() < size && entry.at < end)
            {
                Wallet::write_line(names, &entry, &mut request.body);
                request.lines.push((entry.user, entry.at, entry.id));
            }
            self.retry_before(request.newest())?;
            self.deliver(Arc::new(request))?;
            self.retry_due()?;
        }
        Ok(())
    }

    fn deliver(&mut self, request: Arc<Request>) -> Result<(), String> {
        self.counts.requests += 1;
        self.counts.sent += request.lines.len() as u64;
        if self.random.in_thousand(20) {
            self.client = self.connect();
        }
        if self.random.in_thousand(20) && !request.late {
            self.lose_answer(&request)?;
        } else {
            let accepted = json("", &fed(request.lines.len(), 0, &[]));
            self.expect(request.bytes(request.late), &accepted)?;
        }
        self.accepted.extend(request.lines.iter().map(|line| (line.0, line.1)));
        if self.kept.len() < KEPT {
            self.kept.push(Arc::clone(&request));
        } else if self.random.in_thousand(60) {
            let place = self.random.below(KEPT as u64) as usize;
            self.kept[place] = Arc::clone(&request);
        }
        if self.random.in_thousand(150) {
            self.again(&request)?;
        }
        if self.random.in_thousand(150) {
            let due = self.counts.requests + self.random.between(1, RETRY_WITHIN - 1);
            self.retries.push((due, request));
        }
        Ok(())
    }

    /// Sends a request, or a part of it, on a connection that is closed before the answer; then the
    /// whole again. Each line is booked by one of the two.
    fn lose_answer(&mut self, request: &Request) -> Result<(), String> {
        let bytes = request.bytes(false);
        let mut client = self.connect();
        let end = if self.random.coin() {
            bytes.len()
        } else {
            self.random.between(1, bytes.len() as u64) as usize
        };
        client.send(&bytes[..end]);
        drop(client);
        self.counts.lost_answers += 1;
        let answer = self.client.ask(bytes);
        let figures: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let of = |name: &str| figures[name].as_u64().unwrap_or(0);
        let booked = of("accepted") + of("duplicates");
        if answer.status() != 200 || booked != request.lines.len() as u64 {
            return Err(format!("after a lost answer: {}", start(&answer.shown())));
        }
        Ok(())
    }

    /// Sends a request again, whose ids are remembered.
    fn again(&mut self, request: &Request) -> Result<(), String> {
        self.counts.retried += request.lines.len() as u64;
        let known = request.lines.iter().enumerate().map(|(at, line)| duplicate(at, &line.2));
        let known: Vec<_> = known.collect();
        let expected = json("", &fed(0, known.len(), &known));
        self.expect(request.bytes(request.late), &expected)
    }

    fn retry_due(&mut self) -> Result<(), String> {
        let requests = self.counts.requests;
        self.retry_all(|due, _| due <= requests)
    }

    /// Sends the retries that must come before an entry of this time is booked.
    pub fn retry_before(&mut self, time: u64) -> Result<(), String> {
        self.retry_all(|_, request| request.oldest() + DAY <= time)
    }

    /// Sends all retries.
    pub fn retry_now(&mut self) -> Result<(), String> {
        self.retry_all(|_, _| true)
    }

    fn retry_all(&mut self, is_now: impl Fn(u64, &Request) -> bool) -> Result<(), String> {
        let all = std::mem::take(&mut self.retries);
        let (now, later) = all.into_iter().partition(|(due, request)| is_now(*due, request));
        self.retries = later;
        let now: Vec<(u64, Arc<Request>)> = now;
        now.iter().try_for_each(|(_, request)| self.again(request))
    }

    /// Sends a kept request once more without `late=accept`, after some of its ids have been
    /// forgotten: those lines, for which `is_late` is true, are too old. Returns their number.
    pub fn plant(
        &mut self,
        request: &Request,
        is_late: impl Fn(usize, u64) -> bool,
    ) -> Result<u64, String> {
        let verdict = |(index, (user, at, id)): (usize, &(usize, u64, String))| {
            if is_late(*user, *at) {
                rejected(index, id, "entry_too_old", "at_ms")
            } else {
                duplicate(index, id)
            }
        };
        let late = request.lines.iter().filter(|line| is_late(line.0, line.1)).count();
        if late > 0 {
            let results: Vec<_> = request.lines.iter().enumerate().map(verdict).collect();
            let expected = feed_answer(0, results.len() - late, &results);
            self.expect(request.bytes(false), &expected)?;
        }
        Ok(late as u64)
    }

    fn expect(&mut self, bytes: Vec<u8>, expected: &str) -> Result<(), String> {
        let shown = self.client.ask(&bytes).shown();
        if shown == expected {
            return Ok(());
        }
        let (at, around) =
            crate::seeds::first_difference([("expected", expected), ("purser", &shown)]);
        let asked = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
        Err(format!("answers differ at byte {at}:\n{around}\nasked: {asked}"))
    }

    fn connect(&mut self) -> Client {
        connect(self.random.pick(&self.addresses))
    }
}

fn connect(address: SocketAddr) -> Client {
    Client::new(TcpStream::connect(address).expect("the server listens"))
}

fn start(text: &str) -> String {
    text.chars().take(600).collect()
}

/// What a mirror remembers of a user's entries, as the contract has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    n: u64,
    r: u64,
    s: u64,
    c: u64,
}

impl Memory {
    pub fn accept(&mut self, at: u64) {
        self.n = self.n.max(at);
        self.c += 1;
        if self.c == 524_288 {
            (self.r, self.s, self.c) = (self.s, self.n, 0);
        }
    }

    pub fn is_late(&self, at: u64) -> bool {
        at < self.r || self.is_a_day_late(at)
    }

    /// Whether an entry is late, however many have come since.
    pub fn is_a_day_late(&self, at: u64) -> bool {
        at + DAY < self.n
    }
}
