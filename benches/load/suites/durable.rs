//! `durable`: entries with a disk. First a whole population, for its CPU; then rounds of every
//! batch size with every number of connections, beside bare writes to the same disk and beside
//! Redis.

use super::{Bench, MILLION, before, short};
use crate::bare::Bare;
use crate::check;
use crate::closed::{Dialect, Fed, Feeder};
use crate::data::DataDir;
use crate::error::{Context, Result};
use crate::feed::{Part, feed};
use crate::options::{Options, Suite};
use crate::population::Population;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::{Running, Subject};
use crate::tally::Tally;
use crate::{host, redis};

const PARTS: u64 = 10;
const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
const AT_MOST_US: f64 = 1.5;
/// Times that variants compared with a bare write alternate within a round.
const TURNS: usize = 20;
/// Target for the latency of single entries, as a multiple of a bare write's.
const AT_MOST_WRITES: f64 = 1.5;

/// One measured subject.
struct Variant {
    name: String,
    what: What,
    rounds: Vec<Round>,
}

#[derive(Clone, Copy)]
enum What {
    Bare,
    Feed { feeder: usize, batch: usize, connections: usize },
}

struct Round {
    per_second: f64,
    cpu_us: Option<f64>,
    p50_us: f64,
    p99_us: f64,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let (options, core) = (&bench.options, bench.cores.server);
    let users = options.users_or(&[MILLION])[0];
    let population = Population::new(users, options.seed);
    let (data, other) =
        (DataDir::new(options.dir.as_deref())?, DataDir::new(options.dir.as_deref())?);
    let server = Subject::durable(core, &data, None).start(core)?;
    let mut tally = Tally::new(&population);
    let parts = feed(&server, &population, &mut tally, PARTS)?;
    check::check(&server, &tally, 0)?;

    let peer =
        if host::has("redis-server") { Some(Subject::redis(&other)?.start(core)?) } else { None };
    let mut feeders =
        vec![Feeder::new(&server, Dialect::Http, population, tally, population.more())];
    let redis_feeder = |peer| {
        Feeder::new(peer, Dialect::Redis, population, Tally::new(&population), population.more())
    };
    feeders.extend(peer.as_ref().map(redis_feeder));
    let mut bare = Bare::new(&other, core)?;
    let variants = measure(variants(options, &feeders), options, &mut feeders, &mut bare)?;
    check::check(&server, &feeders[0].tally, 1)?;
    feeders.get(1).map_or(Ok(()), |feeder| redis::check(feeder.server, &feeder.tally))?;
    drop(feeders);
    let notes = notes(&data, peer, server)?;
    let mut report = Report {
        suite: Suite::Durable,
        title: format!("POST entries onto a disk: {} users", short(users)),
        rows: rows(&parts, population.len(), &variants),
        figures: figures(&parts, population.len(), &variants),
        notes,
    };
    before::durable(bench, population)?.add_to(&mut report);
    Ok(report)
}

