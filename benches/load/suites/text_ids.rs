//! `text-ids`: UUIDs as user ids against numbers. Two servers hold the same population, one under
//! each form of its ids, and run at the same time; balances and entries are measured in turn.
//!
//! Memory is that of the whole population, before any other load. Where valgrind is installed, the
//! instructions of a balance and of an entry are counted too (`instructions`).

use super::{Bench, CONNECTIONS, Loaded, MILLION, instructions, short};
use crate::closed::{Dialect, Feeder};
use crate::error::Result;
use crate::feed::Part;
use crate::host;
use crate::lines::LINES_PER_BODY;
use crate::options::Suite;
use crate::population::Population;
use crate::report::{self, Figure, Report};
use crate::rounds::{Plan, Series, Spread, Variant, in_turn, measure};
use crate::server::Subject;
use crate::user_id::IdForm;
use crate::wrk::{Load, Script};

const FORMS: [(&str, IdForm); 2] = [("numbers", IdForm::Number), ("UUIDs", IdForm::Uuid)];
const BALANCE_AT_MOST: f64 = 1.10;
const ENTRY_AT_MOST: f64 = 1.15;
const MORE_BYTES_AT_MOST: f64 = 48.0;
/// Below this many users the rest of the program outweighs the ids.
const ENOUGH_USERS: u64 = MILLION;
/// Parts of the first feed, compared one by one.
const PARTS: u64 = 10;

/// A server with the population under one form of its ids.
struct Side {
    loaded: Loaded,
    first_feed: Vec<Part>,
    bytes_per_user: f64,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let (options, plan) = (&bench.options, bench.options.plan(bench.cores));
    let (users, connections) =
        (options.users_or(&[MILLION])[0], options.connections_or(&[CONNECTIONS])[0]);
    let population = Population::new(users, options.seed);
    let mut sides: Vec<Side> = FORMS
        .iter()
        .map(|&(_, form)| Side::new(bench, Population { form, ..population }))
        .collect::<Result<_>>()?;
    let series = balances(&sides, connections, &plan)?;
    sides.iter().try_for_each(|side| side.loaded.check(1))?;
    let entries = entries(&mut sides, &plan)?;
    sides.iter().try_for_each(|side| side.loaded.check(2))?;

    let [numbers, uuids] = &sides[..] else { unreachable!("a side for each form") };
    let mut figures =
        vec![against("CPU per balance", series[1].against(&series[0]), Some(BALANCE_AT_MOST))];
    figures.extend(entry_figures(&entries));
    figures.push(against(
        "CPU per entry, first feed (its parts)",
        first_feeds(uuids, numbers),
        None,
    ));
    figures.extend(memory_figures(numbers, uuids, users));
    sides.into_iter().try_for_each(|side| side.loaded.server.stop())?;
    let (more, notes) = instruction_figures(bench)?;
    figures.extend(more);
    Ok(Report {
        suite: Suite::TextIds,
        title: format!(
            "UUIDs and numbers as user ids: {} users, {connections} connections",
            short(users)
        ),
        rows: report::rows(&series),
        figures,
        notes,
    })
}

impl Side {
    fn new(bench: &Bench, population: Population) -> Result<Self> {
        let subject = Subject::purser(bench.cores.server);
        let (loaded, first_feed) = Loaded::fed(&subject, population, PARTS, bench.cores)?;
        loaded.check(0)?;
        let memory = loaded.server.memory()?;
        let bytes_per_user = memory.rss.max(memory.pss) as f64 / population.users as f64;
        Ok(Self { loaded, first_feed, bytes_per_user })
    }
}

fn balances(sides: &[Side], connections: usize, plan: &Plan) -> Result<Vec<Series>> {
    let variants: Vec<Variant<'_>> = FORMS
        .iter()
        .zip(sides)
        .map(|((name, _), Side { loaded, .. })| Variant {
            name: format!("balance, {name}"),
            server: &loaded.server,
            loads: vec![Load {
                script: Script::Balance,
                connections,
                ids: &loaded.ids,
                port: None,
                core: None,
            }],
        })
        .collect();
    measure(&variants, plan)
}

