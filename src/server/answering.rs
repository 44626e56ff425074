//! Reads of a connection: each is answered at once, in steps, or by another core.

use super::connection::{Connection, State};
use super::limits::{HEAVY_READ_BYTES, IDLE_BUFFER_BYTES, LARGE_BYTES, ROWS_AT_ONCE_BYTES};
use super::message::{Job, Outcome, Request};
use super::progress::Progress;
use super::reads::PendingRead;
use super::shared::Shared;
use super::topology::Location;
use crate::api::problem::{Code, Problem};
use crate::api::read::{ListedRead, Read};
use crate::api::reply::{self, ReadRequest};
use crate::api::route::Operation;
use crate::ledger::user::RowSource;

impl Connection {
    /// Answers a pending read, or sends it to the core that owns its user.
    #[inline]
    pub(super) fn answer(
        &mut self,
        one: &PendingRead,
        (read, conditions): (Read<'_>, Option<&[u8]>),
        shared: &mut Shared,
    ) {
        let PendingRead { owner, persist, head_only, .. } = *one;
        self.pending -= 1;
        match owner {
            // The connection was closed after the read was parsed.
            Location::Remote { core, .. } if !self.is_open() => {
                return shared.exchange.return_credit(core);
            }
            Location::Local(_) if !self.is_open() => return,
            Location::Local(local_slice) => {
                let asked = ReadRequest { read, persist, head_only, conditions };
                if self.heavy_reads > 0 || !self.answer_here(local_slice, &asked, shared) {
                    self.answer_in_steps(&asked, shared);
                }
            }
            Location::Remote { core, .. } => {
                self.pending_remote -= 1;
                let asked = ReadRequest { read, persist, head_only, conditions };
                let mut request = self.read_request(&asked, shared);
                // After a large reply the next one is probably large too: reserving for it now
                // avoids a second request.
                let most = self.reply_bytes + self.reply_bytes / 4;
                if self.is_heavy && most > LARGE_BYTES && shared.answers.reserve(most) {
                    (request.max_bytes, request.reserved) = (most, most);
                }
                shared.exchange.send(core, request, &mut shared.outputs);
            }
        }
        self.finish(persist);
        self.touch(shared);
    }

    /// A request with this read, whose reply fills the next gap.
    fn read_request(&mut self, asked: &ReadRequest<'_>, shared: &mut Shared) -> Box<Request> {
        let &ReadRequest { read, persist, head_only, conditions } = asked;
        let mut request = shared.exchange.request(Job::Read, self.id());
        request.read = ListedRead::new(read, &mut request.texts);
        (request.persist, request.head_only) = (persist, head_only);
        (request.now, request.gap) = (shared.now(), self.answers.gap());
        request.conditions.extend_from_slice(conditions.unwrap_or_default());
        request
    }

    /// Answers a read of this core's users in steps: it is too heavy for this turn, or behind one
    /// that is. Its memory is reserved, so that peers cannot queue more than the budget allows.
    #[cold]
    fn answer_in_steps(&mut self, asked: &ReadRequest<'_>, shared: &mut Shared) {
        if !shared.answers.reserve(HEAVY_READ_BYTES) {
            let &ReadRequest { read, persist, head_only, .. } = asked;
            let problem = Problem::from(Code::Overloaded);
            let out = &mut self.answers.bytes;
            reply::problem(&problem.into(), persist, head_only, &shared.date, out);
            return shared.count(Operation::Read(read).route(), problem.code.status());
        }
        let mut request = self.read_request(asked, shared);
        request.reserved = HEAVY_READ_BYTES;
        self.heavy_reads += 1;
        shared.ask_own(request);
    }

    /// Answers a read of this core's users. Returns false if the turn's share does not fit it.
    #[inline]
    fn answer_here(
        &mut self,
        local_slice: usize,
        asked: &ReadRequest<'_>,
        shared: &mut Shared,
    ) -> bool {
        let start = self.answers.bytes.len();
        let Shared { owners, date, .. } = &*shared;
        let (now, out) = (shared.now(), &mut self.answers.bytes);
        let (mut position, view) = owners[local_slice].view(asked.read.user);
        let most = shared.answers.own.left().min(ROWS_AT_ONCE_BYTES);
        let mut rows = RowSource::Now { bytes_left: most };
        let status = reply::write_read(asked, view, now, date, &mut rows, out);
        shared.answers.own.spend_all(most - rows.bytes_left());
        let Some(mut status) = status else { return false };
        let mut bytes = self.answers.bytes.len() - start;
        self.is_heavy = bytes > LARGE_BYTES;
        shared.answers.own.spend(bytes);
        if !shared.answers.fits(bytes) {
            let problem = Problem::from(Code::Overloaded);
            self.answers.bytes.truncate(start);
            // Else each refused connection would keep the space of a large answer.
            self.answers.bytes.shrink_to(IDLE_BUFFER_BYTES);
            reply::problem(
                &problem.into(),
                asked.persist,
                asked.head_only,
                &shared.date,
                &mut self.answers.bytes,
            );
            (position.lsn, status) = (crate::slice::Lsn::default(), problem.code.status());
            bytes = self.answers.bytes.len() - start;
        }
        shared.answers.wrote(bytes);
        self.answers.mark(start, position, asked.head_only);
        shared.count(Operation::Read(asked.read).route(), status);
        true
    }

    /// Takes a reply of another core. Returns whether there is work that can proceed now.
    pub(super) fn take_reply(
        &mut self,
        core: u32,
        mut request: Box<Request>,
        shared: &mut Shared,
    ) -> bool {
        assert!(
            request.bytes.len() <= request.max_bytes,
            "a reply is at most as large as its request allows"
        );
        match (request.job, &mut self.state) {
            (Job::Read, _) => {
                let is_own = core == shared.topology.core();
                self.heavy_reads -= usize::from(is_own);
                let Some(reply) = shared.retry_with_larger_reply(core, request) else {
                    return false;
                };
                request = reply;
                self.take_read(&mut request, shared);
                self.is_heavy |= is_own;
                shared.recycle_request(request);
            }
            (Job::Batch, State::Gathering(_, scatter, _)) => {
                match shared.retry_with_larger_reply(core, request) {
                    None => return false,
                    Some(reply) => scatter.take_reply(core, reply),
                }
            }
            (Job::Figures, State::Gathering(_, scatter, _)) => scatter.take_reply(core, request),
            (Job::Entries, State::Feeding(feed, _)) => {
                feed.take_reply(&request, &self.body);
                shared.recycle_request(request);
            }
            // The connection has ended: nobody wants the reply.
            (_, State::Finishing | State::Lingering | State::Closing) => {
                shared.recycle_request(request);
            }
            (job, state) => unreachable!(
                "a reply to {job:?} comes back to whoever waits for it, not to {state:?}"
            ),
        }
        self.touch(shared);
        self.progress == Progress::Waiting
    }

    /// Splices the reply to a read into its place in the answer order; writes a 503 instead if the
    /// budget does not fit it. A read that was sent twice also gets a 503 if its user has changed
    /// in between and later requests were already answered or are under way: versions must never
    /// decrease on a connection, and no read may show entries that were posted after it.
    fn take_read(&mut self, request: &mut Request, shared: &mut Shared) {
        shared.release_reply(request);
        let mut bytes = request.bytes.len();
        self.is_heavy = bytes > LARGE_BYTES;
        self.reply_bytes = bytes;
        shared.answers.own.spend(bytes);
        let is_as_asked = request.refused_version.is_none_or(|version| version == request.version)
            || (self.answers.ends_with(request.gap)
                && !matches!(self.state, State::Feeding(..) | State::Gathering(..)));
        let status = match request.outcome {
            Outcome::Answered(status) if is_as_asked && shared.answers.fits(bytes) => status,
            outcome => {
                self.is_heavy = true;
                let problem = Problem::from(match outcome {
                    Outcome::Unstored => Code::InsufficientStorage,
                    _ => Code::Overloaded,
                });
                request.forget_reply();
                let Request { persist, head_only, bytes, .. } = request;
                reply::problem(&problem.into(), *persist, *head_only, &shared.date, bytes);
                problem.code.status()
            }
        };
        bytes = request.bytes.len();
        self.answers.fill(request.gap, &request.bytes);
        shared.answers.wrote(bytes);
        shared.count(Operation::Read(request.item(0)).route(), status);
        self.deadline_ms = u64::MAX;
    }
}
