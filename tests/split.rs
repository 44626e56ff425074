//! Split test: good and bad requests, cut at every byte, give the same answers as in one piece.

use crate::drive::{Wire, get, post};
use purser::server::progress::Progress;

const ENTRIES: &[u8] = concat!(
    r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","#,
    r#""amount":500,"at_ms":1000}"#,
    "\n",
    r#"{"entry_id":"2","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","#,
    r#""amount":7,"at_ms":2000,"state":"pending"}"#,
    "\n",
    r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","direction":"credit","#,
    r#""amount":501,"at_ms":1000}"#,
    "\n",
    "nonsense",
)
.as_bytes();

/// Byte streams of one connection: pipelines, every kind of body, and each way that a connection
/// can end.
fn streams() -> Vec<Vec<u8>> {
    let feed = post("/v1/entries", "application/x-ndjson", ENTRIES);
    let batch = post(
        "/v1/batch",
        "application/json",
        br#"{"requests":[{"user_id":"42","read":"balance"},{"user_id":"1","read":"balance"}]}"#,
    );
    let balance = get("/v1/users/42/balance");
    let stats = get("/v1/users/42/stats?window=1d&at_ms=1500");
    let chunked = b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-type: application/x-ndjson\r\n\
                    transfer-encoding: chunked\r\n\r\n5;a=b\r\n{\"ent\r\n1\r\nr\r\n3\r\ny_i\r\n\
                    0\r\ntrailer: 1\r\n\r\n";
    let endings: [&[u8]; 8] = [
        b"",
        b"GET /v1/users/42/balance HTTP/1.1\r\nHost: x\r\nconnection: close\r\n\r\n\
          GET /never HTTP/1.1\r\n\r\n",
        b"GET /v1/users/42/balance HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\
          transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/entries HTTP/1.1\r\nHost: x\r\ncontent-type: application/x-ndjson\r\n\
          transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"BREW /v1/entries HTTP/1.1\r\nHost: x\r\n\r\nHEAD /v1/users/42/balance HTTP/1.1\r\n\
          Host: x\r\nif-none-match: \"v2\"\r\n\r\n",
    ];
    let start = [&feed[..], &balance, &chunked[..], &batch, &stats].concat();
    endings.iter().map(|end| [&start[..], end].concat()).collect()
}

fn run(pieces: &[&[u8]]) -> (Vec<u8>, Option<Progress>, u64) {
    let mut wire = Wire::new(5_000);
    pieces.iter().for_each(|piece| wire.send(piece));
    (wire.take(), wire.progress(), wire.answered())
}

#[test]
fn a_cut_at_any_byte_does_not_change_the_answers() {
    for stream in streams() {
        let whole = run(&[&stream]);
        assert!(whole.2 >= 5, "{}", String::from_utf8_lossy(&whole.0));
        for cut in 1..stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(
                run(&[a, b]),
                whole,
                "cut at {cut} of {:?}",
                String::from_utf8_lossy(&stream)
            );
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(run(&bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn answers_wait_for_the_log_and_keep_their_order() {
    let mut wire = Wire::with_disk(5_000);
    let length = |answer: &[u8]| answer.windows(4).filter(|four| *four == b"\r\n\r\n").count();
    wire.send(&get("/healthz"));
    wire.send(&post("/v1/entries", "application/x-ndjson", ENTRIES));
    wire.send(&get("/healthz"));
    assert_eq!(length(&wire.take()), 1, "the verdicts and later answers wait");
    for read in [
        get("/v1/users/42/balance"),
        get("/v1/users/42/stats?window=lifetime"),
        post("/v1/entries", "application/x-ndjson", ENTRIES),
    ] {
        wire.send(&read);
        assert_eq!(
            wire.sent(),
            b"",
            "an answer that shows an entry waits for it: {}",
            String::from_utf8_lossy(&read)
        );
    }
    wire.work();
    assert_eq!(length(&wire.take()), 5, "all entries are durable");
    wire.send(&get("/v1/users/42/balance"));
    assert_eq!(length(&wire.take()), 1, "a read of durable entries does not wait");
}
