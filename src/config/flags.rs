//! Flags of `serve`: their names, variables, defaults and help. Relations between flags are checked
//! in [`super::check`].

use super::boolean::Boolean;
use super::cpus::CpuList;
use crate::engine::net::resolve;
use clap::ArgAction;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Upper bound of slices; a larger number is a typing error. Each slice has a log, with a thread of
/// its own, and queues to all other slices.
pub const MAX_SLICES: i64 = 256;

/// Flags of `serve`, each parsed by itself.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Address or host name, and port, to listen on; :8080 is port 8080 on all interfaces, and port
    /// 0 picks a free port
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "PURSER_LISTEN",
        default_value = "127.0.0.1:8080",
        value_parser = resolve
    )]
    pub(super) listen: SocketAddr,

    /// Listen on the common port only: no slice has a port of its own
    #[arg(
        long,
        env = "PURSER_NO_SLICE_PORTS",
        action = ArgAction::SetTrue,
        value_parser = Boolean
    )]
    pub(super) no_slice_ports: bool,

    /// CPUs to run on, such as 0, 0-3 or 0,2 [default: all]
    #[arg(long, value_name = "LIST", env = "PURSER_CORES")]
    pub(super) cores: Option<CpuList>,

    /// Number of slices of the users. If there are more slices than CPUs, slices share a thread.
    /// Data with another number of slices is re-partitioned at the start [default: one per CPU]
    #[arg(
        long,
        value_name = "N",
        env = "PURSER_SLICES",
        value_parser = clap::value_parser!(u32).range(1..=MAX_SLICES)
    )]
    pub(super) slices: Option<u32>,

    /// Directory for the data; created if it does not exist [default: purser-data]
    #[arg(long, value_name = "DIR", env = "PURSER_DATA")]
    pub(super) data: Option<PathBuf>,

    /// Keep data in memory only: it is lost when the process ends
    #[arg(
        long,
        env = "PURSER_EPHEMERAL",
        action = ArgAction::SetTrue,
        value_parser = Boolean
    )]
    pub(super) ephemeral: bool,

    /// Maximum open connections per slice; further ones are answered 503. The limit of open files
    /// may allow fewer: a start says so
    #[arg(long, value_name = "N", env = "PURSER_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub(super) max_connections: usize,

    /// Time for the head of a request to arrive, and for any byte of a body; after it the request
    /// is answered 408. A body that takes longer must arrive at 16 KiB/s
    #[arg(long, value_name = "MS", env = "PURSER_REQUEST_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) request_timeout_ms: u64,

    /// Time after which an idle connection is closed
    #[arg(long, value_name = "MS", env = "PURSER_IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    pub(super) idle_timeout_ms: u64,

    /// Time after which a connection is closed if its peer takes none of its answers; a second more
    /// for each 48 KiB that it has taken before, at most 18 times this
    #[arg(long, value_name = "MS", env = "PURSER_SEND_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) send_timeout_ms: u64,

    /// Time after SIGTERM for which everything is served as before, new connections included, while
    /// /readyz answers 503; then the drain begins. SIGINT drains at once
    #[arg(long, value_name = "MS", env = "PURSER_DRAIN_DELAY_MS", default_value_t = 5_000)]
    pub(super) drain_delay_ms: u64,

    /// Maximum duration of the drain, after --drain-delay-ms
    #[arg(long, value_name = "MS", env = "PURSER_DRAIN_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) drain_timeout_ms: u64,

    /// Log size that triggers a snapshot, in MiB; the size of the last snapshot if that is larger
    #[arg(
        long,
        value_name = "MIB",
        env = "PURSER_SNAPSHOT_AFTER_MIB",
        default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(super) snapshot_after_mib: u64,

    /// Memory that this process may use, in MiB: its resident memory, and the kernel's for its
    /// connections [default: that of the machine, or the limit of the cgroup if that is lower]
    #[arg(
        long,
        value_name = "MIB",
        env = "PURSER_MEMORY_MIB",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) memory_mib: Option<u32>,

    /// Memory for the ledger, in MiB; above it new entries are rejected with 507 [default: what
    /// connections, answers and bodies leave]
    #[arg(long, value_name = "MIB", env = "PURSER_LEDGER_MIB")]
    pub(super) ledger_mib: Option<u64>,

    /// Watchdog timeout: the process aborts if a core makes no progress for this long
    #[arg(long, value_name = "MS", env = "PURSER_STALL_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) stall_timeout_ms: u64,

    /// Allocate from one common heap instead of a memory region (arena) per core
    #[arg(
        long,
        env = "PURSER_NO_ARENA",
        action = ArgAction::SetTrue,
        value_parser = Boolean
    )]
    pub(super) no_arena: bool,
}
