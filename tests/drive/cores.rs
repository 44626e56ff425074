//! Several cores with a slice each, and a mesh that carries what one has sent when the other's turn
//! comes.

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

/// Cores, and the connections to them. A core whose turn does not come stands still. Disks do at
/// once what they are asked.
pub struct Cores {
    pub clock_ms: u64,
    cores: Vec<Core>,
    disks: Vec<Vec<(u32, RamDisk)>>,
    /// What has come for each core, and from which.
    come: Vec<VecDeque<(u32, Message)>>,
    lines: Vec<(usize, Slot)>,
}

/// The monotonic clock at the start.
const START_MS: u64 = 10_000;

impl Cores {
    /// So many cores, whose wall clocks stand at `now_ms`.
    pub fn new(cores: usize, credits: u32, now_ms: u64) -> Self {
        Self::with(cores, credits, now_ms, UNLIMITED, true)
    }

    /// The same, with these limits, and logs only if they are kept.
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
            come: (0..cores).map(|_| VecDeque::new()).collect(),
            lines: Vec::new(),
        };
        while !cores.cores.iter().all(|core| core.is_serving) {
            (0..count as usize).for_each(|core| cores.turn(core));
        }
        cores
    }

    /// How many there are.
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

    /// Hands a connection bytes, in a turn of its core in which nothing else comes.
    pub fn send(&mut self, line: usize, bytes: &[u8]) {
        let (core, slot) = self.lines[line];
        self.set_clock(core);
        self.cores[core].turn(|machine| machine.received(slot, bytes));
        self.deliver(core);
    }

    /// Hands connections of one core bytes, all of them in one turn, behind what other cores have
    /// sent it.
    pub fn send_at_once(&mut self, sent: &[(usize, &[u8])]) {
        let (core, _) = self.lines[sent[0].0];
        self.set_clock(core);
        let Self { cores, come, lines, .. } = self;
        cores[core].turn(|machine| {
            come[core].drain(..).for_each(|(from, message)| machine.message(from, message));
            sent.iter().for_each(|&(line, bytes)| machine.received(lines[line].1, bytes));
        });
        self.deliver(core);
    }

    /// Bytes that are reserved for answers and bodies, on all cores.
    pub fn reserved_bytes(&self) -> usize {
        self.cores
            .iter()
            .map(|core| core.machine.reserved_bytes())
            .map(|(answers, bodies)| answers + bodies)
            .sum()
    }

    pub fn progress(&mut self, line: usize) -> Progress {
        let (core, slot) = self.lines[line];
        self.cores[core].machine.connections().progress(slot).expect("it is there")
    }

    /// Whether the server has sent its last byte on a connection.
    pub fn is_over(&self, line: usize) -> bool {
        let (core, slot) = self.lines[line];
        let end = &self.cores[core].ends[slot as usize];
        end.is_shut || end.is_closed
    }

    /// Whether a connection waits for nothing but a request.
    pub fn is_idle(&mut self, line: usize) -> bool {
        let (core, slot) = self.lines[line];
        let connection = self.cores[core].machine.connections().get(slot).expect("it is there");
        connection.progress() == Progress::Idle && connection.gaps() == 0
    }

    /// Whether nothing of a core's, nor of others', is under way there.
    pub fn is_settled(&self, core: usize) -> bool {
        self.cores[core].machine.is_quiet()
    }

    /// Answers so far, of all cores.
    pub fn answered(&self) -> u64 {
        self.cores.iter().map(|core| core.machine.counters().answers_total()).sum()
    }

    /// The ledger of a core's slice.
    pub fn slice(&self, core: usize) -> &Slice {
        self.cores[core].machine.slices().next().expect("each core has one")
    }

    /// A core's turn: what has come for it, then whatever it has at hand. All that it has applied
    /// is durable at the end.
    pub fn turn(&mut self, core: usize) {
        self.set_clock(core);
        let Self { cores, come, .. } = self;
        let one = &mut cores[core];
        let come = &mut come[core];
        one.turn(|machine| {
            come.drain(..).for_each(|(from, message)| machine.message(from, message))
        });
        loop {
            let is_busy = self.deliver(core);
            if !is_busy && !self.cores[core].has_work() {
                return;
            }
            self.cores[core].turn(|_| {});
        }
    }

    /// Carries away what a core has sent, and has its disks do what it has asked. Returns whether
    /// they did anything.
    fn deliver(&mut self, core: usize) -> bool {
        let Self { cores, disks, come, .. } = self;
        let one = &mut cores[core];
        for (to, message) in one.messages.drain(..) {
            come[to as usize].push_back((core as u32, message));
        }
        let has_asked = !one.tasks.is_empty();
        for (slice, task) in one.tasks.drain(..) {
            let (_, disk) = disks[core]
                .iter_mut()
                .find(|(of, _)| *of == slice)
                .expect("it is a slice of the core");
            one.done.extend(disk.work(task).map(|done| (slice, done)));
        }
        has_asked
    }

    /// What a connection was sent.
    pub fn inbox(&mut self, line: usize) -> &mut Vec<u8> {
        let (core, slot) = self.lines[line];
        &mut self.cores[core].ends[slot as usize].inbox
    }

    /// Takes the same as text.
    pub fn text(&mut self, line: usize) -> String {
        String::from_utf8(std::mem::take(self.inbox(line))).expect("answers are text")
    }
}
