//! Histories for servers that use the real clock, which a test cannot set.
//!
//! By the contract two things depend on the clock: `entry_in_future`, and the range of a statistics
//! read without `at_ms`. So such a history runs in the past, has no reads without a time, and books
//! nothing so close to one hour ahead that two servers could decide differently.

use super::super::stats::{DAY, HOUR, MAX_TIME, MINUTE};
use super::super::{entry, read};
use super::History;

/// Most difference between the servers' clocks and the history's, while it runs.
const UNCERTAINTY: i64 = 10 * MINUTE;

/// The servers' clock at the start of the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    now_ms: i64,
}

impl Clock {
    /// End of the history's own time.
    pub(super) fn end(self) -> i64 {
        self.now_ms - UNCERTAINTY
    }

    /// The time itself, or the nearest one that all clocks within `UNCERTAINTY` judge alike.
    fn beyond_doubt(self, at_ms: i64) -> i64 {
        let edge = self.now_ms + HOUR;
        if at_ms.abs_diff(edge) > UNCERTAINTY.unsigned_abs() {
            at_ms
        } else if at_ms <= edge {
            edge - UNCERTAINTY - 1
        } else {
            edge + UNCERTAINTY + 1
        }
    }
}

impl History {
    /// A history for servers whose clocks start at `now_ms`. Its own time begins up to 900 days
    /// before that.
    pub fn at_the_clock(seed: u64, now_ms: u64) -> Self {
        let mut history = Self::new(seed);
        let clock = Clock { now_ms: i64::try_from(now_ms).expect("a clock of this era") };
        let back = history.random.pick(&[HOUR, 3 * DAY, 30 * DAY, 450 * DAY, 900 * DAY]);
        history.now_ms = clock.end() - history.random.between(0, back);
        history.clock = Some(clock);
        history
    }

    /// The servers' time.
    pub(super) fn served_ms(&self) -> u64 {
        self.clock.map_or(self.now_ms, |clock| clock.now_ms).unsigned_abs()
    }

    /// The line, its booking time moved if needed so that all clocks give the same verdict.
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

    /// Sometimes a time ahead of the servers' clock: more than the allowed hour, or less if the
    /// history's own time is close to that clock.
    pub(super) fn ahead_of_the_clock(&mut self) -> Option<i64> {
        let Clock { now_ms } = self.clock?;
        if !self.random.percent(4) {
            return None;
        }
        let refused = HOUR + UNCERTAINTY + 1;
        match self.random.below(5) {
            0 => Some(now_ms + refused),
            1 => Some(now_ms + refused + self.random.between(0, HOUR)),
            2 => Some(now_ms + refused + self.random.between(0, 400 * DAY)),
            3 => Some(MAX_TIME),
            _ if now_ms - self.now_ms < DAY => {
                Some(now_ms + self.random.between(0, HOUR - UNCERTAINTY - 1))
            }
            _ => None,
        }
    }

    /// A target whose answer does not depend on the clock.
    pub(super) fn target(&mut self) -> String {
        loop {
            let target = self.any_target();
            if self.clock.is_none() || !read::asks_the_clock(&target) {
                return target;
            }
        }
    }

    /// A batch whose answer does not depend on the clock.
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
    use super::{HOUR, UNCERTAINTY};

    const NOW: u64 = 1_763_900_000_000;

    /// Answers of a server whose clock is `now_ms`.
    fn answers(now_ms: u64, history: History) -> Vec<String> {
        let mut model = Model::new();
        let answer = |step| match step {
            Step::Feed { late, body, .. } => model.feed(now_ms, late, &body).1,
            Step::Get { target, .. } => model.get(now_ms, &target).body,
            Step::Batch { body, .. } => model.batch(now_ms, &body).body,
        };
        history.take(120).map(answer).collect()
    }

    #[test]
    fn clocks_within_the_uncertainty_give_the_same_answers() {
        let doubt = UNCERTAINTY.unsigned_abs();
        let (mut refused, mut ahead) = (0, 0);
        for seed in 0..12 {
            let history = History::at_the_clock(seed, NOW);
            let history = if seed % 4 == 0 { history.near_limits() } else { history };
            let late = answers(NOW + doubt, history.clone());
            assert_eq!(answers(NOW - doubt, history.clone()), late, "seed {seed}");
            refused += late.iter().filter(|answer| answer.contains("entry_in_future")).count();
            let mut history = history;
            history.by_ref().take(120).for_each(drop);
            assert!(history.now_ms <= history.clock.expect("a clock is set").end());
            let users = history.model.users.values().filter_map(|user| user.as_of_ms());
            let latest = users.max().expect("someone has entries");
            assert!(latest < NOW.cast_signed() + HOUR - UNCERTAINTY);
            ahead += usize::from(latest > NOW.cast_signed());
        }
        assert!(
            refused > 50 && ahead > 0,
            "{refused} refused, {ahead} histories with entries ahead of the clock"
        );
    }
}
