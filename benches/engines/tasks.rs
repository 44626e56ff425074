//! Drives a machine with the tasks of a single-threaded async runtime.
//!
//! | task | number | job |
//! |---|---|---|
//! | accept | one | reports new connections and starts their tasks |
//! | receive | one per connection | waits until bytes are wanted, receives, reports |
//! | send | one per connection | waits for a buffer, sends it, reports |
//! | end | one | ends the turn and carries its outputs out |
//! | tick | one | begins a turn when the machine's timer is due |
//!
//! The runtime runs tasks in the order in which they were woken. The first task that reports an
//! event begins the turn and wakes the task that ends it. That task runs after all tasks woken by
//! the same check of the kernel, so the turn contains every event that was ready. The state needs
//! no lock: no borrow is held across an await, and no task runs another one.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purser::server::machine::{Machine, Output, Slot};

use super::turns::Turns;

/// Shortest sleep of the tick task. The open turn may not have ended, so its timeout can still be
/// zero.
const SHORTEST: Duration = Duration::from_millis(1);

/// State shared by the tasks of a core.
pub struct Driver<M>(Rc<RefCell<State<M>>>);

struct State<M> {
    turns: Turns<M>,
    sockets: Vec<Socket>,
    free: Vec<Slot>,
    /// Waker of the task that ends the turn.
    end: Sleeper,
}

#[derive(Default)]
struct Socket {
    fd: RawFd,
    wants_receive: bool,
    is_closing: bool,
    /// Buffer to send, and the offset of its first unsent byte.
    unsent: Option<(Vec<u8>, usize)>,
    receiver: Sleeper,
    sender: Sleeper,
    /// Tasks of the connection that still run.
    tasks: u32,
}

/// A task that waits to be woken.
#[derive(Default)]
struct Sleeper(Option<Waker>);

impl Sleeper {
    #[inline]
    fn sleep<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        if !self.0.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.0 = Some(context.waker().clone());
        }
        Poll::Pending
    }

    #[inline]
    fn wake(&self) {
        if let Some(waker) = &self.0 {
            waker.wake_by_ref();
        }
    }
}

impl<M> Clone for Driver<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: Machine> Driver<M> {
    pub fn new(turns: Turns<M>) -> Self {
        let state = State { turns, sockets: Vec::new(), free: Vec::new(), end: Sleeper::default() };
        Self(Rc::new(RefCell::new(state)))
    }

    /// Reports an event to the machine, in the open turn or in a new one.
    #[inline]
    fn report(&self, event: impl FnOnce(&mut M, &mut Vec<Socket>)) {
        let State { turns, sockets, end, .. } = &mut *self.0.borrow_mut();
        if turns.begin() {
            end.wake();
        }
        event(&mut turns.machine, sockets);
    }

    // Events.

    /// Reports an accepted connection. The caller must start a receiving and a sending task, and
    /// keep the descriptor open until both have called [`Self::left`].
    pub fn opened(&self, fd: RawFd) -> Slot {
        let slot = {
            let State { sockets, free, .. } = &mut *self.0.borrow_mut();
            let slot = free.pop().unwrap_or(sockets.len() as Slot);
            let socket = Socket { fd, tasks: 2, ..Socket::default() };
            match sockets.get_mut(slot as usize) {
                Some(place) => *place = socket,
                None => sockets.push(socket),
            }
            slot
        };
        self.report(|machine, _| machine.opened(slot, 0));
        slot
    }

    /// Reports a finished receive; 0 bytes mean that the peer has ended its stream.
    #[inline]
    pub fn received(&self, slot: Slot, result: &io::Result<usize>, bytes: &[u8]) {
        self.report(|machine, sockets| {
            let socket = &mut sockets[slot as usize];
            match result {
                _ if socket.is_closing => {}
                Ok(0) => {
                    socket.wants_receive = false;
                    machine.peer_closed(slot);
                }
                Ok(count) => machine.received(slot, &bytes[..*count]),
                Err(_) => {
                    socket.wants_receive = false;
                    machine.failed(slot);
                }
            }
        });
    }

