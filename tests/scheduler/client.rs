//! Simulated clients: scripts of requests, and the checks of their answers.

use super::reference::Reference;
use crate::model::history::{History, Step};
use crate::seeds::first_difference;
use crate::simulation::random::Random;
use crate::users::{name, of_name};
use std::collections::{BTreeMap, VecDeque};

/// A request and the expectation of its answer.
#[derive(Clone, Debug)]
struct Pending {
    request: Vec<u8>,
    /// Whether it may be repeated if its outcome is unknown.
    is_read: bool,
    /// Whether the server ends the connection after its answer.
    ends: bool,
    want: Want,
}

#[derive(Clone, Debug)]
enum Want {
    /// Exactly these bytes; and then these users are durable at these versions or later ones.
    Exactly(Vec<u8>, Vec<(u64, u64)>),
    /// An answer of a shared user: no version below those shown of each user before the request.
    AtLeast(BTreeMap<u64, u64>),
    /// `/v1/info`: any 200.
    Figures,
}

/// Knowledge shared by all clients.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Last version of each user that any client was shown.
    pub shown: BTreeMap<u64, u64>,
    pub accepted: u64,
    /// Lines of feeds whose answers were lost.
    pub doubtful: u64,
    /// Number of refused requests (503).
    pub refused: u64,
    /// Whether any request may be refused: the server has a small budget.
    pub may_refuse: bool,
    /// Whether the server drains: it may end a connection after any answer, and an idle one before
    /// a request reaches it.
    pub may_close: bool,
    /// Whether the log may lack space for entries (507): the disk fails, or snapshots cannot keep
    /// up.
    pub may_lack_room: bool,
    /// Whether the disk may have no space for what was applied: then answers are refused (507), and
    /// the outcome of entries is unknown.
    pub may_stall: bool,
    /// Number of answers refused for that.
    pub unstored: u64,
}

/// Source of a client's requests.
enum Source {
    /// Separate users, and a reference server with one core that must give the same answers.
    Separate { history: Box<History>, reference: Box<Reference>, steps: Vec<Step> },
    /// The same few users as all other clients.
    Shared { users: Vec<u64>, ids: u64 },
}

pub struct Client {
    source: Source,
    /// Unanswered requests, in order.
    pending: VecDeque<Pending>,
    /// Bytes still to be sent on this connection.
    unsent: VecDeque<u8>,
    /// Number of requests in `pending` that are in `unsent` or already sent.
    begun: usize,
    received: Vec<u8>,
    /// Last version of each user shown on this connection.
    shown: BTreeMap<u64, u64>,
    /// Whether the last answer was the final one of this connection, and whether that was not
    /// asked for: then later requests were not read.
    is_over: bool,
    is_refused: bool,
    /// Whether the answer that is being received is such a final one.
    closes: bool,
    /// Whether the rest of the last begun request will never be sent.
    is_half: bool,
}

impl Client {
    pub fn separate(seed: u64, users: Vec<u64>, now_ms: u64) -> Self {
        let names = users.into_iter().map(name).collect();
        let history = Box::new(History::separate(seed, names, now_ms));
        Self::new(Source::Separate {
            history,
            reference: Box::new(Reference::new()),
            steps: Vec::new(),
        })
    }

    pub fn shared(users: Vec<u64>, ids: u64) -> Self {
        Self::new(Source::Shared { users, ids })
    }

    fn new(source: Source) -> Self {
        let (unsent, received, shown) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Self {
            source,
            pending: VecDeque::new(),
            unsent,
            begun: 0,
            received,
            shown,
            is_over: false,
            is_refused: false,
            closes: false,
            is_half: false,
        }
    }

    // A round of requests.

    /// Generates the next requests from `now_ms` on; returns the latest time that they need.
    pub fn plan(&mut self, now_ms: u64, count: u64) -> u64 {
        let Source::Separate { history, steps, .. } = &mut self.source else { return now_ms };
        history.set_clock(now_ms);
        steps.extend(history.by_ref().take(count as usize));
        steps
            .iter()
            .map(|step| match step {
                Step::Feed { now_ms, .. }
                | Step::Get { now_ms, .. }
                | Step::Batch { now_ms, .. } => *now_ms,
            })
            .fold(now_ms, u64::max)
    }

