//! JSON: the readers of a feed line and of a batch, and the writer of a balance, against
//! `sonic-rs`.

use super::common::population::{NOW, Population, batch_body, user_id};
use super::sonic;
use criterion::{Criterion, Throughput};
use purser::api::entry::{self, LineScratch};
use purser::api::read::{Read, Reads, What};
use purser::api::{answer, batch};
use purser::ledger::id::UserId;
use purser::ledger::user::RowSource;
use std::hint::black_box;

/// Users of a batch.
const BATCH: u64 = 100;

pub fn entry_lines(criterion: &mut Criterion) {
    let posted = Population { users: 1_000 }.entry(4_321);
    let mut line = String::new();
    posted.write_line(&mut line);
    let line = line.trim_end().as_bytes();
    let rival = || sonic_rs::from_slice::<sonic::Line<'_>>(black_box(line)).expect("a good line");
    let mut scratch = LineScratch::EMPTY;
    assert_eq!(entry::parse(line, &mut scratch).entry, Ok(posted.as_entry()));
    assert_eq!(rival().posted(), Some(posted.as_entry()));

    let mut group = criterion.benchmark_group("json/read_entry");
    group.throughput(Throughput::Bytes(line.len() as u64));
    let mut scratch = LineScratch::EMPTY;
    group.bench_function("ours", |b| {
        b.iter(|| black_box(entry::parse(black_box(line), &mut scratch)).entry.is_ok());
    });
    group.bench_function("sonic-rs", |b| b.iter(rival));
    group.bench_function("sonic-rs_and_values", |b| {
        b.iter(|| black_box(rival().posted()).is_some());
    });
    group.finish();
}

pub fn batch_bodies(criterion: &mut Criterion) {
    let users: Vec<u64> = (0..BATCH).collect();
    let body = batch_body(&users).into_bytes();
    let rival = || sonic_rs::from_slice::<sonic::Batch<'_>>(black_box(&body)).expect("a good body");
    let rival_reads = |reads: &mut Reads| {
        reads.clear();
        let items = rival().requests;
        items.iter().for_each(|item| reads.push(item.read().expect("a good item")));
    };
    let (mut reads, mut theirs) = (Reads::default(), Reads::default());
    batch::parse(&body, &mut reads).expect("a good body");
    rival_reads(&mut theirs);
    assert_eq!(reads.len() as u64, BATCH);
    assert!(reads.iter().eq(theirs.iter()));

    let mut group = criterion.benchmark_group("json/read_batch_100");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("ours", |b| b.iter(|| batch::parse(black_box(&body), &mut reads)));
    group.bench_function("sonic-rs", |b| b.iter(|| rival().requests.len()));
    group.bench_function("sonic-rs_and_values", |b| b.iter(|| rival_reads(&mut theirs)));
    group.finish();
}

pub fn balance_answers(criterion: &mut Criterion) {
    let population = Population { users: 1_000 };
    let (slice, expected) = (population.slice(), population.balance(7));
    let user = UserId::Number(user_id(7));
    let read = Read { user, currency: None, what: What::Balance };
    let ours = |out: &mut Vec<u8>| {
        out.clear();
        let (_, view) = slice.view(user);
        let rows = &mut RowSource::Now { bytes_left: usize::MAX };
        answer::write(out, view.expect("a known user"), &read, NOW, rows);
    };
    let shown: sonic::BalanceAnswer<'_> = sonic_rs::from_str(&expected).expect("an answer is JSON");
    let rival = |out: &mut Vec<u8>| {
        out.clear();
        sonic_rs::to_writer(out, black_box(&shown)).expect("writing to a vector does not fail");
    };
    let mut out = Vec::with_capacity(1_024);
    for write in [&ours as &dyn Fn(&mut Vec<u8>), &rival] {
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    let mut group = criterion.benchmark_group("json/write_balance");
    group.throughput(Throughput::Bytes(expected.len() as u64));
    group.bench_function("ours", |b| b.iter(|| ours(black_box(&mut out))));
    group.bench_function("sonic-rs", |b| b.iter(|| rival(black_box(&mut out))));
    group.finish();
}
