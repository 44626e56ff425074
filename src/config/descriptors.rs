//! Shares of the limit of open files: what files and the cores need is reserved, and connections
//! get the rest.

use super::settings::Host;
use crate::engine::listening::ACCEPTS;
use crate::server::limits::refused_connections;

/// Descriptors of the process besides those that it was started with: the lock of the data
/// directory, two of the signals, and eight for what is read for a moment (`/proc`, a backtrace).
const OF_PROCESS: usize = 11;
/// Descriptors of a core: its ring, and the event descriptor that wakes it.
const OF_CORE: usize = 2;
/// Descriptors of a slice's files. Log: the segment written to, the prepared one, and one of each
/// that is handed over. Segments and manifests: a file and its directory. Snapshots: the same.
const OF_FILES: usize = 8;
/// Connections that a slice must be able to have, or else it is not worth a start.
const MIN_CONNECTIONS: usize = 4;

/// Users of descriptors, besides connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Users {
    /// Number of cores.
    pub cores: usize,
    /// Number of slices.
    pub slices: usize,
    /// Whether slices have files.
    pub is_persistent: bool,
    /// Whether slices have ports of their own.
    pub has_own_ports: bool,
}

impl Users {
    /// The number of connections that each slice can have, at most `wanted`. An error if the limit
    /// is too low for a start.
    pub(super) fn connections(self, wanted: usize, host: &Host) -> Result<usize, String> {
        let Self { cores, slices, is_persistent, has_own_ports } = self;
        let listeners = if has_own_ports { 2 } else { 1 };
        let files = if is_persistent { OF_FILES } else { 0 };
        // An accept in flight may take a descriptor before the machine knows of the connection.
        let of_slice = files + listeners * (1 + ACCEPTS);
        let reserved = host.open_descriptors + OF_PROCESS + cores * OF_CORE + slices * of_slice;
        let share = host.descriptors.saturating_sub(reserved) / slices;
        let connections = wanted.min(connections_within(share));
        if connections < wanted.min(MIN_CONNECTIONS) {
            let least =
                reserved + slices * (MIN_CONNECTIONS + refused_connections(MIN_CONNECTIONS));
            return Err(format!(
                "the limit of open files is {}, and {slices} slices need at least {least}: raise \
                 it (ulimit -n, LimitNOFILE= of the service) or lower --slices",
                host.descriptors
            ));
        }
        Ok(connections)
    }
}

/// The largest connection limit that takes at most `share` descriptors, with the connections above
/// it that are being refused.
fn connections_within(share: usize) -> usize {
    share.saturating_sub(refused_connections(share.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_refused_ones_fit_a_share() {
        for share in 0..1_000 {
            let limit = connections_within(share);
            assert!(limit == 0 || limit + refused_connections(limit) <= share, "{share}");
            let more = limit + 1;
            assert!(more + refused_connections(more) > share, "{share} has room for {more}");
        }
    }

    #[test]
    fn files_come_first() {
        let host = |descriptors| Host {
            cpus: Vec::new(),
            memory_bytes: 0,
            address_space: crate::engine::memory_limit::AddressSpace::UNLIMITED,
            descriptors,
            open_descriptors: 3,
        };
        let users = Users { cores: 2, slices: 2, is_persistent: true, has_own_ports: true };
        let reserved = 3 + OF_PROCESS + 2 * OF_CORE + 2 * (OF_FILES + 2 * (1 + ACCEPTS));
        let connections = |descriptors| users.connections(10_000, &host(descriptors));
        assert_eq!(connections(1 << 20), Ok(10_000), "as many as wanted");
        assert_eq!(connections(reserved + 2 * 1_064), Ok(1_000));
        assert_eq!(connections(reserved + 2 * 8), Ok(4));
        let refused = connections(reserved + 2 * 8 - 1).expect_err("too few");
        assert!(refused.contains(&(reserved + 2 * 8).to_string()), "{refused}");
        assert_eq!(users.connections(1, &host(reserved + 2 * 8)), Ok(1));
    }
}
