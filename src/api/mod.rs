//! API contract: from requests to operations, and from results to answers. The only module that
//! knows both HTTP and the ledger.
//!
//! - [`route`]: a request's head to an operation ([`read`]: a balance or statistics; or a body that
//!   follows)
//! - [`json`]: strict RFC 8259 reader, in one pass and in place
//! - [`entry`]: a feed line to an entry; [`batch`]: a batch body to its reads
//! - [`answer`]: bodies of balances, statistics and batches; [`problem`]: every refusal, in one
//!   table
//! - [`verdicts`]: the answer to a feed; [`info`]: the body of `GET /v1/info`
//! - [`reply`]: whole responses
//!
//! **Pure.** Bytes and time come in as values, answers go into the caller's buffer; nothing here
//! reads a clock or does IO. All input from outside is checked before it is used, and a refusal
//! names the field.
//!
//! Readers and writers are written by hand. For the same values, `sonic-rs` takes 1.5 times as long
//! to read a feed line, 1.3 times to read a batch and 2.9 times to write a balance
//! (`benches/runs/2026-11-30-by-hand.md`). Only a hand-written reader finds a repeated member,
//! keeps the order of precedence of errors and names the field to blame in the same pass.

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

/// Limit of lines per feed request: bounds the work that one request may queue.
pub const FEED_LINES: usize = 10_000;
/// Limit of a feed body in bytes: ten thousand entries fit with a margin.
pub const FEED_BYTES: usize = 8 << 20;
/// Limit of reads per batch.
pub const BATCH_READS: usize = 1_000;
/// Limit of a batch body in bytes: a thousand reads with every member. It is parsed in one go.
pub const BATCH_BYTES: usize = 256 << 10;
