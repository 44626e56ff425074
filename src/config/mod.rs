//! Configuration: flags and `PURSER_*` variables, checked and turned into one
//! [`Config`](settings::Config) that is usable as it stands.
//!
//! [`flags`] holds what was typed, each flag parsed by itself. [`settings`] holds what the program
//! needs, derived from the flags and from the machine ([`settings::Host`]). The only way from one
//! to the other is [`check`]. Nothing is read from the system here: CPUs, memory and descriptors
//! come in as values, and the engine resolves a host name. Errors are sentences that name the flag.

mod boolean;
pub mod check;
pub mod cpus;
mod descriptors;
pub mod flags;
pub mod memory;
pub mod settings;
