//! Several cores with one slice each, and a mesh that delivers messages when the receiving core
//! takes its turn.

use super::driver::{Core, UNLIMITED};
use super::ram_disk::RamDisk;
use super::server;
use purser::limits::Limits;
use purser::server::machine::{Machine as _, Slot};
use purser::server::message::Message;
use purser::server::progress::Progress;
use purser::server::topology::Topology;
use purser::slice::Slice;
use std::collections::VecDeque;

/// Cores and the connections to them. A core runs only when it is given a turn. Disks complete
/// every task immediately.
pub struct Cores {
    pub clock_ms: u64,
    cores: Vec<Core>,
    disks: Vec<Vec<(u32, RamDisk)>>,
    /// Messages for each core, with the core that sent them.
    arrived: Vec<VecDeque<(u32, Message)>>,
    lines: Vec<(usize, Slot)>,
}

/// Monotonic clock at the start.
const START_MS: u64 = 10_000;

impl Cores {
    /// Creates this many cores with wall clocks at `now_ms`.
    pub fn new(cores: usize, credits: u32, now_ms: u64) -> Self {
        Self::with(cores, credits, now_ms, UNLIMITED, true)
    }

    /// Like [`Self::new`], with these limits, and with logs if `is_kept`.
    pub fn with(cores: usize, credits: u32, now_ms: u64, limits: Limits, is_kept: bool) -> Self {
        let count = cores as u32;
        let new = |core| server(Topology::new(core, count, count), credits, limits, is_kept);
        let (machines, disks): (Vec<_>, Vec<_>) = (0..count).map(new).unzip();
        let mut cores = Self {
            clock_ms: 0,
            cores: (0..)
                .zip(machines)
                .map(|(core, machine)| Core::new(machine, core, START_MS, now_ms))
                .collect(),
            disks,
            arrived: (0..cores).map(|_| VecDeque::new()).collect(),
            lines: Vec::new(),
        };
        while !cores.cores.iter().all(|core| core.is_serving) {
            (0..count as usize).for_each(|core| cores.turn(core));
        }
        cores
    }

    /// Number of cores.
    pub fn len(&self) -> usize {
        self.cores.len()
    }

    /// Connects to a core; returns the connection's number.
    pub fn connect(&mut self, core: usize) -> usize {
        self.set_clock(core);
        let slot = self.cores[core].connect();
        self.lines.push((core, slot));
        self.lines.len() - 1
    }

    fn set_clock(&mut self, core: usize) {
        self.cores[core].clocks.monotonic_ms = START_MS + self.clock_ms;
    }

    /// Delivers bytes on a connection, in a turn of its core without other events.
    pub fn send(&mut self, line: usize, bytes: &[u8]) {
        let (core, slot) = self.lines[line];
        self.set_clock(core);
        self.cores[core].turn(|machine| machine.received(slot, bytes));
        self.deliver(core);
    }

    /// Delivers bytes on connections of one core, all in one turn, after the messages from other
    /// cores.
    pub fn send_at_once(&mut self, sent: &[(usize, &[u8])]) {
        let (core, _) = self.lines[sent[0].0];
        self.set_clock(core);
        let Self { cores, arrived, lines, .. } = self;
        cores[core].turn(|machine| {
            arrived[core].drain(..).for_each(|(from, message)| machine.message(from, message));
            sent.iter().for_each(|&(line, bytes)| machine.received(lines[line].1, bytes));
        });
        self.deliver(core);
    }

    /// Sends `request` on each connection of core 0, again after each answer, for `turns` turns.
    /// Returns the answers of each connection.
    pub fn answers_in_closed_loop(
        &mut self,
        connections: &[usize],
        request: &[u8],
        turns: usize,
    ) -> Vec<usize> {
        let mut answers = vec![0; connections.len()];
        self.send_at_once(&connections.iter().map(|&c| (c, request)).collect::<Vec<_>>());
        for _ in 0..turns {
            (1..self.cores.len()).for_each(|core| self.turn(core));
            let mut again = Vec::new();
            for (answers, &connection) in answers.iter_mut().zip(connections) {
                if !std::mem::take(self.inbox(connection)).is_empty() {
                    *answers += 1;
                    again.push((connection, request));
                }
            }
            if again.is_empty() {
                again.push((connections[0], &[]));
            }
            self.send_at_once(&again);
        }
        answers
    }

