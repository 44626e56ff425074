//! Two servers behind a proxy, each ended and started again under load: readers see no error, and
//! no acknowledged entry is missing or booked twice. Plain keep-alive clients of Go, Python and
//! Java see no error when their server ends, but a closed idle connection.
//!
//! `nginx` has no health checks of its own here: it notices the end by `connection: close`, closed
//! idle connections and refused ones. `haproxy` asks `/readyz`. Envoy is left out: no package of it
//! is at hand. A program that is not installed is reported, and its test skipped.

use crate::server::client::{feed, get};
use crate::server::{Scratch, Server, TIMEOUT, becomes_true, credit, entries, own_address, serve};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const T: u64 = 1_700_000_100_000;
/// Delay of the drain in these tests.
const DELAY: &str = "1000";
const READERS: usize = 16;

/// Whether a program is installed; says so if not.
pub fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// A process that is killed when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The errors are ignored: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with a data directory on an address of its own.
struct Replica {
    address: SocketAddr,
    server: Server,
    data: std::path::PathBuf,
}

impl Replica {
    fn start(scratch: &Scratch, name: &str) -> Self {
        let (address, data) = (own_address(), scratch.join(name));
        Self { address, server: Self::spawn(address, &data), data }
    }

    fn spawn(address: SocketAddr, data: &Path) -> Server {
        let mut command = serve(&address.to_string());
        Server::spawn(command.arg("--data").arg(data).env("PURSER_DRAIN_DELAY_MS", DELAY))
    }

    /// Ends it by SIGTERM and starts it again, as a rolling restart does.
    fn restart(&mut self) {
        self.server.signal("TERM");
        assert!(self.server.ended().success());
        thread::sleep(Duration::from_millis(300));
        self.server = Self::spawn(self.address, &self.data);
    }
}

/// One request on a kept connection; `None` if the connection ended instead. Opens it if needed.
pub fn ask(
    kept: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
) -> Option<(u16, String)> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => TcpStream::connect(address).ok()?,
    };
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(request).ok()?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    let (head, length) = loop {
        let count = stream.read(&mut buffer).ok().filter(|&count| count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        break (head.to_owned(), length);
    };
    let mut body = bytes.split_off(head.len() + 4);
    while body.len() < length {
        let count = stream.read(&mut buffer).ok().filter(|&count| count > 0)?;
        body.extend_from_slice(&buffer[..count]);
    }
    if !head.contains("connection: close") {
        *kept = Some(stream);
    }
    Some((head.get(9..12)?.parse().ok()?, String::from_utf8(body).ok()?))
}

