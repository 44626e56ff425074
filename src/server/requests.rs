//! From received bytes to requests: parses heads in place, collects bodies, and starts each
//! request.
//!
//! Requests are parsed in the receive buffer; only an unfinished request, or one that must wait, is
//! copied. Reads are parsed and left [pending](super::reads) until everything that the turn has
//! received is parsed. A request starts only after the POST before it on its connection is applied,
//! so a read sees all entries that were posted before it. Consecutive reads, however, may be at
//! their owners at the same time.

use super::answers::Position;
use super::body::{self, Body, Taken};
use super::budget::Pace;
use super::connection::{Connection, Scattered, State};
use super::exchange::Shortage;
use super::feed::{self, Feed};
use super::fragments::Scatter;
use super::limits::LARGE_BYTES;
use super::machine::Slot;
use super::message::show;
use super::progress::Progress;
use super::shared::Shared;
use super::topology::Location;
use crate::api::problem::{Code, Problem};
use crate::api::read::Read;
use crate::api::reply::{self, persist};
use crate::api::route::{Ask, Denied, Route, route};
use crate::api::{FEED_LINES, batch};
use crate::http::head;
use crate::http::request::{Framing, Head, Method};
use crate::http::response::{self, Persist, Status};
use crate::ledger::memory::{Lookup, Step, ahead};
use smallvec::SmallVec;

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Step again: these bytes may contain more.
    Again,
    /// Answer the pending reads, then step again.
    Answer,
    /// Stop: [`Connection::progress`] says what is waited for.
    Stop,
}

