//! Runs wrk with a script of `lua/`, and measures a server during the run.
//!
//! wrk has one thread, on the load core. Its script counts requests in a small shared file, so that
//! requests and CPU time can be read at the same instant. The measured window begins when every
//! connection is up and busy, and ends before any is closed. (Connecting costs ten times as much as
//! a request; 5,000 connections would otherwise make up a third of a short round.) Then SIGINT ends
//! wrk, which treats it like the end of its run and prints the line made by the script's `done`.
//!
//! wrk "corrects" its latencies for requests that a stalled connection did not send. With
//! pipelining, the correction uses the interval of single requests although sixteen were measured
//! together, so the percentiles are meaningless and left out.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::ids::Ids;
use crate::random::Random;
use crate::server::Running;
use crate::sys;
use crate::tally::{instants, stats_query};

/// Balances in one batch request.
pub const BATCH: usize = 100;
/// Requests that `pipelined.lua` sends in one write.
const DEPTH: u64 = 16;

/// Delay of the window after each connection has been answered once on average.
const SETTLE: Duration = Duration::from_millis(250);
/// Longest wait for connecting, and for wrk to end.
const START_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Balance,
    Pipelined,
    Stats,
    Batch,
    /// Balances at earlier times.
    Past,
}

impl Script {
    fn file(self) -> &'static str {
        match self {
            Self::Balance => "balance.lua",
            Self::Pipelined => "pipelined.lua",
            Self::Stats => "stats.lua",
            Self::Batch => "batch.lua",
            Self::Past => "past.lua",
        }
    }

    fn argument(self) -> String {
        match self {
            Self::Balance => String::new(),
            Self::Pipelined => DEPTH.to_string(),
            Self::Stats => stats_query(),
            Self::Batch => BATCH.to_string(),
            Self::Past => instants().map(|at_ms| at_ms.to_string()).collect(),
        }
    }

    fn requests_a_call(self) -> u64 {
        if self == Self::Pipelined { DEPTH } else { 1 }
    }
}

/// Load on a server in a round.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub script: Script,
    pub connections: usize,
    pub ids: &'a Ids,
    /// Port of one core of the server, if not the common port.
    pub port: Option<u16>,
    /// Core of wrk, if not the load core.
    pub core: Option<usize>,
}

/// Result of one round.
pub struct Measured {
    /// Requests sent within the window. At both ends of the window each connection has the requests
    /// of one script call in flight.
    pub requests: u64,
    pub wall: Duration,
    /// CPU time, less the time that cores spent spinning for replies of other cores.
    pub cpu: Duration,
    /// Bytes per answer, head included, over wrk's whole run.
    pub bytes: f64,
    /// Median, 99th and 99.9th percentile over wrk's whole run; `None` if wrk's figures are
    /// unusable.
    pub latency_us: Option<[u64; 3]>,
}

/// Measures `server` for `seconds` under simultaneous loads, each with its own wrk. `seed` selects
/// the start in the file of ids and the order of the round.
pub fn measure(
    server: &Running,
    loads: &[Load<'_>],
    seconds: f64,
    seed: u64,
    core: usize,
) -> Result<Measured> {
    let doing = "running wrk";
    let mut runs: Vec<Run<'_>> = loads
        .iter()
        .map(|load| Run::start(server, load, seconds, seed, core))
        .collect::<Result<_>>()?;
    let window = watch(&mut runs, server, seconds).context(doing)?;
    let summaries: Vec<Summary> = runs.into_iter().map(Run::end).collect::<Result<_>>()?;
    let sum = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    let answered = sum(|summary| summary.requests);
    if window.requests == 0 || answered == 0 {
        return Err(Error::new("no request was answered"));
    }
    let worst =
        |place: usize| summaries.iter().map(|summary| summary.latency_us[place]).max().unwrap_or(0);
    let has_latency = loads.iter().all(|load| load.script != Script::Pipelined);
    Ok(Measured {
        requests: window.requests,
        wall: window.wall,
        cpu: window.cpu,
        bytes: sum(|summary| summary.bytes) as f64 / answered as f64,
        latency_us: has_latency.then(|| [0, 1, 2].map(worst)),
    })
}

/// A running wrk.
struct Run<'a> {
    load: &'a Load<'a>,
    child: Child,
    counter: Counter,
}

impl<'a> Run<'a> {
    fn start(
        server: &Running,
        load: &'a Load<'a>,
        seconds: f64,
        seed: u64,
        core: usize,
    ) -> Result<Self> {
        let counter = Counter::new().context("making the file of the request count")?;
        let mut address = server.address;
        address.set_port(load.port.unwrap_or(address.port()));
        let mut command =
            command(address, load, seconds, seed, load.core.unwrap_or(core), &counter.path);
        let child = command.spawn().context("starting wrk")?;
        Ok(Self { load, child, counter })
    }

