//! A body that is being received: how much of it is there, and when it is whole. Its bytes are
//! collected by the caller.

use crate::api::problem::Code;
use crate::api::route::Ask;
use crate::api::{BATCH_BYTES, FEED_BYTES};
use crate::http::chunked::Decoder;
use crate::http::request::Framing;
use crate::http::response::Persist;

/// Bytes of the longest body that a request may have.
pub(super) const fn limit(ask: Ask) -> usize {
    match ask {
        Ask::Entries => FEED_BYTES,
        Ask::Batch => BATCH_BYTES,
        Ask::Health | Ask::Ready | Ask::Info | Ask::Read(_) => 0,
    }
}

/// A body that is being received.
#[derive(Debug)]
pub(super) struct Body {
    /// What its request asks.
    pub(super) ask: Ask,
    /// What becomes of the connection behind the answer.
    pub(super) persist: Persist,
    left: Left,
}

/// What is left of it.
#[derive(Debug)]
enum Left {
    Length(usize),
    Chunked(Decoder),
}

/// What a piece of received bytes had of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Bytes that are done with.
    pub(super) used: usize,
    /// Whether the body is whole now.
    pub(super) is_whole: bool,
}

impl Body {
    /// A body of which nothing has come.
    pub(super) fn new(ask: Ask, persist: Persist, framing: Framing) -> Self {
        let left = match framing {
            Framing::Chunked => Left::Chunked(Decoder::new()),
            Framing::Length(length) => Left::Length(length as usize),
            Framing::None => Left::Length(0),
        };
        Self { ask, persist, left }
    }

    /// Appends what `bytes` have of it to `body`, which holds what has come before. Refuses a
    /// malformed or too large one.
    pub(super) fn take(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<Taken, Code> {
        let limit = limit(self.ask);
        let taken = match &mut self.left {
            Left::Length(left) => {
                let here = bytes.len().min(*left);
                body.extend_from_slice(&bytes[..here]);
                *left -= here;
                Taken { used: here, is_whole: *left == 0 }
            }
            Left::Chunked(decoder) => {
                // What is over the limit is counted, not kept.
                let keep = |piece: &[u8]| {
                    let room = (limit + 1).saturating_sub(body.len()).min(piece.len());
                    body.extend_from_slice(&piece[..room]);
                };
                let progress = decoder.decode(bytes, keep)?;
                Taken { used: progress.consumed, is_whole: progress.done }
            }
        };
        if body.len() > limit { Err(Code::ContentTooLarge) } else { Ok(taken) }
    }
}
