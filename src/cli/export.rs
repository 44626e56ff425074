//! `purser export`: prints all that a data directory holds of one user, as JSON, for whoever
//! compares the user by hand. One slice is recovered as at a start; nothing is changed.
//!
//! Every list has one item per line, and the order of its items does not depend on the order of the
//! entries, so that two exports can be compared by lines.

use super::Error;
use super::verify::{check, faults};
use crate::ledger::amount::Currency;
use crate::ledger::book::View;
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::time::Window;
use crate::ledger::user::{RowSource, Stat, StatsQuery};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// The flags of `export`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS, after_help = EXITS)]
pub struct Arguments {
    /// Id of the user
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    user: String,
    /// Directory to read; it must not be in use by a server
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data")]
    data: PathBuf,
}

const EXITS: &str = "\
Exit codes: 0 printed, 1 there is no such user, the directory cannot be read (in use, missing,
            unreadable or of another version) or the output cannot be written, 2 the command line
            is invalid, 3 damaged (the file and the offset are printed)";

#[derive(Serialize)]
struct Balance {
    currency: String,
    posted: i64,
    pending_debits: i64,
    pending_credits: i64,
    available: i64,
}

#[derive(Serialize)]
struct Hold<'a> {
    pending_id: String,
    currency: String,
    kind: &'a str,
    direction: &'a str,
    amount: i64,
    own_line: bool,
}

#[derive(Serialize)]
struct Figures<'a> {
    currency: String,
    kind: &'a str,
    direction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ms: Option<u64>,
    count: u64,
    sum: i64,
    min: i64,
    max: i64,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let user = UserId::parse(arguments.user.as_bytes())
        .ok_or_else(|| Error::Usage(format!("{:?} is not a user id", arguments.user)))?;
    let directory = faults::open(&arguments.data)?;
    let owner = user.slice(directory.manifest().slices);
    let (slice, ..) = check::recovered(&directory.slice(owner))?;
    let book = slice.book();
    let Some(slot) = book.find(user) else {
        let path = arguments.data.display();
        return Err(Error::Failed(format!("{path} has no accepted entry of user {user}")));
    };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(document(book.view(slot)).as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Error::Failed(format!("cannot write to standard output: {error}")))
}

/// All of a user, as JSON that ends with a line feed.
fn document(view: View<'_>) -> String {
    let View { id, user, names } = view;
    let (mut balances, mut holds) = (Vec::new(), Vec::new());
    user.visit_balances(|balance| {
        balances.push(json(&Balance {
            currency: code(balance.currency),
            posted: balance.posted,
            pending_debits: balance.pending_debits,
            pending_credits: balance.pending_credits,
            available: balance.available(),
        }));
    });
    user.visit_holds(names, |hold, currency, kind| {
        holds.push(json(&Hold {
            pending_id: uuid(hold.id),
            currency: code(currency),
            kind,
            direction: hold.direction.name(),
            amount: hold.amount,
            own_line: hold.has_own_entry,
        }));
    });
    let (mut lifetime, mut rows) = (Vec::new(), Vec::new());
    let window = Window::Lifetime;
    let query = StatsQuery { window, currency: None, kind: None };
    let (range, source) =
        (user.range(window, user.as_of()), &mut RowSource::Now { bytes_left: usize::MAX });
    user.visit_stats(names, &query, range, source, |stat| lifetime.push(json(&figures(&stat))));
    user.visit_rows(names, |range, stat| {
        let (from_ms, to_ms) = (Some(range.from_ms), Some(range.to_ms));
        rows.push(json(&Figures { from_ms, to_ms, ..figures(stat) }));
    });
    let list = |items: &[String]| {
        if items.is_empty() { "[]".to_owned() } else { format!("[\n  {}]", items.join(",\n  ")) }
    };
    format!(
        "{{\"user_id\":\"{}\",\"version\":{},\"as_of_ms\":{},\n \"balances\":{},\n \"holds\":{},\n \
         \"lifetime\":{},\n \"rows\":{}}}\n",
        id,
        user.version(),
        user.as_of().0,
        list(&balances),
        list(&holds),
        list(&lifetime),
        list(&rows),
    )
}

fn figures<'a>(stat: &Stat<'a>) -> Figures<'a> {
    let Stat { currency, kind, direction, tally } = *stat;
    Figures {
        currency: code(currency),
        kind,
        direction: direction.name(),
        from_ms: None,
        to_ms: None,
        count: tally.count,
        sum: tally.sum,
        min: tally.min,
        max: tally.max,
    }
}

fn json(item: &impl Serialize) -> String {
    sonic_rs::to_string(item).expect("text and numbers have a JSON form")
}

fn code(currency: Currency) -> String {
    String::from_utf8_lossy(currency.as_bytes()).into_owned()
}

/// The form in which every id of 128 bits can be given.
fn uuid(id: EntryId) -> String {
    let hex = format!("{:032x}", id.0);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
