//! Histories for several clients of one server that do not interfere: each has its own users, and
//! all share one clock.

use super::super::entry;
use super::History;

impl History {
    /// A history with entries of these users only.
    pub fn separate(seed: u64, users: Vec<String>, now_ms: u64) -> Self {
        let mut history = Self::new(seed);
        (history.users, history.is_separate) = (users, true);
        history.set_clock(now_ms);
        history
    }

    /// Sets the time, which all clients share.
    pub fn set_clock(&mut self, now_ms: u64) {
        self.now_ms = i64::try_from(now_ms).expect("a clock of this era");
    }

    /// Replaces a valid line for another client's user with `{}`, so that clients do not interfere.
    pub(super) fn own(&self, line: Vec<u8>) -> Vec<u8> {
        match entry::read(&line).entry {
            Ok(entry) if self.is_separate && !self.users.contains(&entry.user_id) => b"{}".to_vec(),
            _ => line,
        }
    }
}
