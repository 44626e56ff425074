//! The answer to a feed: how many lines were accepted, and what became of each other one.
//!
//! Verdicts may come in any order; they are written in that of the lines.

use super::problem::{Code, Problem, blamed};
use crate::decimal::number;
use crate::http::response::Status;
use crate::ledger::entry::Verdict;

/// Verdicts on the lines of one body.
#[derive(Debug, Default)]
pub struct Verdicts {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    is_short_of_room: bool,
    /// What was not simply accepted, as the answer has it.
    results: Vec<u8>,
    /// For each of these, its line and where it begins.
    pieces: Vec<(u32, usize)>,
}

impl Verdicts {
    /// So many lines were accepted.
    #[inline]
    pub const fn accept(&mut self, lines: usize) {
        self.accepted += lines;
    }

    /// A verdict of the ledger on line `index`, whose entry id is `id_text` as it was sent.
    pub fn judge(&mut self, index: u32, id_text: &[u8], verdict: Verdict) {
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Duplicate => {
                self.duplicates += 1;
                self.begin_result(index, id_text, b"duplicate");
                self.results.push(b'}');
            }
            Verdict::Rejected(reason) => {
                self.reject(index, id_text, &Problem::at(reason.into(), blamed(reason.into())));
            }
        }
    }

    /// Line `index` is rejected.
    pub fn reject(&mut self, index: u32, id_text: &[u8], problem: &Problem) {
        self.rejected += 1;
        self.is_short_of_room |= problem.code == Code::InsufficientStorage;
        self.begin_result(index, id_text, b"rejected");
        self.results.extend_from_slice(b",\"code\":\"");
        self.results.extend_from_slice(problem.code.name().as_bytes());
        self.results.extend_from_slice(b"\",\"field\":\"");
        self.results.extend_from_slice(problem.field.as_bytes());
        self.results.extend_from_slice(b"\",\"detail\":\"");
        self.results.extend_from_slice(problem.code.detail().as_bytes());
        self.results.extend_from_slice(b"\"}");
    }

    fn begin_result(&mut self, index: u32, id_text: &[u8], status: &[u8]) {
        self.pieces.push((index, self.results.len()));
        self.results.extend_from_slice(b"{\"index\":");
        number(&mut self.results, index.into());
        self.results.extend_from_slice(b",\"entry_id\":\"");
        self.results.extend_from_slice(id_text);
        self.results.extend_from_slice(b"\",\"status\":\"");
        self.results.extend_from_slice(status);
        self.results.push(b'"');
    }

    /// The status of the answer.
    pub const fn status(&self) -> Status {
        if self.is_short_of_room { Status::InsufficientStorage } else { Status::Ok }
    }

    /// Bytes of the results.
    pub const fn bytes(&self) -> usize {
        self.results.len()
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
        let starts = self.pieces.iter().skip(1).map(|&(_, start)| start);
        let ends = starts.chain([self.results.len()]);
        let mut pieces: Vec<_> =
            self.pieces.iter().zip(ends).map(|(&(line, start), end)| (line, start, end)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::Rejection;

    #[test]
    fn results_are_written_in_the_order_of_the_lines() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(3, b"c", Verdict::Duplicate);
        verdicts.accept(2);
        verdicts.judge(1, b"a", Verdict::Rejected(Rejection::PendingNotFound));
        verdicts.judge(0, b"z", Verdict::Accepted);
        let mut out = Vec::new();
        verdicts.write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(r#"{"accepted":3,"duplicates":1,"rejected":1,"results":[{"index":1,"#),
            "{text}"
        );
        assert!(text.ends_with(r#"{"index":3,"entry_id":"c","status":"duplicate"}]}"#), "{text}");
        assert_eq!(verdicts.status(), Status::Ok);
        verdicts.judge(4, b"", Verdict::Rejected(Rejection::InsufficientStorage));
        assert_eq!(verdicts.status(), Status::InsufficientStorage);
    }
}
