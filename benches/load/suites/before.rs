//! Comparisons with an older build, `--before`, for the suites whose servers do not outlive a round
//! or use a disk: `feed`, `durable` and `recovery`. (The other suites measure the older build as
//! one more variant.)

use std::time::Instant;

use super::Bench;
use crate::check;
use crate::closed::{Dialect, Fed, Feeder};
use crate::compare::{self, AT_MOST, Compared, START_AT_MOST};
use crate::data::DataDir;
use crate::error::{Context, Result};
use crate::feed;
use crate::population::Population;
use crate::rounds::{Spread, in_turn};
use crate::server::{Memory, Running, Subject};
use crate::tally::Tally;

const NAMES: [&str; 2] = ["after", "before"];
/// Cells of `durable` that are compared: entries per request, connections.
const CELLS: [(usize, usize); 4] = [(1, 1), (1, 64), (100, 8), (1_000, 8)];
/// Snapshot threshold in MiB above the log of any comparison: a snapshot costs as much CPU as
/// several rounds, and could fall into any of them.
const NO_SNAPSHOT: u64 = 1 << 20;

/// Cost of one build in a round, per entry or per start.
struct Cost {
    cpu: f64,
    wall: f64,
    /// Median and 99th percentile of answer latency, where it is measured.
    latency_us: [f64; 2],
}

