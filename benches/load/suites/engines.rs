//! `engines`: GET balance by the production machine under each engine (ours, plain epoll, monoio,
//! glommio), and the floor. All of them use one core, the same population, the same limits and the
//! same memory settings.

use super::{Bench, CONNECTIONS, Loaded, MILLION, short};
use crate::check;
use crate::engines::Engine;
use crate::error::Result;
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Series, Variant, measure};
use crate::server::{Memory, Subject};
use crate::wrk::{Load, Script};

const READS: [(Script, &str); 2] = [(Script::Balance, "balance"), (Script::Pipelined, "16 deep")];

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let core = bench.cores.server;
    let users = bench.options.users_or(&[MILLION])[0];
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let mut subjects = vec![Subject::purser(core).with("--slices=1")];
    for (_, name) in Engine::ALL {
        subjects.push(Subject::rival(name, core)?);
    }
    let loaded: Vec<Loaded> = subjects
        .iter()
        .map(|subject| Loaded::of(subject, users, &bench.options, bench.cores))
        .collect::<Result<_>>()?;

    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for (script, what) in READS {
        loaded.iter().try_for_each(|loaded| loaded.check(0))?;
        let answer = check::typical_answer(&loaded[0].server, &loaded[0].tally, script)?;
        let floor = Subject::floor(core, answer)?.start(core)?;
        let load = Load { script, connections, ids: &loaded[0].ids, port: None, core: None };
        let variants: Vec<_> = loaded
            .iter()
            .map(|loaded| &loaded.server)
            .chain([&floor])
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
        figures.extend(series[1..].iter().map(|rival| against_ours(rival, &series[0])));
    }
    let named: Vec<String> = loaded
        .iter()
        .map(|loaded| {
            Ok(format!("{} {}", loaded.server.name, Memory::mib(loaded.server.memory()?.rss)))
        })
        .collect::<Result<_>>()?;
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;
    Ok(Report {
        suite: Suite::Engines,
        title: format!(
            "Event loops under the same code: {} users, {connections} connections, one core",
            short(users)
        ),
        rows,
        figures,
        notes: vec![format!("RSS afterwards, MiB: {}.", named.join(", "))],
    })
}

/// CPU per request of an engine, relative to ours.
fn against_ours(rival: &Series, ours: &Series) -> Figure {
    Figure {
        what: format!("CPU per request, {} against Purser's executor", rival.name),
        value: rival.against(ours),
        decimals: 3,
        unit: "x",
        at_most: None,
    }
}
