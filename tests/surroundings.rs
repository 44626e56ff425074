//! Surroundings of the real server that fail: its standard error, ports, threads and address space.
//!
//! - The log goes to standard error. Whether that is a full device, a closed pipe or a pipe that
//!   nobody reads: nothing that serves waits for it, and nothing ends.
//! - Any socket of the machine can take the port of a slice, which is then served without it.
//! - What stops a start is named, with the error of the system and the way out.

use crate::full_disk::{check_resumes, feed_until_full, limit_file_size};
use crate::server::client::{feed, get};
use crate::server::expected::balance;
use crate::server::{Scratch, Server, becomes_true, credit, entries, own_address, run, serve};
use socket2::{Domain, Socket, Type};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// Starts a server whose log soon has lines: it cannot prepare a segment. Then its disk has space
/// again, and it is ended. Returns what it printed at its end.
fn check(stderr: impl Into<Stdio>) -> Vec<String> {
    let scratch = Scratch::new("surroundings");
    let command = serve("127.0.0.1:0");
    let mut limited = Command::new("prlimit");
    limited.arg("--fsize=65536:").arg(command.get_program()).args(command.get_args());
    limited.arg("--data").arg(scratch.join("data"));
    let mut server = Server::spawn(limited.stderr(stderr));
    let count = feed_until_full(&server, 0);
    limit_file_size(&server, "unlimited");
    check_resumes(&server, count);
    server.signal("TERM");
    assert!(server.ended().success());
    std::iter::from_fn(|| server.line()).collect()
}

fn says_dropped(lines: &[String]) -> bool {
    lines.iter().any(|line| line.starts_with("standard error: ") && line.contains(" dropped"))
}

#[test]
fn a_full_device_as_standard_error_stops_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let lines = check(full);
    assert!(says_dropped(&lines), "{lines:?}");
}

#[test]
fn a_closed_pipe_as_standard_error_stops_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let lines = check(writer);
    assert!(says_dropped(&lines), "{lines:?}");
}

#[test]
fn a_full_pipe_as_standard_error_stops_nothing() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    let bytes = rustix::pipe::fcntl_getpipe_size(&writer).expect("it has a size");
    writer.write_all(&vec![b'x'; bytes]).expect("it takes as many bytes");
    check(writer.try_clone().expect("it can be duplicated"));
    drop(reader);
}

