//! What the benches of parts share: a core without sockets, its users, and the serde rivals of our readers and writers.

pub mod desk;
pub mod machine;
pub mod population;
pub mod rivals;
