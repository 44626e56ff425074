//! Sockets of one core: per connection, the descriptor and the pending kernel operations.
//!
//! A slot is free again only after the kernel's last completion for it: until then, the kernel may
//! use its descriptor and its buffer. All other state of a connection is the machine's
//! ([`crate::server`]).

use super::op::{GENERATION_MASK, Op, OpKind};
use crate::server::machine::Slot;
use socket2::SockRef;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

/// The state of a multishot receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// Not armed.
    Off,
    /// Armed: completions may come at any time.
    Armed,
    /// Armed, and a cancellation is in flight.
    Cancelling,
}

/// One socket.
pub struct Socket {
    fd: OwnedFd,
    generation: u32,
    /// The bytes that are being sent; they must not move while `is_sending`.
    pub buffer: Vec<u8>,
    /// Whether a send is in flight.
    pub is_sending: bool,
    /// Whether a shutdown is in flight.
    pub is_shutting: bool,
    /// The state of the multishot receive.
    pub receive: Receive,
    /// Whether the machine wants to receive.
    pub wants_receive: bool,
    /// Whether a receive found no buffer; it is armed again when some are back.
    pub is_starved: bool,
    /// Whether the machine has closed the connection.
    pub is_closing: bool,
}

impl Socket {
    /// The descriptor.
    pub fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Shuts down both directions, so that operations in flight complete at once.
    pub fn shut_down_both(&self) {
        // An error means that the peer was faster.
        let _ = SockRef::from(&self.fd).shutdown(Shutdown::Both);
    }

    /// Whether an operation of the socket is pending in the kernel.
    pub fn has_pending_operation(&self) -> bool {
        self.is_sending || self.is_shutting || self.receive != Receive::Off
    }

    /// The `user_data` of an operation on this socket.
    #[inline]
    pub const fn op(&self, kind: OpKind, slot: Slot) -> u64 {
        Op { kind, slot, generation: self.generation }.encode()
    }
}

/// The sockets of one core, by slot.
#[derive(Default)]
pub struct Sockets {
    slots: Vec<Option<Socket>>,
    generations: Vec<u32>,
    free: Vec<Slot>,
}

impl Sockets {
    /// Number of sockets.
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is no socket.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a new socket into a free slot.
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

    /// Closes a socket without pending operations, and frees its slot.
    pub fn remove(&mut self, slot: Slot) {
        let socket = self.slots[slot as usize].take().expect("a socket is removed once");
        assert!(!socket.has_pending_operation(), "a slot is freed only after its last completion");
        self.generations[slot as usize] = (socket.generation + 1) & GENERATION_MASK;
        self.free.push(slot);
    }

    /// The socket in a slot, if there is one.
    #[inline]
    pub fn get(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.slots.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// The socket in a slot that the machine names. Panics if the slot is free.
    #[inline]
    pub fn named(&mut self, slot: Slot) -> &mut Socket {
        self.get(slot).expect("the machine names a connection until it is closed")
    }

    /// The socket of a completed operation. It exists, because a slot is not reused before the last
    /// completion.
    #[inline]
    pub fn of(&mut self, op: Op) -> &mut Socket {
        let socket = self.get(op.slot).expect("a completion finds its socket");
        assert!(socket.generation == op.generation, "a completion finds its use of the slot");
        socket
    }
}
