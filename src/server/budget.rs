//! Budgets: bounded memory of one core. Sizes are in bytes. Reserved bytes are released exactly
//! once; the budget asserts it.
//!
//! **Answers.** A written answer takes memory until it is sent, and the peer decides when that is.
//! A large answer is refused if it does not fit. A small answer is never refused; while the budget
//! is full, each connection may have only one unsent. So a core's memory is bounded, and peers that
//! do not read their answers cannot keep others from being served. The answer to a feed cannot be
//! refused once its entries are applied, and the reply of another core cannot be sent back; bytes
//! for both are reserved in advance.
//!
//! **Shares of a turn.** Large answers also share turns: when those of a turn have written
//! [`TURN_BYTES`](super::limits::TURN_BYTES), or visited as many bytes of rows, further ones wait
//! for another turn. Answers to this core's connections, replies to other cores and [heavy
//! requests](super::heavy) have one share each, so that none delays the others.
//!
//! **Bodies.** Request bodies that are being received or applied.

use super::limits::{
    IDLE_BUFFER_BYTES, LARGE_BYTES, MAX_GAPS, OUTPUT_MARK_BYTES, PENDING_READS_PER_CONNECTION,
    SMALL_BODY_BYTES,
};

/// A share of a turn, for large answers.
#[derive(Clone, Copy, Debug)]
pub struct TurnShare {
    /// Bytes of large answers that may still be written in this turn, and of rows that may still be
    /// visited for statistics.
    left: usize,
}

impl TurnShare {
    /// Whether no further large answer may be begun in this turn.
    #[inline]
    pub const fn is_spent(self) -> bool {
        self.left == 0
    }

    /// Bytes left.
    #[inline]
    pub const fn left(self) -> usize {
        self.left
    }

    /// Counts an answer that was rendered or copied, even if it was discarded; small ones are not
    /// counted.
    #[inline]
    pub const fn spend(&mut self, bytes: usize) {
        if bytes > LARGE_BYTES {
            self.spend_all(bytes);
        }
    }

    /// Counts bytes of any number.
    #[inline]
    pub const fn spend_all(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

/// The budget for answers.
#[derive(Clone, Copy, Debug)]
pub struct AnswerBudget {
    bound: usize,
    /// Bytes in connections when the turn began.
    connection_bytes: usize,
    /// Bytes written since.
    written: usize,
    /// This turn's share for answers to this core's connections.
    pub own: TurnShare,
    /// This turn's share for replies to other cores.
    pub peers: TurnShare,
    /// Bytes reserved for future answers.
    reserved: usize,
    /// A whole share.
    turn_bytes: usize,
}

impl AnswerBudget {
    /// Creates a budget of `bound` bytes, with shares of `turn_bytes` a turn.
    pub const fn new(bound: usize, turn_bytes: usize) -> Self {
        let whole = TurnShare { left: turn_bytes };
        Self {
            bound,
            connection_bytes: 0,
            written: 0,
            own: whole,
            peers: whole,
            reserved: 0,
            turn_bytes,
        }
    }

    /// Begins a turn, with `connection_bytes` of answers in connections.
    pub const fn begin_turn(&mut self, connection_bytes: usize) {
        (self.connection_bytes, self.written) = (connection_bytes, 0);
        let whole = TurnShare { left: self.turn_bytes };
        (self.own, self.peers) = (whole, whole);
    }

    const fn used(&self) -> usize {
        self.connection_bytes.saturating_add(self.written).saturating_add(self.reserved)
    }

    /// Bytes left.
    #[inline]
    pub const fn left(&self) -> usize {
        self.bound.saturating_sub(self.used())
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.left() == 0
    }

    /// Whether `connection_bytes` alone use up the budget.
    #[inline]
    pub const fn is_full_of(&self, connection_bytes: usize) -> bool {
        connection_bytes >= self.bound
    }

    /// Whether an answer of this size may be written: always if it is small.
    #[inline]
    pub const fn fits(&self, bytes: usize) -> bool {
        bytes <= LARGE_BYTES || bytes <= self.left()
    }

    /// Counts a written answer.
    #[inline]
    pub const fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }

    /// The limits of one connection. A connection is heavy if its last answer was large.
    #[inline]
    pub const fn connection_limits(&self, is_heavy: bool) -> ConnectionLimits {
        if self.is_full() {
            ConnectionLimits { gaps: 1, pending_reads: 1, unsent_bytes: 0 }
        } else if is_heavy || self.own.is_spent() {
            ConnectionLimits { gaps: 2, pending_reads: 1, unsent_bytes: LARGE_BYTES }
        } else {
            ConnectionLimits {
                gaps: MAX_GAPS,
                pending_reads: PENDING_READS_PER_CONNECTION,
                unsent_bytes: OUTPUT_MARK_BYTES,
            }
        }
    }

    /// Reserves bytes for a reply of another core. Returns whether they fit.
    pub const fn reserve(&mut self, bytes: usize) -> bool {
        self.reserve_within(bytes, self.bound)
    }

    /// Reserves bytes for the copy of a user. Copies are made only while at most half of the budget
    /// is used, so that heavy reads do not cause other answers to be refused.
    pub const fn reserve_for_copy(&mut self, bytes: usize) -> bool {
        self.reserve_within(bytes, self.bound / 2)
    }

    /// Reserves bytes for the answer to a feed. Its bound is a quarter higher, so that peers who do
    /// not read their answers cannot block feeds. A small answer always fits.
    pub const fn reserve_for_feed(&mut self, bytes: usize) -> bool {
        if bytes <= LARGE_BYTES {
            self.reserved += bytes;
            return true;
        }
        self.reserve_within(bytes, self.bound.saturating_add(self.bound / 4))
    }

    const fn reserve_within(&mut self, bytes: usize, bound: usize) -> bool {
        let fits = bytes <= bound.saturating_sub(self.used());
        if fits {
            self.reserved += bytes;
        }
        fits
    }

    /// Releases reserved bytes, when the answer is about to be written or is no longer wanted.
    pub const fn release(&mut self, bytes: usize) {
        assert!(self.reserved >= bytes, "only reserved bytes are released");
        self.reserved -= bytes;
    }

    /// Reserved bytes.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }
}

/// Bytes that a connection's buffer occupies: its capacity, or its length if the capacity is one
/// that every connection may keep.
#[inline]
pub const fn buffer_bytes(buffer: &Vec<u8>) -> usize {
    if buffer.capacity() > IDLE_BUFFER_BYTES { buffer.capacity() } else { buffer.len() }
}

/// Frees an empty buffer of more than `keeps` bytes.
pub fn free_unused(buffer: &mut Vec<u8>, keeps: usize) {
    if buffer.capacity() > keeps && buffer.is_empty() {
        *buffer = Vec::new();
    }
}

/// How much one connection may have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of outstanding replies of other cores.
    pub gaps: usize,
    /// Maximum number of reads that are parsed before they are answered.
    pub pending_reads: usize,
    /// Bytes of unsent answers above which no further request is started.
    pub unsent_bytes: usize,
}

