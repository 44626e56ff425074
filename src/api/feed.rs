//! A body of entries, applied a bounded step at a time.
//!
//! The whole body is there before the first entry is applied, so that every error status is decided before. No request
//! is atomic: each line has its own verdict, and one bad entry does not hold up its neighbours.
//!
//! The lines of a turn are read first, so that what an entry leads to is on its way while those before it are applied.

use super::answer::number;
use super::desk::{Desk, Step, ahead};
use super::entry::{self, Line, LineScratch};
use super::out::Stamp;
use super::problem::{Code, Problem, blamed};
use super::{ENTRIES_PER_TURN, FEED_LINES};
use crate::http::response::Status;
use crate::ledger::entry::Verdict;
use smallvec::SmallVec;

/// How far one body has been applied.
#[derive(Debug, Default)]
pub struct Feed {
    at: usize,
    index: usize,
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    refused_for_room: bool,
    stamp: Stamp,
    results: Vec<u8>,
}

/// Whether a body has no more lines than one request may; decided before any is applied.
pub fn fits(body: &[u8]) -> bool {
    let ends = memchr::memchr_iter(b'\n', body).count();
    let unended = body.last().is_some_and(|&b| b != b'\n');
    ends + usize::from(unended) <= FEED_LINES
}

impl Feed {
    /// Applies the next lines of `body`, at most `most`, and [`ENTRIES_PER_TURN`]. Says whether all are done. Never inlined: its lines take more stack
    /// than all reads should have to pass by.
    #[inline(never)]
    pub fn step(&mut self, body: &[u8], most: usize, desk: &mut impl Desk) -> bool {
        let mut scratches = [const { LineScratch::EMPTY }; ENTRIES_PER_TURN];
        let mut lines = SmallVec::<[Line<'_>; ENTRIES_PER_TURN]>::new();
        for scratch in scratches.iter_mut().take(most) {
            let Some(rest) = body.get(self.at..).filter(|rest| !rest.is_empty()) else { break };
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            lines.push(entry::read(&rest[..len], scratch));
            self.at += len + 1;
        }
        for (at, line) in lines.iter().enumerate() {
            for (next, step) in ahead(&lines, at, [Step::Place, Step::User, Step::Parts, Step::Deep]) {
                if let Ok(entry) = &next.entry {
                    desk.approach(entry.user, Some(entry.id), step);
                }
            }
            self.line(line, desk);
            self.index += 1;
        }
        self.at >= body.len()
    }

    fn line(&mut self, line: &Line<'_>, desk: &mut impl Desk) {
        let problem = match &line.entry {
            Err(problem) => *problem,
            Ok(entry) => {
                let (stamp, verdict) = desk.apply(entry);
                self.stamp = self.stamp.max(stamp);
                match verdict {
                    Verdict::Accepted => {
                        self.accepted += 1;
                        return;
                    }
                    Verdict::Duplicate => {
                        self.duplicates += 1;
                        self.result(line.id_text, b"duplicate");
                        self.results.push(b'}');
                        return;
                    }
                    Verdict::Rejected(reason) => Problem::at(reason.into(), blamed(reason.into())),
                }
            }
        };
        self.rejected += 1;
        self.refused_for_room |= problem.code == Code::InsufficientStorage;
        self.result(line.id_text, b"rejected");
        self.results.extend_from_slice(b",\"code\":\"");
        self.results.extend_from_slice(problem.code.name().as_bytes());
        self.results.extend_from_slice(b"\",\"field\":\"");
        self.results.extend_from_slice(problem.field.as_bytes());
        self.results.extend_from_slice(b"\",\"detail\":\"");
        self.results.extend_from_slice(problem.code.detail().as_bytes());
        self.results.extend_from_slice(b"\"}");
    }

    fn result(&mut self, id_text: &[u8], status: &[u8]) {
        self.results.extend_from_slice(if self.results.is_empty() { b"{\"index\":" } else { &b",{\"index\":"[..] });
        number(&mut self.results, self.index as u64);
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
        out.extend_from_slice(b"{\"accepted\":");
        number(out, self.accepted as u64);
        out.extend_from_slice(b",\"duplicates\":");
        number(out, self.duplicates as u64);
        out.extend_from_slice(b",\"rejected\":");
        number(out, self.rejected as u64);
        out.extend_from_slice(b",\"results\":[");
        out.extend_from_slice(&self.results);
        out.extend_from_slice(b"]}");
    }

    /// Lines applied so far.
    pub const fn lines(&self) -> usize {
        self.index
    }
}
