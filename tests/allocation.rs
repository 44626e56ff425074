//! No allocation per read once warm: counted by the allocator of this test's own binary, which is why it is one of its own.

mod desk;

use desk::{TestDesk, Wire, get, post};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Relaxed: a count, read by the thread that made it.
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Relaxed: as above.
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USERS: u64 = 200;
const NOW_MS: u64 = 1_763_900_000_000;

/// Users of one to twenty groups, in one to four currencies, over forty days.
fn fill(desk: &mut TestDesk, wire: &mut Wire) {
    desk.now_ms = NOW_MS;
    let mut body = String::new();
    for n in 0..USERS * 20 {
        let (user, turn) = (n % USERS, n / USERS);
        let at_ms = NOW_MS - (20 - turn) * 48 * 3_600_000;
        let (currency, kind) = (["USD", "EUR", "COIN", "GEM"][(user % 4 * turn % 4) as usize], turn % (1 + user % 20));
        writeln!(
            body,
            r#"{{"entry_id":"{n}","user_id":"{user}","currency":"{currency}","kind":"k{kind}","direction":"credit","amount":{n},"at_ms":{at_ms}}}"#
        )
        .unwrap();
    }
    let answer = wire.ask(desk, &post("/v1/entries", "application/x-ndjson", body.as_bytes()));
    assert!(answer.body.starts_with(&format!("{{\"accepted\":{}", USERS * 20)), "{}", answer.body);
}

/// The reads that are measured: all routes of reads, hits and misses, alone, pipelined and split.
fn requests() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut pipeline = Vec::new();
    let mut items = String::new();
    for user in 0..USERS + 5 {
        all.push(get(&format!("/v1/users/{user}/balance")));
        all.push(get(&format!("/v1/users/{user}/balance?currency=COIN")));
        all.push(get(&format!("/v1/users/{user}/stats?window=30d&kind=k1")));
        all.push(get(&format!("/v1/users/{user}/stats?window=lifetime")));
        let conditional =
            format!("HEAD /v1/users/{user}/balance HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"v20\"\r\n\r\n");
        all.push(conditional.into_bytes());
        pipeline.extend(get(&format!("/v1/users/{user}/stats?window=400d&kind=k0")));
        write!(items, r#"{}{{"user_id":"{user}","read":"balance"}}"#, if user > 0 { "," } else { "" }).unwrap();
    }
    all.push(pipeline);
    all.push(post("/v1/batch", "application/json", format!(r#"{{"requests":[{items}]}}"#).as_bytes()));
    all.push(get("/healthz"));
    all
}

#[test]
fn a_warm_read_allocates_nothing() {
    let (mut desk, mut wire) = (TestDesk::new(), Wire::default());
    fill(&mut desk, &mut wire);
    let requests = requests();
    let mut round = |split: usize| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for request in &requests {
            let (first, second) = request.split_at(request.len().min(split));
            wire.send(&mut desk, first);
            wire.send(&mut desk, second);
            wire.out.bytes.clear();
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    let cold = round(20) + round(usize::MAX);
    assert!(cold > 0, "the counter counts");
    assert_eq!(
        (round(usize::MAX), round(20), round(usize::MAX)),
        (0, 0, 0),
        "allocations of whole, split and whole requests"
    );
    assert!(desk.answered > 3_000, "every request was answered");
}
