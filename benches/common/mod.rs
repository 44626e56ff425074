//! Shared by the Criterion benches: their settings, a core without sockets, a seeded population and
//! in-memory disks.

#[allow(dead_code, reason = "the tests use more of it")]
pub mod driver;
pub mod machine;
pub mod memory_disk;
pub mod population;
pub mod ram_disk;

use criterion::Criterion;
use std::time::Duration;

/// Whether rows are timed, rather than run once.
pub fn is_timed() -> bool {
    std::env::args().any(|arg| arg == "--bench") && !std::env::args().any(|arg| arg == "--test")
}

/// Criterion with short runs: the machine has two cores, and other processes use them.
pub fn configured() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}
