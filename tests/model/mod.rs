//! An independent, naive model of the ledger: text in, text out, as the wire contract and the
//! rulings read.
//!
//! It was written from the contract alone and shares no type with purser. It keeps every accepted
//! entry and counts each answer from them; it trades every speed for being obviously right. Time is
//! handed in. What it has not: HTTP methods and headers, the operating paths, storage and its
//! refusals.
//!
//! `json` reads text, `entry` a line's fields, `ledger` gives verdicts, `stats` has ranges and
//! figures, `read` the questions, `problem` the codes, `history` makes random traffic; `cases` are
//! the hand-computed tests of it all.

pub mod history;

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

/// All users.
#[derive(Clone, Debug, Default)]
pub struct Model {
    users: BTreeMap<u64, User>,
}

/// The verdict on one line; `entry_id` as it was sent, `""` if that was invalid.
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
    /// Quotes included: `"v17"`.
    pub etag: Option<String>,
    pub body: String,
}

impl Model {
    pub fn new() -> Self {
        Self::default()
    }

    /// One feed body: status and body text as `POST /v1/entries` answers it, 200 or 413.
    pub fn feed(&mut self, now_ms: u64, body: &[u8]) -> (u16, String) {
        if body.len() > MAX_FEED_BYTES {
            return too_large(Code::ContentTooLarge);
        }
        let lines = lines(body);
        if lines.len() > MAX_LINES {
            return too_large(Code::TooManyItems);
        }
        let (mut accepted, mut duplicates, mut results) = (0, 0, Vec::new());
        for (index, line) in lines.into_iter().enumerate() {
            match self.apply_line(now_ms, line) {
                Verdict::Accepted => accepted += 1,
                Verdict::Duplicate { entry_id } => {
                    duplicates += 1;
                    results.push(format!(
                        r#"{{"index":{index},"entry_id":"{entry_id}","status":"duplicate"}}"#
                    ));
                }
                Verdict::Rejected {
                    entry_id,
                    code,
                    field,
                } => results.push(format!(
                    r#"{{"index":{index},"entry_id":"{entry_id}","status":"rejected","code":"{}","field":"{field}","detail":"{}"}}"#,
                    code.name(),
                    code.detail(),
                )),
            }
        }
        let rejected = results.len() - duplicates;
        let results = results.join(",");
        let body = format!(
            r#"{{"accepted":{accepted},"duplicates":{duplicates},"rejected":{rejected},"results":[{results}]}}"#
        );
        (200, body)
    }

    /// One line: its verdict, applied if it is accepted.
    pub fn apply_line(&mut self, now_ms: u64, line: &[u8]) -> Verdict {
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
        let user = self.users.entry(entry.user_id).or_default();
        match user.apply(signed(now_ms), &entry) {
            Ok(Applied::Accepted) => Verdict::Accepted,
            Ok(Applied::Duplicate) => Verdict::Duplicate { entry_id },
            Err((code, field)) => rejected(entry_id, code, field),
        }
    }

    /// A GET of a path with its query.
    pub fn get(&self, now_ms: u64, target: &str) -> Reply {
        read::get(self, signed(now_ms), target)
    }

    /// `POST /v1/batch`.
    pub fn batch(&self, now_ms: u64, body: &[u8]) -> Reply {
        read::batch(self, signed(now_ms), body)
    }

    /// A user of whom an entry has been accepted.
    fn user(&self, user_id: u64) -> Option<&User> {
        self.users.get(&user_id).filter(|user| user.as_of_ms().is_some())
    }
}

/// Every piece between line feeds; a last line feed ends the last line and begins none.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    if body.is_empty() {
        return Vec::new();
    }
    body.strip_suffix(b"\n").unwrap_or(body).split(|byte| *byte == b'\n').collect()
}

fn too_large(code: Code) -> (u16, String) {
    let reply = Problem::new(code, "").reply();
    (reply.status, reply.body)
}

fn signed(now_ms: u64) -> i64 {
    i64::try_from(now_ms).expect("a clock within 290 million years")
}
