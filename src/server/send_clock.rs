//! The time that a peer has to take its answers.
//!
//! Progress is what the socket takes of a send. A peer that reads steadily makes it in steps: once
//! its receive buffer is full, Linux opens the window again only when a part of it has been read.
//! Measured on Linux 6.18: 330 KB of a buffer of 416 KiB, 900 KB of 6 MiB, 2 MB of 32 MiB; at
//! 30 KB/s that is 11 s, 30 s and 70 s without a sign of life. So the clock allows for the buffer
//! that the peer may have, which is at most what the connection has taken so far:
//!
//! - Each send has at least the send timeout.
//! - Each [`MIN_BYTES_PER_S`] taken add a second, so that a peer that takes a byte now and then is
//!   closed.
//! - The time left is at most the send timeout and a second for each [`BUFFER_BYTES_PER_S`] that
//!   the connection has taken, and at most [`MOST_TIMEOUTS`] send timeouts.
//!
//! The clock runs only while a send is in flight.

/// Rate at which a peer must take its answers in the long run, in bytes per second.
const MIN_BYTES_PER_S: u64 = 1 << 10;
/// Rate at which a peer must empty a full receive buffer, in bytes per second. Some four fifths of
/// a small one have to be read before it shows: the first 10 s at 20 KB/s, and the rest of it.
const BUFFER_BYTES_PER_S: u64 = 48 << 10;
/// Bound of the time left, in send timeouts: enough for the step of a buffer of 32 MiB at 20 KB/s.
const MOST_TIMEOUTS: u64 = 18;

/// The send clock of a connection. All times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendClock {
    timeout_ms: u64,
    /// Bytes that the connection has taken.
    taken: u64,
    /// Time left for the next send.
    left_ms: u64,
    /// When the send in flight times out; [`u64::MAX`] if none is.
    ends_ms: u64,
}

impl SendClock {
    pub(super) const fn new(timeout_ms: u64) -> Self {
        Self { timeout_ms, taken: 0, left_ms: timeout_ms, ends_ms: u64::MAX }
    }

    /// Starts the clock for a new send.
    #[inline]
    pub(super) fn start(&mut self, now_ms: u64) {
        self.ends_ms = now_ms.saturating_add(self.left_ms.max(self.timeout_ms));
    }

    /// The socket took some bytes of the send.
    #[inline]
    pub(super) fn took(&mut self, bytes: usize, now_ms: u64) {
        self.taken += bytes as u64;
        let buffer_ms = self.taken * 1_000 / BUFFER_BYTES_PER_S;
        let most_ms = self.timeout_ms.saturating_add(buffer_ms);
        let most_ms = most_ms.min(self.timeout_ms.saturating_mul(MOST_TIMEOUTS));
        let more_ms = bytes as u64 * 1_000 / MIN_BYTES_PER_S;
        // A turn may be late: what was taken before it counts all the same.
        let ends_ms = self.ends_ms.max(now_ms).saturating_add(more_ms);
        self.ends_ms = ends_ms.min(now_ms.saturating_add(most_ms));
    }

    /// Stops the clock: the socket took all of the send.
    #[inline]
    pub(super) fn stop(&mut self, now_ms: u64) {
        self.left_ms = self.ends_ms.saturating_sub(now_ms);
        self.ends_ms = u64::MAX;
    }

    /// Whether the peer has taken too little for too long.
    pub(super) const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_MS: u64 = 10_000;

    /// When a peer is closed that takes `bytes` every `every_ms` after `first` bytes, within
    /// `until_ms`.
    fn closed_at(first: usize, bytes: usize, every_ms: u64, until_ms: u64) -> Option<u64> {
        let mut clock = SendClock::new(TIMEOUT_MS);
        clock.start(0);
        clock.took(first, 0);
        for now_ms in 1..until_ms {
            if bytes > 0 && now_ms % every_ms == 0 {
                clock.took(bytes, now_ms);
            }
            if clock.is_over(now_ms) {
                return Some(now_ms);
            }
        }
        None
    }

    const HOUR_MS: u64 = 3_600_000;

    /// Steady readers at 20 to 100 KB/s behind full receive buffers, each with the longest step
    /// that was measured.
    #[test]
    fn steady_readers_with_large_buffers_have_time() {
        let steps = [
            (64 << 10, 62_000),
            (128 << 10, 125_000),
            (416 << 10, 356_000),
            (1 << 20, 430_000),
            (6 << 20, 900_000),
            (32 << 20, 2_700_000),
        ];
        for (buffer, step) in steps {
            for bytes_per_s in [20_000, 30_000, 100_000] {
                let every_ms = (step * 1_000 / bytes_per_s) as u64;
                let closed = closed_at(buffer, step, every_ms, HOUR_MS);
                assert_eq!(closed, None, "a buffer of {buffer} at {bytes_per_s} bytes/s");
            }
        }
    }

    /// A reader behind a small buffer may be as slow as the minimum rate.
    #[test]
    fn a_reader_at_the_minimum_rate_has_time() {
        assert_eq!(closed_at(4_096, 1_024, 1_000, HOUR_MS), None);
        assert!(closed_at(4_096, 1_000, 1_000, HOUR_MS).is_some());
    }

    #[test]
    fn a_peer_that_takes_nothing_more_is_closed() {
        assert_eq!(closed_at(0, 0, 1, HOUR_MS), Some(TIMEOUT_MS));
        assert_eq!(closed_at(256 << 10, 0, 1, HOUR_MS), Some(TIMEOUT_MS + 5_333));
        assert_eq!(closed_at(6 << 20, 0, 1, HOUR_MS), Some(TIMEOUT_MS + 128_000));
        assert_eq!(closed_at(1 << 30, 0, 1, HOUR_MS), Some(MOST_TIMEOUTS * TIMEOUT_MS));
    }

    #[test]
    fn a_peer_that_takes_a_byte_now_and_then_is_closed() {
        assert_eq!(closed_at(0, 1, 9_000, HOUR_MS), Some(TIMEOUT_MS));
        assert_eq!(closed_at(48 << 10, 1, 9_000, HOUR_MS), Some(TIMEOUT_MS + 1_000));
    }

    /// Time between sends does not count, and each send has at least the timeout.
    #[test]
    fn the_clock_runs_only_while_a_send_is_in_flight() {
        let mut clock = SendClock::new(TIMEOUT_MS);
        clock.start(0);
        clock.took(10, 9_000);
        clock.stop(9_000);
        assert!(!clock.is_over(HOUR_MS));
        clock.start(HOUR_MS);
        assert!(!clock.is_over(HOUR_MS + TIMEOUT_MS - 1) && clock.is_over(HOUR_MS + TIMEOUT_MS));
    }

    /// A turn that comes late, because the machine was stopped, does not close a peer that reads.
    #[test]
    fn what_was_taken_before_a_late_turn_counts() {
        let mut clock = SendClock::new(TIMEOUT_MS);
        clock.start(0);
        clock.took(64 << 10, 60_000);
        assert!(!clock.is_over(60_001));
    }
}