/// A parsed head, accepted or refused.
enum Admitted {
    Ask(Ask),
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
    ) -> (usize, Then) {
        match &mut self.state {
            State::Head => self.heads(bytes, budget, shared),
            State::Body(_) => {
                let used = self.collect(bytes, shared);
                if matches!(self.state, State::Body(_)) {
                    self.progress = Progress::Unfinished;
                    return (used, Then::Stop);
                }
                (used, Then::Again)
            }
            // Large work begins when all that the turn has received is known: who waits already
            // goes first.
            State::Asking(Scattered::Batch, _) if !shared.may_apply => {
                self.progress = Progress::Ready;
                (0, Then::Stop)
            }
            State::Asking(what, persist) => {
                let (what, persist) = (*what, *persist);
                let (asked, blocked) = match what {
                    Scattered::Batch => {
                        (self.ask_batch(persist, shared), !shared.answers.own.is_spent())
                    }
                    Scattered::Info { .. } => (self.ask_info(what, persist, shared), true),
                };
                if asked {
                    return (0, Then::Again);
                }
                self.progress = if blocked { Progress::Blocked } else { Progress::Ready };
                (0, Then::Stop)
            }
            State::Gathering(_, scatter, _) if !scatter.is_whole() => {
                self.progress = Progress::Waiting;
                (0, Then::Stop)
            }
            State::Gathering(Scattered::Batch, ..)
                if !shared.may_apply || shared.answers.own.is_spent() =>
            {
                self.progress = Progress::Ready;
                (0, Then::Stop)
            }
            State::Gathering(..) => {
                self.assemble(shared);
                (0, Then::Again)
            }
            State::Feeding(feed, _) => {
                if !shared.may_apply {
                    self.progress = Progress::Ready;
                    return (0, Then::Stop);
                }
                let connection = u64::from(self.generation) << 32 | u64::from(self.slot);
                self.progress = feed.step(&self.body, connection, shared);
                if self.progress != Progress::Done {
                    return (0, Then::Stop);
                }
                self.answer_feed(shared);
                (0, Then::Again)
            }
            State::Finishing | State::Lingering | State::Closing => (bytes.len(), Then::Stop),
        }
    }

    /// Parses heads as long as they are complete plain reads, then handles the head that ended
    /// this.
    fn heads(&mut self, bytes: &[u8], budget: &mut usize, shared: &mut Shared) -> (usize, Then) {
        let Pace { gaps, together, mark } = shared.answers.pace(self.is_heavy);
        let mut at = 0;
        loop {
            if at == bytes.len() {
                self.is_exempt &= self.pending > 0;
                self.progress = Progress::Idle;
                return (at, Then::Stop);
            }
            if self.answers.gaps() + self.pending_remote >= gaps {
                self.progress = Progress::Waiting;
                return (at, if self.pending > 0 { Then::Answer } else { Then::Stop });
            }
            let has_turn = !self.is_heavy || shared.may_apply && !shared.answers.own.is_spent();
            if *budget == 0 || self.answers.bytes.len() > mark || !has_turn {
                self.progress = Progress::Ready;
                return (at, Then::Stop);
            }
            if self.pending >= together {
                return (at, Then::Answer);
            }
            let (head, len) = match head::parse(&bytes[at..], &mut self.seen) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    self.progress = Progress::Unfinished;
                    return (at, Then::Stop);
                }
                Err(_) if self.pending > 0 => return (at, self.parse_again()),
                Err(refusal) => {
                    self.seen = 0;
                    self.refuse(Problem::from(Code::from(refusal)), shared);
                    return (bytes.len(), Then::Stop);
                }
            };
            self.seen = 0;
            let admitted = self.admit(&head, shared);
            let Admitted::Ask(Ask::Read(read)) = admitted else {
                if self.pending > 0 {
                    return (at, self.parse_again());
                }
                *budget -= 1;
                self.start(admitted, &head, at + len == bytes.len(), shared);
                return (at + len, Then::Again);
            };
            let (persist, head_only) = (persist(&head), head.method == Method::Head);
            let owner = shared.topology.owner(read.user);
            match owner {
                Location::Local(place) => {
                    shared.owners[place].prefetch(read.user, None, Step::Place, &Lookup::default());
                }
                Location::Remote { core, .. } => match self.take_credit(core, shared) {
                    Ok(()) => self.pending_remote += 1,
                    Err(Shortage::Credit) => {
                        self.progress = Progress::Blocked;
                        return (at, Then::Stop);
                    }
                    Err(_) if self.pending > 0 => return (at, self.parse_again()),
                    Err(_) => {
                        *budget -= 1;
                        let denied = Problem::from(Code::Overloaded).into();
                        self.deny(&denied, persist, head_only, shared);
                        return (at + len, Then::Again);
                    }
                },
            }
            at += len;
            *budget -= 1;
            self.pending += 1;
            shared.pending.push((self.slot, owner), read, (persist, head_only), head.if_none_match);
            if persist == Persist::Close {
                // Input behind it is ignored.
                return (at, Then::Answer);
            }
        }
    }

    /// The current head must wait until the reads before it are answered; it is parsed again then.
    const fn parse_again(&mut self) -> Then {
        self.seen = 0;
        Then::Answer
    }

    #[inline]
    fn take_credit(&self, core: u32, shared: &mut Shared) -> Result<(), Shortage> {
        if !shared.may_apply && shared.exchange.is_awaited(core) {
            // It is resumed later in this turn, behind those that wait.
            return Err(Shortage::Credit);
        }
        if self.is_heavy {
            shared.exchange.take_credit_for_slow_request(core)
        } else {
            shared.exchange.take_credit(core)
        }
    }

    /// Checks whether a request is accepted.
    #[inline]
    fn admit(&self, head: &Head<'_>, shared: &Shared) -> Admitted {
        let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
        let ask = match route(head) {
            Ok(ask) => ask,
            Err(denied) => return Admitted::Denied(denied, has_body),
        };
        let limit = body::limit(ask);
        let is_too_large = match head.framing {
            Framing::Chunked => limit == 0,
            Framing::Length(length) => length > limit as u64,
            Framing::None => false,
        };
        if is_too_large {
            return Admitted::Denied(Problem::from(Code::ContentTooLarge).into(), true);
        }
        let is_about_server = matches!(ask, Ask::Health | Ask::Ready | Ask::Info);
        match shared.life.refusal().filter(|&code| code != Code::Draining || !self.is_exempt) {
            Some(code) if !is_about_server => Admitted::Denied(Problem::from(code).into(), true),
            _ => Admitted::Ask(ask),
        }
    }

    /// Starts a request that is not a plain read, or refuses it.
    fn start(&mut self, admitted: Admitted, head: &Head<'_>, is_last: bool, shared: &mut Shared) {
        let (persist, head_only) = (persist(head), head.method == Method::Head);
        let ask = match admitted {
            Admitted::Ask(ask) => ask,
            Admitted::Denied(denied, ends) => {
                let persist = if ends { Persist::Close } else { persist };
                return self.deny(&denied, persist, head_only, shared);
            }
        };
        match ask {
            Ask::Entries | Ask::Batch => {
                if head.expect_continue && is_last {
                    response::write_continue(&mut self.answers.bytes);
                    self.touch(shared);
                }
                self.state = State::Body(Body::new(ask, persist, head.framing));
            }
            Ask::Info => self.state = State::Asking(Scattered::Info { head_only }, persist),
            Ask::Ready => match shared.life.refusal() {
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
                None => self.answer_word("ready", Route::Ready, persist, head_only, shared),
            },
            Ask::Health | Ask::Read(_) => {
                self.answer_word("ok", Route::Health, persist, head_only, shared);
            }
        }
    }

    fn answer_word(
        &mut self,
        word: &str,
        route: Route,
        persist: Persist,
        head_only: bool,
        shared: &mut Shared,
    ) {
        reply::word(word, persist, head_only, &shared.date, &mut self.answers.bytes);
        shared.count(route, Status::Ok);
        self.finish(persist);
    }

    fn deny(&mut self, denied: &Denied, persist: Persist, head_only: bool, shared: &mut Shared) {
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
        let (before, ask, persist) = (self.body.len(), body.ask, body.persist);
        let taken = body.receive(bytes, &mut self.body);
        shared.bodies.reserve(self.body.len() - before);
        let refused = match taken {
            Err(code) => Some(code),
            Ok(taken) if !taken.is_whole && !shared.bodies.fits(self.body.len()) => {
                Some(Code::Overloaded)
            }
            Ok(_) => None,
        };
        if let Some(code) = refused {
            self.drop_body(shared);
            self.refuse(code.into(), shared);
            return bytes.len();
        }
        let Taken { used, is_whole } = taken.unwrap_or_default();
        if is_whole {
            self.is_whole(ask, persist, shared);
        }
        used
    }

    /// Starts the request of a complete body.
    fn is_whole(&mut self, ask: Ask, persist: Persist, shared: &mut Shared) {
        if ask != Ask::Entries {
            self.state = State::Asking(Scattered::Batch, persist);
            return;
        }
        let lines = feed::lines(&self.body);
        let code = if lines > FEED_LINES {
            Code::TooManyItems
        } else if !shared.answers.reserve_for_feed(Feed::longest(lines)) {
            Code::Overloaded
        } else {
            self.state = State::Feeding(Box::new(Feed::new(lines)), persist);
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

    /// Answers a feed, all of whose entries have verdicts.
    fn answer_feed(&mut self, shared: &mut Shared) {
        let State::Feeding(feed, persist) = std::mem::take(&mut self.state) else { return };
        let (start, status) = (self.answers.bytes.len(), feed.verdicts.status());
        shared.answers.release(feed.reserved());
        let body = reply::begin_json(status, persist, 2, &shared.date, &mut self.answers.bytes);
        feed.write(&mut self.answers.bytes);
        body.end(&mut self.answers.bytes);
        shared.answers.wrote(self.answers.bytes.len() - start);
        self.mark(start, &feed.shows);
        shared.count(Route::Entries, status);
        self.drop_body(shared);
        self.finish(persist);
    }

    // Batches and info requests: answered by several cores.

    /// Answers a batch, or sends it to the cores that own its users. Returns whether either was
    /// possible now.
    fn ask_batch(&mut self, persist: Persist, shared: &mut Shared) -> bool {
        if shared.answers.own.is_spent() {
            return false;
        }
        let mut reads = std::mem::take(&mut shared.batch);
        let asked = match batch::parse(&self.body, &mut reads) {
            Err(problem) => Err(problem),
            Ok(()) => {
                let is_here = |user| matches!(shared.topology.owner(user), Location::Local(_));
                if reads.iter().all(|read| is_here(read.user)) {
                    self.answer_batch(&reads, persist, shared).map(|()| true)
                } else {
                    let mut scatter = shared.spare_scatters.pop().unwrap_or_default();
                    let asked = scatter.batch(&reads, self.id(), shared);
                    self.await_replies(Scattered::Batch, asked, scatter, persist, shared)
                }
            }
        };
        shared.batch = reads;
        match asked {
            Ok(false) => return false,
            Ok(true) => {}
            Err(problem) => {
                reply::problem(
                    &problem.into(),
                    persist,
                    false,
                    &shared.date,
                    &mut self.answers.bytes,
                );
                shared.count(Route::Batch, problem.code.status());
                self.finish(persist);
            }
        }
        self.drop_body(shared);
        true
    }

    /// Asks all cores for the figures of their slices. Returns whether that was possible now.
    fn ask_info(&mut self, what: Scattered, persist: Persist, shared: &mut Shared) -> bool {
        let mut scatter = shared.spare_scatters.pop().unwrap_or_default();
        let asked = scatter.figures(self.id(), shared);
        match self.await_replies(what, asked, scatter, persist, shared) {
            Ok(asked) => asked,
            Err(problem) => {
                let head_only = matches!(what, Scattered::Info { head_only: true });
                self.deny(&problem.into(), persist, head_only, shared);
                true
            }
        }
    }

    /// Waits for the replies of a scatter-gather, if it was sent. Returns whether it was; not if a
    /// credit was missing.
    fn await_replies(
        &mut self,
        what: Scattered,
        asked: Result<(), Shortage>,
        scatter: Box<Scatter>,
        persist: Persist,
        shared: &mut Shared,
    ) -> Result<bool, Problem> {
        match asked {
            Ok(()) => {
                self.state = State::Gathering(what, scatter, persist);
                Ok(true)
            }
            Err(shortage) => {
                shared.keep_scatter(scatter);
                if shortage == Shortage::Credit { Ok(false) } else { Err(Code::Overloaded.into()) }
            }
        }
    }

    /// Answers a batch whose users are all owned by this core.
    fn answer_batch(
        &mut self,
        reads: &[Read],
        persist: Persist,
        shared: &mut Shared,
    ) -> Result<(), Problem> {
        let (start, now) = (self.answers.bytes.len(), shared.now());
        let space = shared.answers.left().max(LARGE_BYTES);
        let mut shows = SmallVec::<[Position; 1]>::new();
        let Shared { owners, topology, date, .. } = &*shared;
        let out = &mut self.answers.bytes;
        let body =
            reply::begin_json(Status::Ok, persist, reply::batch_width(reads.len()), date, out);
        out.extend_from_slice(b"{\"responses\":[");
        for (at, read) in reads.iter().enumerate() {
            for (next, step) in ahead(reads, at, [Step::Place, Step::User]) {
                if let Location::Local(place) = topology.owner(next.user) {
                    owners[place].prefetch(next.user, None, step, &Lookup::default());
                }
            }
            if at > 0 {
                out.push(b',');
            }
            let Location::Local(place) = topology.owner(read.user) else {
                unreachable!("this core owns every user of the batch")
            };
            let (position, view) = owners[place].view(read.user);
            reply::item(read, view, now, out);
            show(&mut shows, position);
            if out.len() - start > space {
                break;
            }
        }
        out.extend_from_slice(b"]}");
        body.end(out);
        let bytes = self.answers.bytes.len() - start;
        if bytes > space {
            self.answers.bytes.truncate(start);
            return Err(Code::Overloaded.into());
        }
        shared.answers.wrote(bytes);
        shared.answers.own.spend(bytes);
        self.mark(start, &shows);
        shared.count(Route::Batch, Status::Ok);
        self.finish(persist);
        Ok(())
    }

    /// Answers a scatter-gather whose replies have all arrived.
    fn assemble(&mut self, shared: &mut Shared) {
        let State::Gathering(what, mut scatter, persist) = std::mem::take(&mut self.state) else {
            return;
        };
        let start = self.answers.bytes.len();
        match what {
            Scattered::Info { head_only } => {
                let figures: Vec<_> =
                    (0..shared.topology.slices()).map(|slice| scatter.figures_of(slice)).collect();
                let out = &mut self.answers.bytes;
                reply::info(&shared.info, &figures, (persist, head_only), &shared.date, out);
                shared.count(Route::Info, Status::Ok);
            }
            Scattered::Batch => match scatter.write_batch(persist, shared, &mut self.answers.bytes)
            {
                Some(shows) => {
                    self.mark(start, shows);
                    shared.count(Route::Batch, Status::Ok);
                }
                None => {
                    let problem = Problem::from(Code::Overloaded);
                    reply::problem(
                        &problem.into(),
                        persist,
                        false,
                        &shared.date,
                        &mut self.answers.bytes,
                    );
                    shared.count(Route::Batch, problem.code.status());
                }
            },
        }
        shared.keep_scatter(scatter);
        self.finish(persist);
    }
}

const _: () = assert!(size_of::<Slot>() == 4, "a connection has a slot and a generation");
