//! Fuzzes the input path of a request: the head parser, the chunked decoder, and the whole machine
//! of a connection.
//!
//! The last two bytes of the input choose where the bytes before them are cut (little-endian,
//! modulo their number plus one). Delivered in one piece, in two, and (short inputs) byte by byte,
//! the bytes must give the same heads, bodies and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::http::chunked::Decoder;
use purser::http::{Refusal, head};
use purser::ledger::time::Millis;
use purser_fuzz::answers;
use purser_fuzz::machine::Machine;

/// Longest input that is also delivered byte by byte.
const BYTEWISE: usize = 512;
const NOW: Millis = Millis(1_763_900_000_000);
/// Entries of user 42 that the machine has applied.
const KNOWN: [&str; 2] = [
    concat!(
        r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","#,
        r#""direction":"credit","amount":500,"at_ms":1763890000000}"#
    ),
    concat!(
        r#"{"entry_id":"2","user_id":"42","currency":"COIN","kind":"gift_sent","#,
        r#""direction":"debit","amount":20,"at_ms":1763890000001,"state":"pending"}"#
    ),
];

fuzz_target!(|input: &[u8]| {
    let Some((bytes, &cut)) = input.split_last_chunk::<2>() else { return };
    let cut = usize::from(u16::from_le_bytes(cut)) % (bytes.len() + 1);
    check_head(bytes, cut);
    check_chunked(bytes, cut);
    check_machine(bytes, cut);
});

/// A head parsed from two pieces equals the head parsed from one.
fn check_head(bytes: &[u8], cut: usize) {
    let (mut whole_seen, mut seen) = (0, 0);
    let whole = head::parse(bytes, &mut whole_seen);
    let first = head::parse(&bytes[..cut], &mut seen);
    match first {
        Ok(None) => {
            assert_eq!(
                head::parse(bytes, &mut seen),
                whole,
                "a head in two pieces parses like a whole one"
            )
        }
        early => assert_eq!(early, whole, "an early result is final"),
    }
    if let Ok(Some((_, len))) = whole {
        assert!(len <= bytes.len(), "a head is not longer than its bytes");
        assert!(bytes[..len].ends_with(b"\r\n\r\n"), "a head ends with an empty line");
    }
}

/// Decoded body, and the result of decoding: bytes consumed and whether the body is complete, or
/// the refusal.
type Decoded = (Vec<u8>, Result<(usize, bool), Refusal>);

/// A chunked body decoded from pieces equals the body decoded from one.
fn check_chunked(bytes: &[u8], cut: usize) {
    let whole = decode(&[bytes]);
    assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]), whole);
    if bytes.len() <= BYTEWISE {
        assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }
}

fn decode(pieces: &[&[u8]]) -> Decoded {
    let (mut decoder, mut body, mut consumed, mut done) = (Decoder::new(), Vec::new(), 0, false);
    for piece in pieces {
        match decoder.decode(piece, |part| body.extend_from_slice(part)) {
            Err(refusal) => return (body, Err(refusal)),
            Ok(progress) => {
                consumed += progress.consumed;
                done = progress.done;
            }
        }
    }
    assert_eq!(decoder.body_bytes(), body.len() as u64, "the decoder counts every body byte");
    (body, Ok((consumed, done)))
}

/// The same answers are sent however the bytes are cut.
fn check_machine(bytes: &[u8], cut: usize) {
    let whole = converse(&[bytes]);
    answers::check_framing(&whole.0);
    assert_eq!(shown(&converse(&[&bytes[..cut], &bytes[cut..]])), shown(&whole), "cut in two");
    if bytes.len() <= BYTEWISE {
        assert_eq!(
            shown(&converse(&bytes.chunks(1).collect::<Vec<_>>())),
            shown(&whole),
            "byte by byte"
        );
    }
}

/// Bytes that a fresh connection is sent, and whether it is open afterwards.
fn converse(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut machine = machine_with_user();
    let (mut sent, mut is_open) = (Vec::new(), true);
    for piece in pieces {
        is_open = machine.exchange(piece, |part| sent.extend_from_slice(part));
    }
    (answers::without_continue(&sent), is_open)
}

fn shown((sent, is_open): &(Vec<u8>, bool)) -> (String, bool) {
    (String::from_utf8_lossy(sent).into_owned(), *is_open)
}

fn machine_with_user() -> Machine {
    let mut machine = Machine::new(NOW);
    let body = KNOWN.join("\n");
    let head = "POST /v1/entries HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/x-ndjson\r\nContent-Length: ";
    let sent = machine.answer(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
    assert!(String::from_utf8_lossy(&sent).contains("{\"accepted\":2,"), "the feed is accepted");
    machine
}
