//! One executor per core: its ring, its sockets, its turn. The only room with `unsafe`, io_uring,
//! clocks and threads.
//!
//! What a core decides is its machine's ([`crate::server`]); the engine moves bytes, completions,
//! messages and time.
//!
//! - [`executor`]: the thread of one core, which drives its machine; [`cores`]: all of them,
//!   started, watched and ended together
//! - [`ring`]: the submission and completion queues; [`buffers`]: the buffers that the kernel
//!   receives into
//! - [`sockets`]: per connection, what the kernel owes it; [`listening`]: listeners; [`op`]: what a
//!   completion belongs to
//! - [`mesh`]: the queues between cores; [`queue`]: one of them; [`parking`]: how its receiver
//!   sleeps; [`padding`], [`sync`]
//! - [`directory`]: the data directory; [`storage`]: the disk of one slice; [`files`]: its files,
//!   read on the spot
//! - [`repartition`]: another number of slices, before a start; [`snapshot`]: the users of a slice,
//!   written offline
//! - [`net`]: ports; [`affinity`], [`priority`], [`memory_limit`], [`descriptors`]: what a thread
//!   and a process may use
//! - [`arena`]: a core's memory; [`stack`]: its stack; [`probe`]: what this kernel offers;
//!   [`control`]: drain, stop, wake
//!
//! The loop needs Linux 6.1: multishot accept and receive, provided buffer rings, SINGLE_ISSUER and
//! DEFER_TASKRUN. One `io_uring_enter` a turn submits what the last turn made and reaps what came;
//! nothing else on the hot path enters the kernel.
//!
//! **Invariants.** A core's memory is touched by its thread alone; what goes to another core goes
//! through the mesh. A slot is reused only after the kernel has completed all that it was asked for
//! it. At most one send is in flight on a connection, from a buffer that does not move.
//!
//! **Errors.** An OS error carries the operation and the object ([`Failure`]). The peer's faults
//! are answered or end its connection; ours abort the process.

pub mod affinity;
pub mod arena;
pub mod buffers;
pub mod control;
pub mod cores;
pub mod descriptors;
pub mod directory;
pub mod executor;
pub mod files;
pub mod listening;
pub mod memory_limit;
pub mod mesh;
pub mod net;
pub mod op;
pub mod padding;
pub mod parking;
pub mod priority;
pub mod probe;
pub mod queue;
pub mod repartition;
pub mod ring;
pub mod snapshot;
pub mod sockets;
pub mod stack;
pub mod storage;
pub mod sync;

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
    pub fn of(
        operation: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
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
