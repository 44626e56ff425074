//! The models: a queue that wraps, one that is dropped half full, two cores that keep within their
//! credits, and a core that parks, with one sender and with two.

use super::parking::Parker;
use super::queue::{Receiver, Sender, channel};
use super::sync;
use loom::model::Builder;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a turn goes wrong, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Right,
    /// The sender looks whether the core is parked, and publishes then.
    WakeBeforePublish,
    /// The core does not look at its queues again once it is marked as parked.
    NoSecondLook,
    /// The core sleeps without being marked as parked.
    SleepUnmarked,
    /// Places are never given back.
    PlacesKept,
    /// Answers are shown before the places of their questions are given back.
    PlacesLate,
}

pub const WRONG: [Turn; 5] = [
    Turn::WakeBeforePublish,
    Turn::NoSecondLook,
    Turn::SleepUnmarked,
    Turn::PlacesKept,
    Turn::PlacesLate,
];

pub type Model = fn(Turn);

pub const MODELS: [(&str, Model); 5] = [
    ("wraps", wraps),
    ("is dropped", is_dropped),
    ("one sender", one_sender),
    ("two senders", two_senders),
    ("two cores", two_cores),
];

/// Runs a model through every order of its steps with at most so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A descriptor that a core sleeps on.
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn new() -> Self {
        Self { rung: Mutex::new(false), heard: Condvar::new() }
    }

    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// More items than places, in batches of one and two: each arrives once, in order, and a place is
/// used again only when it is free.
fn wraps(turn: Turn) {
    const ITEMS: usize = 4;
    for places in [1, 2] {
        check(3, move || {
            let (mut sender, mut receiver) = channel::<Box<usize>>(places);
            let sends = thread::spawn(move || {
                for item in 0..ITEMS {
                    sender.push(Box::new(item));
                    if places == 1 || item % 2 == 1 {
                        assert!(sender.publish());
                    }
                }
            });
            let mut next = 0;
            while next < ITEMS {
                match receiver.pop() {
                    Some(item) => {
                        assert_eq!(*item, next, "in order");
                        next += 1;
                    }
                    None => thread::yield_now(),
                }
                if turn != Turn::PlacesKept {
                    receiver.recycle();
                }
            }
            assert!(receiver.pop().is_none() && receiver.is_empty(), "each item once");
            sends.join().unwrap();
        });
    }
}

/// An item that tells that it is dropped.
struct Told(std::sync::Arc<AtomicU32>);

impl Drop for Told {
    fn drop(&mut self) {
        // Relaxed: all threads of a model are one.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whichever end goes first: what was taken, what was not, and what was never shown, is dropped
/// once.
fn is_dropped(_: Turn) {
    check(3, || {
        let dropped = std::sync::Arc::new(AtomicU32::new(0));
        let (mut sender, mut receiver) = channel(4);
        let told = dropped.clone();
        let sends = thread::spawn(move || {
            for item in 0..3 {
                sender.push(Told(told.clone()));
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
enum Parcel {
    Question,
    Answer,
}

/// Two cores ask each other, with one credit each: as `Mesh` has it, twice as many places are
/// always enough, though nobody looks for room.
fn two_cores(turn: Turn) {
    const QUESTIONS: usize = 2;
    fn run(mut to: Sender<Parcel>, mut from: Receiver<Parcel>, turn: Turn) {
        let (mut asked, mut told, mut credit) = (0, 0, true);
        while asked < QUESTIONS || told < QUESTIONS || !credit {
            let mut questions = 0;
            while let Some(parcel) = from.pop() {
                match parcel {
                    Parcel::Question => questions += 1,
                    Parcel::Answer => credit = true,
                }
            }
            if !matches!(turn, Turn::PlacesKept | Turn::PlacesLate) {
                from.recycle();
            }
            if credit && asked < QUESTIONS {
                credit = false;
                asked += 1;
                to.push(Parcel::Question);
            }
            (0..questions).for_each(|_| to.push(Parcel::Answer));
            told += questions;
            if !to.publish() {
                thread::yield_now();
            }
            if turn == Turn::PlacesLate {
                from.recycle();
            }
        }
    }
    sync::has_credits(true);
    check(2, move || {
        let ((to, at_peer), (of_peer, from)) = (channel(2), channel(2));
        let peer = thread::spawn(move || run(of_peer, at_peer, turn));
        run(to, from, turn);
        peer.join().unwrap();
    });
    sync::has_credits(false);
}

/// What the two sides of a sleep share.
struct Core {
    parker: Parker,
    bell: Bell,
}

impl Core {
    fn new() -> Arc<Self> {
        Arc::new(Self { parker: Parker::new(), bell: Bell::new() })
    }

    /// A turn of who sends: as `Mesh::flush`.
    fn send(&self, sender: &mut Sender<usize>, item: usize, turn: Turn) {
        sender.push(item);
        if turn == Turn::WakeBeforePublish {
            let needs_wake = self.parker.needs_wake();
            sender.publish();
            if needs_wake {
                self.bell.ring();
            }
        } else if sender.publish() && self.parker.needs_wake() {
            self.bell.ring();
        }
    }

    /// Takes so many items, and sleeps while there are none. Who is not woken sleeps for ever, and
    /// the model says so.
    fn take(&self, receivers: &mut [Receiver<usize>], mut items: usize, turn: Turn) {
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
            let is_idle = || turn == Turn::NoSecondLook || receivers.iter().all(Receiver::is_empty);
            let sleeps =
                if turn == Turn::SleepUnmarked { is_idle() } else { self.parker.try_park(is_idle) };
            if sleeps {
                self.bell.sleep();
                self.parker.unpark();
            }
        }
    }
}

/// A core that parks takes two items of one sender.
fn one_sender(turn: Turn) {
    check(3, move || {
        let (core, (mut sender, receiver)) = (Core::new(), channel(2));
        let peer = core.clone();
        let sends =
            thread::spawn(move || (0..2).for_each(|item| peer.send(&mut sender, item, turn)));
        core.take(&mut [receiver], 2, turn);
        sends.join().unwrap();
    });
}

/// A core that parks takes an item of each of two senders: the sender that finds it unparked
/// already relies on the other.
fn two_senders(turn: Turn) {
    check(2, move || {
        let core = Core::new();
        let mut receivers = Vec::new();
        let mut sends = Vec::new();
        for item in 0..2 {
            let (mut sender, receiver) = channel(1);
            let peer = core.clone();
            sends.push(thread::spawn(move || peer.send(&mut sender, item, turn)));
            receivers.push(receiver);
        }
        core.take(&mut receivers, 2, turn);
        sends.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
