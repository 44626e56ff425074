//! Cores of a server: one pinned thread each, started, watched and ended together.
//!
//! A core that fails or panics ends the process, and so does a core that stalls: other cores wait
//! for its replies, and a process that is gone is noticed sooner than one that hangs. Acknowledged
//! entries are on the disk in every case.

use super::Failure;
use super::affinity;
use super::arena::{Arena, Prefaulter};
use super::control::Control;
use super::executor::{self, Executor, LoadEvent};
use super::listening::ACCEPTS;
use super::mesh::Mesh;
use super::mimalloc::collect_rarely;
use super::priority::SpareCpus;
use super::storage::Storage;
use crate::metrics::Counters;
use crate::server::core::{self, Server};
use crate::server::limits::refused_connections;
use crate::server::message::Message;
use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, process, thread};

/// Watchdog poll interval.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time for the last line of log to be written.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(200);

/// The configuration of one core.
pub struct Plan {
    /// CPU that its thread is pinned to.
    pub cpu: usize,
    /// Setup of its machine.
    pub machine: core::Setup,
    /// Listeners for its connections, each with its slice.
    pub listeners: Vec<(u32, TcpListener)>,
    /// The disk of each persistent slice.
    pub disks: Vec<(u32, Storage)>,
    /// Queues to and from the other cores.
    pub mesh: Mesh<Message>,
    /// Handle for commands and wake-ups.
    pub control: Control,
    /// Size of its arena in bytes; `None` for the common heap.
    pub arena_bytes: Option<usize>,
}

/// The running cores of a process.
pub struct Cores {
    events: Receiver<Event>,
    set_up: usize,
    /// Load events received and not yet returned by [`Cores::next_load_event`].
    load_events: VecDeque<LoadEvent>,
    ended: Vec<Option<Ended>>,
}

/// The result of a core that has ended: its machine and its executor's counters.
pub type Ended = (Server, Counters);

enum Event {
    /// A core is set up.
    SetUp,
    /// A core has reported progress of loading.
    Load(LoadEvent),
    /// A core has ended; `None` if it panicked.
    Ended(usize, Option<Result<Box<Ended>, Failure>>),
}

