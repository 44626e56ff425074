//! `purser serve`: sets the core up, says what it found, serves until told to stop.

use super::Error;
use super::progress::{Progress, count};
use crate::config::{Config, CpuList, Limits};
use crate::engine::arena::{Arena, Toucher};
use crate::engine::control::{Command, Control};
use crate::engine::core::{Core, Limits as CoreLimits};
use crate::engine::directory::Directory;
use crate::engine::keeper::{Keeper, News};
use crate::engine::placement::Aside;
use crate::engine::wallet::Wallet;
use crate::engine::{net, placement, probe};
use crate::metrics::{Counters, Histogram};
use crate::slice::recovery::Report;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

/// The flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "PURSER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// CPUs to run on, such as 0, 0-3 or 0,2 [default: all]
    #[arg(long, value_name = "LIST", env = "PURSER_CORES")]
    cores: Option<CpuList>,

    /// Directory to keep data in; made if there is none
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data", conflicts_with = "ephemeral")]
    data: PathBuf,

    /// Keep data in memory only
    #[arg(long, env = "PURSER_EPHEMERAL")]
    ephemeral: bool,

    /// Connections at one time on a core; more are answered 503
    #[arg(long, value_name = "N", env = "PURSER_MAX_CONNECTIONS", default_value_t = 10_000)]
    max_connections: usize,

    /// How long a request may stay unfinished; then it is answered 408
    #[arg(long, value_name = "MS", env = "PURSER_REQUEST_TIMEOUT_MS", default_value_t = 10_000)]
    request_timeout_ms: u64,

    /// How long a connection may stay idle
    #[arg(long, value_name = "MS", env = "PURSER_IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    idle_timeout_ms: u64,

    /// How long a peer may take none of its answers
    #[arg(long, value_name = "MS", env = "PURSER_SEND_TIMEOUT_MS", default_value_t = 10_000)]
    send_timeout_ms: u64,

    /// How long idle connections are kept after SIGTERM
    #[arg(long, value_name = "MS", env = "PURSER_LINGER_MS", default_value_t = 1_000)]
    linger_ms: u64,

    /// How long finishing may take after SIGTERM
    #[arg(long, value_name = "MS", env = "PURSER_DRAIN_TIMEOUT_MS", default_value_t = 10_000)]
    drain_timeout_ms: u64,

    /// Log, in MiB, that is written before a snapshot is taken; more if the last snapshot was larger
    #[arg(long, value_name = "MIB", env = "PURSER_SNAPSHOT_AFTER_MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_after_mib: u64,

    /// Memory for the ledger, in MiB; above it new entries are refused with 507 [default: 70 % of what the process may use]
    #[arg(long, value_name = "MIB", env = "PURSER_LEDGER_MIB")]
    ledger_mib: Option<usize>,

    /// Leave memory to the common heap: no region of the core's own
    #[arg(long, env = "PURSER_NO_ARENA")]
    no_arena: bool,
}

/// Share of the memory that the ledger may take, in percent: the rest is for connections, buffers and the system.
const LEDGER_PERCENT: usize = 70;

