//! What the benches of parts share: a core without sockets, its users, a disk without a disk, and
//! the serde rivals of our readers and writers.

#[allow(dead_code, reason = "tests need more of it")]
pub mod driver;
pub mod machine;
pub mod memory_disk;
pub mod population;
pub mod ram_disk;
pub mod rivals;