/// Starts one thread per plan, and a prefault thread for each core with an arena.
pub fn start(plans: Vec<Plan>, spare: &SpareCpus) -> Result<Cores, Failure> {
    collect_rarely();
    let (sender, events) = channel();
    let count = plans.len();
    for (core, plan) in plans.into_iter().enumerate() {
        let control = plan.control.clone();
        let prefaulter = plan.arena_bytes.map(|_| Prefaulter::start(spare.clone())).transpose()?;
        let report = EndReport { core, control, events: sender.clone(), ended: None };
        thread::Builder::new()
            .name(format!("core-{core}"))
            .spawn(move || {
                let outcome =
                    set_up(plan, prefaulter, report.events.clone()).and_then(|executor| {
                        // The receiver waits for this event, so it still exists.
                        let _ = report.events.send(Event::SetUp);
                        executor.run()
                    });
                report.end(outcome);
            })
            .map_err(Failure::of("start", "the thread of a core"))?;
    }
    Ok(Cores {
        events,
        set_up: 0,
        load_events: VecDeque::new(),
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
    // First of all, so that everything that the core allocates is in its arena.
    let arena = arena_bytes
        .zip(prefaulter)
        .map(|(bytes, prefaulter)| Arena::new(bytes, prefaulter))
        .transpose()?;
    // The receiver may be gone: it ends with the first failure.
    let on_load = Box::new(move |event| drop(events.send(Event::Load(event))));
    let spin_ns = machine.limits.spin_ns;
    let (slices, connections) = (machine.stored.len(), machine.limits.connections);
    let max_sockets =
        slices * (connections + refused_connections(connections)) + listeners.len() * ACCEPTS;
    let wiring =
        executor::Wiring { listeners, max_sockets, disks, mesh, control, spin_ns, on_load };
    Executor::new(Server::new(machine), wiring, arena)
}

/// Reports, when dropped, how a core has ended: a panic is reported as well.
struct EndReport {
    core: usize,
    control: Control,
    events: Sender<Event>,
    ended: Option<Result<Box<Ended>, Failure>>,
}

impl EndReport {
    fn end(mut self, outcome: Result<Ended, Failure>) {
        self.ended = Some(outcome.map(Box::new));
    }
}

impl Drop for EndReport {
    fn drop(&mut self) {
        self.control.mark_ended();
        // The receiver may be gone: it ends with the first failure.
        let _ = self.events.send(Event::Ended(self.core, self.ended.take()));
    }
}

impl Cores {
    /// Waits until all cores are set up. Returns the first failure at once.
    pub fn wait_for_setup(&mut self) -> Result<(), Failure> {
        while self.set_up < self.ended.len() {
            self.take_event()?;
        }
        Ok(())
    }

    /// Waits for the next load event of a core. `None` once a core has ended.
    pub fn next_load_event(&mut self) -> Result<Option<LoadEvent>, Failure> {
        while self.load_events.is_empty() && self.ended.iter().all(Option::is_none) {
            self.take_event()?;
        }
        Ok(self.load_events.pop_front())
    }

    /// Waits until all cores have ended. Returns their results in order, or the first failure at
    /// once.
    pub fn join(mut self) -> Result<Vec<Ended>, Failure> {
        while self.ended.iter().any(Option::is_none) {
            self.take_event()?;
        }
        Ok(self.ended.into_iter().flatten().collect())
    }

    fn take_event(&mut self) -> Result<(), Failure> {
        match self.events.recv().expect("each core reports its end") {
            Event::SetUp => self.set_up += 1,
            Event::Load(event) => self.load_events.push_back(event),
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

/// Starts the watchdog, which aborts the process if a core begins no turn for `timeout`; even an
/// idle core begins several a second. `controls` are in the order of the cores, so that the number
/// of a core is that of its first slice.
pub fn watch(controls: Vec<Control>, timeout: Duration) -> Result<(), Failure> {
    let watch = move || {
        let mut stalls = vec![Stall::default(); controls.len()];
        // Counted in polls, not in time: a process that was stopped as a whole, or its machine, has
        // not stalled.
        let limit = (timeout.as_nanos() / POLL_INTERVAL.as_nanos()).max(1) as u32;
        loop {
            thread::sleep(POLL_INTERVAL);
            for (slice, (stall, control)) in stalls.iter_mut().zip(&controls).enumerate() {
                // A core that has ended does not stall: others may take longer to end.
                if control.turns_begun().is_some_and(|turns| stall.poll(turns) >= limit) {
                    tracing::error!(
                        "the core of slice {slice} made no progress for {} ms: aborting",
                        timeout.as_millis()
                    );
                    let_the_log_be_written();
                    process::abort();
                }
            }
        }
    };
    let thread = thread::Builder::new().name("watch".to_owned()).spawn(watch);
    thread.map(drop).map_err(Failure::of("start", "the watchdog thread"))
}

/// Waits a moment before the process is aborted, so that its last line of log is written, if
/// somebody takes it.
pub fn let_the_log_be_written() {
    thread::sleep(LAST_LINE_TIMEOUT);
}

/// Consecutive polls in which a core has begun no turn.
#[derive(Clone, Debug, Default)]
struct Stall {
    turns: u64,
    polls: u32,
}

impl Stall {
    fn poll(&mut self, turns: u64) -> u32 {
        let has_moved = std::mem::replace(&mut self.turns, turns) != turns;
        self.polls = if has_moved { 0 } else { self.polls + 1 };
        self.polls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_core_that_begins_no_turn_stalls() {
        let mut stall = Stall::default();
        let polls: Vec<u32> =
            [1, 1, 1, 2, 2, 3].into_iter().map(|turns| stall.poll(turns)).collect();
        assert_eq!(polls, [0, 1, 2, 0, 1, 0]);
    }
}
