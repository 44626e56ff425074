//! `feed`: a whole population fed to an empty server without a disk, 1,000 entries per request.

use super::{Bench, MILLION, before, short};
use crate::check;
use crate::error::Result;
use crate::feed::{Part, feed, generator_speed};
use crate::options::Suite;
use crate::population::Population;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::Subject;
use crate::tally::Tally;

const PARTS: u64 = 10;
const AT_MOST_US: f64 = 1.0;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let users = bench.options.users_or(&[MILLION])[0];
    let population = Population::new(users, bench.options.seed);
    let server = Subject::purser(bench.cores.server).start(bench.cores.server)?;
    let mut tally = Tally::new(&population);
    let parts = feed(&server, &population, &mut tally, PARTS)?;
    check::check(&server, &tally, 0)?;
    server.stop()?;

    let total: f64 = parts.iter().map(|part| part.cpu.as_secs_f64() * 1e6).sum();
    let tenths = Spread::of(parts.iter().map(Part::cpu_us_per_entry));
    let whole = Spread { median: total / population.len() as f64, ..tenths };
    let generated = generator_speed(&population)? / 1e6;
    let mut report = Report {
        suite: Suite::Feed,
        title: format!(
            "POST entries, no disk: {} users, {} entries, 1,000 per request",
            short(users),
            population.len()
        ),
        rows: rows(&parts),
        figures: vec![Figure {
            what: "CPU per entry: whole feed (min and max of its parts)".to_owned(),
            value: whole,
            decimals: 3,
            unit: " us",
            at_most: Some(AT_MOST_US),
        }],
        notes: vec![format!("The generator alone produces {generated:.2} M lines/s.")],
    };
    before::feed(bench, &population)?.add_to(&mut report);
    Ok(report)
}

fn rows(parts: &[Part]) -> Vec<Vec<String>> {
    let mut rows =
        vec![["part", "entries", "entries/s", "server CPU us/entry"].map(String::from).to_vec()];
    for (index, part) in parts.iter().enumerate() {
        rows.push(vec![
            (index + 1).to_string(),
            part.entries.to_string(),
            format!("{:.0}", part.entries as f64 / part.wall.as_secs_f64()),
            format!("{:.3}", part.cpu_us_per_entry()),
        ]);
    }
    rows
}
