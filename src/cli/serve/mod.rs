//! `purser serve`: sets the cores up, says what it found, serves until told to stop.
//!
//! The order of a start is [`run`]; every step is a file: [`signals`], [`data`] (open,
//! re-partition), [`info`], [`announce`], [`loading`], [`farewell`]. Flags are [`crate::config`]'s.

mod announce;
mod data;
mod farewell;
mod info;
mod loading;
mod signals;

use super::Error;
use crate::api::CREDITS;
use crate::config::{Config, Flags, Machine};
use crate::engine::control::Control;
use crate::engine::cores::{self, Plan, Slice};
use crate::engine::directory::Directory;
use crate::engine::keeper::Keeper;
use crate::engine::mesh::mesh;
use crate::engine::net::Ports;
use crate::engine::placement::Aside;
use crate::engine::{placement, probe};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Serves until SIGTERM or SIGINT; a second one stops at once.
pub fn run(flags: Flags) -> Result<(), Error> {
    let machine = Machine { cpus: placement::allowed_cpus()?, memory_bytes: placement::memory()? };
    let config = Config::new(flags, &machine).map_err(Error::Usage)?;
    let kernel = probe::probe()?;
    let descriptors = placement::raise_descriptors()?;
    let ports = Ports::take(config.listen, config.slices)?;
    let cpus = config.cores_with_slices();
    let controls = cpus.iter().map(|_| Control::new()).collect::<Result<Vec<_>, _>>()?;
    let by_slice: Vec<Control> =
        (0..config.slices as usize).map(|slice| controls[slice % cpus.len()].clone()).collect();
    signals::watch(controls.clone())?;
    let (tell, news) = channel();
    let aside = Aside::of(&machine.cpus, &config.cores);
    // Kept to the end: it holds the lock.
    let opened = config.data.as_deref().map(|path| data::open(path, config.slices, &controls[0])).transpose()?;
    let directory = match opened {
        Some(None) => return Ok(()),
        opened => opened.flatten(),
    };
    let keepers = by_slice.iter().zip(0..).map(|(control, slice)| {
        let keep = |directory: &Directory| {
            let (directory, after) = (directory.slice(slice), config.snapshot_after_bytes);
            Keeper::new(directory, after, control.clone(), &aside, tell.clone())
        };
        directory.as_ref().map(keep).transpose()
    });
    let keepers = keepers.collect::<Result<Vec<_>, _>>()?;
    drop(tell);

    let (address, numbers) = (ports.address(), ports.numbers().to_vec());
    let info = Arc::new(info::info(&config, &numbers)?);
    let meshes = mesh(&by_slice, CREDITS);
    let plan = |(&cpu, control): (&usize, &Control)| Plan {
        cpu,
        slices: Vec::new(),
        control: control.clone(),
        arena_bytes: None,
        limits: config.limits,
    };
    let mut plans: Vec<Plan> = cpus.iter().zip(&controls).map(plan).collect();
    let slices = ports.listen()?.into_iter().zip(keepers).zip(meshes).enumerate();
    for (slice, ((listeners, keeper), mesh)) in slices {
        plans[slice % cpus.len()].slices.push(Slice {
            listeners,
            keeper,
            mesh,
            ledger_bytes: config.ledger_bytes_of_slice(),
            info: info.clone(),
        });
    }
    for plan in plans.iter_mut().filter(|_| config.arena) {
        plan.arena_bytes = Some(config.memory_bytes / config.slices as usize * plan.slices.len());
    }
    let mut cores = cores::start(plans, &aside)?;
    cores.are_set_up()?;
    cores::watch(controls.clone(), Duration::from_millis(config.limits.stall_ms))?;
    announce::found(&config, &kernel, descriptors);
    // What is said here must be true: it is said when each core takes requests.
    if loading::wait(&config, &news) && cores.serve()? {
        announce::listening(&config, address, &numbers);
    }
    let ended = cores.join()?;
    farewell::take_leave(&ended, controls[0].command());
    // The process ends here, and the kernel takes its memory back sooner than millions of users are
    // dropped.
    std::mem::forget(ended);
    Ok(())
}
