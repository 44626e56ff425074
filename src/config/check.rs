//! From flags and machine to a [`Config`]: refusals, defaults, and the shares of memory.
//!
//! | share | used for | per slice |
//! |---|---|---|
//! | 70 % | the ledger, unless `--ledger-mib` sets it | an equal share |
//! | 12 % | unsent answers, and replies expected from other cores | equal, 64 to 512 MiB |
//! | 4 % | bodies not yet applied | equal, two whole bodies to 256 MiB |
//!
//! The rest is for connections, buffers and the system. A buffer that grows may take twice the size
//! of its contents.

use super::flags::Flags;
use super::settings::{Config, Host};
use crate::api::FEED_BYTES;
use crate::limits::Limits;
use crate::server::limits::{BODIES_BYTES, LARGEST_BYTES, MAX_CONNECTIONS};
use std::time::Duration;

/// Share of the ledger, in percent.
const LEDGER_PERCENT: usize = 70;
/// Share of unsent answers and of replies expected from other cores, in percent.
const ANSWERS_PERCENT: usize = 12;
/// Share of bodies not yet applied, in percent.
const BODIES_PERCENT: usize = 4;
const _: () = assert!(
    LEDGER_PERCENT + ANSWERS_PERCENT + BODIES_PERCENT < 100,
    "the shares leave memory for the rest"
);
/// Upper bound of a slice's unsent answers, in bytes: beyond it, peers do not read their answers.
const MAX_ANSWERS_BYTES: usize = 512 << 20;
/// Lower bound of a slice's bodies, in bytes: two whole bodies, so that one can arrive while
/// another is applied.
const MIN_BODIES_BYTES: usize = 2 * FEED_BYTES;

/// Time that a core spins for replies of other cores before it parks, in nanoseconds: less than a
/// wake-up takes.
const SPIN_NS: u64 = 20_000;

/// Checks the flags against the machine and fills in defaults.
pub fn check(flags: Flags, machine: &Host) -> Result<Config, String> {
    let memory_bytes = flags.memory_mib.map_or(machine.memory_bytes, |mib| (mib as usize) << 20);
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
    let limits = limits(&flags, memory_bytes, slices as usize, spin_ns)?;
    let snapshot_after_bytes = bytes("--snapshot-after-mib", flags.snapshot_after_mib)?;
    let base = flags.listen.port();
    if base > 0 && u32::from(base) + slices > u32::from(u16::MAX) {
        return Err(format!(
            "--listen: port {base} + {slices}, that of the last slice, is above 65535"
        ));
    }
    Ok(Config {
        listen: flags.listen,
        cores,
        slices,
        data: (!flags.ephemeral).then_some(flags.data),
        snapshot_after_bytes,
        memory_bytes,
        limits,
        arena: !flags.no_arena,
        drain_delay: Duration::from_millis(flags.drain_delay_ms),
    })
}

fn limits(
    flags: &Flags,
    memory_bytes: usize,
    slices: usize,
    spin_ns: u64,
) -> Result<Limits, String> {
    let share = |percent: usize| memory_bytes / 100 * percent;
    let ledger_bytes = match flags.ledger_mib {
        Some(mib) => bytes("--ledger-mib", mib)? as usize,
        None => share(LEDGER_PERCENT),
    };
    let limits = Limits {
        connections: flags.max_connections,
        request_ms: flags.request_timeout_ms,
        idle_ms: flags.idle_timeout_ms,
        send_ms: flags.send_timeout_ms,
        drain_ms: flags.drain_timeout_ms,
        ledger_bytes,
        answer_bytes: (share(ANSWERS_PERCENT) / slices).clamp(LARGEST_BYTES, MAX_ANSWERS_BYTES),
        body_bytes: (share(BODIES_PERCENT) / slices).clamp(MIN_BODIES_BYTES, BODIES_BYTES),
        stall_ms: flags.stall_timeout_ms,
        spin_ns,
    };
    let limits = limits.check()?;
    if limits.connections > MAX_CONNECTIONS {
        return Err(format!("--max-connections must be at most {MAX_CONNECTIONS}"));
    }
    Ok(limits)
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
        Host { cpus: cpus.to_vec(), memory_bytes: 10_000 * MIB }
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
        assert_eq!(limits.ledger_bytes, 7_000 * MIB);
        assert_eq!(limits.answer_bytes, 512 * MIB, "a slice's share of 600 is above the bound");
        assert_eq!(limits.body_bytes, 200 * MIB, "a slice's share");
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
        assert_eq!(config.limits.ledger_bytes, 700 * MIB);
        assert_eq!(config.limits.spin_ns, 0, "a single core waits for no other");
        let config = typed("--ledger-mib 3 --data there", &machine(&[0])).unwrap();
        assert_eq!(
            (config.limits.ledger_bytes, config.data.as_deref()),
            (3 * MIB, Some(Path::new("there")))
        );
    }

    /// Shares of a small machine are raised to what one request may need; shares of a large machine
    /// are cut.
    #[test]
    fn shares_have_bounds() {
        let small = typed("--memory-mib 64 --slices 8", &machine(&[0])).unwrap().limits;
        assert_eq!(small.answer_bytes, LARGEST_BYTES);
        assert_eq!(small.body_bytes, MIN_BODIES_BYTES);
        let large = typed("--memory-mib 1000000 --slices 1", &machine(&[0])).unwrap().limits;
        assert_eq!(large.answer_bytes, MAX_ANSWERS_BYTES);
        assert_eq!(large.body_bytes, BODIES_BYTES);
    }

    #[test]
    fn errors_name_their_flags() {
        let check = |line: &str, named: &[&str]| {
            let refused = typed(line, &machine(&[0, 1])).expect_err(line);
            assert!(named.iter().all(|name| refused.contains(name)), "{line}: {refused}");
        };
        check("--cores 0,2", &["--cores", "CPU 2", "0-1"]);
        check("--ledger-mib 18446744073709551615", &["--ledger-mib"]);
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
        let refused = typed("", &machine(&[])).expect_err("no CPU");
        assert!(refused.contains("--cores"), "{refused}");
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
