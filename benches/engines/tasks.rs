//! A machine that is driven by tasks of a single-threaded runtime.
//!
//! | task | one for | does |
//! |---|---|---|
//! | accept | the listener | tells of connections, and starts their tasks |
//! | receive | each connection | waits until bytes are wanted, receives, tells |
//! | send | each connection | waits for a buffer, sends it, tells |
//! | end | the core | ends the turn, and carries its outputs out |
//! | tick | the core | begins a turn when the machine wants one by the clock |
//!
//! The runtime runs tasks in the order in which they were woken. The first task that tells
//! something begins the turn and wakes the one that ends it, which comes behind all that the same
//! look at the kernel has woken: so a turn has all that was ready. Nothing is held across an await,
//! and no task runs another one, so the state needs no lock.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purser::server::machine::{Machine, Output, Slot};

use super::turns::Turns;

/// The least wait for the clock: the turn that it follows may not have ended.
const SHORTEST: Duration = Duration::from_millis(1);

/// What the tasks of a core share.
pub struct Driver<M>(Rc<RefCell<State<M>>>);

struct State<M> {
    turns: Turns<M>,
    sockets: Vec<Socket>,
    free: Vec<Slot>,
    /// Of the task that ends the turn.
    end: Sleeper,
}

#[derive(Default)]
struct Socket {
    fd: RawFd,
    wants_receive: bool,
    is_closing: bool,
    /// What is to be sent, and from where on.
    unsent: Option<(Vec<u8>, usize)>,
    receiver: Sleeper,
    sender: Sleeper,
    /// Tasks that have not left.
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

    /// Hands the machine something, in the turn that is open or in a new one.
    #[inline]
    fn tell(&self, event: impl FnOnce(&mut M, &mut Vec<Socket>)) {
        let State { turns, sockets, end, .. } = &mut *self.0.borrow_mut();
        if turns.begin() {
            end.wake();
        }
        event(&mut turns.machine, sockets);
    }

    // Events.

    /// A connection was accepted. A receiving and a sending task are to be started for it, and the
    /// descriptor stays open until both have left.
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
        self.tell(|machine, _| machine.opened(slot, 0));
        slot
    }

    /// A receive is over: nothing is the end of what the peer sends.
    #[inline]
    pub fn received(&self, slot: Slot, result: &io::Result<usize>, bytes: &[u8]) {
        self.tell(|machine, sockets| {
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

    /// A send is over.
    #[inline]
    pub fn sent(&self, slot: Slot, buffer: Vec<u8>, result: &io::Result<usize>) {
        self.tell(|machine, sockets| match result {
            _ if sockets[slot as usize].is_closing => {}
            Ok(count) if *count > 0 => machine.sent(slot, buffer, *count),
            _ => machine.failed(slot),
        });
    }

    /// A task of a connection has left; the second one closes it.
    pub fn left(&self, slot: Slot) {
        self.tell(|machine, sockets| {
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

    /// Waits until bytes are wanted; `false` when the connection is closed.
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

    /// Waits for something to send, and where it begins; `None` when the connection is closed.
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

    /// Ends turns. `go_round` has the runtime look at the kernel: awaited between turns that need
    /// no event.
    pub async fn end_turns(self, go_round: impl AsyncFn()) {
        loop {
            poll_fn(|context| {
                let state = &mut *self.0.borrow_mut();
                if state.turns.is_open() { Poll::Ready(()) } else { state.end.sleep(context) }
            })
            .await;
            if self.end_turn() {
                go_round().await;
                self.tell(|_, _| {});
            }
        }
    }

    /// Begins turns by the clock.
    pub async fn tick(self, sleep: impl AsyncFn(Duration)) {
        loop {
            self.tell(|_, _| {});
            let patience = self.0.borrow().turns.patience();
            sleep(patience.max(SHORTEST)).await;
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
                // What is in flight completes at once.
                shut_down(socket.fd, libc::SHUT_RDWR);
                socket.receiver.wake();
                socket.sender.wake();
            }
            output => unreachable!("{output:?} is no connection's"),
        });
        turns.has_work()
    }
}

fn shut_down(fd: RawFd, how: i32) {
    // SAFETY: no pointers; the descriptor is open until both tasks have left. An error means that
    // the peer was faster.
    unsafe { libc::shutdown(fd, how) };
}
