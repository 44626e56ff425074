//! Plain counters of one core: no atomics, no locks, added up when they are read.
//!
//! Imports nothing of ours: routes and verdicts are given by number and named by whoever shows them.

/// Routes that are counted apart.
pub const ROUTES: usize = 8;
/// Classes of status: 1xx to 5xx, by their first digit.
pub const CLASSES: usize = 6;

/// What one core has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Answers by route and status class.
    pub answers: [[u64; CLASSES]; ROUTES],
    /// Entries accepted.
    pub accepted: u64,
    /// Entries that were duplicates.
    pub duplicates: u64,
    /// Entries that the ledger rejected.
    pub rejected: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away at the limit.
    pub turned_away: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Turns of the event loop.
    pub turns: u64,
}

impl Counters {
    /// Counts an answer.
    #[inline]
    pub fn answered(&mut self, route: usize, status: u16) {
        self.answers[route % ROUTES][usize::from(status / 100) % CLASSES] += 1;
    }

    /// Answers of all routes and classes.
    pub fn answers_total(&self) -> u64 {
        self.answers.iter().flatten().sum()
    }

    /// Answers of one class of status, of all routes.
    pub fn answers_of_class(&self, class: usize) -> u64 {
        self.answers.iter().map(|by_class| by_class[class % CLASSES]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_add_up() {
        let mut counters = Counters::default();
        for (route, status) in [(0, 200), (0, 304), (1, 200), (7, 503)] {
            counters.answered(route, status);
        }
        assert_eq!(counters.answers_total(), 4);
        assert_eq!([2, 3, 4, 5].map(|class| counters.answers_of_class(class)), [2, 1, 0, 1]);
    }
}
