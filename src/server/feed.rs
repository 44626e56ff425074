//! Feed: a body of entries, applied a bounded step at a time.
//!
//! The whole body is there before the first entry is applied, so that every error status is decided
//! before. No request is atomic: each line has its own verdict, and one bad entry does not hold up
//! its neighbours.
//!
//! The lines of a turn are read first, so that what an entry needs is on its way while those before
//! it are applied. Entries of users of other cores are sent there, those of one step and one slice
//! together, so entries of one user stay in order; the verdicts come back in any order.

use super::answers::Position;
use super::limits::{ENTRIES_PER_TURN, RESULT_BYTES};
use super::message::{FeedEntry, Job, LineMark, Request, show};
use super::progress::Progress;
use super::shared::Shared;
use super::topology::Owned;
use crate::api::entry::{self, Line, LineScratch};
use crate::api::verdicts::Verdicts;
use crate::ledger::entry::{EntryRef, Verdict};
use crate::ledger::memory::{Lookup, Step, ahead};
use smallvec::SmallVec;

/// How far one body has been applied.
#[derive(Debug, Default)]
pub struct Feed {
    at: usize,
    index: u32,
    /// What became of its lines.
    pub verdicts: Verdicts,
    /// What the answer shows of this core's logs.
    pub shows: SmallVec<[Position; 1]>,
    /// Requests that are at other cores.
    away: usize,
    /// Bytes reserved for the answer.
    reserved: usize,
}

/// What one step sends to other cores.
type Requests = SmallVec<[(u32, Box<Request>); 8]>;

/// The lines of a body.
pub fn lines(body: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', body).count();
    let unended = body.last().is_some_and(|&b| b != b'\n');
    ends + usize::from(unended)
}

/// The line that begins at `start`.
fn line(body: &[u8], start: usize) -> &[u8] {
    let rest = &body[start..];
    &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
}

impl Feed {
    /// One of so many lines, none of which is applied yet; there must be [room](Self::longest)
    /// reserved for its answer.
    pub fn new(lines: usize) -> Self {
        Self { reserved: Self::longest(lines), ..Self::default() }
    }

    /// The bytes of the longest answer to so many lines.
    pub const fn longest(lines: usize) -> usize {
        lines * RESULT_BYTES
    }

    /// Bytes reserved for its answer.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// Applies the next lines of `body`, as many as a turn takes. Never inlined: its lines take
    /// more stack than all reads should have to pass by.
    #[inline(never)]
    pub fn step(&mut self, body: &[u8], connection: u64, shared: &mut Shared) -> Progress {
        let mut scratches = std::mem::take(&mut shared.scratches);
        let mut lines = SmallVec::<[(usize, Line<'_>, Lookup); ENTRIES_PER_TURN]>::new();
        let mut at = self.at;
        for scratch in scratches.iter_mut().take(shared.entries_left()) {
            if at >= body.len() {
                break;
            }
            let text = line(body, at);
            lines.push((at, entry::read(text, scratch), Lookup::default()));
            at += text.len() + 1;
        }
        let (mut requests, mut stop) = (Requests::new(), None);
        for (number, (start, read, _)) in lines.iter().enumerate() {
            for ((_, next, lookup), step) in ahead(&lines, number, Step::OF_ENTRY) {
                if let Ok(entry) = &next.entry
                    && let Owned::Here(place) = shared.topology.owner(entry.user)
                {
                    shared.owners[place].prefetch(entry.user, Some(entry.id), step, lookup);
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
        self.away += requests.len();
        for (core, request) in requests {
            shared.exchange.send(core, request, &mut shared.outputs);
        }
        match (self.at >= body.len(), self.away) {
            (false, _) => stop.unwrap_or_else(|| self.paused(shared)),
            (true, 0) => Progress::Done,
            (true, _) => Progress::Waiting,
        }
    }

    /// What a feed waits for whose turn is over.
    fn paused(&self, shared: &Shared) -> Progress {
        if shared.topology.is_alone() && shared.entries_left() == 0 {
            held_or_ready(shared, 0)
        } else {
            Progress::Ready
        }
    }

    /// Deals with one entry; else says what it waits for.
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
            Owned::There { core, slice } => (core, slice),
            Owned::Here(place) => {
                if shared.owners[place].entries_left() == 0 {
                    return Err(held_or_ready(shared, place));
                }
                let (position, verdict) = shared.apply(place, entry);
                show(&mut self.shows, position);
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
                shared.exchange.take_credit_for_long(core).map_err(|_| Progress::Blocked)?;
                let mut request = shared.exchange.request(Job::Entries, connection);
                request.slice = slice;
                requests.push((core, request));
                &mut requests.last_mut().expect("just put there").1
            }
        };
        request.entries.push(FeedEntry::new(mark, entry));
        shared.sent_entry();
        Ok(())
    }

    /// Another core has judged some entries; what it accepted is durable.
    pub fn take_reply(&mut self, request: &Request, body: &[u8]) {
        self.away -= 1;
        self.verdicts.accept(request.accepted as usize);
        for &(mark, verdict) in &request.others {
            let mut scratch = LineScratch::EMPTY;
            let id_text = entry::read(line(body, mark.start as usize), &mut scratch).id_text;
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

/// What an entry of a slice waits for that can be applied in this turn no more.
fn held_or_ready(shared: &Shared, place: usize) -> Progress {
    if shared.owners[place].is_held() { Progress::Blocked } else { Progress::Ready }
}
