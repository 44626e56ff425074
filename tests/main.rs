//! Integration tests in one binary: the real server and its pure modules, tested from outside.

#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::maybe_infinite_iter,
    clippy::too_many_lines,
    reason = "numbers of tests are small, and a test tells one story"
)]

#[macro_use]
mod server;

mod against_model;
mod caches;
mod command_line;
mod contract;
mod cores;
mod crash;
mod descriptors;
mod differential;
mod docs;
#[allow(dead_code, reason = "the allocation test uses the rest")]
mod drive;
mod durability;
mod exchange;
mod export;
mod faults;
mod feeding;
mod framing;
mod full_disk;
mod golden;
mod hostile;
mod hostile_log;
mod house;
mod http_conformance;
mod import;
mod info;
mod life_of;
mod memory;
mod mesh;
mod model;
mod mutants;
mod offline;
mod overload;
mod pipelining;
mod real_data;
mod repartition;
mod replicas;
mod scenario;
mod scheduler;
mod seeds;
mod shutdown;
mod simulation;
mod slow_peers;
mod split;
mod surroundings;
mod tuning;
mod users;
mod verify;
