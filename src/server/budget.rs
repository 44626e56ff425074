//! Budgets: bounded memory of one core. What is reserved is released once, and the budget asserts
//! it.
//!
//! **Answers.** What is written and has not left is memory, and peers decide when it leaves. A
//! large answer is refused when it does not fit; a small one never is, but then a connection gets
//! one at a time. So what a core holds is bounded, and a peer that takes its answers is served
//! however many do not. The answer to a feed cannot be refused once its entries are applied, nor
//! can a reply of another core be sent back: room for these is reserved before. Large answers also
//! share turns: when those of a turn have written enough, the next ones wait for another turn. This
//! core's connections have one share of a turn, and other cores have another, so that neither waits
//! for the other.
//!
//! **Bodies.** What is being received or applied.
//!
//! Sizes are bytes.

use super::limits::{
    GAPS, LARGE_BYTES, LARGE_BYTES_PER_TURN, OUT_MARK_BYTES, READS_TOGETHER, SMALL_BODY_BYTES,
};

/// A share of a turn, for large answers.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Bytes that were written.
    spent: usize,
}

impl Share {
    const WHOLE: Self = Self { spent: 0 };

    /// Whether no further large answer may be written in this turn.
    #[inline]
    pub const fn is_spent(self) -> bool {
        self.spent >= LARGE_BYTES_PER_TURN
    }

    /// An answer was rendered or copied, whatever became of it; small ones do not count.
    #[inline]
    pub const fn spend(&mut self, bytes: usize) {
        if bytes > LARGE_BYTES {
            self.spent = self.spent.saturating_add(bytes);
        }
    }
}

/// The budget for answers.
#[derive(Clone, Copy, Debug)]
pub struct AnswerBudget {
    bound: usize,
    /// Held by connections: what they had when the turn began.
    connection_bytes: usize,
    /// Written since.
    written: usize,
    /// What large answers to this core's connections have taken of the turn.
    pub own: Share,
    /// The same of replies to other cores.
    pub peers: Share,
    /// Reserved for answers to come.
    reserved: usize,
}

impl AnswerBudget {
    /// A budget of `bound` bytes.
    pub const fn new(bound: usize) -> Self {
        Self { bound, connection_bytes: 0, written: 0, own: Share::WHOLE, peers: Share::WHOLE, reserved: 0 }
    }

    /// A turn begins, with `held` bytes in connections.
    pub const fn begin_turn(&mut self, connection_bytes: usize) {
        (self.connection_bytes, self.written) = (connection_bytes, 0);
        (self.own, self.peers) = (Share::WHOLE, Share::WHOLE);
    }

    const fn used(&self) -> usize {
        self.connection_bytes.saturating_add(self.written).saturating_add(self.reserved)
    }

    /// Bytes that are left.
    #[inline]
    pub const fn left(&self) -> usize {
        self.bound.saturating_sub(self.used())
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.left() == 0
    }

    /// Whether connections that hold so many bytes leave nothing.
    #[inline]
    pub const fn is_full_of(&self, connection_bytes: usize) -> bool {
        connection_bytes >= self.bound
    }

    /// Whether an answer of so many bytes may be given.
    #[inline]
    pub const fn fits(&self, bytes: usize) -> bool {
        bytes <= LARGE_BYTES || bytes <= self.left()
    }

    /// An answer was written.
    #[inline]
    pub const fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }

    /// The pace of one connection; a heavy one is one whose answers are large.
    #[inline]
    pub const fn pace(&self, is_heavy: bool) -> Pace {
        if self.is_full() {
            Pace { gaps: 1, together: 1, mark: 0 }
        } else if is_heavy || self.own.is_spent() {
            Pace { gaps: 2, together: 1, mark: LARGE_BYTES }
        } else {
            Pace { gaps: GAPS, together: READS_TOGETHER, mark: OUT_MARK_BYTES }
        }
    }

    /// Reserves room for a reply of another core. Returns whether it fits.
    pub const fn reserve(&mut self, bytes: usize) -> bool {
        self.reserve_within(bytes, self.bound)
    }

    /// Reserves room for the answer to a feed: a quarter more than for others, so that peers who
    /// take none of their answers delay no feed. A small one always fits.
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

    /// Releases what was reserved: the answer is about to be written, or nobody wants it any more.
    pub const fn release(&mut self, bytes: usize) {
        assert!(self.reserved >= bytes, "what is released was reserved");
        self.reserved -= bytes;
    }

    /// Bytes that are reserved.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }
}

/// How much one connection may do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Replies of other cores that it may wait for.
    pub gaps: usize,
    /// Reads that are parsed together.
    pub together: usize,
    /// Bytes of answers above which it starts no further request.
    pub mark: usize,
}

/// The budget for bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyBudget {
    bound: usize,
    reserved: usize,
}

impl BodyBudget {
    /// A budget of `bound` bytes.
    pub const fn new(bound: usize) -> Self {
        Self { bound, reserved: 0 }
    }

    /// A body grows by so many bytes that were received.
    pub const fn reserve(&mut self, bytes: usize) {
        self.reserved += bytes;
    }

    /// A body of so many bytes is gone.
    pub const fn release(&mut self, bytes: usize) {
        assert!(self.reserved >= bytes, "what is released was reserved");
        self.reserved -= bytes;
    }

    /// Whether a body that has so many bytes, and is not whole, may go on.
    pub const fn fits(&self, body_bytes: usize) -> bool {
        let bound = if body_bytes <= SMALL_BODY_BYTES { self.bound } else { self.bound / 4 * 3 };
        self.reserved <= bound
    }

    /// Bytes that are reserved.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_answers_always_fit() {
        let mut budget = AnswerBudget::new(100_000);
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
        let mut budget = AnswerBudget::new(2 * LARGE_BYTES_PER_TURN);
        (0..LARGE_BYTES_PER_TURN).for_each(|_| budget.own.spend(1));
        budget.own.spend(LARGE_BYTES_PER_TURN - 1);
        assert!(!budget.own.is_spent() && budget.pace(false).mark == OUT_MARK_BYTES);
        budget.own.spend(LARGE_BYTES + 1);
        assert!(
            budget.own.is_spent()
                && !budget.peers.is_spent()
                && budget.pace(false).mark == LARGE_BYTES
        );
        budget.begin_turn(0);
        assert!(!budget.own.is_spent());
        budget.begin_turn(2 * LARGE_BYTES_PER_TURN);
        assert_eq!(budget.pace(false).mark, 0);
    }

    #[test]
    fn the_last_quarter_is_for_small_bodies() {
        let mut budget = BodyBudget::new(4 << 20);
        budget.reserve(3 << 20);
        assert!(budget.fits(SMALL_BODY_BYTES + 1));
        budget.reserve(1);
        assert!(!budget.fits(SMALL_BODY_BYTES + 1) && budget.fits(SMALL_BODY_BYTES));
        budget.release(1);
        assert!(budget.fits(SMALL_BODY_BYTES + 1));
    }

    #[test]
    #[should_panic(expected = "what is released was reserved")]
    fn what_is_released_twice_is_noticed() {
        let mut budget = AnswerBudget::new(100_000);
        assert!(budget.reserve(50_000));
        budget.release(50_000);
        budget.release(50_000);
    }
}
