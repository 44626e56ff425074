//! Runs wrk with one of the scripts in `lua/`, and measures a server while it does.
//!
//! wrk has one thread, on the load core. Its script counts requests in a small shared file, so that
//! requests and CPU time can be read at one instant: the measured window begins when every
//! connection is up and busy, and ends before any is closed. (Connecting costs ten times a request;
//! 5,000 connections would otherwise weigh a third of a short round.) Then SIGINT ends wrk, which
//! takes it for its time being up and prints the line that the script's `done` makes.
//!
//! wrk "corrects" its latencies for what a stalled connection did not send. Pipelined, that
//! correction goes by the interval of single requests where it measured sixteen at once, and the
//! percentiles are nonsense: left out there.

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
use crate::tally::stats_query;

/// Balances in one batch request.
pub const BATCH: usize = 100;
/// Requests that `pipelined.lua` sends at once.
const DEPTH: u64 = 16;

/// The window begins this long after each connection has been answered once on average.
const SETTLE: Duration = Duration::from_millis(250);
/// For connecting, and for wrk to end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Balance,
    Pipelined,
    Stats,
    Batch,
}

impl Script {
    fn file(self) -> &'static str {
        match self {
            Self::Balance => "balance.lua",
            Self::Pipelined => "pipelined.lua",
            Self::Stats => "stats.lua",
            Self::Batch => "batch.lua",
        }
    }

    fn argument(self) -> String {
        match self {
            Self::Balance => String::new(),
            Self::Pipelined => DEPTH.to_string(),
            Self::Stats => stats_query(),
            Self::Batch => BATCH.to_string(),
        }
    }

    fn requests_a_call(self) -> u64 {
        if self == Self::Pipelined { DEPTH } else { 1 }
    }
}

/// What is asked of a server in a round.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub script: Script,
    pub connections: usize,
    pub ids: &'a Ids,
    /// Of one core of the server, if not the common one.
    pub port: Option<u16>,
    /// The core of wrk, if not the load core.
    pub core: Option<usize>,
}

/// One round of one load.
pub struct Measured {
    /// Sent within the window; each connection has one call's worth under way at both of its ends.
    pub requests: u64,
    pub wall: Duration,
    /// Without what a core spent looking out for answers of others.
    pub cpu: Duration,
    /// Of wrk's whole run: bytes received for each answer, head included.
    pub bytes: f64,
    /// Of wrk's whole run: median, 99th and 99.9th percentile; `None` where wrk's figures cannot be
    /// used.
    pub latency_us: Option<[u64; 3]>,
}

/// Measures `server` for `seconds` under loads that all run at once, each with a wrk of its own.
/// `seed` decides where in the file of ids the round begins and in which order it goes through
/// them.
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

/// A wrk that runs.
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

    /// How many requests were sent so far.
    fn requests(&self) -> Result<u64> {
        Ok(self.counter.calls()? * self.load.script.requests_a_call())
    }

    fn wait_until_busy(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.counter.calls()? < 2 * self.load.connections as u64 {
            if let Some(status) = self.child.try_wait().context("watching wrk")? {
                return Err(Error::new(format!("wrk ended early, {status}")));
            }
            if Instant::now() > deadline {
                return Err(Error::new("wrk's connections are not answered"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Has it end, and reads what it says.
    fn end(mut self) -> Result<Summary> {
        let doing = format!("running wrk with {}", self.load.script.file());
        sys::signal(self.child.id(), libc::SIGINT).context("ending wrk's run")?;
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
    let longest = seconds.ceil() as u64 + 2 * PATIENCE.as_secs();
    let mut command = Command::new("taskset");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load/lua"))
        .args(["-c", &core.to_string(), "wrk", "-t1"])
        .args([format!("-c{}", load.connections), format!("-d{longest}s")])
        .args(["-s", load.script.file(), &format!("http://{address}"), "--"])
        .arg(load.ids.path())
        .args([count, first, stride].map(|number| number.to_string()))
        .arg(counter)
        .arg(load.script.argument())
        .stdout(Stdio::piped());
    command
}

/// A step that meets every record before it meets one again; small, so that the load tool's own
/// cache misses stay few (the records are in random order already).
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

/// What happened while all connections were up.
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

/// The file in which the script counts its calls, as one double: all that Lua has.
struct Counter {
    path: PathBuf,
    file: File,
}

impl Counter {
    /// In memory, if it can be had: on a disk, a store would now and then wait for the page to be
    /// written back.
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

/// wrk's account of its whole run; it counts each pipelined answer.
struct Summary {
    requests: u64,
    bytes: u64,
    latency_us: [u64; 3],
}

impl Summary {
    /// Finds and parses `purser-load name=number …`; any error that wrk counted fails the round.
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
