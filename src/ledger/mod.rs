//! Money and time in, answers out: what the platform's committed entries add up to.
//!
//! The ledger mirrors decisions that were made elsewhere: it books entries ([`entry`]), keeps each
//! user's balances and open holds ([`user`], [`holds`]), remembers recent entry ids so that nothing
//! is counted twice ([`recent`]) and counts posted entries by time ([`counters`], over packed
//! [`rows`]); what a user has of these, if it is little, lies in one block ([`packed`]). A [`book`]
//! holds the users of one slice, found through [`index`]; kinds are numbered in [`names`];
//! [`memory`] says where reading will go next, and how small blocks grow. A user is stored and read
//! back as an [`image`].
//!
//! **Units.** Money is integer minor units of a currency (`i64`). Time is milliseconds since the
//! Unix epoch, UTC. Statistics are kept by *bucket*: 15 minutes, numbered from the
//! epoch.
//!
//! **Never here:** a clock, a file, a random number, a lock, `unsafe`, a float. Time comes in as a
//! value, so a replay gives the same bytes.
//!
//! **Errors.** A refused entry is an answer ([`entry::Rejection`]), never a panic; a refused entry
//! changes nothing.

pub mod amount;
pub mod book;
pub mod counters;
mod cursor;
pub mod entry;
pub mod holds;
pub mod id;
pub mod image;
pub mod index;
pub mod memory;
pub mod names;
mod packed;
pub mod recent;
pub mod rows;
pub mod time;
pub mod user;
mod varint;

/// Currencies one user may hold: their balances are read in full by every balance answer.
pub const CURRENCIES_PER_USER: usize = 16;
/// Groups (currency, kind, direction) of one user: a group number fits a byte in every packed row.
pub const GROUPS_PER_USER: usize = 256;
/// Open holds of one user: they are kept sorted, and a settlement moves at most this many.
pub const HOLDS_PER_USER: usize = 1_024;
/// Remembered entry ids of one user, counted by whole buckets: 16 MiB of fingerprints.
pub const RECENT_PER_USER: usize = 1_048_576;
/// How long an entry id is remembered, and how late an entry may come, in milliseconds of the
/// user's own time.
pub const DEDUP_HORIZON_MS: u64 = 24 * time::HOUR_MS;
/// How far ahead of the server's clock an entry may be booked, in milliseconds.
pub const FUTURE_MS: u64 = time::HOUR_MS;

const _: () = assert!(GROUPS_PER_USER <= 1 << u8::BITS, "a group number is one byte");
const _: () =
    assert!(CURRENCIES_PER_USER <= 1 << 7, "a currency's place and a direction share one byte");
const _: () = assert!(
    DEDUP_HORIZON_MS < time::FINE_MS,
    "an entry that is accepted late must still find its bucket unmerged"
);
