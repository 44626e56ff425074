//! Test harness: the real server as a child process, started for one test and ended with it.
//!
//! Every test has its own server, on a port chosen by the system. A server has one slice, unless
//! the test runs by [`on_slices`]: then it has that many, on all CPUs, and new connections go to
//! the common port and to each core's port in turn, so that most requests are for users of other
//! cores. Tests wait for conditions rather than fixed times, up to [`TIMEOUT`].
//!
//! - [`client`]: a strict HTTP client.
//! - [`expected`]: the contract's answers, independent of the program.

pub mod client;
pub mod expected;

use purser::journal::{Place, manifest, slice_directory};
use std::cell::Cell;
use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use client::{Client, Response};

/// Timeout of every wait: far above what any condition takes on a slow machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

thread_local! {
    static SLICES: Cell<u32> = const { Cell::new(1) };
}

/// Number of slices of this test's servers.
pub fn slices() -> u32 {
    SLICES.get()
}

/// Runs a test whose servers have `slices` slices.
pub fn with_slices<R>(slices: u32, run: impl FnOnce() -> R) -> R {
    let before = SLICES.replace(slices);
    let result = run();
    SLICES.set(before);
    result
}

/// Declares functions as tests, once for each number of slices: `on_slices!([two = 2] [reads,
/// feeds])` declares `two::reads` and `two::feeds`.
macro_rules! on_slices {
    ([$($number:ident = $slices:literal),+] $tests:tt) => {
        $( on_slices!(@ $number $slices $tests); )+
    };
    (@ $number:ident $slices:literal [$($test:ident),+ $(,)?]) => {
        mod $number {
            $(
                #[test]
                fn $test() {
                    crate::server::with_slices($slices, super::$test);
                }
            )+
        }
    };
}

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// The address shared by all cores.
    pub address: SocketAddr,
    /// The own port of each slice that has one.
    pub ports: Vec<u16>,
    /// Counter that selects the address of the next connection.
    next: Cell<usize>,
    /// Lines printed at the start, up to `listening on`.
    pub startup_lines: Vec<String>,
}

impl Server {
    /// Starts an ephemeral server on a free port, with further flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::spawn(serve("127.0.0.1:0").arg("--ephemeral").args(flags))
    }

    /// Starts a server with a data directory on a free port, with further flags.
    pub fn with_data(data: &Path, flags: &[&str]) -> Self {
        Self::spawn(serve("127.0.0.1:0").arg("--data").arg(data).args(flags))
    }

    /// Starts a program that prints `listening on` like Purser, and waits for that line.
    pub fn spawn(command: &mut Command) -> Self {
        let mut server = Self::begin(command);
        server.wait_until_listening();
        server
    }

    /// Starts such a program without waiting.
    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let out = child.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let address = ([0, 0, 0, 0], 0).into();
        Self {
            child,
            lines,
            address,
            ports: Vec::new(),
            next: Cell::new(0),
            startup_lines: Vec::new(),
        }
    }

    /// Waits until the server prints where it listens: then it serves.
    pub fn wait_until_listening(&mut self) {
        loop {
            let line =
                self.line().unwrap_or_else(|| panic!("the server ended: {:?}", self.startup_lines));
            if let Some((_, port)) =
                line.split_once(", port ").filter(|_| line.starts_with("slice "))
            {
                self.ports.push(port.parse().unwrap_or_else(|_| panic!("no port: {line}")));
            }
            self.startup_lines.push(line);
            if let Some(address) =
                self.startup_lines.last().and_then(|line| line.strip_prefix("listening on "))
            {
                self.address = address.parse().expect("an address");
                return;
            }
        }
    }

    /// The next printed line; `None` if the output has ended.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("the server neither prints nor ends")
            }
        }
    }

    /// The address of each core.
    pub fn cores(&self) -> Vec<SocketAddr> {
        match self.ports[..] {
            [] => vec![self.address],
            _ => self.ports.iter().map(|&port| SocketAddr::new(self.address.ip(), port)).collect(),
        }
    }

    /// Makes all new connections go to one core.
    pub fn at_one_core(mut self) -> Self {
        self.address = self.cores()[0];
        self.ports.clear();
        self
    }

    /// A new connection: to the common address first, then to each core in turn, and so on.
    pub fn connect(&self) -> Client {
        let next = self.next.replace(self.next.get() + 1) % (self.ports.len() + 1);
        let address = if next == 0 { self.address } else { self.cores()[next - 1] };
        Client::new(TcpStream::connect(address).expect("the server listens"))
    }

    /// A new connection to core `core`, modulo the number of cores.
    pub fn connect_to(&self, core: usize) -> Client {
        let cores = self.cores();
        Client::new(TcpStream::connect(cores[core % cores.len()]).expect("the server listens"))
    }

    /// Sends one request on a new connection and returns the answer.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        self.connect().ask(request)
    }

    /// Feeds entries, all of which must be accepted.
    pub fn feed(&self, lines: &[String]) {
        for part in lines.chunks(10_000) {
            let answer = self.ask(client::feed(entries(part)));
            assert_eq!(answer.shown(), expected::json("", &expected::fed(part.len(), 0, &[])));
        }
    }

    /// Asserts that every core answers on a new connection. Everything sent to a core before has
    /// then been received.
    pub fn check_all_cores_answer(&self) {
        for core in 0..self.cores().len() {
            assert_eq!(
                self.connect_to(core).ask(client::get("/healthz")).shown(),
                expected::text("ok")
            );
        }
    }

    /// Sends a signal to the server: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("sh runs");
        assert!(status.success(), "{command}: {status}");
    }

    /// Kills the server, like a crash, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is a child of this process");
        self.child.wait().expect("it is a child of this process");
    }

    /// Sends SIGTERM and waits until every core is a lame duck.
    pub fn leave(&self) {
        self.signal("TERM");
        let is_ready = |core| self.connect_to(core).ask(client::get("/readyz")).status() == 200;
        assert!(becomes_true(|| !(0..self.cores().len()).any(is_ready)), "it is still ready");
    }

    /// Sends SIGINT and waits until every core drains.
    pub fn drain(&self) {
        self.signal("INT");
        let refuses = |address: &SocketAddr| TcpStream::connect(address).is_err();
        assert!(becomes_true(|| self.cores().iter().all(refuses)), "it still listens");
    }

    /// Process id of the server.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is a child of this process").is_none()
    }

    /// Waits until the server has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The errors are ignored: the server may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of one test, outside the sources. It is removed when dropped, unless the test fails.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory.
    pub fn new(name: &str) -> Self {
        // Relaxed: only uniqueness matters.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the directory can be created");
        Self(path)
    }

    /// A path below the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).expect("the directory can be removed");
        }
    }
}