    /// Queues the requests, to be sent at `now_ms`. Clients of shared users send in bulk if
    /// `is_bulk`: only feeds, of many entries each.
    pub fn ask(&mut self, now_ms: u64, count: u64, is_bulk: bool, random: &mut Random) {
        match &mut self.source {
            Source::Separate { history, reference, steps } => {
                reference.set_clock(now_ms);
                let users: Vec<u64> =
                    history.users().iter().filter_map(|user| of_name(user)).collect();
                let mut requests: Vec<_> =
                    steps.drain(..).map(|step| to_request(step, reference, random)).collect();
                if random.in_thousand(200) {
                    // More reads than one connection may have in flight.
                    requests.extend((0..random.between(40, 200)).map(|_| {
                        let user = name(random.pick(&users));
                        (get(&format!("/v1/users/{user}/balance"), ""), true)
                    }));
                }
                for (request, is_read) in requests {
                    let (answer, ends) = reference.ask(&request);
                    let want = if request.starts_with(b"GET /v1/info ") {
                        Want::Figures
                    } else {
                        let versions =
                            users.iter().map(|&user| (user, reference.version(user))).collect();
                        Want::Exactly(answer, versions)
                    };
                    self.pending.push_back(Pending { request, is_read, ends, want });
                }
            }
            Source::Shared { users, ids } => {
                for _ in 0..count {
                    let (request, is_read) = if is_bulk {
                        bulk(users, now_ms, random)
                    } else {
                        shared(users, *ids, now_ms, random)
                    };
                    let want = Want::AtLeast(BTreeMap::new());
                    self.pending.push_back(Pending { request, is_read, ends: false, want });
                }
            }
        }
    }

    /// Discards unanswered requests, because no server will answer them.
    pub fn give_up(&mut self) {
        self.pending.clear();
        self.connected();
    }

    /// Whether every request is answered.
    pub fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Number of unanswered requests.
    pub fn waits_for(&self) -> usize {
        self.pending.len()
    }

    // A connection.

    /// Takes at most `most` bytes to send next on this connection.
    pub fn send(&mut self, most: usize, known: &Known) -> Vec<u8> {
        if self.is_over {
            return Vec::new();
        }
        while self.unsent.len() < most && self.begun < self.pending.len() {
            if self.begun > 0 && self.pending[self.begun - 1].ends {
                break;
            }
            let pending = &mut self.pending[self.begun];
            if let Want::AtLeast(before) = &mut pending.want {
                before.clone_from(&known.shown);
            }
            self.unsent.extend(&pending.request);
            self.begun += 1;
        }
        let count = most.min(self.unsent.len());
        self.unsent.drain(..count).collect()
    }

    /// Whether the connection may be dropped now, which leaves the outcome of its requests unknown.
    pub fn may_drop(&self) -> bool {
        let mut begun = self.pending.iter().take(self.begun);
        matches!(self.source, Source::Shared { .. }) || begun.all(|pending| pending.is_read)
    }

    /// Stops sending on this connection; a request sent only in part never takes effect. Returns
    /// whether that is possible now.
    pub fn half_close(&mut self) -> bool {
        if !self.unsent.is_empty() && self.begun > 0 {
            if self.pending[self.begun - 1].ends {
                return false;
            }
            self.is_half = true;
        }
        self.unsent.clear();
        true
    }

    /// Records that the connection was dropped; unanswered requests are sent again.
    pub fn dropped(&mut self, known: &mut Known) {
        self.doubt_begun(known);
        self.connected();
    }

    /// Counts the lines of begun feeds, whose outcome is unknown.
    fn doubt_begun(&self, known: &mut Known) {
        if let Source::Shared { .. } = self.source {
            let lost = self.pending.iter().take(self.begun).filter(|pending| !pending.is_read);
            let lines = lost.map(|pending| {
                pending.request.iter().filter(|byte| **byte == b'\n').count() as u64
            });
            known.doubtful += lines.sum::<u64>();
        }
    }

