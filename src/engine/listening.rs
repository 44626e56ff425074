//! Listeners of one core, each with a multishot accept.

use super::op::{Op, OpKind};
use super::ring::{Completion, Ring};
use io_uring::{cqueue, opcode, types};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Pause before accepting again when descriptors or memory ran out, in milliseconds.
const PAUSE_MS: u64 = 10;

/// The listeners of one core.
pub struct Listeners(Vec<Listening>);

struct Listening {
    slice: u32,
    /// `None` once the listener is closed.
    socket: Option<TcpListener>,
    is_armed: bool,
    /// Whether it is to be closed once no accept is pending.
    is_leaving: bool,
    /// End of a pause, in milliseconds of the monotonic clock.
    paused_until_ms: Option<u64>,
}

/// The `user_data` of a listener's accept.
const fn op(number: usize) -> u64 {
    Op { kind: OpKind::Accept, slot: number as u32, generation: 0 }.encode()
}

impl Listening {
    fn arm(&mut self, number: usize, ring: &mut Ring) {
        let Some(socket) = &self.socket else { return };
        let fd = types::Fd(socket.as_raw_fd());
        let entry =
            opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build().user_data(op(number));
        (self.is_armed, self.paused_until_ms) = (true, None);
        // SAFETY: the operation has no pointer.
        unsafe { ring.push(&entry) };
    }
}

impl Listeners {
    /// Starts accepting on these listeners, each with its slice.
    pub fn new(sockets: Vec<(u32, TcpListener)>, ring: &mut Ring) -> Self {
        let listening = |(slice, socket)| Listening {
            slice,
            socket: Some(socket),
            is_armed: false,
            is_leaving: false,
            paused_until_ms: None,
        };
        let mut listeners: Vec<_> = sockets.into_iter().map(listening).collect();
        listeners.iter_mut().enumerate().for_each(|(number, listener)| listener.arm(number, ring));
        Self(listeners)
    }

    /// Handles a completion of an accept. Returns the connection, if there is one, with the
    /// listener's slice.
    pub fn accepted(
        &mut self,
        number: usize,
        completion: Completion,
        now_ms: u64,
        ring: &mut Ring,
    ) -> Option<(u32, OwnedFd)> {
        // SAFETY: the kernel just made this descriptor for this accept; nothing else owns it.
        let fd =
            (completion.result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(completion.result) });
        let listener = &mut self.0[number];
        listener.is_armed = cqueue::more(completion.flags);
        if !listener.is_armed && !listener.is_leaving {
            match -completion.result {
                libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => {
                    listener.paused_until_ms = Some(now_ms + PAUSE_MS);
                }
                _ => listener.arm(number, ring),
            }
        }
        fd.map(|fd| (listener.slice, fd))
    }

    /// Accepts again on each listener whose pause is over.
    #[inline]
    pub fn resume(&mut self, now_ms: u64, ring: &mut Ring) {
        for (number, listener) in self.0.iter_mut().enumerate() {
            if listener.paused_until_ms.is_some_and(|at| now_ms >= at) {
                listener.arm(number, ring);
            }
        }
    }

    /// The end of the earliest pause, in milliseconds of the monotonic clock.
    pub fn resumes_at_ms(&self) -> Option<u64> {
        self.0.iter().filter_map(|listener| listener.paused_until_ms).min()
    }

    /// Stops accepting. Connections that were accepted before are still delivered.
    pub fn disarm(&mut self, ring: &mut Ring) {
        for (number, listener) in self.0.iter_mut().enumerate() {
            if !std::mem::replace(&mut listener.is_leaving, true) && listener.is_armed {
                let cancel = Op::of_core(OpKind::Cancel).encode();
                let entry = opcode::AsyncCancel::new(op(number)).build().user_data(cancel);
                // SAFETY: the operation has no pointer.
                unsafe { ring.push(&entry) };
            }
            listener.paused_until_ms = None;
        }
    }

    /// Whether the kernel has no accept of any listener pending.
    pub fn are_disarmed(&self) -> bool {
        self.0.iter().all(|listener| !listener.is_armed)
    }

    /// Closes the listeners. Returns the connections that waited to be accepted, each with its
    /// listener's slice.
    pub fn close(&mut self) -> Vec<(u32, OwnedFd)> {
        let mut waiting = Vec::new();
        for listener in &mut self.0 {
            let Some(socket) = listener.socket.take() else { continue };
            // If this fails, nothing may wait for a connection here.
            if socket.set_nonblocking(true).is_ok() {
                let accepted = std::iter::from_fn(|| socket.accept().ok());
                waiting.extend(accepted.map(|(stream, _)| (listener.slice, stream.into())));
            }
        }
        waiting
    }
}
