//! The command line: one room a command. The flags of `serve` are [`crate::config`]'s; those of the
//! others, and their help, stand with what they do.

pub mod import;
mod progress;
pub mod serve;
mod text;
pub mod verify;

use crate::config::flags::Flags;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit code for a command line that cannot be used; 1 is for what went wrong later.
pub const USAGE: u8 = 2;
/// Exit code of `verify` for data that is not as it should be.
pub const FAULT: u8 = 3;
/// Exit code of `import` if some lines were rejected.
pub const REJECTED: u8 = 4;

/// Balances and transaction statistics, mirrored from a ledger and read over HTTP.
#[derive(Debug, Parser)]
#[command(name = "purser", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API
    Serve(Flags),
    /// Read a history of entries into a new data directory
    Import(import::Arguments),
    /// Check a data directory, and say what it holds
    Verify(verify::Arguments),
}

/// Why a command ended early.
#[derive(Debug)]
pub enum Error {
    /// What was typed cannot be used.
    Usage(String),
    /// Something went wrong.
    Failed(String),
    /// Data is not as it should be.
    Fault(String),
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(flags) => serve::run(flags).map(|()| ExitCode::SUCCESS),
        Command::Import(arguments) => import::run(arguments),
        Command::Verify(arguments) => verify::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(Error::Usage(message)) => {
            eprintln!("error: {message}\n\nFor more information, try '--help'.");
            ExitCode::from(USAGE)
        }
        Err(Error::Failed(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
        Err(Error::Fault(message)) => {
            eprintln!("fault: {message}");
            ExitCode::from(FAULT)
        }
    }
}
