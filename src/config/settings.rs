//! What `serve` needs, checked: see [`super::check`].

use crate::limits::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What this process may use of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// CPUs, ascending.
    pub cpus: Vec<usize>,
    /// Bytes of memory.
    pub memory_bytes: usize,
}

/// Everything that `serve` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The CPUs to run on, ascending, at least one.
    pub cores: Vec<usize>,
    /// How many slices there are; where they outnumber the CPUs, some share a thread.
    pub slices: u32,
    /// Where data is kept; `None` keeps it in memory only.
    pub data: Option<PathBuf>,
    /// Bytes of log that begin a snapshot.
    pub snapshot_after_bytes: u64,
    /// Bytes of memory that the process may use.
    pub memory_bytes: usize,
    /// Bounds of each core.
    pub limits: Limits,
    /// Whether a core's memory is a region of its own.
    pub arena: bool,
}

impl Config {
    /// The CPUs that have a slice. Slices take turns on the CPUs, so the first of each come first.
    pub fn cores_with_slices(&self) -> &[usize] {
        &self.cores[..self.cores.len().min(self.slices as usize)]
    }

    /// The CPU of a slice's core.
    pub fn cpu_of(&self, slice: usize) -> usize {
        self.cores[slice % self.cores.len()]
    }

    /// Bytes that the ledger of one slice may take.
    pub const fn ledger_bytes_of_slice(&self) -> usize {
        self.limits.ledger_bytes / self.slices as usize
    }
}
