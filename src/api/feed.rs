//! A body of entries, applied a bounded step at a time.
//!
//! The whole body is there before the first entry is applied, so that every error status is decided before. No request
//! is atomic: each line has its own verdict, and one bad entry does not hold up its neighbours.
//!
//! The lines of a turn are read first, so that what an entry leads to is on its way while those before it are applied. Entries of users of other
//! cores are sent there, those of one step and one core together, so entries of one user stay in order; the verdicts come back in any order and
//! are put in that of the lines.

use super::ENTRIES_PER_TURN;
use super::desk::{Desk, Step, Way, ahead};
use super::entry::{self, Line, LineScratch};
use super::exchange::Exchange;
use super::out::Stamp;
use super::parcel::{Entry, Job, Mark, Parcel};
use super::problem::{Code, Problem, blamed};
use super::room::RESULT_BYTES;
use crate::decimal::number;
use crate::http::response::Status;
use crate::ledger::entry::Verdict;
use smallvec::SmallVec;

/// How far one body has been applied.
#[derive(Debug, Default)]
pub struct Feed {
    at: usize,
    index: u32,
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    refused_for_room: bool,
    stamp: Stamp,
    /// What was not simply accepted, as the answer has it.
    results: Vec<u8>,
    /// For each of these, its line and where it begins.
    pieces: Vec<(u32, usize)>,
    /// Parcels that are with other cores.
    away: usize,
    /// Room for the answer.
    promised: usize,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// There is more to do.
    On,
    /// The same, but the owner of the next user cannot be asked yet.
    Short,
    /// Other cores have the rest.
    Away,
    /// All is done.
    Through,
}

/// Room for the texts of all lines of a step that had escapes.
#[derive(Debug)]
pub struct Scratches(Vec<LineScratch>);

impl Default for Scratches {
    fn default() -> Self {
        Self((0..ENTRIES_PER_TURN).map(|_| LineScratch::EMPTY).collect())
    }
}

/// What is gathered for other cores in one step.
type Parcels = SmallVec<[(u32, Box<Parcel>); 8]>;

/// The lines of a body.
pub fn lines(body: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', body).count();
    let unended = body.last().is_some_and(|&b| b != b'\n');
    ends + usize::from(unended)
}

impl Feed {
    /// One of so many lines, none of which is applied yet; there must be as much [room](Self::longest) for its answer.
    pub fn new(lines: usize) -> Self {
        Self { promised: Self::longest(lines), ..Self::default() }
    }

    /// The bytes of the longest answer to so many lines.
    pub const fn longest(lines: usize) -> usize {
        lines * RESULT_BYTES
    }

    /// What was promised to it.
    pub const fn promised(&self) -> usize {
        self.promised
    }

    /// Applies the next lines of `body`, at most `most`, and as many as there are `scratches`. Never inlined: its lines take more stack
    /// than all reads should have to pass by.
    #[inline(never)]
    pub fn step(
        &mut self,
        body: &[u8],
        most: usize,
        ticket: u64,
        desk: &mut impl Desk,
        exchange: &mut Exchange,
        scratches: &mut Scratches,
    ) -> Went {
        let mut lines = SmallVec::<[(usize, Line<'_>, Way); ENTRIES_PER_TURN]>::new();
        let mut at = self.at;
        for scratch in scratches.0.iter_mut().take(most) {
            let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) else { break };
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            lines.push((at, entry::read(&rest[..len], scratch), Way::default()));
            at += len + 1;
        }
        let (mut parcels, mut is_short) = (Parcels::new(), false);
        for (number, (start, line, _)) in lines.iter().enumerate() {
            for ((_, next, way), step) in ahead(&lines, number, Step::OF_ENTRY) {
                if let Ok(entry) = &next.entry
                    && exchange.elsewhere(entry.user).is_none()
                {
                    desk.approach(entry.user, Some(entry.id), step, way);
                }
            }
            let mark = Mark { index: self.index, start: *start as u32 };
            if !self.line(mark, line, ticket, desk, exchange, &mut parcels) {
                (at, is_short) = (*start, true);
                break;
            }
            self.index += 1;
        }
        self.at = at;
        self.away += parcels.len();
        parcels.into_iter().for_each(|(peer, parcel)| exchange.send(peer, parcel));
        match (self.at >= body.len(), self.away) {
            (false, _) if is_short => Went::Short,
            (false, _) => Went::On,
            (true, 0) => Went::Through,
            (true, _) => Went::Away,
        }
    }

    /// Deals with one line. Returns whether it could: there may be no credit at the core that owns its user.
    fn line(
        &mut self,
        mark: Mark,
        line: &Line<'_>,
        ticket: u64,
        desk: &mut impl Desk,
        exchange: &mut Exchange,
        parcels: &mut Parcels,
    ) -> bool {
        let entry = match &line.entry {
            Ok(entry) => entry,
            Err(problem) => {
                self.reject(mark, line.id_text, problem);
                return true;
            }
        };
        if let Some(peer) = exchange.elsewhere(entry.user) {
            let parcel = match parcels.iter_mut().position(|(to, _)| *to == peer) {
                Some(at) => &mut parcels[at].1,
                None if exchange.credit_for_large(peer).is_err() => return false,
                None => {
                    parcels.push((peer, exchange.parcel(Job::Entries, ticket)));
                    &mut parcels.last_mut().expect("just put there").1
                }
            };
            parcel.entries.push(Entry::new(mark, entry));
            return true;
        }
        let (stamp, verdict) = desk.apply(entry);
        self.stamp = self.stamp.max(stamp);
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            other => self.other(mark, line.id_text, other),
        }
        true
    }

