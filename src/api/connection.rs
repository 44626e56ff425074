//! The machine of one connection: bytes in, answers out, in the order of the requests.
//!
//! ```text
//!            head of a POST            body complete              applied
//!  ┌─ Head ──────────────────▶ Body ───────────────────▶ Feeding ─────────────────┐
//!  │   ▲ reads are answered     │                         │ ≤ 256 lines a turn      │
//!  │   │                        └─▶ Asking ─▶ Gathering    │                        │
//!  │   │                             │ a batch is answered │                        │
//!  │   └─────────────────────────────┴─────────────────────┴────────────────────────┘
//!  └─ refusal or `connection: close` from anywhere ──▶ Closed: the last answer is written, what still comes is ignored
//! ```
//!
//! Requests are parsed where the kernel put them; only what is unfinished, or must wait for its turn, is kept. Reads that
//! arrive together are parsed together, so that the ledger can fetch their users at once. A request starts only when the one
//! before it on this connection is done, so a read sees the entries that were posted before it; but reads that follow each other are on their
//! way to the cores that own their users at the same time.

use super::desk::{Desk, Serving, Step, ahead};
use super::exchange::{Exchange, Short};
use super::feed::{self, Feed, Went};
use super::gather::Gather;
use super::out::Out;
use super::parcel::{Job, Parcel};
use super::problem::{Code, Problem};
use super::read::Read;
use super::reply::{self, Asked, persist};
use super::route::{Ask, Denied, Route, route};
use super::{BATCH_BYTES, FEED_BYTES, GAPS, OUT_MARK_BYTES, REQUESTS_PER_TURN, batch};
use crate::http::chunked::Decoder;
use crate::http::head;
use crate::http::request::{Framing, Head, Method};
use crate::http::response::{self, Persist, Status};
use smallvec::SmallVec;

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
    /// Another core: it goes on when something comes from there.
    Away,
    /// Its end: the last answer is written.
    Close,
}

/// What the connections of one core share.
#[derive(Debug, Default)]
pub struct Shared {
    /// The other cores.
    pub exchange: Exchange,
    reads: Vec<Read>,
    spare: Vec<Vec<u8>>,
    /// Bytes of all bodies that are being received or applied.
    body_bytes: usize,
}

impl Shared {
    /// What connections share on a core that reaches others through `exchange`.
    pub fn new(exchange: Exchange) -> Self {
        Self { exchange, ..Self::default() }
    }
}

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// What the core calls it.
    ticket: u64,
    /// Bytes that wait: an unfinished head, or requests whose turn has not come.
    kept: Vec<u8>,
    /// How much of an unfinished head was looked through.
    seen: usize,
    state: State,
    body: Vec<u8>,
    /// There is work at hand that new bytes must not overtake.
    busy: bool,
    /// The same, but only another core can bring it on.
    away: bool,
    /// What had begun when the server started to drain is still served.
    grace: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(Body),
    /// A batch is whole, and waits until its parts may be asked for.
    Asking(Persist),
    Gathering(Box<Gather>, Persist),
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

/// What stopped the parsing of heads.
enum Stop<'b> {
    /// Nothing: more may follow.
    Full,
    /// The head is not whole.
    Unfinished,
    /// The owner of the next user cannot be asked yet.
    Short,
    /// A request that is not a plain read.
    Other(Ask, Head<'b>),
    /// A request that is not taken, with what is to become of the connection.
    Denied(Denied, Persist, bool),
}

/// How far the parsing of heads went.
enum Heads {
    /// There may be more.
    On,
    /// What is left is an unfinished head.
    Unfinished,
    /// What is left waits for another core.
    Short,
}

impl Connection {
    /// One that its core calls `ticket`: what it asks of other cores comes back with it.
    pub fn new(ticket: u64) -> Self {
        Self { ticket, ..Self::default() }
    }

