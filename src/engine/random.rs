//! Random numbers of the operating system.

use super::Failure;
use crate::journal::frame::NO_SALT;
use crate::ledger::secret::Secret;
use std::io;

/// A salt for a segment. Nobody outside this process can predict it.
pub fn salt() -> Result<u64, Failure> {
    Ok(draw("a salt")?.max(NO_SALT + 1))
}

/// A secret for the hash tables of a process.
pub fn secret() -> Result<Secret, Failure> {
    Ok(Secret::of([draw("a secret")?, draw("a secret")?]))
}

fn draw(what: &'static str) -> Result<u64, Failure> {
    getrandom::u64().map_err(io::Error::from).map_err(Failure::of("draw", what))
}
