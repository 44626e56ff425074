//! Where the memory goes: the shares of `--memory-mib`, which add up to no more than it.
//!
//! ```text
//! limit = reserve of the kernel
//!       + process + cores + slices      what a server without requests takes
//!       + connections                   what each takes when its peer does its worst
//!       + answers + bodies              budgets, with what growing buffers take beside
//!       + ledger                        the rest
//! ```
//!
//! A share has a least size, below which some legal request could never be served, and a largest
//! one, beyond which more is of no use. If the least sizes do not fit, the start is refused with
//! the least limit that is enough. If `--ledger-mib` takes more than the rest, the other shares
//! shrink, at most to their least.
//!
//! Connections are not refused at the start: their limit is lowered to what fits.

use crate::api::FEED_BYTES;
use crate::engine::{arena, buffers, net};
use crate::http::HEAD_BYTES;
use crate::server::limits::{BODIES_BYTES, IDLE_BUFFER_BYTES, REFUSED_CONNECTIONS};

const MIB: usize = 1 << 20;
/// More than the largest server needs, in MiB.
const MOST_MIB: usize = 1 << 20;

/// The kernel's reserve, as a fraction of the limit: page tables, and what the allocator of a large
/// ledger needs for its own tables.
const RESERVE_FRACTION: usize = 64;
/// The program, the heap that all threads share, and the stacks of threads that are not cores.
/// Measured: 13 MiB; a build for tests is 5 MiB larger. The rest is a margin: freed memory that no
/// block fits into is still resident.
const PROCESS_BYTES: usize = 28 * MIB;
/// Memory of a core beside its arena's windows: receive buffers, ring, stack, recycled bodies.
const CORE_BYTES: usize = buffers::ALL_BYTES + 4 * MIB;
/// Memory of a core with others beside it: recycled requests and scatter-gathers.
const EXCHANGE_BYTES: usize = 6 * MIB;
/// Queues between two cores, both directions.
const QUEUES_BYTES: usize = MIB / 4;
/// Buffers of the log and of snapshots, and disk threads, of a slice.
const DISK_BYTES: usize = 4 * MIB;
/// Memory of a slice without a disk.
const SLICE_BYTES: usize = MIB;

/// Memory of a connection without its socket's buffers. In the process, whatever the budgets say:
/// its state, an unfinished head, and one small answer. In the kernel: socket and descriptor.
const IDLE_BYTES: usize = (16 << 10) + (4 << 10);
const _: () =
    assert!(HEAD_BYTES + IDLE_BUFFER_BYTES < 16 << 10, "a connection has an answer and a head");
/// Memory of a connection whose peer does its worst.
const CONNECTION_BYTES: usize = IDLE_BYTES + net::SOCKET_BYTES;
/// Memory of a slice's connections above its limit: nothing is received from them but to be
/// discarded.
const REFUSED_BYTES: usize = REFUSED_CONNECTIONS * IDLE_BYTES;

/// Parts of a growing buffer's contents that it may occupy beside them, while it is copied or until
/// the old one is used again: a half.
const GROWTH_PARTS: (usize, usize) = (3, 2);

/// Shares of what a server without requests leaves, in percent.
const CONNECTIONS_PERCENT: usize = 20;
const ANSWERS_PERCENT: usize = 12;
const BODIES_PERCENT: usize = 8;

/// Least connections of a slice.
const LEAST_CONNECTIONS: usize = 32;
/// Least answers of a core: the largest statistics many times over. Larger batches get 503.
const LEAST_ANSWERS_BYTES: usize = 4 * MIB;
/// Least bodies of a core: the largest body, which may fill three quarters.
const LEAST_BODIES_BYTES: usize = FEED_BYTES / 3 * 4 + MIB / 4;
/// Largest answers of a slice: beyond it, peers do not read their answers.
const MOST_ANSWERS_BYTES: usize = 512 * MIB;
/// Least ledger of a slice, unless `--ledger-mib` asks for less.
const LEAST_LEDGER_BYTES: usize = 4 * MIB;

/// The memory limit of a server, and what shares it.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Memory limit, in bytes.
    pub memory_bytes: usize,
    /// Cores that have a slice.
    pub cores: usize,
    /// Slices of all cores.
    pub slices: usize,
    /// Maximum open connections, per slice.
    pub connections: usize,
    /// Size of the ledger, in bytes; `None` for what is left.
    pub ledger_bytes: Option<usize>,
    /// Whether the slices have a disk.
    pub is_persistent: bool,
}

/// The shares of a server, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Maximum open connections, per slice: at most as many as were asked for.
    pub connections: usize,
    /// Budget of answers, per slice.
    pub answer_bytes: usize,
    /// Budget of bodies, per slice.
    pub body_bytes: usize,
    /// Memory of the ledger, over all slices.
    pub ledger_bytes: usize,
}

