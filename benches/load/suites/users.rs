//! `users`: GET balance with few to many users; each population has its own server, and all run at
//! the same time.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::error::Result;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Variant, measure};

const AT_MOST: f64 = 1.25;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let sizes = bench.options.users_or(&[10_000, MILLION, 10 * MILLION]);
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let loaded: Vec<Loaded> = sizes
        .iter()
        .map(|&users| Loaded::new(users, &bench.options, bench.cores))
        .collect::<Result<_>>()?;
    loaded.iter().try_for_each(|loaded| loaded.check(0))?;
    let variants: Vec<Variant<'_>> =
        loaded.iter().map(|loaded| variant(loaded, connections)).collect();
    let series = measure(&variants, &bench.options.plan(bench.cores))?;
    loaded.iter().try_for_each(|loaded| loaded.check(1))?;
    drop(variants);
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;

    let (first, last) = (short(sizes[0]), short(sizes[sizes.len() - 1]));
    Ok(Report {
        suite: Suite::Users,
        title: format!("GET balance: {first} to {last} users, {connections} connections"),
        rows: report::rows(&series),
        figures: vec![Figure {
            what: format!("CPU per balance, {last} users against {first}"),
            value: series[series.len() - 1].against(&series[0]),
            decimals: 3,
            unit: "x",
            at_most: Some(AT_MOST),
        }],
        notes: Vec::new(),
    })
}

fn variant(loaded: &Loaded, connections: usize) -> Variant<'_> {
    loaded.balances(format!("{} users", short(loaded.population.users)), connections)
}
