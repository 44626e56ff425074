//! One executor per core: its ring, its connections, its turn. The only room with `unsafe`, io_uring, clocks and threads.
//!
//! - [`core`] — the thread of one core and [its turn](core::Core): complete, answer, send, once around
//! - [`cores`] — all of them: started together, watched, ended together
//! - [`ring`] — the submission and completion queues; [`buffers`] — the ring of buffers that the kernel receives into
//! - [`connections`] — one slot a connection, free only after its last completion; [`op`] — what a completion belongs to
//! - [`service`] — what the loop asks of the handler that it drives; [`wallet`] — the handler: a slice behind the API
//! - [`directory`] — the data directory; [`storage`] — the disk of one slice; [`keeper`] — recovery, then the store, driven by the turns
//! - [`repartition`] — another number of slices, before a start; [`snapshot`] — the users of a slice, written offline
//! - [`mesh`] — the cores, as one of them reaches the others; [`spsc`] — a queue from core to core, and how its receiver sleeps; [`sync`] — atomics
//! - [`net`] — listeners; [`placement`] — pinning, memory and descriptor limits; [`arena`] — a core's memory; [`probe`] — what this kernel offers
//! - [`control`] — how a thread is told to drain and to stop
//!
//! The loop needs Linux 6.1: multishot accept and receive, provided buffer rings, SINGLE_ISSUER and DEFER_TASKRUN. One
//! `io_uring_enter` a turn submits what the last turn made and reaps what came; nothing else on the hot path enters the kernel.
//!
//! **Invariants.** A core's memory is touched by its thread alone; what goes to another core goes through the mesh. A slot is reused only after the kernel has completed all that it was
//! asked for it. At most one send is in flight on a connection, from a buffer that does not move. No answer
//! leaves before its stamp is durable.
//!
//! **Errors.** An OS error carries the operation and the object ([`Failure`]). The peer's faults are answered or end its connection;
//! ours abort the process.

pub mod arena;
pub mod buffers;
pub mod connections;
pub mod control;
pub mod core;
pub mod cores;
pub mod directory;
pub mod keeper;
pub mod mesh;
pub mod net;
pub mod op;
pub mod placement;
pub mod probe;
pub mod repartition;
pub mod ring;
pub mod service;
pub mod snapshot;
pub mod spsc;
pub mod storage;
pub mod sync;
pub mod wallet;

use std::fmt;
use std::io;
use std::path::Path;

/// An operating system call that failed, and on what.
#[derive(Debug)]
pub struct Failure {
    operation: &'static str,
    object: String,
    error: io::Error,
}

impl Failure {
    /// `operation` on `object` failed with `error`.
    pub fn new(operation: &'static str, object: impl Into<String>, error: io::Error) -> Self {
        Self { operation, object: object.into(), error }
    }

    /// For `map_err`: `operation` on a file or directory.
    pub fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::of(operation, path.display().to_string())
    }

    /// For `map_err`.
    pub fn of(operation: &'static str, object: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |error| Self { operation, object, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.object, self.error)
    }
}

impl std::error::Error for Failure {}
