//! Entries as NDJSON lines, the body of a feed, with members in the contract's order. Written for
//! speed: the generator must outrun the server (2 M lines per second and more), so nothing here
//! uses `fmt`.

use crate::population::{Entry, GROUPS, Population};
use crate::user_id::uuid;

/// Lines per feed request, as in the published figure.
pub const LINES_PER_BODY: u64 = 1_000;

/// Appends one line.
pub fn write(out: &mut Vec<u8>, population: &Population, entry: &Entry) {
    let mut digits = itoa::Buffer::new();
    let group = &GROUPS[entry.group];
    out.extend_from_slice(b"{\"entry_id\":\"");
    out.extend_from_slice(&uuid(entry.id));
    out.extend_from_slice(b"\",\"user_id\":\"");
    out.extend_from_slice(population.user_id(entry.user).as_bytes());
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
