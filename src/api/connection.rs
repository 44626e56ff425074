//! The machine of one connection: bytes in, answers out, in the order of the requests.
//!
//! ```text
//!            head of a POST            body complete            applied
//!  ┌─ Head ──────────────────▶ Body ──────────────────▶ Feeding ───────┐
//!  │   ▲ reads are answered     │ a batch is answered     │ ≤ 256 lines a turn
//!  │   └────────────────────────┴─────────────────────────┴────────────┘
//!  └─ refusal or `connection: close` from anywhere ──▶ Closed: the last answer is written, what still comes is ignored
//! ```
//!
//! Requests are parsed where the kernel put them; only what is unfinished, or must wait for its turn, is kept. Reads that
//! arrive together are parsed together, so that the ledger can fetch their users at once. A request starts only when the one
//! before it on this connection is done, so a read sees the entries that were posted before it.

use super::desk::{Desk, Serving, Step, ahead};
use super::feed::{self, Feed};
use super::out::{Out, Stamp};
use super::problem::{Code, Problem};
use super::read::{Read, What};
use super::route::{Ask, Denied, Route, route};
use super::{BATCH_BYTES, FEED_BYTES, OUT_MARK_BYTES, REQUESTS_PER_TURN, answer, batch};
use crate::http::chunked::Decoder;
use crate::http::etag::if_none_match;
use crate::http::head;
use crate::http::request::{Framing, Head, Method, Version};
use crate::http::response::{self, Answer, Persist, Status};
use smallvec::SmallVec;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Reads that arrive together are parsed together, up to so many.
const TOGETHER: usize = 16;
/// Bodies that are being received on one core, together.
pub const BODIES_BYTES: usize = 256 << 20;
/// Buffers of finished bodies that a core keeps for the next ones.
const SPARE_BODIES: usize = 8;
/// A larger buffer goes back to the allocator.
const SPARE_BYTES: usize = 1 << 20;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request.
    Idle,
    /// The rest of a request.
    Unfinished,
    /// Its next turn: there is work at hand.
    Busy,
    /// Its end: the last answer is written.
    Close,
}

/// What the connections of one core share.
#[derive(Debug, Default)]
pub struct Shared {
    reads: Vec<Read>,
    spare: Vec<Vec<u8>>,
    /// Bytes of all bodies that are being received or applied.
    body_bytes: usize,
}

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// Bytes that wait: an unfinished head, or requests whose turn has not come.
    kept: Vec<u8>,
    /// How much of an unfinished head was looked through.
    seen: usize,
    state: State,
    body: Vec<u8>,
    /// There is work at hand that new bytes must not overtake.
    busy: bool,
    /// What had begun when the server started to drain is still served.
    grace: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(Body),
    Feeding(Box<Feed>, Persist),
    Closed,
}

#[derive(Debug)]
struct Body {
    ask: Ask,
    persist: Persist,
    left: Left,
}

#[derive(Debug)]
enum Left {
    Length(usize),
    Chunked(Decoder),
}

/// A read whose answer is about to be written.
struct Asked<'b> {
    read: Read,
    persist: Persist,
    head_only: bool,
    if_none_match: Option<&'b [u8]>,
}

/// What stopped the parsing of heads.
enum Stop<'b> {
    /// Nothing: more may follow.
    Full,
    /// The head is not whole.
    Unfinished,
    /// A request that is not a plain read.
    Other(Ask, Head<'b>),
    /// A request that is not taken, with what is to become of the connection.
    Denied(Denied, Persist, bool),
}

impl Connection {
    /// Takes bytes that arrived, and answers what is complete.
    pub fn receive<D: Desk>(&mut self, bytes: &[u8], desk: &mut D, shared: &mut Shared, out: &mut Out) -> Next {
        if self.busy || !self.kept.is_empty() {
            self.kept.extend_from_slice(bytes);
            return if self.busy { Next::Busy } else { self.resume(desk, shared, out) };
        }
        let used = self.run(bytes, desk, shared, out);
        self.kept.extend_from_slice(&bytes[used..]);
        self.next()
    }

