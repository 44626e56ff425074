//! Who asks: scripts of requests, and what the answers must be.

use crate::desk::{TestDesk, Wire};
use crate::model::history::{History, Step};
use crate::seeds::first_difference;
use crate::simulation::random::Random;
use purser::api::connection::Next;
use purser::ledger::id::UserId;
use std::collections::{BTreeMap, VecDeque};

/// A request, and what is known of its answer.
#[derive(Clone, Debug)]
struct Asked {
    request: Vec<u8>,
    /// It may be asked again, if nobody knows what became of it.
    is_read: bool,
    /// The connection ends behind it.
    ends: bool,
    want: Want,
}

#[derive(Clone, Debug)]
enum Want {
    /// These bytes; and these users are then at these versions, or further.
    Exactly(Vec<u8>, Vec<(u64, u64)>),
    /// What was shown of each user before it was asked.
    AtLeast(BTreeMap<u64, u64>),
}

/// What all clients of shared users know together.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The last version that anybody was shown.
    pub shown: BTreeMap<u64, u64>,
    pub accepted: u64,
    /// Lines of feeds whose answers nobody has seen.
    pub doubtful: u64,
}

/// Where a client's requests come from.
enum Source {
    /// Users of its own, and a server of its own that has one core: it must get the same answers.
    Apart { history: Box<History>, desk: Box<TestDesk>, wire: Box<Wire>, steps: Vec<Step> },
    /// The same few users as all others.
    Shared { users: Vec<u64>, ids: u64 },
}

pub struct Client {
    source: Source,
    /// Requests that are not answered yet, in order.
    asked: VecDeque<Asked>,
    /// What is still to be sent on this connection.
    unsent: VecDeque<u8>,
    /// How many of `asked` are in there, or sent.
    begun: usize,
    received: Vec<u8>,
    /// The last version of each user that this connection has shown.
    shown: BTreeMap<u64, u64>,
}

impl Client {
    pub fn apart(seed: u64, users: Vec<u64>, now_ms: u64) -> Self {
        let history = Box::new(History::apart(seed, users, now_ms));
        Self::new(Source::Apart { history, desk: Box::new(TestDesk::new()), wire: Box::default(), steps: Vec::new() })
    }

    pub fn shared(users: Vec<u64>, ids: u64) -> Self {
        Self::new(Source::Shared { users, ids })
    }

    fn new(source: Source) -> Self {
        let (unsent, received, shown) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Self { source, asked: VecDeque::new(), unsent, begun: 0, received, shown }
    }

    // A round of requests.

    /// Thinks of what to ask next, from `now_ms` on; returns until when.
    pub fn think(&mut self, now_ms: u64, count: u64) -> u64 {
        let Source::Apart { history, steps, .. } = &mut self.source else { return now_ms };
        history.set_clock(now_ms);
        steps.extend(history.by_ref().take(count as usize));
        steps
            .iter()
            .map(|step| match step {
                Step::Feed { now_ms, .. } | Step::Get { now_ms, .. } | Step::Batch { now_ms, .. } => *now_ms,
            })
            .fold(now_ms, u64::max)
    }

    /// Writes it down, to be asked at `now_ms`.
    pub fn ask(&mut self, now_ms: u64, count: u64, random: &mut Random) {
        match &mut self.source {
            Source::Apart { history, desk, wire, steps } => {
                desk.now_ms = now_ms;
                let users = history.users().to_vec();
                let mut requests: Vec<_> = steps.drain(..).map(|step| dressed(step, desk, random)).collect();
                if random.in_thousand(200) {
                    // More reads than one connection may have away.
                    requests.extend(
                        (0..random.between(40, 200))
                            .map(|_| (get(&format!("/v1/users/{}/balance", random.pick(&users)), ""), true)),
                    );
                }
                for (request, is_read) in requests {
                    let ends = wire.send(desk, &request) == Next::Close;
                    let answer = std::mem::take(&mut wire.out.bytes);
                    if ends {
                        **wire = Wire::default();
                    }
                    let versions = users.iter().map(|&user| (user, version(desk, user))).collect();
                    self.asked.push_back(Asked { request, is_read, ends, want: Want::Exactly(answer, versions) });
                }
            }
            Source::Shared { users, ids } => {
                for _ in 0..count {
                    let (request, is_read) = shared(users, *ids, now_ms, random);
                    let want = Want::AtLeast(BTreeMap::new());
                    self.asked.push_back(Asked { request, is_read, ends: false, want });
                }
            }
        }
    }

    /// Whether everything is answered.
    pub fn is_done(&self) -> bool {
        self.asked.is_empty()
    }

    /// How many answers it waits for.
    pub fn waits_for(&self) -> usize {
        self.asked.len()
    }

    // A connection.

