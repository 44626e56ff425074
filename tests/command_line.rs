//! The command line: refused arguments, printed lines, and the example that the server prints.

use crate::server::client::get;
use crate::server::expected::{self, balance_body, fed};
use crate::server::{Client, Scratch, Server, TIMEOUT, credit, purser, run, serve};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Every flag of `serve`.
const FLAGS: [&str; 17] = [
    "--listen",
    "--no-slice-ports",
    "--cores",
    "--slices",
    "--data",
    "--ephemeral",
    "--max-connections",
    "--request-timeout-ms",
    "--idle-timeout-ms",
    "--send-timeout-ms",
    "--drain-delay-ms",
    "--drain-timeout-ms",
    "--snapshot-after-mib",
    "--memory-mib",
    "--ledger-mib",
    "--stall-timeout-ms",
    "--no-arena",
];

/// Checks that arguments are refused: exit code 2, and a message that contains each of `named`.
fn check_refused(arguments: &[&str], named: &[&str]) {
    let (code, out, err) = run(purser().arg("serve").args(arguments));
    assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
    assert!(err.starts_with("error: "), "{arguments:?}: {err}");
    for name in named {
        assert!(err.contains(name), "{arguments:?} does not name {name}: {err}");
    }
}

#[test]
fn invalid_arguments_are_refused() {
    let at = ["--listen", "127.0.0.1:0"];
    let and = |more: &[&'static str]| [&at[..], more].concat();
    check_refused(&["--colour", "red"], &["--colour"]);
    check_refused(&["--listen", "nowhere"], &["--listen", "nowhere"]);
    check_refused(&["--listen", "127.0.0.1"], &["--listen", "HOST:PORT"]);
    check_refused(&["--listen", "127.0.0.1:65536"], &["--listen", "'65536' is not a port"]);
    check_refused(&["--listen", "no.such.invalid:80"], &["--listen", "resolve 'no.such.invalid'"]);
    check_refused(&and(&["--cores", "x"]), &["--cores", "`x` is not a CPU number"]);
    check_refused(&and(&["--cores", ""]), &["--cores"]);
    check_refused(&and(&["--cores", "1-0"]), &["--cores", "`1-0` is reversed"]);
    check_refused(&and(&["--cores", "4095"]), &["--cores", "4095"]);
    check_refused(&and(&["--cores", "4096"]), &["--cores", "4096"]);
    check_refused(&and(&["--slices", "0"]), &["--slices", "1..=256"]);
    check_refused(&and(&["--slices", "257"]), &["--slices"]);
    check_refused(&and(&["--stall-timeout-ms", "999"]), &["--stall-timeout-ms"]);
    check_refused(
        &["--listen", "127.0.0.1:65530", "--slices", "6", "--ephemeral"],
        &["--listen", "65530 + 6"],
    );
    check_refused(&and(&["--data", "/tmp", "--ephemeral"]), &["--data", "--ephemeral"]);
    check_refused(&and(&["--max-connections", "0"]), &["--max-connections"]);
    check_refused(&and(&["--max-connections", "16777153"]), &["--max-connections", "16777152"]);
    check_refused(&and(&["--max-connections", "-1"]), &["-1"]);
    check_refused(&and(&["--request-timeout-ms", "0"]), &["--request-timeout-ms"]);
    check_refused(
        &and(&["--idle-timeout-ms", "9999"]),
        &["--idle-timeout-ms", "--request-timeout-ms"],
    );
    check_refused(&and(&["--send-timeout-ms", "0"]), &["--send-timeout-ms"]);
    check_refused(&and(&["--snapshot-after-mib", "0"]), &["--snapshot-after-mib"]);
    check_refused(
        &and(&["--snapshot-after-mib", "18446744073709551615"]),
        &["--snapshot-after-mib"],
    );
    check_refused(&and(&["--ledger-mib", "18446744073709551615"]), &["--ledger-mib"]);
    check_refused(&and(&["--drain-delay-ms", "1", "--drain-delay-ms", "1"]), &["--drain-delay-ms"]);
    let (code, _, err) = run(purser()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("PURSER_DRAIN_DELAY_MS", "soon"));
    assert!(code == Some(2) && err.contains("--drain-delay-ms"), "{err}");
    let (code, _, err) = run(purser().arg("save"));
    assert!(code == Some(2) && err.contains("save"), "{err}");
    assert_eq!(run(&mut purser()).0, Some(2), "without a command");
}

#[test]
fn help_names_each_flag() {
    let (code, out, err) = run(purser().args(["serve", "--help"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let in_help: Vec<_> =
        out.lines().filter_map(|line| line.trim_start().strip_prefix("--")).collect();
    let in_help: Vec<_> =
        in_help.iter().map(|line| line.split([' ', '=']).next().unwrap_or_default()).collect();
    assert_eq!(in_help, FLAGS.map(|flag| &flag[2..]), "{out}");
    for flag in FLAGS {
        let variable = flag[1..].replace('-', "_").to_uppercase();
        assert!(
            out.contains(&format!("PURSER{variable}=")),
            "{flag} has no variable PURSER{variable}: {out}"
        );
    }
    let (code, out, _) = run(purser().arg("--help"));
    assert!(code == Some(0) && out.contains("serve"), "{out}");
    let (code, out, _) = run(purser().arg("--version"));
    assert_eq!((code, out), (Some(0), format!("purser {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn an_address_in_use_is_refused() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("an address").to_string();
    let (code, out, err) = run(purser().args(["serve", "--listen", &address, "--ephemeral"]));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(
        err.starts_with(&format!("error: cannot bind {address}: Address already in use")),
        "{err}"
    );
    assert!(err.contains("--listen"), "no way out: {err}");
}

/// A boolean variable that is false conflicts with nothing, and a value that is neither true nor
/// false is an error that names the variable.
#[test]
fn boolean_variables_are_true_or_false() {
    let scratch = Scratch::new("boolean");
    let data = scratch.join("data");
    let start = |settings: &[(&str, &str)]| {
        let mut command = serve("127.0.0.1:0");
        Server::spawn(command.envs(settings.iter().copied()).env("PURSER_DATA", &data))
    };
    for word in ["0", "false", "No", "off"] {
        let server = start(&[("PURSER_EPHEMERAL", word), ("PURSER_NO_ARENA", "TRUE")]);
        server.check_all_cores_answer();
        assert!(data.join("manifest").exists(), "{word}");
    }
    for word in ["1", "true", "YES", "on"] {
        let server = Server::spawn(serve("127.0.0.1:0").env("PURSER_EPHEMERAL", word));
        assert!(server.startup_lines.iter().any(|line| line.starts_with("data: in memory only")));
    }
    for name in ["PURSER_EPHEMERAL", "PURSER_NO_ARENA", "PURSER_NO_SLICE_PORTS"] {
        for word in ["", "maybe", "2"] {
            let (code, _, err) = run(serve("127.0.0.1:0").env(name, word));
            assert_eq!(code, Some(2), "{name}={word}: {err}");
            let says = format!("error: {name} is '{word}': give it 1, true, yes");
            assert!(err.starts_with(&says), "{name}={word}: {err}");
        }
    }
}

/// A host name, and a port without a host, which is that of all interfaces.
#[test]
fn listens_where_it_is_told_to() {
    let server = Server::spawn(serve("localhost:0").arg("--ephemeral"));
    assert!(server.address.ip().is_loopback() && server.address.is_ipv4(), "{}", server.address);
    server.check_all_cores_answer();
    let server = Server::spawn(serve(":0").arg("--ephemeral"));
    assert!(server.address.ip().is_unspecified(), "{}", server.address);
    for host in ["127.0.0.1", "127.0.0.2"] {
        let stream = TcpStream::connect((host, server.address.port())).expect("it listens");
        assert_eq!(Client::new(stream).ask(get("/healthz")).shown(), expected::text("ok"));
    }
    let example = server.line().expect("a line follows");
    assert!(example.contains(&format!("http://127.0.0.1:{}/", server.address.port())), "{example}");
}

/// Two servers must not share an address by mistake: each would get half of the connections and
/// half of the entries.
#[test]
fn a_second_server_does_not_share_the_address() {
    let first = Server::start(&[]);
    let address = first.address.to_string();
    let (code, _, err) = run(purser().args(["serve", "--listen", &address, "--ephemeral"]));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&address), "{err}");
}

#[test]
fn startup_lines_name_version_cpu_memory_limits_and_address() {
    let server = Server::start(&["--ledger-mib", "77", "--max-connections", "99"]);
    let says = |start: &str, part: &str| {
        let found =
            server.startup_lines.iter().any(|line| line.starts_with(start) && line.contains(part));
        assert!(found, "no {start}…{part} in {:#?}", server.startup_lines);
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    says(&format!("purser {} on Linux ", env!("CARGO_PKG_VERSION")), kernel.trim());
    says("1 slice on CPU ", "");
    says("memory: 77 MiB for the ledger, of ", " MiB that this process may use");
    says("limits: 99 connections a slice, ", " open descriptors");
    says("data: in memory only", "lost");
    says(&format!("listening on {}", server.address), "");
    assert!(server.line().is_some_and(|line| line.starts_with("try: curl ")), "an example follows");
    server.check_all_cores_answer();
}

/// Without `--data`, the server keeps its data in `purser-data` below its working directory.
#[test]
fn data_is_kept_by_default_and_the_server_prints_where() {
    let scratch = Scratch::new("default");
    let check = |command: &mut Command, data: &str, says: &str| {
        let mut server = Server::spawn(command.current_dir(scratch.join("")));
        let line = format!("data: {data}: {says}");
        assert!(
            server.startup_lines.iter().any(|said| said.starts_with(&line)),
            "no {line:?} in {:#?}",
            server.startup_lines
        );
        assert!(scratch.join(data).join("manifest").exists(), "{data}");
        server.feed(&[credit(1, 42, 5, 1_763_900_000_000)]);
        server.signal("TERM");
        assert!(server.ended().success());
    };
    check(&mut serve("127.0.0.1:0"), "purser-data", "empty");
    check(serve("127.0.0.1:0").args(["--data", "a/b"]), "a/b", "empty");
    check(serve("127.0.0.1:0").env("PURSER_DATA", "c"), "c", "empty");
    let mut server = Server::spawn(serve("127.0.0.1:0").current_dir(scratch.join("")));
    let said = "data: purser-data: 0 users from the snapshot, 1 entries from the log, 1 entries in \
                all; loaded ";
    assert!(
        server.startup_lines.iter().any(|line| line.starts_with(said)),
        "{:#?}",
        server.startup_lines
    );
    server.kill();
}

#[test]
fn the_printed_example_works() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no curl here");
        return;
    }
    let server = Server::start(&[]);
    let line = server.line().expect("a line follows");
    let example = line.strip_prefix("try: ").expect("an example");
    let command = format!(
        "curl() {{ command curl --silent --max-time {} \"$@\"; }}; {example}",
        TIMEOUT.as_secs()
    );
    let (code, out, err) =
        run(Command::new("sh").args(["-c", &command]).env("NO_PROXY", "*").env("no_proxy", "*"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, fed(1, 0, &[]) + &balance_body(42, 1, 1_763_900_000_000, 500));
}
