//! The cores of a server: a pinned thread each, started together, watched, and ended together.
//!
//! A core that fails or panics ends the process, and so does one that stands still: others wait for its answers, and a process that is gone is
//! noticed sooner than one that hangs. What was acknowledged is on the disk either way.

use super::Failure;
use super::arena::{Arena, Toucher, seldom_collect};
use super::control::Control;
use super::core::{Core, Limits};
use super::keeper::Keeper;
use super::mesh::Mesh;
use super::placement::{self, Aside};
use super::wallet::Wallet;
use crate::api::info::Info;
use crate::api::parcel::Parcel;
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
    /// Where its connections come from.
    pub listeners: Vec<TcpListener>,
    /// What keeps its slice, if anything does.
    pub keeper: Option<Keeper>,
    /// Its way to the others; says which slice is its own.
    pub mesh: Mesh<Box<Parcel>>,
    /// Bytes of ledger above which new entries are refused.
    pub ledger_bytes: usize,
    /// Bytes of a memory region of its own; `None` for the common heap.
    pub arena_bytes: Option<usize>,
    /// Its bounds.
    pub limits: Limits,
    /// What the server says of itself.
    pub info: Arc<Info>,
    /// How it is told things.
    pub control: Control,
}

/// The cores, running.
pub struct Cores {
    events: Receiver<Event>,
    set_up: usize,
    serving: usize,
    /// Of each slice.
    ended: Vec<Option<Ended>>,
}

/// A core that has come to its end: what it holds, and what its loop has counted.
pub type Ended = (Wallet, Counters);

enum Event {
    IsSetUp,
    /// All data is loaded, and it takes requests.
    Serves,
    /// It has ended; `None` if it panicked.
    Ended(u32, Option<Result<Box<Ended>, Failure>>),
}

/// Starts the cores.
pub fn start(plans: Vec<Plan>, aside: &Aside) -> Result<Cores, Failure> {
    seldom_collect();
    let (tell, events) = channel();
    let count = plans.len();
    for plan in plans {
        let slice = plan.mesh.slice();
        let toucher = plan.arena_bytes.map(|_| Toucher::start(aside.clone())).transpose()?;
        let report = Report { slice, control: plan.control.clone(), tell: tell.clone(), ended: None };
        let serves = tell.clone();
        // Whoever listened may have ended with the first failure.
        let serves = Box::new(move || drop(serves.send(Event::Serves)));
        thread::Builder::new()
            .name(format!("core-{slice}"))
            .spawn(move || {
                let outcome = set_up(plan, toucher, serves).and_then(|core| {
                    // The receiver waits for this: it cannot be gone.
                    let _ = report.tell.send(Event::IsSetUp);
                    core.run()
                });
                report.end(outcome);
            })
            .map_err(Failure::of("start", "a core's thread"))?;
    }
    Ok(Cores { events, set_up: 0, serving: 0, ended: (0..count).map(|_| None).collect() })
}

fn set_up(plan: Plan, toucher: Option<Toucher>, serves: Box<dyn FnOnce() + Send>) -> Result<Core<Wallet>, Failure> {
    placement::pin(plan.cpu)?;
    // Before anything of the core's own is allocated.
    let arena = plan.arena_bytes.zip(toucher).map(|(bytes, toucher)| Arena::adopt(bytes, toucher)).transpose()?;
    let wallet = Wallet::new(plan.ledger_bytes, plan.keeper, plan.mesh, plan.info, &plan.limits, serves);
    Core::new(plan.listeners, wallet, plan.limits, plan.control, arena)
}

/// Says how a core has ended, even if it panicked.
struct Report {
    slice: u32,
    control: Control,
    tell: Sender<Event>,
    ended: Option<Result<Box<Ended>, Failure>>,
}

impl Report {
    fn end(mut self, outcome: Result<Ended, Failure>) {
        self.ended = Some(outcome.map(Box::new));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.control.ends();
        // Whoever listened may have ended with the first failure.
        let _ = self.tell.send(Event::Ended(self.slice, self.ended.take()));
    }
}

impl Cores {
    /// Waits until all of them are set up.
    pub fn are_set_up(&mut self) -> Result<(), Failure> {
        while self.set_up < self.ended.len() {
            self.hear()?;
        }
        Ok(())
    }

    /// Waits until all of them take requests. Returns whether that came about: they may have been told to end before.
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
            Event::Ended(slice, Some(Ok(core))) => self.ended[slice as usize] = Some(*core),
            Event::Ended(_, Some(Err(failure))) => return Err(failure),
            Event::Ended(slice, None) => {
                return Err(Failure::new("run", format!("core {slice}"), io::Error::other("its thread panicked")));
            }
        }
        Ok(())
    }
}

/// Aborts the process if a core begins no turn for `patience`: one is begun several times a second even if there is nothing to do.
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
                    eprintln!("purser: core {slice} has stood still for {} ms: ending", patience.as_millis());
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
