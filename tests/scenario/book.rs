//! The wallet's own book: what a system of record knows of its users, and the reads that it expects
//! of a mirror.
//!
//! Each user has a plain list of postings and a map of open holds. Every sum, statistic and past
//! balance is computed from the list when it is asked for, with the rounding rules of the contract.
//! Nothing here is taken from the program or from the naive model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

pub const MINUTE: u64 = 60_000;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;
const QUARTER: u64 = 15 * MINUTE;

/// Currencies, sorted by bytes.
pub const CURRENCIES: [&str; 6] = ["COIN", "EUR", "GBP", "JPY", "USD/2", "XAU"];

/// Kinds, sorted by bytes.
pub const KINDS: [&str; 13] = [
    "cashback",
    "chargeback",
    "chargeback.fee",
    "exchange",
    "fee",
    "gift_received",
    "gift_sent",
    "login",
    "payment",
    "payment.captured",
    "payout",
    "refund",
    "topup",
];

/// The place of a kind in [`KINDS`].
pub fn kind(name: &str) -> u8 {
    KINDS.iter().position(|kind| *kind == name).expect("a kind of the table") as u8
}

/// Currency, kind and direction: places in the tables. The order is that of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub currency: u8,
    pub kind: u8,
    pub debit: bool,
}

impl Group {
    pub fn currency(self) -> &'static str {
        CURRENCIES[usize::from(self.currency)]
    }

    pub fn kind(self) -> &'static str {
        KINDS[usize::from(self.kind)]
    }

    pub fn direction(self) -> &'static str {
        if self.debit { "debit" } else { "credit" }
    }
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Money moves.
    Post(Group, i64),
    /// A hold is opened by its own entry or by one that names it, or grows. Terms may be left out
    /// where it is open.
    Hold { id: Option<String>, terms: Option<Group>, amount: i64 },
    /// Money moves because of a hold; if `last`, the rest of it is released.
    Capture { id: String, terms: Option<Group>, amount: i64, last: bool },
    /// A hold is released: this much, or all of it.
    Void { id: String, terms: Option<Group>, amount: Option<i64> },
}

/// One decision of the wallet.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub user: usize,
    pub at: u64,
    pub deed: Deed,
}

#[derive(Clone, Copy, Debug)]
pub struct Posting {
    pub at: u64,
    pub amount: i64,
    pub group: Group,
}

#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub group: Group,
    pub left: i64,
}

/// All that is known of one user.
#[derive(Debug, Default)]
pub struct Account {
    entries: u64,
    as_of: u64,
    currencies: BTreeSet<u8>,
    pub postings: Vec<Posting>,
    pub holds: HashMap<String, Held>,
}

