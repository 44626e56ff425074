//! Bodies of answers to reads: balances, statistics, and the problem of an unknown user in a batch.

use super::problem::{Code, Problem};
use super::read::{KindFilter, Read, What};
use crate::decimal::number;
use crate::ledger::amount::Currency;
use crate::ledger::balance::Balance;
use crate::ledger::book::View;
use crate::ledger::id::UserId;
use crate::ledger::time::Millis;
use crate::ledger::user::{RowSource, Stat, StatsQuery};

/// Bytes reserved before a body is written: its fixed text and a typical list.
const TYPICAL_BYTES: usize = 512;

/// Appends the body of the answer to `read`, for a known user. `now` replaces a missing `at_ms`.
/// Returns false if `rows` do not include all rows that it needs: what was appended is then no
/// answer.
#[inline]
pub fn write(
    out: &mut Vec<u8>,
    view: View<'_>,
    read: &Read<'_>,
    now: Millis,
    rows: &mut RowSource<'_>,
) -> bool {
    match read.what {
        What::Balance => {
            write_balance(out, view, read);
            true
        }
        What::BalanceAt(at) => write_balance_at(out, view, read, at, rows),
        What::Stats { window, at, kind } => {
            let query = StatsQuery {
                window,
                currency: read.currency,
                kind: kind.as_ref().map(KindFilter::as_str),
            };
            write_stats(out, view, &query, at.unwrap_or(now), rows)
        }
    }
}

fn write_balance(out: &mut Vec<u8>, view: View<'_>, read: &Read<'_>) {
    let user = view.user;
    out.reserve(TYPICAL_BYTES);
    write_head(out, view);
    out.extend_from_slice(b",\"as_of_ms\":");
    number(out, user.as_of().0);
    out.extend_from_slice(b",\"balances\":[");
    let mut first = true;
    let mut item = |balance: &Balance| {
        open_item(out, &mut first, balance.currency);
        out.extend_from_slice(b"\",\"posted\":");
        minor(out, balance.posted);
        if balance.pending_debits | balance.pending_credits == 0 {
            // Fast path: most balances have no open hold.
            out.extend_from_slice(b",\"pending_debits\":0,\"pending_credits\":0,\"available\":");
        } else {
            out.extend_from_slice(b",\"pending_debits\":");
            minor(out, balance.pending_debits);
            out.extend_from_slice(b",\"pending_credits\":");
            minor(out, balance.pending_credits);
            out.extend_from_slice(b",\"available\":");
        }
        minor(out, balance.available());
        out.push(b'}');
    };
    match read.currency {
        None => user.visit_balances(item),
        Some(currency) => user.balance(currency).into_iter().for_each(&mut item),
    }
    out.extend_from_slice(b"]}");
}

fn write_balance_at(
    out: &mut Vec<u8>,
    view: View<'_>,
    read: &Read<'_>,
    at: Millis,
    rows: &mut RowSource<'_>,
) -> bool {
    let instant = view.user.instant(at);
    out.reserve(TYPICAL_BYTES);
    write_head(out, view);
    out.extend_from_slice(b",\"as_of_ms\":");
    number(out, view.user.as_of().0);
    out.extend_from_slice(b",\"at_ms\":");
    number(out, instant);
    out.extend_from_slice(b",\"balances\":[");
    let mut first = true;
    let is_whole = view.user.visit_posted_before(instant, rows, |currency, posted| {
        if read.currency.is_none_or(|only| only == currency) {
            open_item(out, &mut first, currency);
            out.extend_from_slice(b"\",\"posted\":");
            wide(out, posted);
            out.push(b'}');
        }
    });
    out.extend_from_slice(b"]}");
    is_whole
}

fn write_stats(
    out: &mut Vec<u8>,
    view: View<'_>,
    query: &StatsQuery<'_>,
    at: Millis,
    rows: &mut RowSource<'_>,
) -> bool {
    let range = view.user.range(query.window, at);
    out.reserve(TYPICAL_BYTES);
    write_head(out, view);
    out.extend_from_slice(b",\"from_ms\":");
    number(out, range.from_ms);
    out.extend_from_slice(b",\"to_ms\":");
    number(out, range.to_ms);
    out.extend_from_slice(b",\"stats\":[");
    let mut first = true;
    let is_whole = view.user.visit_stats(view.names, query, range, rows, |stat: Stat<'_>| {
        open_item(out, &mut first, stat.currency);
        out.extend_from_slice(b"\",\"kind\":\"");
        out.extend_from_slice(stat.kind.as_bytes());
        out.extend_from_slice(b"\",\"direction\":\"");
        out.extend_from_slice(stat.direction.name().as_bytes());
        out.extend_from_slice(b"\",\"count\":");
        number(out, stat.tally.count);
        out.extend_from_slice(b",\"sum\":");
        minor(out, stat.tally.sum);
        out.extend_from_slice(b",\"min\":");
        minor(out, stat.tally.min);
        out.extend_from_slice(b",\"max\":");
        minor(out, stat.tally.max);
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
    is_whole
}

fn write_head(out: &mut Vec<u8>, view: View<'_>) {
    out.extend_from_slice(b"{\"user_id\":\"");
    view.id.write(out);
    out.extend_from_slice(b"\",\"version\":");
    number(out, view.user.version());
}

/// Appends the batch item for a user without any accepted entry.
pub fn write_unknown_user(out: &mut Vec<u8>, user: UserId<'_>) {
    Problem::from(Code::UserNotFound).write_open(out);
    out.extend_from_slice(b",\"user_id\":\"");
    user.write(out);
    out.extend_from_slice(b"\"}");
}

/// Opens a list item with its currency. Like the numbers of [`crate::decimal`], the currency is
/// copied as a fixed number of bytes, then truncated.
#[inline]
fn open_item(out: &mut Vec<u8>, first: &mut bool, currency: Currency) {
    out.extend_from_slice(if std::mem::take(first) {
        b"{\"currency\":\""
    } else {
        &b",{\"currency\":\""[..]
    });
    let start = out.len();
    out.extend_from_slice(currency.padded());
    out.truncate(start + currency.as_bytes().len());
}

/// Appends an amount in minor units.
#[inline]
fn minor(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
}

/// Appends a figure in minor units that may exceed 64 bits.
fn wide(out: &mut Vec<u8>, value: i128) {
    match i64::try_from(value) {
        Ok(value) => minor(out, value),
        Err(_) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units() {
        for value in [0, 1, -1, 1_234_567, -10, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            minor(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
