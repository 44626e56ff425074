//! Receiving a request body: how many bytes are still expected, and when the body is complete. The
//! caller owns the buffer that collects the bytes. Blank lines of a feed are left out of it.
//!
//! A body has the request timeout from its start, and a second more for each [`MIN_BYTES_PER_S`] of
//! it that arrive; between two pieces at most the request timeout may pass.

use crate::api::entry::is_blank;
use crate::api::problem::Code;
use crate::api::{BATCH_BYTES, FEED_BYTES};
use crate::http::chunked::Decoder;
use crate::http::request::Framing;
use crate::http::response::Persist;

/// Rate at which a body must arrive once the request timeout has passed, in bytes per second.
const MIN_BYTES_PER_S: u64 = 16 << 10;

/// The request that a body belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Batch,
    Feed { late_accepted: bool },
}

impl Content {
    /// Maximum size of the body, in bytes.
    pub(super) const fn limit(self) -> usize {
        match self {
            Self::Batch => BATCH_BYTES,
            Self::Feed { .. } => FEED_BYTES,
        }
    }
}

/// A body that is being received.
#[derive(Debug)]
pub(super) struct Body {
    /// The request that it belongs to.
    pub(super) content: Content,
    /// Whether the connection stays open after the answer.
    pub(super) persist: Persist,
    remaining: Remaining,
    /// When its head was complete.
    since_ms: u64,
    /// Bytes received, the framing included.
    received: u64,
    lines: Lines,
}

/// The lines of a feed that were received. They are found as they arrive, not in one turn for the
/// whole body.
#[derive(Debug, Default)]
struct Lines {
    /// Number of those that have ended and are not blank.
    count: usize,
    /// Offset of the last line, which has not ended.
    start: usize,
    /// Whether that line is more than blank.
    has_text: bool,
}

impl Lines {
    /// Appends a piece of a feed to `body`, without blank lines.
    fn receive(&mut self, piece: &[u8], body: &mut Vec<u8>) {
        // Offsets in the piece: of the first byte not appended yet, and of the current line.
        let (mut from, mut line) = (0, 0);
        for end in memchr::memchr_iter(b'\n', piece) {
            if self.has_text || !is_blank(&piece[line..end]) {
                self.count += 1;
                self.start = body.len() + end + 1 - from;
            } else {
                body.extend_from_slice(&piece[from..line]);
                body.truncate(self.start);
                from = end + 1;
            }
            (self.has_text, line) = (false, end + 1);
        }
        self.has_text |= !is_blank(&piece[line..]);
        body.extend_from_slice(&piece[from..]);
    }

    /// Ends the last line at the end of the body. Returns the number of lines.
    fn end(&mut self, body: &mut Vec<u8>) -> usize {
        if !self.has_text {
            body.truncate(self.start);
        }
        self.count + usize::from(self.has_text)
    }
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
    pub(super) fn new(content: Content, persist: Persist, framing: Framing, now_ms: u64) -> Self {
        let remaining = match framing {
            Framing::Chunked => Remaining::Chunked(Decoder::with_limit(content.limit() as u64)),
            Framing::Length(length) => Remaining::Length(length as usize),
            Framing::None => Remaining::Length(0),
        };
        Self { content, persist, remaining, since_ms: now_ms, received: 0, lines: Lines::default() }
    }

    /// When it times out, if no more of it arrives from now on.
    pub(super) fn deadline_ms(&self, now_ms: u64, timeout_ms: u64) -> u64 {
        let earned_ms = self.received * 1_000 / MIN_BYTES_PER_S;
        (self.since_ms + earned_ms).min(now_ms).saturating_add(timeout_ms)
    }

    /// Number of lines in the feed, all of which is in `body`.
    pub(super) fn end_lines(&mut self, body: &mut Vec<u8>) -> usize {
        self.lines.end(body)
    }

    /// Appends the body's share of `bytes` to `body`, which holds what was received before. Returns
    /// an error for a malformed body or one above its limit. Removes from `body` what turns out to
    /// be a blank line of a feed.
    pub(super) fn receive(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<Received, Code> {
        let is_feed = matches!(self.content, Content::Feed { .. });
        let lines = &mut self.lines;
        let mut keep = |piece: &[u8]| {
            if is_feed {
                lines.receive(piece, body);
            } else {
                body.extend_from_slice(piece);
            }
        };
        let taken = match &mut self.remaining {
            Remaining::Length(left) => {
                let here = bytes.len().min(*left);
                keep(&bytes[..here]);
                *left -= here;
                Received { used: here, is_whole: *left == 0 }
            }
            Remaining::Chunked(decoder) => {
                let progress = decoder.decode(bytes, keep)?;
                Received { used: progress.consumed, is_whole: progress.done }
            }
        };
        self.received += taken.used as u64;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: Content = Content::Feed { late_accepted: false };

    const TIMEOUT_MS: u64 = 10_000;
    const HOUR_MS: u64 = 3_600_000;

    /// When a maximal body times out of which `bytes` arrive every `every_ms`; `None` if all of it
    /// arrives.
    fn timed_out_at(bytes: usize, every_ms: u64) -> Option<u64> {
        let framing = Framing::Length(FEED_BYTES as u64);
        let mut body = Body::new(FEED, Persist::KeepAlive, framing, 0);
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
    fn blank_lines_are_left_out_however_the_body_is_cut() {
        let pieces = ["a", "\n", " ", "\t", "\r", "b c", "\r\n", "\n\n", " \n", "é"];
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        for _ in 0..2_000 {
            let text: String = (0..next(12)).map(|_| pieces[next(pieces.len())]).collect();
            let lines: Vec<_> = text
                .split_inclusive('\n')
                .filter(|line| line.bytes().any(|byte| !b" \t\r\n".contains(&byte)))
                .collect();
            let framing = Framing::Length(text.len() as u64);
            let mut body = Body::new(FEED, Persist::Default, framing, 0);
            let (mut rest, mut stored) = (text.as_bytes(), Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + next(rest.len()));
                assert_eq!(body.receive(piece, &mut stored).map(|got| got.used), Ok(piece.len()));
                rest = after;
            }
            assert_eq!(body.end_lines(&mut stored), lines.len(), "{text:?}");
            assert_eq!(String::from_utf8(stored).unwrap(), lines.concat(), "{text:?}");
        }
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