/// A share: its size, and how far it can shrink.
#[derive(Clone, Copy)]
struct Share {
    bytes: usize,
    least: usize,
}

impl Share {
    fn new(wanted: usize, least: usize, most: usize) -> Self {
        Self { bytes: wanted.min(most).max(least), least }
    }

    fn spare(self) -> usize {
        self.bytes - self.least
    }

    /// Gives up its part of `missing` bytes, of which all shares together can spare `spare`.
    fn shrink(&mut self, missing: usize, spare: usize) {
        if missing > 0 {
            let part = self.spare() as u128 * missing as u128 / spare as u128;
            self.bytes -= self.spare().min(part as usize + 1);
        }
    }
}

impl Demand {
    /// Divides the memory. The error says what would fit.
    pub fn divide(self) -> Result<Shares, String> {
        self.shares().ok_or_else(|| self.refusal())
    }

    fn shares(self) -> Option<Shares> {
        let left = self.memory_bytes.checked_sub(self.fixed_bytes())?;
        let connection_bytes =
            |count: usize| self.slices * (count * CONNECTION_BYTES + REFUSED_BYTES);
        let percent = |percent: usize| left / 100 * percent;
        let connections = Share::new(
            percent(CONNECTIONS_PERCENT),
            connection_bytes(LEAST_CONNECTIONS.min(self.connections)),
            connection_bytes(self.connections),
        );
        let answers = Share::new(
            percent(ANSWERS_PERCENT),
            grown(self.cores * LEAST_ANSWERS_BYTES),
            grown(self.slices * MOST_ANSWERS_BYTES),
        );
        let bodies = Share::new(
            percent(BODIES_PERCENT),
            grown(self.cores * LEAST_BODIES_BYTES),
            grown(self.slices * BODIES_BYTES),
        );
        let mut shares = [connections, answers, bodies];
        let ledger_bytes = self.ledger_bytes.unwrap_or(self.slices * LEAST_LEDGER_BYTES);
        let taken = shares.iter().map(|share| share.bytes).sum::<usize>();
        let missing = taken.checked_add(ledger_bytes)?.saturating_sub(left);
        let spare = shares.iter().map(|share| share.spare()).sum::<usize>();
        if missing > spare {
            return None;
        }
        shares.iter_mut().for_each(|share| share.shrink(missing, spare));
        if self.ledger_bytes.is_some() && missing == 0 {
            // Connections get what a small ledger leaves.
            let wanted = connection_bytes(self.connections).saturating_sub(shares[0].bytes);
            shares[0].bytes += wanted.min(left - taken - ledger_bytes);
        }
        let taken = shares.iter().map(|share| share.bytes).sum::<usize>();
        let [connections, answers, bodies] = shares.map(|share| share.bytes);
        // A core with fewer slices than others has the least of a core, too.
        let of_slice = |bytes: usize, least: usize| {
            (contents(bytes) / self.slices).max(least / (self.slices / self.cores))
        };
        Some(Shares {
            connections: (connections / self.slices - REFUSED_BYTES) / CONNECTION_BYTES,
            answer_bytes: of_slice(answers, LEAST_ANSWERS_BYTES),
            body_bytes: of_slice(bodies, LEAST_BODIES_BYTES),
            ledger_bytes: self.ledger_bytes.unwrap_or(left - taken),
        })
    }

    /// Memory of a server without requests and users, and the kernel's reserve.
    fn fixed_bytes(self) -> usize {
        let of_core = CORE_BYTES
            + arena::overhead_bytes(self.memory_bytes / self.cores)
            + if self.cores > 1 { EXCHANGE_BYTES } else { 0 };
        let of_slice = SLICE_BYTES + if self.is_persistent { DISK_BYTES } else { 0 };
        self.memory_bytes / RESERVE_FRACTION
            + PROCESS_BYTES
            + self.cores * of_core
            + self.cores * (self.cores - 1) / 2 * QUEUES_BYTES
            + self.slices * of_slice
    }

    fn refusal(self) -> String {
        let fits = |demand: Self| demand.shares().is_some();
        let memory = self.memory_bytes / MIB;
        let with_ledger = |mib: usize| Self { ledger_bytes: Some(mib * MIB), ..self };
        match self.ledger_bytes {
            Some(bytes) if fits(with_ledger(0)) => format!(
                "--ledger-mib: {} does not fit into the {memory} MiB that this process may use \
                 (--memory-mib): at most {} does",
                bytes / MIB,
                first(memory, |mib| !fits(with_ledger(mib))) - 1
            ),
            _ => {
                let least = Self { ledger_bytes: None, ..self };
                let with_memory = |mib: usize| Self { memory_bytes: mib * MIB, ..least };
                format!(
                    "--memory-mib: the {memory} MiB that this process may use are too little for \
                     {} on {}: at least {} are needed",
                    count(self.slices, "slice"),
                    count(self.cores, "core"),
                    first(MOST_MIB, |mib| fits(with_memory(mib)))
                )
            }
        }
    }
}