    /// Takes bytes that arrived, and answers what is complete.
    pub fn receive<D: Desk>(&mut self, bytes: &[u8], desk: &mut D, shared: &mut Shared, out: &mut Out) -> Next {
        if self.busy || self.away || !self.kept.is_empty() {
            self.kept.extend_from_slice(bytes);
            return if self.busy || self.away { self.next() } else { self.resume(desk, shared, out) };
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

    /// Something has come back from the core of slice `peer`.
    pub fn take_back<D: Desk>(
        &mut self,
        peer: u32,
        parcel: Box<Parcel>,
        desk: &mut D,
        shared: &mut Shared,
        out: &mut Out,
    ) -> Next {
        match (parcel.job, &mut self.state) {
            (Job::Read, _) => {
                out.fill(parcel.place, &parcel.bytes);
                desk.answered(Ask::Read(parcel.read).route(), parcel.status);
                shared.exchange.keep(parcel);
            }
            (Job::Batch, State::Gathering(gather, _)) => gather.take(peer, parcel),
            (Job::Entries, State::Feeding(feed, _)) => {
                feed.take(&parcel, &self.body);
                shared.exchange.keep(parcel);
            }
            (job, _) => unreachable!("{job:?} comes back to whoever waits for it"),
        }
        if self.away { self.resume(desk, shared, out) } else { self.next() }
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
            _ if self.away => Next::Away,
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
        (self.busy, self.away) = (false, false);
        loop {
            match &mut self.state {
                State::Closed => return bytes.len(),
                State::Head => {
                    if at == bytes.len() {
                        self.grace = false;
                        return at;
                    }
                    self.away = out.gaps() >= GAPS;
                    self.busy = !self.away && (budget == 0 || out.bytes.len() > OUT_MARK_BYTES);
                    if self.away || self.busy {
                        return at;
                    }
                    let (used, went) = self.heads(&bytes[at..], &mut budget, desk, shared, out);
                    at += used;
                    match went {
                        Heads::On => {}
                        Heads::Unfinished => return at,
                        Heads::Short => {
                            self.busy = true;
                            return at;
                        }
                    }
                }
                State::Body(_) => {
                    at += self.collect(&bytes[at..], desk, shared, out);
                    if matches!(self.state, State::Body(_)) {
                        return at;
                    }
                }
                State::Asking(persist) => {
                    let persist = *persist;
                    if !self.ask_batch(persist, desk, shared, out) {
                        self.busy = true;
                        return at;
                    }
                }
                State::Gathering(gather, persist) => {
                    if !gather.is_whole() {
                        self.away = true;
                        return at;
                    }
                    let (persist, start) = (*persist, out.bytes.len());
                    let stamp = gather.write(persist, desk, &mut shared.exchange, &mut out.bytes);
                    out.stamp(start, stamp);
                    desk.answered(Route::Batch, Status::Ok);
                    self.finish(persist);
                }
                State::Feeding(feed, persist) => {
                    let most = shared.exchange.entries_left(desk.entries_left());
                    match feed.step(&self.body, most, self.ticket, desk, &mut shared.exchange) {
                        Went::On => {
                            self.busy = true;
                            return at;
                        }
                        Went::Away => {
                            self.away = true;
                            return at;
                        }
                        Went::Through => {}
                    }
                    let persist = *persist;
                    let (status, stamp) = feed.outcome();
                    let start = out.bytes.len();
                    reply::json(status, persist, 2, desk, |out| feed.write(out), &mut out.bytes);
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
    /// that are done with, and what the rest is.
    fn heads<D: Desk>(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        desk: &mut D,
        shared: &mut Shared,
        out: &mut Out,
    ) -> (usize, Heads) {
        let mut asked = SmallVec::<[(Asked<'_>, Option<u32>); TOGETHER]>::new();
        let (mut at, mut gaps) = (0, out.gaps());
        let stop = loop {
            if asked.len() == TOGETHER || *budget == 0 || gaps == GAPS {
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
            let (persist, head_only) = (persist(&head), head.method == Method::Head);
            let admitted = self.admit(&head, desk);
            let mut owner = None;
            if let Ok(Ask::Read(read)) = admitted {
                owner = shared.exchange.elsewhere(read.user);
                if let Some(peer) = owner
                    && let Err(short) = shared.exchange.credit(peer)
                {
                    if short == Short::OfCredit {
                        break Stop::Short;
                    }
                    at += len;
                    break Stop::Denied(Problem::from(Code::Overloaded).into(), persist, head_only);
                }
            }
            at += len;
            *budget -= 1;
            match admitted {
                Ok(Ask::Read(read)) => {
                    if owner.is_none() {
                        desk.approach(read.user, None, Step::Place);
                    }
                    gaps += usize::from(owner.is_some());
                    asked.push((Asked { read, persist, head_only, if_none_match: head.if_none_match }, owner));
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
        for (at, (one, owner)) in asked.iter().enumerate() {
            for ((next, owner), step) in ahead(&asked, at, [Step::User]) {
                if owner.is_none() {
                    desk.approach(next.read.user, None, step);
                }
            }
            match owner {
                None => answer(one, desk, out),
                Some(peer) => self.ask(one, *peer, desk, &mut shared.exchange, out),
            }
            self.finish(one.persist);
        }
        match stop {
            Stop::Full => {}
            Stop::Unfinished => return (at, Heads::Unfinished),
            Stop::Short => return (at, Heads::Short),
            Stop::Other(ask, head) => self.begin(ask, &head, at == bytes.len(), desk, out),
            Stop::Denied(denied, persist, head_only) => {
                reply::problem(&denied, persist, head_only, desk, &mut out.bytes);
                desk.answered(Route::None, denied.problem.code.status());
                self.finish(persist);
            }
        }
        (at, Heads::On)
    }

    /// Asks the owner of a read's user, for which a credit was taken.
    fn ask<D: Desk>(&self, asked: &Asked<'_>, peer: u32, desk: &D, exchange: &mut Exchange, out: &mut Out) {
        let mut parcel = exchange.parcel(Job::Read, self.ticket);
        (parcel.read, parcel.persist, parcel.head_only) = (asked.read, asked.persist, asked.head_only);
        (parcel.now, parcel.place) = (desk.now(), out.gap());
        parcel.if_none_match.extend_from_slice(asked.if_none_match.unwrap_or_default());
        exchange.send(peer, parcel);
    }

    /// What a request asks, if it is taken; else also whether the connection must end, because a body would follow.
    fn admit<D: Desk>(&self, head: &Head<'_>, desk: &D) -> Result<Ask, (Denied, bool)> {
        let bodiless = matches!(head.framing, Framing::None | Framing::Length(0));
        let ask = route(head).map_err(|denied| (denied, !bodiless))?;
        let limit = match ask {
            Ask::Entries => FEED_BYTES,
            Ask::Batch => BATCH_BYTES,
            Ask::Health | Ask::Ready | Ask::Info | Ask::Read(_) => 0,
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
        if let Some(code) = refused.filter(|_| !matches!(ask, Ask::Health | Ask::Ready | Ask::Info)) {
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
            reply::problem(&Problem::from(code).into(), persist, head_only, desk, &mut out.bytes);
            Status::ServiceUnavailable
        } else {
            match ask {
                Ask::Info => reply::info(persist, head_only, desk, &mut out.bytes),
                Ask::Ready => reply::word("ready", persist, head_only, desk, &mut out.bytes),
                _ => reply::word("ok", persist, head_only, desk, &mut out.bytes),
            }
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
                    reply::problem(&denied, persist, false, desk, &mut out.bytes);
                    desk.answered(Route::Entries, Status::ContentTooLarge);
                    self.drop_body(shared);
                    self.finish(persist);
                }
                _ => self.state = State::Asking(persist),
            }
        }
        used
    }

    /// Answers a batch, or asks the cores that own its users. Returns whether that could be done.
    fn ask_batch<D: Desk>(&mut self, persist: Persist, desk: &mut D, shared: &mut Shared, out: &mut Out) -> bool {
        let Shared { exchange, reads, .. } = shared;
        let refused = match batch::read(&self.body, reads) {
            Ok(()) if !desk.has_room() => Some(Code::Overloaded.into()),
            Ok(()) if reads.iter().all(|read| exchange.elsewhere(read.user).is_none()) => {
                let start = out.bytes.len();
                let stamp = reply::batch(reads, persist, desk, &mut out.bytes);
                out.stamp(start, stamp);
                desk.answered(Route::Batch, Status::Ok);
                None
            }
            Ok(()) => match Gather::begin(reads, self.ticket, desk, exchange) {
                Ok(gather) => {
                    self.state = State::Gathering(Box::new(gather), persist);
                    self.drop_body(shared);
                    return true;
                }
                Err(Short::OfCredit) => return false,
                Err(Short::OfPatience) => Some(Code::Overloaded.into()),
            },
            Err(problem) => Some(problem),
        };
        if let Some(problem) = refused {
            reply::problem(&problem.into(), persist, false, desk, &mut out.bytes);
            desk.answered(Route::Batch, problem.code.status());
        }
        self.drop_body(shared);
        self.finish(persist);
        true
    }

    /// Writes the last answer of this connection.
    fn refuse<D: Desk>(&mut self, problem: Problem, desk: &mut D, out: &mut Out) {
        reply::problem(&problem.into(), Persist::Close, false, desk, &mut out.bytes);
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

/// Answers a read of a user of this core's.
fn answer<D: Desk>(asked: &Asked<'_>, desk: &mut D, out: &mut Out) {
    let start = out.bytes.len();
    let (stamp, status) = reply::read(asked, desk.now(), desk, &mut out.bytes);
    out.stamp(start, stamp);
    desk.answered(Ask::Read(asked.read).route(), status);
}