    /// Goes on with what is at hand.
    pub fn resume<D: Desk>(&mut self, desk: &mut D, shared: &mut Shared, out: &mut Out) -> Next {
        let mut kept = std::mem::take(&mut self.kept);
        let used = self.run(&kept, desk, shared, out);
        kept.drain(..used);
        self.kept = kept;
        self.next()
    }

    /// The peer took too long. Says so if a request is unfinished.
    pub fn expire<D: Desk>(&mut self, desk: &mut D, out: &mut Out) -> Next {
        if self.next() == Next::Unfinished {
            self.refuse(Code::RequestTimeout.into(), desk, out);
        }
        self.state = State::Closed;
        Next::Close
    }

    /// The server begins to drain: what this connection has begun is still served.
    pub fn drain(&mut self) {
        self.grace = self.next() != Next::Idle;
    }

    /// What this connection waits for.
    pub fn next(&self) -> Next {
        match self.state {
            State::Closed => Next::Close,
            _ if self.busy => Next::Busy,
            State::Head if self.kept.is_empty() => Next::Idle,
            _ => Next::Unfinished,
        }
    }

    /// Bytes that wait in this connection, not yet part of a body.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// The connection is gone: gives back what it holds of the core's.
    pub fn release(&mut self, shared: &mut Shared) {
        self.drop_body(shared);
        self.state = State::Closed;
    }

    fn drop_body(&mut self, shared: &mut Shared) {
        let mut body = std::mem::take(&mut self.body);
        shared.body_bytes -= body.len();
        if shared.spare.len() < SPARE_BODIES && (1..=SPARE_BYTES).contains(&body.capacity()) {
            body.clear();
            shared.spare.push(body);
        }
    }

    /// Works through `bytes` as far as this turn goes; returns how many are done with.
    fn run<D: Desk>(&mut self, bytes: &[u8], desk: &mut D, shared: &mut Shared, out: &mut Out) -> usize {
        let (mut at, mut budget) = (0, REQUESTS_PER_TURN);
        self.busy = false;
        loop {
            match &mut self.state {
                State::Closed => return bytes.len(),
                State::Head => {
                    if at == bytes.len() {
                        self.grace = false;
                        return at;
                    }
                    if budget == 0 || out.bytes.len() > OUT_MARK_BYTES {
                        self.busy = true;
                        return at;
                    }
                    let (used, unfinished) = self.heads(&bytes[at..], &mut budget, desk, out);
                    at += used;
                    if unfinished {
                        return at;
                    }
                }
                State::Body(_) => {
                    at += self.collect(&bytes[at..], desk, shared, out);
                    if matches!(self.state, State::Body(_)) {
                        return at;
                    }
                }
                State::Feeding(feed, persist) => {
                    let most = desk.entries_left();
                    if most == 0 || !feed.step(&self.body, most, desk) {
                        self.busy = true;
                        return at;
                    }
                    let persist = *persist;
                    let (status, stamp) = feed.outcome();
                    let start = out.bytes.len();
                    respond(Answer { persist, ..ok(desk, status) }, 2, |out| feed.write(out), out);
                    out.stamp(start, stamp);
                    desk.answered(Route::Entries, status);
                    self.drop_body(shared);
                    self.finish(persist);
                }
            }
        }
    }

    fn finish(&mut self, persist: Persist) {
        self.state = if persist == Persist::Close { State::Closed } else { State::Head };
    }

