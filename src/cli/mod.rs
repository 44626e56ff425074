//! The command line: one module per command, and exit codes.
//!
//! The flags of `serve` are in [`crate::config`]; the flags and help of the other commands are in
//! their modules.

pub mod export;
pub mod import;
mod progress;
pub mod serve;
mod text;
pub mod verify;

use self::text::print_error;
use crate::config::flags::Flags;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit code for an invalid command line; 1 is for any other failure.
pub const USAGE: u8 = 2;
/// Exit code of `verify` and `export` for damaged data.
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
    /// Import a history of entries into a new data directory
    Import(import::Arguments),
    /// Print all that a data directory holds of one user, as JSON
    Export(export::Arguments),
    /// Check a data directory and print a summary of its contents
    Verify(verify::Arguments),
}

/// Reason why a command ended early.
#[derive(Debug)]
pub enum Error {
    /// The command line is invalid.
    Usage(String),
    /// A failure after the command line was accepted.
    Failed(String),
    /// The data is damaged.
    Fault(String),
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(flags) => serve::run(flags).map(|()| ExitCode::SUCCESS),
        Command::Import(arguments) => import::run(arguments),
        Command::Export(arguments) => export::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Verify(arguments) => verify::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(Error::Usage(message)) => {
            print_error(format!("error: {message}\n\nFor more information, try '--help'.\n"));
            ExitCode::from(USAGE)
        }
        Err(Error::Failed(message)) => {
            print_error(format!("error: {message}\n"));
            ExitCode::FAILURE
        }
        Err(Error::Fault(message)) => {
            print_error(format!("fault: {message}\n"));
            ExitCode::from(FAULT)
        }
    }
}