    /// Another core has judged some entries; what it accepted is durable.
    pub fn take(&mut self, parcel: &Parcel, body: &[u8]) {
        self.away -= 1;
        self.accepted += parcel.accepted as usize;
        for &(mark, verdict) in &parcel.others {
            let rest = &body[mark.start as usize..];
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let mut scratch = LineScratch::EMPTY;
            self.other(mark, entry::read(&rest[..len], &mut scratch).id_text, verdict);
        }
    }

    fn other(&mut self, mark: Mark, id_text: &[u8], verdict: Verdict) {
        match verdict {
            Verdict::Accepted => unreachable!("what was accepted has no line of its own"),
            Verdict::Duplicate => {
                self.duplicates += 1;
                self.result(mark, id_text, b"duplicate");
                self.results.push(b'}');
            }
            Verdict::Rejected(reason) => {
                self.reject(mark, id_text, &Problem::at(reason.into(), blamed(reason.into())));
            }
        }
    }

    fn reject(&mut self, mark: Mark, id_text: &[u8], problem: &Problem) {
        self.rejected += 1;
        self.refused_for_room |= problem.code == Code::InsufficientStorage;
        self.result(mark, id_text, b"rejected");
        self.results.extend_from_slice(b",\"code\":\"");
        self.results.extend_from_slice(problem.code.name().as_bytes());
        self.results.extend_from_slice(b"\",\"field\":\"");
        self.results.extend_from_slice(problem.field.as_bytes());
        self.results.extend_from_slice(b"\",\"detail\":\"");
        self.results.extend_from_slice(problem.code.detail().as_bytes());
        self.results.extend_from_slice(b"\"}");
    }

    fn result(&mut self, mark: Mark, id_text: &[u8], status: &[u8]) {
        self.pieces.push((mark.index, self.results.len()));
        self.results.extend_from_slice(b"{\"index\":");
        number(&mut self.results, mark.index.into());
        self.results.extend_from_slice(b",\"entry_id\":\"");
        self.results.extend_from_slice(id_text);
        self.results.extend_from_slice(b"\",\"status\":\"");
        self.results.extend_from_slice(status);
        self.results.push(b'"');
    }

    /// The status of the answer, and what it waits for.
    pub fn outcome(&self) -> (Status, Stamp) {
        let status = if self.refused_for_room { Status::InsufficientStorage } else { Status::Ok };
        (status, self.stamp)
    }

    /// Appends the answer's body.
    pub fn write(&self, out: &mut Vec<u8>) {
        assert!(self.results.len() <= self.promised, "the answer is no longer than was promised");
        out.extend_from_slice(b"{\"accepted\":");
        number(out, self.accepted as u64);
        out.extend_from_slice(b",\"duplicates\":");
        number(out, self.duplicates as u64);
        out.extend_from_slice(b",\"rejected\":");
        number(out, self.rejected as u64);
        out.extend_from_slice(b",\"results\":[");
        let ends: Vec<usize> =
            self.pieces.iter().skip(1).map(|&(_, start)| start).chain([self.results.len()]).collect();
        let mut pieces: Vec<_> = self.pieces.iter().zip(ends).map(|(&(line, start), end)| (line, start, end)).collect();
        pieces.sort_unstable();
        for (number, &(_, start, end)) in pieces.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.results[start..end]);
        }
        out.extend_from_slice(b"]}");
    }
}
