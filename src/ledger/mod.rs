//! In-memory ledger of one slice: balances, open holds, dedup window and statistics of its users.
//!
//! The ledger mirrors decisions of the system of record. It judges and books committed entries
//! ([`entry`], [`judge`], [`effect`]), keeps each user's balances and open holds ([`user`],
//! [`balance`], [`holds`]), remembers recent entry ids so that no entry is booked twice
//! ([`window`], [`recent`], [`fingerprint`], [`tables`]), and counts posted entries by time
//! ([`counters`], over packed [`rows`]). Small users keep their groups, ids and rows in one block
//! ([`packed`]). A [`book`] holds the users of one slice, found through [`index`]. [`names`]
//! numbers the kinds, [`texts`] has the user ids that are no numbers. [`memory`] defines prefetch
//! steps and block growth. [`image`] is the stored form of a user.
//!
//! **Units.** Money is integer minor units of a currency (`i64`). Time is milliseconds since the
//! Unix epoch, UTC. The finest statistics bucket is 15 minutes, numbered from the epoch; older
//! buckets are merged to hours and days.
//!
//! **Never here:** a clock, a file, a random number, a lock, `unsafe`, a float. Time comes in as a
//! value, so a replay gives the same bytes.
//!
//! **Errors.** Refusing an entry is a normal result ([`entry::Rejection`]), never a panic, and
//! changes nothing. Stored data that breaks an invariant is [`image::Malformed`].

pub mod amount;
pub mod balance;
pub mod book;
pub mod counters;
mod cursor;
pub mod effect;
pub mod entry;
pub mod fingerprint;
pub mod holds;
pub mod id;
pub mod image;
pub mod index;
mod judge;
pub mod memory;
pub mod names;
mod packed;
pub mod recent;
pub mod rows;
pub mod secret;
pub mod tables;
pub mod texts;
pub mod time;
pub mod user;
mod varint;
pub mod window;

/// Maximum currencies of one user. Every balance answer reads all of the user's balances.
pub const CURRENCIES_PER_USER: usize = 16;
/// Maximum groups (currency, kind, direction) of one user. A group number is one byte in each row.
pub const GROUPS_PER_USER: usize = 256;
/// Maximum open holds of one user. A snapshot stores them in one step.
pub const HOLDS_PER_USER: usize = 65_536;
/// Accepted entries of one user after which its dedup window begins anew: a busy user's ids of the
/// last one to two such spans are remembered, however short the time.
pub const DEDUP_SPAN: u64 = 524_288;
/// Maximum length of the dedup window in milliseconds, measured back from the user's latest booking
/// time: how long an entry id is remembered. An entry before it is late.
pub const DEDUP_WINDOW_MS: u64 = 24 * time::HOUR_MS;
/// How far a booking time may be ahead of the server's clock, in milliseconds.
pub const FUTURE_MS: u64 = time::HOUR_MS;

const _: () = assert!(GROUPS_PER_USER <= 1 << u8::BITS, "a group number is one byte");
const _: () =
    assert!(CURRENCIES_PER_USER <= 1 << 7, "a currency's index and a direction share one byte");
const _: () = assert!(
    DEDUP_WINDOW_MS < time::BUCKETS_KEPT_MS,
    "the bucket of an entry that is not late is not merged yet"
);
