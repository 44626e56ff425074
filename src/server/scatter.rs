//! Scatter-gather: a request that several cores answer. Each core answers its items in one go, so
//! items of one user see one state. The replies are merged in request order when all
//! [fragments](super::fragments) have arrived.

use super::answers::Position;
use super::exchange::Shortage;
use super::fragments::{Fragment, Scatter};
use super::limits::{ITEM_BYTES, LARGE_BYTES, SMALL_BATCH_READS, SPARE_SCATTERS};
use super::message::{Job, Outcome, Request};
use super::planted_bug::PlantedBug;
use super::shared::Shared;
use super::topology::Location;
use crate::api::read::Read;
use crate::api::reply;
use crate::http::response::{Persist, Status};

impl Scatter {
    /// Sends each owner its items of `reads`, and answers this core's at once. Nothing is sent
    /// before a credit at every owner is taken and the bytes for every reply are reserved. On an
    /// error the credits are returned; reservations are released when it is [ended](Self::end).
    pub fn batch(
        &mut self,
        reads: &[Read],
        connection: u64,
        shared: &mut Shared,
    ) -> Result<(), Shortage> {
        let may_be_large = reads.len() > SMALL_BATCH_READS;
        if may_be_large && shared.answers.is_full() {
            return Err(Shortage::Budget);
        }
        self.fragments.resize_with(shared.topology.cores() as usize, Fragment::default);
        for read in reads {
            let core = match shared.topology.owner(read.user) {
                Location::Local(_) => shared.topology.core(),
                Location::Remote { core, .. } => core,
            };
            self.owners.push(core);
            let request = &mut self.fragments[core as usize].request;
            let request =
                request.get_or_insert_with(|| shared.exchange.request(Job::Batch, connection));
            request.now = shared.now();
            request.reads.push(*read);
        }
        self.take_credits(shared)?;
        let result = self.reserve(may_be_large, shared).and_then(|()| self.answer_own(shared));
        if result.is_err() {
            self.peers(shared).for_each(|core| shared.exchange.return_credit(core));
            return result;
        }
        self.send(shared);
        Ok(())
    }

    /// Asks every other core for the figures of its slices.
    pub fn figures(&mut self, connection: u64, shared: &mut Shared) -> Result<(), Shortage> {
        self.fragments.resize_with(shared.topology.cores() as usize, Fragment::default);
        for fragment in &mut self.fragments {
            fragment.request = Some(shared.exchange.request(Job::Figures, connection));
        }
        self.take_credits(shared)?;
        if let Some(own) = &mut self.fragments[shared.topology.core() as usize].request {
            own.figures.extend(shared.figures());
        }
        self.send(shared);
        Ok(())
    }

