//! Engine: one executor per core, with its ring, its sockets and its turn.
//!
//! io_uring, and the threads and clocks of a core, are in this module alone; `unsafe` is here and
//! in [`crate::prefetch`]. Decisions are made by each core's state machine, its "machine"
//! ([`crate::server`]); the engine moves bytes, completions, messages and time.
//!
//! - [`executor`]: the thread of one core, which drives its machine; [`cores`]: all of them,
//!   started, watched and ended together
//! - [`ring`]: the submission and completion queues; [`buffers`]: the buffers that the kernel
//!   receives into
//! - [`sockets`]: per connection, its pending kernel operations; [`listening`]: listeners; [`op`]:
//!   the `user_data` of an operation
//! - [`mesh`]: the queues between cores; [`queue`]: one of them; [`parking`]: how its receiver
//!   sleeps; [`sync`]
//! - [`directory`]: the data directory; [`storage`]: the disk of one slice, on separate threads;
//!   [`files`]: blocking access to its files
//! - [`generation`]: a new generation beside the current one; [`repartition`]: a change of the
//!   number of slices, before a start; [`snapshot`]: an offline snapshot writer
//! - [`net`]: ports; [`affinity`], [`priority`], [`memory_limit`], [`descriptors`]: the resources
//!   of a thread and of the process
//! - [`arena`]: a core's memory; [`stack`]: its stack; [`probe`]: a check of this kernel;
//!   [`control`]: drain, stop, wake
//!
//! The loop needs Linux 6.1: multishot receive, provided buffer rings, SINGLE_ISSUER and
//! DEFER_TASKRUN. One `io_uring_enter` per turn submits the operations of the last turn and reaps
//! completions; nothing else on the hot path enters the kernel.
//!
//! **Invariants.** A core's memory is touched by its own thread alone; everything for another core
//! goes through the mesh. A slot is reused only after the kernel has completed every operation on
//! it. At most one send is in flight per connection, from a buffer that does not move.
//!
//! **Errors.** An OS error carries the operation and the object ([`Failure`]). A peer's fault is
//! answered or ends its connection; our own abort the process.

pub mod affinity;
pub mod arena;
pub mod buffers;
pub mod control;
pub mod cores;
pub mod descriptors;
pub mod directory;
pub mod executor;
pub mod file_system;
pub mod files;
pub mod generation;
pub mod listening;
pub mod memory_limit;
pub mod mesh;
pub mod mimalloc;
pub mod net;
pub mod op;
pub mod parking;
pub mod priority;
pub mod probe;
pub mod queue;
pub mod random;
pub mod repartition;
pub mod ring;
pub mod snapshot;
pub mod sockets;
pub mod stack;
pub mod storage;
pub mod sync;

use std::io;
use std::path::Path;
use thiserror::Error;

/// A failed operating system call: operation, object and OS error, and the way out if one is known.
#[derive(Debug, Error)]
#[error("cannot {operation} {object}: {error}{}", way_out(operation, error))]
pub struct Failure {
    operation: &'static str,
    object: String,
    error: io::Error,
}

/// What an operator can do about a failure that comes from the process's surroundings.
fn way_out(operation: &str, error: &io::Error) -> &'static str {
    match (operation, error.raw_os_error()) {
        ("bind", Some(libc::EADDRINUSE)) => {
            "; another socket has it (ss -tanp shows whose): end that program, or choose another \
             --listen address"
        }
        ("bind", Some(libc::EADDRNOTAVAIL)) => "; no interface of this machine has that address",
        ("bind", Some(libc::EACCES)) => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        ("start", Some(libc::EAGAIN)) => {
            "; raise the limit of threads (TasksMax= of the service, pids.max of the cgroup, \
             ulimit -u) or of the address space (ulimit -v)"
        }
        ("map", Some(libc::ENOMEM)) => {
            "; lower --memory-mib, or raise the limit of the address space (ulimit -v)"
        }
        (_, Some(libc::EMFILE)) => {
            "; raise the limit of open files (ulimit -n, LimitNOFILE= of the service)"
        }
        (_, Some(libc::ENFILE)) => "; raise the limit of open files of this machine (fs.file-max)",
        _ => "",
    }
}

impl Failure {
    /// The failure of `operation` on `object` with `error`.
    pub fn new(operation: &'static str, object: impl Into<String>, error: io::Error) -> Self {
        Self { operation, object: object.into(), error }
    }

    /// Adapter for `map_err`: `operation` on a file or directory.
    pub fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::of(operation, path.display().to_string())
    }

    /// Adapter for `map_err`: `operation` on any object.
    pub fn of(
        operation: &'static str,
        object: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |error| Self { operation, object, error }
    }

    /// Whether the system was short of something that may be there again later: see
    /// [`file_system::is_shortage`].
    pub fn is_shortage(&self) -> bool {
        file_system::is_shortage(&self.error)
    }
}
