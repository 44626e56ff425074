//! The heaviest user that a ledger can hold: every group in every bucket that is kept. A read of
//! their statistics visits 170,000 rows.

/// Kinds of the user: with two directions each, the most groups that a user may have.
pub const KINDS: u64 = 128;

const BUCKET_MS: u64 = 15 * 60_000;
const HOUR_MS: u64 = 4 * BUCKET_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Bodies of the feeds that make `user` the heaviest, in order; the last entries are of `now_ms`.
pub fn feeds(user: u64, now_ms: u64) -> impl Iterator<Item = Vec<u8>> {
    // Booking times of the rows that the ledger keeps: days, then hours, then buckets.
    let days = (9..400).rev().map(move |day| now_ms - day * DAY_MS);
    let hours = (27..9 * 24).rev().map(move |hour| now_ms - hour * HOUR_MS);
    let buckets = (0..27 * 4).rev().map(move |bucket| now_ms - bucket * BUCKET_MS);
    (0_u64..).zip(days.chain(hours).chain(buckets)).map(move |(number, at)| {
        let lines: Vec<_> = (0..2 * KINDS)
            .map(|group| {
                let (kind, direction) = (group / 2, ["credit", "debit"][group as usize % 2]);
                let (id, amount) = (number * 2 * KINDS + group + 1, 100_000 + group);
                let head = format!(r#"{{"entry_id":"{id}","user_id":"{user}","currency":"COIN""#);
                let tail = format!(r#""amount":{amount},"at_ms":{at}}}"#);
                format!(r#"{head},"kind":"kind_{kind}","direction":"{direction}",{tail}"#)
            })
            .collect();
        lines.join("\n").into_bytes()
    })
}
