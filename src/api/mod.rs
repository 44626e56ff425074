//! The contract: which request asks what, and what its answer says. The only room that knows both HTTP and the ledger.
//!
//! - [`route`] — a request's head to what it asks ([`read`]: a balance or statistics; or a body to come)
//! - [`json`] — strict RFC 8259 reading, in one pass and in place
//! - [`entry`] — a line of the feed to an entry; [`batch`] — a batch body to its reads
//! - [`answer`] — balances, statistics, batches; [`problem`] — every refusal, in one table
//! - [`feed`] — a body of entries, applied a bounded step at a time
//! - [`connection`] — the machine of one connection: bytes in, answers out, in order; [`out`] — the answers that wait to leave
//! - [`reply`] — whole responses
//! - [`exchange`] — what the cores of a server ask of each other, in [`parcel`]s; [`gather`] — a batch over several cores
//! - [`info`] — what a server says of itself
//! - [`room`] — how much answers may take before they leave
//! - [`desk`] — what the machine asks of the core that it runs on
//!
//! **Pure.** Bytes and time come in as values, answers go into the caller's buffer; nothing here reads a clock or does IO.
//! Everything that came from outside is checked before it is used, and a refusal names the field.
//!
//! Readers and writers are written by hand. The writer takes less than half the time of a general library; the readers take about what
//! the library needs to split the text into values, before any is looked at (`cargo bench --bench parts -- json`). Only by hand can a
//! repeated member, the order of precedence of errors and the name of the field to blame be had in the same pass.

pub mod answer;
pub mod batch;
pub mod connection;
pub mod desk;
pub mod entry;
pub mod exchange;
pub mod feed;
pub mod gather;
pub mod info;
pub mod json;
pub mod out;
pub mod parcel;
pub mod problem;
pub mod read;
pub mod reply;
pub mod room;
pub mod route;

/// Lines of one feed request: bounds the work that one request may queue.
pub const FEED_LINES: usize = 10_000;
/// Bytes of one feed body: ten thousand entries with room to spare.
pub const FEED_BYTES: usize = 8 << 20;
/// Reads of one batch.
pub const BATCH_READS: usize = 1_000;
/// Bytes of one batch body: a thousand reads of every member, generously spaced.
pub const BATCH_BYTES: usize = 1 << 20;
/// Requests that one connection may have answered in one turn; the others wait for the next.
pub const REQUESTS_PER_TURN: usize = 64;
/// Entries that a core applies in one turn, of all connections.
pub const ENTRIES_PER_TURN: usize = 256;
/// The same while reads come in: they wait no longer than for so many.
pub const ENTRIES_AMONG_READS: usize = 16;
/// So long after a read more of them are expected, in milliseconds.
pub const READS_EXPECTED_MS: u64 = 100;
/// Bytes of answers on which a connection starts no further request until some have left.
pub const OUT_MARK_BYTES: usize = 256 << 10;
/// Bytes that a paused connection may leave unread before its receive is cancelled.
pub const KEPT_BYTES: usize = 64 << 10;
/// Reads that arrive together are parsed together, up to so many.
pub const TOGETHER: usize = 16;
/// Answers of other cores that one connection may wait for at a time, so that they are asked for in good time and bounded.
pub const GAPS: usize = 64;
/// Parcels that one core may have at another: more than a turn makes, and few enough that all of them wait a moment only.
pub const CREDITS: u32 = 512;
/// How long a core may be without a credit at another before requests for that one are refused, in milliseconds.
pub const PATIENCE_MS: u64 = 250;
