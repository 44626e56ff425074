//! `purser serve`: sets the cores up, says what it found, serves until told to stop.

use super::Error;
use super::progress::{Progress, count, many};
use crate::api::connection::BODIES_BYTES;
use crate::api::info::{Info, Place};
use crate::api::room::LARGEST_BYTES;
use crate::api::{BATCH_BYTES, BATCH_READS, CREDITS, FEED_BYTES, FEED_LINES};
use crate::config::{Config, CpuList};
use crate::engine::control::{Command, Control};
use crate::engine::core::MOST_CONNECTIONS;
use crate::engine::cores::{self, Ended, Plan, Slice};
use crate::engine::directory::{self, Directory};
use crate::engine::keeper::{Keeper, News};
use crate::engine::mesh::mesh;
use crate::engine::net::Ports;
use crate::engine::priority::Aside;
use crate::engine::repartition::repartition;
use crate::engine::{affinity, descriptors, memory_limit, probe};
use crate::journal::manifest::HASH_VERSION;
use crate::limits::Limits;
use crate::metrics::{Counters, Histogram};
use crate::slice::recovery::Report;
use crate::slice::store::Counts;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "PURSER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// CPUs to run on, such as 0, 0-3 or 0,2 [default: all]
    #[arg(long, value_name = "LIST", env = "PURSER_CORES")]
    cores: Option<CpuList>,

    /// Slices of the users; where they are more than CPUs, some share a CPU's thread; data kept in another number of slices is re-partitioned [default: one for each CPU]
    #[arg(long, value_name = "N", env = "PURSER_SLICES", value_parser = clap::value_parser!(u32).range(1..=MOST_SLICES))]
    slices: Option<u32>,

    /// Directory to keep data in; made if there is none
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data", conflicts_with = "ephemeral")]
    data: PathBuf,

    /// Keep data in memory only
    #[arg(long, env = "PURSER_EPHEMERAL")]
    ephemeral: bool,

    /// Connections of a slice at one time; more are answered 503
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

    /// Memory that this process may use, in MiB [default: the machine's, or its control group's if that is less]
    #[arg(long, value_name = "MIB", env = "PURSER_MEMORY_MIB", value_parser = clap::value_parser!(u32).range(64..))]
    memory_mib: Option<u32>,

    /// Memory for the ledger, in MiB; above it new entries are refused with 507 [default: 70 % of what the process may use]
    #[arg(long, value_name = "MIB", env = "PURSER_LEDGER_MIB")]
    ledger_mib: Option<usize>,

    /// How long a core may stand still; then the process is ended
    #[arg(long, value_name = "MS", env = "PURSER_STALL_TIMEOUT_MS", default_value_t = 10_000)]
    stall_timeout_ms: u64,

    /// Leave memory to the common heap: no region of each core's own
    #[arg(long, env = "PURSER_NO_ARENA")]
    no_arena: bool,
}

/// More slices than this are a typing error: each has a log, with a thread of its own, and queues to all others.
const MOST_SLICES: i64 = 256;

/// How long a core looks out for others' answers before it sleeps, in nanoseconds: less than waking it would take.
const SPIN_NS: u64 = 20_000;

/// Share of the memory that the ledger may take, in percent: the rest is for connections, buffers and the system.
const LEDGER_PERCENT: usize = 70;
/// Shares of answers that have not left, of answers on their way between cores, and of bodies that have not been applied; a buffer that grows may
/// take twice what is in it.
const ANSWERS_PERCENT: usize = 8;
const CARGO_PERCENT: usize = 4;
const BODIES_PERCENT: usize = 4;
/// A core with more unsent answers than this has peers who take none.
const MOST_ANSWERS_BYTES: usize = 512 << 20;
/// Two whole bodies at least.
const LEAST_BODIES_BYTES: usize = 2 * FEED_BYTES;

