//! `past`: balances at an earlier time, against balances of now, from the same server and in turn.
//! Each request asks for another instant of the population's days, so that rows of statistics have
//! to be read.

use super::{Bench, CONNECTIONS, short};
use crate::check;
use crate::error::{Error, Result};
use crate::options::Suite;
use crate::report::{self, Figure, Report};
use crate::rounds::{Plan, Series, Variant, measure};
use crate::wrk::{Load, Script};

const AT_MOST: f64 = 1.6;

pub fn run(bench: &mut Bench) -> Result<Report> {
    let connections = bench.options.connections_or(&[CONNECTIONS])[0];
    let plan = Plan { shuffled: true, ..bench.options.plan(bench.cores) };
    let loaded = bench.loaded()?;
    loaded.check(0)?;
    let answer_bytes = check::past(&loaded.server, &loaded.tally, 0)?;
    let variant = |name: &str, script| Variant {
        name: name.to_owned(),
        server: &loaded.server,
        loads: vec![Load { script, connections, ids: &loaded.ids, port: None, core: None }],
    };
    let variants = [variant("past balance", Script::Past), variant("balance", Script::Balance)];
    let series = measure(&variants, &plan)?;
    loaded.check(1)?;
    check::past(&loaded.server, &loaded.tally, 1)?;

    let [past, now] = &series[..] else { unreachable!("a series for each variant") };
    right_instants(past, answer_bytes)?;
    Ok(Report {
        suite: Suite::Past,
        title: format!(
            "GET balance?at_ms and GET balance: {} users, {connections} connections",
            short(loaded.population.users)
        ),
        rows: report::rows(&series),
        figures: vec![Figure {
            what: "CPU per past balance against CPU per balance".to_owned(),
            value: past.against(now),
            decimals: 3,
            unit: "x",
            at_most: Some(AT_MOST),
        }],
        notes: Vec::new(),
    })
}

/// Checks that the load asked for the instants of the check: the sums have more digits the later
/// the instant, so bytes per answer show it.
fn right_instants(past: &Series, answer_bytes: f64) -> Result<()> {
    let bytes = past.spread(|round| round.bytes).median;
    if (bytes / answer_bytes - 1.0).abs() < 0.01 {
        return Ok(());
    }
    Err(Error::new(format!(
        "answers to the load have {bytes:.1} bytes, and {answer_bytes:.1} at the same instants"
    )))
}
