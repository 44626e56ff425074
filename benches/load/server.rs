//! Measured servers ("subjects"): each is a command that runs on one core.
//!
//! A subject prints `listening on ADDRESS` to its standard output, answers `GET /readyz` with 200
//! once it is ready, and ends on SIGTERM. A further peer needs one more constructor beside `purser`
//! and `floor`. Redis is different: it is given its address, and is ready once it executes a
//! command.

use std::io::{BufRead, BufReader, Write};
use std::net::{AddrParseError, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::data::DataDir;
use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::{redis, sys};

/// Longest start: ten million users are loaded from a disk.
const START: Duration = Duration::from_mins(5);
const STOP: Duration = Duration::from_secs(20);

pub struct Subject {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    /// Environment variable that is set for it.
    setting: Option<(&'static str, &'static str)>,
    input: Vec<u8>,
    /// Its address, if it does not choose and print one.
    address: Option<SocketAddr>,
    /// CPUs that it may use, if not just the one that it is started on.
    cores: Option<String>,
    /// Whether it serves `/v1/info`.
    has_info: bool,
}

impl Subject {
    /// Purser in memory (`--ephemeral`).
    pub fn purser(core: usize) -> Self {
        let args = format!("serve --listen 127.0.0.1:0 --cores {core} --ephemeral");
        Self {
            name: "purser",
            program: env!("CARGO_BIN_EXE_purser").into(),
            args: args.split(' ').map(String::from).collect(),
            setting: None,
            input: Vec::new(),
            address: None,
            cores: None,
            has_info: true,
        }
    }

    /// Purser in memory, with this many slices on these cores.
    pub fn slices(cores: &[usize], slices: u32) -> Self {
        let mut subject = Self::purser(cores[0]).with(&format!("--slices={slices}"));
        let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let place = subject.args.iter().position(|arg| arg == "--cores").expect("a flag of purser");
        subject.args[place + 1].clone_from(&list);
        subject.cores = Some(list);
        subject
    }

    /// The same subject with one more flag.
    pub fn with(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// The same subject run by an older program.
    pub fn older(mut self, program: &Path) -> Self {
        self.name = "before";
        program.clone_into(&mut self.program);
        self
    }

    /// The same subject under callgrind, whose dumps get the name `counters` with a number.
    ///
    /// It is given its address: valgrind runs one thread at a time, and a core that sleeps in its
    /// ring keeps the thread that prints the address from running until a connection wakes it.
    pub fn under_callgrind(mut self, counters: &Path) -> Result<Self> {
        let address = free_address()?;
        let listen = self.args.iter().position(|arg| arg == "--listen").expect("a flag of purser");
        self.args[listen + 1] = address.to_string();
        self.address = Some(address);
        let program = std::mem::replace(&mut self.program, "valgrind".into());
        let args = [
            "--quiet".to_owned(),
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", counters.display()),
            program.display().to_string(),
        ];
        self.args.splice(0..0, args);
        // A step of the emulated server takes some fifty times as long.
        Ok(self.with("--stall-timeout-ms=60000"))
    }

    /// Purser with a data directory. A snapshot begins after this many MiB of log; `None` keeps the
    /// server's default.
    pub fn durable(core: usize, data: &DataDir, snapshot_after_mib: Option<u64>) -> Self {
        let mut subject = Self::purser(core);
        subject.args.pop(); // --ephemeral
        subject.args.extend(["--data".to_owned(), data.path().display().to_string()]);
        let mib =
            snapshot_after_mib.map(|mib| ["--snapshot-after-mib".to_owned(), mib.to_string()]);
        subject.args.extend(mib.into_iter().flatten());
        subject
    }

    /// Redis with `appendfsync always`: it answers once its append-only file is on the disk. It
    /// writes neither snapshots nor a rewritten append-only file, because a separate process would
    /// do that on the same core.
    pub fn redis(data: &DataDir) -> Result<Self> {
        let address = free_address()?;
        let args = format!(
            "--bind 127.0.0.1 --port {} --appendonly yes --appendfsync always \
             --auto-aof-rewrite-percentage 0 --save",
            address.port()
        );
        let mut args: Vec<String> = args.split(' ').map(String::from).collect();
        args.extend([String::new(), "--dir".to_owned(), data.path().display().to_string()]);
        Ok(Self {
            name: "redis",
            program: "redis-server".into(),
            args,
            setting: None,
            input: Vec::new(),
            address: Some(address),
            cores: None,
            has_info: false,
        })
    }

    /// One of the Go services of `peers`.
    pub fn peer(
        name: &'static str,
        program: PathBuf,
        setting: (&'static str, &'static str),
    ) -> Self {
        let args = ["-listen", "127.0.0.1:0"].map(String::from).to_vec();
        let setting = Some(setting);
        Self {
            name,
            program,
            args,
            setting,
            input: Vec::new(),
            address: None,
            cores: None,
            has_info: false,
        }
    }

    /// The floor: Purser's engine answering every request with `answer`.
    pub fn floor(core: usize, answer: Vec<u8>) -> Result<Self> {
        let args = format!("floor --listen 127.0.0.1:0 --core {core}");
        Ok(Self {
            name: "floor",
            program: std::env::current_exe().context("finding this program's path")?,
            args: args.split(' ').map(String::from).collect(),
            setting: None,
            input: answer,
            address: None,
            cores: None,
            has_info: false,
        })
    }

    /// Purser's machine under a rival engine, in memory.
    pub fn rival(name: &'static str, core: usize) -> Result<Self> {
        let args =
            format!("engine {name} --listen 127.0.0.1:0 --cores {core} --ephemeral --slices 1");
        Ok(Self {
            name,
            args: args.split(' ').map(String::from).collect(),
            ..Self::floor(core, Vec::new())?
        })
    }

    /// Starts it on `core` and returns once it is ready.
    pub fn start(&self, core: usize) -> Result<Running> {
        let mut child = Command::new("taskset")
            .args(["-c", self.cores.as_deref().unwrap_or(&core.to_string())])
            .arg(&self.program)
            .env("PURSER_DRAIN_DELAY_MS", "0")
            .args(&self.args)
            .envs(self.setting)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(format!("starting {} with taskset", self.name))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // From here on, dropping `running` kills the child if this function fails.
        let mut running = Running {
            name: self.name,
            child,
            address: ([0, 0, 0, 0], 0).into(),
            output: None,
            has_info: self.has_info,
        };
        let mut input = input.context("the child has no standard input")?;
        input.write_all(&self.input).context(format!("sending {} its answer", self.name))?;
        drop(input);
        let (found, announced) = mpsc::channel();
        let output = output.context("the child has no standard output")?;
        running.output = Some(std::thread::spawn(move || listen(output, &found)));
        let doing = format!("waiting for {} to print its address", self.name);
        running.address = match self.address {
            Some(address) => address,
            None => announced.recv_timeout(START).context(&doing)?.context(&doing)?,
        };
        if self.name == "redis" {
            running.wait_until(|address| redis::Client::connect(address)?.prepare())?;
            return Ok(running);
        }
        running.wait_until(|address| match Client::connect(address)?.get("/readyz")?.status {
            200 => Ok(()),
            status => Err(Error::new(format!("/readyz answers {status}"))),
        })?;
        Ok(running)
    }
}

/// An address whose port is free, and so is the port after it, for the first slice. Both lie below
/// those that the kernel gives to clients' sockets, so neither is taken before it is used.
fn free_address() -> Result<SocketAddr> {
    const FIRST: u32 = 20_000;
    const PAIRS: u32 = 6_000;
    // Relaxed: only uniqueness matters.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u32| TcpListener::bind(("127.0.0.1", port as u16)).is_ok();
    let process = std::process::id();
    (0..PAIRS)
        .map(|_| FIRST + 2 * ((process + NEXT.fetch_add(1, Ordering::Relaxed)) % PAIRS))
        .find(|&port| is_free(port) && is_free(port + 1))
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port as u16)))
        .context("looking for free ports")
}

