//! Histories of several clients of one server, which do not get in each other's way: each has users
//! of its own, and all go by one clock.

use super::super::entry;
use super::History;

impl History {
    /// A history of these users alone.
    pub fn apart(seed: u64, users: Vec<u64>, now_ms: u64) -> Self {
        let mut history = Self::new(seed);
        (history.users, history.is_apart) = (users, true);
        history.set_clock(now_ms);
        history
    }

    /// It is this late now, for the other clients too.
    pub fn set_clock(&mut self, now_ms: u64) {
        self.now_ms = i64::try_from(now_ms).expect("a clock of this era");
    }

    /// The line, unless it is a good one of another client's user.
    pub(super) fn own(&self, line: Vec<u8>) -> Vec<u8> {
        match entry::read(&line).entry {
            Ok(entry) if self.is_apart && !self.users.contains(&entry.user_id) => b"{}".to_vec(),
            _ => line,
        }
    }
}