/// Serves until SIGTERM or SIGINT; a second one stops at once.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    let allowed = placement::allowed_cpus()?;
    let memory = placement::memory()?;
    let config = check(arguments, &allowed, memory)?;
    let kernel = probe::probe()?;
    let descriptors = placement::raise_descriptors()?;
    net::check_free(config.listen)?;
    let listener = net::listen(config.listen)?;
    let address = listener.local_addr()?;
    let control = Control::new()?;
    watch_signals(control.clone())?;
    let (tell, news) = channel();
    let aside = Aside::of(&allowed, &config.cores[..1]);
    // Kept to the end: it holds the lock.
    let directory = config.data.as_deref().map(open).transpose()?;
    let keep = |directory: &Directory| {
        Keeper::new(directory.slice(0), config.snapshot_after_bytes, control.clone(), &aside, tell)
    };
    let keeper = directory.as_ref().map(keep).transpose()?;

    let cpu = config.cores[0];
    let (limits, handle) = (config.limits, control.clone());
    let toucher = if config.arena { Some(Toucher::start(aside.clone())?) } else { None };
    let (ready, is_ready) = channel();
    let core = thread::Builder::new().name(format!("core-{cpu}")).spawn(move || {
        let core = placement::pin(cpu).and_then(|()| {
            // Before anything of the core's own is allocated.
            let arena = toucher.map(|toucher| Arena::adopt(memory, toucher)).transpose()?;
            Core::new(listener, Wallet::new(limits.ledger_bytes, keeper), core_limits(&limits), handle, arena)
        });
        match core {
            Ok(core) => {
                // The receiver waits for this: it cannot be gone.
                let _ = ready.send(());
                core.run()
            }
            Err(failure) => Err(failure),
        }
    })?;
    if is_ready.recv().is_ok() {
        announce(&config, &kernel, memory, descriptors);
        if loaded(&config, &news) {
            say(&format!("listening on {address}"));
            say(&format!("try: {}", example(address)));
        }
    }
    let (wallet, loop_counters) = core.join().map_err(|_| Error::Failed("the core's thread panicked".to_owned()))??;
    take_leave(&wallet, &loop_counters, control.command());
    // The process ends here, and the kernel takes its memory back sooner than millions of users are dropped.
    std::mem::forget(wallet);
    Ok(())
}

fn check(arguments: Arguments, allowed: &[usize], memory: usize) -> Result<Config, Error> {
    let cores = match arguments.cores {
        None => allowed.to_vec(),
        Some(list) => list.within(allowed).map_err(|message| Error::Usage(format!("--cores: {message}")))?,
    };
    if cores.is_empty() {
        return Err(Error::Usage("--cores: at least one CPU is needed".to_owned()));
    }
    let ledger_bytes = match arguments.ledger_mib {
        Some(mib) => mib.checked_mul(1 << 20).ok_or_else(|| Error::Usage("--ledger-mib: too large".to_owned()))?,
        None => memory / 100 * LEDGER_PERCENT,
    };
    let limits = Limits {
        connections: arguments.max_connections,
        request_ms: arguments.request_timeout_ms,
        idle_ms: arguments.idle_timeout_ms,
        send_ms: arguments.send_timeout_ms,
        linger_ms: arguments.linger_ms,
        drain_ms: arguments.drain_timeout_ms,
        ledger_bytes,
    };
    let limits = limits.check().map_err(Error::Usage)?;
    let data = (!arguments.ephemeral).then_some(arguments.data);
    let snapshot_after_bytes = arguments
        .snapshot_after_mib
        .checked_mul(1 << 20)
        .ok_or_else(|| Error::Usage("--snapshot-after-mib: too large".to_owned()))?;
    Ok(Config { listen: arguments.listen, cores, data, snapshot_after_bytes, limits, arena: !arguments.no_arena })
}

const fn core_limits(limits: &Limits) -> CoreLimits {
    CoreLimits {
        connections: limits.connections,
        request_ms: limits.request_ms,
        idle_ms: limits.idle_ms,
        send_ms: limits.send_ms,
        linger_ms: limits.linger_ms,
        drain_ms: limits.drain_ms,
    }
}

/// Turns signals into commands: the first drains, the second stops. A file that may not grow (`ulimit -f`) is an error of the write that wanted it,
/// and is told there.
fn watch_signals(control: Control) -> Result<(), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever().filter(|&signal| signal != SIGXFSZ) {
            control.advance();
            say(match control.command() {
                Command::Serve | Command::Drain => {
                    "draining: what has begun is finished; a second signal stops at once"
                }
                Command::Stop => "stopping",
            });
        }
    })?;
    Ok(())
}

/// Opens the data directory. This version has one slice.
fn open(path: &Path) -> Result<Directory, Error> {
    let directory = Directory::open_or_create(path, 1)?;
    match directory.manifest().slices {
        1 => Ok(directory),
        more => Err(Error::Failed(format!("{} has {more} slices; this version serves one", path.display()))),
    }
}