/// Reads the child's output to its end, sends the address that it announces to `found`, and returns
/// all lines.
fn listen(
    output: ChildStdout,
    found: &mpsc::Sender<std::result::Result<SocketAddr, AddrParseError>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
        let after = line.split_once("listening on ").map(|(_, after)| after);
        if let Some(word) = after.and_then(|after| after.split_ascii_whitespace().next()) {
            // An error means that nobody waits for the address.
            let _ = found.send(word.trim_end_matches([',', '.', ';']).parse());
        }
        lines.push(line);
    }
    lines
}

/// A running subject. Dropping it without `stop` ends it with SIGKILL.
pub struct Running {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
    /// Its output lines, available once it has ended.
    output: Option<JoinHandle<Vec<String>>>,
    has_info: bool,
}

/// Fields of `/v1/info`.
pub struct Info {
    /// Commit that the program was built from, or `unknown`.
    pub commit: String,
    pub ports: Vec<u16>,
    /// CPU time that all cores together have spent spinning for replies of other cores.
    pub spun: Duration,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub rss: u64,
    /// Proportional set size: like RSS, but a page shared by n processes counts 1/n.
    pub pss: u64,
}

impl Memory {
    pub fn mib(bytes: u64) -> String {
        format!("{:.1}", bytes as f64 / f64::from(1 << 20))
    }
}