/// CPU per entry of each side in each round, in microseconds; the entries go on where the history
/// ended.
fn entries(sides: &mut [Side], plan: &Plan) -> Result<Vec<Vec<f64>>> {
    let mut feeders: Vec<Feeder<'_>> = sides
        .iter()
        .map(|side| {
            let Loaded { server, population, tally, .. } = &side.loaded;
            Feeder::new(server, Dialect::Http, *population, tally.clone(), population.more())
        })
        .collect();
    let costs = in_turn(feeders.len(), plan, |side, _| {
        let fed = feeders[side].round(LINES_PER_BODY as usize, 1, plan.seconds)?;
        Ok(fed.cpu.as_secs_f64() * 1e6 / fed.entries as f64)
    })?;
    let tallies: Vec<_> = feeders.into_iter().map(|feeder| feeder.tally).collect();
    sides.iter_mut().zip(tallies).for_each(|(side, tally)| side.loaded.tally = tally);
    Ok(costs)
}

/// The figure of a ratio, UUIDs to numbers.
fn against(what: &str, value: Spread, at_most: Option<f64>) -> Figure {
    let what = format!("{what}, UUIDs against numbers");
    Figure { what, value, decimals: 3, unit: "x", at_most }
}

fn entry_figures(costs: &[Vec<f64>]) -> Vec<Figure> {
    let alone = |((name, _), costs): (&(&str, IdForm), &Vec<f64>)| Figure {
        what: format!("CPU per entry, 1,000 per request, {name}"),
        value: Spread::of(costs.iter().copied()),
        decimals: 3,
        unit: " us",
        at_most: None,
    };
    let ratios = costs[1].iter().zip(&costs[0]).map(|(uuids, numbers)| uuids / numbers);
    let ratio =
        against("CPU per entry, 1,000 per request", Spread::of(ratios), Some(ENTRY_AT_MOST));
    FORMS.iter().zip(costs).map(alone).chain([ratio]).collect()
}

/// Ratio of CPU per entry in each part of the feed to an empty server, which meets new users.
fn first_feeds(uuids: &Side, numbers: &Side) -> Spread {
    let pairs = uuids.first_feed.iter().zip(&numbers.first_feed);
    Spread::of(pairs.map(|(uuids, numbers)| uuids.cpu_us_per_entry() / numbers.cpu_us_per_entry()))
}

fn memory_figures(numbers: &Side, uuids: &Side, users: u64) -> [Figure; 3] {
    let figure = |what: &str, bytes, at_most| Figure {
        what: what.to_owned(),
        value: Spread::one(bytes),
        decimals: 1,
        unit: " B",
        at_most,
    };
    let most = (users >= ENOUGH_USERS).then_some(MORE_BYTES_AT_MOST);
    [
        figure("resident bytes per user, numbers", numbers.bytes_per_user, None),
        figure("resident bytes per user, UUIDs", uuids.bytes_per_user, None),
        figure(
            "more bytes per user, UUIDs against numbers",
            uuids.bytes_per_user - numbers.bytes_per_user,
            most,
        ),
    ]
}

/// Ratios of instructions, with the counts as a note.
fn instruction_figures(bench: &Bench) -> Result<(Vec<Figure>, Vec<String>)> {
    if !host::has("valgrind") {
        let note = "Without instructions: valgrind is not on the PATH.".to_owned();
        return Ok((Vec::new(), vec![note]));
    }
    let users = bench.options.users_or(&[MILLION])[0].min(instructions::USERS);
    let population = Population::new(users, bench.options.seed);
    let count = |form| {
        let subject = Subject::purser(bench.cores.server);
        let population = Population { form, ..population };
        instructions::count(bench, subject, &population, &[instructions::BALANCE])
    };
    let (numbers, uuids) = (count(IdForm::Number)?, count(IdForm::Uuid)?);
    let pairs = || numbers.iter().zip(&uuids);
    let figures = pairs().map(|((name, numbers), (_, uuids))| {
        against(&format!("instructions, {name}"), Spread::one(uuids / numbers), None)
    });
    let counts: Vec<String> = pairs()
        .map(|((name, numbers), (_, uuids))| format!("{name}: {numbers:.0} and {uuids:.0}"))
        .collect();
    let note = format!(
        "User-space instructions with {} users, numbers and UUIDs: {}.",
        short(users),
        counts.join("; ")
    );
    Ok((figures.collect(), vec![note]))
}
