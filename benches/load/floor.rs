//! The floor: the server's own executor driving a machine that answers a constant ([`Constant`]).
//! Its cost is the kernel's and the event loop's share; Purser's cost above it is parsing, lookup
//! and writing JSON.

use std::io::Read;
use std::net::SocketAddr;

use clap::Parser;
use purser::engine::control::Control;
use purser::engine::executor::{Executor, Wiring};
use purser::engine::mesh::Mesh;
use purser::engine::{affinity, descriptors, net};

use crate::constant::Constant;
use crate::error::{Context, Error, Result};

/// The hidden command `load floor`. The bench starts itself with it and passes the answer on
/// standard input.
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

/// Answers each `\r\n\r\n` with the bytes from standard input, on one core, until the process is
/// killed; prints `listening on ADDRESS`.
pub fn command(args: &Args) -> Result<()> {
    let machine = Constant::new(answer()?);
    affinity::pin(args.core).context("pinning the floor")?;
    descriptors::raise_limit().context("raising the floor's limit of open files")?;
    let listener = net::listen(args.listen).context("listening")?;
    println!("listening on {}", listener.local_addr().context("reading the floor's address")?);
    let wiring = Wiring {
        listeners: vec![(0, listener)],
        max_sockets: usize::MAX,
        disks: Vec::new(),
        mesh: Mesh::alone(),
        control: Control::new().context("creating the floor's control")?,
        spin_ns: 0,
        on_load: Box::new(drop),
    };
    let executor = Executor::new(machine, wiring, None).context("setting the floor up")?;
    executor.run().context("running the floor").map(drop)
}

/// Reads the constant answer from standard input.
pub fn answer() -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    std::io::stdin().read_to_end(&mut answer).context("reading the answer from standard input")?;
    if answer.is_empty() {
        return Err(Error::new("standard input must hold a complete HTTP answer, head and body"));
    }
    Ok(answer)
}
