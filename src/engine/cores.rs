//! The cores of a server: a pinned thread each, started together, watched, and ended together.
//!
//! A core that fails or panics ends the process, and so does one that stands still: others wait for
//! its answers, and a process that is gone is noticed sooner than one that hangs. What was
//! acknowledged is on the disk either way.

use super::Failure;
use super::affinity;
use super::arena::{Arena, Prefaulter, seldom_collect};
use super::control::Control;
use super::executor::{self, Executor, News};
use super::mesh::Mesh;
use super::priority::Aside;
use super::storage::Storage;
use crate::metrics::Counters;
use crate::server::core::{self, Server};
use crate::server::message::Message;
use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, process, thread};

/// How often it is looked whether cores move.
const LOOK: Duration = Duration::from_millis(100);

/// What one core is to be.
pub struct Plan {
    /// The CPU that its thread is pinned to.
    pub cpu: usize,
    /// Its machine.
    pub machine: core::Setup,
    /// Where its connections come from: listeners, each with its slice.
    pub listeners: Vec<(u32, TcpListener)>,
    /// The disk of each slice that is kept.
    pub disks: Vec<(u32, Storage)>,
    /// The way to the other cores.
    pub mesh: Mesh<Message>,
    /// How it is told things, and woken.
    pub control: Control,
    /// Bytes of a memory region of its own; `None` for the common heap.
    pub arena_bytes: Option<usize>,
}

/// The cores, running.
pub struct Cores {
    events: Receiver<Event>,
    set_up: usize,
    /// What has come and nobody has asked for.
    news: VecDeque<News>,
    ended: Vec<Option<Ended>>,
}

/// A core that has come to its end: its machine, and what its executor has counted.
pub type Ended = (Server, Counters);

enum Event {
    /// A core is set up.
    IsSetUp,
    /// There is news of a core.
    News(News),
    /// A core has ended; `None` if it panicked.
    Ended(usize, Option<Result<Box<Ended>, Failure>>),
}

/// Starts the cores.
pub fn start(plans: Vec<Plan>, aside: &Aside) -> Result<Cores, Failure> {
    seldom_collect();
    let (sender, events) = channel();
    let count = plans.len();
    for (core, plan) in plans.into_iter().enumerate() {
        let control = plan.control.clone();
        let prefaulter = plan.arena_bytes.map(|_| Prefaulter::start(aside.clone())).transpose()?;
        let report = Report { core, control, events: sender.clone(), ended: None };
        thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let outcome =
                    set_up(plan, prefaulter, report.events.clone()).and_then(|executor| {
                        // The receiver waits for this: it cannot be gone.
                        let _ = report.events.send(Event::IsSetUp);
                        executor.run()
                    });
                report.end(outcome);
            })
            .map_err(Failure::of("start", "a core's thread"))?;
    }
    Ok(Cores {
        events,
        set_up: 0,
        news: VecDeque::new(),
        ended: (0..count).map(|_| None).collect(),
    })
}

fn set_up(
    plan: Plan,
    prefaulter: Option<Prefaulter>,
    events: Sender<Event>,
) -> Result<Executor<Server>, Failure> {
    let Plan { cpu, machine, listeners, disks, mesh, control, arena_bytes } = plan;
    affinity::pin(cpu)?;
    // Before anything of the core's own is allocated.
    let arena = arena_bytes
        .zip(prefaulter)
        .map(|(bytes, prefaulter)| Arena::adopt(bytes, prefaulter))
        .transpose()?;
    // Whoever listened may have ended with the first failure.
    let news = Box::new(move |news| drop(events.send(Event::News(news))));
    let spin_ns = machine.limits.spin_ns;
    let wiring = executor::Wiring { listeners, disks, mesh, control, spin_ns, news };
    Executor::new(Server::new(machine), wiring, arena)
}

/// Says how a core has ended, even if it panicked.
struct Report {
    core: usize,
    control: Control,
    events: Sender<Event>,
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
        let _ = self.events.send(Event::Ended(self.core, self.ended.take()));
    }
}

impl Cores {
    /// Waits until all of them are set up.
    pub fn are_set_up(&mut self) -> Result<(), Failure> {
        while self.set_up < self.ended.len() {
            self.take_event()?;
        }
        Ok(())
    }

    /// Waits for news of them; `None` when one has ended.
    pub fn news(&mut self) -> Result<Option<News>, Failure> {
        while self.news.is_empty() && self.ended.iter().all(Option::is_none) {
            self.take_event()?;
        }
        Ok(self.news.pop_front())
    }

    /// Waits until all of them have ended. Returns them in order, or the first failure at once.
    pub fn join(mut self) -> Result<Vec<Ended>, Failure> {
        while self.ended.iter().any(Option::is_none) {
            self.take_event()?;
        }
        Ok(self.ended.into_iter().flatten().collect())
    }

    fn take_event(&mut self) -> Result<(), Failure> {
        match self.events.recv().expect("each core says how it ended") {
            Event::IsSetUp => self.set_up += 1,
            Event::News(news) => self.news.push_back(news),
            Event::Ended(core, Some(Ok(ended))) => self.ended[core] = Some(*ended),
            Event::Ended(_, Some(Err(failure))) => return Err(failure),
            Event::Ended(core, None) => {
                let error = io::Error::other("its thread panicked");
                return Err(Failure::new("run", format!("the core of slice {core}"), error));
            }
        }
        Ok(())
    }
}

/// Aborts the process if a core begins no turn for `patience`: one is begun several times a second
/// even if there is nothing to do. Cores come in the order of the first slice of each.
pub fn watch(controls: Vec<Control>, patience: Duration) -> Result<(), Failure> {
    let watch = move || {
        let mut stalls = vec![Stall::default(); controls.len()];
        // Counted in looks, not in time: a process that was stopped as a whole, or its machine, has
        // not stalled.
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
        let looks: Vec<u32> =
            [1, 1, 1, 2, 2, 3].into_iter().map(|turns| stall.look(turns)).collect();
        assert_eq!(looks, [0, 1, 2, 0, 1, 0]);
    }
}
