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

use super::desk::{Desk, Serving, Step, Way, ahead};
use super::exchange::{self, Exchange, Short};
use super::feed::{self, Feed, Scratches, Went};
use super::gather::Gather;
use super::out::{Out, Stamp};
use super::parcel::{Job, Parcel};
use super::problem::{Code, Problem};
use super::read::Read;
use super::reply::{self, Asked, persist};
use super::room::{LARGE_BYTES, Pace};
use super::route::{Ask, Denied, Route, route};
use super::{BATCH_BYTES, FEED_BYTES, FEED_LINES, REQUESTS_PER_TURN, TOGETHER, batch};
use crate::http::chunked::Decoder;
use crate::http::head;
use crate::http::request::{Framing, Head, Method};
use crate::http::response::{self, Persist, Status};
use smallvec::SmallVec;

/// Bytes of bodies that are being received on one core, together, at most.
pub const BODIES_BYTES: usize = 256 << 20;
/// The last quarter of that is for bodies up to this size: who sends large ones slowly holds up nobody else.
const SMALL_BODY_BYTES: usize = 256 << 10;
/// What a connection's buffer for requests whose turn has not come may keep when it is empty: each of thousands has one.
const BURST_BYTES: usize = 16 << 10;
/// Buffers of finished bodies that a core keeps for the next ones.
const SPARE_BODIES: usize = 8;
/// A larger buffer goes back to the allocator.
const SPARE_BYTES: usize = 1 << 20;
/// Batches over several cores whose memory is kept for the next ones.
const SPARE_GATHERS: usize = 64;

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
#[derive(Debug)]
pub struct Shared {
    /// The other cores.
    pub exchange: Exchange,
    reads: Vec<Read>,
    scratches: Scratches,
    spare: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "a connection has one in its state, which is small")]
    gathers: Vec<Box<Gather>>,
    /// Bytes of all bodies that are being received or applied.
    body_bytes: usize,
    /// How many there may be; beyond that, bodies that are not whole are refused.
    most_body_bytes: usize,
}

impl Shared {
    /// What connections share on a core that reaches others through `exchange`.
    pub fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            reads: Vec::new(),
            scratches: Scratches::default(),
            spare: Vec::new(),
            gathers: Vec::new(),
            body_bytes: 0,
            most_body_bytes: BODIES_BYTES,
        }
    }

    /// The same, with other bodies than [`BODIES_BYTES`].
    pub fn with_bodies(self, most_body_bytes: usize) -> Self {
        Self { most_body_bytes, ..self }
    }
}

impl Shared {
    /// What all bodies may be together so that one of this size goes on.
    const fn room_for(&self, body_bytes: usize) -> usize {
        if body_bytes <= SMALL_BODY_BYTES { self.most_body_bytes } else { self.most_body_bytes / 4 * 3 }
    }

