//! From flags and machine to a [`Config`]: refusals and defaults. The shares of memory are in
//! [`super::memory`].

use super::descriptors::Users;
use super::flags::Flags;
use super::memory::Demand;
use super::settings::{Config, Host};
use crate::engine::memory_limit::AddressSpace;
use crate::limits::Limits;
use crate::server::limits::MAX_CONNECTIONS;
use std::time::Duration;

/// Time that a core spins for replies of other cores before it parks, in nanoseconds: less than a
/// wake-up takes.
const SPIN_NS: u64 = 20_000;

/// Directory of the data unless `--data` names another.
const DATA: &str = "purser-data";

/// Threads besides those of cores and slices: main, log lines, signals, watchdog.
const THREADS: usize = 4;
/// Threads of a core: its own, and the one that prefaults memory.
const CORE_THREADS: usize = 2;
/// Threads of a slice with files.
const SLICE_THREADS: usize = 3;
/// Address space of a core besides its memory: alignment and index of its arena, ring, buffers.
const CORE_MAPPED_BYTES: usize = 40 << 20;

/// Memory below which the default is refused: the least `--memory-mib`.
const MIN_MAPPED_BYTES: usize = 64 << 20;

/// Checks the flags against the machine and fills in defaults.
pub fn check(flags: Flags, machine: &Host) -> Result<Config, String> {
    let cores = match &flags.cores {
        None => machine.cpus.clone(),
        Some(list) => {
            list.clone().within(&machine.cpus).map_err(|message| format!("--cores: {message}"))?
        }
    };
    if cores.is_empty() {
        return Err("--cores: at least one CPU is needed".to_owned());
    }
    let slices = flags.slices.unwrap_or(cores.len() as u32);
    // A single core has no replies to wait for.
    let spin_ns = if cores.len() > 1 { SPIN_NS } else { 0 };
    let used_cores = cores.len().min(slices as usize);
    let memory_bytes = match flags.memory_mib {
        Some(mib) => (mib as usize) << 20,
        None => machine.memory_bytes.min(mappable_bytes(machine, used_cores, slices as usize)?),
    };
    if flags.ephemeral && flags.data.is_some() {
        return Err(
            "--data (PURSER_DATA) and --ephemeral (PURSER_EPHEMERAL) exclude each other".to_owned()
        );
    }
    // A single slice has the common port to itself.
    let own_ports = slices > 1 && !flags.no_slice_ports;
    let users = Users {
        cores: used_cores,
        slices: slices as usize,
        is_persistent: !flags.ephemeral,
        has_own_ports: own_ports,
    };
    let connections_within_descriptors = users.connections(flags.max_connections, machine)?;
    let demand = Demand {
        memory_bytes,
        cores: used_cores,
        slices: slices as usize,
        connections: connections_within_descriptors,
        ledger_bytes: flags
            .ledger_mib
            .map(|mib| bytes("--ledger-mib", mib).map(|bytes| bytes as usize))
            .transpose()?,
        is_persistent: !flags.ephemeral,
    };
    let limits = limits(&flags, demand, spin_ns)?;
    let snapshot_after_bytes = bytes("--snapshot-after-mib", flags.snapshot_after_mib)?;
    let base = flags.listen.port();
    if own_ports && base > 0 && u32::from(base) + slices > u32::from(u16::MAX) {
        return Err(format!(
            "--listen: port {base} + {slices}, that of the last slice, is above 65535: choose a \
             lower one, or --no-slice-ports"
        ));
    }
    Ok(Config {
        listen: flags.listen,
        cores,
        own_ports,
        slices,
        data: (!flags.ephemeral).then(|| flags.data.unwrap_or_else(|| DATA.into())),
        snapshot_after_bytes,
        memory_bytes,
        asked_connections: flags.max_connections,
        connections_within_descriptors,
        limits,
        arena: !flags.no_arena,
        drain_delay: Duration::from_millis(flags.drain_delay_ms),
    })
}

