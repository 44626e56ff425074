//! The integration tests, one binary: what the real server and its pure rooms do, seen from outside.

mod against_model;
mod command_line;
mod contract;
mod desk;
mod differential;
mod hostile;
mod house;
mod life;
mod model;
mod real_data;
mod seeds;
mod server;
mod split;
