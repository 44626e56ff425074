//! Checks of the bytes sent on a connection, read as a client would read them.

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const START: &[u8] = b"HTTP/1.1 ";

/// Removes the interim answers: by the contract, whether one is sent depends on whether the body
/// has already arrived.
pub fn without_continue(sent: &[u8]) -> Vec<u8> {
    let mut rest = sent;
    let mut kept = Vec::with_capacity(sent.len());
    while let Some(at) = find(rest, CONTINUE) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + CONTINUE.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}

/// Panics unless `sent` is a sequence of whole answers: a head, then as many body bytes as
/// announced, or none (`HEAD`, 304).
pub fn check_framing(sent: &[u8]) {
    let mut rest = sent;
    while !rest.is_empty() {
        assert!(rest.starts_with(START), "an answer begins with its status line");
        let end = find(rest, b"\r\n\r\n").expect("a head ends") + 4;
        let (head, body) = rest.split_at(end);
        let bodiless = body.is_empty() || body.starts_with(START);
        rest = if bodiless {
            body
        } else {
            body.get(length(head)..).expect("a body is as long as announced")
        };
    }
}

fn length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).expect("a head is ASCII");
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a body has a length");
    value.parse().expect("a length is a number")
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