    /// Resets the state of the connection.
    fn connected(&mut self) {
        self.unsent.clear();
        self.received.clear();
        self.shown.clear();
        self.begun = 0;
        (self.is_over, self.is_refused, self.closes, self.is_half) = (false, false, false, false);
    }

    /// Records that the server has ended the connection.
    pub fn ended(&mut self, known: &mut Known) -> Result<(), String> {
        if known.may_stall && !self.is_refused {
            // It waited for more than the log when that had no space.
            self.dropped(known);
        } else if known.may_close && !self.is_refused && self.received.is_empty() {
            // An idle connection was closed before a request reached it.
            self.dropped(known);
        } else if !self.received.is_empty()
            || (self.begun > usize::from(self.is_half) && !self.is_refused)
        {
            let first = self.pending.front().map_or(&[][..], |pending| &pending.request);
            let what = format!("the connection ends before {} answers", self.begun);
            return Err(with_request(first, &what));
        }
        // Requests after a refusal that ends the connection are not read by the server.
        self.connected();
        Ok(())
    }

    /// Checks received answer bytes. `durable` gives the durable version of a user, which survives
    /// a crash.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        known: &mut Known,
        durable: impl Fn(u64) -> u64,
    ) -> Result<(), String> {
        self.received.extend_from_slice(bytes);
        while !self.received.is_empty() {
            if known.may_close && !self.closes && !self.take_close() {
                break;
            }
            let pending = self.pending.front().filter(|_| self.begun > 0 && !self.is_refused);
            let pending = pending.ok_or("an answer without a request")?;
            let is_unstored = known.may_stall && self.is_unstored();
            // A server that drains is not ready.
            let may_refuse =
                known.may_refuse || known.may_close && contains(&pending.request, b" /readyz ");
            let is_refusal =
                is_unstored || may_refuse && self.received.starts_with(b"HTTP/1.1 503 ");
            let end = match &pending.want {
                _ if is_refusal => {
                    let end = answer_end(&self.received, &pending.request)?;
                    if let Some(end) = end {
                        if is_unstored {
                            known.unstored += 1;
                            // Requests after this one may have taken effect.
                            self.doubt_begun(known);
                        }
                        known.refused += 1;
                        self.is_refused = self.received[..end]
                            .windows(19)
                            .any(|some| some == b"\r\nconnection: close");
                    }
                    end
                }
                Want::Exactly(want, versions) => {
                    let common = want.len().min(self.received.len());
                    if want[..common] != self.received[..common] {
                        return Err(self.differs(want, &pending.request));
                    }
                    for &(user, version) in versions {
                        if durable(user) < version {
                            return Err(with_request(
                                &pending.request,
                                &format!(
                                    "shows user {user} at version {version}, but {} is durable",
                                    durable(user)
                                ),
                            ));
                        }
                    }
                    (self.received.len() >= want.len()).then_some(want.len())
                }
                Want::Figures => {
                    let end = answer_end(&self.received, &pending.request)?;
                    if end.is_some() && !self.received.starts_with(b"HTTP/1.1 200 ") {
                        return Err(self.differs(b"HTTP/1.1 200 ", &pending.request));
                    }
                    end
                }
                Want::AtLeast(before) => {
                    let end = answer_end(&self.received, &pending.request)?;
                    if let Some(end) = end {
                        let answer =
                            std::str::from_utf8(&self.received[..end]).map_err(|_| "not text")?;
                        check_shared(
                            answer,
                            &pending.request,
                            before,
                            &mut self.shown,
                            known,
                            &durable,
                        )?;
                    }
                    end
                }
            };
            let Some(end) = end else { break };
            self.received.drain(..end);
            let ends = self.pending.pop_front().is_some_and(|pending| pending.ends);
            self.is_refused |= std::mem::take(&mut self.closes);
            self.is_over = self.is_refused || ends;
            self.begun -= 1;
        }
        Ok(())
    }

    /// Takes `connection: close` out of the head of the next answer, if the request did not ask for
    /// it, and puts in what would be there without it. Returns whether the head is whole.
    fn take_close(&mut self) -> bool {
        const CLOSE: &[u8] = b"\r\nconnection: close";
        const KEEP: &[u8] = b"\r\nconnection: keep-alive";
        let Some(end) = self.received.windows(4).position(|some| some == b"\r\n\r\n") else {
            return false;
        };
        let Some(pending) = self.pending.front() else { return true };
        let head = &self.received[..end];
        let line = head.windows(CLOSE.len()).position(|some| some == CLOSE);
        if let Some(at) = line.filter(|_| !pending.ends) {
            let keeps = pending.request.windows(KEEP.len()).any(|some| some == KEEP);
            let line = if keeps { KEEP } else { &[] };
            self.received.splice(at..at + CLOSE.len(), line.iter().copied());
            self.closes = true;
        }
        true
    }

    /// Whether the next answer is the problem of a log without space.
    fn is_unstored(&self) -> bool {
        let is_problem = |some: &[u8]| some == b"application/problem+json";
        self.received.starts_with(b"HTTP/1.1 507 ") && self.received.windows(24).any(is_problem)
    }

    fn differs(&self, want: &[u8], request: &[u8]) -> String {
        let (want, got) = (String::from_utf8_lossy(want), String::from_utf8_lossy(&self.received));
        let (at, around) = first_difference([("one core", &want), ("these", &got)]);
        with_request(request, &format!("answers part at byte {at}:\n{around}"))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|some| some == part)
}

