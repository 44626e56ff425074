//! How connections come to a core: its listeners, and who is turned away.

use super::super::connections::Slot;
use super::super::op::{Kind, Op};
use super::super::ring::Completion;
use super::super::service::{Next, Service};
use super::Io;
use super::part::Part;
use io_uring::{cqueue, opcode, types};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How long to wait before accepting again when descriptors ran out.
const ACCEPT_PAUSE_MS: u64 = 10;
/// Connections beyond the limit that are told so and closed in good order; more are told and cut off.
pub(super) const TURNED_AWAY: usize = 64;

/// A listener and its multishot accept.
pub(super) struct Listening {
    /// `None`: no more is accepted.
    socket: Option<TcpListener>,
    is_armed: bool,
    /// When to accept again.
    pub(super) again_at_ms: Option<u64>,
}

impl Listening {
    pub(super) const fn new(socket: TcpListener) -> Self {
        Self { socket: Some(socket), is_armed: false, again_at_ms: None }
    }
}

/// The accept of a part's listener.
const fn accept(part: u8, listener: usize) -> u64 {
    Op { kind: Kind::Accept, part, slot: listener as u32, generation: 0 }.encode()
}

impl<S: Service> Part<S> {
    pub(super) fn arm_accept(&mut self, number: usize, io: &mut Io) {
        let listener = &mut self.listeners[number];
        let Some(socket) = &listener.socket else { return };
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(accept(self.number, number));
        (listener.is_armed, listener.again_at_ms) = (true, None);
        // SAFETY: points at nothing.
        unsafe { io.ring.push(&entry) };
    }

    pub(super) fn accepted(&mut self, number: usize, completion: Completion, io: &mut Io) {
        if completion.result >= 0 {
            // SAFETY: a descriptor that the kernel just made for this accept.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            self.welcome(fd, io);
        }
        let now = self.clock.monotonic_ms;
        let listener = &mut self.listeners[number];
        listener.is_armed = cqueue::more(completion.flags);
        if listener.is_armed || listener.socket.is_none() {
            return;
        }
        match -completion.result {
            libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => {
                listener.again_at_ms = Some(now + ACCEPT_PAUSE_MS);
            }
            _ => self.arm_accept(number, io),
        }
    }

    pub(super) fn welcome(&mut self, fd: OwnedFd, io: &mut Io) {
        if self.conns.len() >= self.limits.connections {
            self.counters.turned_away += 1;
            let answer = self.service.turned_away();
            if self.conns.len() < self.limits.connections + TURNED_AWAY {
                let slot = self.seat(fd);
                if let Some(conn) = self.conns.get(slot) {
                    conn.out.bytes = answer;
                    conn.next = Next::Close;
                }
                return self.after(slot, io);
            }
            // Too many of those, too: a socket just accepted has room for a few hundred bytes, and is closed at once.
            // SAFETY: the answer outlives the call.
            unsafe {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                libc::send(fd.as_raw_fd(), answer.as_ptr().cast(), answer.len(), flags);
                libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR);
            }
            return;
        }
        self.counters.connections += 1;
        let slot = self.seat(fd);
        self.arm_receive(slot, io);
    }

    pub(super) fn seat(&mut self, fd: OwnedFd) -> Slot {
        let Self { conns, service, .. } = self;
        conns.insert(fd, |ticket| service.open(ticket), self.clock.monotonic_ms + self.limits.idle_ms)
    }

    pub(super) fn stop_accepting(&mut self, io: &mut Io) {
        for number in 0..self.listeners.len() {
            let listener = &mut self.listeners[number];
            listener.socket = None;
            if listener.is_armed {
                let entry = opcode::AsyncCancel::new(accept(self.number, number))
                    .build()
                    .user_data(Op::of_part(Kind::Cancel, self.number).encode());
                // SAFETY: points at nothing.
                unsafe { io.ring.push(&entry) };
            }
        }
    }
}
