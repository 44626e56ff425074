//! The floor: the server's own engine with a constant for a handler. It reads nothing of a request but its end
//! (`\r\n\r\n`) and answers with ready bytes, so what it costs is the kernel's and the event loop's share, and what
//! Purser costs above it is parsing, looking up and writing JSON.

use std::io::Read;
use std::net::SocketAddr;

use clap::Parser;

use crate::error::{Context, Error, Result};

/// The hidden command `load floor`: the runner starts itself with it, and hands it the answer on standard input.
#[derive(Parser)]
#[command(name = "load floor")]
pub struct Args {
    /// Address to listen on; it is printed once it is bound
    #[arg(long)]
    listen: SocketAddr,
    /// Core to pin to
    #[arg(long)]
    core: usize,
}

pub fn command(args: &Args) -> Result<()> {
    let mut answer = Vec::new();
    std::io::stdin().read_to_end(&mut answer).context("reading the floor's answer from standard input")?;
    if answer.is_empty() {
        return Err(Error::new("the floor needs a whole HTTP answer, head and body, on standard input"));
    }
    run(args.listen, args.core, answer)
}

/// Serves `answer` for each `\r\n\r\n` received, on one core, until it is told to stop; prints `listening on ADDRESS`.
fn run(listen: SocketAddr, core: usize, answer: Vec<u8>) -> Result<()> {
    todo!("wire purser::engine here: {listen}, core {core}, {} bytes", answer.len())
}
