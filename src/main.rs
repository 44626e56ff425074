//! The `purser` command.

use purser::cli::Allocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    purser::cli::main()
}
