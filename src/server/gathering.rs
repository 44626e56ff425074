//! Batches and info requests: answered at once, or by several cores whose replies are gathered.

use super::answers::Position;
use super::connection::{Connection, Scattered, State};
use super::exchange::Shortage;
use super::fragments::Scatter;
use super::limits::{IDLE_BUFFER_BYTES, LARGE_BYTES};
use super::message::show;
use super::shared::Shared;
use super::topology::Location;
use crate::api::batch;
use crate::api::problem::{Code, Problem};
use crate::api::read::Reads;
use crate::api::reply::{self, BATCH_END, BATCH_START};
use crate::api::route::Route;
use crate::http::response::{Persist, Status};
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use crate::ledger::user::RowSource;
use smallvec::SmallVec;

impl Connection {
    /// Answers a batch, or sends it to the cores that own its users. `divided` is the batch if it
    /// was parsed before. Returns whether either was possible now.
    pub(super) fn ask_batch(
        &mut self,
        divided: Option<Box<Scatter>>,
        persist: Persist,
        shared: &mut Shared,
    ) -> bool {
        let parsed = match divided {
            Some(scatter) => Ok(Some(scatter)),
            None => self.start_batch(persist, shared),
        };
        let asked = parsed.and_then(|scatter| match scatter {
            None => Ok(true),
            Some(mut scatter) => {
                let asked = scatter.ask(shared);
                self.await_replies(Scattered::Batch, asked, scatter, persist, shared)
            }
        });
        asked.unwrap_or_else(|problem| {
            let out = &mut self.answers.bytes;
            reply::problem(&problem.into(), persist, false, &shared.date, out);
            shared.count(Route::Batch, problem.code.status());
            self.finish(persist);
            true
        })
    }

    /// Parses a batch. Answers it if this core owns all its users and the turn's share fits it;
    /// else returns it divided by owner.
    fn start_batch(
        &mut self,
        persist: Persist,
        shared: &mut Shared,
    ) -> Result<Option<Box<Scatter>>, Problem> {
        let mut reads = std::mem::take(&mut shared.batch);
        let parsed = batch::parse(&self.body, &mut reads);
        shared.answers.own.spend(self.body.len());
        self.drop_body(shared);
        let started = parsed.and_then(|()| {
            let is_here = |user| matches!(shared.topology.owner(user), Location::Local(_));
            if reads.iter().all(|read| is_here(read.user))
                && self.answer_batch(&reads, persist, shared)?
            {
                return Ok(None);
            }
            let mut scatter = shared.spare_scatters.pop().unwrap_or_default();
            scatter.divide(&reads, self.id(), shared);
            Ok(Some(scatter))
        });
        shared.batch = reads;
        started
    }

    /// Asks all cores for the figures of their slices. Returns whether that was possible now.
    pub(super) fn ask_info(
        &mut self,
        what: Scattered,
        persist: Persist,
        shared: &mut Shared,
    ) -> bool {
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
    /// credit was missing. A batch is kept until there is one.
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
            Err(Shortage::Credit) if what == Scattered::Batch => {
                self.state = State::Scattering(what, Some(scatter), persist);
                Ok(false)
            }
            Err(shortage) => {
                shared.recycle_scatter(scatter);
                if shortage == Shortage::Credit { Ok(false) } else { Err(Code::Overloaded.into()) }
            }
        }
    }

    /// Answers a batch whose users are all owned by this core. Returns false, with nothing written,
    /// if the turn's share does not fit it.
    fn answer_batch(
        &mut self,
        reads: &Reads,
        persist: Persist,
        shared: &mut Shared,
    ) -> Result<bool, Problem> {
        let (start, now) = (self.answers.bytes.len(), shared.now());
        let space = shared.answers.left().max(LARGE_BYTES);
        let share = shared.answers.own.left();
        let (mut rows, mut fits) = (RowSource::Now { bytes_left: share }, true);
        let mut positions = SmallVec::<[Position; 1]>::new();
        let Shared { owners, topology, date, .. } = &*shared;
        let out = &mut self.answers.bytes;
        let body =
            reply::begin_json(Status::Ok, persist, reply::batch_width(reads.len()), date, out);
        out.extend_from_slice(BATCH_START);
        for (at, read) in reads.iter().enumerate() {
            let steps = [PrefetchStep::Index, PrefetchStep::User];
            for (next, step) in prefetch_steps(reads.listed(), at, steps) {
                let user = reads.user(next);
                if let Location::Local(local_slice) = topology.owner(user) {
                    owners[local_slice].prefetch(user, None, step, &Lookup::default());
                }
            }
            if at > 0 {
                out.push(b',');
            }
            let Location::Local(local_slice) = topology.owner(read.user) else {
                unreachable!("this core owns every user of the batch")
            };
            let (position, view) = owners[local_slice].view(read.user);
            fits = reply::item(&read, view, now, &mut rows, out);
            show(&mut positions, position);
            let bytes = out.len() - start;
            fits &= bytes <= LARGE_BYTES || bytes <= rows.bytes_left();
            if !fits || bytes > space {
                break;
            }
        }
        shared.answers.own.spend_all(share - rows.bytes_left());
        if !fits {
            shared.answers.own.spend(self.answers.bytes.len() - start);
            self.answers.bytes.truncate(start);
            return Ok(false);
        }
        let out = &mut self.answers.bytes;
        out.extend_from_slice(BATCH_END);
        body.end(out);
        let bytes = self.answers.bytes.len() - start;
        if bytes > space {
            self.answers.bytes.truncate(start);
            // Else each refused connection would keep the space of a large answer.
            self.answers.bytes.shrink_to(IDLE_BUFFER_BYTES);
            return Err(Code::Overloaded.into());
        }
        shared.answers.wrote(bytes);
        shared.answers.own.spend(bytes);
        self.mark(start, &positions);
        shared.count(Route::Batch, Status::Ok);
        self.finish(persist);
        Ok(true)
    }

    /// Answers a scatter-gather whose replies have all arrived, or writes more of its answer.
    /// `is_last` says that nothing was received behind it.
    pub(super) fn assemble(&mut self, is_last: bool, shared: &mut Shared) {
        let State::Gathering(what, mut scatter, persist) = std::mem::take(&mut self.state) else {
            return;
        };
        let persist = shared.life.persist(persist, is_last);
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
                Ok(false) => {
                    self.state = State::Gathering(what, scatter, persist);
                    return self.touch(shared);
                }
                Ok(true) => shared.count(Route::Batch, Status::Ok),
                Err(code) => {
                    let (problem, out) = (Problem::from(code), &mut self.answers.bytes);
                    reply::problem(&problem.into(), persist, false, &shared.date, out);
                    shared.count(Route::Batch, code.status());
                }
            },
        }
        shared.recycle_scatter(scatter);
        self.finish(persist);
    }
}
