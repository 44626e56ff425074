//! Whole responses: reads, JSON bodies, problems, words.
//!
//! Everything is appended to the caller's buffer.

use super::answer;
use super::info::{Figures, Info};
use super::problem::{Code, Problem};
use super::read::{Read, What};
use super::route::Denied;
use crate::http::etag::if_none_match;
use crate::http::request::{Head, Version};
use crate::http::response::{self, Answer, OpenBody, Persist, Status};
use crate::ledger::book::View;
use crate::ledger::time::Millis;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The value of a `date` line: see [`crate::http::date::DateLine`].
pub type DateText = [u8; 29];

/// A read whose answer is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'b> {
    /// The read.
    pub read: Read,
    /// What becomes of the connection.
    pub persist: Persist,
    /// Whether it is a HEAD.
    pub head_only: bool,
    /// The value of `If-None-Match`.
    pub if_none_match: Option<&'b [u8]>,
}

/// What becomes of the connection behind the answer to a request.
pub fn persist(head: &Head<'_>) -> Persist {
    match (head.keep_alive, head.version) {
        (false, _) => Persist::Close,
        (true, Version::Http10) => Persist::KeepAlive,
        (true, Version::Http11) => Persist::Default,
    }
}

/// A JSON answer, but for what its caller overrides.
const fn ok(date: &DateText, status: Status) -> Answer<'_> {
    Answer {
        status,
        content_type: JSON,
        etag: None,
        allow: None,
        retry_after: false,
        persist: Persist::Default,
        date,
        head_only: false,
    }
}

/// Begins a JSON answer, whose length has about `width_hint` digits.
pub fn begin_json(
    status: Status,
    persist: Persist,
    width_hint: usize,
    date: &DateText,
    out: &mut Vec<u8>,
) -> OpenBody {
    response::begin(out, &Answer { persist, ..ok(date, status) }, width_hint)
}

/// Writes what this server says of itself, with the figures of each slice, in their order.
pub fn info(
    info: &Info,
    figures: &[Figures],
    (persist, head_only): (Persist, bool),
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let answer = Answer { persist, head_only, ..ok(date, Status::Ok) };
    let body = response::begin(out, &answer, 3);
    info.write(figures, out);
    body.end(out);
}

/// Writes a word.
pub fn word(word: &str, persist: Persist, head_only: bool, date: &DateText, out: &mut Vec<u8>) {
    let answer = Answer { content_type: TEXT, persist, head_only, ..ok(date, Status::Ok) };
    let body = response::begin(out, &answer, 1);
    out.extend_from_slice(word.as_bytes());
    body.end(out);
}

/// Writes the answer to one read at time `now`, of the user in `view`.
#[inline]
pub fn read(
    asked: &Asked<'_>,
    view: Option<View<'_>>,
    now: Millis,
    date: &DateText,
    out: &mut Vec<u8>,
) -> Status {
    let Asked { ref read, persist, head_only, if_none_match: condition } = *asked;
    let Some(view) = view else {
        problem(&Problem::from(Code::UserNotFound).into(), persist, head_only, date, out);
        return Status::NotFound;
    };
    let version = view.user.version();
    let etag = matches!(read.what, What::Balance).then_some(version);
    if etag.is_some() && condition.is_some_and(|header| if_none_match(header, version)) {
        response::write_not_modified(out, date, version, persist);
        return Status::NotModified;
    }
    let answer = Answer { etag, persist, head_only, ..ok(date, Status::Ok) };
    let body = response::begin(out, &answer, 3);
    answer::write(out, view, read, now);
    body.end(out);
    Status::Ok
}

/// Writes the body that answers an item of a batch at time `now`, of the user in `view`.
#[inline]
pub fn item(read: &Read, view: Option<View<'_>>, now: Millis, out: &mut Vec<u8>) {
    match view {
        Some(view) => answer::write(out, view, read, now),
        None => answer::write_unknown_user(out, read.user),
    }
}

/// How many digits the length of a batch's answer probably has.
pub const fn batch_width(items: usize) -> usize {
    if items < 50 { 4 } else { 5 }
}

/// Writes a refusal.
pub fn problem(
    denied: &Denied,
    persist: Persist,
    head_only: bool,
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let Denied { problem, allow } = denied;
    let status = problem.code.status();
    let retry_after = status == Status::ServiceUnavailable;
    let answer = Answer {
        content_type: PROBLEM_JSON,
        allow: *allow,
        retry_after,
        persist,
        head_only,
        ..ok(date, status)
    };
    let body = response::begin(out, &answer, 3);
    problem.write_open(out);
    out.push(b'}');
    body.end(out);
}
