//! Whole responses: reads, JSON bodies, problems, plain text.
//!
//! Everything is appended to the caller's buffer.

use super::answer;
use super::info::{Figures, Info};
use super::problem::{Code, Problem};
use super::read::{Read, What};
use super::route::Denied;
use crate::http::etag::{Condition, evaluate};
use crate::http::request::{Head, Version};
use crate::http::response::{self, Answer, OpenBody, Persist, Status};
use crate::ledger::book::View;
use crate::ledger::time::Millis;
use crate::ledger::user::RowSource;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The value of a `date` line: see [`crate::http::date::DateLine`].
pub type DateText = [u8; 29];

/// A read whose response is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest<'b> {
    /// The read itself.
    pub read: Read<'b>,
    /// Whether the connection stays open.
    pub persist: Persist,
    /// Whether the request is a `HEAD`.
    pub head_only: bool,
    /// Its conditions: see [`Head::conditions`].
    pub conditions: Option<&'b [u8]>,
}

/// Whether the connection stays open after the response to a request.
pub fn persist(head: &Head<'_>) -> Persist {
    match (head.keep_alive, head.version) {
        (false, _) => Persist::Close,
        (true, Version::Http10) => Persist::KeepAlive,
        (true, Version::Http11) => Persist::Default,
    }
}

/// A JSON answer with default fields, which the caller overrides.
const fn ok(date: &DateText, status: Status) -> Answer<'_> {
    Answer {
        status,
        content_type: JSON,
        no_cache: false,
        header: None,
        retry_after: false,
        persist: Persist::Default,
        date,
        head_only: false,
    }
}

/// Begins a JSON answer. `width_hint` is the expected number of digits of its length.
pub fn begin_json(
    status: Status,
    persist: Persist,
    width_hint: usize,
    date: &DateText,
    out: &mut Vec<u8>,
) -> OpenBody {
    response::begin_body(out, &Answer { persist, ..ok(date, status) }, width_hint)
}

/// Start of the body of a batch's answer, before the items with commas between them.
pub const BATCH_START: &[u8] = b"{\"responses\":[";
/// End of the body of a batch's answer.
pub const BATCH_END: &[u8] = b"]}";

/// Writes the head of a JSON answer whose body, of `length` bytes, follows.
pub fn json_head(
    status: Status,
    persist: Persist,
    length: usize,
    date: &DateText,
    out: &mut Vec<u8>,
) {
    response::write_sized_head(out, &Answer { persist, ..ok(date, status) }, length);
}

/// Writes the response to `GET /v1/info`. `figures` has one element for each slice, in slice order.
pub fn info(
    info: &Info,
    figures: &[Figures],
    (persist, head_only): (Persist, bool),
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let answer = Answer { persist, head_only, ..ok(date, Status::Ok) };
    let body = response::begin_body(out, &answer, 3);
    info.write(figures, out);
    body.end(out);
}

/// Writes a plain-text response.
pub fn plain_text(
    text: &str,
    persist: Persist,
    head_only: bool,
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let answer = Answer { content_type: TEXT, persist, head_only, ..ok(date, Status::Ok) };
    let body = response::begin_body(out, &answer, 1);
    out.extend_from_slice(text.as_bytes());
    body.end(out);
}

/// Writes the response to one read at time `now`. `view` is the user, `None` if unknown. Returns
/// `None`, with nothing written, if `rows` do not include all rows that it needs.
#[inline]
pub fn write_read(
    request: &ReadRequest<'_>,
    view: Option<View<'_>>,
    now: Millis,
    date: &DateText,
    rows: &mut RowSource<'_>,
    out: &mut Vec<u8>,
) -> Option<Status> {
    let ReadRequest { ref read, persist, head_only, conditions } = *request;
    let Some(view) = view else {
        problem(&Problem::from(Code::UserNotFound).into(), persist, head_only, date, out);
        return Some(Status::NotFound);
    };
    let version = view.user.version();
    let etag = matches!(read.what, What::Balance | What::BalanceAt(_)).then_some(version);
    match conditions.map_or(Condition::Holds, |lines| evaluate(lines, etag)) {
        Condition::Holds => {}
        Condition::NotModified => {
            response::write_not_modified(out, date, version, persist);
            return Some(Status::NotModified);
        }
        Condition::Failed => {
            let changed = Problem::from(Code::VersionChanged);
            problem(&changed.into(), persist, head_only, date, out);
            return Some(Status::PreconditionFailed);
        }
    }
    let start = out.len();
    let body = response::begin_read(out, date, etag, (persist, head_only), 3);
    if !answer::write(out, view, read, now, rows) {
        out.truncate(start);
        return None;
    }
    body.end(out);
    Some(Status::Ok)
}

/// Writes the body of one batch item at time `now`. `view` is the user, `None` if unknown. Returns
/// false if `rows` do not include all rows that it needs: what was written is then no answer.
#[inline]
pub fn item(
    read: &Read<'_>,
    view: Option<View<'_>>,
    now: Millis,
    rows: &mut RowSource<'_>,
    out: &mut Vec<u8>,
) -> bool {
    match view {
        Some(view) => answer::write(out, view, read, now, rows),
        None => {
            answer::write_unknown_user(out, read.user);
            true
        }
    }
}

/// Expected number of digits of a batch answer's length.
pub const fn batch_width(items: usize) -> usize {
    if items < 50 { 4 } else { 5 }
}

/// Writes a problem response.
pub fn problem(
    denied: &Denied,
    persist: Persist,
    head_only: bool,
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let Denied { problem, header } = denied;
    let status = problem.code.status();
    let answer = Answer {
        content_type: PROBLEM_JSON,
        // Only the answers to a user's read have these codes.
        no_cache: matches!(problem.code, Code::UserNotFound | Code::VersionChanged),
        header: *header,
        retry_after: matches!(problem.code, Code::Overloaded | Code::Recovering),
        persist,
        head_only,
        ..ok(date, status)
    };
    let body = response::begin_body(out, &answer, 3);
    problem.write_open(out);
    out.push(b'}');
    body.end(out);
}
