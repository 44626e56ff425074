//! Failure and shutdown of one of several cores: the process ends as a whole, no client waits for
//! ever, and every acknowledged entry is still there after a restart.

use crate::server::client::{batch, feed, get};
use crate::server::expected::{self, CLOSE, balance, balance_body, duplicate, fed, json};
use crate::server::{
    Client, Scratch, Server, TIMEOUT, becomes_true, credit, entries, serve, with_slices,
};
use purser::ledger::id::UserId;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const T: u64 = 1_700_000_100_000;
const SLICES: u32 = 3;
/// The slice whose core stalls or fails.
const STALLED: u32 = 1;

/// Starts a server of three slices with a data directory; its standard error goes to a file.
fn start(scratch: &Scratch, flags: &[&str]) -> Server {
    let stderr = File::create(scratch.join("stderr")).expect("the file can be created");
    let mut command = with_slices(SLICES, || serve("127.0.0.1:0"));
    Server::spawn(command.arg("--data").arg(scratch.join("data")).args(flags).stderr(stderr))
}

fn stderr(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.join("stderr")).expect("text")
}

/// The `count` lowest user ids of a slice.
fn users_of(slice: u32, count: usize) -> Vec<u64> {
    (1..).filter(|&user| UserId::Number(user).slice(SLICES) == slice).take(count).collect()
}

/// Waits until the server process has ended. A thread still stopped by `ptrace` is reaped first.
fn ended(server: &mut Server, stopped: Option<StoppedThread>) -> ExitStatus {
    if let Some(mut stopped) = stopped {
        stopped.reap();
    }
    server.ended()
}

/// A thread of a child process, stopped by `ptrace`.
struct StoppedThread {
    thread: libc::pid_t,
    is_gone: bool,
}

impl StoppedThread {
    /// Stops the thread of a core; `None` where `ptrace` is not allowed or the core has no CPU.
    /// Only the calling thread can release it.
    fn stop(server: &Server, core: u32) -> Option<Self> {
        let is_core = |task: &Path| {
            fs::read_to_string(task.join("comm"))
                .is_ok_and(|name| name.trim() == format!("core-{core}"))
        };
        let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).expect("the server runs");
        let task = tasks.map(|task| task.expect("a name").path()).find(|task| is_core(task));
        if task.is_none()
            && thread::available_parallelism().is_ok_and(|cpus| cpus.get() as u32 <= core)
        {
            eprintln!("skipped: this machine has no CPU for that core");
            return None;
        }
        let task = task.expect("each core has a thread");
        let thread: libc::pid_t =
            task.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the request is about a thread of another process; it reads and writes no memory
        // of this one.
        let is_seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) } == 0;
        if !is_seized {
            eprintln!("skipped: threads cannot be stopped here: {}", io::Error::last_os_error());
            return None;
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none) }, 0);
        let stopped = Self { thread, is_gone: false };
        assert!(libc::WIFSTOPPED(stopped.wait()), "the thread stops");
        Some(stopped)
    }

    fn wait(&self) -> libc::c_int {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let found = unsafe { libc::waitpid(self.thread, &raw mut status, libc::__WALL) };
        assert_eq!(found, self.thread, "{}", io::Error::last_os_error());
        status
    }

    /// Releases the thread.
    fn resume(mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as for `stop`.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, self.thread, none, none) }, 0);
        self.is_gone = true;
    }

    /// Waits until the thread has ended: its process cannot end before its tracer has seen that.
    fn reap(&mut self) {
        while libc::WIFSTOPPED(self.wait()) {}
        self.is_gone = true;
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        if !self.is_gone && thread::panicking() {
            // SAFETY: no pointers. The process is killed so that `reap` returns.
            unsafe { libc::kill(self.thread, libc::SIGKILL) };
            self.reap();
        }
    }
}

