//! Entries as NDJSON lines, the body of a feed, with members in the contract's order. Written for
//! speed: the generator must outrun the server (2 M lines per second and more), so nothing here
//! uses `fmt`.

use crate::population::{Entry, GROUPS, Population};

/// Lines per feed request, as in the published figure.
pub const LINES_PER_BODY: u64 = 1_000;

/// Appends one line.
pub fn write(out: &mut Vec<u8>, population: &Population, entry: &Entry) {
    let mut digits = itoa::Buffer::new();
    let group = &GROUPS[entry.group];
    out.extend_from_slice(b"{\"entry_id\":\"");
    out.extend_from_slice(&uuid(entry.id));
    out.extend_from_slice(b"\",\"user_id\":\"");
    out.extend_from_slice(digits.format(population.user_id(entry.user)).as_bytes());
    out.extend_from_slice(b"\",\"currency\":\"");
    out.extend_from_slice(group.currency.as_bytes());
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(group.kind.as_bytes());
    out.extend_from_slice(b"\",\"direction\":\"");
    out.extend_from_slice(group.direction.as_bytes());
    out.extend_from_slice(b"\",\"amount\":");
    out.extend_from_slice(digits.format(entry.amount).as_bytes());
    out.extend_from_slice(b",\"at_ms\":");
    out.extend_from_slice(digits.format(entry.at_ms).as_bytes());
    out.extend_from_slice(b",\"state\":\"posted\"}\n");
}

/// 8-4-4-4-12, lower case.
fn uuid(id: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    const DASH_BEFORE_BYTE: [usize; 4] = [4, 6, 8, 10];
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in id.to_be_bytes().into_iter().enumerate() {
        at += usize::from(DASH_BEFORE_BYTE.contains(&i));
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}
