//! `open`: GET balance at a fixed rate, `--rate`, independent of the server's speed: CPU per
//! request well below the maximum rate, and latency from each request's due time. Purser, the floor
//! and an older build take turns.
//!
//! At a rate that leaves a core idle between requests, the event loop wakes for few requests at a
//! time. A request then costs more than in the closed loop of `balance`; the two figures are not
//! comparable.

use super::{Bench, CONNECTIONS, Loaded, short};
use crate::check;
use crate::compare;
use crate::error::{Context, Result};
use crate::options::Suite;
use crate::paced::{self, Answers, Done, Pace, Users};
use crate::population::Population;
use crate::report::{self, Figure, Report};
use crate::rounds::{Round, Series, Spread, in_turn};
use crate::server::{Running, Subject};
use crate::wrk::Script;

struct Variant<'a> {
    server: &'a Running,
    answers: Answers<'a>,
}

/// A round, and how well the client kept the rate.
struct Paced {
    round: Round,
    kept: bool,
    late_p99_us: f64,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    let options = bench.options.clone();
    let (plan, core, rate) = (options.plan(bench.cores), bench.cores.server, options.rate);
    let connections = options.connections_or(&[CONNECTIONS])[0];
    let (loaded, before) = bench.both_loaded()?;
    let check_all = |turn| {
        [Some(loaded), before].into_iter().flatten().try_for_each(|loaded| loaded.check(turn))
    };
    check_all(0)?;
    let answer = check::typical_answer(&loaded.server, &loaded.tally, Script::Balance)?;
    let floor = Subject::floor(core, answer.clone())?.start(core)?;
    let mut variants =
        vec![Variant::of(loaded), Variant { server: &floor, answers: Answers::Constant(&answer) }];
    variants.extend(before.map(Variant::of));
    let rounds = in_turn(variants.len(), &plan, |variant, seed| {
        let pace = Pace { per_second: rate.into(), connections, seconds: plan.seconds, seed };
        variants[variant].measure(&loaded.population, &pace)
    })?;
    check_all(1)?;
    let notes = variants
        .iter()
        .zip(&rounds)
        .map(|(variant, rounds)| note(variant.server.name, rounds, rate))
        .collect();
    let series: Vec<Series> =
        variants.iter().zip(rounds).map(|(variant, rounds)| series(variant, rounds)).collect();
    drop(variants);
    floor.stop()?;
    Ok(Report {
        suite: Suite::Open,
        title: format!(
            "GET balance at {rate} requests/s: {} users, {connections} connections",
            short(loaded.population.users)
        ),
        rows: report::rows(&series),
        figures: figures(&series),
        notes,
    })
}

impl<'a> Variant<'a> {
    fn of(loaded: &'a Loaded) -> Self {
        Self { server: &loaded.server, answers: Answers::Balances }
    }

    fn measure(&self, population: &Population, pace: &Pace) -> Result<Paced> {
        let done = paced::read(self.server, population, Users::All, self.answers, pace)
            .context(self.server.name)?;
        let kept = done.kept(pace);
        let per_second = done.per_second();
        let Done { mut latencies, mut late, bytes, cpu, .. } = done;
        let requests = latencies.count() as f64;
        let mut us = |share| latencies.us(share).map(|us| us.round() as u64);
        let round = Round {
            cpu_us: cpu.as_secs_f64() * 1e6 / requests,
            bytes: bytes as f64 / requests,
            per_second,
            latency_us: Some([us(0.5)?, us(0.99)?, us(0.999)?]),
        };
        Ok(Paced { round, kept, late_p99_us: late.us(0.99)? })
    }
}

fn series(variant: &Variant<'_>, rounds: Vec<Paced>) -> Series {
    Series {
        name: variant.server.name.to_owned(),
        rounds: rounds.into_iter().map(|paced| paced.round).collect(),
    }
}

/// Reports whether the rate was kept, how late requests were sent, and how busy the server was. If
/// a round missed the rate although the server was idle for a good part of it, the client was the
/// limit.
fn note(name: &str, rounds: &[Paced], rate: u32) -> String {
    let late = Spread::of(rounds.iter().map(|paced| paced.late_p99_us)).text(1);
    let missed = rounds.iter().filter(|paced| !paced.kept).count();
    let kept = match missed {
        0 => format!("{rate} requests/s were reached in every round"),
        _ => format!("{rate} requests/s were NOT REACHED in {missed} of {} rounds", rounds.len()),
    };
    // Microseconds of CPU per second, as a percentage.
    let busy = |paced: &Paced| paced.round.cpu_us * paced.round.per_second / 1e4;
    let busy = Spread::of(rounds.iter().map(busy)).text(0);
    format!(
        "{name}: {kept}; p99 from a request's due time until it was sent: {late} us; the \
         server was busy for {busy} % of the time."
    )
}

fn figures(series: &[Series]) -> Vec<Figure> {
    let [purser, floor, before @ ..] = series else { unreachable!("a series for each variant") };
    let floors = Figure {
        what: "CPU per request against the floor".to_owned(),
        value: purser.against(floor),
        decimals: 3,
        unit: "x",
        at_most: None,
    };
    [floors]
        .into_iter()
        .chain(before.iter().map(|before| compare::requests("", purser, before, None)))
        .collect()
}
