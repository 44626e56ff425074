//! Surroundings of the real server that fail: its standard error.
//!
//! The log goes to standard error. Whether that is a full device, a closed pipe or a pipe that
//! nobody reads: nothing that serves waits for it, and nothing ends.

use crate::full_disk::{check_resumes, feed_until_full, limit_file_size};
use crate::server::{Scratch, Server, serve};
use std::fs::OpenOptions;
use std::io::Write;
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
