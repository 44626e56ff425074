//! `slices`: what several slices cost a balance, and what a request to another core costs. There is
//! one server for each number of slices, and all run at the same time. Where a server uses both
//! CPUs, a wrk runs on each, so cores and load tools share them evenly. CPU time excludes the time
//! that a core spent spinning for replies of another core.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::compare;
use crate::error::Result;
use crate::ids::Ids;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Round, Series, Spread, Variant, measure};
use crate::server::Subject;
use crate::wrk::{Load, Script};
use purser::ledger::id::UserId;

const SLICES: [u32; 4] = [1, 2, 4, 8];
/// Numbers of slices that are compared with an older build.
const COMPARED: [u32; 3] = [1, 2, 8];
/// Target for one request in two going to the other core, in microseconds per request.
const HOP_US: f64 = 0.6;
const OWN_PORT: f64 = 1.02;
const GROWTH: f64 = 1.15;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let users = bench.options.users_or(&[MILLION])[0];
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let cores = bench.cores;
    let cpus = [cores.server, cores.load];
    let load =
        |slices: u32| Loaded::of(&Subject::slices(&cpus, slices), users, &bench.options, cores);
    let loaded: Vec<Loaded> = SLICES.into_iter().map(load).collect::<Result<_>>()?;
    let older = |slices: u32| bench.options.older(Subject::slices(&cpus, slices));
    let before: Vec<Loaded> = COMPARED
        .into_iter()
        .filter_map(older)
        .map(|subject| Loaded::of(&subject, users, &bench.options, cores))
        .collect::<Result<_>>()?;
    loaded.iter().chain(&before).try_for_each(|loaded| loaded.check(0))?;

    let two = &loaded[1];
    let ports = two.server.info()?.ports;
    let own: Vec<Ids> = (0..2)
        .map(|slice| {
            Ids::write_some(&two.population, |user| UserId::Number(user).slice(2) == slice)
        })
        .collect::<Result<_>>()?;
    let script = Script::Balance;
    // A wrk on each core's CPU, for that core's port.
    let beside = |slice: usize, ids| Load {
        script,
        connections: connections / 2,
        ids,
        port: ports.get(slice).copied(),
        core: Some(cpus[slice]),
    };
    let variant = |name: &str, of: usize, loads| Variant {
        name: name.to_owned(),
        server: &loaded[of].server,
        loads,
    };
    let all =
        |of: usize| Load { script, connections, ids: &loaded[of].ids, port: None, core: None };
    let mut variants = vec![
        variant("1 slice", 0, vec![all(0)]),
        variant(
            "2 slices, one port, users of its core",
            1,
            vec![Load { ids: &own[0], port: ports.first().copied(), ..all(1) }],
        ),
        variant(
            "2 slices, both ports, users of each port's core",
            1,
            vec![beside(0, &own[0]), beside(1, &own[1])],
        ),
        variant(
            "2 slices, both ports, half of the users on the other core",
            1,
            vec![beside(0, &two.ids), beside(1, &two.ids)],
        ),
    ];
    for (of, slices) in SLICES.into_iter().enumerate() {
        let load = |&core| Load { connections: connections / 2, core: Some(core), ..all(of) };
        variants.push(variant(
            &format!("{slices} slices, both CPUs loaded"),
            of,
            cpus.iter().map(load).collect(),
        ));
    }
    let current = variants.len();
    for (before, slices) in before.iter().zip(COMPARED) {
        let load = |&core| Load {
            connections: connections / 2,
            core: Some(core),
            ids: &before.ids,
            ..all(0)
        };
        let name = format!("before, {slices} slices, both CPUs loaded");
        variants.push(Variant {
            name,
            server: &before.server,
            loads: cpus.iter().map(load).collect(),
        });
    }
    let series = measure(&variants, &bench.options.plan(cores))?;
    drop(variants);
    loaded.iter().chain(&before).try_for_each(|loaded| loaded.check(1))?;
    loaded.into_iter().chain(before).try_for_each(|loaded| loaded.server.stop())?;
    Ok(Report {
        suite: Suite::Slices,
        title: format!(
            "GET balance: 1 to 8 slices on 2 CPUs, {} users, {connections} connections",
            short(users)
        ),
        rows: report::rows(&series),
        figures: figures(&series[..current])
            .into_iter()
            .chain(compared(series.split_at(current)))
            .collect(),
        notes: vec![
            "Without the hop: CPU per request minus the cost of requests to another core \
             (the figure above), against one slice."
                .to_owned(),
        ],
    })
}

/// Compares the variants with both CPUs loaded, the last variants of the current build, with those
/// of the older build.
fn compared((current, before): (&[Series], &[Series])) -> Vec<Figure> {
    let shared = &current[current.len() - SLICES.len()..];
    let after = COMPARED
        .iter()
        .filter_map(|slices| SLICES.iter().position(|of| of == slices))
        .map(|of| &shared[of]);
    let pairs = after.zip(before).zip(COMPARED);
    pairs
        .map(|((after, before), slices)| {
            compare::requests(&format!(", {slices} slices"), after, before, Some(compare::AT_MOST))
        })
        .collect()
}

fn figures(series: &[Series]) -> Vec<Figure> {
    let [one, port, own, half, shared, more @ ..] = series else {
        unreachable!("a series for each variant")
    };
    let rounds = own.rounds.iter().zip(&half.rounds);
    let hop = Spread::of(rounds.map(|(own, half)| half.cpu_us - own.cpu_us));
    let mut figures = vec![
        Figure {
            what: "half of the users on the other core: additional CPU per request".to_owned(),
            value: hop,
            decimals: 3,
            unit: " us",
            at_most: Some(HOP_US),
        },
        Figure {
            what: "port of the owning core: CPU per request against one slice".to_owned(),
            value: port.against(one),
            decimals: 3,
            unit: "x",
            at_most: Some(OWN_PORT),
        },
    ];
    for (series, slices) in more.iter().zip(&SLICES[1..]) {
        let share = f64::from(slices - 1) / f64::from(*slices);
        // A negative hop cost is noise, and no discount.
        let hops_us = share * 2.0 * hop.median.max(0.0);
        let beyond = |(more, one): (&Round, &Round)| (more.cpu_us - hops_us) / one.cpu_us;
        figures.push(Figure {
            what: format!("{slices} slices: CPU per request without the hop, against one slice"),
            value: Spread::of(series.rounds.iter().zip(&shared.rounds).map(beyond)),
            decimals: 3,
            unit: "x",
            at_most: Some(GROWTH),
        });
    }
    figures
}
