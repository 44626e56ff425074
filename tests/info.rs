//! `/v1/info`, and a client that uses it: the port of the core that owns a user answers without a
//! request to another core.

use crate::server::client::get;
use crate::server::expected::balance_body;
use crate::server::{Server, becomes_true, credit, purser};
use crate::users::name;
use purser::ledger::id::UserId;

#[path = "../examples/shard_aware.rs"]
#[expect(dead_code, reason = "its command line")]
mod shard_aware;

const AT_MS: u64 = 1_763_900_000_000;
const USERS: std::ops::Range<u64> = 0..100;

fn start(slices: u32) -> Server {
    let slices = slices.to_string();
    Server::spawn(purser().args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--ephemeral",
        "--slices",
        &slices,
    ]))
}

#[test]
fn info_tells_version_limits_and_users_per_core() {
    for slices in [1, 3] {
        let server = start(slices);
        server.feed(&USERS.map(|user| credit(user, user, 5, AT_MS)).collect::<Vec<_>>());
        let info = || -> serde_json::Value {
            serde_json::from_str(&server.ask(get("/v1/info")).body).expect("it is JSON")
        };
        // Each core publishes its number of users in its next turn.
        let counts: Vec<u64> = (0..slices)
            .map(|s| USERS.filter(|&u| UserId::Number(u).slice(slices) == s).count() as u64)
            .collect();
        let users = || -> Vec<u64> {
            info()["slices"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|core| core["users"].as_u64().expect("a figure"))
                .collect()
        };
        assert!(becomes_true(|| users() == counts), "{:?} instead of {counts:?}", users());
        let info = info();
        assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
        assert!(info["commit"].as_str().is_some_and(|commit| !commit.is_empty()), "{info}");
        assert!(info["started_ms"].as_u64().is_some_and(|ms| ms > AT_MS), "{info}");
        assert_eq!(info["hash"], 2);
        assert_eq!(info["slices"].as_array().map(Vec::len), Some(slices as usize));
        assert_eq!(info["limits"]["batch_reads"], 1_000);
    }
}

/// The example client asks each core for that core's own users, so no core asks another.
#[test]
fn a_shard_aware_client_needs_no_requests_between_cores() {
    let mut server = start(3);
    let lines: Vec<_> = USERS.map(|user| credit(user, name(user), 5, AT_MS)).collect();
    server.feed(&lines);
    let mut client = shard_aware::Client::new(server.address).expect("the server tells");
    for user in USERS {
        let balance = client.balance(&name(user)).expect("an answer");
        assert_eq!(balance, balance_body(name(user), 1, AT_MS, 5));
    }
    drop(client);
    server.signal("TERM");
    assert!(server.ended().success());
    let between =
        std::iter::from_fn(|| server.line()).find(|line| line.starts_with("between cores: "));
    // The feed came by the common port: at most one request to each other core.
    let questions = between.as_deref().and_then(|line| line.split(' ').nth(2)?.parse::<u64>().ok());
    assert!(questions.is_some_and(|questions| questions <= 2), "{between:?}");
}
