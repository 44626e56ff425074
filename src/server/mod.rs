//! The machine of one core: every decision that a core takes, without IO.
//!
//! Events come in ([`machine::Machine`]): a turn begins, a connection is opened, bytes are
//! received, a message arrives from another core, a disk task completes. Outputs go out: bytes to
//! send, messages, disk tasks, connections to close. The engine carries the outputs out on
//! io_uring; the simulators and the rival engines of the benches drive the same machine. The design
//! follows quinn-proto, which drives a whole QUIC connection with a handful of verbs.
//!
//! - [`machine`]: events, outputs, and the contract between a machine and its driver
//! - [`core`]: [`core::Server`], the machine that ships: its state, and the order of a turn
//! - [`shared`]: state that all connections of a core use: clocks, slices, budgets, outputs
//! - [`connections`]: the connections of a core, by slot; [`connection`]: one connection's state
//!   machine; [`progress`]: what a connection waits for
//! - [`requests`]: parsing of requests; [`body`]: receiving a body; [`reads`]: parsed reads that
//!   are not answered yet
//! - [`feed`]: a body of entries, applied in bounded steps
//! - `gathering`: batches and info requests of a connection
//! - [`scatter`]: scatter-gather of one request over several cores; [`fragments`]: its per-core
//!   sub-requests and replies
//! - [`exchange`]: requests to and from other cores, within credits; [`message`]: the messages
//!   between cores
//! - [`owner`]: one slice: its recovery, then its store; [`topology`]: which core and slice owns a
//!   user
//! - [`answers`]: a connection's rendered answers that wait to be sent; [`budget`]: bounded memory
//! - [`lifecycle`]: loading, serving, draining, at rest
//! - [`limits`]: every bound of this module
//! - [`planted_bug`]: bugs that tests plant
//!
//! **Pure.** No clock, no IO, no threads, no atomics: time comes in with each turn, and cores learn
//! of each other by messages only.
//!
//! **Invariants.** An answer is sent only when the log position that it shows is durable. A slice
//! applies at most [`limits::ENTRIES_PER_TURN`] entries a turn. A core has at most its credits of
//! requests outstanding at another core, and there is always queue space for the reply. Reserved
//! bytes of a budget are released exactly once.

mod answering;
pub mod answers;
pub mod body;
pub mod budget;
pub mod connection;
pub mod connections;
pub mod core;
pub mod exchange;
pub mod feed;
pub mod fragments;
mod gathering;
mod heavy;
pub mod lifecycle;
pub mod limits;
pub mod machine;
pub mod message;
pub mod owner;
pub mod planted_bug;
pub mod progress;
pub mod reads;
mod refusals;
pub mod requests;
pub mod scatter;
pub mod send_clock;
pub mod shared;
pub mod topology;