    /// The next bytes to send on this connection, at most so many.
    pub fn send(&mut self, most: usize, known: &Known) -> Vec<u8> {
        while self.unsent.len() < most && self.begun < self.asked.len() {
            if self.begun > 0 && self.asked[self.begun - 1].ends {
                break;
            }
            let asked = &mut self.asked[self.begun];
            if let Want::AtLeast(before) = &mut asked.want {
                before.clone_from(&known.shown);
            }
            self.unsent.extend(&asked.request);
            self.begun += 1;
        }
        let count = most.min(self.unsent.len());
        self.unsent.drain(..count).collect()
    }

    /// Whether the connection may be dropped now, so that nobody can tell what became of the requests.
    pub fn may_drop(&self) -> bool {
        let mut begun = self.asked.iter().take(self.begun);
        matches!(self.source, Source::Shared { .. }) || begun.all(|asked| asked.is_read)
    }

    /// The connection is dropped, and what is not answered is asked again.
    pub fn dropped(&mut self, known: &mut Known) {
        if let Source::Shared { .. } = self.source {
            let lost = self.asked.iter().take(self.begun).filter(|asked| !asked.is_read);
            known.doubtful +=
                lost.map(|asked| asked.request.iter().filter(|byte| **byte == b'\n').count() as u64).sum::<u64>();
        }
        self.connected();
    }

    /// There is a new connection.
    fn connected(&mut self) {
        self.unsent.clear();
        self.received.clear();
        self.shown.clear();
        self.begun = 0;
    }

    /// The server has ended the connection.
    pub fn ended(&mut self, known: &mut Known) -> Result<(), String> {
        if !self.received.is_empty() || self.asked.iter().take(self.begun).next().is_some() {
            return Err(format!("the connection ends before {} answers", self.begun));
        }
        self.dropped(known);
        Ok(())
    }

    /// Takes bytes of answers. `durable` is the version of a user that no crash takes back.
    pub fn receive(&mut self, bytes: &[u8], known: &mut Known, durable: impl Fn(u64) -> u64) -> Result<(), String> {
        self.received.extend_from_slice(bytes);
        while !self.received.is_empty() {
            let asked = self.asked.front().filter(|_| self.begun > 0).ok_or("an answer that nobody waits for")?;
            let end = match &asked.want {
                Want::Exactly(want, versions) => {
                    let common = want.len().min(self.received.len());
                    if want[..common] != self.received[..common] {
                        return Err(self.differs(want, &asked.request));
                    }
                    for &(user, version) in versions {
                        if durable(user) < version {
                            return Err(told(
                                &asked.request,
                                &format!("tells of user {user} at version {version}, and {} is durable", durable(user)),
                            ));
                        }
                    }
                    (self.received.len() >= want.len()).then_some(want.len())
                }
                Want::AtLeast(before) => {
                    let end = answer_end(&self.received)?;
                    if let Some(end) = end {
                        let answer = std::str::from_utf8(&self.received[..end]).map_err(|_| "not text")?;
                        check_shared(answer, &asked.request, before, &mut self.shown, known, &durable)?;
                    }
                    end
                }
            };
            let Some(end) = end else { break };
            self.received.drain(..end);
            self.asked.pop_front();
            self.begun -= 1;
        }
        Ok(())
    }

    fn differs(&self, want: &[u8], request: &[u8]) -> String {
        let (want, got) = (String::from_utf8_lossy(want), String::from_utf8_lossy(&self.received));
        let (at, around) = first_difference([("one core", &want), ("these", &got)]);
        told(request, &format!("answers part at byte {at}:\n{around}"))
    }
}

fn told(request: &[u8], what: &str) -> String {
    let request = String::from_utf8_lossy(request).chars().take(2_000).collect::<String>();
    format!("{what}\nasked: {request}")
}

fn version(desk: &TestDesk, user: u64) -> u64 {
    desk.slice.read(UserId(user), |view| view.map_or(0, |view| view.user.version())).1
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
}

/// A step as a request of this or that form, and whether it only reads.
fn dressed(step: Step, desk: &TestDesk, random: &mut Random) -> (Vec<u8>, bool) {
    let close = if random.in_thousand(30) { "connection: close\r\n" } else { "" };
    match step {
        Step::Get { target, .. } => (dressed_read(&target, close, desk, random), true),
        Step::Feed { body, .. } => (post("/v1/entries", "application/x-ndjson", close, &body, random), false),
        Step::Batch { body, .. } => (post("/v1/batch", "application/json", close, &body, random), true),
    }
}

