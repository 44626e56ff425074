//! One user's ledger: a list of all accepted entries, and the verdict on the next one.
//!
//! Balances, open holds and lifetime sums are kept beside the list because each verdict needs them;
//! statistics are counted from the list. Money is `i128`, kept within `int64` by checks; time is
//! `i64` milliseconds. The ledger reads no clock, and a refused entry changes nothing.

use super::problem::Code;
use super::stats::{BUCKET, DAY, HOUR, floor};
use std::collections::{BTreeMap, HashMap};

pub const MAX_CURRENCIES: usize = 16;
pub const MAX_GROUPS: usize = 256;
pub const MAX_HOLDS: usize = 1_024;
pub const MAX_RECENT: usize = 1_048_576;
/// Length of the dedup window, back from the user's latest entry.
pub const DEDUP_HORIZON: i64 = DAY;
/// How far ahead of the clock an entry may be booked.
pub const MAX_AHEAD: i64 = HOUR;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Credit,
    Debit,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Direction::Credit => "credit",
            Direction::Debit => "debit",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Posted,
    Pending,
    Voided,
}

/// Key of a statistics group; its field order is the sort order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub currency: String,
    pub kind: String,
    pub direction: Direction,
}

/// The parsed fields of an entry; a resend with equal fields is a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: u128,
    pub user_id: u64,
    /// Absent in a settlement.
    pub group: Option<Group>,
    /// Absent when a hold is voided.
    pub amount: Option<i128>,
    pub at_ms: i64,
    pub state: State,
    pub pending_id: Option<u128>,
}

/// An accepted entry; `group` is its own or its hold's.
#[derive(Clone, Debug)]
struct Accepted {
    entry: Entry,
    group: Group,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hold {
    group: Group,
    amount: i128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub posted: i128,
    pub pending_debits: i128,
    pub pending_credits: i128,
}

impl Balance {
    pub fn available(&self) -> i128 {
        self.posted - self.pending_debits
    }

    fn post(&mut self, direction: Direction, amount: i128) {
        match direction {
            Direction::Credit => self.posted += amount,
            Direction::Debit => self.posted -= amount,
        }
    }

    fn hold(&mut self, direction: Direction, amount: i128) {
        match direction {
            Direction::Credit => self.pending_credits += amount,
            Direction::Debit => self.pending_debits += amount,
        }
    }

