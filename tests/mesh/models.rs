//! Loom models: a queue that wraps, a queue dropped half full, two cores that stay within their
//! credits, and a core that parks, with one sender and with two.

use super::parking::Parker;
use super::queue::{Receiver, Sender, channel};
use super::sync;
use loom::model::Builder;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::sync::atomic::{AtomicU32, Ordering};

/// A planted bug in a core's turn, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// The sender checks whether the core is parked before it publishes.
    WakeBeforePublish,
    /// The core does not check its queues again after marking itself as parked.
    NoRecheck,
    /// The core sleeps without marking itself as parked.
    SleepWithoutMark,
    /// Queue slots are never recycled.
    SlotsNotRecycled,
    /// Replies are published before the slots of their requests are recycled.
    SlotsRecycledLate,
}

pub const BUGS: [Bug; 5] = [
    Bug::WakeBeforePublish,
    Bug::NoRecheck,
    Bug::SleepWithoutMark,
    Bug::SlotsNotRecycled,
    Bug::SlotsRecycledLate,
];

pub type Model = fn(Bug);

pub const MODELS: [(&str, Model); 5] = [
    ("wraps", wraps),
    ("is dropped", is_dropped),
    ("one sender", one_sender),
    ("two senders", two_senders),
    ("two cores", two_cores),
];

/// Runs a model through every interleaving with at most `preemptions` preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Models the descriptor that a core sleeps on.
struct WakeEvent {
    is_signalled: Mutex<bool>,
    signalled: Condvar,
}

impl WakeEvent {
    fn new() -> Self {
        Self { is_signalled: Mutex::new(false), signalled: Condvar::new() }
    }

    fn signal(&self) {
        *self.is_signalled.lock().unwrap() = true;
        self.signalled.notify_one();
    }

    fn sleep(&self) {
        let mut is_signalled = self.is_signalled.lock().unwrap();
        while !*is_signalled {
            is_signalled = self.signalled.wait(is_signalled).unwrap();
        }
        *is_signalled = false;
    }
}

/// More items than slots, in batches of one and two: each arrives once and in order, and a slot is
/// reused only when it is free.
fn wraps(bug: Bug) {
    const ITEMS: usize = 4;
    for slots in [1, 2] {
        check(3, move || {
            let (mut sender, mut receiver) = channel::<Box<usize>>(slots);
            let sends = thread::spawn(move || {
                for item in 0..ITEMS {
                    sender.push(Box::new(item));
                    if slots == 1 || item % 2 == 1 {
                        assert!(sender.publish());
                    }
                }
            });
            let mut next = 0;
            while next < ITEMS {
                match receiver.pop() {
                    Some(item) => {
                        assert_eq!(*item, next, "items arrive in order");
                        next += 1;
                    }
                    None => thread::yield_now(),
                }
                if bug != Bug::SlotsNotRecycled {
                    receiver.recycle();
                }
            }
            assert!(receiver.pop().is_none() && receiver.is_empty(), "each item arrives once");
            sends.join().unwrap();
        });
    }
}

/// An item that counts its drops.
struct CountedDrop(std::sync::Arc<AtomicU32>);