/// Restarts both servers behind a proxy, one after the other, while readers and a feeder are busy.
/// Feeds go to the first server.
fn rolling_restart(mut replicas: [Replica; 2], proxy: SocketAddr) {
    let (read, expected) = (get("/v1/users/1/balance"), {
        let answers = replicas.each_ref().map(|replica| {
            replica.server.feed(&[credit(1, 1, 7, T)]);
            replica.server.ask(get("/v1/users/1/balance")).body
        });
        assert_eq!(answers[0], answers[1]);
        answers[0].clone()
    });
    let is_up = || ask(&mut None, proxy, read.as_bytes()).is_some_and(|(status, _)| status == 200);
    assert!(becomes_true(is_up), "the proxy does not serve");
    let (is_over, fed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut count, mut errors) = (0, Vec::new());
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (is_over, read, expected) = (&is_over, read.as_bytes(), &*expected);
                scope.spawn(move || {
                    let (mut kept, mut count, mut errors) = (None, 0, Vec::new());
                    // Relaxed: no other data depends on the flag, here and below.
                    while !is_over.load(Ordering::Relaxed) {
                        match ask(&mut kept, proxy, read) {
                            Some((200, body)) if body == expected => {}
                            other => errors.push(format!("{other:?}")),
                        }
                        count += 1;
                        // Busy connections, and some that are idle for a while.
                        thread::sleep(Duration::from_millis(1 << (reader % 10)));
                    }
                    (count, errors)
                })
            })
            .collect();
        scope.spawn(|| {
            let mut kept = None;
            for entry in 1.. {
                let request = feed(entries(&[credit(entry, 2, 1, T)]));
                // Sent again until it is acknowledged.
                while !matches!(ask(&mut kept, proxy, &request), Some((200, _))) {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                fed.store(entry, Ordering::Relaxed);
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        thread::sleep(Duration::from_millis(500));
        for replica in &mut replicas {
            replica.restart();
            // The proxy takes it back.
            thread::sleep(Duration::from_secs(2));
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            let (some, failed) = reader.join().expect("a reader ends");
            count += some;
            errors.extend(failed);
        }
    });
    println!("{count} reads, {} errors; {fed:?} feeds", errors.len());
    assert!(errors.is_empty(), "{} of {count} reads failed: {:?}", errors.len(), &errors[..1]);
    let fed = fed.into_inner();
    let body = replicas[0].server.ask(get("/v1/users/2/balance")).body;
    let is_exact =
        (fed..=fed + 1).any(|fed| body.contains(&format!(r#""version":{fed},"#)) && fed > 0);
    assert!(is_exact, "{fed} entries were acknowledged: {body}");
}

/// A free port of the local address.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Starts a proxy, which ends when the result is dropped.
pub fn start_proxy(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::null()).spawn().expect("the proxy starts"))
}

#[test]
fn nginx_shows_no_error_in_a_rolling_restart() {
    if !is_installed("nginx") {
        return;
    }
    let scratch = Scratch::new("nginx");
    let replicas = ["one", "two"].map(|name| Replica::start(&scratch, name));
    let (listen, [one, two]) = (free_port(), replicas.each_ref().map(|replica| replica.address));
    let directory = scratch.join("");
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error warn;
         events {{ worker_connections 1024; }}
         http {{
           access_log off;
           client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;
           fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
           upstream reads {{ server {one} fail_timeout=1s; server {two} fail_timeout=1s;
             keepalive 16; }}
           upstream feeds {{ server {one} max_fails=0; keepalive 16; }}
           server {{
             listen {listen};
             proxy_http_version 1.1; proxy_set_header Connection \"\";
             location / {{ proxy_pass http://reads; }}
             location /v1/entries {{ proxy_pass http://feeds; }}
           }}
         }}",
        directory.display()
    );
    fs::write(scratch.join("nginx.conf"), text).expect("the configuration can be written");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&directory).arg("-e").arg(scratch.join("error"));
    let _proxy = start_proxy(command.arg("-c").arg(scratch.join("nginx.conf")));
    rolling_restart(replicas, listen);
}

#[test]
fn haproxy_shows_no_error_in_a_rolling_restart() {
    if !is_installed("haproxy") {
        return;
    }
    let scratch = Scratch::new("haproxy");
    let replicas = ["one", "two"].map(|name| Replica::start(&scratch, name));
    let (listen, [one, two]) = (free_port(), replicas.each_ref().map(|replica| replica.address));
    let text = format!(
        "global
  maxconn 1000
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option redispatch
  option httpchk GET /readyz
  http-check send hdr host purser
  default-server check inter 200ms fall 1 rise 1
frontend all
  bind {listen}
  use_backend feeds if {{ path_beg /v1/entries }}
  default_backend reads
backend reads
  server one {one}
  server two {two}
backend feeds
  server one {one}
"
    );
    fs::write(scratch.join("haproxy.cfg"), text).expect("the configuration can be written");
    let mut command = Command::new("haproxy");
    let _proxy =
        start_proxy(command.arg("-q").arg("-db").arg("-f").arg(scratch.join("haproxy.cfg")));
    rolling_restart(replicas, listen);
}

/// Runs a client program, ends its server after a while, and checks what it has seen. Pauses of
/// 2 ms keep connections busy; pauses of 1.7 s let them be closed while they are idle.
fn check_client(command: &[&str], pauses_ms: [&str; 2]) {
    if !is_installed(command[0]) {
        return;
    }
    for pause_ms in pauses_ms {
        let mut start = serve("127.0.0.1:0");
        let mut server =
            Server::spawn(start.arg("--ephemeral").env("PURSER_DRAIN_DELAY_MS", DELAY));
        server.feed(&[credit(1, 1, 7, T)]);
        let url = format!("http://{}/v1/users/1/balance", server.address);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replicas");
        let child = Command::new(command[0])
            .args(&command[1..])
            .args([url.as_str(), pause_ms, "16"])
            .current_dir(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client starts");
        // It compiles for a while. Its requests are counted by the server.
        thread::sleep(Duration::from_secs(6));
        server.signal("TERM");
        assert!(server.ended().success());
        let output = child.wait_with_output().expect("the client ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{}, pauses of {pause_ms} ms: {}", command.join(" "), text.trim());
        let (requests, errors) = text.trim().split_once(", ").expect("two figures");
        assert_eq!(errors, "errors 0", "{text}");
        assert_ne!(requests, "requests 0", "{text}");
    }
}

#[test]
fn a_go_client_sees_no_error() {
    check_client(&["go", "run", "client.go"], ["2", "1700"]);
}

#[test]
fn a_python_client_sees_no_error() {
    check_client(&["python3", "client.py"], ["2", "1700"]);
}

#[test]
fn a_java_client_sees_no_error() {
    check_client(&["java", "Client.java"], ["2", "1700"]);
}
