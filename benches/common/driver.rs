//! Drives the machine of a core as an engine does, without sockets, clocks or disks: bytes in,
//! bytes out, turn by turn.
//!
//! Shared by the benches, the tests and the fuzz targets. Sends are completed in the turn after
//! they were asked for, whole unless a test says otherwise; messages and disk tasks are handed to
//! whoever drives several cores, or fulfilled here.

use purser::api::info::{Info, Place};
use purser::limits::Limits;
use purser::server::core::Server;
use purser::server::machine::{Clocks, Machine, Output, Slot, Wait};
use purser::server::message::Message;
use purser::slice::disk::{Done, Task};

/// Limits that nothing reaches.
pub const UNLIMITED: Limits = Limits {
    connections: 1 << 20,
    request_ms: 10_000,
    idle_ms: 75_000,
    send_ms: 10_000,
    linger_ms: 1_000,
    drain_ms: 10_000,
    ledger_bytes: usize::MAX,
    answer_bytes: usize::MAX,
    body_bytes: usize::MAX,
    stall_ms: 10_000,
    spin_ns: 0,
};

/// What a server of so many slices says of itself.
pub fn info(slices: u32) -> Info {
    let cores = (0..slices).map(|slice| Place { cpu: slice as usize, port: 0 }).collect();
    Info { version: "0", commit: "0", started_ms: 0, hash: 1, cores, limits: Vec::new() }
}

/// The other end of a connection.
#[derive(Debug, Default)]
pub struct End {
    /// What the server has sent and nobody has taken.
    pub inbox: Vec<u8>,
    /// Whether the server receives.
    pub receives: bool,
    /// Whether the server has sent its last byte.
    pub is_shut: bool,
    /// Whether the connection is gone.
    pub is_closed: bool,
    /// How many bytes of a send the kernel takes at a time.
    pub takes: usize,
}

/// A core: its machine, and the other ends of its connections.
pub struct Core {
    pub machine: Server,
    pub clocks: Clocks,
    /// The slice at whose listener connections come.
    pub slice: u32,
    pub ends: Vec<End>,
    free: Vec<Slot>,
    /// Sends that complete in the next turn.
    sent: Vec<(Slot, Vec<u8>, usize)>,
    /// Messages to other cores.
    pub messages: Vec<(u32, Message)>,
    /// What was asked of the disks, and what they have done.
    pub tasks: Vec<(u32, Task)>,
    pub done: Vec<(u32, Done)>,
    /// Whether requests are taken.
    pub is_serving: bool,
}

impl Core {
    /// Drives `machine`, whose clocks stand at these times.
    pub fn new(machine: Server, slice: u32, monotonic_ms: u64, unix_ms: u64) -> Self {
        Self {
            machine,
            clocks: Clocks { monotonic_ms, unix_ms, spun_us: 0 },
            slice,
            ends: Vec::new(),
            free: Vec::new(),
            sent: Vec::new(),
            messages: Vec::new(),
            tasks: Vec::new(),
            done: Vec::new(),
            is_serving: false,
        }
    }

    /// Takes a turn in which `events` come, and what was under way is completed.
    pub fn turn(&mut self, events: impl FnOnce(&mut Server)) {
        self.machine.begin_turn(self.clocks);
        for (slice, done) in self.done.drain(..) {
            self.machine.task_done(slice, done);
        }
        for (slot, buffer, count) in self.sent.drain(..) {
            if !self.ends[slot as usize].is_closed {
                self.machine.sent(slot, buffer, count);
            }
        }
        events(&mut self.machine);
        self.machine
            .end_turn()
            .unwrap_or_else(|broken| panic!("slice {}: {}", broken.slice, broken.fault));
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { slot, buffer, from } => {
                    let end = &mut self.ends[slot as usize];
                    let count = (buffer.len() - from).min(end.takes);
                    end.inbox.extend_from_slice(&buffer[from..from + count]);
                    if count > 0 {
                        self.sent.push((slot, buffer, count));
                    }
                }
                Output::Receive { slot, on } => self.ends[slot as usize].receives = on,
                Output::Shutdown { slot } => self.ends[slot as usize].is_shut = true,
                Output::Close { slot } => {
                    self.ends[slot as usize].is_closed = true;
                    self.free.push(slot);
                    self.machine.closed(slot);
                }
                Output::Message { core, message } => self.messages.push((core, message)),
                Output::Task { slice, task } => self.tasks.push((slice, task)),
                Output::Loading { .. } => {}
                Output::Serving => self.is_serving = true,
            }
        }
    }

    /// Connects; the machine hears of it in a turn of its own.
    pub fn connect(&mut self) -> Slot {
        let slot = self.free.pop().unwrap_or(self.ends.len() as Slot);
        let end = End { takes: usize::MAX, ..End::default() };
        match self.ends.get_mut(slot as usize) {
            Some(place) => *place = end,
            None => self.ends.push(end),
        }
        let slice = self.slice;
        self.turn(|machine| machine.opened(slot, slice));
        slot
    }

    /// Sends bytes on a connection, in a turn of their own.
    pub fn send(&mut self, slot: Slot, bytes: &[u8]) {
        self.turn(|machine| machine.received(slot, bytes));
    }

    /// Whether a turn would do something by itself.
    pub fn has_work(&self) -> bool {
        self.machine.wait() == Wait::Work || !self.sent.is_empty() || !self.done.is_empty()
    }

    /// Takes turns as long as there is work at hand.
    pub fn settle(&mut self) {
        while self.has_work() {
            self.turn(|_| {});
        }
    }

    /// Takes what a connection has been sent.
    pub fn take(&mut self, slot: Slot) -> Vec<u8> {
        std::mem::take(&mut self.ends[slot as usize].inbox)
    }
}
