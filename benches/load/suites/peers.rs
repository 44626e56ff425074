//! `peers`: Purser beside the Go services that it replaces and the floor, one core each, all with
//! the same population.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::check;
use crate::error::Result;
use crate::options::Suite;
use crate::peers;
use crate::report::{self, Figure, Report};
use crate::rounds::{Series, Spread, Variant, measure};
use crate::server::{Memory, Subject};
use crate::wrk::{Load, Script};

/// Measured reads, and the target: Purser's CPU per request relative to the best peer's.
const READS: [(Script, &str, f64); 3] = [
    (Script::Balance, "balance", 0.7),
    (Script::Stats, "stats 7d", 0.5),
    (Script::Batch, "batch of 100", 0.3),
];
/// Target for memory, relative to the smallest peer's.
const MEMORY: f64 = 0.3;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let core = bench.cores.server;
    let users = bench.options.users_or(&[MILLION])[0];
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let subjects = [Subject::purser(core)].into_iter().chain(peers::build()?);
    let loaded: Vec<Loaded> = subjects
        .map(|subject| Loaded::of(&subject, users, &bench.options, bench.cores))
        .collect::<Result<_>>()?;
    // Before the reads, because a garbage-collected heap stays grown after a load.
    let memory: Vec<u64> =
        loaded.iter().map(|l| Ok(l.server.memory()?.rss)).collect::<Result<_>>()?;

    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (script, what, at_most) in READS {
        loaded.iter().try_for_each(|loaded| loaded.check(0))?;
        let floor = Subject::floor(
            core,
            check::typical_answer(&loaded[0].server, &loaded[0].tally, script)?,
        )?;
        let floor = floor.start(core)?;
        let servers = loaded.iter().map(|loaded| &loaded.server).chain([&floor]);
        let load = Load { script, connections, ids: &loaded[0].ids, port: None, core: None };
        let variants: Vec<_> = servers
            .map(|server| Variant {
                name: format!("{what}: {}", server.name),
                server,
                loads: vec![load],
            })
            .collect();
        let series = measure(&variants, &bench.options.plan(bench.cores))?;
        drop(variants);
        floor.stop()?;
        loaded.iter().try_for_each(|loaded| loaded.check(1))?;
        rows.extend(report::rows(&series).into_iter().skip(usize::from(!rows.is_empty())));
        figures.push(against_the_best(&series, what, at_most));
    }
    figures.push(share_of_memory(&memory));
    let named = loaded
        .iter()
        .zip(&memory)
        .map(|(l, &rss)| format!("{} {}", l.server.name, Memory::mib(rss)));
    let notes = vec![
        format!(
            "RSS with {} users, before the reads, MiB: {}.",
            short(users),
            named.collect::<Vec<_>>().join(", ")
        ),
        "The peers run with GOGC 100 and their best GOMAXPROCS on one core: Hertz 2, others 1."
            .to_owned(),
    ];
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;
    Ok(Report {
        suite: Suite::Peers,
        title: format!(
            "Purser and the Go services: {} users, {connections} connections, one core each",
            short(users)
        ),
        rows,
        figures,
        notes,
    })
}

/// The first series against the cheapest peer. The peers are all series but the first and the last,
/// which is the floor.
fn against_the_best(series: &[Series], what: &str, at_most: f64) -> Figure {
    let cpu = |series: &Series| series.spread(|round| round.cpu_us).median;
    let peers = &series[1..series.len() - 1];
    let best = peers.iter().min_by(|a, b| cpu(a).total_cmp(&cpu(b))).expect("there are peers");
    Figure {
        what: format!(
            "CPU per request, {} against {}",
            series[0].name,
            best.name.trim_start_matches(what).trim_start_matches(": ")
        ),
        value: series[0].against(best),
        decimals: 3,
        unit: "x",
        at_most: Some(at_most),
    }
}

fn share_of_memory(memory: &[u64]) -> Figure {
    let best = memory[1..].iter().min().expect("there are peers");
    let share = memory[0] as f64 / *best as f64;
    Figure {
        what: "RSS against the smallest peer".to_owned(),
        value: Spread::one(share),
        decimals: 3,
        unit: "x",
        at_most: Some(MEMORY),
    }
}