    /// The other cores that have a fragment.
    fn peers(&self, shared: &Shared) -> impl Iterator<Item = u32> + use<'_> {
        let own = shared.topology.core();
        let asked = (0..)
            .zip(&self.fragments)
            .filter(|(_, fragment)| fragment.request.is_some())
            .map(|(core, _)| core);
        asked.filter(move |&core| core != own)
    }

    fn take_credits(&self, shared: &mut Shared) -> Result<(), Shortage> {
        for (before, core) in self.peers(shared).enumerate() {
            if let Err(shortage) = shared.exchange.take_credit(core) {
                if shared.planted != Some(PlantedBug::LeakedCredit) {
                    self.peers(shared)
                        .take(before)
                        .for_each(|core| shared.exchange.return_credit(core));
                }
                return Err(shortage);
            }
        }
        Ok(())
    }

    /// Reserves bytes for the reply of each other core; a small reply needs none.
    fn reserve(&mut self, may_be_large: bool, shared: &mut Shared) -> Result<(), Shortage> {
        let own = shared.topology.core();
        let peers = (0..).zip(&mut self.fragments).filter(|(core, _)| *core != own);
        for request in peers.filter_map(|(_, fragment)| fragment.request.as_mut()) {
            let most = request.reads.len() * ITEM_BYTES;
            if most <= LARGE_BYTES {
                continue;
            }
            if shared.answers.reserve(most) {
                (request.max_bytes, request.reserved) = (most, most);
            } else if may_be_large {
                return Err(Shortage::Budget);
            }
        }
        Ok(())
    }

    /// Answers this core's own fragment.
    fn answer_own(&mut self, shared: &mut Shared) -> Result<(), Shortage> {
        let Some(own) = &mut self.fragments[shared.topology.core() as usize].request else {
            return Ok(());
        };
        own.max_bytes = shared.answers.left().max(LARGE_BYTES);
        let bytes = shared.answer_batch(own);
        shared.answers.own.spend(bytes);
        if matches!(own.outcome, Outcome::TooLarge(_))
            || (bytes > LARGE_BYTES && !shared.answers.reserve(bytes))
        {
            return Err(Shortage::Budget);
        }
        own.reserved = if bytes > LARGE_BYTES { bytes } else { 0 };
        Ok(())
    }

    fn send(&mut self, shared: &mut Shared) {
        let own = shared.topology.core();
        for (core, fragment) in (0..).zip(&mut self.fragments) {
            if core != own
                && let Some(request) = fragment.request.take()
            {
                shared.exchange.send(core, request, &mut shared.outputs);
                self.pending += 1;
            }
        }
    }

    /// Writes the answer to a batch. Returns the log positions that this core's fragment shows
    /// (replies of other cores show durable state), or `None` if a reply was refused, or it or the
    /// whole answer does not fit the budget.
    pub fn write_batch(
        &mut self,
        persist: Persist,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Option<&[Position]> {
        for request in self.fragments.iter_mut().filter_map(|fragment| fragment.request.as_mut()) {
            shared.release_reply(request);
        }
        let bytes = self.replies().map(|request| request.bytes.len()).sum();
        let is_refused = |reply: &Request| !matches!(reply.outcome, Outcome::Answered(_));
        if self.replies().any(is_refused) || !shared.answers.fits(bytes) {
            return None;
        }
        let Self { owners, fragments, .. } = self;
        let start = out.len();
        // At once, because a copy of a growing buffer would be a third copy of the replies.
        if bytes > LARGE_BYTES {
            out.reserve(bytes + LARGE_BYTES);
        }
        let body = reply::begin_json(
            Status::Ok,
            persist,
            reply::batch_width(owners.len()),
            &shared.date,
            out,
        );
        out.extend_from_slice(b"{\"responses\":[");
        for (at, &owner) in owners.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let Fragment { request, written } = &mut fragments[owner as usize];
            out.extend_from_slice(request.as_ref().expect("each owner has replied").body(*written));
            *written += 1;
        }
        out.extend_from_slice(b"]}");
        body.end(out);
        shared.answers.wrote(out.len() - start);
        shared.answers.own.spend(out.len() - start);
        let own = self.fragments[shared.topology.core() as usize].request.as_ref();
        Some(own.map_or(&[], |own| &own.positions))
    }

    fn replies(&self) -> impl Iterator<Item = &Request> {
        self.fragments.iter().filter_map(|fragment| fragment.request.as_deref())
    }

    /// Whether the log of a slice has no space for what a reply would show.
    pub fn is_unstored(&self) -> bool {
        self.replies().any(|reply| reply.outcome == Outcome::Unstored)
    }

    /// Releases its requests and empties it.
    pub fn end(&mut self, shared: &mut Shared) {
        for fragment in &mut self.fragments {
            if let Some(request) = fragment.request.take() {
                shared.recycle_request(request);
            }
            fragment.written = 0;
        }
        self.owners.clear();
        self.pending = 0;
    }
}

impl Shared {
    /// Recycles the memory of a scatter-gather that is over.
    pub(super) fn recycle_scatter(&mut self, mut scatter: Box<Scatter>) {
        scatter.end(self);
        if self.spare_scatters.len() < SPARE_SCATTERS {
            self.spare_scatters.push(scatter);
        }
    }
}
