//! Feed: applies a body of entries in bounded steps.
//!
//! The whole body is received before the first entry is applied, so every error status is decided
//! before, except the 422 and 507 of an answer with rejected lines. A feed is not atomic: each line
//! has its own verdict, and a bad entry does not affect other lines.
//!
//! A step parses all its lines first, so that the lookups of later entries are prefetched while
//! earlier ones are applied. Entries of users of other cores are sent there: one request per step
//! and slice, so entries of one user stay in order. The verdicts come back in any order.

use super::answers::Position;
use super::exchange::{Shortage, WantedCredit};
use super::limits::{ENTRIES_PER_TURN, LINE_COST_BYTES, RESULT_BYTES};
use super::message::{FeedEntry, Job, LineMark, Request, show};
use super::progress::Progress;
use super::shared::Shared;
use super::topology::Location;
use crate::api::entry::{self, Line, LineScratch};
use crate::api::verdicts::Verdicts;
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use smallvec::SmallVec;

/// The progress of one body.
#[derive(Debug, Default)]
pub struct Feed {
    at: usize,
    index: u32,
    /// Whether late entries are accepted.
    late_accepted: bool,
    /// Verdicts on the lines so far.
    pub verdicts: Verdicts,
    /// Log positions of this core's slices that the answer shows.
    pub positions: SmallVec<[Position; 1]>,
    /// Requests that are outstanding at other cores.
    outstanding: usize,
    /// Bytes reserved for the answer.
    reserved: usize,
    /// The credit that it waits for, if its last step ended with that.
    pub wanted: Option<WantedCredit>,
}

/// The requests of one step to other cores.
type Requests = SmallVec<[(u32, Box<Request>); 8]>;

/// The line that begins at offset `start`, without its line feed.
fn line(body: &[u8], start: usize) -> &[u8] {
    let rest = &body[start..];
    &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
}

impl Feed {
    /// Creates a feed of `lines` lines. The caller must have reserved [`Self::longest`] bytes for
    /// its answer.
    pub fn new(lines: usize, late_accepted: bool) -> Self {
        Self { late_accepted, reserved: Self::longest(lines), ..Self::default() }
    }

    /// Maximum size of the answer to `lines` lines, in bytes.
    pub const fn longest(lines: usize) -> usize {
        lines * RESULT_BYTES
    }

