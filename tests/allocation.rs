//! Allocation test: a warm read allocates nothing.
//!
//! The global allocator of this binary counts allocations, so the test is a binary of its own.

#[allow(dead_code, reason = "other tests use the rest")]
mod drive;

use drive::cores::Cores;
use drive::{Wire, get, post};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Number of allocations of this thread so far.
fn allocations() -> u64 {
    ALLOCATIONS.get()
}

// SAFETY: every call is passed unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USERS: u64 = 200;
const NOW_MS: u64 = 1_763_900_000_000;

/// A feed for users with one to twenty groups, in one to four currencies, over forty days.
fn feed() -> Vec<u8> {
    let mut body = String::new();
    for n in 0..USERS * 20 {
        let (user, turn) = (n % USERS, n / USERS);
        let at_ms = NOW_MS - (20 - turn) * 48 * 3_600_000;
        let (currency, kind) =
            (["USD", "EUR", "COIN", "GEM"][(user % 4 * turn % 4) as usize], turn % (1 + user % 20));
        writeln!(
            body,
            "{{\"entry_id\":\"{n}\",\"user_id\":\"{user}\",\"currency\":\"{currency}\",\
             \"kind\":\"k{kind}\",\"direction\":\"credit\",\"amount\":{n},\"at_ms\":{at_ms}}}"
        )
        .unwrap();
    }
    post("/v1/entries", "application/x-ndjson", body.as_bytes())
}

/// Start of the answer to the feed.
fn all_accepted() -> String {
    format!("{{\"accepted\":{}", USERS * 20)
}

/// The measured requests: every read route, hits and misses, single, pipelined and in a batch.
fn requests() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut pipeline = Vec::new();
    let mut items = String::new();
    for user in 0..USERS + 5 {
        all.push(get(&format!("/v1/users/{user}/balance")));
        all.push(get(&format!("/v1/users/{user}/balance?currency=COIN")));
        all.push(get(&format!("/v1/users/{user}/stats?window=30d&kind=k1")));
        all.push(get(&format!("/v1/users/{user}/stats?window=lifetime")));
        let conditional = format!(
            "HEAD /v1/users/{user}/balance HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"v20\"\r\n\r\n"
        );
        all.push(conditional.into_bytes());
        pipeline.extend(get(&format!("/v1/users/{user}/stats?window=400d&kind=k0")));
        write!(
            items,
            r#"{}{{"user_id":"{user}","read":"balance"}}"#,
            if user > 0 { "," } else { "" }
        )
        .unwrap();
    }
    all.push(pipeline);
    all.push(post(
        "/v1/batch",
        "application/json",
        format!(r#"{{"requests":[{items}]}}"#).as_bytes(),
    ));
    all.push(get("/healthz"));
    all
}

#[test]
fn a_warm_read_allocates_nothing() {
    let mut wire = Wire::new(NOW_MS);
    let answer = wire.ask(&feed());
    assert!(answer.body.starts_with(&all_accepted()), "{}", answer.body);
    let requests = requests();
    let mut round = |split: usize| {
        let before = allocations();
        for request in &requests {
            let (first, second) = request.split_at(request.len().min(split));
            wire.send(first);
            wire.send(second);
            wire.clear();
        }
        allocations() - before
    };
    let cold = round(20) + round(usize::MAX);
    assert!(cold > 0, "cold rounds allocate, so the counter works");
    assert_eq!(
        (round(usize::MAX), round(20), round(usize::MAX)),
        (0, 0, 0),
        "allocations of whole, split and whole requests"
    );
    assert!(wire.answered() > 3_000, "every request was answered");
}

#[test]
fn a_warm_read_of_another_core_allocates_nothing() {
    const CREDITS: u32 = 16;
    let mut cores = Cores::new(2, CREDITS, NOW_MS);
    let line = cores.connect(0);
    let ask = |cores: &mut Cores, request: &[u8], answer: &mut Vec<u8>| {
        cores.send(line, request);
        // An upper bound: far more turns than any request needs.
        for _ in 0..1_000 {
            if cores.is_idle(line) {
                break;
            }
            cores.turn(0);
            cores.turn(1);
        }
        // Makes durable what the connection's own core has applied.
        cores.turn(0);
        answer.clear();
        answer.append(cores.inbox(line));
        assert!(!answer.is_empty(), "the request is answered");
    };
    let mut answer = Vec::new();
    ask(&mut cores, &feed(), &mut answer);
    assert!(
        String::from_utf8_lossy(&answer).contains(&all_accepted()),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let requests = requests();
    let mut round = || {
        let before = allocations();
        requests.iter().for_each(|request| ask(&mut cores, request, &mut answer));
        allocations() - before
    };
    let cold = round() + round();
    assert!(cold > 0, "cold rounds allocate, so the counter works");
    assert_eq!((round(), round()), (0, 0), "allocations of reads of two cores' users");
    let theirs = cores.slice(1).book().entries();
    assert!(
        (USERS * 5..USERS * 15).contains(&theirs),
        "about half of the users belong to the other core"
    );
}