    /// Parses heads as long as they are plain reads and complete, answers them, then deals with what stopped it. Returns the bytes
    /// that are done with, and whether the rest is an unfinished head.
    fn heads<D: Desk>(&mut self, bytes: &[u8], budget: &mut usize, desk: &mut D, out: &mut Out) -> (usize, bool) {
        let mut asked = SmallVec::<[Asked<'_>; TOGETHER]>::new();
        let mut at = 0;
        let stop = loop {
            if asked.len() == TOGETHER || *budget == 0 {
                break Stop::Full;
            }
            let (head, len) = match head::parse(&bytes[at..], &mut self.seen) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break Stop::Unfinished,
                Err(refusal) => {
                    break Stop::Denied(Problem::from(Code::from(refusal)).into(), Persist::Close, false);
                }
            };
            self.seen = 0;
            at += len;
            *budget -= 1;
            let (persist, head_only) = (persist(&head), head.method == Method::Head);
            match self.admit(&head, desk) {
                Ok(Ask::Read(read)) => {
                    desk.approach(read.user, None, Step::Place);
                    asked.push(Asked { read, persist, head_only, if_none_match: head.if_none_match });
                    if persist == Persist::Close {
                        break Stop::Full;
                    }
                }
                Ok(ask) => break Stop::Other(ask, head),
                Err((denied, close)) => {
                    break Stop::Denied(denied, if close { Persist::Close } else { persist }, head_only);
                }
            }
        };
        for (at, one) in asked.iter().enumerate() {
            for (next, step) in ahead(&asked, at, [Step::User]) {
                desk.approach(next.read.user, None, step);
            }
            answer_read(one, desk, out);
            self.finish(one.persist);
        }
        match stop {
            Stop::Full => {}
            Stop::Unfinished => return (at, true),
            Stop::Other(ask, head) => self.begin(ask, &head, at == bytes.len(), desk, out),
            Stop::Denied(denied, persist, head_only) => {
                write_problem(&denied, persist, head_only, desk, out);
                desk.answered(Route::None, denied.problem.code.status());
                self.finish(persist);
            }
        }
        (at, false)
    }

    /// What a request asks, if it is taken; else also whether the connection must end, because a body would follow.
    fn admit<D: Desk>(&self, head: &Head<'_>, desk: &D) -> Result<Ask, (Denied, bool)> {
        let bodiless = matches!(head.framing, Framing::None | Framing::Length(0));
        let ask = route(head).map_err(|denied| (denied, !bodiless))?;
        let limit = match ask {
            Ask::Entries => FEED_BYTES,
            Ask::Batch => BATCH_BYTES,
            Ask::Health | Ask::Ready | Ask::Read(_) => 0,
        };
        let too_large = match head.framing {
            Framing::Chunked => limit == 0,
            Framing::Length(length) => length > limit as u64,
            Framing::None => false,
        };
        if too_large {
            return Err((Problem::from(Code::ContentTooLarge).into(), true));
        }
        let refused = refusal(desk.serving()).filter(|&code| code != Code::Draining || !self.grace);
        if let Some(code) = refused.filter(|_| !matches!(ask, Ask::Health | Ask::Ready)) {
            return Err((Problem::from(code).into(), true));
        }
        Ok(ask)
    }

    /// A request that is not a plain read.
    fn begin<D: Desk>(&mut self, ask: Ask, head: &Head<'_>, is_last: bool, desk: &mut D, out: &mut Out) {
        let persist = persist(head);
        if matches!(ask, Ask::Entries | Ask::Batch) {
            if head.expect_continue && is_last {
                response::write_continue(&mut out.bytes);
            }
            let left = match head.framing {
                Framing::Chunked => Left::Chunked(Decoder::new()),
                Framing::Length(length) => Left::Length(length as usize),
                Framing::None => Left::Length(0),
            };
            self.state = State::Body(Body { ask, persist, left });
            return;
        }
        let head_only = head.method == Method::Head;
        let refused = refusal(desk.serving()).filter(|_| ask == Ask::Ready);
        let status = if let Some(code) = refused {
            write_problem(&Problem::from(code).into(), persist, head_only, desk, out);
            Status::ServiceUnavailable
        } else {
            let answer = Answer { content_type: TEXT, persist, head_only, ..ok(desk, Status::Ok) };
            respond(answer, 1, |out| out.extend_from_slice(if ask == Ask::Ready { b"ready" } else { b"ok" }), out);
            Status::Ok
        };
        desk.answered(ask.route(), status);
        self.finish(persist);
    }

