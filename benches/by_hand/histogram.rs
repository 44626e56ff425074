//! Histogram against `hdrhistogram` with the same resolution: 16 buckets per power of two.

use super::common::population::mix;
use criterion::Criterion;
use purser::metrics::Histogram;
use std::hint::black_box;

/// Values of an iteration.
const VALUES: u64 = 4_096;
/// With one significant digit, `hdrhistogram` has 16 buckets per power of two.
const DIGITS: u8 = 1;

type Hdr = hdrhistogram::Histogram<u64>;

/// An empty histogram of all 64-bit values.
fn hdr() -> Hdr {
    Hdr::new_with_bounds(1, u64::MAX, DIGITS).expect("valid bounds")
}

/// Checks a quantile against the exact one.
fn check(name: &str, exact: u64, quantile: u64) {
    let close = exact..=exact + exact / 16 + 1;
    assert!(close.contains(&quantile), "{name}: {quantile} for {exact}");
}

pub fn histograms(criterion: &mut Criterion) {
    if !super::is_asked("histogram") {
        return;
    }
    // From 1 to 2^20, as the nanoseconds of a turn are.
    let value = |n| 1 + mix(n) % (1 << (4 + n % 17));
    let values: Vec<u64> = (0..VALUES).map(value).collect();
    let (mut ours, mut other) = (Histogram::default(), hdr());
    for &value in &values {
        ours.record(value, 1);
        other.record(value).expect("a value in bounds");
    }
    let mut sorted = values.clone();
    sorted.sort_unstable();
    for share in [500, 990, 999] {
        let exact = sorted[((VALUES * share).div_ceil(1_000) - 1) as usize];
        check("ours", exact, ours.per_mille(share));
        check("hdrhistogram", exact, other.value_at_quantile(share as f64 / 1_000.0));
    }
    println!("histogram: ours: {} bytes", size_of::<Histogram>());
    let heap = other.distinct_values() * size_of::<u64>();
    println!("histogram: hdrhistogram: {} bytes, {heap} on the heap", size_of::<Hdr>());

    let mut group = criterion.benchmark_group(format!("histogram/record_{VALUES}"));
    let (mut mine, mut theirs) = (ours.clone(), other.clone());
    group.bench_function("ours", |b| {
        b.iter(|| black_box(&values).iter().for_each(|&value| mine.record(value, 1)));
    });
    group.bench_function("hdrhistogram", |b| {
        b.iter(|| black_box(&values).iter().for_each(|&value| theirs.saturating_record(value)));
    });
    group.finish();
    assert_eq!(mine.per_mille(990), ours.per_mille(990), "the same values again and again");
    assert_eq!(theirs.value_at_quantile(0.99), other.value_at_quantile(0.99));

    let mut group = criterion.benchmark_group("histogram/add_and_p99");
    group.bench_function("ours", |b| {
        b.iter(|| {
            let mut sum = Histogram::default();
            sum.add(black_box(&ours));
            sum.per_mille(990)
        });
    });
    group.bench_function("hdrhistogram", |b| {
        b.iter(|| {
            let mut sum = hdr();
            sum.add(black_box(&other)).expect("equal bounds");
            sum.value_at_quantile(0.99)
        });
    });
    group.finish();
}