/// The least number up to `most` for which `holds`, which then holds for all larger ones.
fn first(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low.midpoint(high);
        (low, high) = if holds(middle) { (low, middle) } else { (middle + 1, high) };
    }
    low
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Memory of growing buffers with contents of `bytes` bytes.
const fn grown(bytes: usize) -> usize {
    bytes / GROWTH_PARTS.1 * GROWTH_PARTS.0
}

/// Contents of growing buffers for which there are `bytes` bytes of memory.
const fn contents(bytes: usize) -> usize {
    bytes / GROWTH_PARTS.0 * GROWTH_PARTS.1
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand = Demand {
        memory_bytes: 0,
        cores: 1,
        slices: 1,
        connections: 10_000,
        ledger_bytes: None,
        is_persistent: true,
    };

    /// The sum of all shares, in bytes.
    fn sum(demand: Demand, shares: Shares) -> usize {
        let connections = demand.slices * (shares.connections * CONNECTION_BYTES + REFUSED_BYTES);
        let answers = grown(demand.slices * shares.answer_bytes);
        let bodies = grown(demand.slices * shares.body_bytes);
        let ledger = shares.ledger_bytes;
        demand.fixed_bytes() + connections + answers + bodies + ledger
    }

    #[test]
    fn the_shares_of_every_limit_that_is_accepted_fit_into_it() {
        let sizes = [(1, 1), (1, 7), (2, 2), (2, 5), (64, 64), (64, 256)];
        for ((cores, slices), ledger) in
            sizes.into_iter().flat_map(|size| [None, Some(0), Some(100 * MIB)].map(|l| (size, l)))
        {
            let of = |mib: usize| Demand {
                memory_bytes: mib * MIB,
                cores,
                slices,
                ledger_bytes: ledger,
                ..DEMAND
            };
            let least = first(MOST_MIB, |mib| of(mib).divide().is_ok());
            assert!(of(least - 1).divide().is_err());
            for mib in (least..least + 400).chain([20_000, 1 << 18]) {
                let shares = of(mib).divide().expect("more than the least is enough");
                let all = sum(of(mib), shares);
                // Slices of one core round up to the least of a core.
                let rounding = if slices % cores == 0 { 4_096 } else { slices * 16 * MIB };
                assert!(all <= mib * MIB + rounding, "{mib} MiB: {shares:?} add up to {all}");
                assert!(shares.connections > 0 && shares.connections <= 10_000);
                assert!(shares.answer_bytes * slices >= cores * LEAST_ANSWERS_BYTES - slices);
                assert!(shares.body_bytes * slices >= cores * LEAST_BODIES_BYTES - slices);
                assert!(ledger.is_none_or(|ledger| ledger == shares.ledger_bytes));
            }
        }
    }

    #[test]
    fn a_large_machine_gives_most_of_its_memory_to_the_ledger() {
        let demand = Demand { memory_bytes: 24_000 * MIB, cores: 2, slices: 2, ..DEMAND };
        let shares = demand.divide().unwrap();
        assert_eq!(shares.connections, 10_000);
        assert!(shares.ledger_bytes > 24_000 * MIB / 100 * 65, "{shares:?}");
    }

    #[test]
    fn a_refusal_names_what_fits() {
        let refused = Demand { memory_bytes: 50 * MIB, ..DEMAND }.divide().unwrap_err();
        let least = refused.split("at least ").nth(1).and_then(|rest| rest.split(' ').next());
        let least: usize = least.unwrap().parse().unwrap();
        assert!(Demand { memory_bytes: least * MIB, ..DEMAND }.divide().is_ok(), "{refused}");
        let ledger = Demand { ledger_bytes: Some(900 * MIB), ..DEMAND };
        let refused = Demand { memory_bytes: 900 * MIB, ..ledger }.divide().unwrap_err();
        let most = refused.split("at most ").nth(1).and_then(|rest| rest.split(' ').next());
        let most: usize = most.unwrap().parse().unwrap();
        let with =
            |mib| Demand { memory_bytes: 900 * MIB, ledger_bytes: Some(mib * MIB), ..DEMAND };
        assert!(with(most).divide().is_ok() && with(most + 1).divide().is_err(), "{refused}");
    }
}
