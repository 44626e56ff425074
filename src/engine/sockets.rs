//! The sockets of one core: per connection, what the kernel owes it, and nothing else.
//!
//! A slot is free again only after the kernel's last completion for it: as long as one is
//! outstanding, the kernel may use its descriptor and its buffer. Everything that a connection
//! means is the machine's ([`crate::server`]).

use super::op::{GENERATION_MASK, Kind, Op};
use crate::server::machine::Slot;
use std::os::fd::{AsRawFd, OwnedFd};

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

/// One socket.
pub struct Socket {
    fd: OwnedFd,
    generation: u32,
    /// The bytes that are being sent: they must not move while `is_sending`.
    pub buffer: Vec<u8>,
    /// A send is in flight.
    pub is_sending: bool,
    /// A shutdown is in flight.
    pub is_shutting: bool,
    /// The multishot receive.
    pub receive: Receive,
    /// Whether the machine wants to receive.
    pub wants_receive: bool,
    /// It found no receive buffer, and is armed again when some are back.
    pub is_starved: bool,
    /// The machine has closed it.
    pub is_closing: bool,
}

impl Socket {
    /// Its descriptor, for an operation.
    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Whether the kernel still owes it a completion.
    pub fn is_owed(&self) -> bool {
        self.is_sending || self.is_shutting || self.receive != Receive::Off
    }

    /// An operation of this socket.
    #[inline]
    pub const fn op(&self, kind: Kind, slot: Slot) -> u64 {
        Op { kind, slot, generation: self.generation }.encode()
    }
}

/// The sockets, by their slots.
#[derive(Default)]
pub struct Sockets {
    slots: Vec<Option<Socket>>,
    generations: Vec<u32>,
    free: Vec<Slot>,
}

impl Sockets {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Puts a new socket in a free slot.
    pub fn insert(&mut self, fd: OwnedFd) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(0);
            self.slots.len() as Slot - 1
        });
        self.slots[slot as usize] = Some(Socket {
            fd,
            generation: self.generations[slot as usize],
            buffer: Vec::new(),
            is_sending: false,
            is_shutting: false,
            receive: Receive::Off,
            wants_receive: false,
            is_starved: false,
            is_closing: false,
        });
        slot
    }

    /// Frees a slot to which the kernel owes nothing: the descriptor is closed.
    pub fn remove(&mut self, slot: Slot) {
        let socket = self.slots[slot as usize].take().expect("a socket is removed once");
        assert!(!socket.is_owed(), "a slot is free only after its last completion");
        self.generations[slot as usize] = (socket.generation + 1) & GENERATION_MASK;
        self.free.push(slot);
    }

    /// The socket in a slot.
    #[inline]
    pub fn get(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// The socket that the machine names.
    #[inline]
    pub fn named(&mut self, slot: Slot) -> &mut Socket {
        self.get(slot).expect("the machine names a connection until it is closed")
    }

    /// The socket that a completion is for. There is one: slots are not reused before.
    #[inline]
    pub fn of(&mut self, op: Op) -> &mut Socket {
        let socket = self.get(op.slot).expect("a completion is for a socket that waits for it");
        assert!(socket.generation == op.generation, "a completion is for this use of the slot");
        socket
    }
}
