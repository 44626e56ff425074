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

/// Whether the filters of the command line can select rows of a group, so that its data is needed.
pub fn is_asked(group: &str) -> bool {
    let mut filters =
        std::env::args().skip(1).filter(|arg| arg.starts_with(|c: char| c.is_ascii_alphabetic()));
    let fits = |filter: &String| filter.starts_with(group) || group.starts_with(&**filter);
    filters.next().is_none_or(|first| fits(&first) || filters.any(|filter| fits(&filter)))
}

/// Criterion with short runs: the machine has two cores, and other processes use them.
pub fn configured() -> Criterion {
    Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}