/// The command `purser serve` at an address, with one slice on one CPU, or with the test's number
/// of slices. SIGTERM drains without a delay.
pub fn serve(address: &str) -> Command {
    let mut command = purser();
    command.args(["serve", "--listen", address]).env("PURSER_DRAIN_DELAY_MS", "0");
    // Seven slices share one core; two and three are spread over the available CPUs.
    if matches!(slices(), 1 | 7) {
        command.args(["--cores", &first_cpu()]);
    }
    if slices() > 1 {
        command.args(["--slices", &slices().to_string()]);
    }
    command
}

/// The program, without `PURSER_` variables of this environment.
pub fn purser() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PURSER_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end: exit code, standard output, standard error. If it serves instead, it
/// is killed and the test fails.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = ended(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    (status.code(), out, err)
}

/// Waits until a process has ended by itself. If it does not, it is killed and the test fails.
pub fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    let is_over = becomes_true(|| {
        status = child.try_wait().expect("it is a child of this process");
        status.is_some()
    });
    if !is_over {
        // The error is ignored: the panic below reports the failure.
        let _ = child.kill();
        panic!("the process does not end");
    }
    status.expect("the process has ended")
}

/// Whether a condition becomes true within [`TIMEOUT`].
pub fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + TIMEOUT;
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A body of lines, each with a line feed.
pub fn entries(lines: &[impl AsRef<str>]) -> Vec<u8> {
    let mut body = Vec::new();
    for line in lines {
        body.extend_from_slice(line.as_ref().as_bytes());
        body.push(b'\n');
    }
    body
}

/// A posted credit of `COIN`.
pub fn credit(entry: u64, user: impl Display, amount: i64, at_ms: u64) -> String {
    format!(
        "{{\"entry_id\":\"{entry}\",\"user_id\":\"{user}\",\"currency\":\"COIN\",\
         \"kind\":\"topup\",\"direction\":\"credit\",\"amount\":{amount},\"at_ms\":{at_ms}}}"
    )
}

/// An address that no other test uses, so that a server can be reached before it prints its
/// address; the ports after it are free as well.
pub fn own_address() -> SocketAddr {
    // Relaxed: only uniqueness matters.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = u64::from(std::process::id()) << 4 | NEXT.fetch_add(1, Ordering::Relaxed) & 15;
    SocketAddr::from((
        [127, 192 + (number >> 16) as u8 % 32, (number >> 8) as u8, number as u8],
        7_207,
    ))
}

/// The first CPU of this process's affinity mask.
fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0")
        .trim();
    list.split(['-', ',']).next().unwrap_or("0").to_owned()
}

/// The manifest of a slice in generation 1 of a data directory.
pub fn slice_manifest(data: &Path, slice: u32) -> manifest::SliceManifest {
    let text = fs::read(data.join(slice_directory(1, slice)).join("manifest"))
        .expect("the manifest always exists");
    manifest::SliceManifest::decode(&text, Place { generation: 1, slice, file: 0 })
        .expect("the manifest is always whole")
}