fn spread(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> Spread {
    Spread::of(costs.iter().map(of))
}

/// Ratio after : before of each round.
fn ratios(after: &[Cost], before: &[Cost], of: impl Fn(&Cost) -> f64) -> impl Iterator<Item = f64> {
    after.iter().zip(before).map(move |(after, before)| of(after) / of(before))
}

/// Compares whole feeds, each to an empty server.
pub fn feed(bench: &Bench, population: &Population) -> Result<Compared> {
    let core = bench.cores.server;
    let Some(older) = bench.options.older(Subject::purser(core)) else {
        return Ok(Compared::default());
    };
    let (subjects, entries) = ([Subject::purser(core), older], population.len() as f64);
    let costs = in_turn(subjects.len(), &bench.options.plan(bench.cores), |build, _| {
        let (server, mut tally) = (subjects[build].start(core)?, Tally::new(population));
        let parts = feed::feed(&server, population, &mut tally, 1)?;
        check::check(&server, &tally, 0)?;
        server.stop()?;
        let [part] = &parts[..] else { unreachable!("the feed has one part") };
        Ok(Cost {
            cpu: part.cpu.as_secs_f64() * 1e6 / entries,
            wall: part.wall.as_secs_f64(),
            latency_us: [0.0; 2],
        })
    })?;
    let rows = NAMES.iter().zip(&costs).map(|(name, costs)| {
        vec![
            format!("{name}, whole feeds"),
            population.len().to_string(),
            spread(costs, |cost| entries / cost.wall).text(0),
            spread(costs, |cost| cost.cpu).text(3),
        ]
    });
    let figure = compare::figure(
        "CPU per entry, whole feeds",
        ratios(&costs[0], &costs[1], |cost| cost.cpu),
        Some(AT_MOST),
    );
    Ok(Compared { rows: rows.collect(), figures: vec![figure], notes: Vec::new() })
}

/// Compares durable entries on servers that hold the population and take no snapshot.
pub fn durable(bench: &Bench, population: Population) -> Result<Compared> {
    let (options, core) = (&bench.options, bench.cores.server);
    let Some(program) = &options.before else { return Ok(Compared::default()) };
    let data = [DataDir::new(options.dir.as_deref())?, DataDir::new(options.dir.as_deref())?];
    let [after, before] =
        [0, 1].map(|build| Subject::durable(core, &data[build], Some(NO_SNAPSHOT)));
    let subjects = [after, before.older(program)];
    let servers: Vec<Running> =
        subjects.iter().map(|subject| subject.start(core)).collect::<Result<_>>()?;
    let mut feeders = Vec::new();
    for server in &servers {
        let mut tally = Tally::new(&population);
        feed::feed(server, &population, &mut tally, 1)?;
        check::check(server, &tally, 0)?;
        feeders.push(Feeder::new(server, Dialect::Http, population, tally, population.more()));
    }
    let mut compared = Compared::default();
    let plan = options.plan(bench.cores);
    for (batch, connections) in CELLS {
        let plural = if connections == 1 { "" } else { "s" };
        let cell = format!("{batch} per request, {connections} connection{plural}");
        let costs = in_turn(servers.len(), &plan, |build, _| {
            feeders[build].round(batch, connections, plan.seconds).and_then(cost).context(&cell)
        })?;
        for (name, costs) in NAMES.iter().zip(&costs) {
            compared.rows.push(vec![
                format!("{name}, no snapshots, {cell}"),
                spread(costs, |cost| 1.0 / cost.wall).text(0),
                spread(costs, |cost| cost.cpu).text(3),
                spread(costs, |cost| cost.latency_us[0]).text(1),
                spread(costs, |cost| cost.latency_us[1]).text(1),
            ]);
        }
        let ratios = ratios(&costs[0], &costs[1], |cost| cost.cpu);
        compared.figures.push(compare::figure(
            &format!("CPU per entry, {cell}"),
            ratios,
            Some(AT_MOST),
        ));
    }
    feeders.iter().try_for_each(|feeder| check::check(feeder.server, &feeder.tally, 1))?;
    drop(feeders);
    servers.into_iter().try_for_each(Running::stop)?;
    Ok(compared)
}

/// Cost per entry of a round; CPU in microseconds.
fn cost(mut fed: Fed) -> Result<Cost> {
    let entries = fed.entries as f64;
    Ok(Cost {
        cpu: fed.cpu.as_secs_f64() * 1e6 / entries,
        wall: fed.wall.as_secs_f64() / entries,
        latency_us: [fed.latencies.us(0.5)?, fed.latencies.us(0.99)?],
    })
}

/// Compares starts, each from its own copy of `data`; the answers must match the tally.
pub fn recovery(bench: &Bench, data: &DataDir, tally: &Tally) -> Result<Compared> {
    let core = bench.cores.server;
    let Some(program) = &bench.options.before else { return Ok(Compared::default()) };
    let (plan, mut rss) = (bench.options.plan(bench.cores), [0; 2]);
    let costs = in_turn(NAMES.len(), &plan, |build, _| {
        let copy = data.copied()?;
        let current = Subject::durable(core, &copy, Some(NO_SNAPSHOT));
        let subject = if build == 0 { current } else { current.older(program) };
        let clock = Instant::now();
        let server = subject.start(core)?;
        let (wall, cpu) = (clock.elapsed().as_secs_f64(), server.cpu()?.as_secs_f64());
        check::check(&server, tally, 0)?;
        rss[build] = server.memory()?.rss;
        server.stop()?;
        Ok(Cost { cpu, wall, latency_us: [0.0; 2] })
    })?;
    let users = tally.users() as f64;
    let rows = NAMES.iter().zip(&costs).zip(rss).map(|((name, costs), rss)| {
        vec![
            format!("a copy of both, {name}"),
            spread(costs, |cost| cost.wall).text(2),
            spread(costs, |cost| cost.cpu).text(2),
            Memory::mib(rss),
            format!("{:.1}", rss as f64 / users),
        ]
    });
    let figure = |what: &str, of: fn(&Cost) -> f64, at_most| {
        compare::figure(what, ratios(&costs[0], &costs[1], of), at_most)
    };
    Ok(Compared {
        rows: rows.collect(),
        figures: vec![
            figure("CPU of a start", |cost| cost.cpu, Some(START_AT_MOST)),
            figure("seconds of a start", |cost| cost.wall, None),
        ],
        notes: Vec::new(),
    })
}
