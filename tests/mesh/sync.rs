//! Loom's atomics and cell under the names of `src/engine/sync.rs`, with two additions.
//!
//! Each `Ordering` that is stronger than `Relaxed` can be weakened, by its line: a model must then fail, or the order was for nothing.
//!
//! A push into a full queue is a fault; the credits of an exchange see to it that there is none. They order memory as well, and so would hide what
//! the queue forgets. So here a push waits until there is room, by nothing but its own look at the other end, unless the model has credits.

use loom::sync::atomic;
use std::cell::Cell;
use std::panic::Location;

pub use loom::cell::UnsafeCell;
pub use loom::sync::Arc;
pub use loom::sync::atomic::{AtomicBool, Ordering};

const TEXT: &str = include_str!("../../src/engine/spsc.rs");

thread_local! {
    // All threads of a model run on the one that runs the test.
    static WEAKENED: Cell<Option<u32>> = const { Cell::new(None) };
    static HAS_CREDITS: Cell<bool> = const { Cell::new(false) };
}

/// Every line that asks for more than `Relaxed`, and the function that it is in.
pub fn ordered_lines() -> impl Iterator<Item = (u32, &'static str)> {
    let strong = |line: &str| {
        let code = line.split("//").next().unwrap();
        code.contains("Ordering::") && !code.contains("Ordering::Relaxed") && !code.contains("use ")
    };
    (1..).zip(TEXT.lines()).filter(move |(_, line)| strong(line)).map(|(number, _)| (number, function(number)))
}

/// From now on, what a line asks for is weakened to `Relaxed`.
pub fn weaken(line: u32) {
    WEAKENED.set(Some(line));
}

/// Whether whoever pushes knows that there is room.
pub fn has_credits(has: bool) {
    HAS_CREDITS.set(has);
}

/// The function that a line is in.
fn function(line: u32) -> &'static str {
    let before = TEXT.lines().take(line as usize).collect::<Vec<_>>();
    let head = before.iter().rev().find_map(|line| line.split_once("fn ")).expect("code is in functions");
    head.1.split(['(', '<']).next().unwrap()
}

fn order(asked: Ordering, at: &Location<'_>) -> Ordering {
    if WEAKENED.get() == Some(at.line()) { Ordering::Relaxed } else { asked }
}

#[track_caller]
pub fn fence(asked: Ordering) {
    match order(asked, Location::caller()) {
        Ordering::Relaxed => {}
        order => atomic::fence(order),
    }
}

#[derive(Debug)]
pub struct AtomicUsize {
    number: atomic::AtomicUsize,
    /// What a push has seen here.
    known: Cell<usize>,
}

impl AtomicUsize {
    pub fn new(number: usize) -> Self {
        Self { number: atomic::AtomicUsize::new(number), known: Cell::new(number) }
    }

    #[track_caller]
    pub fn load(&self, asked: Ordering) -> usize {
        let at = Location::caller();
        let order = order(asked, at);
        if HAS_CREDITS.get() || function(at.line()) != "push" {
            return self.number.load(order);
        }
        loop {
            let number = self.number.load(order);
            if self.known.replace(number) != number {
                return number;
            }
            loom::thread::yield_now();
        }
    }

    #[track_caller]
    pub fn store(&self, number: usize, asked: Ordering) {
        self.number.store(number, order(asked, Location::caller()));
    }
}
