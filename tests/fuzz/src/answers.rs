//! A look at what a connection sent, as a client would read it.

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const START: &[u8] = b"HTTP/1.1 ";

/// Takes the interim answers out: whether one is sent depends, by the contract, on whether the body
/// is there already.
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

/// Panics unless `sent` is a row of whole answers: head, then as many bytes of body as it
/// announces, or none (`HEAD`, 304).
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
