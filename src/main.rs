//! Entry point of the `purser` command; installs the per-core allocator.

use purser::engine::arena::Allocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    purser::cli::main()
}