    /// Reports a finished send.
    #[inline]
    pub fn sent(&self, slot: Slot, buffer: Vec<u8>, result: &io::Result<usize>) {
        self.report(|machine, sockets| match result {
            _ if sockets[slot as usize].is_closing => {}
            Ok(count) if *count > 0 => machine.sent(slot, buffer, *count),
            _ => machine.failed(slot),
        });
    }

    /// Reports that a task of a connection has ended; the second one closes the connection.
    pub fn left(&self, slot: Slot) {
        self.report(|machine, sockets| {
            sockets[slot as usize].tasks -= 1;
            if sockets[slot as usize].tasks == 0 {
                machine.closed(slot);
            }
        });
        let State { sockets, free, .. } = &mut *self.0.borrow_mut();
        if sockets[slot as usize].tasks == 0 {
            free.push(slot);
        }
    }

    // What the tasks wait for.

    /// Waits until the machine wants bytes; `false` when the connection is closed.
    #[inline]
    pub fn wants_bytes(&self, slot: Slot) -> impl Future<Output = bool> {
        poll_fn(move |context| {
            let socket = &mut self.0.borrow_mut().sockets[slot as usize];
            match socket {
                _ if socket.is_closing => Poll::Ready(false),
                _ if socket.wants_receive => Poll::Ready(true),
                _ => socket.receiver.sleep(context),
            }
        })
    }

    /// Waits for a buffer to send and the offset to start at; `None` when the connection is closed.
    #[inline]
    pub fn unsent(&self, slot: Slot) -> impl Future<Output = Option<(Vec<u8>, usize)>> {
        poll_fn(move |context| {
            let socket = &mut self.0.borrow_mut().sockets[slot as usize];
            match socket.unsent.take() {
                _ if socket.is_closing => Poll::Ready(None),
                Some(unsent) => Poll::Ready(Some(unsent)),
                None => socket.sender.sleep(context),
            }
        })
    }

    // The tasks of the core.

    /// Ends turns. `yield_now` lets the runtime check the kernel; it is awaited before a turn that
    /// needs no event.
    pub async fn end_turns(self, yield_now: impl AsyncFn()) {
        loop {
            poll_fn(|context| {
                let state = &mut *self.0.borrow_mut();
                if state.turns.is_open() { Poll::Ready(()) } else { state.end.sleep(context) }
            })
            .await;
            if self.end_turn() {
                yield_now().await;
                self.report(|_, _| {});
            }
        }
    }

    /// Begins a turn whenever the machine's timer is due.
    pub async fn tick(self, sleep: impl AsyncFn(Duration)) {
        loop {
            self.report(|_, _| {});
            let poll_timeout = self.0.borrow().turns.poll_timeout();
            sleep(poll_timeout.max(SHORTEST)).await;
        }
    }

    /// Ends the turn. Returns whether the next one needs no event.
    fn end_turn(&self) -> bool {
        let State { turns, sockets, .. } = &mut *self.0.borrow_mut();
        turns.end(|_, output| match output {
            Output::Send { slot, buffer, from } => {
                let socket = &mut sockets[slot as usize];
                socket.unsent = Some((buffer, from));
                socket.sender.wake();
            }
            Output::Receive { slot, on } => {
                let socket = &mut sockets[slot as usize];
                socket.wants_receive = on;
                socket.receiver.wake();
            }
            Output::Shutdown { slot } => shut_down(sockets[slot as usize].fd, libc::SHUT_WR),
            Output::Close { slot } => {
                let socket = &mut sockets[slot as usize];
                socket.is_closing = true;
                // Operations in flight complete immediately.
                shut_down(socket.fd, libc::SHUT_RDWR);
                socket.receiver.wake();
                socket.sender.wake();
            }
            output => unreachable!("{output:?} does not concern a connection"),
        });
        turns.has_work()
    }
}

fn shut_down(fd: RawFd, how: i32) {
    // SAFETY: no pointers; the descriptor stays open until both tasks have ended. An error means
    // that the peer closed first.
    unsafe { libc::shutdown(fd, how) };
}