/// Serves until SIGTERM or SIGINT; a second one stops at once.
pub fn run(arguments: Arguments) -> Result<(), Error> {
    let allowed = affinity::allowed_cpus()?;
    let memory = arguments.memory_mib.map_or_else(memory_limit::bytes, |mib| Ok((mib as usize) << 20))?;
    let config = check(arguments, &allowed, memory)?;
    let kernel = probe::probe()?;
    let descriptors = descriptors::raise_limit()?;
    let ports = Ports::take(config.listen, config.slices)?;
    // Slices take turns on the CPUs: the first of each CPU come first.
    let cpus = &config.cores[..config.cores.len().min(config.slices as usize)];
    let controls = cpus.iter().map(|_| Control::new()).collect::<Result<Vec<_>, _>>()?;
    let by_slice: Vec<Control> =
        (0..config.slices as usize).map(|slice| controls[slice % cpus.len()].clone()).collect();
    watch_signals(controls.clone())?;
    let (tell, news) = channel();
    let aside = Aside::of(&allowed, &config.cores);
    // Kept to the end: it holds the lock.
    let opened = config.data.as_deref().map(|path| open(path, config.slices, &controls[0])).transpose()?;
    let directory = match opened {
        Some(None) => return Ok(()),
        opened => opened.flatten(),
    };
    let keepers = by_slice.iter().zip(0..).map(|(control, slice)| {
        let keep = |directory: &Directory| {
            let (directory, after) = (directory.slice(slice), config.snapshot_after_bytes);
            Keeper::new(directory, after, control.clone(), &aside, tell.clone())
        };
        directory.as_ref().map(keep).transpose()
    });
    let keepers = keepers.collect::<Result<Vec<_>, _>>()?;
    drop(tell);

    let (address, numbers) = (ports.address(), ports.numbers().to_vec());
    let info = Arc::new(info(&config, &numbers)?);
    let meshes = mesh(&by_slice, CREDITS);
    let plan = |(&cpu, control): (&usize, &Control)| Plan {
        cpu,
        slices: Vec::new(),
        control: control.clone(),
        arena_bytes: None,
        limits: config.limits,
    };
    let mut plans: Vec<Plan> = cpus.iter().zip(&controls).map(plan).collect();
    let slices = ports.listen()?.into_iter().zip(keepers).zip(meshes).enumerate();
    for (slice, ((listeners, keeper), mesh)) in slices {
        plans[slice % cpus.len()].slices.push(Slice {
            listeners,
            keeper,
            mesh,
            ledger_bytes: config.limits.ledger_bytes / config.slices as usize,
            info: info.clone(),
        });
    }
    for plan in plans.iter_mut().filter(|_| config.arena) {
        plan.arena_bytes = Some(memory / config.slices as usize * plan.slices.len());
    }
    let mut cores = cores::start(plans, &aside)?;
    cores.are_set_up()?;
    cores::watch(controls.clone(), Duration::from_millis(config.limits.stall_ms))?;
    announce(&config, &kernel, memory, descriptors);
    // What is said here must be true: it is said when each core takes requests.
    if loaded(&config, &news) && cores.serve()? {
        for (slice, port) in numbers.iter().enumerate().filter(|_| config.slices > 1) {
            say(&format!("slice {slice}: CPU {}, port {port}", cpu_of(&config, slice)));
        }
        say(&format!("listening on {address}"));
        say(&format!("try: {}", example(address)));
    }
    let ended = cores.join()?;
    take_leave(&ended, controls[0].command());
    // The process ends here, and the kernel takes its memory back sooner than millions of users are dropped.
    std::mem::forget(ended);
    Ok(())
}

/// What the server says of itself.
fn info(config: &Config, ports: &[u16]) -> Result<Info, Error> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| {
        Error::Failed("the clock of this machine stands before 1970: entries are judged by their time".to_owned())
    })?;
    let place = |(slice, &port): (usize, &u16)| Place { cpu: cpu_of(config, slice), port };
    let limits = &config.limits;
    Ok(Info {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("PURSER_COMMIT"),
        started_ms: started.as_millis() as u64,
        hash: HASH_VERSION,
        cores: ports.iter().enumerate().map(place).collect(),
        limits: vec![
            ("feed_lines", FEED_LINES as u64),
            ("feed_bytes", FEED_BYTES as u64),
            ("batch_reads", BATCH_READS as u64),
            ("batch_bytes", BATCH_BYTES as u64),
            ("connections_per_core", limits.connections as u64),
            ("ledger_bytes_per_core", (limits.ledger_bytes / config.slices as usize) as u64),
            ("answer_bytes_per_core", limits.answer_bytes as u64),
            ("body_bytes_per_core", limits.body_bytes as u64),
            ("request_timeout_ms", limits.request_ms),
            ("idle_timeout_ms", limits.idle_ms),
            ("send_timeout_ms", limits.send_ms),
        ],
    })
}

