//! `sonic-rs` with serde in place of our JSON readers and writers, for comparison.
//!
//! Each reader has two rivals. The first stops at borrowed strings, which is less than our reader
//! does. The second converts them to the same value as our reader, through our own parsers of ids,
//! currencies and times.

use purser::api::read::{KindFilter, Read, What};
use purser::ledger::amount::{Amount, Currency, Direction, is_kind};
use purser::ledger::entry::{Action, EntryRef, Movement};
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
    /// Returns the posted entry that our reader would return; `None` for settlements and holds,
    /// which are not supported.
    pub fn posted(&self) -> Option<EntryRef<'a>> {
        if self.pending_id.is_some() || self.state.is_some_and(|state| state != "posted") {
            return None;
        }
        let direction = match self.direction? {
            "credit" => Direction::Credit,
            "debit" => Direction::Debit,
            _ => return None,
        };
        let movement = Movement {
            currency: Currency::parse(self.currency?.as_bytes())?,
            kind: self.kind.filter(|kind| is_kind(kind.as_bytes()))?,
            direction,
            amount: Amount::new(self.amount?)?,
        };
        let (id, user) =
            (EntryId::parse(self.entry_id.as_bytes())?, UserId::parse(self.user_id.as_bytes())?);
        Some(EntryRef {
            id,
            user,
            at: Millis::new(self.at_ms)?,
            late_accepted: false,
            action: Action::Post(movement),
        })
    }
}

/// A batch body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch<'a> {
    #[serde(borrow)]
    pub requests: Vec<Item<'a>>,
}

/// One read of a batch.
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

impl<'a> Item<'a> {
    /// Returns the read that our reader would return.
    pub fn read(&self) -> Option<Read<'a>> {
        let currency = self.currency.map(|text| Currency::parse(text.as_bytes()));
        let what = match (self.read, self.window, self.at_ms, self.kind) {
            ("balance", None, None, None) => What::Balance,
            ("stats", Some(window), at, kind) => What::Stats {
                window: Window::parse(window.as_bytes())?,
                at: at.map_or(Some(None), |ms| Millis::new(ms).map(Some))?,
                kind: kind
                    .map_or(Some(None), |text| KindFilter::parse(text.as_bytes()).map(Some))?,
            },
            _ => return None,
        };
        let user = UserId::parse(self.user_id.as_bytes())?;
        Some(Read { user, currency: currency.map_or(Some(None), |c| c.map(Some))?, what })
    }
}

/// Body of a balance answer, deserialised once from one of our answers, so that collecting the data
/// is not timed.
#[derive(Deserialize, Serialize)]
pub struct BalanceAnswer<'a> {
    user_id: &'a str,
    version: u64,
    as_of_ms: u64,
    #[serde(borrow)]
    balances: Vec<BalanceItem<'a>>,
}

/// One currency of a balance.
#[derive(Deserialize, Serialize)]
pub struct BalanceItem<'a> {
    currency: &'a str,
    posted: i64,
    pending_debits: i64,
    pending_credits: i64,
    available: i64,
}