/// A read of one user.
#[derive(Clone, Debug)]
pub enum Read {
    Balance { currency: Option<u8> },
    Past { at: u64, currency: Option<u8> },
    Lifetime { currency: Option<u8>, kind: Option<u8> },
    Window { window: (u64, &'static str), at: u64, currency: Option<u8>, kind: Option<u8> },
}

/// Edges of a user's statistics: 15 minutes from `fine` on, hours from `hourly` on, days before;
/// before `cut` nothing is kept.
struct Grains {
    fine: u64,
    hourly: u64,
    cut: u64,
}

fn down(time: u64, grain: u64) -> u64 {
    time - time % grain
}

fn up(time: u64, grain: u64) -> u64 {
    down(time + grain - 1, grain)
}

impl Grains {
    fn of(n: u64) -> Self {
        Self {
            fine: down(n.saturating_sub(26 * HOUR), HOUR),
            hourly: down(n.saturating_sub(8 * DAY), DAY),
            cut: down(n.saturating_sub(400 * DAY), DAY),
        }
    }

    fn at(&self, time: u64) -> u64 {
        match time {
            _ if time >= self.fine => QUARTER,
            _ if time >= self.hourly => HOUR,
            _ => DAY,
        }
    }

    /// The first instant, not before `time`, at which figures are exact.
    fn after(&self, time: u64) -> u64 {
        up(time, self.at(time)).max(self.cut)
    }

    /// The last instant, not after `time`, at which figures are exact.
    fn before(&self, time: u64) -> u64 {
        down(time, self.at(time)).max(self.cut)
    }
}

impl Account {
    /// Books a decision. It is not judged.
    pub fn book(&mut self, id: &str, at: u64, deed: &Deed) {
        self.entries += 1;
        self.as_of = self.as_of.max(at);
        match deed {
            Deed::Post(group, amount) => self.post(at, *group, *amount),
            Deed::Hold { id: named, terms, amount } => {
                let id = named.as_deref().unwrap_or(id);
                let group = self.terms(id, *terms);
                self.currencies.insert(group.currency);
                if *amount > 0 {
                    let held = self.holds.entry(id.to_owned()).or_insert(Held { group, left: 0 });
                    held.left += amount;
                }
            }
            Deed::Capture { id, terms, amount, last } => {
                let group = self.terms(id, *terms);
                self.post(at, group, *amount);
                self.release(id, if *last { i64::MAX } else { *amount });
            }
            Deed::Void { id, terms, amount } => {
                let group = self.terms(id, *terms);
                self.currencies.insert(group.currency);
                self.release(id, amount.unwrap_or(i64::MAX));
            }
        }
    }

    /// The terms given, or the hold's.
    fn terms(&self, id: &str, given: Option<Group>) -> Group {
        given.unwrap_or_else(|| self.holds[id].group)
    }

    fn post(&mut self, at: u64, group: Group, amount: i64) {
        self.currencies.insert(group.currency);
        self.postings.push(Posting { at, amount, group });
    }

    fn release(&mut self, id: &str, amount: i64) {
        if let Some(held) = self.holds.get_mut(id) {
            held.left -= amount.min(held.left);
            if held.left == 0 {
                self.holds.remove(id);
            }
        }
    }

    /// Whether the wallet has had nothing to do with this user.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The time of the user's latest entry.
    pub fn as_of(&self) -> u64 {
        self.as_of
    }

    /// The version that a mirror should have.
    pub fn version(&self) -> u64 {
        self.entries
    }

    fn posted(&self, currency: u8, before: u64) -> i64 {
        let of = |posting: &&Posting| posting.group.currency == currency && posting.at < before;
        let signed = |p: &Posting| if p.group.debit { -p.amount } else { p.amount };
        self.postings.iter().filter(of).map(signed).sum()
    }

    fn pending(&self, currency: u8, debit: bool) -> i64 {
        let held = self.holds.values().filter(|held| held.group.debit == debit);
        held.filter(|held| held.group.currency == currency).map(|held| held.left).sum()
    }

    /// The body that a mirror should answer to a read.
    pub fn body(&self, user: &str, read: &Read) -> String {
        let mut text = format!("{{\"user_id\":\"{user}\",\"version\":{}", self.entries);
        match read {
            Read::Balance { currency } => {
                let row = |c: u8| {
                    let (posted, debits) = (self.posted(c, u64::MAX), self.pending(c, true));
                    format!(
                        "\"posted\":{posted},\"pending_debits\":{debits},\"pending_credits\":{},\
                         \"available\":{}",
                        self.pending(c, false),
                        posted - debits
                    )
                };
                let list = self.listed(*currency, row);
                let _ = write!(text, ",\"as_of_ms\":{},\"balances\":[{list}]}}", self.as_of);
            }
            Read::Past { at, currency } => {
                let instant = Grains::of(self.as_of).after(up(*at, QUARTER));
                let list =
                    self.listed(*currency, |c| format!("\"posted\":{}", self.posted(c, instant)));
                let as_of = self.as_of;
                let _ = write!(
                    text,
                    ",\"as_of_ms\":{as_of},\"at_ms\":{instant},\"balances\":[{list}]}}"
                );
            }
            Read::Lifetime { currency, kind } => {
                let to = down(self.as_of, QUARTER) + QUARTER;
                text += &self.statistics((0, to), *currency, *kind);
            }
            Read::Window { window, at, currency, kind } => {
                let grains = Grains::of(self.as_of);
                let to = down(*at, QUARTER) + QUARTER;
                let from = to.saturating_sub(window.0);
                text += &self.statistics((grains.before(from), grains.after(to)), *currency, *kind);
            }
        }
        text
    }

    fn listed(&self, only: Option<u8>, row: impl Fn(u8) -> String) -> String {
        let kept = self.currencies.iter().filter(|currency| only.is_none_or(|o| o == **currency));
        let name = |currency: u8| CURRENCIES[usize::from(currency)];
        let rows = kept.map(|&c| format!("{{\"currency\":\"{}\",{}}}", name(c), row(c)));
        rows.collect::<Vec<_>>().join(",")
    }

    fn statistics(&self, range: (u64, u64), currency: Option<u8>, kind: Option<u8>) -> String {
        // Count, sum, minimum and maximum.
        let mut figures: BTreeMap<Group, (u64, i64, i64, i64)> = BTreeMap::new();
        for posting in self.postings.iter().filter(|p| (range.0..range.1).contains(&p.at)) {
            let (group, amount) = (posting.group, posting.amount);
            let is_asked = currency.is_none_or(|currency| currency == group.currency)
                && kind.is_none_or(|kind| kind == group.kind);
            if is_asked {
                let row = figures.entry(group).or_insert((0, 0, i64::MAX, 0));
                *row = (row.0 + 1, row.1 + amount, row.2.min(amount), row.3.max(amount));
            }
        }
        let row = |(group, (count, sum, min, max)): (Group, (u64, i64, i64, i64))| {
            format!(
                "{{\"currency\":\"{}\",\"kind\":\"{}\",\"direction\":\"{}\",\"count\":{count},\
                 \"sum\":{sum},\"min\":{min},\"max\":{max}}}",
                group.currency(),
                group.kind(),
                group.direction()
            )
        };
        let rows = figures.into_iter().map(row).collect::<Vec<_>>().join(",");
        let (from, to) = range;
        format!(",\"from_ms\":{from},\"to_ms\":{to},\"stats\":[{rows}]}}")
    }
}

impl Read {
    /// The read as an item of a batch.
    pub fn item(&self, user: &str) -> String {
        let mut text = format!("{{\"user_id\":\"{user}\",\"read\":\"{}\"", self.name());
        for (name, value) in self.parameters() {
            let _ = match name {
                "at_ms" => write!(text, ",\"{name}\":{value}"),
                _ => write!(text, ",\"{name}\":\"{value}\""),
            };
        }
        text + "}"
    }

    /// The read as a request target.
    pub fn target(&self, user: &str) -> String {
        let query: Vec<_> =
            self.parameters().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("/v1/users/{user}/{}{mark}{}", self.name(), query.join("&"))
    }

    fn name(&self) -> &'static str {
        match self {
            Read::Balance { .. } | Read::Past { .. } => "balance",
            Read::Lifetime { .. } | Read::Window { .. } => "stats",
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let (window, at, currency, kind) = match self {
            Read::Balance { currency } => (None, None, currency, &None),
            Read::Past { at, currency } => (None, Some(*at), currency, &None),
            Read::Lifetime { currency, kind } => (Some("lifetime"), None, currency, kind),
            Read::Window { window, at, currency, kind } => {
                (Some(window.1), Some(*at), currency, kind)
            }
        };
        let mut list = Vec::new();
        list.extend(window.map(|window| ("window", window.to_owned())));
        list.extend(at.map(|at| ("at_ms", at.to_string())));
        list.extend(currency.map(|c| ("currency", CURRENCIES[usize::from(c)].to_owned())));
        list.extend(kind.map(|kind| ("kind", KINDS[usize::from(kind)].to_owned())));
        list
    }
}

#[test]
fn tables_are_sorted() {
    assert!(CURRENCIES.is_sorted() && KINDS.is_sorted());
}
