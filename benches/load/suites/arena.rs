//! `arena`: a balance and an entry with the core's memory in its own region (the arena), and in the
//! common heap. Both servers run at the same time.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::closed::{Dialect, Feeder};
use crate::error::Result;
use crate::lines::LINES_PER_BODY;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Spread, Variant, measure};
use crate::server::{Memory, Subject};

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let options = &bench.options;
    let (users, connections) =
        (options.users_or(&[MILLION])[0], options.connections_or(&[CONNECTIONS])[0]);
    let core = bench.cores.server;
    let subjects = [
        ("arena", Subject::purser(core)),
        ("common heap", Subject::purser(core).with("--no-arena")),
    ];
    let load = |(_, subject): &(&str, Subject)| Loaded::of(subject, users, options, bench.cores);
    let mut loaded: Vec<Loaded> = subjects.iter().map(load).collect::<Result<_>>()?;
    loaded.iter().try_for_each(|loaded| loaded.check(0))?;
    let variants: Vec<Variant<'_>> = subjects
        .iter()
        .zip(&loaded)
        .map(|((name, _), loaded)| loaded.balances((*name).to_owned(), connections))
        .collect();
    let plan = options.plan(bench.cores);
    let series = measure(&variants, &plan)?;
    drop(variants);

    let mut feeds = [Vec::new(), Vec::new()];
    let mut feeders: Vec<Feeder<'_>> = loaded
        .iter()
        .map(|loaded| {
            let Loaded { server, population, tally, .. } = loaded;
            Feeder::new(server, Dialect::Http, *population, tally.clone(), population.more())
        })
        .collect();
    for _ in 0..plan.rounds {
        for (feeder, feeds) in feeders.iter_mut().zip(&mut feeds) {
            let fed = feeder.round(LINES_PER_BODY as usize, 1, plan.seconds)?;
            feeds.push(fed.cpu.as_secs_f64() * 1e6 / fed.entries as f64);
        }
    }
    let tallies: Vec<_> = feeders.into_iter().map(|feeder| feeder.tally).collect();
    loaded.iter_mut().zip(tallies).for_each(|(loaded, tally)| loaded.tally = tally);
    loaded.iter().try_for_each(|loaded| loaded.check(1))?;
    let rss: Vec<String> = loaded
        .iter()
        .map(|loaded| Ok(Memory::mib(loaded.server.memory()?.rss)))
        .collect::<Result<_>>()?;
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;

    let [with, without] = &feeds;
    let figure = |what: &str, value, decimals, unit| Figure {
        what: what.to_owned(),
        value,
        decimals,
        unit,
        at_most: None,
    };
    Ok(Report {
        suite: Suite::Arena,
        title: format!(
            "Arena against common heap: {} users, {connections} connections",
            short(users)
        ),
        rows: report::rows(&series),
        figures: vec![
            figure(
                "balance: CPU per request, arena against common heap",
                series[0].against(&series[1]),
                3,
                "x",
            ),
            figure(
                "feed, 1,000 per request: CPU per entry, arena",
                Spread::of(with.iter().copied()),
                3,
                " us",
            ),
            figure(
                "feed, 1,000 per request: CPU per entry, common heap",
                Spread::of(without.iter().copied()),
                3,
                " us",
            ),
            figure(
                "feed: CPU per entry, arena against common heap",
                Spread::of(with.iter().zip(without).map(|(a, b)| a / b)),
                3,
                "x",
            ),
        ],
        notes: vec![format!("RSS afterwards, MiB: arena {}, common heap {}.", rss[0], rss[1])],
    })
}
