//! Interleaved rounds: all compared servers run at the same time on the same core (an idle server
//! costs nothing) and are measured in the order A B A B …, so that a slow minute of the host
//! affects all of them. With `--before`, the order is shuffled for each round, so that no variant
//! always follows the same one. The first round warms up and is discarded.
//!
//! CPU per request is the server's exact CPU time over a window in which all connections are up
//! (`wrk`), divided by the requests of that window.

use crate::error::{Context, Result};
use crate::interval::Interval;
use crate::random::{Random, mix};
use crate::server::Running;
use crate::wrk::{self, Load};

/// One measured subject: a server under a load.
pub struct Variant<'a> {
    pub name: String,
    pub server: &'a Running,
    /// Loads that run at the same time.
    pub loads: Vec<Load<'a>>,
}

#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    pub seconds: f64,
    pub load_core: usize,
    pub seed: u64,
    /// Whether the order within a round is shuffled by the seed.
    pub shuffled: bool,
}

/// Result of one variant in a round, per request.
pub struct Round {
    pub cpu_us: f64,
    pub bytes: f64,
    pub per_second: f64,
    /// Median, 99th and 99.9th percentile.
    pub latency_us: Option<[u64; 3]>,
}

/// All rounds of one variant, without the discarded first one.
pub struct Series {
    pub name: String,
    pub rounds: Vec<Round>,
}

/// Measures all variants in turn. The series are in variant order, and round i of one is paired
/// with round i of another.
pub fn measure(variants: &[Variant<'_>], plan: &Plan) -> Result<Vec<Series>> {
    let names: Vec<String> = variants.iter().map(|variant| variant.name.clone()).collect();
    let rounds =
        in_turn(variants.len(), plan, |variant, seed| measure_one(&variants[variant], plan, seed))?;
    Ok(names.into_iter().zip(rounds).map(|(name, rounds)| Series { name, rounds }).collect())
}

/// Calls `measure` once per round for each of `count` variants, with its number and the round's
/// seed; equal seeds give the variants of a round the same requests. Returns the kept rounds of
/// each variant.
pub fn in_turn<R>(
    count: usize,
    plan: &Plan,
    mut measure: impl FnMut(usize, u64) -> Result<R>,
) -> Result<Vec<Vec<R>>> {
    let mut rounds: Vec<Vec<R>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        let seed = mix(plan.seed ^ round as u64);
        for variant in order(count, plan, seed) {
            rounds[variant].push(measure(variant, seed)?);
        }
    }
    if plan.rounds > 1 {
        for rounds in &mut rounds {
            rounds.remove(0);
        }
    }
    Ok(rounds)
}

/// Order of the variants in one round: a Fisher–Yates shuffle, or ascending.
fn order(count: usize, plan: &Plan, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if plan.shuffled {
        let mut random = Random::new(mix(seed ^ 0x0dde));
        for last in (1..count).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
    }
    order
}

fn measure_one(variant: &Variant<'_>, plan: &Plan, seed: u64) -> Result<Round> {
    let measured = wrk::measure(variant.server, &variant.loads, plan.seconds, seed, plan.load_core)
        .context(&variant.name)?;
    let requests = measured.requests as f64;
    Ok(Round {
        cpu_us: measured.cpu.as_secs_f64() * 1e6 / requests,
        bytes: measured.bytes,
        per_second: requests / measured.wall.as_secs_f64(),
        latency_us: measured.latency_us,
    })
}

/// A median with its spread.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// Confidence interval of the mean, for comparisons of two builds; a figure's target applies to
    /// it.
    pub interval: Option<Interval>,
}

impl Spread {
    /// The spread of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        assert!(!values.is_empty(), "no rounds were kept");
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        let median = f64::midpoint(low, high);
        Self { median, min: values[0], max: values[values.len() - 1], interval: None }
    }

    /// The spread of a single value.
    pub fn one(value: f64) -> Self {
        Self { median: value, min: value, max: value, interval: None }
    }

    pub fn text(&self, decimals: usize) -> String {
        let Self { median, min, max, .. } = self;
        format!("{median:.decimals$} ({min:.decimals$}..{max:.decimals$})")
    }
}

impl Series {
    pub fn spread(&self, of: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    /// A latency percentile, by its index in `Round::latency_us`; `None` if any round lacks it.
    pub fn latency(&self, place: usize) -> Option<Spread> {
        let values: Option<Vec<u64>> =
            self.rounds.iter().map(|round| Some(round.latency_us?[place])).collect();
        Some(Spread::of(values?.into_iter().map(|us| us as f64)))
    }

    /// Ratio of CPU per request to another variant's, paired by round.
    pub fn against(&self, base: &Self) -> Spread {
        Spread::of(self.ratios(base))
    }

    /// Like [`Self::against`], as the ratio of each round.
    pub fn ratios(&self, base: &Self) -> impl Iterator<Item = f64> {
        self.rounds.iter().zip(&base.rounds).map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us)
    }
}
