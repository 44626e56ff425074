//! Part benches: the cost of each part of a request on one core without sockets (parse, look up,
//! answer, apply), and of persistence without a disk (record, checksum, snapshot, recovery).
//!
//! `cargo bench --bench micro -- [filter]`. Every row checks at least once what it measures,
//! against bytes computed another way. A time is that of one iteration of the loop; a row with a
//! count in its name does that many operations per iteration. Under `cargo test` each row runs
//! once, over a small population.

#![allow(clippy::items_after_statements, reason = "a constant stands beside its use")]

mod common;

use common::machine::Machine;
use common::memory_disk::{self, MemoryDisk, PLACE};
use common::population::{DATE, NOW, Population, Posted, batch_body, mix, user_id};
use common::{configured, is_timed};
use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group};
use purser::api::answer;
use purser::api::read::{Read, What};
use purser::http::date::DateLine;
use purser::http::head;
use purser::http::request::Method;
use purser::journal::frame::{self, FrameBuffer, HEADER_BYTES, MAX_WRITE_BYTES};
use purser::journal::{Place, record};
use purser::ledger::entry::Verdict;
use purser::ledger::id::UserId;
use purser::ledger::time::Millis;
use purser::ledger::user::RowSource;
use purser::slice::disk::{Done, Task};
use purser::slice::snapshot::Scan;
use purser::slice::{NoLog, Slice, StepOutcome};
use std::cell::{LazyCell, RefCell};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: purser::engine::arena::Allocator = purser::engine::arena::Allocator;

/// Requests that a row cycles through: more users than a core's private caches hold.
const ROUND: u64 = 1 << 16;
const PIPELINED: usize = 16;
const BATCH: u64 = 100;
const LINES: u64 = 1_000;

const SHORT: &[u8] = b"GET /v1/users/42/balance HTTP/1.1\r\nHost: localhost:8080\r\n\r\n";
const SIX_HEADERS: &[u8] =
    b"GET /v1/users/1234567890123456789/stats?window=7d&currency=COIN HTTP/1.1\r\n\
    Host: wallet.internal:8080\r\nUser-Agent: gateway/4.2 (linux)\r\nAccept: application/json\r\n\
    Accept-Encoding: gzip, br\r\n\
    Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    Connection: keep-alive\r\n\r\n";

/// A population of 100,000 users, or 20,000 if nothing is timed.
fn population() -> Population {
    Population { users: if is_timed() { 100_000 } else { 20_000 } }
}

/// Uniformly random users, the same in every run.
fn random_users(population: Population) -> impl Iterator<Item = u64> {
    (0..ROUND).map(move |n| mix(n) % population.users)
}

fn request_parse(criterion: &mut Criterion) {
    assert_eq!(SHORT.len(), 59);
    let mut group = criterion.benchmark_group("request");
    for (name, text, path) in [
        ("parse_59_bytes", SHORT, "/v1/users/42/balance"),
        ("parse_6_headers", SIX_HEADERS, "/v1/users/1234567890123456789/stats"),
    ] {
        let (parsed, len) = head::parse(text, &mut 0).expect("well-formed").expect("whole");
        assert_eq!((parsed.method, parsed.target.path, len), (Method::Get, path, text.len()));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| head::parse(black_box(text), &mut 0)));
    }
    group.finish();
}

/// Header line of a user's answers.
const NO_CACHE: &str = "cache-control: no-cache\r\n";

/// A whole 200 answer; `lines` are header lines, each with its CRLF.
fn whole_answer(lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: {DATE}\r\n\
         {lines}content-length: {length}\r\n\r\n{body}"
    )
}

fn balance_answer(population: Population, user: u64) -> String {
    let body = population.balance(user);
    let version = body
        .split_once("\"version\":")
        .and_then(|(_, rest)| rest.split_once(','))
        .expect("a version")
        .0;
    whole_answer(&format!("{NO_CACHE}etag: \"v{version}\"\r\n"), &body)
}

/// The request that reads `what` of a user.
fn get(user: u64, what: &str) -> String {
    format!("GET /v1/users/{}/{what} HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", user_id(user))
}

