//! The contract: which request asks what, and what its answer says. The only room that knows both
//! HTTP and the ledger.
//!
//! - [`route`] — a request's head to what it asks ([`read`]: a balance or statistics; or a body to
//!   come)
//! - [`json`] — strict RFC 8259 reading, in one pass and in place
//! - [`entry`] — a line of the feed to an entry; [`batch`] — a batch body to its reads
//! - [`answer`] — balances, statistics, batches; [`problem`] — every refusal, in one table
//! - [`verdicts`] — the answer to a feed; [`info`] — what a server says of itself
//! - [`reply`] — whole responses
//!
//! **Pure.** Bytes and time come in as values, answers go into the caller's buffer; nothing here
//! reads a clock or does IO. Everything that came from outside is checked before it is used, and a
//! refusal names the field.
//!
//! Readers and writers are written by hand. The writer takes less than half the time of a general
//! library; the readers take about what the library needs to split the text into values, before any
//! is looked at (`cargo bench --bench parts -- json`). Only by hand can a repeated member, the
//! order of precedence of errors and the name of the field to blame be had in the same pass.

pub mod answer;
pub mod batch;
pub mod entry;
pub mod info;
pub mod json;
pub mod problem;
pub mod read;
pub mod reply;
pub mod route;
pub mod verdicts;

/// Lines of one feed request: bounds the work that one request may queue.
pub const FEED_LINES: usize = 10_000;
/// Bytes of one feed body: ten thousand entries with room to spare.
pub const FEED_BYTES: usize = 8 << 20;
/// Reads of one batch.
pub const BATCH_READS: usize = 1_000;
/// Bytes of one batch body: a thousand reads of every member, generously spaced.
pub const BATCH_BYTES: usize = 1 << 20;
