//! Rival engines: the production machine ([`Server`]) driven by something other than our executor,
//! on one core, in memory.
//!
//! | engine | turn | receive | send |
//! |---|---|---|---|
//! | [`epoll`] | one `epoll_wait` | one `recv` per ready socket | `send` at once |
//! | [`monoio`] | one `io_uring_enter`'s completions | owned buffer | owned buffer |
//! | [`glommio`] | tasks woken by one check of the rings | ring poll, `recv` | `send` at once |
//!
//! All of them work like the executor: everything that has arrived is received in one turn, then
//! the turn ends, then the outputs are carried out. Limits, memory (the arena) and CPU are those of
//! `purser serve --slices 1 --ephemeral` with the same flags, so the measured difference is that
//! between the drivers. None of them drives disks or other cores.
//!
//! A runtime has no fixed point at which a turn ends: tasks run when they are woken. Both runtimes
//! queue woken tasks in order. A turn begins with the first task that reports an event; that task
//! wakes the task that ends the turn, which runs after everything woken before it ([`tasks`]). This
//! costs one more task per turn, and one more wake-up per send, because each connection sends from
//! its own task.

pub mod epoll;
pub mod glommio;
pub mod monoio;
mod tasks;
mod turns;

use std::net::TcpListener;

use clap::{Parser, ValueEnum};
use purser::api::info::{Info, SliceInfo};
use purser::config::check::check;
use purser::config::flags::Flags;
use purser::config::settings::Host;
use purser::engine::arena::{Arena, Prefaulter};
use purser::engine::memory_limit::{self, AddressSpace};
use purser::engine::mimalloc::collect_rarely;
use purser::engine::priority::SpareCpus;
use purser::engine::{affinity, descriptors, net, stack};
use purser::journal::manifest::HASH_VERSION;
use purser::server::core::{Server, Setup};
use purser::server::machine::Machine;

use crate::constant::Constant;
use crate::error::{Context, Error, Result};
use crate::floor;
use turns::Turns;

/// The hidden command `load engine NAME`, with the flags of `purser serve`. The bench starts itself
/// with it.
#[derive(Parser)]
#[command(name = "load engine")]
pub struct Args {
    /// Event loop
    #[arg(value_enum)]
    engine: Engine,
    /// Answer a constant, read from standard input, instead of running the production machine
    #[arg(long)]
    constant: bool,
    #[command(flatten)]
    flags: Flags,
}

/// A rival engine.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Epoll,
    Monoio,
    Glommio,
}

impl Engine {
    /// All engines, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Epoll, "epoll"), (Self::Monoio, "monoio"), (Self::Glommio, "glommio")];
}

/// Serves until the process is killed; prints `listening on ADDRESS`.
pub fn command(args: Args) -> Result<()> {
    let Args { engine, constant, flags } = args;
    let cpus = affinity::allowed_cpus().context("reading the allowed CPUs")?;
    let host = Host {
        cpus,
        memory_bytes: memory_limit::bytes(),
        address_space: AddressSpace::left(),
        descriptors: descriptors::raise_limit().context("raising the limit of open files")?,
        open_descriptors: descriptors::open(),
    };
    let config = check(flags, &host).map_err(Error::new)?;
    if config.slices != 1 || config.data.is_some() {
        return Err(Error::new("a rival engine has one slice, in memory: --slices 1 --ephemeral"));
    }
    let listener = net::listen(config.listen).context("listening")?;
    let address = listener.local_addr().context("reading the address")?;
    let cpu = config.cores[0];
    collect_rarely();
    let prefaulter = Prefaulter::start(SpareCpus::of(&host.cpus, &config.cores))
        .context("starting the prefault thread")?;
    affinity::pin(cpu).context("pinning")?;
    stack::prefault();
    let arena = config.arena.then(|| Arena::new(config.memory_bytes, prefaulter)).transpose();
    let arena = arena.context("creating the arena")?;
    println!("listening on {address}");
    if constant {
        return drive(engine, Turns::new(Constant::new(floor::answer()?), arena), listener, cpu);
    }
    let info = Info {
        version: env!("CARGO_PKG_VERSION"),
        commit: "rival engine",
        started_ms: 0,
        hash: HASH_VERSION,
        slices: vec![SliceInfo { core: 0, cpu, port: address.port() }],
        limits: Vec::new(),
    };
    drive(engine, Turns::new(Server::new(Setup::alone(config.limits, info)), arena), listener, cpu)
}

fn drive<M: Machine + 'static>(
    engine: Engine,
    turns: Turns<M>,
    listener: TcpListener,
    cpu: usize,
) -> Result<()> {
    match engine {
        Engine::Epoll => epoll::run(turns, listener).context("epoll"),
        Engine::Monoio => monoio::run(turns, listener).context("monoio"),
        Engine::Glommio => glommio::run(turns, listener, cpu).context("glommio"),
    }
}
