//! Whole responses: reads, batches, problems, and the words between requests.
//!
//! Everything is appended to the caller's buffer; answers that show a user come with the log position that they show.

use super::answer;
use super::desk::{Desk, Step, Way, ahead};
use super::out::Stamp;
use super::problem::{Code, Problem};
use super::read::{Read, What};
use super::route::Denied;
use crate::http::etag::if_none_match;
use crate::http::request::{Head, Version};
use crate::http::response::{self, Answer, Persist, Status};
use crate::ledger::time::Millis;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A read whose answer is about to be written.
#[derive(Debug)]
pub(super) struct Asked<'b> {
    pub read: Read,
    pub persist: Persist,
    pub head_only: bool,
    pub if_none_match: Option<&'b [u8]>,
}

/// The whole answer to a connection that is one too many.
pub fn turn_away(date: &[u8; 29]) -> Vec<u8> {
    let mut out = Vec::new();
    let problem = Problem::from(Code::Overloaded);
    let answer = Answer {
        status: problem.code.status(),
        content_type: PROBLEM_JSON,
        etag: None,
        allow: None,
        retry_after: true,
        persist: Persist::Close,
        date,
        head_only: false,
    };
    response::write(&mut out, &answer, 3, |out| {
        problem.write_open(out);
        out.push(b'}');
    });
    out
}

/// What becomes of the connection behind the answer to a request.
pub(super) fn persist(head: &Head<'_>) -> Persist {
    match (head.keep_alive, head.version) {
        (false, _) => Persist::Close,
        (true, Version::Http10) => Persist::KeepAlive,
        (true, Version::Http11) => Persist::Default,
    }
}

/// A JSON answer, but for what its caller overrides.
fn ok<D: Desk>(desk: &D, status: Status) -> Answer<'_> {
    Answer {
        status,
        content_type: JSON,
        etag: None,
        allow: None,
        retry_after: false,
        persist: Persist::Default,
        date: desk.date(),
        head_only: false,
    }
}

/// Writes a JSON answer.
pub(super) fn json<D: Desk>(
    status: Status,
    persist: Persist,
    width_hint: usize,
    desk: &D,
    body: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    response::write(out, &Answer { persist, ..ok(desk, status) }, width_hint, body);
}

/// Writes what this server says of itself.
pub(super) fn info<D: Desk>(persist: Persist, head_only: bool, desk: &D, out: &mut Vec<u8>) {
    let answer = Answer { persist, head_only, ..ok(desk, Status::Ok) };
    response::write(out, &answer, 3, |out| desk.info(out));
}

/// Writes a word.
pub(super) fn word<D: Desk>(word: &str, persist: Persist, head_only: bool, desk: &D, out: &mut Vec<u8>) {
    let answer = Answer { content_type: TEXT, persist, head_only, ..ok(desk, Status::Ok) };
    response::write(out, &answer, 1, |out| out.extend_from_slice(word.as_bytes()));
}

/// Writes the answer to one read at time `now`.
#[inline]
pub(super) fn read<D: Desk>(asked: &Asked<'_>, now: Millis, desk: &D, out: &mut Vec<u8>) -> (Stamp, Status) {
    let Asked { read, persist, head_only, if_none_match: condition } = *asked;
    desk.read(read.user, |view| {
        let Some(view) = view else {
            problem(&Problem::from(Code::UserNotFound).into(), persist, head_only, desk, out);
            return Status::NotFound;
        };
        let version = view.user.version();
        let etag = matches!(read.what, What::Balance).then_some(version);
        if etag.is_some() && condition.is_some_and(|header| if_none_match(header, version)) {
            response::write_not_modified(out, desk.date(), version, persist);
            return Status::NotModified;
        }
        let answer = Answer { etag, persist, head_only, ..ok(desk, Status::Ok) };
        response::write(out, &answer, 3, |out| answer::write(out, view, &read, now));
        Status::Ok
    })
}

/// Writes the body that answers an item of a batch at time `now`.
#[inline]
pub(super) fn item<D: Desk>(read: &Read, now: Millis, desk: &D, out: &mut Vec<u8>) -> Stamp {
    let (stamp, ()) = desk.read(read.user, |view| match view {
        Some(view) => answer::write(out, view, read, now),
        None => answer::write_unknown_user(out, read.user),
    });
    stamp
}

/// How many digits the length of a batch's answer probably has.
pub(super) const fn batch_width(items: usize) -> usize {
    if items < 50 { 4 } else { 5 }
}

/// Writes the answer to a batch of reads that are all this core's, if it takes no more than `room` bytes.
pub(super) fn batch<D: Desk>(
    reads: &[Read],
    persist: Persist,
    room: usize,
    desk: &D,
    out: &mut Vec<u8>,
) -> Option<Stamp> {
    let mut last = Stamp::default();
    let start = out.len();
    let body = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"responses\":[");
        for (at, read) in reads.iter().enumerate() {
            for (next, step) in ahead(reads, at, [Step::Place, Step::User]) {
                desk.approach(next.user, None, step, &Way::default());
            }
            if at > 0 {
                out.push(b',');
            }
            last = item(read, desk.now(), desk, out).max(last);
            if out.len() - start > room {
                return;
            }
        }
        out.extend_from_slice(b"]}");
    };
    json(Status::Ok, persist, batch_width(reads.len()), desk, body, out);
    if out.len() - start <= room {
        return Some(last);
    }
    out.truncate(start);
    None
}

/// Writes a refusal.
pub(super) fn problem<D: Desk>(denied: &Denied, persist: Persist, head_only: bool, desk: &D, out: &mut Vec<u8>) {
    let Denied { problem, allow } = denied;
    let status = problem.code.status();
    let retry_after = status == Status::ServiceUnavailable;
    let answer =
        Answer { content_type: PROBLEM_JSON, allow: *allow, retry_after, persist, head_only, ..ok(desk, status) };
    response::write(out, &answer, 3, |out| {
        problem.write_open(out);
        out.push(b'}');
    });
}
