//! The real server, started for one test and ended with it.
//!
//! Every test has a server of its own, on a port that the system chose. Nothing here sleeps and hopes: what is waited for is a
//! condition, and [`PATIENCE`] is far above what any of them takes on a slow machine. [`client`] speaks HTTP over a plain
//! blocking socket and is strict about what comes back; [`expected`] writes down what the contract says, apart from the program.

pub mod client;
pub mod expected;

use purser::journal::{Place, manifest, slice_directory};
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

/// Longer than anything takes that comes at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it printed, through the line that says where it listens.
    pub greeting: Vec<String>,
}

impl Server {
    /// Starts a server that keeps nothing, on a free port of one core, with further flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::spawn(serve("127.0.0.1:0").arg("--ephemeral").args(flags))
    }

    /// Starts a server that keeps its data in a directory, on a free port of one core, with further flags.
    pub fn keeping(data: &Path, flags: &[&str]) -> Self {
        Self::spawn(serve("127.0.0.1:0").arg("--data").arg(data).args(flags))
    }

    /// Starts a program that says where it listens, as ours does, and waits until it does.
    pub fn spawn(command: &mut Command) -> Self {
        let mut server = Self::begin(command);
        server.listens();
        server
    }

    /// Starts such a program, and does not wait.
    pub fn begin(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let out = child.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, address: ([0, 0, 0, 0], 0).into(), greeting: Vec::new() }
    }

    /// Waits until it says where it listens: then it serves.
    pub fn listens(&mut self) {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("the server ended: {:?}", self.greeting));
            self.greeting.push(line);
            if let Some(address) = self.greeting.last().and_then(|line| line.strip_prefix("listening on ")) {
                self.address = address.parse().expect("an address");
                return;
            }
        }
    }

    /// The next line that it prints; `None` if its output has ended.
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the server neither prints nor ends"),
        }
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("the server listens"))
    }

    /// Sends one request on a connection of its own and returns the answer.
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

    /// Asserts that it serves: a new connection is answered.
    pub fn is_well(&self) {
        assert_eq!(self.ask(client::get("/healthz")).shown(), expected::text("ok"));
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("sh runs");
        assert!(status.success(), "{command}: {status}");
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of one test, away from the sources. It is removed in the end, unless the test fails.
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        // Relaxed: only that no two are equal matters.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }

    /// A path below it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).expect("it can be removed");
        }
    }
}

/// `purser serve` at an address, on one core.
pub fn serve(address: &str) -> Command {
    let mut command = purser();
    command.args(["serve", "--listen", address, "--cores", &first_cpu()]);
    command
}

/// The program, without settings from this environment.
pub fn purser() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purser"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PURSER_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end: exit code, standard output, standard error. One that serves instead is killed, and the test fails.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let status = ended(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    (status.code(), out, err)
}

/// Waits until a process has ended by itself; one that does not is killed, and the test fails.
pub fn ended(child: &mut Child) -> ExitStatus {
    let mut status = None;
    let is_over = holds(|| {
        status = child.try_wait().expect("a child of ours");
        status.is_some()
    });
    if !is_over {
        // The panic below is what matters.
        let _ = child.kill();
        panic!("the process does not end");
    }
    status.expect("it is over")
}

/// Whether a condition comes to hold within [`PATIENCE`].
pub fn holds(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A body of these lines.
pub fn entries(lines: &[impl AsRef<str>]) -> Vec<u8> {
    let mut body = Vec::new();
    for line in lines {
        body.extend_from_slice(line.as_ref().as_bytes());
        body.push(b'\n');
    }
    body
}

/// A posted credit of `COIN`.
pub fn credit(entry: u64, user: u64, amount: i64, at_ms: u64) -> String {
    format!(
        r#"{{"entry_id":"{entry}","user_id":"{user}","currency":"COIN","kind":"topup","direction":"credit","amount":{amount},"at_ms":{at_ms}}}"#
    )
}

/// The first CPU that this process may use.
fn first_cpu() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0").trim();
    list.split(['-', ',']).next().unwrap_or("0").to_owned()
}

/// The manifest of a slice of a data directory's first generation.
pub fn slice_manifest(data: &Path, slice: u32) -> manifest::Slice {
    let text = fs::read(data.join(slice_directory(1, slice)).join("manifest")).expect("a manifest is always there");
    manifest::Slice::read(&text, Place { generation: 1, slice, file: 0 }).expect("a manifest is always whole")
}