    /// Requests sent so far.
    fn requests(&self) -> Result<u64> {
        Ok(self.counter.calls()? * self.load.script.requests_a_call())
    }

    fn wait_until_busy(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while self.counter.calls()? < 2 * self.load.connections as u64 {
            if let Some(status) = self.child.try_wait().context("watching wrk")? {
                return Err(Error::new(format!("wrk ended early, {status}")));
            }
            if Instant::now() > deadline {
                return Err(Error::new("wrk got no answers"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends wrk and reads its summary.
    fn end(mut self) -> Result<Summary> {
        let doing = format!("running wrk with {}", self.load.script.file());
        sys::signal(self.child.id(), libc::SIGINT).context("stopping wrk")?;
        let mut output = String::new();
        let pipe = self.child.stdout.as_mut().context("wrk has no standard output")?;
        pipe.read_to_string(&mut output).context("reading from wrk")?;
        let status = self.child.wait().context(&doing)?;
        if status.success() {
            Summary::read(&output)
        } else {
            Err(Error::new(format!("{doing}: {status}")))
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn command(
    address: SocketAddr,
    load: &Load<'_>,
    seconds: f64,
    seed: u64,
    core: usize,
    counter: &Path,
) -> Command {
    let count = load.ids.count;
    let mut random = Random::new(seed);
    let (first, stride) = (random.below(count), stride(count, &mut random));
    let longest = seconds.ceil() as u64 + 2 * START_TIMEOUT.as_secs();
    let mut command = Command::new("taskset");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/lua"))
        .args(["-c", &core.to_string(), "wrk", "-t1"])
        .args([format!("-c{}", load.connections), format!("-d{longest}s")])
        .args(["-s", load.script.file(), &format!("http://{address}"), "--"])
        .arg(load.ids.path())
        .args([count, first, stride].map(|number| number.to_string()))
        .arg(counter)
        .arg(load.ids.width.to_string())
        .arg(load.script.argument())
        .stdout(Stdio::piped());
    command
}

/// A step that visits every record before it repeats one. It is small, so that the load tool has
/// few cache misses of its own (the records are already in random order).
fn stride(count: u64, random: &mut Random) -> u64 {
    let divisor = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    loop {
        let step = 1 + random.below(31.min(count));
        if divisor(step, count) == 1 {
            return step;
        }
    }
}

/// Measurements over the time in which all connections were up.
struct Window {
    requests: u64,
    wall: Duration,
    cpu: Duration,
}

fn watch(runs: &mut [Run<'_>], server: &Running, seconds: f64) -> Result<Window> {
    runs.iter_mut().try_for_each(Run::wait_until_busy)?;
    std::thread::sleep(SETTLE);
    let look = || -> Result<_> {
        let requests = runs.iter().map(Run::requests).sum::<Result<u64>>()?;
        Ok((requests, server.cpu()?.saturating_sub(server.spun()?), Instant::now()))
    };
    let before = look()?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = look()?;
    Ok(Window { requests: after.0 - before.0, cpu: after.1 - before.1, wall: after.2 - before.2 })
}

/// The file in which the script counts its calls, as one double: Lua's only number type.
struct Counter {
    path: PathBuf,
    file: File,
}

impl Counter {
    /// Creates it in memory if possible: on a disk, a store would sometimes wait for the page's
    /// write-back.
    fn new() -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        static FILES: AtomicU32 = AtomicU32::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed); // only has to differ
        let path = folder.join(format!("purser-load-{}-{number}.count", std::process::id()));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(size_of::<f64>() as u64)?;
        Ok(Self { path, file })
    }

    fn calls(&self) -> Result<u64> {
        let mut bytes = [0; size_of::<f64>()];
        self.file.read_exact_at(&mut bytes, 0).context("reading the request count")?;
        Ok(f64::from_ne_bytes(bytes) as u64)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// wrk's summary of its whole run; it counts each pipelined answer.
struct Summary {
    requests: u64,
    bytes: u64,
    latency_us: [u64; 3],
}

impl Summary {
    /// Finds and parses the line `purser-load name=number …`. Any error counted by wrk fails the
    /// round.
    fn read(output: &str) -> Result<Self> {
        let fields = output.lines().find_map(|line| line.strip_prefix("purser-load "));
        let fields = fields.context("wrk printed no summary")?;
        let field = |name: &str| -> Result<u64> {
            let value =
                fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            value
                .and_then(|value| value.parse().ok())
                .context(format!("wrk's summary lacks {name}: {fields}"))
        };
        for error in ["connect", "read", "write", "status", "timeout"] {
            if field(error)? != 0 {
                return Err(Error::new(format!("wrk counted errors: {fields}")));
            }
        }
        Ok(Self {
            requests: field("requests")?,
            bytes: field("bytes")?,
            latency_us: [field("p50_us")?, field("p99_us")?, field("p999_us")?],
        })
    }
}