    fn fits(&self) -> bool {
        [self.posted, self.available(), self.pending_debits, self.pending_credits]
            .into_iter()
            .all(is_int64)
    }
}

fn is_int64(amount: i128) -> bool {
    i64::try_from(amount).is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Accepted,
    Duplicate,
}

/// A code and the field that it is about.
type Refused = (Code, &'static str);

#[derive(Clone, Debug, Default)]
pub struct User {
    accepted: Vec<Accepted>,
    /// Index in `accepted` of the latest entry with an id. An earlier entry with that id is outside
    /// the dedup window.
    by_id: HashMap<u128, usize>,
    /// Number of accepted entries per 15-minute bucket, by the bucket's first millisecond.
    in_bucket: BTreeMap<i64, usize>,
    latest_ms: Option<i64>,
    balances: BTreeMap<String, Balance>,
    holds: BTreeMap<u128, Hold>,
    sums: BTreeMap<Group, i128>,
}

impl User {
    pub fn version(&self) -> usize {
        self.accepted.len()
    }

    /// The largest `at_ms` so far, N in the contract; `None` before the first accepted entry.
    pub fn as_of_ms(&self) -> Option<i64> {
        self.latest_ms
    }

    pub fn balances(&self) -> &BTreeMap<String, Balance> {
        &self.balances
    }

    /// Ids and amounts of open holds.
    pub fn open_holds(&self) -> impl Iterator<Item = (u128, i128)> {
        self.holds.iter().map(|(id, hold)| (*id, hold.amount))
    }

    /// The postings that statistics count: group, amount and time of each posted entry or
    /// settlement.
    pub fn postings(&self) -> impl Iterator<Item = (&Group, i128, i64)> {
        self.accepted.iter().filter_map(|accepted| {
            let entry = &accepted.entry;
            let amount = entry.amount.filter(|_| matches!(entry.state, State::Posted))?;
            Some((&accepted.group, amount, entry.at_ms))
        })
    }

    /// Gives the verdict on an entry and applies it if accepted. The first failed check decides.
    pub fn apply(&mut self, now_ms: i64, entry: &Entry) -> Result<Applied, Refused> {
        if entry.at_ms > now_ms + MAX_AHEAD {
            return Err((Code::EntryInFuture, "at_ms"));
        }
        if self.is_forgotten(entry.at_ms) {
            return Err((Code::EntryTooOld, "at_ms"));
        }
        if self.is_duplicate(entry)? {
            return Ok(Applied::Duplicate);
        }
        let hold = self.settled_hold(entry)?;
        let group = match (&entry.group, &hold) {
            (Some(group), _) => group.clone(),
            (None, Some(hold)) => hold.group.clone(),
            (None, None) => unreachable!("an entry has a group or settles a hold"),
        };
        self.check_limits(entry, &group)?;
        let (balance, sum) = self.moved(entry, &group, hold.as_ref())?;
        self.keep(entry, group, balance, sum);
        Ok(Applied::Accepted)
    }

    fn is_forgotten(&self, at_ms: i64) -> bool {
        self.latest_ms.is_some_and(|latest| at_ms < latest - DEDUP_HORIZON)
    }

    fn is_duplicate(&self, entry: &Entry) -> Result<bool, Refused> {
        let conflict = Err((Code::EntryIdConflict, "entry_id"));
        let same_id = self.by_id.get(&entry.id).map(|at| &self.accepted[*at].entry);
        match same_id.filter(|known| !self.is_forgotten(known.at_ms)) {
            Some(known) if known == entry => Ok(true),
            Some(_) => conflict,
            None if self.holds.contains_key(&entry.id) => conflict,
            None => Ok(false),
        }
    }

    fn settled_hold(&self, entry: &Entry) -> Result<Option<Hold>, Refused> {
        let Some(pending_id) = entry.pending_id else {
            return Ok(None);
        };
        let Some(hold) = self.holds.get(&pending_id) else {
            return Err((Code::PendingNotFound, "pending_id"));
        };
        if entry.amount.is_some_and(|amount| amount > hold.amount) {
            return Err((Code::PendingAmountExceeded, "amount"));
        }
        Ok(Some(hold.clone()))
    }

    fn check_limits(&self, entry: &Entry, group: &Group) -> Result<(), Refused> {
        if !self.balances.contains_key(&group.currency) && self.balances.len() >= MAX_CURRENCIES {
            return Err((Code::TooManyCurrencies, "currency"));
        }
        if entry.state == State::Posted
            && !self.sums.contains_key(group)
            && self.sums.len() >= MAX_GROUPS
        {
            return Err((Code::TooManyGroups, "kind"));
        }
        if entry.state == State::Pending && self.holds.len() >= MAX_HOLDS {
            return Err((Code::TooManyHolds, ""));
        }
        if self.recent(entry.at_ms) >= MAX_RECENT {
            return Err((Code::TooManyRecent, ""));
        }
        Ok(())
    }

    /// Number of ids in the dedup window at a next entry of `at_ms`, counted by whole 15-minute
    /// buckets.
    fn recent(&self, at_ms: i64) -> usize {
        let latest = self.latest_ms.map_or(at_ms, |latest| latest.max(at_ms));
        let oldest_bucket = floor(latest - DEDUP_HORIZON, BUCKET);
        self.in_bucket.range(oldest_bucket..).map(|(_, count)| count).sum()
    }

    /// The balance of the entry's currency and the lifetime sum of its group after applying it.
    fn moved(
        &self,
        entry: &Entry,
        group: &Group,
        hold: Option<&Hold>,
    ) -> Result<(Balance, i128), Refused> {
        let mut balance = self.balances.get(&group.currency).copied().unwrap_or_default();
        let mut sum = self.sums.get(group).copied().unwrap_or_default();
        if let Some(hold) = hold {
            balance.hold(group.direction, -hold.amount);
        }
        let amount = entry.amount.unwrap_or_default();
        match entry.state {
            State::Posted => {
                balance.post(group.direction, amount);
                sum += amount;
            }
            State::Pending => balance.hold(group.direction, amount),
            State::Voided => {}
        }
        if balance.fits() && is_int64(sum) {
            Ok((balance, sum))
        } else {
            Err((Code::BalanceOverflow, "amount"))
        }
    }

    fn keep(&mut self, entry: &Entry, group: Group, balance: Balance, sum: i128) {
        self.balances.insert(group.currency.clone(), balance);
        match entry.state {
            State::Posted => {
                self.sums.insert(group.clone(), sum);
            }
            State::Pending => {
                let amount = entry.amount.expect("a hold has an amount");
                let group = group.clone();
                self.holds.insert(entry.id, Hold { group, amount });
            }
            State::Voided => {}
        }
        if let Some(settled) = entry.pending_id {
            self.holds.remove(&settled).expect("the hold was open");
        }
        self.latest_ms = self.latest_ms.max(Some(entry.at_ms));
        self.by_id.insert(entry.id, self.accepted.len());
        *self.in_bucket.entry(floor(entry.at_ms, BUCKET)).or_default() += 1;
        let entry = entry.clone();
        self.accepted.push(Accepted { entry, group });
    }

    /// The balances, recomputed from the accepted entries; must equal `balances`.
    pub fn recounted(&self) -> BTreeMap<String, Balance> {
        let mut balances: BTreeMap<String, Balance> = BTreeMap::new();
        let mut held: HashMap<u128, i128> = HashMap::new();
        for Accepted { entry, group } in &self.accepted {
            let balance = balances.entry(group.currency.clone()).or_default();
            let released = entry.pending_id.and_then(|hold| held.remove(&hold));
            balance.hold(group.direction, -released.unwrap_or_default());
            let amount = entry.amount.unwrap_or_default();
            match entry.state {
                State::Posted => balance.post(group.direction, amount),
                State::Pending => {
                    balance.hold(group.direction, amount);
                    held.insert(entry.id, amount);
                }
                State::Voided => {}
            }
        }
        balances
    }
}