/// Feeds one user, entry by entry, until the server ends; counts acknowledged entries.
fn feed_on(address: SocketAddr, user: u64, acknowledged: &AtomicU64) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    for n in 0.. {
        let answer = format!("\r\n\r\n{}", fed(1, 0, &[]));
        let mut heard = Vec::new();
        if stream.write_all(&feed(entries(&[credit(n, user, 1, T)]))).is_err() {
            return;
        }
        while !heard.ends_with(answer.as_bytes()) {
            let mut part = [0; 4_096];
            match stream.read(&mut part) {
                Ok(0) => return,
                Ok(count) => heard.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("neither an answer nor an end")
                }
                Err(_) => return,
            }
        }
        // Relaxed: read after this thread was joined, or only to watch progress.
        acknowledged.store(n + 1, Ordering::Relaxed);
    }
}

/// Checks that acknowledged entries are there. A user has `count` entries, or one more whose answer
/// was lost.
fn check_there(server: &Server, counts: &[(u64, u64)]) {
    for &(user, count) in counts {
        let answer = server.ask(get(&format!("/v1/users/{user}/balance"))).shown();
        let there = [count, count + 1].map(|count| balance(user, count, T, count as i64));
        assert!(there.contains(&answer), "user {user}, {count} acknowledged: {answer}");
    }
}

#[test]
fn a_stalled_core_ends_the_process() {
    let scratch = Scratch::new("stall");
    let mut server = start(&scratch, &["--stall-timeout-ms", "1000"]);
    let users: Vec<u64> = (0..SLICES).flat_map(|slice| users_of(slice, 2)).collect();
    let acknowledged: Vec<_> = users.iter().map(|_| AtomicU64::new(0)).collect();
    let cores = server.cores();
    let is_over = thread::scope(|scope| {
        for ((&user, count), &core) in users.iter().zip(&acknowledged).zip(cores.iter().cycle()) {
            scope.spawn(move || feed_on(core, user, count));
        }
        // Relaxed: only progress is watched.
        let is_fed = || acknowledged.iter().all(|count| count.load(Ordering::Relaxed) > 50);
        assert!(becomes_true(is_fed), "nothing is fed");
        let stopped = StoppedThread::stop(&server, STALLED);
        if stopped.is_none() {
            server.kill();
            return false;
        }
        let start = Instant::now();
        let status = ended(&mut server, stopped);
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}: {}", stderr(&scratch));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        // The scope also waits until every feeding thread has seen the end.
        true
    });
    if is_over {
        let want = format!("the core of slice {STALLED} made no progress for 1000 ms: aborting");
        assert!(stderr(&scratch).contains(&want), "{}", stderr(&scratch));
    }
    // Relaxed: the writing threads were joined.
    let counts: Vec<_> = users
        .into_iter()
        .zip(acknowledged.iter().map(|count| count.load(Ordering::Relaxed)))
        .collect();
    check_there(&start_again(&scratch), &counts);
}

fn start_again(scratch: &Scratch) -> Server {
    start(scratch, &[])
}

/// A process that is stopped as a whole, like a suspended machine, does not count as stalled.
#[test]
fn a_stopped_process_continues() {
    let server = with_slices(SLICES, || Server::start(&["--stall-timeout-ms", "1000"]));
    server.feed(&(1..=20).map(|user| credit(1, user, 1, T)).collect::<Vec<_>>());
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    server.signal("STOP");
    thread::sleep(Duration::from_millis(2_500));
    clients.iter_mut().for_each(|client| {
        client.send(
            (1..=20).map(|user| get(&format!("/v1/users/{user}/balance"))).collect::<String>(),
        );
    });
    server.signal("CONT");
    for client in &mut clients {
        (1..=20).for_each(|user| assert_eq!(client.response().shown(), balance(user, 1, T, 1)));
    }
    thread::sleep(Duration::from_millis(1_500));
    server.check_all_cores_answer();
}

