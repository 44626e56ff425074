//! The listeners of one core, each with its multishot accept.

use super::op::{Kind, Op};
use super::ring::{Completion, Ring};
use io_uring::{cqueue, opcode, types};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How long to wait before accepting again when descriptors or memory ran out, in milliseconds.
const PAUSE_MS: u64 = 10;

/// The listeners.
pub struct Listeners(Vec<Listening>);

struct Listening {
    slice: u32,
    /// `None`: no more is accepted.
    socket: Option<TcpListener>,
    is_armed: bool,
    /// When to accept again.
    again_at_ms: Option<u64>,
}

/// The accept of a listener.
const fn op(number: usize) -> u64 {
    Op { kind: Kind::Accept, slot: number as u32, generation: 0 }.encode()
}

impl Listening {
    fn arm(&mut self, number: usize, ring: &mut Ring) {
        let Some(socket) = &self.socket else { return };
        let fd = types::Fd(socket.as_raw_fd());
        let entry =
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build().user_data(op(number));
        (self.is_armed, self.again_at_ms) = (true, None);
        // SAFETY: points at nothing.
        unsafe { ring.push(&entry) };
    }
}

impl Listeners {
    /// Accepts on these, each with its slice, from now on.
    pub fn new(sockets: Vec<(u32, TcpListener)>, ring: &mut Ring) -> Self {
        let listening = |(slice, socket)| Listening {
            slice,
            socket: Some(socket),
            is_armed: false,
            again_at_ms: None,
        };
        let mut listeners: Vec<_> = sockets.into_iter().map(listening).collect();
        listeners.iter_mut().enumerate().for_each(|(number, listener)| listener.arm(number, ring));
        Self(listeners)
    }

    /// An accept has completed. Returns the connection, if there is one, and the listener's slice.
    pub fn accepted(
        &mut self,
        number: usize,
        completion: Completion,
        now_ms: u64,
        ring: &mut Ring,
    ) -> Option<(u32, OwnedFd)> {
        // SAFETY: a descriptor that the kernel just made for this accept.
        let fd =
            (completion.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(completion.result) });
        let listener = &mut self.0[number];
        listener.is_armed = cqueue::more(completion.flags);
        if !listener.is_armed && listener.socket.is_some() {
            match -completion.result {
                libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => {
                    listener.again_at_ms = Some(now_ms + PAUSE_MS);
                }
                _ => listener.arm(number, ring),
            }
        }
        fd.map(|fd| (listener.slice, fd))
    }

    /// Accepts again where it was paused for long enough.
    #[inline]
    pub fn resume(&mut self, now_ms: u64, ring: &mut Ring) {
        for (number, listener) in self.0.iter_mut().enumerate() {
            if listener.again_at_ms.is_some_and(|at| now_ms >= at) {
                listener.arm(number, ring);
            }
        }
    }

    /// When to accept again, if it is paused, in milliseconds of the monotonic clock.
    pub fn resumes_at_ms(&self) -> Option<u64> {
        self.0.iter().filter_map(|listener| listener.again_at_ms).min()
    }

    /// Accepts no more: the listeners are closed.
    pub fn close(&mut self, ring: &mut Ring) {
        for (number, listener) in self.0.iter_mut().enumerate() {
            if listener.socket.take().is_some() && listener.is_armed {
                let cancel = Op::of_core(Kind::Cancel).encode();
                let entry = opcode::AsyncCancel::new(op(number)).build().user_data(cancel);
                // SAFETY: points at nothing.
                unsafe { ring.push(&entry) };
            }
            listener.again_at_ms = None;
        }
    }
}
