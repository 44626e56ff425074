//! A stock Varnish in front of a server: it asks before it uses what it has stored, so that no
//! answer is older than an acknowledged entry. Without Varnish the test is reported and skipped.

use crate::replicas::{ask, free_port, is_installed, start_proxy};
use crate::server::client::{feed, get};
use crate::server::{Scratch, Server, becomes_true, credit};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const T: u64 = 1_700_000_100_000;

#[test]
fn varnish_serves_nothing_stale() {
    if !is_installed("varnishd") {
        return;
    }
    let scratch = Scratch::new("varnish");
    let server = Server::start(&[]);
    let listen = free_port();
    let mut command = Command::new("varnishd");
    command.arg("-F").arg("-n").arg(scratch.join("varnish"));
    command.args(["-a", &listen.to_string(), "-b", &server.address.to_string()]);
    let _varnish = start_proxy(command.stdout(Stdio::null()).stderr(Stdio::null()));
    assert!(becomes_true(|| TcpStream::connect(listen).is_ok()), "Varnish listens");

    let mut kept = None;
    let mut ask = |request: &[u8]| ask(&mut kept, listen, request).expect("an answer");
    let [balance, stats, unknown] = [
        "/v1/users/1/balance",
        "/v1/users/1/stats?window=lifetime",
        "/v1/users/2/balance?currency=COIN",
    ]
    .map(get);
    for _ in 0..2 {
        for read in [&balance, &stats, &unknown] {
            assert_eq!(ask(read.as_bytes()).0, 404);
        }
    }
    for version in 1..=5 {
        assert_eq!(ask(&feed(credit(version, 1, 1, T))).0, 200);
        for read in [&balance, &stats] {
            let (status, body) = ask(read.as_bytes());
            let shows = body.contains(&format!(r#""version":{version},"#));
            assert!(status == 200 && shows, "after {version}: {status} {body}");
        }
        assert_eq!(ask(unknown.as_bytes()).0, 404);
    }
}