#[test]
fn an_error_at_the_end_is_not_stopped_by_standard_error() {
    let run = |stderr: Stdio| {
        let mut command = serve("127.0.0.1:0");
        command.args(["--data", "/proc/purser-data"]).stderr(stderr).stdout(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        crate::server::ended(&mut child).code()
    };
    let full = OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    assert_eq!(run(full.into()), Some(1));
    let (_reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    let bytes = rustix::pipe::fcntl_getpipe_size(&writer).expect("it has a size");
    writer.write_all(&vec![b'x'; bytes]).expect("it takes as many bytes");
    assert_eq!(run(writer.into()), Some(1));
}

/// A command under limits of `prlimit`.
pub fn limited(limits: &[&str], command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.args(limits).arg(command.get_program()).args(command.get_args());
    limited
}

/// The ports of the slices in `/v1/info`.
fn ports(server: &Server) -> Vec<u16> {
    let info: serde_json::Value =
        serde_json::from_str(&server.ask(get("/v1/info")).body).expect("it is JSON");
    let slices = info["slices"].as_array().expect("a list").iter();
    slices.map(|slice| slice["port"].as_u64().expect("a port") as u16).collect()
}

/// A connection from this port: as good as any other that a client gets from the kernel.
fn client_from(address: SocketAddr) -> (Socket, TcpListener) {
    let peer = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&address.into()).expect("the port is free");
    socket.connect(&peer.local_addr().expect("an address").into()).expect("it listens");
    (socket, peer)
}

#[test]
fn a_slice_whose_port_is_taken_is_served_on_the_common_port() {
    let (scratch, address) = (Scratch::new("ports"), own_address());
    let taken = SocketAddr::new(address.ip(), address.port() + 2);
    let _client = client_from(taken);
    let log = scratch.join("stderr");
    let mut command = serve(&address.to_string());
    command.args(["--ephemeral", "--slices", "3"]);
    let stderr = std::fs::File::create(&log).expect("it can be created");
    let server = Server::spawn(command.stderr(stderr));
    assert_eq!(ports(&server), [address.port() + 1, address.port(), address.port() + 3]);
    let said = |start: &str, end: &str| {
        server.startup_lines.iter().any(|line| line.starts_with(start) && line.ends_with(end))
    };
    assert!(said("slice 1: CPU ", ", no port of its own"), "{:?}", server.startup_lines);
    let warns = || std::fs::read_to_string(&log).expect("text");
    let cause =
        format!("slice 1 has no port of its own: cannot bind {taken}: Address already in use");
    assert!(becomes_true(|| warns().contains(&cause)), "{}", warns());
    assert!(warns().contains("--no-slice-ports"), "{}", warns());
    for user in 0..20 {
        server.feed(&[credit(user, user, 5, 1_763_900_000_000)]);
        let answer = server.ask(get(&format!("/v1/users/{user}/balance"))).shown();
        assert_eq!(answer, balance(user, 1, 1_763_900_000_000, 5));
    }
}

#[test]
fn slices_have_no_ports_if_there_is_one_or_they_shall_have_none() {
    let address = own_address();
    // A single slice needs no port: that one may be taken.
    let _client = client_from(SocketAddr::new(address.ip(), address.port() + 1));
    let server = Server::spawn(serve(&address.to_string()).args(["--ephemeral", "--slices", "1"]));
    assert_eq!(ports(&server), [address.port()]);
    drop(server);
    let mut command = serve(&address.to_string());
    command.args(["--ephemeral", "--slices", "2"]).env("PURSER_NO_SLICE_PORTS", "yes");
    let server = Server::spawn(&mut command);
    assert_eq!(ports(&server), [address.port(); 2]);
    server.check_all_cores_answer();
}

#[test]
fn ports_among_those_of_clients_are_warned_of() {
    let scratch = Scratch::new("ports");
    let log = scratch.join("stderr");
    let start = |address: SocketAddr| {
        let stderr = std::fs::File::create(&log).expect("it can be created");
        let mut command = serve(&address.to_string());
        command.args(["--ephemeral", "--slices", "2"]).stderr(stderr);
        drop(Server::spawn(&mut command));
        std::fs::read_to_string(&log).expect("text")
    };
    let range = purser::engine::net::client_ports().expect("Linux has one");
    let mut address = own_address();
    assert_eq!(start(address), "", "{range:?}");
    address.set_port(*range.end() - 2);
    let warned = start(address);
    assert!(warned.contains("net.ipv4.ip_local_port_range"), "{warned}");
}

/// Whichever thread cannot be started: the error names it, the cause and the way out.
#[test]
fn a_thread_that_cannot_be_started_is_named() {
    let scratch = Scratch::new("threads");
    let mut named = Vec::new();
    // Log, signals, three of the disk, prefault, core, watchdog.
    for number in 1..=8 {
        let mut command = serve("127.0.0.1:0");
        command.arg("--data").arg(scratch.join(format!("data-{number}")));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "--trace=clone3"]);
        // From then on none can be started, nor one that prints the error.
        strace.arg(format!("--inject=clone3:error=EAGAIN:when={number}+"));
        strace.arg(command.get_program()).args(command.get_args());
        if strace.output().is_err() {
            return eprintln!("SKIPPED: strace is missing");
        }
        let (code, out, err) = run(&mut strace);
        if err.contains("ptrace") {
            return eprintln!("SKIPPED: strace may not trace a process here");
        }
        assert_eq!(code, Some(1), "{number}: {out}{err}");
        let error = err.lines().find_map(|line| line.strip_prefix("error: cannot start "));
        let error = error.unwrap_or_else(|| panic!("{number}: no error in {out}{err}"));
        let (name, cause) = error.split_once(": ").expect("a cause");
        assert!(cause.starts_with("Resource temporarily unavailable (os error 11)"), "{error}");
        assert!(cause.contains("TasksMax"), "{error}");
        named.push(name.to_owned());
    }
    named.dedup();
    assert_eq!(named.len(), 6, "{named:?}");
}

/// Under `ulimit -v` the default memory fits the address space: the ledger can be filled.
#[test]
fn a_limit_of_the_address_space_bounds_the_memory() {
    let mut command = serve("127.0.0.1:0");
    command.arg("--ephemeral");
    let server = Server::spawn(&mut limited(&["--as=1500000000:"], &command));
    let says = server.startup_lines.iter().find(|line| line.starts_with("memory: "));
    let mib: u64 =
        says.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("the size of the ledger");
    assert!((64..1_000).contains(&mib), "{says:?}");
    let mut client = server.connect();
    // A user with one entry takes well over 64 bytes.
    let (mut count, most) = (0, mib << 14);
    loop {
        assert!(count < most, "{count} users fit {mib} MiB");
        let lines: Vec<_> =
            (count..count + 10_000).map(|n| credit(n, n, 5, 1_763_900_000_000)).collect();
        let answer = client.ask(feed(entries(&lines)));
        if answer.status() == 507 {
            break;
        }
        assert_eq!(answer.status(), 200);
        count += 10_000;
    }
    assert!(count > 100_000, "{count} users in {mib} MiB");
    assert_eq!(client.ask(get("/v1/users/7/balance")).shown(), balance(7, 1, 1_763_900_000_000, 5));
    server.check_all_cores_answer();
}

#[test]
fn memory_that_cannot_be_mapped_is_named() {
    let mut command = serve("127.0.0.1:0");
    command.args(["--ephemeral", "--memory-mib", "4096"]);
    let (code, _, err) = run(&mut limited(&["--as=2000000000:"], &command));
    assert_eq!(code, Some(1), "{err}");
    let cause = "error: cannot map an arena of 4096 MiB: Cannot allocate memory (os error 12); ";
    assert!(err.starts_with(cause), "{err}");
    assert!(err.contains("--memory-mib") && err.contains("ulimit -v"), "{err}");
}
