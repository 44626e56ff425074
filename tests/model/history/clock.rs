//! Histories for servers that read the real clock, which a test cannot set.
//!
//! The contract lets a clock decide two things: `entry_in_future`, and what a question without a
//! time is about. Such a history goes through the past, asks for no "now", and books nothing so
//! near to one hour ahead that the servers could be of two minds.

use super::super::stats::{DAY, HOUR, MAX_TIME, MINUTE};
use super::super::{entry, read};
use super::History;

/// How far the servers' clocks may be from the history's idea of them while it lasts.
const DOUBT: i64 = 10 * MINUTE;

/// The servers' clock when the history began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    now_ms: i64,
}

impl Clock {
    /// Where the history's own time ends.
    pub(super) fn end(self) -> i64 {
        self.now_ms - DOUBT
    }

    /// The time itself, or the nearest of which no clock is in doubt whether it is in the future.
    fn beyond_doubt(self, at_ms: i64) -> i64 {
        let edge = self.now_ms + HOUR;
        if at_ms.abs_diff(edge) > DOUBT.unsigned_abs() {
            at_ms
        } else if at_ms <= edge {
            edge - DOUBT - 1
        } else {
            edge + DOUBT + 1
        }
    }
}

impl History {
    /// A history for servers whose clocks say `now_ms`, and go on: its own time begins up to 900
    /// days before that.
    pub fn at_the_clock(seed: u64, now_ms: u64) -> Self {
        let mut history = Self::new(seed);
        let clock = Clock { now_ms: i64::try_from(now_ms).expect("a clock of this era") };
        let back = history.random.pick(&[HOUR, 3 * DAY, 30 * DAY, 450 * DAY, 900 * DAY]);
        history.now_ms = clock.end() - history.random.between(0, back);
        history.clock = Some(clock);
        history
    }

    /// What the servers' clocks say.
    pub(super) fn served_ms(&self) -> u64 {
        self.clock.map_or(self.now_ms, |clock| clock.now_ms).unsigned_abs()
    }

    /// The line, booked where no clock is in doubt of its verdict.
    pub(super) fn beyond_doubt(&self, line: Vec<u8>) -> Vec<u8> {
        let (Some(clock), Ok(entry)) = (self.clock, entry::read(&line).entry) else {
            return line;
        };
        let at_ms = clock.beyond_doubt(entry.at_ms);
        if at_ms == entry.at_ms {
            return line;
        }
        let text = String::from_utf8(line).expect("an entry is text");
        text.replace(&entry.at_ms.to_string(), &at_ms.to_string()).into_bytes()
    }

    /// Now and then a time beside the servers' clock: beyond the hour that is allowed, or within it
    /// if that is not far from the history's own time.
    pub(super) fn ahead_of_the_clock(&mut self) -> Option<i64> {
        let Clock { now_ms } = self.clock?;
        if !self.random.percent(4) {
            return None;
        }
        let refused = HOUR + DOUBT + 1;
        match self.random.below(5) {
            0 => Some(now_ms + refused),
            1 => Some(now_ms + refused + self.random.between(0, HOUR)),
            2 => Some(now_ms + refused + self.random.between(0, 400 * DAY)),
            3 => Some(MAX_TIME),
            _ if now_ms - self.now_ms < DAY => {
                Some(now_ms + self.random.between(0, HOUR - DOUBT - 1))
            }
            _ => None,
        }
    }

    /// A target whose answer is the same at any time.
    pub(super) fn target(&mut self) -> String {
        loop {
            let target = self.any_target();
            if self.clock.is_none() || !read::asks_the_clock(&target) {
                return target;
            }
        }
    }

    /// A batch of which that is true.
    pub(super) fn batch_body(&mut self) -> Vec<u8> {
        loop {
            let body = self.any_batch();
            if self.clock.is_none() || !read::batch_asks_the_clock(&body) {
                return body;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Model;
    use super::super::{History, Step};
    use super::{DOUBT, HOUR};

    const NOW: u64 = 1_763_900_000_000;

    /// Answers of servers whose clocks differ by as much as may be.
    fn answers(now_ms: u64, history: History) -> Vec<String> {
        let mut model = Model::new();
        let answer = |step| match step {
            Step::Feed { body, .. } => model.feed(now_ms, &body).1,
            Step::Get { target, .. } => model.get(now_ms, &target).body,
            Step::Batch { body, .. } => model.batch(now_ms, &body).body,
        };
        history.take(120).map(answer).collect()
    }

    #[test]
    fn no_clock_within_doubt_makes_a_difference() {
        let doubt = DOUBT.unsigned_abs();
        let (mut refused, mut ahead) = (0, 0);
        for seed in 0..12 {
            let history = History::at_the_clock(seed, NOW);
            let history = if seed % 4 == 0 { history.near_limits() } else { history };
            let late = answers(NOW + doubt, history.clone());
            assert_eq!(answers(NOW - doubt, history.clone()), late, "seed {seed}");
            refused += late.iter().filter(|answer| answer.contains("entry_in_future")).count();
            let mut history = history;
            history.by_ref().take(120).for_each(drop);
            assert!(history.now_ms <= history.clock.expect("it has one").end());
            let users = history.model.users.values().filter_map(|user| user.as_of_ms());
            let latest = users.max().expect("someone has entries");
            assert!(latest < NOW.cast_signed() + HOUR - DOUBT);
            ahead += usize::from(latest > NOW.cast_signed());
        }
        assert!(
            refused > 50 && ahead > 0,
            "{refused} refused, {ahead} histories with entries ahead of the clock"
        );
    }
}