fn announce(config: &Config, kernel: &probe::Kernel, memory: usize, descriptors: u64) {
    const MIB: usize = 1 << 20;
    let version = env!("CARGO_PKG_VERSION");
    say(&format!(
        "purser {version} on Linux {}: io_uring with multishot receive and deferred task work",
        kernel.release
    ));
    let all = CpuList(config.cores.iter().copied().collect());
    match config.cores.len() {
        1 => say(&format!("core: CPU {all}")),
        _ => say(&format!("core: CPU {} of {all}; this version runs on one core", config.cores[0])),
    }
    let (ledger, total) = (config.limits.ledger_bytes / MIB, memory / MIB);
    say(&format!("memory: {ledger} MiB for the ledger, of {total} MiB that this process may use"));
    say(&format!("limits: {} connections, {descriptors} open descriptors", config.limits.connections));
}

/// Waits until all data is loaded, and says so. Returns whether it ever was.
fn loaded(config: &Config, news: &Receiver<News>) -> bool {
    let Some(path) = &config.data else {
        say("data: in memory only; all of it is lost when this process stops");
        return true;
    };
    let (start, mut progress) = (Instant::now(), Progress::new("loading"));
    for message in news {
        match message {
            News::Loading(report) => progress.at(report.bytes, report.bytes_total),
            News::Loaded(report) => {
                drop(progress);
                say(&format!("data: {}: {}", path.display(), in_words(&report, start.elapsed().as_secs_f64())));
                return true;
            }
        }
    }
    false
}

fn in_words(report: &Report, seconds: f64) -> String {
    let entries = report.snapshot_entries + report.replayed;
    if report.bytes == 0 {
        return "nothing in it yet".to_owned();
    }
    let rate = |n: u64| count((n as f64 / seconds.max(1e-6)) as u64);
    let mut words = format!(
        "{} users from the snapshot, {} entries from the log, {} entries in all; loaded {} MiB in {seconds:.2} s ({} users/s, {} entries/s)",
        count(report.users),
        count(report.replayed),
        count(entries),
        report.bytes >> 20,
        rate(report.users),
        rate(report.replayed + report.known),
    );
    if let Some((segment, offset)) = report.cut {
        words.push_str(&format!(
            "; an unfinished write was cut from log-{segment} at byte {offset}: nobody was told that it was done"
        ));
    }
    words
}

/// Commands that put one entry in and read it back.
fn example(address: SocketAddr) -> String {
    let entry = r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":500,"at_ms":1763900000000}"#;
    format!(
        "curl -H 'content-type: application/x-ndjson' -d '{entry}' http://{address}/v1/entries; \
         curl http://{address}/v1/users/42/balance"
    )
}

fn take_leave(wallet: &Wallet, loop_counters: &Counters, command: Command) {
    let (users, bytes) = wallet.holds();
    let counters = wallet.counters();
    let how = if command == Command::Stop { "stopped" } else { "drained" };
    say(&format!(
        "{how}: {} answers ({} of them 4xx, {} 5xx) on {} connections; {} entries accepted, {} duplicates, {} rejected; \
         {users} users in {} MiB",
        counters.answers_total(),
        counters.answers_of_class(4),
        counters.answers_of_class(5),
        loop_counters.connections,
        counters.accepted,
        counters.duplicates,
        counters.rejected,
        bytes >> 20,
    ));
    let us = |histogram: &Histogram, share| histogram.per_mille(share) as f64 / 1e3;
    let (turns, sends) = (&loop_counters.turns, &loop_counters.sends);
    say(&format!(
        "turns: {}; p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, longest {:.1} us; received to sent, at most: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
        turns.count(),
        us(turns, 500),
        us(turns, 990),
        us(turns, 999),
        turns.largest() as f64 / 1e3,
        us(sends, 500),
        us(sends, 990),
        us(sends, 999),
    ));
    if loop_counters.spilled_bytes > 0 {
        say(&format!("memory: {} MiB found no room in the core's own region", loop_counters.spilled_bytes >> 20));
    }
    let kept = wallet.kept();
    if kept.writes > 0 {
        say(&format!(
            "log: {} writes, {} segments begun, {} snapshots completed, {} given up",
            kept.writes, kept.segments, kept.snapshots, kept.failed_snapshots
        ));
    }
}

/// Prints a line. A standard output that is gone is no reason to stop serving.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