impl Drop for CountedDrop {
    fn drop(&mut self) {
        // Relaxed: loom runs all threads of a model on one thread.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whichever end is dropped first, every item is dropped once: taken, not taken, or never
/// published.
fn is_dropped(_: Bug) {
    check(3, || {
        let dropped = std::sync::Arc::new(AtomicU32::new(0));
        let (mut sender, mut receiver) = channel(4);
        let told = dropped.clone();
        let sends = thread::spawn(move || {
            for item in 0..3 {
                sender.push(CountedDrop(told.clone()));
                if item == 1 {
                    sender.publish();
                }
            }
        });
        let taken = receiver.pop();
        receiver.recycle();
        drop(receiver);
        sends.join().unwrap();
        // Relaxed: as above.
        assert_eq!(dropped.load(Ordering::Relaxed), 3 - u32::from(taken.is_some()));
        drop(taken);
        // Relaxed: as above.
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Reply,
}

/// Two cores send each other requests with one credit each. As in `Mesh`, twice as many slots as
/// credits are always enough, although no push checks for a free slot.
fn two_cores(bug: Bug) {
    const REQUESTS: usize = 2;
    fn run(mut to: Sender<Message>, mut from: Receiver<Message>, bug: Bug) {
        let (mut sent, mut answered, mut credit) = (0, 0, true);
        while sent < REQUESTS || answered < REQUESTS || !credit {
            let mut requests = 0;
            while let Some(message) = from.pop() {
                match message {
                    Message::Request => requests += 1,
                    Message::Reply => credit = true,
                }
            }
            if !matches!(bug, Bug::SlotsNotRecycled | Bug::SlotsRecycledLate) {
                from.recycle();
            }
            if credit && sent < REQUESTS {
                credit = false;
                sent += 1;
                to.push(Message::Request);
            }
            (0..requests).for_each(|_| to.push(Message::Reply));
            answered += requests;
            if !to.publish() {
                thread::yield_now();
            }
            if bug == Bug::SlotsRecycledLate {
                from.recycle();
            }
        }
    }
    sync::has_credits(true);
    check(2, move || {
        let ((to, at_peer), (of_peer, from)) = (channel(2), channel(2));
        let peer = thread::spawn(move || run(of_peer, at_peer, bug));
        run(to, from, bug);
        peer.join().unwrap();
    });
    sync::has_credits(false);
}

/// State that a sleeping core and its senders share.
struct Core {
    parker: Parker,
    event: WakeEvent,
}

impl Core {
    fn new() -> Arc<Self> {
        Arc::new(Self { parker: Parker::new(), event: WakeEvent::new() })
    }

    /// A sender's turn, like `Mesh::flush`.
    fn send(&self, sender: &mut Sender<usize>, item: usize, bug: Bug) {
        sender.push(item);
        if bug == Bug::WakeBeforePublish {
            let needs_wake = self.parker.needs_wake();
            sender.publish();
            if needs_wake {
                self.event.signal();
            }
        } else if sender.publish() && self.parker.needs_wake() {
            self.event.signal();
        }
    }

    /// Takes `items` items and sleeps while there are none. If a wake is lost it sleeps for ever,
    /// which loom reports.
    fn take(&self, receivers: &mut [Receiver<usize>], mut items: usize, bug: Bug) {
        loop {
            for receiver in receivers.iter_mut() {
                while receiver.pop().is_some() {
                    items -= 1;
                }
                receiver.recycle();
            }
            if items == 0 {
                return;
            }
            let is_idle = || bug == Bug::NoRecheck || receivers.iter().all(Receiver::is_empty);
            let sleeps = if bug == Bug::SleepWithoutMark {
                is_idle()
            } else {
                self.parker.try_park(is_idle)
            };
            if sleeps {
                self.event.sleep();
                self.parker.unpark();
            }
        }
    }
}

/// A parking core takes two items of one sender.
fn one_sender(bug: Bug) {
    check(3, move || {
        let (core, (mut sender, receiver)) = (Core::new(), channel(2));
        let peer = core.clone();
        let sends =
            thread::spawn(move || (0..2).for_each(|item| peer.send(&mut sender, item, bug)));
        core.take(&mut [receiver], 2, bug);
        sends.join().unwrap();
    });
}

/// A parking core takes one item of each of two senders: a sender that finds the core already
/// unparked relies on the other's wake.
fn two_senders(bug: Bug) {
    check(2, move || {
        let core = Core::new();
        let mut receivers = Vec::new();
        let mut sends = Vec::new();
        for item in 0..2 {
            let (mut sender, receiver) = channel(1);
            let peer = core.clone();
            sends.push(thread::spawn(move || peer.send(&mut sender, item, bug)));
            receivers.push(receiver);
        }
        core.take(&mut receivers, 2, bug);
        sends.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
