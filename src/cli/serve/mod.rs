//! `purser serve`: sets up the cores, announces them, and serves until told to stop.
//!
//! [`run`] is the order of a start; each of its steps is a module: [`signals`], [`data`] (open,
//! re-partition), [`info`], [`announce`], [`loading`], [`summary`]. The flags are in
//! [`crate::config`].

mod announce;
mod data;
mod info;
mod loading;
mod logging;
mod signals;
mod summary;

use super::Error;
use crate::config::check::check;
use crate::config::flags::Flags;
use crate::config::settings::Host;
use crate::engine::control::Control;
use crate::engine::cores::{self, Plan};
use crate::engine::memory_limit::{self, AddressSpace};
use crate::engine::mesh::mesh;
use crate::engine::net::Ports;
use crate::engine::priority::SpareCpus;
use crate::engine::random;
use crate::engine::{Failure, affinity, descriptors, probe};
use crate::server::core::Setup;
use crate::server::limits::{CREDITS, TURN_BYTES};
use crate::server::topology::Topology;
use std::time::Duration;

/// Serves until SIGTERM or SIGINT; a second signal stops at once.
pub fn run(flags: Flags) -> Result<(), Error> {
    memory_limit::share_libc_heap();
    let machine = host()?;
    let config = check(flags, &machine).map_err(Error::Usage)?;
    let log = logging::LogLines::start();
    let kernel = probe::probe()?;
    let ports = Ports::bind(config.listen, config.slices, config.own_ports)?;
    announce::warn_of_ports(&config, &ports);
    let cpus = config.cores_with_slices();
    let controls = cpus.iter().map(|_| Control::new()).collect::<Result<Vec<_>, _>>()?;
    signals::watch(controls.clone(), config.drain_delay)?;
    let aside = SpareCpus::of(&machine.cpus, &config.cores);
    // Stored until the end: it holds the lock of the data directory.
    let opened = config
        .data
        .as_deref()
        .map(|path| data::open(path, config.slices, &controls[0]))
        .transpose()?;
    let directory = match opened {
        Some(None) => return Ok(()),
        opened => opened.flatten(),
    };
    let (address, numbers) = (ports.address(), ports.numbers().to_vec());
    let info = info::info(&config, address.port(), &numbers)?;
    let (meshes, secret) = (mesh(&controls, CREDITS), random::secret()?);
    let mut plans = Vec::new();
    for (core, ((&cpu, control), mesh)) in cpus.iter().zip(&controls).zip(meshes).enumerate() {
        let topology = Topology::new(core as u32, cpus.len() as u32, config.slices);
        let (mut stored, mut disks) = (Vec::new(), Vec::new());
        for slice in topology.slices_here() {
            let directory = directory.as_ref().map(|directory| directory.slice(slice));
            let disk = directory
                .map(|directory| data::open_slice(directory, &config, control, &aside))
                .transpose()?;
            let (data, storage) = disk.unzip();
            stored.push(data);
            disks.extend(storage.map(|storage| (slice, storage)));
        }
        let arena_bytes = config.memory_bytes / config.slices as usize * stored.len();
        plans.push(Plan {
            cpu,
            machine: Setup {
                topology,
                limits: config.limits,
                info: info.clone(),
                stored,
                credits: CREDITS,
                turn_bytes: TURN_BYTES,
                secret,
            },
            listeners: Vec::new(),
            disks,
            mesh,
            control: control.clone(),
            arena_bytes: config.arena.then_some(arena_bytes),
        });
    }
    for (slice, listeners) in ports.listen()?.into_iter().enumerate() {
        let listeners = listeners.into_iter().map(|listener| (slice as u32, listener));
        plans[slice % cpus.len()].listeners.extend(listeners);
    }
    let mut cores = cores::start(plans, &aside)?;
    cores.wait_for_setup()?;
    cores::watch(controls.clone(), Duration::from_millis(config.limits.stall_ms))?;
    announce::found(&config, &kernel, machine.descriptors);
    // Announced only when each core accepts requests, so that it is true.
    if loading::wait(&config, &mut cores, cpus.len())? {
        announce::listening(&config, address, &numbers);
    }
    let ended = cores.join()?;
    summary::print_summary(&ended, controls[0].command(), log.dropped());
    // Not dropped: the process ends here, and the kernel frees its memory faster than dropping
    // millions of users would.
    std::mem::forget(ended);
    Ok(())
}

/// The resources of this machine that the process may use.
fn host() -> Result<Host, Failure> {
    Ok(Host {
        cpus: affinity::allowed_cpus()?,
        memory_bytes: memory_limit::bytes(),
        address_space: AddressSpace::left(),
        descriptors: descriptors::raise_limit()?,
        open_descriptors: descriptors::open(),
    })
}
