//! Runs a bench row a fixed number of times, for a tool that counts instructions: `parts --count
//! ROW TIMES`.
//!
//! Criterion chooses its own number of iterations, so instruction counts of two runs cannot be
//! compared. Here everything that is not measured (users, requests, the entries of a feed) is made
//! first; then [`go_round`] sends the requests and does nothing else. It is never inlined, so that
//! a tool can count instructions inside it alone:
//!
//! ```text
//! cargo bench --bench parts --no-run     # prints the path of the binary
//! valgrind --tool=callgrind --collect-atstart=no '--toggle-collect=*count::go_round*' \
//!     target/release/deps/parts-… --count answer/balance 10000
//! ```
//!
//! Equal binaries give equal counts: users, requests and hashes depend only on the row.

use crate::common::machine::Machine;
use crate::common::population::{NOW, Population};
use crate::{BATCH, Fresh, batch_post, get, random_users};
use purser::ledger::time::Millis;
use std::hint::black_box;

/// More users than a core's private caches hold, and few enough to create under an emulator.
const POPULATION: Population = Population { users: 20_000 };

/// Rows that can be counted; the names are those of the timed rows.
const ROWS: [&str; 4] =
    ["answer/balance", "answer/stats_7d", "answer/batch_100", "feed/lines_1000"];

/// Wall clock and request bytes of one step.
type Turn = (Millis, Vec<u8>);

/// Runs the row of `--count ROW TIMES`. Returns whether the command line has that flag.
pub fn run() -> bool {
    let mut typed = std::env::args().skip_while(|argument| argument != "--count");
    if typed.next().is_none() {
        return false;
    }
    let row = typed.next().unwrap_or_default();
    let times = typed.next().and_then(|times| times.parse().ok());
    let (Some(turns), Some(times)) = (turns(&row, times.unwrap_or(0)), times) else {
        panic!("usage: --count ROW TIMES, with ROW one of {ROWS:?}")
    };
    let mut machine = POPULATION.machine();
    let sent = go_round(&mut machine, &turns, times);
    println!("{row}: {times} times, {sent} bytes sent");
    true
}

/// Makes the turns of a row, at least one; `None` if there is no such row.
fn turns(row: &str, times: usize) -> Option<Vec<Turn>> {
    let users: Vec<u64> = random_users(POPULATION).collect();
    let reads = |what| users.iter().map(|&user| (NOW, get(user, what).into_bytes())).collect();
    match row {
        "answer/balance" => Some(reads("balance")),
        "answer/stats_7d" => Some(reads("stats?window=7d")),
        "answer/batch_100" => {
            Some(users.chunks_exact(BATCH as usize).map(|users| (NOW, batch_post(users))).collect())
        }
        // An entry is accepted only once, so every iteration needs its own body.
        "feed/lines_1000" => {
            let mut fresh = Fresh::new(POPULATION);
            Some((0..times.max(1)).map(|_| fresh.take_post()).collect())
        }
        _ => None,
    }
}

/// Sends `times` turns, cycling through `turns`. Returns the number of answer bytes.
#[inline(never)]
fn go_round(machine: &mut Machine, turns: &[Turn], times: usize) -> usize {
    let mut sent = 0;
    for (now, bytes) in turns.iter().cycle().take(times) {
        machine.set_now(*now);
        machine.exchange(bytes, |piece| sent += black_box(piece).len());
    }
    sent
}
