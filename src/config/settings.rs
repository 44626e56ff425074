//! Checked configuration of `serve`, made by [`super::check`].

use crate::engine::memory_limit::AddressSpace;
use crate::limits::Limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Resources of the machine that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Numbers of the CPUs, ascending.
    pub cpus: Vec<usize>,
    /// Memory in bytes.
    pub memory_bytes: usize,
    /// Address space.
    pub address_space: AddressSpace,
    /// Limit of open descriptors.
    pub descriptors: usize,
    /// Descriptors that are open.
    pub open_descriptors: usize,
}

/// Configuration of `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Numbers of the CPUs to run on, ascending, at least one.
    pub cores: Vec<usize>,
    /// Whether each slice has a port of its own.
    pub own_ports: bool,
    /// Number of slices. If it exceeds the number of CPUs, some slices share a thread.
    pub slices: u32,
    /// Data directory; `None` keeps data in memory only.
    pub data: Option<PathBuf>,
    /// Log size that triggers a snapshot, in bytes.
    pub snapshot_after_bytes: u64,
    /// Memory that the process may use, in bytes.
    pub memory_bytes: usize,
    /// Maximum open connections per slice that were asked for, and those that descriptors allow:
    /// memory may allow fewer.
    pub asked_connections: usize,
    /// At most as many as were asked for.
    pub connections_within_descriptors: usize,
    /// Limits in force: see [`Limits`].
    pub limits: Limits,
    /// Whether each core has its own memory region.
    pub arena: bool,
    /// Time between SIGTERM and the drain.
    pub drain_delay: Duration,
}

impl Config {
    /// The CPUs that have a slice. Slices are assigned to CPUs round-robin, so these come first in
    /// `cores`.
    pub fn cores_with_slices(&self) -> &[usize] {
        &self.cores[..self.cores.len().min(self.slices as usize)]
    }

    /// The CPU of the core that owns `slice`.
    pub fn cpu_of(&self, slice: usize) -> usize {
        self.cores[self.core_of(slice)]
    }

    /// The core that owns `slice`.
    pub const fn core_of(&self, slice: usize) -> usize {
        slice % self.cores.len()
    }

    /// Memory limit of one slice's ledger, in bytes.
    pub const fn ledger_bytes_of_slice(&self) -> usize {
        self.limits.ledger_bytes / self.slices as usize
    }
}
