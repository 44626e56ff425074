//! The connections of one core: a slot each, which is free again only after the kernel's last completion for it.

use super::op::{GENERATION_MASK, Kind, Op};
use super::service::{Next, Out};
use std::os::fd::OwnedFd;

/// Number of a connection's slot.
pub type Slot = u32;

/// Where a connection is in its life.
///
/// ```text
///  Open ──last answer written──▶ Finishing ──all sent, shut down──▶ Draining ──peer closed, or bound──▶ Closing
///    └────────────────error, or peer closed and nothing left to send────────────────────────────────────▲
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Requests are read and answered.
    Open,
    /// The last answer is written; what still comes is ignored.
    Finishing,
    /// Our side is shut down; what still comes is thrown away within a bound, so that the last answer arrives.
    Draining,
    /// Waiting for the kernel's last completions.
    Closing,
}

/// The state of the multishot receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Not armed.
    Off,
    /// Armed: completions may come at any time.
    Armed,
    /// Armed, and a cancellation is under way.
    Cancelling,
}

/// One connection.
pub struct Conn<S> {
    /// Its socket.
    pub fd: OwnedFd,
    /// Which part of the core it is of.
    pub part: u8,
    /// Which use of the slot this is.
    pub generation: u32,
    /// What the service keeps of it.
    pub session: S,
    /// Answers that are being written.
    pub out: Out,
    /// Answers that are being sent: must not move while `sending`.
    pub frozen: Vec<u8>,
    /// How many bytes of `frozen` have left.
    pub sent: usize,
    /// A send is in flight.
    pub sending: bool,
    /// A shutdown is in flight.
    pub shutting: bool,
    /// The multishot receive.
    pub receive: Receive,
    /// The peer has closed its side.
    pub peer_closed: bool,
    /// Where it is in its life.
    pub phase: Phase,
    /// What its session waits for.
    pub next: Next,
    /// It is in the list of those whose answers are sent at the end of the turn.
    pub dirty: bool,
    /// It is in the list of those who go on next turn.
    pub ready: bool,
    /// It waits for a receive buffer.
    pub starved: bool,
    /// Its first answer in line waits for the log.
    pub waiting: bool,
    /// When it is too late, on the monotonic clock.
    pub deadline_ms: u64,
    /// When the peer has taken nothing of the send in flight for too long.
    pub send_by_ms: u64,
    /// Bytes thrown away while draining.
    pub thrown: usize,
    /// What it holds, as the core's sum has it.
    pub counted: usize,
}

impl<S> Conn<S> {
    /// Bytes of answers that have not left.
    pub fn unsent(&self) -> usize {
        self.out.bytes.len() + self.frozen.len() - self.sent
    }

    /// How far its answers have come: more when one more was written, or a place kept for it.
    pub fn written(&self) -> usize {
        self.out.bytes.len() + self.out.gaps()
    }

    /// Answers were written, if there are more than `before`: what is unfinished now is another request, with a deadline of its own.
    pub fn restart_deadline(&mut self, before: usize) {
        if self.written() > before {
            self.deadline_ms = u64::MAX;
        }
    }

    /// Whether the kernel still owes it a completion.
    pub fn is_owed(&self) -> bool {
        self.sending || self.shutting || self.receive != Receive::Off
    }

    /// An operation of this connection.
    pub fn op(&self, kind: Kind, slot: Slot) -> u64 {
        Op { kind, part: self.part, slot, generation: self.generation }.encode()
    }
}

/// The slots of one part of a core.
pub struct Connections<S> {
    part: u8,
    slots: Vec<Option<Conn<S>>>,
    generations: Vec<u32>,
    free: Vec<Slot>,
}

impl<S> Connections<S> {
    /// None yet.
    pub const fn new(part: u8) -> Self {
        Self { part, slots: Vec::new(), generations: Vec::new(), free: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many slots there are, used or free.
    pub fn slots(&self) -> Slot {
        self.slots.len() as Slot
    }

    /// Puts a new connection in a free slot; its session is made for whoever it is, as operations name it.
    pub fn insert(&mut self, fd: OwnedFd, session: impl FnOnce(u64) -> S, deadline_ms: u64) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            self.slots.len() as Slot - 1
        });
        let (part, generation) = (self.part, self.generations[slot as usize]);
        self.slots[slot as usize] = Some(Conn {
            fd,
            part,
            generation,
            session: session(Op { kind: Kind::Send, part, slot, generation }.encode()),
            out: Out::default(),
            frozen: Vec::new(),
            sent: 0,
            sending: false,
            shutting: false,
            receive: Receive::Off,
            peer_closed: false,
            phase: Phase::Open,
            next: Next::Idle,
            dirty: false,
            ready: false,
            starved: false,
            waiting: false,
            deadline_ms,
            send_by_ms: u64::MAX,
            thrown: 0,
            counted: 0,
        });
        slot
    }

    /// Frees a slot to which the kernel owes nothing.
    pub fn remove(&mut self, slot: Slot) -> Conn<S> {
        let conn = self.slots[slot as usize].take().expect("a connection is removed once");
        assert!(!conn.is_owed(), "a slot is free only after its last completion");
        self.generations[slot as usize] = (conn.generation + 1) & GENERATION_MASK;
        self.free.push(slot);
        conn
    }

    /// The connection in a slot.
    #[inline]
    pub fn get(&mut self, slot: Slot) -> Option<&mut Conn<S>> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// The connection that waited for the log or for another core; `None` if it is gone.
    pub fn waiting(&mut self, op: Op) -> Option<&mut Conn<S>> {
        self.get(op.slot).filter(|conn| conn.generation == op.generation)
    }

    /// The connection that a completion is for. There is one: slots are not reused before.
    #[inline]
    pub fn of(&mut self, op: Op) -> &mut Conn<S> {
        let conn = self.get(op.slot).expect("a completion is for a connection that waits for it");
        assert!(conn.generation == op.generation, "a completion is for this use of the slot");
        conn
    }
}
