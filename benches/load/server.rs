//! Subjects: the servers that are measured, each a command that is run on one core. A subject says `listening on
//! ADDRESS` on its standard output, answers `GET /readyz` with 200 once it is ready, and ends at SIGTERM; a further peer
//! is one more function beside `purser` and `floor`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::http::Client;
use crate::sys;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

pub struct Subject {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    /// Of its environment.
    setting: Option<(&'static str, &'static str)>,
    input: Vec<u8>,
}

impl Subject {
    /// The server itself, in memory.
    pub fn purser(core: usize) -> Self {
        let args = format!("serve --listen 127.0.0.1:0 --cores {core} --ephemeral");
        Self {
            name: "purser",
            program: env!("CARGO_BIN_EXE_purser").into(),
            args: args.split(' ').map(String::from).collect(),
            setting: None,
            input: Vec::new(),
        }
    }

    /// One of the services in `peers`.
    pub fn peer(name: &'static str, program: PathBuf, setting: (&'static str, &'static str)) -> Self {
        let args = ["-listen", "127.0.0.1:0"].map(String::from).to_vec();
        Self { name, program, args, setting: Some(setting), input: Vec::new() }
    }

    /// The same engine, answering whatever it is asked with the bytes of `answer`.
    pub fn floor(core: usize, answer: Vec<u8>) -> Result<Self> {
        let args = format!("floor --listen 127.0.0.1:0 --core {core}");
        Ok(Self {
            name: "floor",
            program: std::env::current_exe().context("finding this program's file")?,
            args: args.split(' ').map(String::from).collect(),
            setting: None,
            input: answer,
        })
    }

    /// Starts it on `core` and returns once it is ready.
    pub fn start(&self, core: usize) -> Result<Running> {
        let mut child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(&self.program)
            .args(&self.args)
            .envs(self.setting)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(format!("starting {} with taskset", self.name))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        // From here on, `child` is stopped when this function fails.
        let mut running = Running { name: self.name, child, address: ([0, 0, 0, 0], 0).into() };
        let mut input = input.context("the child has no standard input")?;
        input.write_all(&self.input).context(format!("handing {} its answer", self.name))?;
        drop(input);
        running.address = announced(output.context("the child has no standard output")?)
            .context(format!("waiting for {} to say where it listens", self.name))?;
        running.wait_until_ready()?;
        Ok(running)
    }
}

/// Reads the child's output to its end, in the background; returns the address that it announces.
fn announced(output: ChildStdout) -> Result<SocketAddr> {
    let (found, address) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            let after = line.split_once("listening on ").map(|(_, after)| after);
            if let Some(word) = after.and_then(|after| after.split_ascii_whitespace().next()) {
                let _ = found.send(word.trim_end_matches([',', '.', ';']).parse::<SocketAddr>());
            }
        }
    });
    address.recv_timeout(START).context("no `listening on ADDRESS`")?.context("its address")
}

/// A subject that is up. Ends with the value, if `stop` was not called, by SIGKILL.
pub struct Running {
    pub name: &'static str,
    pub address: SocketAddr,
    child: Child,
}

/// Bytes of memory.
#[derive(Clone, Copy)]
pub struct Memory {
    pub rss: u64,
    /// Proportional share: as RSS, but a page that n processes share counts 1/n.
    pub pss: u64,
}

impl Memory {
    pub fn mib(bytes: u64) -> String {
        format!("{:.1}", bytes as f64 / f64::from(1 << 20))
    }
}

impl Running {
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match Client::connect(self.address).and_then(|mut client| client.get("/readyz")) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) if Instant::now() > deadline => {
                    return Err(Error::new(format!("{} stays at {} on /readyz", self.name, answer.status)));
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// All CPU time used so far.
    pub fn cpu(&self) -> Result<Duration> {
        sys::cpu_time(self.child.id()).context(format!("reading the CPU time of {}", self.name))
    }

    pub fn memory(&self) -> Result<Memory> {
        let pid = self.child.id();
        let read = |file: &str, field: &str| -> Result<u64> {
            let doing = format!("reading {field} of {}", self.name);
            let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).context(&doing)?;
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).context(&doing)?;
            let kib = line.trim_end_matches("kB").trim();
            Ok(kib.parse::<u64>().context(&doing)? * 1024)
        };
        Ok(Memory { rss: read("status", "VmRSS")?, pss: read("smaps_rollup", "Pss")? })
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let doing = format!("stopping {}", self.name);
        sys::signal(self.child.id(), libc::SIGTERM).context(&doing)?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context(&doing)? {
                let as_asked = status.success() || status.signal() == Some(libc::SIGTERM);
                return if as_asked { Ok(()) } else { Err(Error::new(format!("{doing}: {status}"))) };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::new(format!("{} does not end at SIGTERM within {STOP:?}", self.name)))
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
