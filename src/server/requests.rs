//! From received bytes to requests: parses heads in place, collects bodies, and starts each
//! request.
//!
//! Requests are parsed in the receive buffer; only an unfinished request, or one that must wait, is
//! copied. Reads are parsed and left [pending](super::reads) until everything that the turn has
//! received is parsed. A request starts only after the POST before it on its connection is applied,
//! so a read sees all entries that were posted before it. Consecutive reads, however, may be at
//! their owners at the same time.

use super::body::{Body, Content, Received};
use super::budget::ConnectionLimits;
use super::connection::{Connection, Scattered, State};
use super::exchange::{Shortage, WantedCredit};
use super::feed::Feed;
use super::machine::Slot;
use super::progress::Progress;
use super::shared::Shared;
use super::topology::Location;
use crate::api::FEED_LINES;
use crate::api::problem::{Code, Problem};
use crate::api::reply::{self, persist};
use crate::api::route::{Denied, IdScratch, Operation, Route, route};
use crate::http::chunked::Decoder;
use crate::http::request::{Framing, Head, Method};
use crate::http::response::{self, Persist, Status};
use crate::http::{Refusal, head};
use crate::ledger::id::{USER_ID_BYTES, UserId};
use crate::ledger::memory::{Lookup, PrefetchStep};

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Step again: these bytes may contain more.
    Again,
    /// Answer the pending reads, then step again.
    Answer,
    /// Stop: [`Connection::progress`] says what is waited for.
    Stop,
}

/// A parsed head, accepted or refused.
enum Admitted<'a> {
    Accepted(Operation<'a>),
    /// Refused; the flag says that the connection must end, because a body would follow.
    Denied(Denied, bool),
}

