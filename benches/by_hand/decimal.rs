//! Integers in decimal against `itoa`: user ids, times and amounts, as many of each as in an
//! answer.

use super::common::population::{NOW, mix, user_id};
use criterion::{Criterion, Throughput};
use purser::decimal;
use std::fmt::Write;
use std::hint::black_box;

/// Integers of an iteration.
const INTEGERS: u64 = 1_024;

fn ours(values: &[u64], out: &mut Vec<u8>) {
    out.clear();
    values.iter().for_each(|&value| decimal::number(out, value));
}

fn itoa(values: &[u64], out: &mut Vec<u8>) {
    out.clear();
    let mut buffer = itoa::Buffer::new();
    values.iter().for_each(|&value| out.extend_from_slice(buffer.format(value).as_bytes()));
}

pub fn numbers(criterion: &mut Criterion) {
    let value = |n| match n % 4 {
        0 => user_id(n),
        1 => NOW.0 - n,
        _ => mix(n) >> (44 + n % 16),
    };
    let values: Vec<u64> = (0..INTEGERS).map(value).collect();
    let mut expected = String::new();
    for value in &values {
        write!(expected, "{value}").expect("writing to a string does not fail");
    }
    let mut out = Vec::with_capacity(expected.len() + decimal::MAX_DIGITS);
    for write in [ours, itoa] {
        write(&values, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    let mut group = criterion.benchmark_group(format!("decimal/append_{INTEGERS}"));
    group.throughput(Throughput::Elements(INTEGERS));
    group.bench_function("ours", |b| b.iter(|| ours(black_box(&values), &mut out)));
    group.bench_function("itoa", |b| b.iter(|| itoa(black_box(&values), &mut out)));
    group.finish();
}
