//! Heavy requests: reads and batches whose work does not fit a turn. They are answered in steps, in
//! turns among themselves, so that one of them delays others by no more than a step.
//!
//! Batches of other cores come here, and whatever a turn's share of reads does not fit. A read of
//! one of this core's connections becomes a request of the core to itself; its reply takes the same
//! path as that of another core.
//!
//! **One state.** Items of one user show one state of the user. So items are answered ordered by
//! user, and a user whose items a pause divides is copied at the pause; the rest is answered from
//! the copy, with its log position.

use super::limits::LARGE_BYTES;
use super::message::{FrozenUser, Job, Outcome, Request};
use super::planted_bug::PlantedBug;
use super::shared::Shared;
use super::topology::Location;
use crate::api::reply::{self, ReadRequest};
use crate::ledger::book::View;
use crate::ledger::memory::{PrefetchStep, prefetch_steps};
use crate::ledger::user::{RowSource, UserCopy};

/// Size from which a reply continues in another piece, in bytes. A reply of many megabytes never
/// moves.
const PIECE_BYTES: usize = 256 << 10;

impl Shared {
    /// Sends a request of this core to itself, which has reserved memory. For a batch, a credit was
    /// taken.
    pub(super) fn ask_own(&mut self, mut request: Box<Request>) {
        request.max_bytes = usize::MAX;
        self.exchange.heavy.add(request);
    }

    /// Takes steps of heavy requests, each request at most one, while this turn's share for them
    /// lasts.
    pub(super) fn step_heavy(&mut self) {
        let mut left = self.turn_bytes;
        for _ in 0..self.exchange.heavy.queue.len() {
            if left == 0 {
                break;
            }
            let Some(mut request) = self.exchange.heavy.queue.pop_front() else { break };
            self.has_read = true;
            if self.step(&mut request, &mut left) {
                self.exchange.heavy.is_over(&request);
                self.send_or_delay_reply(request);
            } else {
                self.exchange.heavy.queue.push_back(request);
            }
        }
    }

    /// Removes the requests of a connection of this core, which has ended.
    pub(super) fn cancel_heavy(&mut self, connection: u64) {
        let core = self.topology.core();
        let mut at = 0;
        while let Some(request) = self.exchange.heavy.queue.get(at) {
            if request.asking_core != core || request.connection != connection {
                at += 1;
                continue;
            }
            if let Some(mut request) = self.exchange.heavy.queue.remove(at) {
                self.exchange.heavy.is_over(&request);
                self.thaw(&mut request);
                self.exchange.own_request_over(&request);
                self.recycle_request(request);
            }
        }
    }

    /// Answers more items of a request, of about `left` bytes of rows and answers, which is
    /// decreased. Returns whether the reply is complete.
    fn step(&mut self, request: &mut Request, left: &mut usize) -> bool {
        if request.order.is_empty() {
            request.order_items();
        }
        while request.answered < request.order.len() {
            let goes_on = *left > 0 && self.answer_item(request, left);
            if !goes_on {
                if self.freeze(request) {
                    return false;
                }
                request.outcome = Outcome::Overloaded;
            }
            if request.outcome == Outcome::Overloaded {
                break;
            }
        }
        self.thaw(request);
        if request.outcome == Outcome::Overloaded {
            request.forget_reply();
            request.outcome = Outcome::Overloaded;
        } else if self.is_discarded(request) {
            request.refuse(request.rendered);
        }
        true
    }