/// The budget for request bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyBudget {
    bound: usize,
    reserved: usize,
}

impl BodyBudget {
    /// Creates a budget of `bound` bytes.
    pub const fn new(bound: usize) -> Self {
        Self { bound, reserved: 0 }
    }

    /// Adds received bytes of a body.
    pub const fn reserve(&mut self, bytes: usize) {
        self.reserved += bytes;
    }

    /// Removes a body of this size.
    pub const fn release(&mut self, bytes: usize) {
        assert!(self.reserved >= bytes, "only reserved bytes are released");
        self.reserved -= bytes;
    }

    /// Whether an incomplete body, of which `body_bytes` were received, may continue.
    pub const fn fits(&self, body_bytes: usize) -> bool {
        let bound = if body_bytes <= SMALL_BODY_BYTES { self.bound } else { self.bound / 4 * 3 };
        self.reserved <= bound
    }

    /// Reserved bytes.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::TURN_BYTES;
    use super::*;

    #[test]
    fn small_answers_always_fit() {
        let mut budget = AnswerBudget::new(100_000, TURN_BYTES);
        assert!(budget.fits(100_000) && !budget.fits(100_001));
        budget.begin_turn(40_000);
        budget.wrote(20_000);
        assert!(budget.reserve_for_feed(30_000));
        assert_eq!(budget.left(), 10_000);
        assert!(budget.fits(10_000) && !budget.fits(10_001));
        assert!(!budget.reserve(10_001) && !budget.reserve_for_feed(35_001));
        budget.wrote(50_000);
        assert!(budget.is_full() && budget.fits(LARGE_BYTES) && !budget.fits(LARGE_BYTES + 1));
        budget.release(30_000);
        budget.begin_turn(10_000);
        assert_eq!(budget.left(), 90_000);
    }

    #[test]
    fn large_answers_share_a_turn() {
        let mut budget = AnswerBudget::new(2 * TURN_BYTES, TURN_BYTES);
        (0..TURN_BYTES).for_each(|_| budget.own.spend(1));
        budget.own.spend(TURN_BYTES - 1);
        assert!(
            !budget.own.is_spent()
                && budget.connection_limits(false).unsent_bytes == OUTPUT_MARK_BYTES
        );
        budget.own.spend(LARGE_BYTES + 1);
        assert!(
            budget.own.is_spent()
                && !budget.peers.is_spent()
                && budget.connection_limits(false).unsent_bytes == LARGE_BYTES
        );
        budget.begin_turn(0);
        assert!(!budget.own.is_spent());
        budget.begin_turn(2 * TURN_BYTES);
        assert_eq!(budget.connection_limits(false).unsent_bytes, 0);
    }

    #[test]
    fn the_last_quarter_of_the_budget_is_for_small_bodies() {
        let mut budget = BodyBudget::new(4 << 20);
        budget.reserve(3 << 20);
        assert!(budget.fits(SMALL_BODY_BYTES + 1));
        budget.reserve(1);
        assert!(!budget.fits(SMALL_BODY_BYTES + 1) && budget.fits(SMALL_BODY_BYTES));
        budget.release(1);
        assert!(budget.fits(SMALL_BODY_BYTES + 1));
    }

    #[test]
    #[should_panic(expected = "only reserved bytes are released")]
    fn releasing_twice_panics() {
        let mut budget = AnswerBudget::new(100_000, TURN_BYTES);
        assert!(budget.reserve(50_000));
        budget.release(50_000);
        budget.release(50_000);
    }
}