    /// Bytes reserved for answers and bodies, on all cores.
    pub fn reserved_bytes(&self) -> usize {
        self.cores
            .iter()
            .map(|core| core.machine.reserved_bytes())
            .map(|(answers, bodies)| answers + bodies)
            .sum()
    }

    pub fn progress(&mut self, line: usize) -> Progress {
        let (core, slot) = self.lines[line];
        self.cores[core].machine.connections().progress(slot).expect("the connection is open")
    }

    /// Whether the server has sent its last byte on a connection.
    pub fn is_over(&self, line: usize) -> bool {
        let (core, slot) = self.lines[line];
        let end = &self.cores[core].ends[slot as usize];
        end.is_shut || end.is_closed
    }

    /// Whether a connection waits only for its next request.
    pub fn is_idle(&mut self, line: usize) -> bool {
        let (core, slot) = self.lines[line];
        let connection =
            self.cores[core].machine.connections().get(slot).expect("the connection is open");
        connection.progress() == Progress::Idle && connection.gaps() == 0
    }

    /// Whether a core has nothing in flight, neither its own requests nor those of other cores.
    pub fn may_exit(&self, core: usize) -> bool {
        self.cores[core].machine.is_quiet()
    }

    /// Answers so far, on all cores.
    pub fn answered(&self) -> u64 {
        self.cores.iter().map(|core| core.machine.counters().answers_total()).sum()
    }

    /// The slice of a core.
    pub fn slice(&self, core: usize) -> &Slice {
        self.cores[core].machine.slices().next().expect("each core has one slice")
    }

    /// Runs a single turn of a core, after its messages were delivered.
    pub fn turn_once(&mut self, core: usize) {
        self.set_clock(core);
        let Self { cores, arrived, .. } = self;
        let arrived = &mut arrived[core];
        cores[core].turn(|machine| {
            arrived.drain(..).for_each(|(from, message)| machine.message(from, message));
        });
        self.deliver(core);
    }

    /// Whether the server receives on a connection.
    pub fn receives(&self, line: usize) -> bool {
        let (core, slot) = self.lines[line];
        self.cores[core].ends[slot as usize].receives
    }

    /// Users that were copied, on all cores.
    pub fn copied_users(&self) -> u64 {
        self.cores.iter().map(|core| core.machine.counters().copied_users).sum()
    }

    /// Runs a core's turn: delivers its messages, then runs turns until it has no work left.
    /// Everything that it applied is durable at the end.
    pub fn turn(&mut self, core: usize) {
        self.set_clock(core);
        let Self { cores, arrived, .. } = self;
        let one = &mut cores[core];
        let arrived = &mut arrived[core];
        one.turn(|machine| {
            arrived.drain(..).for_each(|(from, message)| machine.message(from, message));
        });
        loop {
            let is_busy = self.deliver(core);
            if !is_busy && !self.cores[core].has_work() {
                return;
            }
            self.cores[core].turn(|_| {});
        }
    }

    /// Collects the messages that a core has sent, and executes its disk tasks. Returns whether
    /// there were any tasks.
    fn deliver(&mut self, core: usize) -> bool {
        let Self { cores, disks, arrived, .. } = self;
        let one = &mut cores[core];
        for (to, message) in one.messages.drain(..) {
            arrived[to as usize].push_back((core as u32, message));
        }
        let has_asked = !one.tasks.is_empty();
        for (slice, task) in one.tasks.drain(..) {
            let (_, disk) = disks[core]
                .iter_mut()
                .find(|(of, _)| *of == slice)
                .expect("tasks are for slices of the core");
            one.done.extend(disk.work(task).map(|done| (slice, done)));
        }
        has_asked
    }

    /// Bytes that the server has sent on a connection.
    pub fn inbox(&mut self, line: usize) -> &mut Vec<u8> {
        let (core, slot) = self.lines[line];
        &mut self.cores[core].ends[slot as usize].inbox
    }

    /// Takes these bytes as text.
    pub fn text(&mut self, line: usize) -> String {
        String::from_utf8(std::mem::take(self.inbox(line))).expect("answers are text")
    }
}
