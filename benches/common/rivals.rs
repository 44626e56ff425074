//! What `sonic-rs` with serde would do in place of our readers and writers.
//!
//! Two rivals a reader: one that ends with the borrowed texts, which is less than our reader does,
//! and one that goes on to the very value that our reader gives, through our own parsers of ids,
//! currencies and times.

use purser::api::read::{Kind, Read, What};
use purser::ledger::amount::{Amount, Currency, Direction, is_kind};
use purser::ledger::entry::{Action, EntryRef, Leg};
use purser::ledger::id::{EntryId, UserId};
use purser::ledger::time::{Millis, Window};
use serde::{Deserialize, Serialize};

/// A line of the feed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    entry_id: &'a str,
    user_id: &'a str,
    currency: Option<&'a str>,
    kind: Option<&'a str>,
    direction: Option<&'a str>,
    amount: Option<i64>,
    at_ms: u64,
    state: Option<&'a str>,
    pending_id: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// The posted entry that our reader gives; settlements and holds are left out.
    pub fn posted(&self) -> Option<EntryRef<'a>> {
        if self.pending_id.is_some() || self.state.is_some_and(|state| state != "posted") {
            return None;
        }
        let direction = match self.direction? {
            "credit" => Direction::Credit,
            "debit" => Direction::Debit,
            _ => return None,
        };
        let leg = Leg {
            currency: Currency::parse(self.currency?.as_bytes())?,
            kind: self.kind.filter(|kind| is_kind(kind.as_bytes()))?,
            direction,
            amount: Amount::new(self.amount?)?,
        };
        let (id, user) =
            (EntryId::parse(self.entry_id.as_bytes())?, UserId::parse(self.user_id.as_bytes())?);
        Some(EntryRef { id, user, at: Millis::new(self.at_ms)?, action: Action::Post(leg) })
    }
}

/// A batch body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<'a> {
    #[serde(borrow)]
    pub requests: Vec<Item<'a>>,
}

/// One of its reads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item<'a> {
    user_id: &'a str,
    read: &'a str,
    window: Option<&'a str>,
    at_ms: Option<u64>,
    currency: Option<&'a str>,
    kind: Option<&'a str>,
}

impl Item<'_> {
    /// The read that our reader gives.
    pub fn read(&self) -> Option<Read> {
        let currency = self.currency.map(|text| Currency::parse(text.as_bytes()));
        let what = match (self.read, self.window, self.at_ms, self.kind) {
            ("balance", None, None, None) => What::Balance,
            ("stats", Some(window), at, kind) => What::Stats {
                window: Window::parse(window.as_bytes())?,
                at: at.map_or(Some(None), |ms| Millis::new(ms).map(Some))?,
                kind: kind.map_or(Some(None), |text| Kind::parse(text.as_bytes()).map(Some))?,
            },
            _ => return None,
        };
        let user = UserId::parse(self.user_id.as_bytes())?;
        Some(Read { user, currency: currency.map_or(Some(None), |c| c.map(Some))?, what })
    }
}

/// A balance answer's body; deserialised once from an answer of ours, so that gathering it is not
/// timed.
#[derive(Deserialize, Serialize)]
pub struct BalanceAnswer<'a> {
    user_id: &'a str,
    version: u64,
    as_of_ms: u64,
    #[serde(borrow)]
    balances: Vec<BalanceItem<'a>>,
}

/// One currency of it.
#[derive(Deserialize, Serialize)]
pub struct BalanceItem<'a> {
    currency: &'a str,
    posted: i64,
    pending_debits: i64,
    pending_credits: i64,
    available: i64,
}
