//! A stock Varnish in front of a server: it asks before it uses what it has stored, so that no
//! answer is older than an acknowledged entry. Without Varnish the test is reported and skipped.

use crate::replicas::{free_port, is_installed, start_proxy};
use crate::server::client::{Client, feed, get};
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

    let mut client = Client::new(TcpStream::connect(listen).expect("Varnish listens"));
    let [balance, stats, unknown] = [
        "/v1/users/1/balance",
        "/v1/users/1/stats?window=lifetime",
        "/v1/users/2/balance?currency=COIN",
    ]
    .map(get);
    for _ in 0..2 {
        for read in [&balance, &stats, &unknown] {
            assert_eq!(client.ask(read).status(), 404);
        }
    }
    for version in 1..=5 {
        assert_eq!(client.ask(feed(credit(version, 1, 1, T))).status(), 200);
        for read in [&balance, &stats] {
            let body = client.ask(read).body;
            assert!(body.contains(&format!(r#""version":{version},"#)), "after {version}: {body}");
        }
        assert_eq!(client.ask(&unknown).status(), 404);
    }
}