impl Running {
    fn wait_until(&mut self, is_ready: impl Fn(SocketAddr) -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = is_ready(self.address) else { return Ok(()) };
            if let Some(status) = self.child.try_wait().context("watching a server")? {
                return Err(Error::new(format!("{} ended early, {status}", self.name)));
            }
            if Instant::now() > deadline {
                return Err(error).context(format!("{} is not ready", self.name));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Result<Duration> {
        sys::cpu_time(self.child.id()).context(format!("reading the CPU time of {}", self.name))
    }

    pub fn info(&self) -> Result<Info> {
        let answer = Client::connect(self.address)?.get("/v1/info")?;
        let info: serde_json::Value =
            serde_json::from_slice(answer.body()).context("reading /v1/info")?;
        let figures = |name: &str| -> Vec<u64> {
            // Programs before 0.2 have the list as `cores`, with `looked_out_us`.
            let slices = info["slices"].as_array().or(info["cores"].as_array());
            let slices = slices.map_or(&[][..], Vec::as_slice);
            slices.iter().filter_map(|slice| slice[name].as_u64()).collect()
        };
        let ports = figures("port").into_iter().filter_map(|port| port.try_into().ok()).collect();
        let commit = info["commit"].as_str().unwrap_or("unknown").to_owned();
        Ok(Info {
            commit,
            ports,
            spun: Duration::from_micros(
                figures("spun_us").iter().chain(&figures("looked_out_us")).sum(),
            ),
        })
    }

    /// CPU time that cores have spent spinning for replies of other cores; zero without `/v1/info`.
    pub fn spun(&self) -> Result<Duration> {
        if self.has_info { Ok(self.info()?.spun) } else { Ok(Duration::ZERO) }
    }

    pub fn memory(&self) -> Result<Memory> {
        let pid = self.child.id();
        let read = |file: &str, field: &str| -> Result<u64> {
            let doing = format!("reading {field} of {}", self.name);
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).context(&doing)?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
                .context(&doing)?;
            let kib = line.trim_end_matches("kB").trim();
            Ok(kib.parse::<u64>().context(&doing)? * 1024)
        };
        Ok(Memory { rss: read("status", "VmRSS")?, pss: read("smaps_rollup", "Pss")? })
    }

    /// Stops it with SIGSTOP until `resume`. IO that it has started continues.
    pub fn pause(&self) -> Result<()> {
        sys::signal(self.child.id(), libc::SIGSTOP).context(format!("pausing {}", self.name))
    }

    pub fn resume(&self) -> Result<()> {
        sys::signal(self.child.id(), libc::SIGCONT).context(format!("resuming {}", self.name))
    }

    /// Ends it with SIGTERM and waits until it has ended.
    pub fn stop(self) -> Result<()> {
        self.leave().map(drop)
    }

    /// Like [`Self::stop`]; returns all lines that it printed.
    pub fn leave(mut self) -> Result<Vec<String>> {
        let doing = format!("stopping {}", self.name);
        sys::signal(self.child.id(), libc::SIGTERM).context(&doing)?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context(&doing)? {
                let as_asked = status.success() || status.signal() == Some(libc::SIGTERM);
                if !as_asked {
                    return Err(Error::new(format!("{doing}: {status}")));
                }
                let said = self.output.take().and_then(|output| output.join().ok());
                return said.context("a server's output was lost");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(format!("{} has not ended {STOP:?} after SIGTERM", self.name)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