    /// Bytes reserved for its answer.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// Applies the next lines of `body`, as many as a turn allows. Never inlined: its arrays would
    /// enlarge the stack frame of every read.
    #[inline(never)]
    pub fn step(&mut self, body: &[u8], connection: u64, shared: &mut Shared) -> Progress {
        let mut scratches = std::mem::take(&mut shared.scratches);
        let mut lines = SmallVec::<[(usize, Line<'_>, Lookup); ENTRIES_PER_TURN]>::new();
        let mut at = self.at;
        for scratch in scratches.iter_mut().take(shared.entries_left()) {
            if at >= body.len() || shared.feed_bytes_left == 0 {
                break;
            }
            let text = line(body, at);
            let mut line = entry::parse(text, scratch);
            if let Ok(entry) = &mut line.entry {
                entry.late_accepted = self.late_accepted;
            }
            lines.push((at, line, Lookup::default()));
            at += text.len() + 1;
            let cost = text.len().max(LINE_COST_BYTES);
            shared.feed_bytes_left = shared.feed_bytes_left.saturating_sub(cost);
        }
        let (mut requests, mut stop) = (Requests::new(), None);
        for (number, (start, read, _)) in lines.iter().enumerate() {
            for ((_, next, lookup), step) in prefetch_steps(&lines, number, PrefetchStep::FOR_ENTRY)
            {
                if let Ok(entry) = &next.entry
                    && let Location::Local(local_slice) = shared.topology.owner(entry.user)
                {
                    shared.owners[local_slice].prefetch(entry.user, Some(entry.id), step, lookup);
                }
            }
            let mark = LineMark { index: self.index, start: *start as u32 };
            let done = match &read.entry {
                Ok(entry) => {
                    self.entry(mark, read.id_text, entry, connection, shared, &mut requests)
                }
                Err(problem) => {
                    self.verdicts.reject(mark.index, read.id_text, problem);
                    Ok(())
                }
            };
            if let Err(why) = done {
                (at, stop) = (*start, Some(why));
                break;
            }
            self.index += 1;
        }
        drop(lines);
        shared.scratches = scratches;
        self.at = at;
        self.outstanding += requests.len();
        for (core, request) in requests {
            shared.exchange.send(core, request, &mut shared.outputs);
        }
        match (self.at >= body.len(), self.outstanding) {
            (false, _) => stop.unwrap_or_else(|| Self::paused(shared)),
            (true, 0) => Progress::Done,
            (true, _) => Progress::Waiting,
        }
    }

    /// What a feed waits for when its share of the turn is used up.
    fn paused(shared: &Shared) -> Progress {
        if shared.topology.is_alone() && shared.entries_left() == 0 {
            blocked_or_ready(shared, 0)
        } else {
            Progress::Ready
        }
    }

    /// Applies one entry, or adds it to a request to its owner. The error says what it has to wait
    /// for.
    fn entry(
        &mut self,
        mark: LineMark,
        id_text: &[u8],
        entry: &EntryRef<'_>,
        connection: u64,
        shared: &mut Shared,
        requests: &mut Requests,
    ) -> Result<(), Progress> {
        let (core, slice) = match shared.topology.owner(entry.user) {
            Location::Remote { core, slice } => (core, slice),
            Location::Local(local_slice) => {
                if shared.owners[local_slice].entries_left() == 0 {
                    return Err(blocked_or_ready(shared, local_slice));
                }
                let (position, verdict) = shared.apply(local_slice, entry);
                show(&mut self.positions, position);
                match verdict {
                    Verdict::Accepted => self.verdicts.accept(1),
                    other => self.verdicts.judge(mark.index, id_text, other),
                }
                return Ok(());
            }
        };
        if shared.entries_to_send() == 0 {
            return Err(Progress::Ready);
        }
        let request = match requests.iter().position(|(_, request)| request.slice == slice) {
            Some(at) => &mut requests[at].1,
            None => {
                shared.exchange.take_credit_for_slow_request(core).map_err(|shortage| {
                    let wanted = WantedCredit { core, is_slow: true };
                    self.wanted = (shortage == Shortage::Credit).then_some(wanted);
                    Progress::Blocked
                })?;
                let mut request = shared.exchange.request(Job::Entries, connection);
                request.slice = slice;
                requests.push((core, request));
                &mut requests.last_mut().expect("a request was just pushed").1
            }
        };
        let entry = FeedEntry::new(mark, entry, &mut request.texts);
        request.entries.push(entry);
        shared.sent_entry();
        Ok(())
    }

    /// Takes the verdicts of another core. What it accepted is durable.
    pub fn take_reply(&mut self, request: &Request, body: &[u8]) {
        self.outstanding -= 1;
        self.verdicts.accept(request.accepted as usize);
        for &(mark, verdict) in &request.not_accepted {
            let mut scratch = LineScratch::EMPTY;
            let id_text = entry::parse(line(body, mark.start as usize), &mut scratch).id_text;
            self.verdicts.judge(mark.index, id_text, verdict);
        }
    }

    /// Appends the answer's body.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(
            self.verdicts.bytes() <= self.reserved,
            "the answer is no longer than was reserved"
        );
        self.verdicts.write(out);
    }
}

/// What the next entry of a slice waits for, if the slice can apply no more in this turn.
fn blocked_or_ready(shared: &Shared, local_slice: usize) -> Progress {
    if shared.owners[local_slice].is_throttled() { Progress::Blocked } else { Progress::Ready }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::{Code, Field, Problem};
    use crate::ledger::id::ENTRY_ID_BYTES;

    #[test]
    fn no_result_is_longer_than_was_reserved() {
        let (id, name) = ([b'~'; ENTRY_ID_BYTES], [b'n'; 64]);
        for &code in Code::ALL {
            let mut verdicts = Verdicts::default();
            verdicts.reject(9_999, &id, &Problem { code, field: Field::echo(&name) });
            let comma = 1;
            assert!(verdicts.bytes() + comma <= RESULT_BYTES, "{code:?}: {}", verdicts.bytes());
        }
    }
}
