//! Test driver for the machine of one core: bytes in, bytes out, turn by turn, without sockets,
//! clocks or disks.
//!
//! Shared by the benches, the tests and the fuzz targets. A send completes in the turn after it was
//! requested, as a whole unless a test limits it. Messages to other cores and disk tasks are
//! collected for the caller, which delivers or executes them.

use purser::api::info::{Info, SliceInfo};
use purser::limits::Limits;
use purser::server::core::Server;
use purser::server::machine::{Clocks, Machine, Output, Slot, Wait};
use purser::server::message::Message;
use purser::slice::disk::{Done, Task};

/// Limits that no test reaches by accident.
pub const UNLIMITED: Limits = Limits {
    connections: 1 << 20,
    request_ms: 10_000,
    idle_ms: 75_000,
    send_ms: 10_000,
    drain_ms: 10_000,
    ledger_bytes: usize::MAX,
    answer_bytes: usize::MAX,
    body_bytes: usize::MAX,
    stall_ms: 10_000,
    spin_ns: 0,
};

/// `/v1/info` data of a server with this many slices.
pub fn info(slices: u32) -> Info {
    let slices =
        (0..slices).map(|slice| SliceInfo { core: slice, cpu: slice as usize, port: 0 }).collect();
    Info { version: "0", commit: "0", started_ms: 0, hash: 1, slices, limits: Vec::new() }
}

/// The client's end of a connection.
#[derive(Debug, Default)]
pub struct End {
    /// Bytes sent by the server and not yet taken by the test.
    pub inbox: Vec<u8>,
    /// Whether the server has receiving switched on.
    pub receives: bool,
    /// Whether the server has shut down its sending side.
    pub is_shut: bool,
    /// Whether the server has closed the connection.
    pub is_closed: bool,
    /// Most bytes of a send that the kernel accepts at a time.
    pub takes: usize,
}

/// A core: its machine and the clients' ends of its connections.
pub struct Core {
    pub machine: Server,
    pub clocks: Clocks,
    /// Slice whose listener accepts the connections.
    pub slice: u32,
    pub ends: Vec<End>,
    free: Vec<Slot>,
    /// Sends that complete in the next turn: slot, buffer, bytes sent.
    sent: Vec<(Slot, Vec<u8>, usize)>,
    /// Messages to other cores.
    pub messages: Vec<(u32, Message)>,
    /// Disk tasks requested by each slice, and completions to deliver in the next turn.
    pub tasks: Vec<(u32, Task)>,
    pub done: Vec<(u32, Done)>,
    /// Whether the machine has reported that it serves requests.
    pub is_serving: bool,
}

impl Core {
    /// Creates a driver for `machine` with its clocks set to these times.
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

    /// Runs one turn: first the completions of what was in flight, then `events`.
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

    /// Opens a connection in a turn of its own.
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

    /// Delivers bytes on a connection in a turn of its own.
    pub fn send(&mut self, slot: Slot, bytes: &[u8]) {
        self.turn(|machine| machine.received(slot, bytes));
    }

    /// Whether a turn has work without a new event.
    pub fn has_work(&self) -> bool {
        self.machine.wait() == Wait::Work || !self.sent.is_empty() || !self.done.is_empty()
    }

    /// Runs turns until no work is left.
    pub fn settle(&mut self) {
        while self.has_work() {
            self.turn(|_| {});
        }
    }

    /// Takes the bytes that the server has sent on a connection.
    pub fn take(&mut self, slot: Slot) -> Vec<u8> {
        std::mem::take(&mut self.ends[slot as usize].inbox)
    }
}
