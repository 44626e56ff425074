//! Answer to a feed: the number of accepted lines, and a result for each other line.
//!
//! Verdicts may arrive in any order; results are written in line order.

use super::problem::{Code, Problem, blamed_field};
use crate::decimal::number;
use crate::http::response::Status;
use crate::ledger::entry::Verdict;

/// Verdicts on the lines of one feed body.
#[derive(Debug, Default)]
pub struct Verdicts {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    is_out_of_storage: bool,
    /// Results of the lines that are duplicates or rejected, as JSON, in order of arrival.
    results: Vec<u8>,
    /// For each result, its line and its offset in `results`.
    pieces: Vec<(u32, usize)>,
}

impl Verdicts {
    /// Counts accepted lines.
    #[inline]
    pub const fn accept(&mut self, lines: usize) {
        self.accepted += lines;
    }

    /// Adds the ledger's verdict on line `index`. `id_text` is the line's entry id as it was sent.
    pub fn judge(&mut self, index: u32, id_text: &[u8], verdict: Verdict) {
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Duplicate => {
                self.duplicates += 1;
                self.begin_result(index, id_text, b"duplicate");
                self.results.push(b'}');
            }
            Verdict::Rejected(reason) => {
                self.reject(index, id_text, &Problem::at(reason.into(), blamed_field(reason)));
            }
        }
    }

    /// Adds the rejection of line `index`.
    pub fn reject(&mut self, index: u32, id_text: &[u8], problem: &Problem) {
        self.rejected += 1;
        self.is_out_of_storage |= problem.code == Code::InsufficientStorage;
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

    /// Status of the answer: 507 if an entry was refused for lack of storage, otherwise 422 if a
    /// line was rejected.
    pub const fn status(&self) -> Status {
        if self.is_out_of_storage {
            Status::InsufficientStorage
        } else if self.rejected > 0 {
            Status::UnprocessableContent
        } else {
            Status::Ok
        }
    }

    /// Size of the results in bytes.
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
    fn results_are_written_in_line_order() {
        let mut verdicts = Verdicts::default();
        verdicts.judge(3, b"c", Verdict::Duplicate);
        verdicts.accept(2);
        assert_eq!(verdicts.status(), Status::Ok);
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
        assert_eq!(verdicts.status(), Status::UnprocessableContent);
        verdicts.judge(4, b"", Verdict::Rejected(Rejection::InsufficientStorage));
        verdicts.judge(5, b"", Verdict::Rejected(Rejection::TooOld));
        assert_eq!(verdicts.status(), Status::InsufficientStorage);
    }
}
