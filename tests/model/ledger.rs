//! One user's ledger: a list of all accepted entries, and the verdict on the next one.
//!
//! Balances, open holds and lifetime sums are kept beside the list because each verdict needs them;
//! statistics are counted from the list. Money is `i128`, kept within `int64` by checks; time is
//! `i64` milliseconds. The ledger reads no clock, and a refused entry changes nothing.

use super::problem::Code;
use super::stats::{DAY, HOUR};
use std::collections::{BTreeMap, HashMap};

pub const MAX_CURRENCIES: usize = 16;
pub const MAX_GROUPS: usize = 256;
pub const MAX_HOLDS: usize = 65_536;
/// Longest dedup window, back from the user's latest entry.
pub const DEDUP_HORIZON: i64 = DAY;
/// Accepted entries after which the dedup window begins anew.
pub const SPAN: usize = 524_288;
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
    pub user_id: String,
    /// May be left out on a line with `pending_id`.
    pub group: Option<Group>,
    /// May be left out when a hold is voided.
    pub amount: Option<i128>,
    pub at_ms: i64,
    pub state: State,
    pub pending_id: Option<u128>,
    /// Whether a settlement releases what it does not post; true in all other entries.
    pub is_final: bool,
}

impl Entry {
    /// The hold that the entry opens or changes.
    fn hold_id(&self) -> Option<u128> {
        let own = matches!(self.state, State::Pending).then_some(self.id);
        self.pending_id.or(own)
    }
}