/// A failed log write of one slice ends the process with that error, and clients see their
/// connections close.
#[test]
fn a_failed_log_write_ends_the_process() {
    let scratch = Scratch::new("failing");
    let mut server = start(&scratch, &[]);
    let users: Vec<u64> = (0..SLICES).map(|slice| users_of(slice, 1)[0]).collect();
    server.feed(&users.iter().map(|&user| credit(0, user, 1, T)).collect::<Vec<_>>());
    let mut idle: Vec<_> = (0..4).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.ask(get("/readyz")).status(), 200));
    // Writes beyond this file size fail, in the existing segment too.
    let limit = format!("--fsize={}:", 256 << 10);
    let status = Command::new("prlimit").args(["--pid", &server.id().to_string(), &limit]).status();
    assert!(status.expect("util-linux is there").success());
    let count = AtomicU64::new(0);
    let address = server.cores()[0];
    thread::scope(|scope| {
        scope.spawn(|| feed_on(address, users_of(STALLED, 2)[1], &count));
        for client in &mut idle {
            client.is_closed();
        }
        let status = server.ended();
        assert_eq!(status.code(), Some(1), "{status}: {}", stderr(&scratch));
    });
    let path = scratch.join(format!("data/generation-1/slice-{STALLED}/log-"));
    let want = format!("error: cannot write {}", path.display());
    // An earlier line may say that a slice cannot create its next segment.
    let is_told = stderr(&scratch)
        .lines()
        .any(|line| line.starts_with(&want) && line.contains("File too large"));
    assert!(is_told, "{}", stderr(&scratch));
    // Relaxed: the writing thread was joined.
    let counts = [(users_of(STALLED, 2)[1], count.load(Ordering::Relaxed))];
    assert!(counts[0].1 > 0, "some entries are acknowledged before the failure");
    let server = start_again(&scratch);
    check_there(&server, &counts);
    for user in users {
        assert_eq!(
            server.ask(get(&format!("/v1/users/{user}/balance"))).shown(),
            balance(user, 1, T, 1)
        );
    }
}

/// Requests that wait for a stopped core when the signal arrives.
struct Waiting {
    server: Server,
    stopped: StoppedThread,
    /// Connections to the other cores: two send reads, two a feed, two a batch.
    clients: Vec<Client>,
    users: Vec<u64>,
}

impl Waiting {
    fn new(flags: &[&str]) -> Option<Self> {
        let server = with_slices(SLICES, || Server::start(flags));
        let users: Vec<u64> = (0..SLICES).flat_map(|slice| users_of(slice, 5)).collect();
        server.feed(&users.iter().map(|&user| credit(1, user, 1, T)).collect::<Vec<_>>());
        let others: Vec<_> = (0..SLICES).filter(|&core| core != STALLED).collect();
        let mut clients: Vec<_> =
            others.iter().cycle().take(6).map(|&core| server.connect_to(core as usize)).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.ask(get("/healthz")).status(), 200));
        let stopped = StoppedThread::stop(&server, STALLED)?;
        for (client, kind) in clients.iter_mut().zip([0, 0, 1, 1, 2, 2]) {
            client.send(match kind {
                0 => users
                    .iter()
                    .map(|user| get(&format!("/v1/users/{user}/balance")))
                    .collect::<String>()
                    .into_bytes(),
                1 => feed(entries(
                    &users.iter().map(|&user| credit(1, user, 1, T)).collect::<Vec<_>>(),
                )),
                _ => batch(format!(
                    r#"{{"requests":[{}]}}"#,
                    users
                        .iter()
                        .map(|user| format!(r#"{{"user_id":"{user}","read":"balance"}}"#))
                        .collect::<Vec<_>>()
                        .join(",")
                )),
            });
        }
        // The requests have arrived once a later request to the same core is answered.
        for core in others {
            assert_eq!(
                server.connect_to(core as usize).ask(get("/healthz")).shown(),
                expected::text("ok")
            );
        }
        Some(Self { server, stopped, clients, users })
    }
}

