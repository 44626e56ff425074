//! The contract between the machine of a core and its driver: events in, outputs out.
//!
//! A driver is the engine, a simulator, or a rival engine of the benches. A turn is
//!
//! ```text
//! begin_turn(clocks) · message* · task_done* ·
//!     { opened received sent peer_closed failed closed }* · lame_duck? · drain? · end_turn
//! then poll() until it returns nothing, then wait() says until when
//! ```
//!
//! **A driver keeps for each connection only the operations that the kernel has not completed.** It
//! names a connection by a slot, a small number. The slot belongs to the connection from
//! [`Machine::opened`] until the driver has answered [`Output::Close`] with [`Machine::closed`];
//! between these two no other event names it. The buffer of an [`Output::Send`] comes back by
//! [`Machine::sent`], whole, with the number of bytes that the kernel took, unless the connection
//! is closed before.

use super::message::Message;
use crate::journal::Fault;
use crate::metrics::Counters;
use crate::slice::disk::{Done, Task};
use crate::slice::recovery::Report;

/// A driver's number for a connection. Slots are dense from 0, and are reused.
pub type Slot = u32;

/// One reading of the clocks, used for a whole turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Milliseconds since an arbitrary fixed point; never decreases.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Microseconds that the driver has spun since it started: reported, never acted on.
    pub spun_us: u64,
}

/// A command to the driver. Outputs of one connection are carried out in order.
#[derive(Debug)]
pub enum Output {
    /// Send `buffer[from..]`. A connection has at most one send in flight.
    Send {
        /// The connection.
        slot: Slot,
        /// Rendered answers.
        buffer: Vec<u8>,
        /// Bytes of the buffer that were sent before.
        from: usize,
    },
    /// Start or stop receiving. Bytes of a receive under way may still arrive.
    Receive {
        /// The connection.
        slot: Slot,
        /// Whether to receive.
        on: bool,
    },
    /// Shut down the sending side: nothing more will be sent.
    Shutdown {
        /// The connection.
        slot: Slot,
    },
    /// Close at once, whatever is in flight, and confirm with [`Machine::closed`].
    Close {
        /// The connection.
        slot: Slot,
    },
    /// Deliver a message to another core, in order, by the end of the turn.
    Message {
        /// The core.
        core: u32,
        /// The message.
        message: Message,
    },
    /// Run a task on the disk of a slice.
    Task {
        /// The slice.
        slice: u32,
        /// The task.
        task: Task,
    },
    /// Report the progress of loading a slice.
    Loading {
        /// The slice.
        slice: u32,
        /// The progress.
        report: Report,
        /// Whether the slice is loaded.
        is_over: bool,
    },
    /// All slices of all cores are loaded: requests are served from now on. Emitted once.
    Serving,
}

/// What a driver waits for after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: the machine has work for another turn.
    Work,
    /// An event. In any case a turn is due every [`TICK_MS`](super::limits::TICK_MS), for
    /// deadlines.
    Event {
        /// Time of an earlier turn, if one is needed, in milliseconds of the monotonic clock.
        until_ms: Option<u64>,
        /// Whether replies of other cores are outstanding, so that a short spin may pay off.
        spins: bool,
    },
}

/// A corrupt file of a slice.
#[derive(Debug)]
pub struct CorruptFile {
    /// The slice.
    pub slice: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// The machine of one core.
pub trait Machine {
    /// Begins a turn.
    fn begin_turn(&mut self, clocks: Clocks);

    /// A message of another core was received.
    fn message(&mut self, from: u32, message: Message);

    /// A disk task of a slice has completed.
    fn task_done(&mut self, slice: u32, done: Done);

    /// A connection was accepted at a listener of this slice.
    fn opened(&mut self, slot: Slot, slice: u32);

    /// Bytes were received.
    fn received(&mut self, slot: Slot, bytes: &[u8]);

    /// The peer has shut down its sending side.
    fn peer_closed(&mut self, slot: Slot);

    /// The kernel took `count` bytes of a send. The buffer comes back.
    fn sent(&mut self, slot: Slot, buffer: Vec<u8>, count: usize);

    /// The connection is broken: nothing can be received or sent any more.
    fn failed(&mut self, slot: Slot);

    /// The connection is closed, and its slot free.
    fn closed(&mut self, slot: Slot);

    /// Becomes a lame duck: everything is served as before, but `/readyz` says that no new clients
    /// are wanted. A machine without that path need not do anything.
    fn lame_duck(&mut self) {}

    /// Begins to drain: no connection is opened any more. Requests are served, and each connection
    /// is closed after the last one that was received, or when it is idle.
    fn drain(&mut self);

    /// Stops at once: every connection is closed.
    fn stop(&mut self);

    /// Ends the turn: does all the work that a turn allows. A corrupt file is an error that ends
    /// the process.
    fn end_turn(&mut self) -> Result<(), CorruptFile>;

    /// The next output.
    fn poll(&mut self) -> Option<Output>;

    /// What to wait for.
    fn wait(&self) -> Wait;

    /// Whether a draining machine has nothing more to do, here and on all other cores.
    fn is_drained(&self) -> bool;

    /// Whether all connections are closed and everything that was accepted is durable.
    fn may_exit(&self) -> bool;

    /// While data is being loaded: bytes of memory that it will take, as far as is known.
    fn loading(&self) -> Option<usize> {
        None
    }

    /// The driver has measured the core's memory: its small blocks hold `block_bytes` bytes, in
    /// pages of `resident_bytes`.
    fn resident(&mut self, _resident_bytes: usize, _block_bytes: usize) {}

    /// Counters of what it has done.
    fn counters(&self) -> &Counters;
}
