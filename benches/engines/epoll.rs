//! Rival engine on plain epoll: level-triggered, non-blocking sockets, no runtime.
//!
//! A turn is one `epoll_wait`. Each ready socket gets one `recv`, into a buffer shared by all
//! sockets. Remaining bytes are reported again by the next wait; that saves the second `recv` that
//! edge-triggered sockets need to see that nothing is left. An answer is sent at once; a socket
//! waits to become writable only if the kernel does not accept the bytes. Completed sends are
//! reported to the machine in a second turn without a system call. A request thus costs one `recv`,
//! one `send` and its share of an `epoll_wait`; no runtime on epoll can do with less.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use purser::server::machine::{Machine, Output, Slot};

use super::turns::Turns;

const RECEIVE_BYTES: usize = 64 << 10;
/// Most events of one wait.
const EVENTS: usize = 1_024;
/// Event data of the listener; every other value is a slot.
const LISTENER: u64 = u64::MAX;

const READABLE: u32 = libc::EPOLLIN as u32;
const WRITABLE: u32 = libc::EPOLLOUT as u32;
const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

pub fn run<M: Machine>(turns: Turns<M>, listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poll = Poll::new()?;
    poll.control(libc::EPOLL_CTL_ADD, &listener, LISTENER, READABLE)?;
    let sockets = Sockets { poll, sockets: Vec::new(), free: Vec::new(), outcomes: Vec::new() };
    let mut driver = Driver { turns, listener, sockets, bytes: vec![0; RECEIVE_BYTES] };
    loop {
        driver.turn()?;
    }
}

struct Driver<M> {
    turns: Turns<M>,
    listener: TcpListener,
    sockets: Sockets,
    /// Receive buffer shared by all sockets.
    bytes: Vec<u8>,
}

struct Socket {
    stream: TcpStream,
    /// Events registered with epoll.
    interest: u32,
    /// Unsent buffer and the offset of its first unsent byte.
    unsent: Option<(Vec<u8>, usize)>,
}

struct Sockets {
    poll: Poll,
    sockets: Vec<Option<Socket>>,
    free: Vec<Slot>,
    /// Finished sends that were not yet reported to the machine.
    outcomes: Vec<(Slot, Vec<u8>, io::Result<usize>)>,
}

impl<M: Machine> Driver<M> {
    fn turn(&mut self) -> io::Result<()> {
        let has_outcomes = !self.sockets.outcomes.is_empty();
        let timeout_ms =
            if has_outcomes { 0 } else { self.turns.poll_timeout().as_millis() as i32 };
        let count = self.sockets.poll.wait(timeout_ms)?;
        self.turns.begin();
        self.report_outcomes();
        for at in 0..count {
            let event = self.sockets.poll.events[at];
            match event.u64 {
                LISTENER => self.accept()?,
                slot => self.event(slot as Slot, event.events),
            }
        }
        self.end_turn();
        if !self.sockets.outcomes.is_empty() {
            self.turns.begin();
            self.report_outcomes();
            self.end_turn();
        }
        Ok(())
    }

    fn report_outcomes(&mut self) {
        let Self { turns, sockets, .. } = self;
        for (slot, buffer, result) in sockets.outcomes.drain(..) {
            match result {
                Ok(count) if count > 0 => turns.machine.sent(slot, buffer, count),
                _ => turns.machine.failed(slot),
            }
        }
    }

    fn end_turn(&mut self) {
        let Self { turns, sockets, .. } = self;
        turns.end(|machine, output| match output {
            Output::Send { slot, buffer, from } => sockets.send(slot, buffer, from),
            Output::Receive { slot, on } => sockets.set(slot, READABLE, on),
            Output::Shutdown { slot } => sockets.shut_down(slot),
            Output::Close { slot } => {
                sockets.close(slot);
                machine.closed(slot);
            }
            output => unreachable!("{output:?} does not concern a connection"),
        });
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let slot = self.sockets.insert(stream)?;
                    self.turns.machine.opened(slot, 0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    #[inline]
    fn event(&mut self, slot: Slot, events: u32) {
        let interest = self.sockets.get(slot).interest;
        if events & WRITABLE != 0
            && let Some((buffer, from)) = self.sockets.get(slot).unsent.take()
        {
            self.sockets.set(slot, WRITABLE, false);
            self.sockets.send(slot, buffer, from);
        }
        if events & (READABLE | BROKEN) != 0 && interest & READABLE != 0 {
            self.receive(slot);
        } else if events & BROKEN != 0 {
            // Receiving is off, so nothing reads the error; the event repeats until the socket is
            // closed.
            self.turns.machine.failed(slot);
        }
    }

    #[inline]
    fn receive(&mut self, slot: Slot) {
        let Self { turns, sockets, bytes, .. } = self;
        match sockets.get(slot).stream.read(bytes) {
            Ok(0) => {
                sockets.set(slot, READABLE, false);
                turns.machine.peer_closed(slot);
            }
            Ok(count) => turns.machine.received(slot, &bytes[..count]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => turns.machine.failed(slot),
        }
    }
}

impl Sockets {
    fn insert(&mut self, stream: TcpStream) -> io::Result<Slot> {
        stream.set_nonblocking(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() as Slot - 1
        });
        self.poll.control(libc::EPOLL_CTL_ADD, &stream, slot.into(), 0)?;
        self.sockets[slot as usize] = Some(Socket { stream, interest: 0, unsent: None });
        Ok(slot)
    }

    #[inline]
    fn get(&mut self, slot: Slot) -> &mut Socket {
        self.sockets[slot as usize].as_mut().expect("only open connections are named")
    }

    /// Sets whether epoll reports that a socket is readable or writable.
    fn set(&mut self, slot: Slot, flag: u32, on: bool) {
        let Self { poll, sockets, .. } = self;
        let socket = sockets[slot as usize].as_mut().expect("only open connections are named");
        let interest = if on { socket.interest | flag } else { socket.interest & !flag };
        if std::mem::replace(&mut socket.interest, interest) != interest {
            poll.control(libc::EPOLL_CTL_MOD, &socket.stream, slot.into(), interest)
                .expect("the socket is registered with epoll");
        }
    }

    #[inline]
    fn send(&mut self, slot: Slot, buffer: Vec<u8>, from: usize) {
        let socket = self.get(slot);
        match socket.stream.write(&buffer[from..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.unsent = Some((buffer, from));
                self.set(slot, WRITABLE, true);
            }
            result => self.outcomes.push((slot, buffer, result)),
        }
    }

    fn shut_down(&mut self, slot: Slot) {
        // An error means that the peer closed first.
        let _ = self.get(slot).stream.shutdown(Shutdown::Write);
    }

    fn close(&mut self, slot: Slot) {
        self.outcomes.retain(|(of, ..)| *of != slot);
        self.sockets[slot as usize] = None;
        self.free.push(slot);
    }
}

/// An epoll instance.
struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let epoll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel just created this descriptor, and nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    fn control(
        &self,
        operation: i32,
        socket: &impl AsRawFd,
        number: u64,
        interest: u32,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: number };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` is valid for a read.
        checked(unsafe { libc::epoll_ctl(epoll, operation, socket.as_raw_fd(), &raw mut event) })
            .map(drop)
    }

    /// Waits for events. Returns how many there are.
    fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        let (epoll, most) = (self.epoll.as_raw_fd(), self.events.len() as i32);
        // SAFETY: `events` has space for `most` events.
        match checked(unsafe {
            libc::epoll_wait(epoll, self.events.as_mut_ptr(), most, timeout_ms)
        }) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            result => result.map(|count| count as usize),
        }
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