/// The CPU of a slice's core.
fn cpu_of(config: &Config, slice: usize) -> usize {
    config.cores[slice % config.cores.len()]
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
    let slices = arguments.slices.unwrap_or(cores.len() as u32);
    let share = |percent: usize| memory / 100 * percent;
    let limits = Limits {
        connections: arguments.max_connections,
        request_ms: arguments.request_timeout_ms,
        idle_ms: arguments.idle_timeout_ms,
        send_ms: arguments.send_timeout_ms,
        linger_ms: arguments.linger_ms,
        drain_ms: arguments.drain_timeout_ms,
        ledger_bytes,
        answer_bytes: (share(ANSWERS_PERCENT) / slices as usize).clamp(LARGEST_BYTES, MOST_ANSWERS_BYTES),
        cargo_bytes: share(CARGO_PERCENT).clamp(LARGEST_BYTES, MOST_ANSWERS_BYTES),
        body_bytes: (share(BODIES_PERCENT) / slices as usize).clamp(LEAST_BODIES_BYTES, BODIES_BYTES),
        stall_ms: arguments.stall_timeout_ms,
        // A core that is alone has no replies to wait for.
        spin_ns: if cores.len() > 1 { SPIN_NS } else { 0 },
    };
    let limits = limits.check().map_err(Error::Usage)?;
    if limits.connections > MOST_CONNECTIONS {
        return Err(Error::Usage(format!("--max-connections must be at most {MOST_CONNECTIONS}")));
    }
    let data = (!arguments.ephemeral).then_some(arguments.data);
    let snapshot_after_bytes = arguments
        .snapshot_after_mib
        .checked_mul(1 << 20)
        .ok_or_else(|| Error::Usage("--snapshot-after-mib: too large".to_owned()))?;
    let base = arguments.listen.port();
    if base > 0 && u32::from(base) + slices > u32::from(u16::MAX) {
        return Err(Error::Usage(format!("--listen: there is no port {base} + {slices} for the last core")));
    }
    let (listen, arena) = (arguments.listen, !arguments.no_arena);
    Ok(Config { listen, cores, slices, data, snapshot_after_bytes, limits, arena })
}

/// Turns signals into commands: the first drains, the second stops. A file that may not grow (`ulimit -f`) is an error of the write that wanted it,
/// and is told there.
fn watch_signals(controls: Vec<Control>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever().filter(|&signal| signal != SIGXFSZ) {
            controls.iter().for_each(Control::advance);
            say(match controls[0].command() {
                Command::Serve | Command::Drain => {
                    "draining: what has begun is finished; a second signal stops at once"
                }
                Command::Stop => "stopping",
            });
        }
    })?;
    Ok(())
}

/// Opens the data directory and gives it so many slices; `None` if it was told to end before that was done.
fn open(path: &Path, slices: u32, control: &Control) -> Result<Option<Directory>, Error> {
    let (start, directory) = (Instant::now(), Directory::open_or_create(path, slices)?);
    let before = directory.manifest().slices;
    if before != slices {
        let slices = many(slices.into(), "slice", "slices");
        say(&format!("data: {}: re-partitioning from {} to {slices}", path.display(), count(before.into())));
    }
    let mut progress = Progress::new("re-partitioning");
    let look = &mut |done, total| {
        progress.at(done, total);
        control.command() == Command::Serve
    };
    let opened = repartition(directory, slices, look);
    drop(progress);
    match opened {
        Err(error @ directory::Error::Stopped(_)) => {
            say(&error.to_string());
            return Ok(None);
        }
        Ok(_) if before != slices => say(&format!("data: re-partitioned in {:.2} s", start.elapsed().as_secs_f64())),
        _ => {}
    }
    Ok(Some(opened?))
}

