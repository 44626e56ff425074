//! The bodies of answers: balances, statistics, and the problem of an item in a batch.

use super::problem::{Code, Problem};
use super::read::{Kind, Read, What};
use crate::ledger::amount::Currency;
use crate::ledger::book::View;
use crate::ledger::id::UserId;
use crate::ledger::time::Millis;
use crate::ledger::user::{Balance, Question, Stat};

/// Room for an answer's fixed part and a typical list, reserved at once.
const ROOM: usize = 512;

/// Appends the body that answers `read` for a user that is known. `now` is what a missing `at_ms` means.
#[inline]
pub fn write(out: &mut Vec<u8>, view: View<'_>, read: &Read, now: Millis) {
    match read.what {
        What::Balance => write_balance(out, view, read),
        What::Stats { window, at, kind } => {
            let question = Question { window, currency: read.currency, kind: kind.as_ref().map(Kind::as_str) };
            write_stats(out, view, &question, at.unwrap_or(now));
        }
    }
}

fn write_balance(out: &mut Vec<u8>, view: View<'_>, read: &Read) {
    let user = view.user;
    out.reserve(ROOM);
    write_head(out, view);
    out.extend_from_slice(b",\"as_of_ms\":");
    number(out, user.as_of().0);
    out.extend_from_slice(b",\"balances\":[");
    let mut first = true;
    let mut item = |balance: &Balance| {
        out.extend_from_slice(if std::mem::take(&mut first) { b"{\"currency\":\"" } else { &b",{\"currency\":\""[..] });
        currency(out, balance.currency);
        out.extend_from_slice(b"\",\"posted\":");
        minor(out, balance.posted);
        if balance.pending_debits | balance.pending_credits == 0 {
            // Most balances have no open hold.
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

fn write_stats(out: &mut Vec<u8>, view: View<'_>, question: &Question<'_>, at: Millis) {
    let range = view.user.range(question.window, at);
    out.reserve(ROOM);
    write_head(out, view);
    out.extend_from_slice(b",\"from_ms\":");
    number(out, range.from_ms);
    out.extend_from_slice(b",\"to_ms\":");
    number(out, range.to_ms);
    out.extend_from_slice(b",\"stats\":[");
    let mut first = true;
    view.user.visit_stats(view.names, question, range, |stat: Stat<'_>| {
        out.extend_from_slice(if std::mem::take(&mut first) { b"{\"currency\":\"" } else { &b",{\"currency\":\""[..] });
        currency(out, stat.currency);
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
}

fn write_head(out: &mut Vec<u8>, view: View<'_>) {
    out.extend_from_slice(b"{\"user_id\":\"");
    number(out, view.user.id().0);
    out.extend_from_slice(b"\",\"version\":");
    number(out, view.user.version());
}

/// Appends what a batch says of a user of whom nothing was accepted.
pub fn write_unknown_user(out: &mut Vec<u8>, user: UserId) {
    Problem::from(Code::UserNotFound).write_open(out);
    out.extend_from_slice(b",\"user_id\":\"");
    number(out, user.0);
    out.extend_from_slice(b"\"}");
}

/// Appends a currency. Copying a fixed number of bytes and cutting is cheaper than copying just as many as there are.
#[inline]
fn currency(out: &mut Vec<u8>, currency: Currency) {
    let start = out.len();
    out.extend_from_slice(currency.padded());
    out.truncate(start + currency.as_bytes().len());
}

/// Appends minor units.
#[inline]
fn minor(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
}

/// The decimal pairs `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Appends a decimal integer, two digits at a time, from a place that is as wide as any: see [`currency`].
#[inline]
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    let (mut text, mut at, mut rest) = ([0; 20], digits, value);
    while rest >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if at > 0 {
        text[0] = b'0' + rest as u8;
    }
    let start = out.len();
    out.extend_from_slice(&text);
    out.truncate(start + digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        let shown = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let widths = (0..20).flat_map(|n| [10u64.pow(n), 10u64.pow(n) - 1, 10u64.pow(n).wrapping_mul(7) | 1]);
        for value in widths.chain([0, 9, 10, 99, 100, u64::MAX]) {
            assert_eq!(shown(&|out| number(out, value)), value.to_string());
            assert_eq!(shown(&|out| minor(out, value as i64)), (value as i64).to_string());
        }
        assert_eq!(shown(&|out| minor(out, i64::MIN)), i64::MIN.to_string());
    }
}