#[test]
fn requests_between_cores_are_finished_at_shutdown() {
    let Some(Waiting { mut server, stopped, mut clients, users }) = Waiting::new(&[]) else {
        return;
    };
    server.signal("TERM");
    let others = [server.cores()[0], server.cores()[2]];
    assert!(
        becomes_true(|| others.iter().all(|address| TcpStream::connect(address).is_err())),
        "it still listens"
    );
    // The drain does not give up on waiting requests.
    thread::sleep(Duration::from_millis(500));
    assert!(server.is_running());
    stopped.resume();
    let ids: Vec<_> = (0..users.len()).map(|index| duplicate(index, "1")).collect();
    let bodies: Vec<_> = users.iter().map(|&user| balance_body(user, 1, T, 1)).collect();
    for (client, kind) in clients.iter_mut().zip([0, 0, 1, 1, 2, 2]) {
        match kind {
            0 => users
                .iter()
                .for_each(|&user| assert_eq!(client.response().shown(), balance(user, 1, T, 1))),
            1 => assert_eq!(client.response().shown(), json(CLOSE, &fed(0, users.len(), &ids))),
            _ => assert_eq!(
                client.response().shown_unless_closed(),
                json("", &format!(r#"{{"responses":[{}]}}"#, bodies.join(",")))
            ),
        }
        client.is_closed();
    }
    let status = server.ended();
    assert!(status.success(), "{status}");
}

#[test]
fn a_second_signal_does_not_wait_for_a_core() {
    let flags = ["--drain-timeout-ms", "100000"];
    let Some(Waiting { mut server, stopped, mut clients, .. }) = Waiting::new(&flags) else {
        return;
    };
    server.signal("TERM");
    // A second signal of the same kind would be lost while the first one is not yet received.
    assert!(std::iter::from_fn(|| server.line()).any(|line| line.starts_with("draining: ")));
    server.signal("TERM");
    for client in &mut clients {
        client.drained("the second signal");
    }
    stopped.resume();
    let status = server.ended();
    assert!(status.success(), "{status}");
    assert!(std::iter::from_fn(|| server.line()).any(|line| line.starts_with("stopped: ")));
}

/// Six feeds with entries for users of every slice have arrived, except their last byte, when the
/// signal comes. Each is answered in full.
#[test]
fn feeds_on_all_cores_are_answered_in_full_at_shutdown() {
    const FEEDS: u64 = 6;
    const LINES: u64 = 3_000;
    let scratch = Scratch::new("drained");
    let mut server = start(&scratch, &[]);
    let lines = |n: u64| {
        (0..LINES).map(|line| credit(n * LINES + line, line % 50, 1, T)).collect::<Vec<_>>()
    };
    let bodies: Vec<_> = (0..FEEDS).map(|n| feed(entries(&lines(n)))).collect();
    let mut clients: Vec<_> = bodies.iter().map(|_| server.connect()).collect();
    for (client, body) in clients.iter_mut().zip(&bodies) {
        client.send(&body[..body.len() - 1]);
    }
    server.check_all_cores_answer();
    server.signal("STOP");
    server.signal("TERM");
    for (client, body) in clients.iter_mut().zip(&bodies) {
        client.send(&body[body.len() - 1..]);
        client.send(get("/v1/users/7/balance"));
    }
    server.signal("CONT");
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.shown_unless_closed(), json("", &fed(LINES as usize, 0, &[])));
        // A request behind the last answer is not read.
        if response.header("connection").is_none() {
            assert_eq!(client.response().status(), 200);
        }
    }
    drop(clients);
    assert!(server.ended().success());
    let count = FEEDS * LINES / 50;
    let server = start_again(&scratch);
    for user in 0..50 {
        assert_eq!(
            server.ask(get(&format!("/v1/users/{user}/balance"))).shown(),
            balance(user, count, T, count as i64)
        );
    }
}
