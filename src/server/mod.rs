//! The machine of one core: everything that a core decides, without any IO.
//!
//! Events come in ([`machine::Machine`]): a turn begins, a connection was opened, bytes were
//! received, a message came from another core, a disk task is done. Outputs go out: bytes to be
//! sent, messages, disk tasks, a connection to be closed. The engine carries them out on io_uring;
//! the simulators and the rival engines of the benches drive the same machine. The shape is that of
//! quinn-proto, which drives a whole QUIC connection by a handful of verbs.
//!
//! - [`machine`]: the events, the outputs, and the contract between a machine and its driver
//! - [`core`]: [`core::Server`], the machine that ships: its state, and the order of a turn
//! - [`shared`]: what all connections of a core use: clocks, slices, budgets, outputs
//! - [`connections`], [`connection`]: the connections; one state and one [`progress`] each
//! - [`requests`]: bytes to requests; [`body`]: a body that is received; [`reads`]: reads that were
//!   parsed and are to be answered
//! - [`feed`]: a body of entries, applied a bounded step at a time
//! - [`scatter`]: a request to several cores, put together when all have replied; [`parts`]: what
//!   each is asked
//! - [`exchange`]: requests to other cores and from them, within credits; [`message`]: what travels
//! - [`owner`]: a slice: recovery, then its store; [`topology`]: which core owns which user
//! - [`answers`]: the answers of a connection that wait to leave; [`budget`]: bounded memory
//! - [`limits`]: every bound of this room
//! - [`planted`]: faults that tests plant
//!
//! **Pure.** No clock, no IO, no thread, nothing atomic: time comes in with each turn, and what
//! cores know of each other comes as messages.
//!
//! **Invariants.** An answer leaves when the log position that it shows is durable. A slice applies
//! at most [`limits::ENTRIES_PER_TURN`] entries a turn. A core has at most its credits of requests
//! at another core, and a reply always finds room. What is reserved of a budget is released once.

pub mod answers;
pub mod body;
pub mod budget;
pub mod connection;
pub mod connections;
pub mod core;
pub mod exchange;
pub mod feed;
pub mod fragments;
pub mod lifecycle;
pub mod limits;
pub mod machine;
pub mod message;
pub mod owner;
pub mod planted;
pub mod progress;
pub mod reads;
pub mod requests;
pub mod scatter;
pub mod shared;
pub mod topology;
