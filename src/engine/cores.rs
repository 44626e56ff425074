//! The cores of a server: a pinned thread each, started together, watched, and ended together.
//!
//! A core that fails or panics ends the process, and so does one that stands still: others wait for its answers, and a process that is gone is
//! noticed sooner than one that hangs. What was acknowledged is on the disk either way.

use super::Failure;
use super::affinity;
use super::arena::{Arena, Toucher, seldom_collect};
use super::control::Control;
use super::core::{Core, Setup};
use super::keeper::Keeper;
use super::mesh::Mesh;
use super::priority::Aside;
use super::wallet::Wallet;
use crate::api::info::Info;
use crate::api::parcel::Parcel;
use crate::limits::Limits;
use crate::metrics::Counters;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, process, thread};

/// How often it is looked whether cores move.
const LOOK: Duration = Duration::from_millis(100);

/// What one core is to be.
pub struct Plan {
    /// The CPU that its thread is pinned to.
    pub cpu: usize,
    /// The slices that live on it: one at least.
    pub slices: Vec<Slice>,
    /// How it is told things.
    pub control: Control,
    /// Bytes of a memory region of its own; `None` for the common heap.
    pub arena_bytes: Option<usize>,
    /// The bounds of each slice.
    pub limits: Limits,
}

/// What one slice is to be.
pub struct Slice {
    /// Where its connections come from.
    pub listeners: Vec<TcpListener>,
    /// What keeps it, if anything does.
    pub keeper: Option<Keeper>,
    /// Its way to the others; says which slice it is.
    pub mesh: Mesh<Box<Parcel>>,
    /// Bytes of ledger above which new entries are refused.
    pub ledger_bytes: usize,
    /// What the server says of itself.
    pub info: Arc<Info>,
}

/// The cores, running.
pub struct Cores {
    events: Receiver<Event>,
    cores: usize,
    set_up: usize,
    serving: usize,
    /// Of each slice.
    ended: Vec<Option<Ended>>,
}

/// A slice that has come to its end: what it holds, and what its loop has counted.
pub type Ended = (Wallet, Counters);

enum Event {
    /// A core is.
    IsSetUp,
    /// All data of a slice is loaded, and it takes requests.
    Serves,
    /// The core of these slices has ended; `None` if it panicked.
    Ended(Vec<u32>, Option<Result<Vec<Ended>, Failure>>),
}

/// Starts the cores.
pub fn start(plans: Vec<Plan>, aside: &Aside) -> Result<Cores, Failure> {
    seldom_collect();
    let (tell, events) = channel();
    let cores = plans.len();
    let count = plans.iter().map(|plan| plan.slices.len()).sum();
    for (core, plan) in plans.into_iter().enumerate() {
        let slices = plan.slices.iter().map(|slice| slice.mesh.slice()).collect();
        let control = plan.control.clone();
        let toucher = plan.arena_bytes.map(|_| Toucher::start(aside.clone())).transpose()?;
        let report = Report { slices, control, tell: tell.clone(), ended: None };
        thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let outcome = set_up(plan, toucher, &report.tell).and_then(|core| {
                    // The receiver waits for this: it cannot be gone.
                    let _ = report.tell.send(Event::IsSetUp);
                    core.run()
                });
                report.end(outcome);
            })
            .map_err(Failure::of("start", "a core's thread"))?;
    }
    Ok(Cores { events, cores, set_up: 0, serving: 0, ended: (0..count).map(|_| None).collect() })
}

fn set_up(plan: Plan, toucher: Option<Toucher>, tell: &Sender<Event>) -> Result<Core<Wallet>, Failure> {
    let Plan { cpu, slices, control, arena_bytes, limits } = plan;
    affinity::pin(cpu)?;
    // Before anything of the core's own is allocated.
    let arena = arena_bytes.zip(toucher).map(|(bytes, toucher)| Arena::adopt(bytes, toucher)).transpose()?;
    let setups = slices.into_iter().map(|slice| {
        let Slice { listeners, keeper, mesh, ledger_bytes, info } = slice;
        let tell = tell.clone();
        // Whoever listened may have ended with the first failure.
        let serves = Box::new(move || drop(tell.send(Event::Serves)));
        Setup { listeners, service: Wallet::new(ledger_bytes, keeper, mesh, info, &limits, serves) }
    });
    Core::new(setups.collect(), control, limits, arena)
}