/// Bytes that the cores may map: what the limit of the address space leaves, less what threads and
/// rings take of it. An error if that is too little.
fn mappable_bytes(machine: &Host, cores: usize, slices: usize) -> Result<usize, String> {
    let AddressSpace { limit_bytes, left_bytes, thread_bytes } = machine.address_space;
    let threads = THREADS + cores * CORE_THREADS + slices * SLICE_THREADS;
    let others = threads * thread_bytes + cores * CORE_MAPPED_BYTES;
    let needed = others + MIN_MAPPED_BYTES;
    if left_bytes < needed {
        return Err(format!(
            "the limit of the address space is {} KiB, and {threads} threads with the least memory \
             need {}: raise it (ulimit -v)",
            limit_bytes >> 10,
            (limit_bytes - left_bytes + needed) >> 10
        ));
    }
    Ok(left_bytes - others)
}

fn limits(flags: &Flags, demand: Demand, spin_ns: u64) -> Result<Limits, String> {
    let limits = Limits {
        connections: flags.max_connections,
        request_ms: flags.request_timeout_ms,
        idle_ms: flags.idle_timeout_ms,
        send_ms: flags.send_timeout_ms,
        drain_ms: flags.drain_timeout_ms,
        ledger_bytes: 0,
        answer_bytes: 0,
        body_bytes: 0,
        stall_ms: flags.stall_timeout_ms,
        spin_ns,
    };
    let limits = limits.check()?;
    if limits.connections > MAX_CONNECTIONS {
        return Err(format!("--max-connections must be at most {MAX_CONNECTIONS}"));
    }
    let shares = demand.divide()?;
    Ok(Limits {
        connections: shares.connections,
        ledger_bytes: shares.ledger_bytes,
        answer_bytes: shares.answer_bytes,
        body_bytes: shares.body_bytes,
        ..limits
    })
}

