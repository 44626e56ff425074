//! The integration tests, one binary: what the real server and its pure rooms do, seen from outside.

mod against_model;
mod desk;
mod house;
mod model;
mod split;
