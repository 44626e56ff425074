//! Hand-written code against the best maintained library for the same task: time, and memory where
//! memory is the reason.
//!
//! `cargo bench --bench by_hand -- [filter]`. Row `ours` is the code of the server, every other row
//! is named after its library. All rows of a group give the same result, which is checked against
//! one that was computed another way. A time is that of one iteration of the loop; a group with a
//! count in its name does that many operations per iteration. Sizes, longest pauses and round
//! trips between two cores are printed in front of the rows. Under `cargo test` each row runs once,
//! over little data.
//!
//! Private modules of the server are compiled a second time, from their files.

#[allow(dead_code, reason = "the micro bench uses more of it")]
#[path = "../common/mod.rs"]
mod common;
mod histogram;
mod index;
mod json;
mod packing;
mod queue;
mod sonic;
mod sorting;

use criterion::{Criterion, criterion_group};
// The private modules name these from the root of their crate.
use purser::{engine, journal, ledger, prefetch};

#[global_allocator]
static ALLOCATOR: engine::arena::Allocator = engine::arena::Allocator;

/// Whether the filters of the command line can select rows of a group, so that its data is needed.
/// A filter begins with the name of a group.
fn is_asked(group: &str) -> bool {
    let mut filters =
        std::env::args().skip(1).filter(|arg| arg.starts_with(|c: char| c.is_ascii_alphabetic()));
    let fits = |filter: &String| filter.starts_with(group) || group.starts_with(&**filter);
    filters.next().is_none_or(|first| fits(&first) || filters.any(|filter| fits(&filter)))
}

criterion_group! {
    name = by_hand;
    config = common::configured();
    targets = json::entry_lines, json::batch_bodies, json::balance_answers, packing::varints,
        packing::rows, index::look_ups, index::growth, histogram::histograms,
        queue::queues, sorting::sorts
}

fn main() {
    by_hand();
    Criterion::default().configure_from_args().final_summary();
}
