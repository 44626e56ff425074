//! How much room the answers of one core have: what is written and has not left is memory, and peers decide when it leaves.
//!
//! Large answers are refused when there is no room for them; small ones never, but then a connection gets one at a time. So what a core holds is
//! bounded, and a peer that takes its answers is served however many do not. A feed's answer cannot be refused once its entries are applied: room
//! for the longest one is promised to it before.
//!
//! Large answers also share turns: when those of a turn have written enough, batches wait for the next one, and connections ask for less at a time.
//!
//! Sizes are bytes.

use super::{GAPS, OUT_MARK_BYTES, TOGETHER};

/// An answer up to this size is always given: most reads are far below it.
pub const LARGE_BYTES: usize = 4 << 10;
/// No answer is larger: a thousand statistics of 256 groups, each about 205 bytes.
pub const LARGEST_BYTES: usize = 64 << 20;
/// What large answers may write in one turn before others have to wait.
const TURN_BYTES: usize = 256 << 10;
/// What a line of a feed adds to its answer at most.
pub const RESULT_BYTES: usize = 320;

/// The room of one core.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    bound: usize,
    /// When the turn began.
    taken: usize,
    /// Since then.
    written: usize,
    /// By large answers, refused ones included.
    large: usize,
    /// To feeds that are being applied.
    promised: usize,
}

impl Room {
    /// Room for so much.
    pub const fn new(bound: usize) -> Self {
        Self { bound, taken: 0, written: 0, large: 0, promised: 0 }
    }

    /// A turn begins, with so much taken.
    pub const fn begin(&mut self, taken: usize) {
        (self.taken, self.written, self.large) = (taken, 0, 0);
    }

    /// What is left.
    #[inline]
    pub const fn left(&self) -> usize {
        self.bound.saturating_sub(self.taken.saturating_add(self.written).saturating_add(self.promised))
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.left() == 0
    }

    /// Whether an answer of so many bytes may be given.
    #[inline]
    pub const fn takes(&self, bytes: usize) -> bool {
        bytes <= LARGE_BYTES || bytes <= self.left()
    }

    /// An answer was written.
    #[inline]
    pub const fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
    }

    /// Whether one more batch may be answered in this turn.
    #[inline]
    pub const fn has_turn(&self) -> bool {
        self.large < TURN_BYTES
    }

    /// An answer was rendered, or copied, whatever became of it; small ones do not count.
    #[inline]
    pub const fn used_turn(&mut self, bytes: usize) {
        if bytes > LARGE_BYTES {
            self.large = self.large.saturating_add(bytes);
        }
    }

    /// How much one connection may do at a time; a heavy one is one whose answers are large.
    #[inline]
    pub const fn pace(&self, is_heavy: bool) -> Pace {
        if self.is_full() {
            Pace { gaps: 1, together: 1, mark: 0 }
        } else if is_heavy || !self.has_turn() {
            Pace { gaps: 2, together: 1, mark: LARGE_BYTES }
        } else {
            Pace { gaps: GAPS, together: TOGETHER, mark: OUT_MARK_BYTES }
        }
    }

    /// Keeps room for an answer that will come. Returns whether there is any: a quarter more than for other answers, so that those who take none of
    /// theirs hold up no feed.
    pub const fn promise(&mut self, bytes: usize) -> bool {
        let taken = self.taken.saturating_add(self.written).saturating_add(self.promised);
        let most = self.bound.saturating_add(self.bound / 4);
        let takes = bytes <= LARGE_BYTES || bytes <= most.saturating_sub(taken);
        if takes {
            self.promised += bytes;
        }
        takes
    }

    /// The answer is about to be written, or nobody wants it any more.
    pub const fn redeem(&mut self, bytes: usize) {
        self.promised -= bytes;
    }
}

/// How much one connection may do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Answers of other cores that it may wait for.
    pub gaps: usize,
    /// Reads that are parsed together.
    pub together: usize,
    /// Bytes of answers on which it starts no further request.
    pub mark: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_answers_always_find_room() {
        let mut room = Room::new(100_000);
        assert!(room.takes(100_000) && !room.takes(100_001));
        room.begin(40_000);
        room.wrote(20_000);
        assert!(room.promise(30_000));
        assert_eq!(room.left(), 10_000);
        assert!(room.takes(10_000) && !room.takes(10_001) && !room.promise(35_001));
        room.wrote(50_000);
        assert!(room.is_full() && room.takes(LARGE_BYTES) && !room.takes(LARGE_BYTES + 1));
        room.redeem(30_000);
        room.begin(10_000);
        assert_eq!(room.left(), 90_000);
    }

    #[test]
    fn large_answers_share_a_turn() {
        let mut room = Room::new(2 * TURN_BYTES);
        (0..TURN_BYTES).for_each(|_| room.used_turn(1));
        room.used_turn(TURN_BYTES - 1);
        assert!(room.has_turn() && room.pace(false).mark == OUT_MARK_BYTES);
        room.used_turn(LARGE_BYTES + 1);
        assert!(!room.has_turn() && room.pace(false).mark == LARGE_BYTES);
        room.begin(0);
        assert!(room.has_turn());
        room.begin(2 * TURN_BYTES);
        assert_eq!(room.pace(false).mark, 0);
    }
}
