//! Receiving a request body: how many bytes are still expected, and when the body is complete. The
//! caller owns the buffer that collects the bytes.

use crate::api::problem::Code;
use crate::api::route::Operation;
use crate::api::{BATCH_BYTES, FEED_BYTES};
use crate::http::chunked::Decoder;
use crate::http::request::Framing;
use crate::http::response::Persist;

/// Maximum body size of a request, in bytes.
pub(super) const fn limit(operation: Operation) -> usize {
    match operation {
        Operation::Entries => FEED_BYTES,
        Operation::Batch => BATCH_BYTES,
        Operation::Health | Operation::Ready | Operation::Info | Operation::Read(_) => 0,
    }
}

/// A body that is being received.
#[derive(Debug)]
pub(super) struct Body {
    /// The request that it belongs to.
    pub(super) operation: Operation,
    /// Whether the connection stays open after the answer.
    pub(super) persist: Persist,
    remaining: Remaining,
    /// Line feeds received: those of a whole body are not counted in one turn.
    line_feeds: usize,
}

/// The expected rest of a body.
#[derive(Debug)]
enum Remaining {
    Length(usize),
    Chunked(Decoder),
}

/// What a piece of received bytes contributed to a body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// Bytes consumed.
    pub(super) used: usize,
    /// Whether the body is complete.
    pub(super) is_whole: bool,
}

impl Body {
    /// Creates a body of which nothing was received yet.
    pub(super) fn new(operation: Operation, persist: Persist, framing: Framing) -> Self {
        let remaining = match framing {
            Framing::Chunked => Remaining::Chunked(Decoder::new()),
            Framing::Length(length) => Remaining::Length(length as usize),
            Framing::None => Remaining::Length(0),
        };
        Self { operation, persist, remaining, line_feeds: 0 }
    }

    /// Number of lines in the body, all of which is in `body`.
    pub(super) fn lines(&self, body: &[u8]) -> usize {
        self.line_feeds + usize::from(body.last().is_some_and(|&byte| byte != b'\n'))
    }

    /// Appends the body's share of `bytes` to `body`, which holds what was received before. Returns
    /// an error for a malformed body or one above its limit.
    pub(super) fn receive(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<Received, Code> {
        let (limit, before) = (limit(self.operation), body.len());
        let taken = match &mut self.remaining {
            Remaining::Length(left) => {
                let here = bytes.len().min(*left);
                body.extend_from_slice(&bytes[..here]);
                *left -= here;
                Received { used: here, is_whole: *left == 0 }
            }
            Remaining::Chunked(decoder) => {
                // One byte above the limit is enough to notice an oversized body; the rest is not
                // stored.
                let keep = |piece: &[u8]| {
                    let space = (limit + 1).saturating_sub(body.len()).min(piece.len());
                    body.extend_from_slice(&piece[..space]);
                };
                let progress = decoder.decode(bytes, keep)?;
                Received { used: progress.consumed, is_whole: progress.done }
            }
        };
        self.line_feeds += memchr::memchr_iter(b'\n', &body[before..]).count();
        if body.len() > limit { Err(Code::ContentTooLarge) } else { Ok(taken) }
    }
}
