//! No outcome depends on how bytes were split on their way: requests, good and bad, cut at every byte.

use crate::desk::{TestDesk, Wire, get, post};
use purser::api::connection::Next;

const ENTRIES: &[u8] = br#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":500,"at_ms":1000}
{"entry_id":"2","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":7,"at_ms":2000,"state":"pending"}
{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","amount":501,"at_ms":1000}
nonsense"#;

/// Streams of one connection: pipelines, every kind of body, and each way in which a connection ends.
fn streams() -> Vec<Vec<u8>> {
    let feed = post("/v1/entries", "application/x-ndjson", ENTRIES);
    let batch = post(
        "/v1/batch",
        "application/json",
        br#"{"requests":[{"user_id":"42","read":"balance"},{"user_id":"1","read":"balance"}]}"#,
    );
    let balance = get("/v1/users/42/balance");
    let stats = get("/v1/users/42/stats?window=1d&at_ms=1500");
    let chunked = b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n\
        5;a=b\r\n{\"ent\r\n1\r\nr\r\n3\r\ny_i\r\n0\r\ntrailer: 1\r\n\r\n";
    let endings: [&[u8]; 8] = [
        b"",
        b"GET /v1/users/42/balance HTTP/1.1\r\nHost: x\r\nconnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n",
        b"GET /v1/users/42/balance HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"BREW /v1/entries HTTP/1.1\r\nHost: x\r\n\r\nHEAD /v1/users/42/balance HTTP/1.1\r\nHost: x\r\nif-none-match: \"v2\"\r\n\r\n",
    ];
    let start = [&feed[..], &balance, &chunked[..], &batch, &stats].concat();
    endings.iter().map(|end| [&start[..], end].concat()).collect()
}

fn run(pieces: &[&[u8]]) -> (Vec<u8>, Next, u64) {
    let (mut desk, mut wire) = (TestDesk::new(), Wire::default());
    desk.now_ms = 5_000;
    let mut next = Next::Idle;
    for piece in pieces {
        next = wire.send(&mut desk, piece);
    }
    (wire.out.bytes, next, desk.answered)
}

#[test]
fn every_stream_cut_at_every_byte() {
    for stream in streams() {
        let whole = run(&[&stream]);
        assert!(whole.2 >= 5, "{}", String::from_utf8_lossy(&whole.0));
        for cut in 1..stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(run(&[a, b]), whole, "cut at {cut} of {:?}", String::from_utf8_lossy(&stream));
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(run(&bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn an_answer_waits_for_the_log_and_those_behind_it_wait_too() {
    let (mut desk, mut wire) = (TestDesk::new(), Wire::default());
    desk.now_ms = 5_000;
    desk.log.keeps = true;
    wire.send(&mut desk, &get("/healthz"));
    let free = wire.out.bytes.len();
    wire.send(&mut desk, &post("/v1/entries", "application/x-ndjson", ENTRIES));
    wire.send(&mut desk, &get("/healthz"));
    let durable = |lsn| purser::api::out::Stamp(lsn);
    assert_eq!(wire.out.sendable(durable(0)), free, "the verdicts and what is behind them wait");
    assert_eq!(wire.out.sendable(durable(1)), free, "all of a body's entries must be durable");
    assert_eq!(wire.out.sendable(durable(2)), wire.out.bytes.len());
    for read in [
        get("/v1/users/42/balance"),
        get("/v1/users/42/stats?window=lifetime"),
        post("/v1/entries", "application/x-ndjson", ENTRIES),
    ] {
        wire.out.bytes.clear();
        wire.send(&mut desk, &read);
        assert_eq!(
            wire.out.sendable(durable(1)),
            0,
            "what shows an entry waits for it: {}",
            String::from_utf8_lossy(&read)
        );
        assert_eq!(wire.out.sendable(durable(2)), wire.out.bytes.len());
    }
}
