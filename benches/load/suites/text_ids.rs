//! `text-ids`: UUIDs as user ids against numbers. Two servers hold the same population, one under
//! each form of its ids, and run at the same time; all that is measured alternates between them.
//!
//! First, each round feeds the whole population to a new server, for the cost of an entry while
//! users are new, and for the memory. The servers of the last round then answer balances and are
//! fed entries of users that they know. Where valgrind is installed, the instructions of a balance
//! and of an entry are counted too (`instructions`).

use super::{Bench, CONNECTIONS, Loaded, MILLION, instructions, short};
use crate::closed::{Dialect, Feeder};
use crate::error::Result;
use crate::host;
use crate::lines::LINES_PER_BODY;
use crate::options::Suite;
use crate::population::Population;
use crate::report::{self, Figure, Report};
use crate::rounds::{Plan, Series, Spread, Variant, in_turn, measure};
use crate::server::Subject;
use crate::user_id::IdForm;

const FORMS: [(&str, IdForm); 2] = [("numbers", IdForm::Number), ("UUIDs", IdForm::Uuid)];
const BALANCE_AT_MOST: f64 = 1.10;
const ENTRY_AT_MOST: f64 = 1.15;
const MORE_BYTES_AT_MOST: f64 = 48.0;
/// Below this many users the rest of the program outweighs the ids.
const ENOUGH_USERS: u64 = MILLION;

/// Result of a feed of the whole population to an empty server.
struct Whole {
    cpu_us_per_entry: f64,
    bytes_per_user: f64,
}

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let options = &bench.options;
    let plan = Plan { shuffled: true, ..options.plan(bench.cores) };
    let (users, connections) =
        (options.users_or(&[MILLION])[0], options.connections_or(&[CONNECTIONS])[0]);
    let population = Population::new(users, options.seed);
    let (mut loaded, wholes) = whole_feeds(bench, population, &plan)?;
    let series = balances(&loaded, connections, &plan)?;
    loaded.iter().try_for_each(|loaded| loaded.check(1))?;
    let entries = entries(&mut loaded, &plan)?;
    loaded.iter().try_for_each(|loaded| loaded.check(2))?;
    loaded.into_iter().try_for_each(|loaded| loaded.server.stop())?;

    let mut figures =
        vec![against("CPU per balance", series[1].against(&series[0]), Some(BALANCE_AT_MOST))];
    figures.extend(entry_figures("whole feed", &each(&wholes, |whole| whole.cpu_us_per_entry)));
    figures.extend(entry_figures("known users", &entries));
    figures.extend(memory_figures(&each(&wholes, |whole| whole.bytes_per_user), users));
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

/// Feeds whole populations in turn. Returns the servers of the last round, and the kept rounds of
/// each form.
fn whole_feeds(
    bench: &Bench,
    population: Population,
    plan: &Plan,
) -> Result<(Vec<Loaded>, Vec<Vec<Whole>>)> {
    let subject = Subject::purser(bench.cores.server);
    let mut last = FORMS.map(|_| None);
    let wholes = in_turn(FORMS.len(), plan, |side, _| {
        drop(last[side].take());
        let population = Population { form: FORMS[side].1, ..population };
        let (loaded, whole) = Loaded::fed(&subject, population, bench.cores)?;
        loaded.check(0)?;
        let memory = loaded.server.memory()?;
        last[side] = Some(loaded);
        Ok(Whole {
            cpu_us_per_entry: whole.cpu_us_per_entry(),
            bytes_per_user: memory.rss.max(memory.pss) as f64 / population.users as f64,
        })
    })?;
    Ok((last.into_iter().flatten().collect(), wholes))
}

fn each(wholes: &[Vec<Whole>], of: fn(&Whole) -> f64) -> Vec<Vec<f64>> {
    wholes.iter().map(|rounds| rounds.iter().map(of).collect()).collect()
}

fn balances(loaded: &[Loaded], connections: usize, plan: &Plan) -> Result<Vec<Series>> {
    let variants: Vec<Variant<'_>> = FORMS
        .iter()
        .zip(loaded)
        .map(|((name, _), loaded)| loaded.balances(format!("balance, {name}"), connections))
        .collect();
    measure(&variants, plan)
}

/// CPU per entry of each form in each round, in microseconds; the entries go on where the history
/// ended.
fn entries(loaded: &mut [Loaded], plan: &Plan) -> Result<Vec<Vec<f64>>> {
    let mut feeders: Vec<Feeder<'_>> = loaded
        .iter()
        .map(|Loaded { server, population, tally, .. }| {
            Feeder::new(server, Dialect::Http, *population, tally.clone(), population.more())
        })
        .collect();
    let costs = in_turn(feeders.len(), plan, |side, _| {
        let fed = feeders[side].round(LINES_PER_BODY as usize, 1, plan.seconds)?;
        Ok(fed.cpu.as_secs_f64() * 1e6 / fed.entries as f64)
    })?;
    let tallies: Vec<_> = feeders.into_iter().map(|feeder| feeder.tally).collect();
    loaded.iter_mut().zip(tallies).for_each(|(loaded, tally)| loaded.tally = tally);
    Ok(costs)
}

/// The figure of a ratio, UUIDs to numbers.
fn against(what: &str, value: Spread, at_most: Option<f64>) -> Figure {
    let what = format!("{what}, UUIDs against numbers");
    Figure { what, value, decimals: 3, unit: "x", at_most }
}

/// The values of each form, without a target.
fn alone<'a>(
    what: &'a str,
    rounds: &'a [Vec<f64>],
    decimals: usize,
    unit: &'static str,
) -> impl Iterator<Item = Figure> + 'a {
    FORMS.iter().zip(rounds).map(move |((name, _), rounds)| Figure {
        what: format!("{what}, {name}"),
        value: Spread::of(rounds.iter().copied()),
        decimals,
        unit,
        at_most: None,
    })
}

fn entry_figures(feed: &str, costs: &[Vec<f64>]) -> Vec<Figure> {
    let what = format!("CPU per entry, {feed}");
    let ratios = costs[1].iter().zip(&costs[0]).map(|(uuids, numbers)| uuids / numbers);
    let ratio = against(&what, Spread::of(ratios), Some(ENTRY_AT_MOST));
    alone(&what, costs, 3, " us").chain([ratio]).collect()
}

fn memory_figures(bytes: &[Vec<f64>], users: u64) -> Vec<Figure> {
    let more = bytes[1].iter().zip(&bytes[0]).map(|(uuids, numbers)| uuids - numbers);
    let more = Figure {
        what: "more bytes per user, UUIDs against numbers".to_owned(),
        value: Spread::of(more),
        decimals: 1,
        unit: " B",
        at_most: (users >= ENOUGH_USERS).then_some(MORE_BYTES_AT_MOST),
    };
    alone("resident bytes per user", bytes, 1, " B").chain([more]).collect()
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