/// Says how a core has ended, even if it panicked.
struct Report {
    slices: Vec<u32>,
    control: Control,
    tell: Sender<Event>,
    ended: Option<Result<Vec<Ended>, Failure>>,
}

impl Report {
    fn end(mut self, outcome: Result<Vec<Ended>, Failure>) {
        self.ended = Some(outcome);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.control.ends();
        // Whoever listened may have ended with the first failure.
        let _ = self.tell.send(Event::Ended(std::mem::take(&mut self.slices), self.ended.take()));
    }
}

impl Cores {
    /// Waits until all of them are set up.
    pub fn are_set_up(&mut self) -> Result<(), Failure> {
        while self.set_up < self.cores {
            self.hear()?;
        }
        Ok(())
    }

    /// Waits until all slices take requests. Returns whether that came about: they may have been told to end before.
    pub fn serve(&mut self) -> Result<bool, Failure> {
        while self.serving < self.ended.len() && self.ended.iter().all(Option::is_none) {
            self.hear()?;
        }
        Ok(self.serving == self.ended.len())
    }

    /// Waits until all of them have ended. Returns them in order of their slices, or the first failure at once.
    pub fn join(mut self) -> Result<Vec<Ended>, Failure> {
        while self.ended.iter().any(Option::is_none) {
            self.hear()?;
        }
        Ok(self.ended.into_iter().flatten().collect())
    }

    /// Takes note of the next event.
    fn hear(&mut self) -> Result<(), Failure> {
        match self.events.recv().expect("each core says how it ended") {
            Event::IsSetUp => self.set_up += 1,
            Event::Serves => self.serving += 1,
            Event::Ended(slices, Some(Ok(ended))) => {
                slices.iter().zip(ended).for_each(|(&slice, ended)| self.ended[slice as usize] = Some(ended));
            }
            Event::Ended(_, Some(Err(failure))) => return Err(failure),
            Event::Ended(slices, None) => {
                let what = format!("the core of slice {}", slices[0]);
                return Err(Failure::new("run", what, io::Error::other("its thread panicked")));
            }
        }
        Ok(())
    }
}

/// Aborts the process if a core begins no turn for `patience`: one is begun several times a second even if there is nothing to do. Cores come in the order
/// of the first slice of each.
pub fn watch(controls: Vec<Control>, patience: Duration) -> Result<(), Failure> {
    let watch = move || {
        let mut stalls = vec![Stall::default(); controls.len()];
        // Counted in looks, not in time: a process that was stopped as a whole, or its machine, has not stalled.
        let looks = (patience.as_nanos() / LOOK.as_nanos()).max(1) as u32;
        loop {
            thread::sleep(LOOK);
            for (slice, (stall, control)) in stalls.iter_mut().zip(&controls).enumerate() {
                // One that has ended does not stall: others may take longer to end.
                if control.turns_begun().is_some_and(|turns| stall.look(turns) >= looks) {
                    eprintln!(
                        "purser: the core of slice {slice} has stood still for {} ms: ending",
                        patience.as_millis()
                    );
                    process::abort();
                }
            }
        }
    };
    let thread = thread::Builder::new().name("watch".to_owned()).spawn(watch);
    thread.map(drop).map_err(Failure::of("start", "a thread that watches the cores"))
}

/// How many looks in a row a core has not moved.
#[derive(Clone, Debug, Default)]
struct Stall {
    turns: u64,
    looks: u32,
}

impl Stall {
    fn look(&mut self, turns: u64) -> u32 {
        let has_moved = std::mem::replace(&mut self.turns, turns) != turns;
        self.looks = if has_moved { 0 } else { self.looks + 1 };
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_core_that_does_not_move_stalls() {
        let mut stall = Stall::default();
        let looks: Vec<u32> = [1, 1, 1, 2, 2, 3].into_iter().map(|turns| stall.look(turns)).collect();
        assert_eq!(looks, [0, 1, 2, 0, 1, 0]);
    }
}
