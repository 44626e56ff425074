//! The limits of a server in force: one struct, checked once, read wherever they are enforced.
//!
//! Counts, milliseconds, bytes and nanoseconds, as each name says. A limit of a core holds for each
//! core that runs one slice; a core that runs several has as many times of it.

/// Every limit that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// How long a request may stay unfinished.
    pub request_ms: u64,
    /// How long a connection may stay idle.
    pub idle_ms: u64,
    /// How long a peer may take none of its answers.
    pub send_ms: u64,
    /// How long idle connections are kept while draining.
    pub linger_ms: u64,
    /// How long draining may take.
    pub drain_ms: u64,
    /// Bytes of ledger above which new entries are refused.
    pub ledger_bytes: usize,
    /// What connections may hold: answers that have not left, and requests whose turn has not come.
    pub answer_bytes: usize,
    /// Bodies that are being received or applied.
    pub body_bytes: usize,
    /// How long a core may stand still before the process is ended.
    pub stall_ms: u64,
    /// How long a core spins for replies of other cores before it parks.
    pub spin_ns: u64,
}

impl Limits {
    /// Checks how the bounds relate.
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
            (
                self.drain_ms >= self.linger_ms,
                "--drain-timeout-ms must not be less than --linger-ms",
            ),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(self), |(_, rule)| Err((*rule).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_relate() {
        let good = Limits {
            connections: 1,
            request_ms: 10,
            idle_ms: 10,
            send_ms: 1,
            linger_ms: 5,
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
            Limits { drain_ms: 4, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
