//! Receiving a request body: how many bytes are still expected, and when the body is complete. The
//! caller owns the buffer that collects the bytes.
//!
//! A body has the request timeout from its start, and a second more for each [`MIN_BYTES_PER_S`] of
//! it that arrive; between two pieces at most the request timeout may pass.

use crate::api::problem::Code;
use crate::api::route::Operation;
use crate::api::{BATCH_BYTES, FEED_BYTES};
use crate::http::chunked::Decoder;
use crate::http::request::Framing;
use crate::http::response::Persist;

/// Rate at which a body must arrive once the request timeout has passed, in bytes per second.
const MIN_BYTES_PER_S: u64 = 16 << 10;

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
    /// When its head was complete.
    since_ms: u64,
    /// Bytes received, the framing included.
    received: u64,
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
    pub(super) fn new(
        operation: Operation,
        persist: Persist,
        framing: Framing,
        now_ms: u64,
    ) -> Self {
        let remaining = match framing {
            Framing::Chunked => Remaining::Chunked(Decoder::new()),
            Framing::Length(length) => Remaining::Length(length as usize),
            Framing::None => Remaining::Length(0),
        };
        Self { operation, persist, remaining, since_ms: now_ms, received: 0, line_feeds: 0 }
    }

    /// When it times out, if no more of it arrives from now on.
    pub(super) fn deadline_ms(&self, now_ms: u64, timeout_ms: u64) -> u64 {
        let earned_ms = self.received * 1_000 / MIN_BYTES_PER_S;
        (self.since_ms + earned_ms).min(now_ms).saturating_add(timeout_ms)
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
        self.received += taken.used as u64;
        self.line_feeds += memchr::memchr_iter(b'\n', &body[before..]).count();
        if body.len() > limit { Err(Code::ContentTooLarge) } else { Ok(taken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_MS: u64 = 10_000;
    const HOUR_MS: u64 = 3_600_000;

    /// When a maximal body times out of which `bytes` arrive every `every_ms`; `None` if all of it
    /// arrives.
    fn timed_out_at(bytes: usize, every_ms: u64) -> Option<u64> {
        let framing = Framing::Length(FEED_BYTES as u64);
        let mut body = Body::new(Operation::Entries, Persist::KeepAlive, framing, 0);
        let (mut deadline_ms, mut stored) = (body.deadline_ms(0, TIMEOUT_MS), Vec::new());
        for now_ms in 1..HOUR_MS {
            if now_ms % every_ms == 0 {
                if body.receive(&vec![b'x'; bytes], &mut stored).unwrap().is_whole {
                    return None;
                }
                deadline_ms = body.deadline_ms(now_ms, TIMEOUT_MS);
            }
            if now_ms >= deadline_ms {
                return Some(now_ms);
            }
        }
        unreachable!("a body arrives or times out")
    }

    #[test]
    fn a_body_that_arrives_steadily_has_time() {
        assert_eq!(timed_out_at(110_000, 1_000), None);
        assert_eq!(timed_out_at(MIN_BYTES_PER_S as usize, 1_000), None);
        assert_eq!(timed_out_at(150_000, 9_000), None, "pauses below the timeout");
    }

    #[test]
    fn a_body_that_trickles_or_stops_times_out() {
        assert_eq!(timed_out_at(1, 9_000), Some(TIMEOUT_MS));
        assert_eq!(timed_out_at(FEED_BYTES / 2, 10_001), Some(TIMEOUT_MS), "no byte in time");
        let half_rate = timed_out_at(MIN_BYTES_PER_S as usize / 2, 1_000);
        assert!(half_rate.is_some_and(|at_ms| (19_000..=20_000).contains(&at_ms)), "{half_rate:?}");
    }
}