fn dressed_read(target: &str, close: &str, desk: &TestDesk, random: &mut Random) -> Vec<u8> {
    let user = target.strip_prefix("/v1/users/").and_then(|rest| rest.split('/').next()?.parse().ok());
    let version = user.map_or(0, |user| version(desk, user));
    let tag = match random.below(12) {
        0 => format!("If-None-Match: \"v{version}\"\r\n"),
        1 => format!("If-None-Match: \"v{}\", W/\"v{}\"\r\n", version + 1, version.saturating_sub(1)),
        2 => "If-None-Match: *\r\n".to_owned(),
        _ => String::new(),
    };
    let rest = format!("Host: x\r\n{tag}{close}\r\n");
    match random.below(100) {
        0 => format!("GET {} HTTP/1.1\r\n{rest}", random.pick(&["/healthz", "/readyz", "/v1/info"])),
        1 => format!("PUT {target} HTTP/1.1\r\n{rest}"),
        2 => "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
        3 => format!("GET {target} HTTP/1.0\r\n{rest}"),
        4 => format!("GET {target} HTTP/1.0\r\nconnection: keep-alive\r\n{tag}\r\n"),
        5..20 => format!("HEAD {target} HTTP/1.1\r\n{rest}"),
        _ => format!("GET {target} HTTP/1.1\r\n{rest}"),
    }
    .into_bytes()
}

fn post(path: &str, content_type: &str, close: &str, body: &[u8], random: &mut Random) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\ncontent-type: {content_type}\r\n{close}");
    if !random.in_thousand(150) || body.is_empty() {
        return [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    }
    let mut text = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(random.between(1, 3_000) as usize) {
        text.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
    }
    text.extend(b"0\r\n\r\n");
    text
}

/// A request about users that everybody has.
fn shared(users: &[u64], ids: u64, now_ms: u64, random: &mut Random) -> (Vec<u8>, bool) {
    let user = random.pick(users);
    match random.below(10) {
        0..4 => {
            let mut body = String::new();
            for _ in 0..random.between(1, 20) {
                let (user, id, amount) = (random.pick(users), random.below(ids), random.between(1, 3));
                body += &format!(
                    "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"currency\":\"COIN\",\"kind\":\"gift\",\"direction\":\"credit\",\
                     \"amount\":{amount},\"at_ms\":{now_ms}}}\n"
                );
            }
            (post("/v1/entries", "application/x-ndjson", "", body.as_bytes(), random), false)
        }
        4..6 => {
            let items = (0..random.between(1, 9)).map(|_| random.pick(users)).collect::<Vec<_>>();
            let items: Vec<_> =
                items.iter().map(|user| format!(r#"{{"user_id":"{user}","read":"balance"}}"#)).collect();
            let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
            (post("/v1/batch", "application/json", "", body.as_bytes(), random), true)
        }
        6 => (get(&format!("/v1/users/{user}/stats?window=1d"), ""), true),
        _ => (get(&format!("/v1/users/{user}/balance"), ""), true),
    }
}

/// Where the first answer ends, if it is whole.
fn answer_end(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).ok_or_else(|| format!("no length: {text}"))?;
    Ok((bytes.len() >= head + 4 + length).then_some(head + 4 + length))
}

/// Whether an answer about shared users may be one.
fn check_shared(
    answer: &str,
    request: &[u8],
    before: &BTreeMap<u64, u64>,
    shown: &mut BTreeMap<u64, u64>,
    known: &mut Known,
    durable: &impl Fn(u64) -> u64,
) -> Result<(), String> {
    let wrong = |what: String| Err(told(request, &format!("{what}\n{answer}")));
    let status = answer.get(9..12).unwrap_or_default();
    if !["200", "404"].contains(&status) {
        return wrong("no such answer is expected".to_owned());
    }
    if let Some((_, rest)) = answer.split_once("{\"accepted\":") {
        known.accepted += rest.split(',').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        return Ok(());
    }
    if status == "404" {
        let text = String::from_utf8_lossy(request);
        let user = text.split('/').nth(3).and_then(|user| user.parse::<u64>().ok()).unwrap_or_default();
        return if before.contains_key(&user) { wrong("the user was there before".to_owned()) } else { Ok(()) };
    }
    for piece in answer.split("{\"user_id\":\"").skip(1) {
        let Some((user, rest)) = piece.split_once("\",\"version\":") else { continue };
        let version = rest.split(',').next().and_then(|version| version.parse::<u64>().ok());
        let (Ok(user), Some(version)) = (user.parse::<u64>(), version) else { return wrong("no version".to_owned()) };
        let least = before.get(&user).copied().unwrap_or_default().max(shown.get(&user).copied().unwrap_or_default());
        if version < least {
            return wrong(format!("user {user} was at version {least} before, and is at {version}"));
        }
        if version > durable(user) {
            return wrong(format!("user {user} is at version {version}, and {} is durable", durable(user)));
        }
        shown.insert(user, version);
        let last = known.shown.entry(user).or_default();
        *last = version.max(*last);
    }
    Ok(())
}