/// Converts MiB to bytes; an error on overflow names the flag.
fn bytes(flag: &str, mib: u64) -> Result<u64, String> {
    mib.checked_mul(1 << 20).ok_or_else(|| format!("{flag}: too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::Path;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    const MIB: usize = 1 << 20;

    fn machine(cpus: &[usize]) -> Host {
        Host {
            cpus: cpus.to_vec(),
            memory_bytes: 10_000 * MIB,
            address_space: AddressSpace::UNLIMITED,
            descriptors: 1 << 30,
            open_descriptors: 3,
        }
    }

    /// Parses and checks a command line of words separated by spaces.
    fn typed(line: &str, machine: &Host) -> Result<Config, String> {
        let words = ["serve"].into_iter().chain(line.split_whitespace());
        check(Line::try_parse_from(words).expect("each flag is valid by itself").flags, machine)
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = typed("", &machine(&[0, 2])).unwrap();
        assert_eq!((config.cores.as_slice(), config.slices), (&[0, 2][..], 2));
        assert_eq!(config.data.as_deref(), Some(Path::new("purser-data")));
        assert_eq!(config.snapshot_after_bytes, 256 << 20);
        assert_eq!((config.memory_bytes, config.arena), (10_000 * MIB, true));
        let limits = config.limits;
        assert!((5_000 * MIB..8_000 * MIB).contains(&limits.ledger_bytes), "{limits:?}");
        assert!((300 * MIB..400 * MIB).contains(&limits.answer_bytes), "a slice's share");
        assert!((200 * MIB..256 * MIB).contains(&limits.body_bytes), "a slice's share");
        assert_eq!(config.asked_connections, 10_000);
        assert!((4_000..10_000).contains(&limits.connections), "as many as fit: {limits:?}");
        assert_eq!(limits.spin_ns, SPIN_NS);
        assert_eq!(limits.check(), Ok(limits));
    }

    #[test]
    fn flags_override_defaults() {
        let config = typed(
            "--cores 2 --slices 3 --ephemeral --no-arena --memory-mib 1000",
            &machine(&[0, 1, 2]),
        );
        let config = config.unwrap();
        assert_eq!((config.cores.as_slice(), config.slices), (&[2][..], 3));
        assert_eq!((config.data, config.arena, config.memory_bytes), (None, false, 1_000 * MIB));
        assert_eq!(config.limits.spin_ns, 0, "a single core waits for no other");
        let config = typed("--ledger-mib 3 --data there", &machine(&[0])).unwrap();
        assert_eq!(
            (config.limits.ledger_bytes, config.data.as_deref()),
            (3 * MIB, Some(Path::new("there")))
        );
    }

    #[test]
    fn errors_name_their_flags() {
        let check = |line: &str, named: &[&str]| {
            let refused = typed(line, &machine(&[0, 1])).expect_err(line);
            assert!(named.iter().all(|name| refused.contains(name)), "{line}: {refused}");
        };
        check("--cores 0,2", &["--cores", "CPU 2", "0-1"]);
        check("--ledger-mib 18446744073709551615", &["--ledger-mib"]);
        check("--ledger-mib 9999", &["--ledger-mib", "9999", "10000 MiB"]);
        check("--memory-mib 40", &["--memory-mib", "40 MiB", "2 slices on 2 cores"]);
        check("--snapshot-after-mib 18446744073709551615", &["--snapshot-after-mib"]);
        check("--max-connections 0", &["--max-connections"]);
        check(&format!("--max-connections {}", MAX_CONNECTIONS + 1), &["--max-connections"]);
        check("--request-timeout-ms 0", &["--request-timeout-ms"]);
        check(
            "--idle-timeout-ms 9 --request-timeout-ms 10",
            &["--idle-timeout-ms", "--request-timeout-ms"],
        );
        check("--send-timeout-ms 0", &["--send-timeout-ms"]);
        check("--stall-timeout-ms 999", &["--stall-timeout-ms"]);
        check("--listen 127.0.0.1:65530 --slices 6", &["--listen", "65530 + 6"]);
        check("--data there --ephemeral", &["--data", "--ephemeral"]);
        let refused = typed("", &machine(&[])).expect_err("no CPU");
        assert!(refused.contains("--cores"), "{refused}");
    }

    #[test]
    fn memory_fits_the_address_space() {
        let limited = |left_mib| {
            let (limit_bytes, left_bytes) = (3_000 * MIB, left_mib * MIB);
            let address_space = AddressSpace { limit_bytes, left_bytes, thread_bytes: 34 * MIB };
            Host { address_space, ..machine(&[0]) }
        };
        let memory_bytes = |line| typed(line, &limited(2_000)).unwrap().memory_bytes;
        assert_eq!(memory_bytes(""), (2_000 - 9 * 34 - 40) * MIB);
        let refused = typed("", &limited(400)).expect_err("too little");
        assert!(refused.contains("3072000 KiB") && refused.contains("ulimit -v"), "{refused}");
        let least_kib = (3_000 - 400 + 9 * 34 + 40 + 64) << 10;
        assert!(refused.contains(&least_kib.to_string()), "{refused}");
        assert_eq!(memory_bytes("--memory-mib 100"), 100 * MIB);
    }

    #[test]
    fn the_limit_of_open_files_bounds_connections() {
        let few = Host { descriptors: 1_000, ..machine(&[0]) };
        let config = typed("", &few).unwrap();
        assert!((800..1_000).contains(&config.limits.connections), "{:?}", config.limits);
        assert_eq!(config.asked_connections, 10_000);
        let refused = typed("--slices 100", &few).expect_err("too few descriptors");
        assert!(refused.contains("1000") && refused.contains("ulimit -n"), "{refused}");
    }

    #[test]
    fn a_single_slice_has_no_port_of_its_own() {
        assert!(typed("", &machine(&[0, 1])).unwrap().own_ports);
        assert!(!typed("", &machine(&[0])).unwrap().own_ports);
        assert!(!typed("--no-slice-ports", &machine(&[0, 1])).unwrap().own_ports);
        assert!(typed("--listen 127.0.0.1:65535 --slices 1", &machine(&[0])).is_ok());
    }

    #[test]
    fn the_largest_values_are_accepted() {
        assert!(typed("--listen 127.0.0.1:65530 --slices 5", &machine(&[0])).is_ok());
        assert!(typed("--listen 127.0.0.1:0 --slices 256", &machine(&[0])).is_ok());
        assert!(typed(&format!("--max-connections {MAX_CONNECTIONS}"), &machine(&[0])).is_ok());
    }

    #[test]
    fn slices_are_assigned_to_cpus_round_robin() {
        let config = typed("--slices 3", &machine(&[4, 6])).unwrap();
        assert_eq!([0, 1, 2].map(|slice| config.cpu_of(slice)), [4, 6, 4]);
        assert_eq!(config.cores_with_slices(), [4, 6]);
        assert_eq!(typed("--slices 1", &machine(&[4, 6])).unwrap().cores_with_slices(), [4]);
        assert_eq!(config.ledger_bytes_of_slice(), config.limits.ledger_bytes / 3);
    }
}
