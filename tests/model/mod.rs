//! Independent, naive model of the ledger: text in, text out, by the wire contract.
//!
//! It was written from the contract and its rulings alone and shares no type with Purser. It keeps
//! every accepted entry and computes each answer from them: obvious correctness, no speed. Time is
//! an argument. Not modelled: HTTP methods and headers, the operating paths, storage and its
//! refusals.
//!
//! - `json`: JSON parser.
//! - `entry`: parser of a feed line.
//! - `ledger`: verdicts and balances of a user.
//! - `stats`: windows, ranges and statistics.
//! - `read`: reads and batches.
//! - `problem`: error codes.
//! - `history`: random traffic.
//! - `texts`: texts that are almost JSON.
//! - `cases`: hand-computed tests of the model.

pub mod history;
pub mod texts;

mod entry;
mod json;
mod ledger;
mod problem;
mod read;
mod stats;

#[cfg(test)]
mod cases;

use ledger::{Applied, User};
use problem::Problem;
use std::collections::BTreeMap;

pub use problem::Code;

const MAX_LINES: usize = 10_000;
const MAX_FEED_BYTES: usize = 8 << 20;

/// All users, by id.
#[derive(Clone, Debug, Default)]
pub struct Model {
    users: BTreeMap<String, User>,
}

/// The verdict on one line; `entry_id` as sent, `""` if it was invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Duplicate { entry_id: String },
    Rejected { entry_id: String, code: Code, field: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    /// With its quotes: `"v17"`.
    pub etag: Option<String>,
    pub body: String,
}

impl Model {
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a feed body; returns status (200, 413 or 422) and body of the answer to
    /// `POST /v1/entries`, with `late=accept` if `late`.
    pub fn feed(&mut self, now_ms: u64, late: bool, body: &[u8]) -> (u16, String) {
        if body.len() > MAX_FEED_BYTES {
            return too_large(Code::ContentTooLarge);
        }
        let lines = lines(body);
        if lines.len() > MAX_LINES {
            return too_large(Code::TooManyItems);
        }
        let (mut accepted, mut duplicates, mut results) = (0, 0, Vec::new());
        for (index, line) in lines.into_iter().enumerate() {
            match self.apply_line(now_ms, late, line) {
                Verdict::Accepted => accepted += 1,
                Verdict::Duplicate { entry_id } => {
                    duplicates += 1;
                    results.push(format!(
                        r#"{{"index":{index},"entry_id":"{entry_id}","status":"duplicate"}}"#
                    ));
                }
                Verdict::Rejected { entry_id, code, field } => results.push(format!(
                    "{{\"index\":{index},\"entry_id\":\"{entry_id}\",\"status\":\"rejected\",\
                     \"code\":\"{}\",\"field\":\"{field}\",\"detail\":\"{}\"}}",
                    code.name(),
                    code.detail(),
                )),
            }
        }
        let rejected = results.len() - duplicates;
        let results = results.join(",");
        let body = format!(
            "{{\"accepted\":{accepted},\"duplicates\":{duplicates},\"rejected\":{rejected},\
             \"results\":[{results}]}}"
        );
        (if rejected > 0 { 422 } else { 200 }, body)
    }

    /// Gives the verdict on a line and applies it if accepted.
    pub fn apply_line(&mut self, now_ms: u64, late: bool, line: &[u8]) -> Verdict {
        let entry::Line { entry_id, entry } = entry::read(line);
        let rejected = |entry_id, code, field: &str| Verdict::Rejected {
            entry_id,
            code,
            field: field.to_owned(),
        };
        let entry = match entry {
            Ok(entry) => entry,
            Err(problem) => return rejected(entry_id, problem.code, &problem.field),
        };
        let user = self.users.entry(entry.user_id.clone()).or_default();
        match user.apply(signed(now_ms), late, &entry) {
            Ok(Applied::Accepted) => Verdict::Accepted,
            Ok(Applied::Duplicate) => Verdict::Duplicate { entry_id },
            Err((code, field)) => rejected(entry_id, code, field),
        }
    }

    /// Answers a GET of a target: path and query.
    pub fn get(&self, now_ms: u64, target: &str) -> Reply {
        read::get(self, signed(now_ms), target)
    }

    /// Answers `POST /v1/batch`.
    pub fn batch(&self, now_ms: u64, body: &[u8]) -> Reply {
        read::batch(self, signed(now_ms), body)
    }

    /// A user with at least one accepted entry.
    fn user(&self, user_id: &str) -> Option<&User> {
        self.users.get(user_id).filter(|user| user.as_of_ms().is_some())
    }
}

/// The lines of a body, without blank ones.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)).collect()
}

/// Whether a line is only spaces, tabs and carriage returns: a feed skips it.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

fn too_large(code: Code) -> (u16, String) {
    let reply = Problem::new(code, "").reply();
    (reply.status, reply.body)
}

fn signed(now_ms: u64) -> i64 {
    i64::try_from(now_ms).expect("a clock within 290 million years")
}