    /// Takes what has come of a body; when it is whole, answers a batch or starts to apply entries.
    fn collect<D: Desk>(&mut self, bytes: &[u8], desk: &mut D, shared: &mut Shared, out: &mut Out) -> usize {
        let State::Body(body) = &mut self.state else { return 0 };
        if self.body.capacity() == 0 {
            self.body = shared.spare.pop().unwrap_or_default();
        }
        let before = self.body.len();
        let limit = if body.ask == Ask::Entries { FEED_BYTES } else { BATCH_BYTES };
        let taken = match &mut body.left {
            Left::Length(left) => {
                let here = bytes.len().min(*left);
                self.body.extend_from_slice(&bytes[..here]);
                *left -= here;
                Ok((here, *left == 0))
            }
            Left::Chunked(decoder) => {
                // What is over the limit is counted, not kept.
                let keep = |piece: &[u8]| {
                    let room = (limit + 1).saturating_sub(self.body.len()).min(piece.len());
                    self.body.extend_from_slice(&piece[..room]);
                };
                decoder.decode(bytes, keep).map(|progress| (progress.consumed, progress.done)).map_err(Code::from)
            }
        };
        shared.body_bytes += self.body.len() - before;
        let (persist, ask) = (body.persist, body.ask);
        let refused = match taken {
            Err(code) => Some(code),
            Ok(_) if self.body.len() > limit => Some(Code::ContentTooLarge),
            Ok((_, false)) if shared.body_bytes > BODIES_BYTES => Some(Code::Overloaded),
            Ok(_) => None,
        };
        if let Some(code) = refused {
            self.drop_body(shared);
            self.refuse(code.into(), desk, out);
            return bytes.len();
        }
        let (used, done) = taken.unwrap_or_default();
        if done {
            match ask {
                Ask::Entries if feed::fits(&self.body) => {
                    self.state = State::Feeding(Box::default(), persist);
                    return used;
                }
                Ask::Entries => {
                    let denied = Problem::at(Code::TooManyItems, "").into();
                    write_problem(&denied, persist, false, desk, out);
                    desk.answered(Route::Entries, Status::ContentTooLarge);
                }
                _ => answer_batch(&self.body, persist, desk, &mut shared.reads, out),
            }
            self.drop_body(shared);
            self.finish(persist);
        }
        used
    }

    /// Writes the last answer of this connection.
    fn refuse<D: Desk>(&mut self, problem: Problem, desk: &mut D, out: &mut Out) {
        write_problem(&problem.into(), Persist::Close, false, desk, out);
        desk.answered(Route::None, problem.code.status());
        self.state = State::Closed;
    }
}

/// Why new requests are not taken.
const fn refusal(serving: Serving) -> Option<Code> {
    match serving {
        Serving::Ready => None,
        Serving::Recovering => Some(Code::Recovering),
        Serving::Draining => Some(Code::Draining),
    }
}

/// The whole answer to a connection that is one too many.
pub fn turn_away(date: &[u8; 29]) -> Vec<u8> {
    let mut out = Vec::new();
    let problem = Problem::from(Code::Overloaded);
    let answer = Answer {
        status: problem.code.status(),
        content_type: PROBLEM_JSON,
        etag: None,
        allow: None,
        retry_after: true,
        persist: Persist::Close,
        date,
        head_only: false,
    };
    response::write(&mut out, &answer, 3, |out| {
        problem.write_open(out);
        out.push(b'}');
    });
    out
}

