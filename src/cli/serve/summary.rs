//! Final report: what was answered, how long turns took, what was written.

use super::super::text::print_unless_blocked;
use crate::engine::control::Command;
use crate::engine::cores::Ended;
use crate::metrics::{Counters, Histogram};
use crate::server::machine::Machine;
use crate::slice::Slice;
use crate::slice::store::Counts;

/// Prints the report of cores that were ended by `command`, and how many lines of the log were
/// dropped.
pub fn print_summary(ended: &[Ended], command: Command, dropped_lines: usize) {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let (mut users, mut bytes, mut counters, mut store) =
        (0, 0, Counters::default(), Counts::default());
    let mut slices = 0;
    for (server, counted) in ended {
        for book in server.slices().map(Slice::book) {
            (slices, users, bytes) = (slices + 1, users + book.users(), bytes + book.bytes());
        }
        counters.add(server.counters());
        counters.add(counted);
        store.add(&server.store_counts());
    }
    let how = if command == Command::Stop { "stopped" } else { "drained" };
    line(&format!(
        "{how}: {} answers ({} of them 4xx, {} 5xx) on {} connections; {} entries accepted, \
         {} duplicates, {} rejected; \
         {users} users in {} MiB",
        counters.answers_total(),
        counters.answers_of_class(4),
        counters.answers_of_class(5),
        counters.connections,
        counters.accepted,
        counters.duplicates,
        counters.rejected,
        bytes >> 20,
    ));
    let us = |histogram: &Histogram, share| histogram.per_mille(share) as f64 / 1e3;
    let (turns, sends) = (&counters.turns, &counters.sends);
    line(&format!(
        "turns: {}; p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, longest {:.1} us; \
         received to sent, at most: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
        turns.count(),
        us(turns, 500),
        us(turns, 990),
        us(turns, 999),
        turns.largest() as f64 / 1e3,
        us(sends, 500),
        us(sends, 990),
        us(sends, 999),
    ));
    if counters.spilled_bytes > 0 {
        line(&format!(
            "memory: {} MiB were allocated from the common heap because arenas were full",
            counters.spilled_bytes >> 20
        ));
    }
    if slices > 1 {
        let (remote_requests, ms) = (counters.remote_requests, counters.spun_ns / 1_000_000);
        line(&format!(
            "between cores: {remote_requests} requests; {ms} ms of CPU time spinning for replies"
        ));
    }
    if store.writes > 0 {
        line(&format!(
            "log: {} writes, {} segments begun, {} snapshots completed, {} failed",
            store.writes, store.segments, store.snapshots, store.failed_snapshots
        ));
    }
    if dropped_lines > 0 {
        line(&format!(
            "standard error: {dropped_lines} lines were dropped, because nobody took them"
        ));
    }
    print_unless_blocked(text);
}
