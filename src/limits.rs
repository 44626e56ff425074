//! Configured limits of a server: one struct, validated once, read wherever they are enforced.
//!
//! The suffix of a name is the unit: `_ms` milliseconds, `_ns` nanoseconds, `_bytes` bytes, none
//! for a count. Limits per slice add up on a core that runs several slices.

/// All configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum open connections, per slice.
    pub connections: usize,
    /// Request timeout: how long a head may stay incomplete, and how long no byte of a body may
    /// arrive.
    pub request_ms: u64,
    /// Idle timeout of a connection.
    pub idle_ms: u64,
    /// Send timeout: how long a peer that has taken nothing yet may take nothing.
    pub send_ms: u64,
    /// Maximum duration of a drain, from the close of the listeners on.
    pub drain_ms: u64,
    /// Memory mark of the ledger, over all slices: above it, new entries are refused.
    pub ledger_bytes: usize,
    /// Budget of connection buffers, per slice: answers not sent yet, and requests not processed
    /// yet.
    pub answer_bytes: usize,
    /// Budget of request bodies that are being received or applied, per slice.
    pub body_bytes: usize,
    /// Watchdog timeout: the process is aborted if a core begins no turn for this long.
    pub stall_ms: u64,
    /// How long a core spins for replies of other cores before it parks.
    pub spin_ns: u64,
}

impl Limits {
    /// Checks the minimum of each limit, and the limits that depend on each other. The error is a
    /// message for the operator that names the flags.
    pub fn check(self) -> Result<Self, String> {
        let rules = [
            (self.connections >= 1, "--max-connections must be at least 1"),
            (self.request_ms >= 1, "--request-timeout-ms must be at least 1"),
            (
                self.idle_ms >= self.request_ms,
                "--idle-timeout-ms must not be less than --request-timeout-ms",
            ),
            (self.send_ms >= 1, "--send-timeout-ms must be at least 1"),
            (self.stall_ms >= 1_000, "--stall-timeout-ms must be at least 1000"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(self), |(_, rule)| Err((*rule).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_limits_are_refused() {
        let good = Limits {
            connections: 1,
            request_ms: 10,
            idle_ms: 10,
            send_ms: 1,
            drain_ms: 5,
            ledger_bytes: 0,
            answer_bytes: 0,
            body_bytes: 0,
            stall_ms: 1_000,
            spin_ns: 0,
        };
        assert_eq!(good.check(), Ok(good));
        for bad in [
            Limits { connections: 0, ..good },
            Limits { request_ms: 0, ..good },
            Limits { idle_ms: 9, ..good },
            Limits { send_ms: 0, ..good },
            Limits { stall_ms: 999, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