impl Connection {
    /// Processes `bytes` until it must stop. Returns how many were consumed. `budget` is the number
    /// of requests that may still start in this turn.
    #[inline]
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        shared: &mut Shared,
    ) -> (usize, NextStep) {
        match &mut self.state {
            State::Head => self.heads(bytes, budget, shared),
            State::Body(_) => {
                let used = self.collect(bytes, shared);
                if matches!(self.state, State::Body(_)) {
                    self.progress = Progress::Unfinished;
                    return (used, NextStep::Stop);
                }
                (used, NextStep::Again)
            }
            // Large work begins when everything that the turn has received is known: requests that
            // already wait go first.
            State::Scattering(Scattered::Batch, ..) if !shared.may_apply => {
                self.progress = Progress::Ready;
                (0, NextStep::Stop)
            }
            State::Scattering(Scattered::Batch, None, _) if shared.answers.own.is_spent() => {
                self.progress = Progress::Ready;
                (0, NextStep::Stop)
            }
            State::Scattering(what, divided, persist) => {
                let persist = shared.life.persist(*persist, bytes.is_empty());
                let (what, divided) = (*what, divided.take());
                let asked = match what {
                    Scattered::Batch => self.ask_batch(divided, persist, shared),
                    Scattered::Info { .. } => self.ask_info(what, persist, shared),
                };
                if asked {
                    return (0, NextStep::Again);
                }
                self.progress = Progress::Blocked;
                (0, NextStep::Stop)
            }
            State::Gathering(_, scatter, _) if !scatter.is_whole() => {
                self.progress = Progress::Waiting;
                (0, NextStep::Stop)
            }
            State::Gathering(what, ..) => {
                let is_batch = *what == Scattered::Batch;
                let may_write =
                    shared.may_apply && !shared.answers.own.is_spent() && self.may_answer(shared);
                if is_batch && !may_write {
                    self.progress = Progress::Ready;
                    return (0, NextStep::Stop);
                }
                self.assemble(bytes.is_empty(), shared);
                (0, NextStep::Again)
            }
            State::Feeding(feed, _) => {
                if !shared.may_apply {
                    self.progress = Progress::Ready;
                    return (0, NextStep::Stop);
                }
                let connection = u64::from(self.generation) << 32 | u64::from(self.slot);
                self.progress = feed.step(&self.body, connection, shared);
                self.wanted = feed.wanted.take();
                if self.progress != Progress::Done {
                    return (0, NextStep::Stop);
                }
                self.answer_feed(bytes.is_empty(), shared);
                (0, NextStep::Again)
            }
            State::Finishing | State::Lingering | State::Closing => (bytes.len(), NextStep::Stop),
        }
    }

    /// Parses heads as long as they are complete plain reads, then handles the head that ended
    /// this.
    fn heads(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        shared: &mut Shared,
    ) -> (usize, NextStep) {
        let ConnectionLimits { gaps, pending_reads, unsent_bytes } =
            shared.answers.connection_limits(self.is_heavy);
        let mut at = 0;
        loop {
            if at == bytes.len() {
                self.progress = Progress::Idle;
                return (at, NextStep::Stop);
            }
            if self.answers.gaps() + self.pending_remote >= gaps || self.heavy_reads > 0 {
                self.progress = Progress::Waiting;
                return (at, if self.pending > 0 { NextStep::Answer } else { NextStep::Stop });
            }
            let has_turn = !self.is_heavy || shared.may_apply && !shared.answers.own.is_spent();
            if *budget == 0 || self.answers.bytes.len() > unsent_bytes || !has_turn {
                self.progress = Progress::Ready;
                return (at, NextStep::Stop);
            }
            if self.pending >= pending_reads {
                return (at, NextStep::Answer);
            }
            let (mut head, mut len) = match head::parse(&bytes[at..], &mut self.scanned) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => return (at, self.await_more()),
                Err(refusal) => return self.refuse_head(refusal, bytes, at, shared),
            };
            if head.framing == Framing::Chunked && !head.method.takes_content() {
                match self.skip_empty_body(&mut head, &bytes[at + len..], shared) {
                    Ok(Some(body)) => len += body,
                    Ok(None) => return (at, self.await_more()),
                    Err(refusal) => return self.refuse_head(refusal, bytes, at, shared),
                }
            }
            self.scanned = 0;
            let mut scratch = [0; USER_ID_BYTES];
            let admitted = Self::admit(&head, &mut scratch, shared);
            let Admitted::Accepted(Operation::Read(read)) = admitted else {
                if self.pending > 0 {
                    return (at, self.parse_again());
                }
                if self.waits_for_reads(&admitted) {
                    return (at, NextStep::Stop);
                }
                *budget -= 1;
                self.start(admitted, &head, at + len == bytes.len(), shared);
                return (at + len, NextStep::Again);
            };
            let persist = shared.life.persist(persist(&head), at + len == bytes.len());
            let head_only = head.method == Method::Head;
            let owner = shared.topology.owner(read.user);
            match self.begin_lookup(owner, read.user, shared) {
                Ok(()) => {}
                Err(Shortage::Credit) => {
                    self.progress = Progress::Blocked;
                    return (at, NextStep::Stop);
                }
                Err(_) if self.pending > 0 => return (at, self.parse_again()),
                Err(_) => {
                    *budget -= 1;
                    let denied = Problem::from(Code::Overloaded).into();
                    self.deny(&denied, persist, head_only, shared);
                    return (at + len, NextStep::Again);
                }
            }
            at += len;
            *budget -= 1;
            self.pending += 1;
            shared.pending.push((self.slot, owner), read, (persist, head_only), head.conditions);
            if persist == Persist::Close {
                // Later input is ignored.
                return (at, NextStep::Answer);
            }
        }
    }

    /// The current head, or the empty body behind it, is unfinished.
    const fn await_more(&mut self) -> NextStep {
        self.progress = Progress::Unfinished;
        NextStep::Stop
    }

    /// Refuses the request at `at`, once the reads before it are answered.
    #[cold]
    fn refuse_head(
        &mut self,
        refusal: Refusal,
        bytes: &[u8],
        at: usize,
        shared: &mut Shared,
    ) -> (usize, NextStep) {
        if self.pending > 0 {
            return (at, self.parse_again());
        }
        self.scanned = 0;
        let head_only = head::is_head_request(&bytes[at..]);
        self.refuse(Code::from(refusal).into(), head_only, shared);
        (bytes.len(), NextStep::Stop)
    }

    /// Takes the empty chunked body of a request without content, which some gateways send: its
    /// head then has no body. Returns the bytes that it takes, or `None` while it is unfinished. A
    /// body with content stays announced.
    #[cold]
    fn skip_empty_body(
        &mut self,
        head: &mut Head<'_>,
        rest: &[u8],
        shared: &mut Shared,
    ) -> Result<Option<usize>, Refusal> {
        match Decoder::with_limit(0).decode(rest, |_| {}) {
            Ok(body) if body.done => {
                self.is_continued = false;
                head.framing = Framing::None;
                Ok(Some(body.consumed))
            }
            Ok(_) => {
                let waits = head.expect_continue && rest.is_empty() && self.pending == 0;
                if waits && !std::mem::replace(&mut self.is_continued, true) {
                    response::write_continue(&mut self.answers.bytes);
                    self.touch(shared);
                }
                Ok(None)
            }
            Err(Refusal::BodyTooLarge) => Ok(Some(0)),
            Err(refusal) => Err(refusal),
        }
    }

    /// The current head must wait until the reads before it are answered; it is parsed again then.
    const fn parse_again(&mut self) -> NextStep {
        self.scanned = 0;
        NextStep::Answer
    }

    /// Whether a feed has to wait for the reads before it: one that another core answers, maybe in
    /// steps, must not show its entries.
    fn waits_for_reads(&mut self, admitted: &Admitted<'_>) -> bool {
        let is_feed = matches!(admitted, Admitted::Accepted(Operation::Entries { .. }));
        let waits = is_feed && self.answers.gaps() > 0;
        if waits {
            self.progress = Progress::Waiting;
        }
        waits
    }

    /// Prefetches the user of a read, or takes a credit at the core that owns it.
    #[inline]
    fn begin_lookup(
        &mut self,
        owner: Location,
        user: UserId<'_>,
        shared: &mut Shared,
    ) -> Result<(), Shortage> {
        match owner {
            Location::Local(slice) => {
                let (step, lookup) = (PrefetchStep::Index, Lookup::default());
                shared.owners[slice].prefetch(user, None, step, &lookup);
            }
            Location::Remote { core, .. } => {
                self.take_credit(core, shared)?;
                self.pending_remote += 1;
            }
        }
        Ok(())
    }

    #[inline]
    fn take_credit(&mut self, core: u32, shared: &mut Shared) -> Result<(), Shortage> {
        let is_slow = self.is_heavy;
        let taken = if !shared.may_apply && shared.exchange.is_awaited(core) {
            // It is resumed later in this turn, after those that wait.
            Err(Shortage::Credit)
        } else if is_slow {
            shared.exchange.take_credit_for_slow_request(core)
        } else {
            shared.exchange.take_credit(core)
        };
        if taken == Err(Shortage::Credit) {
            self.wanted = Some(WantedCredit { core, is_slow });
        }
        taken
    }

    /// Checks whether a request is accepted.
    #[inline]
    fn admit<'a>(head: &Head<'a>, scratch: &'a mut IdScratch, shared: &Shared) -> Admitted<'a> {
        let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
        let operation = match route(head, scratch) {
            Ok(operation) => operation,
            Err(denied) => return Admitted::Denied(denied, has_body),
        };
        let limit = match operation {
            Operation::Batch => Content::Batch.limit(),
            Operation::Entries { late_accepted } => Content::Feed { late_accepted }.limit(),
            _ => 0,
        };
        if limit > 0 && head.framing == Framing::None {
            return Admitted::Denied(Problem::from(Code::LengthRequired).into(), false);
        }
        let is_too_large = match head.framing {
            Framing::Chunked => limit == 0,
            Framing::Length(length) => length > limit as u64,
            Framing::None => false,
        };
        if is_too_large {
            return Admitted::Denied(Problem::from(Code::ContentTooLarge).into(), true);
        }
        let is_about_server = matches!(
            operation,
            Operation::Health | Operation::Ready | Operation::Info | Operation::Options { .. }
        );
        match shared.life.refusal() {
            Some(code) if !is_about_server => Admitted::Denied(Problem::from(code).into(), true),
            _ => Admitted::Accepted(operation),
        }
    }

    /// Starts a request that is not a plain read, or refuses it.
    fn start(
        &mut self,
        admitted: Admitted<'_>,
        head: &Head<'_>,
        is_last: bool,
        shared: &mut Shared,
    ) {
        let persist = shared.life.persist(persist(head), is_last);
        let head_only = head.method == Method::Head;
        let operation = match admitted {
            Admitted::Accepted(operation) => operation,
            Admitted::Denied(denied, ends) => {
                let persist = if ends { Persist::Close } else { persist };
                return self.deny(&denied, persist, head_only, shared);
            }
        };
        match operation {
            Operation::Batch => self.await_body(Content::Batch, persist, head, is_last, shared),
            Operation::Entries { late_accepted } => {
                let content = Content::Feed { late_accepted };
                self.await_body(content, persist, head, is_last, shared);
            }
            Operation::Options { allow } => {
                let out = &mut self.answers.bytes;
                response::write_no_content(out, &shared.date, allow, persist);
                shared.count(Route::None, Status::NoContent);
                self.finish(persist);
            }
            Operation::Info => {
                self.state = State::Scattering(Scattered::Info { head_only }, None, persist);
            }
            Operation::Ready => match shared.life.unreadiness() {
                Some(code) => {
                    let denied = Problem::from(code).into();
                    reply::problem(
                        &denied,
                        persist,
                        head_only,
                        &shared.date,
                        &mut self.answers.bytes,
                    );
                    shared.count(Route::Ready, code.status());
                    self.finish(persist);
                }
                None => self.answer_plain_text("ready", Route::Ready, persist, head_only, shared),
            },
            Operation::Health | Operation::Read(_) => {
                self.answer_plain_text("ok", Route::Health, persist, head_only, shared);
            }
        }
    }

    /// Begins to receive a body.
    fn await_body(
        &mut self,
        content: Content,
        persist: Persist,
        head: &Head<'_>,
        is_last: bool,
        shared: &mut Shared,
    ) {
        if head.expect_continue && is_last {
            response::write_continue(&mut self.answers.bytes);
            self.touch(shared);
        }
        let now_ms = shared.now_ms();
        let body = Body::new(content, persist, head.framing, now_ms);
        self.deadline_ms = body.deadline_ms(now_ms, shared.limits.request_ms);
        self.state = State::Body(body);
    }

    fn answer_plain_text(
        &mut self,
        word: &str,
        route: Route,
        persist: Persist,
        head_only: bool,
        shared: &mut Shared,
    ) {
        reply::plain_text(word, persist, head_only, &shared.date, &mut self.answers.bytes);
        shared.count(route, Status::Ok);
        self.finish(persist);
    }

    pub(super) fn deny(
        &mut self,
        denied: &Denied,
        persist: Persist,
        head_only: bool,
        shared: &mut Shared,
    ) {
        reply::problem(denied, persist, head_only, &shared.date, &mut self.answers.bytes);
        shared.count(Route::None, denied.problem.code.status());
        self.finish(persist);
    }

    // Bodies.

    /// Collects received bytes of a body. Returns how many were consumed.
    fn collect(&mut self, bytes: &[u8], shared: &mut Shared) -> usize {
        let State::Body(body) = &mut self.state else { return 0 };
        if self.body.capacity() == 0 {
            self.body = shared.spare_body();
        }
        let before = self.body.len();
        let taken = body.receive(bytes, &mut self.body);
        let after = self.body.len();
        if !bytes.is_empty() {
            self.deadline_ms = body.deadline_ms(shared.now_ms(), shared.limits.request_ms);
        }
        shared.bodies.reserve(after.saturating_sub(before));
        shared.bodies.release(before.saturating_sub(after));
        let refused = match taken {
            Err(code) => Some(code),
            Ok(taken) if !taken.is_whole && !shared.bodies.fits(self.body.len()) => {
                Some(Code::Overloaded)
            }
            Ok(_) => None,
        };
        if let Some(code) = refused {
            self.drop_body(shared);
            self.refuse(code.into(), false, shared);
            return bytes.len();
        }
        let Received { used, is_whole } = taken.unwrap_or_default();
        if is_whole && let State::Body(mut body) = std::mem::take(&mut self.state) {
            body.persist = shared.life.persist(body.persist, used == bytes.len());
            self.start_body_request(body, shared);
        }
        used
    }

    /// Starts the request of a complete body.
    fn start_body_request(&mut self, mut body: Body, shared: &mut Shared) {
        let persist = body.persist;
        let Content::Feed { late_accepted } = body.content else {
            self.state = State::Scattering(Scattered::Batch, None, persist);
            return;
        };
        let before = self.body.len();
        let lines = body.end_lines(&mut self.body);
        shared.bodies.release(before - self.body.len());
        let code = if lines > FEED_LINES {
            Code::TooManyItems
        } else if !shared.answers.reserve_for_feed(Feed::longest(lines)) {
            Code::Overloaded
        } else {
            self.state = State::Feeding(Box::new(Feed::new(lines, late_accepted)), persist);
            return;
        };
        reply::problem(
            &Problem::from(code).into(),
            persist,
            false,
            &shared.date,
            &mut self.answers.bytes,
        );
        shared.count(Route::Entries, code.status());
        self.drop_body(shared);
        self.finish(persist);
    }

    /// Answers a feed, all of whose entries have verdicts. `is_last` says that nothing was received
    /// behind it.
    fn answer_feed(&mut self, is_last: bool, shared: &mut Shared) {
        let State::Feeding(feed, persist) = std::mem::take(&mut self.state) else { return };
        let persist = shared.life.persist(persist, is_last);
        let (start, status) = (self.answers.bytes.len(), feed.verdicts.status());
        shared.answers.release(feed.reserved());
        let body = reply::begin_json(status, persist, 2, &shared.date, &mut self.answers.bytes);
        feed.write(&mut self.answers.bytes);
        body.end(&mut self.answers.bytes);
        shared.answers.wrote(self.answers.bytes.len() - start);
        self.mark(start, &feed.positions);
        shared.count(Route::Entries, status);
        self.drop_body(shared);
        self.finish(persist);
    }
}

const _: () = assert!(size_of::<Slot>() == 4, "a connection has a slot and a generation");
