//! Shared by the part benches: a core without sockets, a seeded population, in-memory disks, and
//! serde-based rivals of our readers and writers.

#[allow(dead_code, reason = "the tests use more of it")]
pub mod driver;
pub mod machine;
pub mod memory_disk;
pub mod population;
pub mod ram_disk;
pub mod rivals;