fn announce(config: &Config, kernel: &probe::Kernel, memory: usize, descriptors: u64) {
    const MIB: usize = 1 << 20;
    let version = env!("CARGO_PKG_VERSION");
    say(&format!(
        "purser {version} on Linux {}: io_uring with multishot receive and deferred task work",
        kernel.release
    ));
    let all = CpuList(config.cores.iter().copied().collect());
    let slices = many(config.slices.into(), "slice", "slices");
    match config.cores.len() {
        1 => say(&format!("{slices} on CPU {all}")),
        _ => say(&format!("{slices} on CPUs {all}")),
    }
    let (ledger, total) = (config.limits.ledger_bytes / MIB, memory / MIB);
    say(&format!("memory: {ledger} MiB for the ledger, of {total} MiB that this process may use"));
    say(&format!("limits: {} connections a slice, {descriptors} open descriptors", config.limits.connections));
}

/// Waits until all data is loaded, and says so. Returns whether it ever was.
fn loaded(config: &Config, news: &Receiver<(u32, News)>) -> bool {
    let Some(path) = &config.data else {
        say("data: in memory only; all of it is lost when this process stops");
        return true;
    };
    let (start, mut progress) = (Instant::now(), Progress::new("loading"));
    let mut reports = vec![Report::default(); config.slices as usize];
    let mut left = reports.len();
    for (slice, message) in news {
        let (News::Loading(report) | News::Loaded(report)) = message;
        reports[slice as usize] = report;
        left -= usize::from(matches!(message, News::Loaded(_)));
        let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum();
        progress.at(sum(|report| report.bytes), sum(|report| report.bytes_total));
        if left == 0 {
            drop(progress);
            say(&format!("data: {}: {}", path.display(), in_words(&reports, start.elapsed().as_secs_f64())));
            return true;
        }
    }
    false
}

fn in_words(reports: &[Report], seconds: f64) -> String {
    let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum::<u64>();
    let [bytes, users, replayed] =
        [sum(|report| report.bytes), sum(|report| report.users), sum(|report| report.replayed)];
    if bytes == 0 {
        return "nothing in it yet".to_owned();
    }
    let rate = |n: u64| count((n as f64 / seconds.max(1e-6)) as u64);
    let mut words = format!(
        "{} users from the snapshot, {} entries from the log, {} entries in all; loaded {} MiB in {seconds:.2} s ({} users/s, {} entries/s)",
        count(users),
        count(replayed),
        count(sum(|report| report.snapshot_entries) + replayed),
        bytes >> 20,
        rate(users),
        rate(replayed + sum(|report| report.known)),
    );
    for (slice, (segment, offset)) in
        reports.iter().enumerate().filter_map(|(slice, report)| Some((slice, report.cut?)))
    {
        let of = if reports.len() > 1 { format!(" of slice {slice}") } else { String::new() };
        words.push_str(&format!(
            "; an unfinished write was cut from log-{segment}{of} at byte {offset}: nobody was told that it was done"
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

fn take_leave(ended: &[Ended], command: Command) {
    let (mut users, mut bytes, mut counters, mut kept) = (0, 0, Counters::default(), Counts::default());
    for (wallet, counted) in ended {
        let holds = wallet.holds();
        (users, bytes) = (users + holds.0, bytes + holds.1);
        counters.add(wallet.counters());
        counters.add(counted);
        kept.add(&wallet.kept());
    }
    let how = if command == Command::Stop { "stopped" } else { "drained" };
    say(&format!(
        "{how}: {} answers ({} of them 4xx, {} 5xx) on {} connections; {} entries accepted, {} duplicates, {} rejected; \
         {users} users in {} MiB",
        counters.answers_total(),
        counters.answers_of_class(4),
        counters.answers_of_class(5),
        counters.connections,
        counters.accepted,
        counters.duplicates,
        counters.rejected,
        bytes >> 20,
    ));
    let us = |histogram: &Histogram, share| histogram.per_mille(share) as f64 / 1e3;
    let (turns, sends) = (&counters.turns, &counters.sends);
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
    if counters.spilled_bytes > 0 {
        say(&format!("memory: {} MiB found no room in the cores' own regions", counters.spilled_bytes >> 20));
    }
    if ended.len() > 1 {
        let (hops, ms) = (counters.hops, counters.spun_ns / 1_000_000);
        say(&format!("between cores: {hops} questions; {ms} ms of CPU time looking out for answers"));
    }
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
