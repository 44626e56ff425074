//! Flags of `serve`: their names, variables, defaults and help. Relations between flags are checked
//! in [`super::check`].

use super::cpus::CpuList;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Upper bound of slices; a larger number is a typing error. Each slice has a log, with a thread of
/// its own, and queues to all other slices.
const MOST_SLICES: i64 = 256;

/// Flags of `serve`, each parsed by itself.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "PURSER_LISTEN", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,

    /// CPUs to run on, such as 0, 0-3 or 0,2 [default: all]
    #[arg(long, value_name = "LIST", env = "PURSER_CORES")]
    pub(super) cores: Option<CpuList>,

    /// Slices of the users; where they are more than CPUs, some share a CPU's thread; data kept in
    /// another number of slices is re-partitioned [default: one for each CPU]
    #[arg(
        long,
        value_name = "N",
        env = "PURSER_SLICES",
        value_parser = clap::value_parser!(u32).range(1..=MOST_SLICES)
    )]
    pub(super) slices: Option<u32>,

    /// Directory to keep data in; made if there is none
    #[arg(
        long,
        value_name = "DIR",
        env = "PURSER_DATA",
        default_value = "purser-data",
        conflicts_with = "ephemeral"
    )]
    pub(super) data: PathBuf,

    /// Keep data in memory only
    #[arg(long, env = "PURSER_EPHEMERAL")]
    pub(super) ephemeral: bool,

    /// Connections of a slice at one time; more are answered 503
    #[arg(long, value_name = "N", env = "PURSER_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub(super) max_connections: usize,

    /// How long a request may stay unfinished; then it is answered 408
    #[arg(long, value_name = "MS", env = "PURSER_REQUEST_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) request_timeout_ms: u64,

    /// How long a connection may stay idle
    #[arg(long, value_name = "MS", env = "PURSER_IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    pub(super) idle_timeout_ms: u64,

    /// How long a peer may take none of its answers
    #[arg(long, value_name = "MS", env = "PURSER_SEND_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) send_timeout_ms: u64,

    /// How long idle connections are kept after SIGTERM
    #[arg(long, value_name = "MS", env = "PURSER_LINGER_MS", default_value_t = 1_000)]
    pub(super) linger_ms: u64,

    /// How long finishing may take after SIGTERM
    #[arg(long, value_name = "MS", env = "PURSER_DRAIN_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) drain_timeout_ms: u64,

    /// Log, in MiB, that is written before a snapshot is taken; more if the last snapshot was
    /// larger
    #[arg(
        long,
        value_name = "MIB",
        env = "PURSER_SNAPSHOT_AFTER_MIB",
        default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(super) snapshot_after_mib: u64,

    /// Memory that this process may use, in MiB [default: the machine's, or its control group's if
    /// that is less]
    #[arg(
        long,
        value_name = "MIB",
        env = "PURSER_MEMORY_MIB",
        value_parser = clap::value_parser!(u32).range(64..)
    )]
    pub(super) memory_mib: Option<u32>,

    /// Memory for the ledger, in MiB; above it new entries are refused with 507 [default: 70 % of
    /// what the process may use]
    #[arg(long, value_name = "MIB", env = "PURSER_LEDGER_MIB")]
    pub(super) ledger_mib: Option<u64>,

    /// How long a core may stand still; then the process is ended
    #[arg(long, value_name = "MS", env = "PURSER_STALL_TIMEOUT_MS", default_value_t = 10_000)]
    pub(super) stall_timeout_ms: u64,

    /// Leave memory to the common heap: no region of each core's own
    #[arg(long, env = "PURSER_NO_ARENA")]
    pub(super) no_arena: bool,
}
