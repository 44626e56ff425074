//! Scatter-gather: a request that several cores answer, or that is too [heavy](super::heavy) for a
//! turn. Each core answers its items so that those of one user show one state; this core sends its
//! own to itself. The replies are merged in request order when all [fragments](super::fragments)
//! have arrived.

use super::exchange::Shortage;
use super::fragments::{Fragment, Scatter};
use super::limits::{ITEM_BYTES, LARGE_BYTES, SMALL_BATCH_READS, SPARE_SCATTERS};
use super::message::{Job, Outcome, Request};
use super::planted_bug::PlantedBug;
use super::shared::Shared;
use super::topology::Location;
use crate::api::problem::Code;
use crate::api::read::Reads;
use crate::api::reply::{self, BATCH_END, BATCH_START};
use crate::http::response::{Persist, Status};

impl Scatter {
    /// Divides a batch by owner.
    pub fn divide(&mut self, reads: &Reads, connection: u64, shared: &mut Shared) {
        self.fragments.resize_with(shared.topology.cores() as usize, Fragment::default);
        for read in reads.iter() {
            let core = match shared.topology.owner(read.user) {
                Location::Local(_) => shared.topology.core(),
                Location::Remote { core, .. } => core,
            };
            self.owners.push(core);
            let request = &mut self.fragments[core as usize].request;
            let request =
                request.get_or_insert_with(|| shared.exchange.request(Job::Batch, connection));
            request.now = shared.now();
            request.reads.push(read);
        }
    }

    /// Sends each owner its items of a divided batch. Nothing is sent before a credit at every
    /// owner is taken and the bytes for every reply are reserved. On an error the credits are
    /// returned; reservations are released when it is [ended](Self::end).
    pub fn ask(&mut self, shared: &mut Shared) -> Result<(), Shortage> {
        let may_be_large = self.owners.len() > SMALL_BATCH_READS;
        if may_be_large && shared.answers.is_full() {
            return Err(Shortage::Budget);
        }
        self.take_credits(shared)?;
        let result = self.reserve(may_be_large, shared);
        if result.is_err() {
            self.asked().for_each(|core| shared.exchange.return_credit(core));
            return result;
        }
        self.send(shared);
        Ok(())
    }

    /// Asks every other core for the figures of its slices.
    pub fn figures(&mut self, connection: u64, shared: &mut Shared) -> Result<(), Shortage> {
        let own = shared.topology.core();
        self.fragments.resize_with(shared.topology.cores() as usize, Fragment::default);
        for (core, fragment) in (0..).zip(&mut self.fragments) {
            fragment.request =
                (core != own).then(|| shared.exchange.request(Job::Figures, connection));
        }
        self.take_credits(shared)?;
        self.send(shared);
        let mut own_request = shared.exchange.request(Job::Figures, connection);
        own_request.figures.extend(shared.figures());
        self.fragments[own as usize].request = Some(own_request);
        Ok(())
    }

    /// The cores that have a fragment, before it is sent.
    fn asked(&self) -> impl Iterator<Item = u32> {
        let fragments = (0..).zip(&self.fragments);
        fragments.filter(|(_, fragment)| fragment.request.is_some()).map(|(core, _)| core)
    }

    fn take_credits(&self, shared: &mut Shared) -> Result<(), Shortage> {
        for (before, core) in self.asked().enumerate() {
            if let Err(shortage) = shared.exchange.take_credit(core) {
                if shared.planted != Some(PlantedBug::LeakedCredit) {
                    let taken = self.asked().take(before);
                    taken.for_each(|core| shared.exchange.undo_credit(core));
                }
                return Err(shortage);
            }
        }
        Ok(())
    }

    /// Reserves bytes for the reply of each core; a small one needs none. This core's own reply
    /// reserves more as it grows.
    fn reserve(&mut self, may_be_large: bool, shared: &mut Shared) -> Result<(), Shortage> {
        for request in self.fragments.iter_mut().filter_map(|fragment| fragment.request.as_mut()) {
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

    fn send(&mut self, shared: &mut Shared) {
        let own = shared.topology.core();
        for (core, fragment) in (0..).zip(&mut self.fragments) {
            let Some(request) = fragment.request.take() else { continue };
            self.pending += 1;
            if core == own {
                shared.ask_own(request);
            } else {
                shared.exchange.send(core, request, &mut shared.outputs);
            }
        }
    }

    /// Writes more of the answer to a batch, as much as the turn's share allows. All that it shows
    /// is durable. Returns whether the answer is complete, or the refusal if a reply was refused.
    pub fn write_batch(
        &mut self,
        persist: Persist,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Result<bool, Code> {
        let is_refused = |reply: &&Request| !matches!(reply.outcome, Outcome::Answered(_));
        if let Some(reply) = self.replies().find(is_refused) {
            return Err(match reply.outcome {
                Outcome::Unstored => Code::InsufficientStorage,
                _ => Code::Overloaded,
            });
        }
        let start = out.len();
        let mut next = self.written.unwrap_or_else(|| {
            let bodies = self.replies().map(|reply| reply.rendered).sum::<usize>();
            let commas = self.owners.len().saturating_sub(1);
            let length = BATCH_START.len() + bodies + commas + BATCH_END.len();
            reply::json_head(Status::Ok, persist, length, &shared.date, out);
            out.extend_from_slice(BATCH_START);
            0
        });
        let Self { owners, fragments, .. } = self;
        let most = shared.answers.own.left().max(1);
        while next < owners.len() && out.len() - start < most {
            if next > 0 {
                out.push(b',');
            }
            let Fragment { request, written } = &mut fragments[owners[next] as usize];
            out.extend_from_slice(request.as_ref().expect("each owner has replied").body(*written));
            *written += 1;
            next += 1;
        }
        let is_whole = next == owners.len();
        if is_whole {
            out.extend_from_slice(BATCH_END);
        }
        self.written = Some(next);
        shared.answers.wrote(out.len() - start);
        shared.answers.own.spend(out.len() - start);
        Ok(is_whole)
    }

    fn replies(&self) -> impl Iterator<Item = &Request> {
        self.fragments.iter().filter_map(|fragment| fragment.request.as_deref())
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
        (self.pending, self.written) = (0, None);
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
