//! The contract between the machine of a core and its driver: events in, outputs out.
//!
//! A driver is the engine, a simulator, or a rival engine of the benches. A turn is
//!
//! ```text
//! begin_turn(clocks) · message* · task_done* · { opened received sent peer_closed failed closed }* · drain? · end_turn
//! then poll() until it gives nothing, then wait() says until when
//! ```
//!
//! **A driver keeps for each connection only what the kernel owes it.** It names a connection by a
//! slot, a small number, which is the connection's from [`Machine::opened`] until it has answered
//! [`Output::Close`] with [`Machine::closed`]; between these two no other event names it. A buffer
//! given out by [`Output::Send`] comes back by [`Machine::sent`], whole, with the number of bytes
//! that the kernel took, unless the connection is closed before.

use super::message::Message;
use crate::journal::Fault;
use crate::metrics::Counters;
use crate::slice::disk::{Done, Task};
use crate::slice::recovery::Report;

/// A connection, as its driver numbers it. Slots are reused, and densely numbered from 0.
pub type Slot = u32;

/// One reading of the clocks, for a whole turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Milliseconds since some fixed point; never falls.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Microseconds for which the driver has spun since it began: a figure that is only shown.
    pub spun_us: u64,
}

/// Something for the driver to do. Outputs of one connection are done in order.
#[derive(Debug)]
pub enum Output {
    /// Send `buffer[from..]`. At most one send of a connection is under way.
    Send {
        /// The connection.
        slot: Slot,
        /// The answers.
        buffer: Vec<u8>,
        /// Bytes of them that have left.
        from: usize,
    },
    /// Receive from now on, or no more. What was under way may still come.
    Receive {
        /// The connection.
        slot: Slot,
        /// Whether to.
        on: bool,
    },
    /// Shut down the sending side: nothing more will be sent.
    Shutdown {
        /// The connection.
        slot: Slot,
    },
    /// Close at once, whatever is under way, and say so by [`Machine::closed`].
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
    /// Do something with the disk of a slice.
    Task {
        /// The slice.
        slice: u32,
        /// What.
        task: Task,
    },
    /// Tell whoever waits how far loading a slice has come.
    Loading {
        /// The slice.
        slice: u32,
        /// How far.
        report: Report,
        /// Whether it is over.
        is_over: bool,
    },
    /// All slices of all cores are loaded: requests are taken from now on. Once.
    Serving,
}

/// What a driver waits for when a turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: there is work at hand.
    Work,
    /// An event. A turn is wanted every [`TICK_MS`](super::limits::TICK_MS) anyway, for deadlines.
    Event {
        /// When a turn is wanted besides, in milliseconds of the monotonic clock.
        until_ms: Option<u64>,
        /// Whether replies of other cores are awaited, so that spinning a moment may pay.
        spins: bool,
    },
}

/// A slice's file that is not as it was written.
#[derive(Debug)]
pub struct Broken {
    /// The slice.
    pub slice: u32,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The machine of one core.
pub trait Machine {
    /// A turn begins.
    fn begin_turn(&mut self, clocks: Clocks);

    /// A message of another core has come.
    fn message(&mut self, from: u32, message: Message);

    /// A disk task of a slice is done.
    fn task_done(&mut self, slice: u32, done: Done);

    /// A connection was accepted at a listener of this slice.
    fn opened(&mut self, slot: Slot, slice: u32);

    /// Bytes were received.
    fn received(&mut self, slot: Slot, bytes: &[u8]);

    /// The peer has shut down its sending side.
    fn peer_closed(&mut self, slot: Slot);

    /// The kernel took `count` bytes of what was to be sent. The buffer comes back.
    fn sent(&mut self, slot: Slot, buffer: Vec<u8>, count: usize);

    /// The connection is broken: nothing can be received or sent any more.
    fn failed(&mut self, slot: Slot);

    /// The connection is closed, and its slot free.
    fn closed(&mut self, slot: Slot);

    /// The process is told to end: what has begun is finished, nothing new is taken.
    fn drain(&mut self);

    /// The process is to end at once: every connection is closed.
    fn stop(&mut self);

    /// The turn ends: everything that came is worked on, as far as a turn goes. A broken file ends
    /// the process.
    fn end_turn(&mut self) -> Result<(), Broken>;

    /// The next output.
    fn poll(&mut self) -> Option<Output>;

    /// What to wait for.
    fn wait(&self) -> Wait;

    /// Whether a machine that drains has nothing more to do, here and on all other cores.
    fn is_done(&self) -> bool;

    /// Whether everything that was taken in is on stable storage.
    fn is_settled(&self) -> bool;

    /// While data is being loaded: bytes of memory that it will take, as far as is known.
    fn loading(&self) -> Option<usize> {
        None
    }

    /// What it has done.
    fn counters(&self) -> &Counters;
}