fn variants(options: &Options, feeders: &[Feeder<'_>]) -> Vec<Variant> {
    let mut cells = vec![(1, 1)];
    for connections in options.connections_or(&[1, 8, 64]) {
        cells.extend(
            BATCHES.map(|batch| (batch, connections)).into_iter().filter(|cell| *cell != (1, 1)),
        );
    }
    let mut variants = vec![Variant {
        name: "bare write of 4 KiB, from the server's core".to_owned(),
        what: What::Bare,
        rounds: Vec::new(),
    }];
    for (batch, connections) in cells {
        for (feeder, of) in feeders.iter().enumerate() {
            let plural = if connections == 1 { "" } else { "s" };
            let name = format!(
                "{}, {batch} per request, {connections} connection{plural}",
                of.server.name
            );
            variants.push(Variant {
                name,
                what: What::Feed { feeder, batch, connections },
                rounds: Vec::new(),
            });
        }
    }
    variants
}

/// Measures all variants in turn, round by round; the first round is discarded. Variants compared
/// with a bare write alternate with it within the round, because a disk has fast seconds and slow
/// ones.
fn measure(
    mut variants: Vec<Variant>,
    options: &Options,
    feeders: &mut [Feeder<'_>],
    bare: &mut Bare,
) -> Result<Vec<Variant>> {
    let alone = variants.iter().take_while(|variant| variant.is_alone()).count();
    for _ in 0..options.rounds {
        let mut fed: Vec<Fed> = variants.iter().map(|_| Fed::default()).collect();
        for _ in 0..TURNS {
            for (variant, fed) in variants.iter().zip(&mut fed).take(alone) {
                fed.add(variant.measure(options.seconds / TURNS as f64, feeders, bare)?);
            }
        }
        for (variant, fed) in variants.iter().zip(&mut fed).skip(alone) {
            *fed = variant.measure(options.seconds, feeders, bare)?;
        }
        for (variant, fed) in variants.iter_mut().zip(fed) {
            let round = variant.round(fed)?;
            variant.rounds.push(round);
        }
    }
    if options.rounds > 1 {
        for variant in &mut variants {
            variant.rounds.remove(0);
        }
    }
    Ok(variants)
}

impl Variant {
    /// Whether the variant writes one small block at a time.
    fn is_alone(&self) -> bool {
        matches!(self.what, What::Bare | What::Feed { batch: 1, connections: 1, .. })
    }

    fn measure(&self, seconds: f64, feeders: &mut [Feeder<'_>], bare: &mut Bare) -> Result<Fed> {
        match self.what {
            What::Bare => bare.measure(seconds),
            What::Feed { feeder, batch, connections } => {
                feeders[feeder].round(batch, connections, seconds)
            }
        }
        .context(&self.name)
    }

    fn round(&self, mut fed: Fed) -> Result<Round> {
        let cpu_us = fed.cpu.as_secs_f64() * 1e6 / fed.entries as f64;
        Ok(Round {
            per_second: fed.entries as f64 / fed.wall.as_secs_f64(),
            cpu_us: matches!(self.what, What::Feed { .. }).then_some(cpu_us),
            p50_us: fed.latencies.us(0.5)?,
            p99_us: fed.latencies.us(0.99)?,
        })
    }
}

fn cpu_us(part: &Part) -> f64 {
    part.cpu.as_secs_f64() * 1e6 / part.entries as f64
}

fn rows(parts: &[Part], entries: u64, variants: &[Variant]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["", "entries/s", "server CPU us/entry", "p50 us", "p99 us"].map(String::from).to_vec(),
    ];
    let per_second =
        Spread::of(parts.iter().map(|part| part.entries as f64 / part.wall.as_secs_f64()));
    let none = || "-".to_owned();
    rows.push(vec![
        format!("purser, the first {} entries, 1000 per request, 1 connection", short(entries)),
        per_second.text(0),
        Spread::of(parts.iter().map(cpu_us)).text(3),
        none(),
        none(),
    ]);
    for Variant { name, rounds, .. } in variants {
        let spread =
            |of: fn(&Round) -> f64, decimals| Spread::of(rounds.iter().map(of)).text(decimals);
        let cpu: Option<Vec<f64>> = rounds.iter().map(|round| round.cpu_us).collect();
        rows.push(vec![
            name.clone(),
            spread(|round| round.per_second, 0),
            cpu.map_or_else(none, |cpu| Spread::of(cpu.into_iter()).text(3)),
            spread(|round| round.p50_us, 1),
            spread(|round| round.p99_us, 1),
        ]);
    }
    rows
}

fn figures(parts: &[Part], entries: u64, variants: &[Variant]) -> Vec<Figure> {
    let total: f64 = parts.iter().map(|part| part.cpu.as_secs_f64() * 1e6).sum();
    let whole = Spread { median: total / entries as f64, ..Spread::of(parts.iter().map(cpu_us)) };
    let cpu = Figure {
        what:
            "CPU per entry, 1,000 per request: whole feed with snapshots (min and max of its parts)"
                .to_owned(),
        value: whole,
        decimals: 3,
        unit: " us",
        at_most: Some(AT_MOST_US),
    };
    let alone = variants.iter().skip(1).take_while(|variant| variant.is_alone());
    let against = alone.zip([Some(AT_MOST_WRITES), None]).map(|(variant, at_most)| Figure {
        what: format!("p50 relative to a bare write: {}", variant.name),
        value: Spread::of(
            variant
                .rounds
                .iter()
                .zip(&variants[0].rounds)
                .map(|(ours, bare)| ours.p50_us / bare.p50_us),
        ),
        decimals: 3,
        unit: "x",
        at_most,
    });
    [cpu].into_iter().chain(against).collect()
}

fn notes(data: &DataDir, peer: Option<Running>, server: Running) -> Result<Vec<String>> {
    let mut notes = vec![format!("Disk: {}.", data.medium())];
    match peer {
        Some(peer) => {
            peer.stop()?;
            let what = "Redis: appendonly yes, appendfsync always, no rewrites; a request is one \
                        FCALL of a function that, for each entry, adds its id to a set of the user \
                        and, if the id is new, updates the user's balance and version.";
            notes.push(what.to_owned());
        }
        None => notes.push("Redis: skipped, redis-server is not on the PATH.".to_owned()),
    }
    let said = server.leave()?;
    let lines = said.iter().filter(|line| line.starts_with("turns: ") || line.starts_with("log: "));
    notes.extend(lines.map(|line| format!("The server at shutdown: {line}.")));
    Ok(notes)
}