/// Sends requests of equal `width`, cycling through `requests`.
fn run_requests(b: &mut Bencher<'_>, machine: &mut Machine, requests: &[u8], width: usize) {
    let mut round = requests.chunks_exact(width).cycle();
    b.iter(|| {
        let bytes = round.next().expect("a cycle has no end");
        machine.exchange(bytes, |sent| {
            black_box(sent);
        })
    });
}

fn reads(criterion: &mut Criterion) {
    let population = population();
    let mut machine = population.machine();
    let users: Vec<u64> = random_users(population).collect();
    let requests =
        |what| users.iter().map(|&user| get(user, what)).collect::<String>().into_bytes();
    let (balances, stats) = (requests("balance"), requests("stats?window=7d"));
    let width = |requests: &[u8]| requests.len() / users.len();
    let first = |requests: &[u8], count: usize| requests[..count * width(requests)].to_vec();

    let expected: Vec<String> =
        users[..PIPELINED].iter().map(|&user| balance_answer(population, user)).collect();
    let expected_stats = whole_answer(NO_CACHE, &population.stats(users[0]));
    assert_eq!(String::from_utf8_lossy(&machine.answer(&first(&balances, 1))), expected[0]);
    assert_eq!(
        String::from_utf8_lossy(&machine.answer(&first(&balances, PIPELINED))),
        expected.concat()
    );
    assert_eq!(String::from_utf8_lossy(&machine.answer(&first(&stats, 1))), expected_stats);

    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Elements(1));
    group.bench_function("balance", |b| run_requests(b, &mut machine, &balances, width(&balances)));
    group.bench_function("stats_7d", |b| run_requests(b, &mut machine, &stats, width(&stats)));
    group.throughput(Throughput::Elements(PIPELINED as u64));
    group.bench_function("balance_16_pipelined", |b| {
        run_requests(b, &mut machine, &balances, width(&balances) * PIPELINED);
    });
    group.finish();
}

