//! What was typed, checked: flags and `PURSER_*` variables to one [`Config`](settings::Config) that
//! can be used as it stands.
//!
//! First what was typed, each flag by itself ([`flags`]); then what the program needs
//! ([`settings`]), which is made of the flags and of what is known of the machine
//! ([`settings::Host`]). The only way from one to the other is [`check`]. Nothing is read here:
//! CPUs and memory come in as values. Errors are sentences that name the flag.

pub mod check;
pub mod cpus;
pub mod flags;
pub mod settings;