    /// A batch is over.
    fn keep<D: Desk>(&mut self, mut gather: Box<Gather>, desk: &mut D) {
        gather.end(desk, &mut self.exchange);
        if self.gathers.len() < SPARE_GATHERS {
            self.gathers.push(gather);
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(Exchange::default())
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
    /// It is busy, and makes no headway before the log, or another core, has.
    blocked: bool,
    /// Its last read was answered at length, or would have been: it waits for a turn that has time for that.
    heavy: bool,
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
        // The buffer of a large burst is not kept for the next one.
        if !kept.is_empty() || kept.capacity() <= BURST_BYTES {
            self.kept = kept;
        }
        self.next()
    }

    /// Something has come back from the core of slice `peer`.
    pub fn take_back<D: Desk>(
        &mut self,
        peer: u32,
        mut parcel: Box<Parcel>,
        desk: &mut D,
        shared: &mut Shared,
        out: &mut Out,
    ) -> Next {
        match (parcel.job, &mut self.state) {
            (Job::Read, _) => {
                let cargo = parcel.cargo();
                self.heavy = cargo > 0 || parcel.status == Status::ServiceUnavailable;
                if cargo > 0 {
                    desk.unpack(cargo);
                    desk.room_mut().used_turn(cargo);
                    if !desk.room().takes(cargo) {
                        exchange::refuse_read(&mut parcel, desk);
                    }
                }
                out.fill(parcel.place, &parcel.bytes);
                desk.room_mut().wrote(parcel.bytes.len());
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

    /// Whether it is busy in vain: it makes no headway before the log, or another core, has.
    pub const fn is_blocked(&self) -> bool {
        self.busy && self.blocked
    }

    /// Bytes that wait in this connection, not yet part of a body.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// The connection is gone: gives back what it holds of the core's.
    pub fn release<D: Desk>(&mut self, desk: &mut D, shared: &mut Shared) {
        self.drop_body(shared);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Gathering(gather, _) => shared.keep(gather, desk),
            State::Feeding(feed, _) => desk.room_mut().redeem(feed.promised()),
            State::Head | State::Body(_) | State::Asking(_) | State::Closed => {}
        }
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
        (self.busy, self.away, self.blocked) = (false, false, false);
        loop {
            match &mut self.state {
                State::Closed => return bytes.len(),
                State::Head => {
                    if at == bytes.len() {
                        self.grace = false;
                        return at;
                    }
                    let Pace { gaps, mark, .. } = desk.room().pace(self.heavy);
                    self.away = out.gaps() >= gaps;
                    let has_turn = !self.heavy || desk.room().has_turn();
                    self.busy = !self.away && (budget == 0 || out.bytes.len() > mark || !has_turn);
                    if self.away || self.busy {
                        return at;
                    }
                    let (used, went) = self.heads(&bytes[at..], &mut budget, desk, shared, out);
                    at += used;
                    match went {
                        Heads::On => {}
                        Heads::Unfinished => return at,
                        Heads::Short => {
                            (self.busy, self.blocked) = (true, true);
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
                        (self.busy, self.blocked) = (true, desk.room().has_turn());
                        return at;
                    }
                }
                State::Gathering(gather, _) if !gather.is_whole() => {
                    self.away = true;
                    return at;
                }
                State::Gathering(..) => self.put_together(desk, shared, out),
                State::Feeding(feed, persist) => {
                    let most = shared.exchange.entries_left(desk.entries_left());
                    let Shared { exchange, scratches, .. } = shared;
                    match feed.step(&self.body, most, self.ticket, desk, exchange, scratches) {
                        went @ (Went::On | Went::Short) => {
                            self.busy = true;
                            self.blocked = went == Went::Short || (most == 0 && shared.exchange.is_log_held());
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
                    desk.room_mut().redeem(feed.promised());
                    reply::json(status, persist, 2, desk, |out| feed.write(out), &mut out.bytes);
                    desk.room_mut().wrote(out.bytes.len() - start);
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
        let Pace { gaps: most_gaps, together, .. } = desk.room().pace(self.heavy);
        let stop = loop {
            if asked.len() == together || *budget == 0 || gaps >= most_gaps {
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
                let credit = if self.heavy { Exchange::credit_for_large } else { Exchange::credit };
                if let Some(peer) = owner
                    && let Err(short) = credit(&mut shared.exchange, peer)
                {
                    if short == Short::OfCredit {
                        break Stop::Short;
                    }
                    (at, *budget) = (at + len, *budget - 1);
                    break Stop::Denied(Problem::from(Code::Overloaded).into(), persist, head_only);
                }
            }
            at += len;
            *budget -= 1;
            match admitted {
                Ok(Ask::Read(read)) => {
                    if owner.is_none() {
                        desk.approach(read.user, None, Step::Place, &Way::default());
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
                    desk.approach(next.read.user, None, step, &Way::default());
                }
            }
            match owner {
                None => self.heavy = answer(one, desk, out),
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
            Ok((_, false)) if shared.body_bytes > shared.room_for(self.body.len()) => Some(Code::Overloaded),
            Ok(_) => None,
        };
        if let Some(code) = refused {
            self.drop_body(shared);
            self.refuse(code.into(), desk, out);
            return bytes.len();
        }
        let (used, done) = taken.unwrap_or_default();
        if done {
            if ask != Ask::Entries {
                self.state = State::Asking(persist);
                return used;
            }
            let lines = feed::lines(&self.body);
            let refused = if lines > FEED_LINES {
                Code::TooManyItems
            } else if !desk.room_mut().promise(Feed::longest(lines)) {
                Code::Overloaded
            } else {
                self.state = State::Feeding(Box::new(Feed::new(lines)), persist);
                return used;
            };
            reply::problem(&Problem::at(refused, "").into(), persist, false, desk, &mut out.bytes);
            desk.answered(Route::Entries, refused.status());
            self.drop_body(shared);
            self.finish(persist);
        }
        used
    }

    /// Answers a batch, or asks the cores that own its users. Returns whether that could be done.
    fn ask_batch<D: Desk>(&mut self, persist: Persist, desk: &mut D, shared: &mut Shared, out: &mut Out) -> bool {
        if !desk.room().has_turn() {
            return false;
        }
        let Shared { exchange, reads, gathers, .. } = shared;
        let refused = match batch::read(&self.body, reads) {
            Ok(()) if reads.iter().all(|read| exchange.elsewhere(read.user).is_none()) => {
                let start = out.bytes.len();
                let room = desk.room().left().max(LARGE_BYTES);
                match reply::batch(reads, persist, room, desk, &mut out.bytes) {
                    Some(stamp) => {
                        let bytes = out.bytes.len() - start;
                        desk.room_mut().wrote(bytes);
                        desk.room_mut().used_turn(bytes);
                        out.stamp(start, stamp);
                        desk.answered(Route::Batch, Status::Ok);
                        None
                    }
                    None => Some(Code::Overloaded.into()),
                }
            }
            Ok(()) => {
                let mut gather = gathers.pop().unwrap_or_default();
                match gather.begin(reads, self.ticket, desk, exchange) {
                    Ok(()) => {
                        self.state = State::Gathering(gather, persist);
                        self.drop_body(shared);
                        return true;
                    }
                    Err(short) => {
                        shared.keep(gather, desk);
                        if short == Short::OfCredit {
                            return false;
                        }
                        Some(Code::Overloaded.into())
                    }
                }
            }
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

    /// All parts of a batch are here: answers it.
    fn put_together<D: Desk>(&mut self, desk: &mut D, shared: &mut Shared, out: &mut Out) {
        let State::Gathering(mut gather, persist) = std::mem::replace(&mut self.state, State::Head) else { return };
        let start = out.bytes.len();
        match gather.write(persist, desk, &mut out.bytes) {
            Some(stamp) => {
                out.stamp(start, stamp);
                desk.answered(Route::Batch, Status::Ok);
            }
            None => {
                let problem = Problem::from(Code::Overloaded);
                reply::problem(&problem.into(), persist, false, desk, &mut out.bytes);
                desk.answered(Route::Batch, problem.code.status());
            }
        }
        shared.keep(gather, desk);
        self.finish(persist);
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

/// Answers a read of a user of this core's. Returns whether the answer is a large one, even if there was no room for it.
fn answer<D: Desk>(asked: &Asked<'_>, desk: &mut D, out: &mut Out) -> bool {
    let start = out.bytes.len();
    let (mut stamp, mut status) = reply::read(asked, desk.now(), desk, &mut out.bytes);
    let mut bytes = out.bytes.len() - start;
    let is_large = bytes > LARGE_BYTES;
    desk.room_mut().used_turn(bytes);
    if !desk.room().takes(bytes) {
        let problem = Problem::from(Code::Overloaded);
        out.bytes.truncate(start);
        reply::problem(&problem.into(), asked.persist, asked.head_only, desk, &mut out.bytes);
        (stamp, status, bytes) = (Stamp::default(), problem.code.status(), out.bytes.len() - start);
    }
    desk.room_mut().wrote(bytes);
    out.stamp(start, stamp);
    desk.answered(Ask::Read(asked.read).route(), status);
    is_large
}
