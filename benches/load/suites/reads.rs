//! `balance`, `pipelined`, `stats`, `batch`: one kind of read each, against the floor with answers
//! of the same size.

use super::{Bench, CONNECTIONS, short};
use crate::check;
use crate::compare;
use crate::error::{Error, Result};
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Series, Variant, measure};
use crate::server::{Memory, Subject};
use crate::wrk::{BATCH, Load, Script};

pub fn run(bench: &mut Bench, suite: Suite) -> Result<Report> {
    let (script, what, at_most) = match suite {
        Suite::Pipelined => (Script::Pipelined, "GET balance, 16 deep pipelined", Some(1.5)),
        Suite::Stats => (Script::Stats, "GET stats?window=7d", Some(1.25)),
        Suite::Batch => (Script::Batch, "POST batch of 100 balances", None),
        _ => (Script::Balance, "GET balance", Some(1.12)),
    };
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let (plan, core) = (bench.options.plan(bench.cores), bench.cores.server);
    let (loaded, before) = bench.both_loaded()?;
    [Some(loaded), before].into_iter().flatten().try_for_each(|loaded| loaded.check(0))?;
    let answer = check::typical_answer(&loaded.server, &loaded.tally, script)?;
    let answer_bytes = answer.len() as f64;
    let floor = Subject::floor(core, answer)?.start(core)?;
    let load = Load { script, connections, ids: &loaded.ids, port: None, core: None };
    let servers = [&loaded.server, &floor].into_iter().chain(before.map(|before| &before.server));
    let variants: Vec<_> = servers
        .map(|server| Variant { name: server.name.to_owned(), server, loads: vec![load] })
        .collect();
    let series = measure(&variants, &plan)?;
    [Some(loaded), before].into_iter().flatten().try_for_each(|loaded| loaded.check(1))?;
    let (ours, floors) = (loaded.server.memory()?.rss, floor.memory()?.rss);
    floor.stop()?;

    let [purser, floor, before @ ..] = &series[..] else {
        unreachable!("a series for each variant")
    };
    right_count(floor, answer_bytes)?;
    let ratio = Figure {
        what: "CPU per request against the floor".to_owned(),
        value: purser.against(floor),
        decimals: 3,
        unit: "x",
        at_most,
    };
    let per_balance = (script == Script::Batch).then(|| Figure {
        what: "CPU per balance".to_owned(),
        value: purser.spread(|round| round.cpu_us / BATCH as f64),
        decimals: 3,
        unit: " us",
        at_most: Some(0.4),
    });
    let compared =
        before.iter().map(|before| compare::requests("", purser, before, Some(compare::AT_MOST)));
    Ok(Report {
        suite,
        title: format!(
            "{what}: {} users, {connections} connections",
            short(loaded.population.users)
        ),
        rows: report::rows(&series),
        figures: [ratio].into_iter().chain(per_balance).chain(compared).collect(),
        notes: vec![format!(
            "RSS afterwards, MiB: purser {}, floor {}.",
            Memory::mib(ours),
            Memory::mib(floors)
        )],
    })
}

/// Checks that wrk counted each answer once, pipelined ones too: the floor's answers all have one
/// size, so bytes per request show it.
fn right_count(floor: &Series, answer_bytes: f64) -> Result<()> {
    let bytes = floor.spread(|round| round.bytes).median;
    if (bytes / answer_bytes - 1.0).abs() < 0.01 {
        return Ok(());
    }
    Err(Error::new(format!("wrk counts {bytes:.1} bytes per answer, but each has {answer_bytes}")))
}