/// An accepted entry; `group` is its own or its hold's.
#[derive(Clone, Debug)]
struct Accepted {
    entry: Entry,
    group: Group,
    /// The user's latest time when it had been accepted.
    kept_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hold {
    group: Group,
    amount: i128,
    /// Whether the entry with its id was accepted, a pending one without `pending_id`.
    has_own_line: bool,
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
    /// Index in `accepted` of the latest entry with an id. An earlier entry with that id is
    /// forgotten.
    by_id: HashMap<u128, usize>,
    latest_ms: Option<i64>,
    /// R and S in the contract.
    restarts: (i64, i64),
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

    /// Open holds by id: what they are held for, their amounts, and whether their own lines were
    /// accepted.
    pub fn open_holds(&self) -> impl ExactSizeIterator<Item = (u128, &Group, i128, bool)> {
        self.holds.iter().map(|(id, hold)| (*id, &hold.group, hold.amount, hold.has_own_line))
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

    /// Start of the dedup window: entries before it are late, ids kept before it are forgotten.
    pub fn window_ms(&self) -> i64 {
        let latest = self.latest_ms.unwrap_or_default();
        (latest - DEDUP_HORIZON).max(self.restarts.0)
    }

    /// Gives the verdict on an entry and applies it if accepted. The first failed check decides.
    /// With `late`, late entries are accepted.
    pub fn apply(&mut self, now_ms: i64, late: bool, entry: &Entry) -> Result<Applied, Refused> {
        if entry.at_ms > now_ms + MAX_AHEAD {
            return Err((Code::EntryInFuture, "at_ms"));
        }
        if !late && entry.at_ms < self.window_ms() {
            return Err((Code::EntryTooOld, "at_ms"));
        }
        if self.is_duplicate(entry)? {
            return Ok(Applied::Duplicate);
        }
        let hold = entry.hold_id().and_then(|id| self.holds.get(&id)).cloned();
        let group = group_of(entry, hold.as_ref())?;
        let after = hold_after(entry, hold.clone(), &group);
        self.check_limits(entry, &group, hold.is_none() && after.is_some())?;
        let change = held(after.as_ref()) - held(hold.as_ref());
        let (balance, sum) = self.moved(entry, &group, change)?;
        self.keep(entry, group, balance, sum, after);
        Ok(Applied::Accepted)
    }

    fn is_duplicate(&self, entry: &Entry) -> Result<bool, Refused> {
        let conflict = Err((Code::EntryIdConflict, "entry_id"));
        let same_id = self.by_id.get(&entry.id).map(|at| &self.accepted[*at]);
        match same_id.filter(|known| known.kept_ms >= self.window_ms()) {
            Some(known) if known.entry == *entry => Ok(true),
            Some(_) => conflict,
            None if self.holds.get(&entry.id).is_some_and(|hold| hold.has_own_line) => conflict,
            None => Ok(false),
        }
    }

    fn check_limits(&self, entry: &Entry, group: &Group, opens: bool) -> Result<(), Refused> {
        if !self.balances.contains_key(&group.currency) && self.balances.len() >= MAX_CURRENCIES {
            return Err((Code::TooManyCurrencies, "currency"));
        }
        if entry.state == State::Posted
            && !self.sums.contains_key(group)
            && self.sums.len() >= MAX_GROUPS
        {
            return Err((Code::TooManyGroups, "kind"));
        }
        if opens && self.holds.len() >= MAX_HOLDS {
            return Err((Code::TooManyHolds, ""));
        }
        Ok(())
    }

    /// The balance of the entry's currency and the lifetime sum of its group after applying it;
    /// `held` is what it adds to the pending amounts.
    fn moved(&self, entry: &Entry, group: &Group, held: i128) -> Result<(Balance, i128), Refused> {
        let mut balance = self.balances.get(&group.currency).copied().unwrap_or_default();
        let mut sum = self.sums.get(group).copied().unwrap_or_default();
        balance.hold(group.direction, held);
        if entry.state == State::Posted {
            let amount = entry.amount.expect("a posted entry has an amount");
            balance.post(group.direction, amount);
            sum += amount;
        }
        if balance.fits() && is_int64(sum) {
            Ok((balance, sum))
        } else {
            Err((Code::BalanceOverflow, "amount"))
        }
    }

    fn keep(
        &mut self,
        entry: &Entry,
        group: Group,
        balance: Balance,
        sum: i128,
        hold: Option<Hold>,
    ) {
        self.balances.insert(group.currency.clone(), balance);
        if entry.state == State::Posted {
            self.sums.insert(group.clone(), sum);
        }
        if let Some(id) = entry.hold_id() {
            match hold {
                Some(hold) => self.holds.insert(id, hold),
                None => self.holds.remove(&id),
            };
        }
        self.latest_ms = self.latest_ms.max(Some(entry.at_ms));
        let kept_ms = self.latest_ms.expect("it was just set");
        self.by_id.insert(entry.id, self.accepted.len());
        let entry = entry.clone();
        self.accepted.push(Accepted { entry, group, kept_ms });
        if self.accepted.len().is_multiple_of(SPAN) {
            self.restarts = (self.restarts.1, kept_ms);
        }
    }

    /// The balances, recomputed from the accepted entries; must equal `balances`.
    pub fn recounted(&self) -> BTreeMap<String, Balance> {
        let mut balances: BTreeMap<String, Balance> = BTreeMap::new();
        let mut holds: HashMap<u128, Hold> = HashMap::new();
        for Accepted { entry, group, .. } in &self.accepted {
            let balance = balances.entry(group.currency.clone()).or_default();
            if entry.state == State::Posted {
                balance.post(group.direction, entry.amount.expect("it has an amount"));
            }
            let Some(id) = entry.hold_id() else { continue };
            let before = holds.remove(&id);
            let after = hold_after(entry, before.clone(), group);
            balance.hold(group.direction, held(after.as_ref()) - held(before.as_ref()));
            holds.extend(after.map(|hold| (id, hold)));
        }
        balances
    }
}

fn held(hold: Option<&Hold>) -> i128 {
    hold.map_or(0, |hold| hold.amount)
}

/// The group that an entry counts for: its own, or that of the open hold which it changes. Its own
/// must agree with that of an open hold in currency and direction.
fn group_of(entry: &Entry, hold: Option<&Hold>) -> Result<Group, Refused> {
    match (&entry.group, hold) {
        (None, None) => Err((Code::PendingNotFound, "pending_id")),
        (None, Some(hold)) => Ok(hold.group.clone()),
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(hold)) => {
            let is_named = entry.pending_id.is_some();
            let mismatch =
                |field| Err((Code::PendingMismatch, if is_named { "pending_id" } else { field }));
            if own.currency != hold.group.currency {
                return mismatch("currency");
            }
            if own.direction != hold.group.direction {
                return mismatch("direction");
            }
            Ok(own.clone())
        }
    }
}

/// The hold that an entry leaves, after what it adds and releases; `None` if nothing is held.
fn hold_after(entry: &Entry, hold: Option<Hold>, group: &Group) -> Option<Hold> {
    entry.hold_id()?;
    let mut hold =
        hold.unwrap_or_else(|| Hold { group: group.clone(), amount: 0, has_own_line: false });
    let released = match entry.state {
        State::Pending => {
            hold.amount += entry.amount.unwrap_or_default();
            hold.has_own_line |= entry.pending_id.is_none();
            0
        }
        State::Posted if entry.is_final => hold.amount,
        State::Posted | State::Voided => entry.amount.unwrap_or(hold.amount),
    };
    hold.amount = (hold.amount - released).max(0);
    (hold.amount > 0).then_some(hold)
}