fn with_request(request: &[u8], what: &str) -> String {
    let request = String::from_utf8_lossy(request).chars().take(2_000).collect::<String>();
    format!("{what}\nrequest: {request}")
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
}

/// Turns a step into a request of a random form; returns it and whether it only reads.
fn to_request(step: Step, reference: &Reference, random: &mut Random) -> (Vec<u8>, bool) {
    let close = if random.in_thousand(30) { "connection: close\r\n" } else { "" };
    match step {
        Step::Get { target, .. } => (to_read_request(&target, close, reference, random), true),
        Step::Feed { late, body, .. } => {
            let target = if late { "/v1/entries?late=accept" } else { "/v1/entries" };
            (post(target, "application/x-ndjson", close, &body, random), false)
        }
        Step::Batch { body, .. } => {
            (post("/v1/batch", "application/json", close, &body, random), true)
        }
    }
}

fn to_read_request(
    target: &str,
    close: &str,
    reference: &Reference,
    random: &mut Random,
) -> Vec<u8> {
    let user = target.strip_prefix("/v1/users/").and_then(|rest| of_name(rest.split('/').next()?));
    let version = user.map_or(0, |user| reference.version(user));
    let tag = match random.below(12) {
        0 => format!("If-None-Match: \"v{version}\"\r\n"),
        1 => {
            format!("If-None-Match: \"v{}\", W/\"v{}\"\r\n", version + 1, version.saturating_sub(1))
        }
        2 => "If-None-Match: *\r\n".to_owned(),
        _ => String::new(),
    };
    let rest = format!("Host: x\r\n{tag}{close}\r\n");
    match random.below(100) {
        0 => {
            format!("GET {} HTTP/1.1\r\n{rest}", random.pick(&["/healthz", "/readyz", "/v1/info"]))
        }
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
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\ncontent-type: {content_type}\r\n{close}");
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

/// A random request about shared users; returns it and whether it only reads.
fn shared(users: &[u64], ids: u64, now_ms: u64, random: &mut Random) -> (Vec<u8>, bool) {
    let user = name(random.pick(users));
    match random.below(10) {
        0..4 => {
            let lines = random.between(1, 20);
            (entries(lines, users, ids, now_ms, random), false)
        }
        4..6 => {
            let count = random.pick(&[1, 3, 9, 40]);
            let items: Vec<_> = (0..random.between(1, count))
                .map(|_| {
                    let what =
                        random.pick(&[r#""balance""#, r#""balance""#, r#""stats","window":"1d""#]);
                    let user = name(random.pick(users));
                    format!(r#"{{"user_id":"{user}","read":{what}}}"#)
                })
                .collect();
            let body = format!(r#"{{"requests":[{}]}}"#, items.join(","));
            (post("/v1/batch", "application/json", "", body.as_bytes(), random), true)
        }
        6 => (get(&format!("/v1/users/{user}/stats?window=1d"), ""), true),
        7 if random.in_thousand(100) => (get("/v1/info", ""), true),
        _ => (get(&format!("/v1/users/{user}/balance"), ""), true),
    }
}

/// A feed of more entries than a slice applies in a turn, or nearly as many, all of them new.
fn bulk(users: &[u64], now_ms: u64, random: &mut Random) -> (Vec<u8>, bool) {
    let lines = random.between(100, 500);
    (entries(lines, users, u64::MAX, now_ms, random), false)
}

fn entries(lines: u64, users: &[u64], ids: u64, now_ms: u64, random: &mut Random) -> Vec<u8> {
    let mut body = String::new();
    for _ in 0..lines {
        let (user, id, amount) =
            (name(random.pick(users)), random.below(ids), random.between(1, 3));
        let kind = random.below(if id % 3 == 0 { 60 } else { 2 });
        body += &format!(
            "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"currency\":\"COIN\",\
             \"kind\":\"gift_{kind}\",\"direction\":\"credit\",\"amount\":{amount},\
             \"at_ms\":{now_ms}}}\n"
        );
    }
    post("/v1/entries", "application/x-ndjson", "", body.as_bytes(), random)
}

/// End of the first answer, if it is complete.
fn answer_end(bytes: &[u8], request: &[u8]) -> Result<Option<usize>, String> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    if request.starts_with(b"HEAD ") {
        return Ok(Some(head + 4));
    }
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| format!("no length: {text}"))?;
    Ok((bytes.len() >= head + 4 + length).then_some(head + 4 + length))
}

/// Checks an answer about shared users.
fn check_shared(
    answer: &str,
    request: &[u8],
    before: &BTreeMap<u64, u64>,
    shown: &mut BTreeMap<u64, u64>,
    known: &mut Known,
    durable: &impl Fn(u64) -> u64,
) -> Result<(), String> {
    let wrong = |what: String| Err(with_request(request, &format!("{what}\n{answer}")));
    let status = answer.get(9..12).unwrap_or_default();
    let is_feed = request.starts_with(b"POST /v1/entries ");
    if !(["200", "404"].contains(&status)
        || (status == "422" && is_feed)
        || (status == "507" && known.may_lack_room))
    {
        return wrong("no such answer is expected".to_owned());
    }
    if let Some((_, rest)) = answer.split_once("{\"accepted\":") {
        if known.may_stall {
            // Accepted by another core, whose log has no space: they may be booked later.
            known.doubtful += answer.matches("\"code\":\"insufficient_storage\"").count() as u64;
        }
        known.accepted +=
            rest.split(',').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        return Ok(());
    }
    if request.starts_with(b"GET /v1/info ") {
        return Ok(());
    }
    if status == "404" {
        let text = String::from_utf8_lossy(request);
        let user = text.split('/').nth(3).and_then(of_name).unwrap_or_default();
        return if before.contains_key(&user) {
            wrong("the user was there before".to_owned())
        } else {
            Ok(())
        };
    }
    for piece in answer.split("{\"user_id\":\"").skip(1) {
        let Some((user, rest)) = piece.split_once("\",\"version\":") else { continue };
        let version = rest.split(',').next().and_then(|version| version.parse::<u64>().ok());
        let (Some(user), Some(version)) = (of_name(user), version) else {
            return wrong("no version".to_owned());
        };
        let least = before
            .get(&user)
            .copied()
            .unwrap_or_default()
            .max(shown.get(&user).copied().unwrap_or_default());
        if version < least {
            return wrong(format!(
                "user {user} was at version {least} before, but is at {version}"
            ));
        }
        if version > durable(user) {
            return wrong(format!(
                "user {user} is at version {version}, but {} is durable",
                durable(user)
            ));
        }
        shown.insert(user, version);
        let last = known.shown.entry(user).or_default();
        *last = version.max(*last);
    }
    Ok(())
}
