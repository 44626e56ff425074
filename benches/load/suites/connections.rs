//! `connections`: GET balance with few to many connections on one server. The floor beside it shows
//! how much of the growth is the kernel's.

use super::{Bench, CONNECTIONS, short};
use crate::check;
use crate::error::Result;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Series, Variant, measure};
use crate::server::Subject;
use crate::wrk::{Load, Script};

const AT_MOST: f64 = 1.4;

pub fn run(bench: &mut Bench) -> Result<Report> {
    let counts = bench.options.connections_or(&[CONNECTIONS, 512, 5_000]);
    let (plan, core) = (bench.options.plan(bench.cores), bench.cores.server);
    let loaded = bench.loaded()?;
    loaded.check(0)?;
    let answer = check::typical_answer(&loaded.server, &loaded.tally, Script::Balance)?;
    let floor = Subject::floor(core, answer)?.start(core)?;
    let mut variants = Vec::new();
    for server in [&loaded.server, &floor] {
        for &connections in &counts {
            let load = Load {
                script: Script::Balance,
                connections,
                ids: &loaded.ids,
                port: None,
                core: None,
            };
            variants.push(Variant {
                name: format!("{}, {connections} connections", server.name),
                server,
                loads: vec![load],
            });
        }
    }
    let series = measure(&variants, &plan)?;
    loaded.check(1)?;
    floor.stop()?;

    let (first, last) = (counts[0], counts[counts.len() - 1]);
    let (ours, floors) = series.split_at(counts.len());
    let growth =
        |what: &str, series: &[Series], at_most| growth(what, series, first, last, at_most);
    Ok(Report {
        suite: Suite::Connections,
        title: format!(
            "GET balance: {} users, {first} to {last} connections",
            short(loaded.population.users)
        ),
        rows: report::rows(&series),
        figures: vec![growth("purser", ours, Some(AT_MOST)), growth("floor", floors, None)],
        notes: Vec::new(),
    })
}

fn growth(
    what: &str,
    series: &[Series],
    first: usize,
    last: usize,
    at_most: Option<f64>,
) -> Figure {
    Figure {
        what: format!("{what}: CPU per request, {last} connections against {first}"),
        value: series[series.len() - 1].against(&series[0]),
        decimals: 3,
        unit: "x",
        at_most,
    }
}