    /// Answers the next item of a request. Returns whether it is answered; else `left` is used up.
    fn answer_item(&mut self, request: &mut Request, left: &mut usize) -> bool {
        self.prefetch_items(request);
        let number = request.order[request.answered];
        let is_other = |frozen: &FrozenUser| request.user(frozen.item) != request.user(number);
        if request.frozen.as_deref().is_some_and(is_other) {
            self.thaw(request);
        }
        let &mut Request { job, now, persist, head_only, .. } = &mut *request;
        let Request { read, reads, texts, frozen, sums, bytes, conditions, outcome, .. } =
            &mut *request;
        let read = if job == Job::Read { read.of(texts) } else { reads.get(number as usize) };
        let Location::Local(local_slice) = self.topology.owner(read.user) else {
            unreachable!("a request goes to the owner of its users")
        };
        let owner = &self.owners[local_slice];
        let names = owner.slice().book().names();
        let frozen = frozen.as_deref();
        let (position, view) = match frozen {
            Some(frozen) => {
                let user = frozen.copy.as_ref().map(UserCopy::user);
                (frozen.position, user.map(|user| View { id: read.user, user, names }))
            }
            None => owner.view(read.user),
        };
        let mut rows = RowSource::Now { bytes_left: usize::MAX };
        if let Some(View { user, .. }) = view
            && let Some(range) = read.rows(user, now)
        {
            let is_whole = match frozen.and_then(|frozen| frozen.copy.as_ref()) {
                Some(copy) => copy.add_rows(range, sums, left),
                None => user.add_rows(range, sums, left),
            };
            if !is_whole {
                return false;
            }
            rows = RowSource::Visited(sums);
        }
        let (start, version) = (bytes.len(), view.map_or(0, |view| view.user.version()));
        if job == Job::Read {
            let conditions = (!conditions.is_empty()).then_some(&**conditions);
            let asked = ReadRequest { read, persist, head_only, conditions };
            let status = reply::write_read(&asked, view, now, &self.date, &mut rows, bytes);
            *outcome = Outcome::Answered(status.expect("all rows are visited"));
        } else {
            assert!(reply::item(&read, view, now, &mut rows, bytes), "all rows are visited");
        }
        request.version = version;
        request.sums.clear();
        let count = request.bytes.len() - start;
        *left = left.saturating_sub(count);
        request.show(position);
        request.place_item(number, start);
        self.account_item(request, count);
        true
    }

    fn prefetch_items(&self, request: &Request) {
        let steps = [PrefetchStep::Index, PrefetchStep::User];
        for (&next, step) in prefetch_steps(&request.order, request.answered, steps) {
            self.prefetch(request.user(next), step);
        }
    }

    /// Accounts for an item of `count` bytes that was rendered last. The reply to another core is
    /// discarded once it is too large; the reply to this core reserves what it takes.
    fn account_item(&mut self, request: &mut Request, count: usize) {
        request.rendered += count;
        if self.is_discarded(request) {
            request.bytes.clear();
            request.pieces.clear();
            return;
        }
        if request.asking_core == self.topology.core() && request.rendered > LARGE_BYTES {
            let more = request.rendered.saturating_sub(request.reserved);
            if !self.answers.reserve(more) {
                request.outcome = Outcome::Overloaded;
                return;
            }
            request.reserved += more;
        }
        if request.bytes.len() >= PIECE_BYTES && request.answered < request.order.len() {
            let next = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
            request.pieces.push(std::mem::replace(&mut request.bytes, next));
        }
    }

    fn is_discarded(&self, request: &Request) -> bool {
        request.rendered > request.max_bytes && self.planted != Some(PlantedBug::LargeReply)
    }

    /// Copies the user whose items a pause divides, if there is one. Returns whether the budget has
    /// room for the copy.
    fn freeze(&mut self, request: &mut Request) -> bool {
        let (item, next) = request.next_item();
        let is_divided = !request.sums.is_empty()
            || request.last_item().is_some_and(|last| last.user == next.user);
        if request.frozen.is_some() || !is_divided {
            return true;
        }
        let Location::Local(local_slice) = self.topology.owner(next.user) else { return true };
        let (position, view) = self.owners[local_slice].view(next.user);
        let reserved = view.map_or(0, |view| view.user.copy_bytes());
        if !self.answers.reserve_for_copy(reserved) {
            return false;
        }
        let copy = view.map(|view| UserCopy::of(view.user));
        self.counters.copied_users += 1;
        request.frozen = Some(Box::new(FrozenUser { item, copy, position, reserved }));
        true
    }

    /// Drops the copy of a user.
    fn thaw(&mut self, request: &mut Request) {
        if let Some(frozen) = request.frozen.take() {
            self.answers.release(frozen.reserved);
        }
        request.sums.clear();
    }
}
