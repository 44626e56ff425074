//! Listeners of one core, each with a few accepts in flight.
//!
//! An accept takes one connection, so that a core never has more than [`Listeners::new`] was told:
//! a multishot accept would take a whole backlog at once, and with it the descriptors that files
//! need. What cannot be accepted waits in the backlog.

use super::op::{Op, OpKind};
use super::ring::{Completion, Ring};
use io_uring::types::CancelBuilder;
use io_uring::{opcode, types};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// Accepts in flight of a listener: so many connections a turn, of which a busy core takes
/// thousands a second.
pub const ACCEPTS: usize = 8;
/// Interval at which the same shortage is logged again.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The listeners of one core.
pub struct Listeners {
    listening: Vec<Listening>,
    /// Maximum number of connections, accepts in flight included.
    max_sockets: usize,
    in_flight: usize,
    /// Number of accepts in flight while there is nothing in their way; 0 once closed.
    wanted: usize,
    /// Whether descriptors or memory ran out: nothing is accepted before the next tick.
    is_paused: bool,
    /// When the last shortage was logged.
    logged: Option<Instant>,
}

struct Listening {
    slice: u32,
    /// `None` once the listener is closed.
    socket: Option<TcpListener>,
    in_flight: usize,
}

/// The `user_data` of a listener's accepts.
const fn op(number: usize) -> u64 {
    Op { kind: OpKind::Accept, slot: number as u32, generation: 0 }.encode()
}

impl Listeners {
    /// Starts accepting on these listeners, each with its slice, up to `max_sockets` connections.
    pub fn new(sockets: Vec<(u32, TcpListener)>, max_sockets: usize, ring: &mut Ring) -> Self {
        let listening = |(slice, socket)| Listening { slice, socket: Some(socket), in_flight: 0 };
        let listening: Vec<_> = sockets.into_iter().map(listening).collect();
        let wanted = listening.len() * ACCEPTS;
        let mut listeners =
            Self { listening, max_sockets, in_flight: 0, wanted, is_paused: false, logged: None };
        listeners.accept_more(0, ring);
        listeners
    }

    /// Starts further accepts, now that the core has `sockets` connections. Call it once a turn.
    #[inline]
    pub fn accept_more(&mut self, sockets: usize, ring: &mut Ring) {
        if self.in_flight < self.wanted && !self.is_paused {
            self.arm(sockets, ring);
        }
    }

    fn arm(&mut self, sockets: usize, ring: &mut Ring) {
        for (number, listener) in self.listening.iter_mut().enumerate() {
            let Some(socket) = &listener.socket else { continue };
            let free = self.max_sockets.saturating_sub(sockets + self.in_flight);
            for _ in 0..free.min(ACCEPTS - listener.in_flight) {
                let fd = types::Fd(socket.as_raw_fd());
                let entry = opcode::Accept::new(fd, null_mut(), null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
                    .user_data(op(number));
                // SAFETY: the pointers are null: the peer's address is not asked for.
                unsafe { ring.push(&entry) };
                listener.in_flight += 1;
                self.in_flight += 1;
            }
        }
    }

    /// Handles a completion of an accept. Returns the connection, if there is one, with the
    /// listener's slice.
    pub fn accepted(&mut self, number: usize, completion: Completion) -> Option<(u32, OwnedFd)> {
        let listener = &mut self.listening[number];
        listener.in_flight -= 1;
        self.in_flight -= 1;
        if completion.result >= 0 {
            // SAFETY: the kernel just made this descriptor for this accept; nothing else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            return Some((listener.slice, fd));
        }
        if let libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS = -completion.result {
            self.pause(io::Error::from_raw_os_error(-completion.result));
        }
        None
    }

    /// Stops accepting until the next tick: descriptors are reserved, so somebody else has taken
    /// those that are missing, and asking more often would not bring them back.
    fn pause(&mut self, why: io::Error) {
        self.is_paused = true;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            let failure = super::Failure::new("accept", "connections", why);
            tracing::warn!("connections wait in the backlog: {failure}");
        }
    }

    /// Ends a pause. Call it on every tick.
    pub const fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Stops accepting. Connections that were accepted before are still delivered.
    pub fn disarm(&mut self, ring: &mut Ring) {
        if std::mem::take(&mut self.wanted) == 0 {
            return;
        }
        for (number, listener) in self.listening.iter().enumerate() {
            if listener.in_flight > 0 {
                let cancel = Op::of_core(OpKind::Cancel).encode();
                let all = CancelBuilder::user_data(op(number)).all();
                let entry = opcode::AsyncCancel2::new(all).build().user_data(cancel);
                // SAFETY: the operation has no pointer.
                unsafe { ring.push(&entry) };
            }
        }
    }

    /// Whether the kernel has no accept of any listener pending.
    pub const fn are_disarmed(&self) -> bool {
        self.in_flight == 0
    }

    /// Closes the listeners, now that the core has `sockets` connections. Returns the connections
    /// that waited to be accepted, each with its listener's slice.
    pub fn close(&mut self, sockets: usize) -> Vec<(u32, OwnedFd)> {
        let (free, mut waiting) = (self.max_sockets.saturating_sub(sockets), Vec::new());
        for listener in &mut self.listening {
            let Some(socket) = listener.socket.take() else { continue };
            // If this fails, nothing may wait for a connection here.
            if socket.set_nonblocking(true).is_ok() {
                let accepted = std::iter::from_fn(|| socket.accept().ok());
                let accepted = accepted.take(free.saturating_sub(waiting.len()));
                waiting.extend(accepted.map(|(stream, _)| (listener.slice, stream.into())));
            }
        }
        waiting
    }
}
