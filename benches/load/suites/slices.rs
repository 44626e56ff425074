//! `slices`: what several slices cost a balance, and what the way to another core costs. One server for each number of slices, all up side by
//! side; wrk shares a CPU with one core where a server uses both. CPU is without the time in which a core looked out for answers of another.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Lane, Series, Spread, measure};
use crate::server::Subject;
use crate::wrk::{Load, Script};
use purser::ledger::id::UserId;

const SLICES: [u32; 4] = [1, 2, 4, 8];
/// Asked for, in microseconds a request of which half had to go to the other core.
const HOP_US: f64 = 0.6;
const OWN_PORT: f64 = 1.02;
const GROWTH: f64 = 1.15;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let users = bench.options.users_or(&[MILLION])[0];
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let cores = bench.cores;
    let cpus = [cores.server, cores.load];
    let load = |slices: u32| Loaded::of(&Subject::slices(&cpus, slices), users, &bench.options, cores);
    let loaded: Vec<Loaded> = SLICES.into_iter().map(load).collect::<Result<_>>()?;
    loaded.iter().try_for_each(|loaded| loaded.check(0))?;

    let two = &loaded[1];
    let port = two.server.info()?.ports.first().copied().ok_or_else(|| Error::new("no port of a core is told"))?;
    let own = Ids::write_some(&two.population, |user| UserId(user).slice(2) == 0)?;
    let lane = |name: &str, of: usize, ids, port| Lane {
        name: name.to_owned(),
        server: &loaded[of].server,
        load: Load { script: Script::Balance, connections, ids, port },
    };
    let mut lanes = vec![
        lane("1 slice", 0, &loaded[0].ids, None),
        lane("2 slices, port of a core, its users", 1, &own, Some(port)),
        lane("2 slices, port of a core, half of the users another's", 1, &two.ids, Some(port)),
    ];
    for (of, slices) in SLICES.into_iter().enumerate().skip(1) {
        lanes.push(lane(&format!("{slices} slices, common port"), of, &loaded[of].ids, None));
    }
    let series = measure(&lanes, &bench.options.plan(cores))?;
    drop(lanes);
    loaded.iter().try_for_each(|loaded| loaded.check(1))?;
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;
    Ok(Report {
        suite: Suite::Slices,
        title: format!("GET balance: 1 to 8 slices on 2 CPUs, {} users, {connections} connections", short(users)),
        rows: report::rows(&series),
        figures: figures(&series),
        notes: vec![
            "Beyond the hop: CPU a request, less what the requests that went to another core cost by the figure above, against one slice.".to_owned(),
        ],
    })
}

fn figures(series: &[Series]) -> Vec<Figure> {
    let [one, own, half, more @ ..] = series else { unreachable!("a series for each lane") };
    let rounds = || own.rounds.iter().zip(&half.rounds);
    let hop = Spread::of(rounds().map(|(own, half)| half.cpu_us - own.cpu_us));
    let mut figures = vec![
        Figure {
            what: "half of the users another core's: CPU a request more".to_owned(),
            value: hop,
            decimals: 3,
            unit: " us",
            at_most: Some(HOP_US),
        },
        Figure {
            what: "port of the right core: CPU a request against one slice".to_owned(),
            value: own.against(one),
            decimals: 3,
            unit: "x",
            at_most: Some(OWN_PORT),
        },
    ];
    for (series, slices) in more.iter().zip(&SLICES[1..]) {
        let share = f64::from(slices - 1) / f64::from(*slices);
        let beyond = |(more, one): (&crate::rounds::Round, &crate::rounds::Round)| {
            (more.cpu_us - share * 2.0 * hop.median) / one.cpu_us
        };
        figures.push(Figure {
            what: format!("{slices} slices: CPU a request beyond the hop"),
            value: Spread::of(series.rounds.iter().zip(&one.rounds).map(beyond)),
            decimals: 3,
            unit: "x",
            at_most: Some(GROWTH),
        });
    }
    figures
}