fn batch_answer(population: Population, users: &[u64]) -> String {
    let item = |(place, &user): (usize, &u64)| match place % 4 {
        3 => population.stats(user),
        _ => population.balance(user),
    };
    let items: Vec<String> = users.iter().enumerate().map(item).collect();
    whole_answer("", &format!(r#"{{"responses":[{}]}}"#, items.join(",")))
}

fn post(path: &str, media: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "Host: localhost:8080\r\nContent-Type: ";
    format!("POST {path} HTTP/1.1\r\n{head}{media}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The request of a batch.
fn batch_post(users: &[u64]) -> Vec<u8> {
    post("/v1/batch", "application/json", &batch_body(users))
}

fn batches(criterion: &mut Criterion) {
    let population = population();
    let mut machine = population.machine();
    let users: Vec<u64> = random_users(population).collect();
    let posts: Vec<Vec<u8>> = users.chunks_exact(BATCH as usize).map(batch_post).collect();
    let sent = machine.answer(&posts[0]);
    assert_eq!(String::from_utf8_lossy(&sent), batch_answer(population, &users[..BATCH as usize]));

    let mut group = criterion.benchmark_group("answer");
    group.throughput(Throughput::Elements(BATCH));
    let width = posts[0].len();
    group.bench_function("batch_100", |b| run_requests(b, &mut machine, &posts.concat(), width));
    group.finish();
}

/// New entries, a thousand at a time; the clock advances with their times.
struct Fresh {
    population: Population,
    next: u64,
}

impl Fresh {
    fn new(population: Population) -> Self {
        Self { population, next: population.history() }
    }

    fn take(&mut self) -> (Millis, Vec<Posted>) {
        let entries: Vec<Posted> =
            (self.next..self.next + LINES).map(|n| self.population.entry(n)).collect();
        self.next += LINES;
        (Millis(entries[entries.len() - 1].at_ms), entries)
    }

    /// Takes a thousand entries as a feed request.
    fn take_post(&mut self) -> (Millis, Vec<u8>) {
        let (now, entries) = self.take();
        let mut body = String::new();
        entries.iter().for_each(|posted| posted.write_line(&mut body));
        (now, post("/v1/entries", "application/x-ndjson", &body))
    }
}

/// Number of `entries` that get `verdict` from the ledger.
fn apply(slice: &mut Slice, now: Millis, entries: &[Posted], verdict: Verdict) -> usize {
    entries
        .iter()
        .filter(|posted| slice.apply(now, &posted.as_entry(), &mut NoLog).1 == verdict)
        .count()
}

fn ledger(criterion: &mut Criterion) {
    let population = population();
    let (mut slice, mut fresh) = (population.slice(), Fresh::new(population));
    let (now, entries) = fresh.take();
    assert_eq!(apply(&mut slice, now, &entries, Verdict::Accepted), entries.len());
    assert_eq!(apply(&mut slice, now, &entries, Verdict::Duplicate), entries.len());
    assert_eq!(slice.book().entries(), population.history() + LINES, "duplicates are not booked");

    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("duplicate_1000", |b| {
        b.iter(|| {
            assert_eq!(
                apply(&mut slice, now, black_box(&entries), Verdict::Duplicate),
                entries.len()
            );
        });
    });
    group.bench_function("apply_1000", |b| {
        b.iter_batched(
            || fresh.take(),
            |(now, entries)| {
                assert_eq!(apply(&mut slice, now, &entries, Verdict::Accepted), entries.len());
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn feed(criterion: &mut Criterion) {
    let population = population();
    let (mut machine, mut fresh) = (population.machine(), Fresh::new(population));
    let body = format!(r#"{{"accepted":{LINES},"duplicates":0,"rejected":0,"results":[]}}"#);
    let mut expected = whole_answer("", &body).into_bytes();
    let date_at =
        expected.windows(6).position(|six| six == b"date: ").expect("an answer has a date") + 6;
    let mut dates = DateLine::new();
    let mut sent = Vec::new();
    let mut group = criterion.benchmark_group("feed");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("lines_1000", |b| {
        b.iter_batched_ref(
            || fresh.take_post(),
            |(now, post)| {
                machine.set_now(*now);
                expected[date_at..date_at + 29].copy_from_slice(dates.at(now.0 / 1_000));
                sent.clear();
                machine.exchange(post, |piece| sent.extend_from_slice(piece));
                assert_eq!(sent, expected);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let population = Population { users: 1_000 };
    let posted: Vec<Posted> = (0..LINES).map(|n| population.entry(n)).collect();
    let entries: Vec<_> = posted.iter().map(Posted::as_entry).collect();
    let write = |out: &mut Vec<u8>| {
        out.clear();
        entries
            .iter()
            .zip(1..)
            .for_each(|(entry, version)| record::write(out, black_box(entry), version));
    };
    let mut out = Vec::new();
    write(&mut out);
    let mut rest = &out[..];
    for (entry, version) in entries.iter().zip(1..) {
        assert_eq!(record::decode(&mut rest), Some((*entry, version)));
    }
    assert!(rest.is_empty(), "nothing follows the last record");

    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("record_write_1000", |b| b.iter(|| write(&mut out)));

    // The payload fills whole blocks, so sealing does not change the length and can be repeated.
    const SALT: u64 = 1;
    let mut block = FrameBuffer::with_capacity(MAX_WRITE_BYTES);
    let payload_bytes = MAX_WRITE_BYTES - HEADER_BYTES;
    let payload: Vec<u8> = out.iter().copied().cycle().take(payload_bytes).collect();
    block.payload().extend_from_slice(&payload);
    let mut number = 0;
    let mut seal = |block: &mut FrameBuffer| {
        number += 1;
        black_box(block.seal(frame::Kind::Write, PLACE, SALT, number))
    };
    seal(&mut block);
    let crc = seal(&mut block);
    let sealed = frame::decode(block.bytes(), PLACE, SALT).expect("a whole frame");
    assert_eq!((sealed.number, sealed.crc, sealed.payload), (2, crc, &payload[..]));
    group.throughput(Throughput::Bytes(MAX_WRITE_BYTES as u64));
    group.bench_function("seal_256_kib", |b| b.iter(|| seal(&mut block)));
    group.finish();
}

/// Completes every task of a scan and discards its data.
fn take(task: Task) -> Option<Done> {
    Some(match task {
        Task::Create { snapshot } => Done::Created { snapshot, buffers: Some(Vec::new()) },
        Task::Write { file, block, .. } => {
            Done::Written { file, block: black_box(block), ok: true }
        }
        Task::Sync { snapshot } => Done::Synced { snapshot, ok: true },
        other => unreachable!("a scan starts no such task: {other:?}"),
    })
}

/// Rows over a million users, most of them in no cache; 20,000 if nothing is timed. Users are
/// created when a row runs.
fn snapshots(criterion: &mut Criterion) {
    let population = Population { users: if is_timed() { 1_000_000 } else { 20_000 } };
    let slice = LazyCell::new(|| RefCell::new(population.slice()));
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    group.throughput(Throughput::Elements(population.users));
    group.bench_function("scan_all_users", |b| {
        let slice = &mut slice.borrow_mut();
        b.iter(|| memory_disk::scan(slice, take).bytes());
    });
    group.throughput(Throughput::Elements(1));
    let mut longest = Duration::ZERO;
    group.bench_function("step", |b| steps(b, &mut slice.borrow_mut(), &mut longest));
    if longest > Duration::ZERO {
        println!("longest step: {longest:.1?}");
    }
    group.throughput(Throughput::Elements(population.users));
    let disk = LazyCell::new(|| MemoryDisk::snapshot(&mut slice.borrow_mut()));
    group.bench_function("recover", |b| recoveries(b, &disk, population, true));
    group.finish();
}

/// Runs scan steps over all users again and again; `longest` is the duration of the longest step.
fn steps(b: &mut Bencher<'_>, slice: &mut Slice, longest: &mut Duration) {
    let mut tasks = VecDeque::new();
    let begin = |tasks: &mut VecDeque<Task>| {
        Scan::begin(Place { file: 1, ..PLACE }, 1, &mut |task| tasks.push_back(task))
    };
    let mut scan = begin(&mut tasks);
    b.iter_custom(|times| {
        let all = Instant::now();
        for _ in 0..times {
            if scan.progress() == Ok(StepOutcome::Done) {
                scan = begin(&mut tasks);
            }
            let one = Instant::now();
            memory_disk::step(&mut scan, slice, &mut tasks, &mut take);
            *longest = one.elapsed().max(*longest);
        }
        all.elapsed()
    });
}

/// Recovers `disk` again and again; checks the first recovery's result.
fn recoveries(b: &mut Bencher<'_>, disk: &MemoryDisk, population: Population, is_snapshot: bool) {
    let (slice, report) = disk.recover();
    let from_log = if is_snapshot { 0 } else { population.history() };
    assert_eq!(
        (report.users, report.replayed),
        (population.users * u64::from(is_snapshot), from_log)
    );
    assert_eq!(
        (slice.book().users() as u64, slice.book().entries()),
        (population.users, population.history())
    );
    let mut body = Vec::new();
    let read = Read { user: UserId::Number(user_id(7)), currency: None, what: What::Balance };
    let (_, view) = slice.view(read.user);
    let rows = &mut RowSource::Now { bytes_left: usize::MAX };
    answer::write(&mut body, view.expect("a known user"), &read, NOW, rows);
    assert_eq!(String::from_utf8_lossy(&body), population.balance(7));
    drop(slice);
    b.iter_batched(|| (), |()| disk.recover(), BatchSize::PerIteration);
}

fn logs(criterion: &mut Criterion) {
    let population = population();
    let disk = LazyCell::new(|| MemoryDisk::log(population));
    let mut group = criterion.benchmark_group("log");
    group.sample_size(10);
    group.throughput(Throughput::Elements(population.history()));
    group.bench_function("recover", |b| recoveries(b, &disk, population, false));
    group.finish();
}

criterion_group! {
    name = micro;
    config = configured();
    targets = request_parse, reads, batches, ledger, feed, journal, snapshots, logs
}

fn main() {
    micro();
    Criterion::default().configure_from_args().final_summary();
}
