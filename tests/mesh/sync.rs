//! Loom's atomics and cell under the names of `src/engine/sync.rs`, with two additions.
//!
//! - Each `Ordering` stronger than `Relaxed` can be weakened by its source [line](Line). A model
//!   must then fail, or the ordering was not needed.
//! - A push without credits waits for a free slot. In the engine credits rule out a push into a
//!   full queue, but credits also order memory and would hide a missing ordering of the queue. So
//!   here a push waits, using only its own load of the other end's index, unless the model has
//!   credits.

use loom::sync::atomic;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::path::Path;

pub use loom::cell::UnsafeCell;
pub use loom::sync::Arc;
pub use loom::sync::atomic::{AtomicBool, Ordering};

/// The sources under test, by file name.
const SOURCES: [(&str, &str); 2] = [
    ("queue.rs", include_str!("../../src/engine/queue.rs")),
    ("parking.rs", include_str!("../../src/engine/parking.rs")),
];

thread_local! {
    // Loom runs all threads of a model on the test's thread.
    static WEAKENED: Cell<Option<Line>> = const { Cell::new(None) };
    static HAS_CREDITS: Cell<bool> = const { Cell::new(false) };
}

/// A line of a source, shown as `queue.rs:93`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line {
    file: &'static str,
    text: &'static str,
    number: u32,
}

impl Line {
    /// The source line of a call at `at`.
    fn at(at: &Location<'_>) -> Self {
        let name = Path::new(at.file()).file_name().expect("sources are files");
        let (file, text) = SOURCES
            .into_iter()
            .find(|(file, _)| name == *file)
            .expect("only the sources under test call these atomics");
        Self { file, text, number: at.line() }
    }

    /// The function that the line is in.
    pub fn function(&self) -> &'static str {
        let before = self.text.lines().take(self.number as usize).collect::<Vec<_>>();
        let head = before
            .iter()
            .rev()
            .find_map(|line| line.split_once("fn "))
            .expect("code is in functions");
        head.1.split(['(', '<']).next().unwrap()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

/// Every source line with an ordering stronger than `Relaxed`.
pub fn ordered_lines() -> impl Iterator<Item = Line> {
    let strong = |line: &str| {
        let code = line.split("//").next().unwrap();
        code.contains("Ordering::") && !code.contains("Ordering::Relaxed") && !code.contains("use ")
    };
    SOURCES.into_iter().flat_map(move |(file, text)| {
        let numbered = (1..).zip(text.lines()).filter(move |(_, line)| strong(line));
        numbered.map(move |(number, _)| Line { file, text, number })
    })
}

/// Weakens the ordering on a line to `Relaxed` from now on.
pub fn weaken(line: Option<Line>) {
    WEAKENED.set(line);
}

/// Sets whether the model's credits guarantee a free slot for each push.
pub fn has_credits(has: bool) {
    HAS_CREDITS.set(has);
}

fn order(asked: Ordering, at: &Location<'_>) -> Ordering {
    if WEAKENED.get().is_some_and(|line| line == Line::at(at)) { Ordering::Relaxed } else { asked }
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
    /// The value that the last push loaded.
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
        if HAS_CREDITS.get() || Line::at(at).function() != "push" {
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