fn persist(head: &Head<'_>) -> Persist {
    match (head.keep_alive, head.version) {
        (false, _) => Persist::Close,
        (true, Version::Http10) => Persist::KeepAlive,
        (true, Version::Http11) => Persist::Default,
    }
}

/// A JSON answer, but for what its caller overrides.
fn ok<D: Desk>(desk: &D, status: Status) -> Answer<'_> {
    Answer {
        status,
        content_type: JSON,
        etag: None,
        allow: None,
        retry_after: false,
        persist: Persist::Default,
        date: desk.date(),
        head_only: false,
    }
}

fn respond(answer: Answer<'_>, width_hint: usize, body: impl FnOnce(&mut Vec<u8>), out: &mut Out) {
    response::write(&mut out.bytes, &answer, width_hint, body);
}

fn answer_read<D: Desk>(asked: &Asked<'_>, desk: &mut D, out: &mut Out) {
    let Asked { read, persist, head_only, if_none_match: condition } = *asked;
    let start = out.bytes.len();
    let (stamp, status) = desk.read(read.user, |view| {
        let Some(view) = view else {
            write_problem(&Problem::from(Code::UserNotFound).into(), persist, head_only, desk, out);
            return Status::NotFound;
        };
        let version = view.user.version();
        let etag = matches!(read.what, What::Balance).then_some(version);
        if etag.is_some() && condition.is_some_and(|header| if_none_match(header, version)) {
            response::write_not_modified(&mut out.bytes, desk.date(), version, persist);
            return Status::NotModified;
        }
        let answer = Answer { etag, persist, head_only, ..ok(desk, Status::Ok) };
        respond(answer, 3, |out| answer::write(out, view, &read, desk.now()), out);
        Status::Ok
    });
    out.stamp(start, stamp);
    desk.answered(Ask::Read(read).route(), status);
}

fn answer_batch<D: Desk>(body: &[u8], persist: Persist, desk: &mut D, reads: &mut Vec<Read>, out: &mut Out) {
    let problem = match batch::read(body, reads) {
        Ok(()) if desk.has_room() => None,
        Ok(()) => Some(Code::Overloaded.into()),
        Err(problem) => Some(problem),
    };
    if let Some(problem) = problem {
        write_problem(&problem.into(), persist, false, desk, out);
        desk.answered(Route::Batch, problem.code.status());
        return;
    }
    let start = out.bytes.len();
    let mut stamp = Stamp::default();
    let answer = Answer { persist, ..ok(desk, Status::Ok) };
    let width = if reads.len() < 50 { 4 } else { 5 };
    respond(answer, width, |out| stamp = write_batch(reads, desk, out), out);
    out.stamp(start, stamp);
    desk.answered(Route::Batch, Status::Ok);
}

fn write_batch<D: Desk>(reads: &[Read], desk: &D, out: &mut Vec<u8>) -> Stamp {
    let mut last = Stamp::default();
    out.extend_from_slice(b"{\"responses\":[");
    for (at, read) in reads.iter().enumerate() {
        for (next, step) in ahead(reads, at, [Step::Place, Step::User]) {
            desk.approach(next.user, None, step);
        }
        if at > 0 {
            out.push(b',');
        }
        let (stamp, ()) = desk.read(read.user, |view| match view {
            Some(view) => answer::write(out, view, read, desk.now()),
            None => answer::write_unknown_user(out, read.user),
        });
        last = last.max(stamp);
    }
    out.extend_from_slice(b"]}");
    last
}

fn write_problem<D: Desk>(denied: &Denied, persist: Persist, head_only: bool, desk: &D, out: &mut Out) {
    let Denied { problem, allow } = denied;
    let status = problem.code.status();
    let retry_after = status == Status::ServiceUnavailable;
    let answer =
        Answer { content_type: PROBLEM_JSON, allow: *allow, retry_after, persist, head_only, ..ok(desk, status) };
    respond(
        answer,
        3,
        |out| {
            problem.write_open(out);
            out.push(b'}');
        },
        out,
    );
}
