//! Judging: the checks that an entry of a user has to pass, in their order, and its effect.
//!
//! An entry that posts or holds money by itself is judged by what it gives. One that names a hold
//! takes what it leaves out from the open hold, and must agree with it in what it gives. Nothing is
//! changed here.

use super::amount::{Amount, Currency, Direction};
use super::balance::Balance;
use super::counters::{GroupKey, Groups, Posting};
use super::effect::{Effect, GroupChange, HoldChange};
use super::entry::{Action, EntryRef, Mismatch, Movement, Rejection, Terms, Verdict};
use super::fingerprint::SeenEntry;
use super::holds::Hold;
use super::id::EntryId;
use super::names::{KindId, Names};
use super::packed::Section;
use super::recent::{self, DedupResult};
use super::rows::Tally;
use super::time::Millis;
use super::user::User;
use super::{CURRENCIES_PER_USER, FUTURE_MS, GROUPS_PER_USER, HOLDS_PER_USER};

/// A kind by name, or by number where it is a hold's.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Named(&'a str),
    Numbered(KindId),
}

impl User {
    /// Judges an entry of this user: the effect to book, or the verdict if it is a duplicate or
    /// refused. `now` is the server's clock. Changes nothing.
    #[inline(always)]
    pub fn judge<'a>(
        &self,
        names: &Names,
        now: Millis,
        entry: &EntryRef<'a>,
    ) -> Result<Effect<'a>, Verdict> {
        if entry.at.0 > now.0.saturating_add(FUTURE_MS) {
            return Err(Rejection::InFuture.into());
        }
        let window = self.window();
        if window.is_before(entry.at) && !entry.late_accepted {
            return Err(Rejection::TooOld.into());
        }
        let remembered = SeenEntry::of(entry);
        match recent::look_up(self.packed.get(Section::Ids), self.tables(), remembered, &window) {
            DedupResult::Duplicate => return Err(Verdict::Duplicate),
            DedupResult::Conflict => return Err(Rejection::IdConflict.into()),
            DedupResult::New if self.hold(entry.id).is_some_and(|hold| hold.has_own_entry) => {
                return Err(Rejection::IdConflict.into());
            }
            DedupResult::New => {}
        }
        match entry.action {
            Action::Post(movement) => self.judge_post(names, entry, movement, remembered),
            Action::Hold(movement) => self.judge_hold(entry, movement, remembered),
            Action::Grow { hold, terms, amount } => {
                self.judge_growth(entry, hold, terms, amount, remembered)
            }
            Action::Settle { hold, terms, amount, is_final } => {
                let amount = amount.minor();
                let release = if is_final { i64::MAX } else { amount };
                self.judge_release(names, entry, hold, terms, (Some(amount), release), remembered)
            }
            Action::Void { hold, terms, amount } => {
                let release = amount.map_or(i64::MAX, Amount::minor);
                self.judge_release(names, entry, hold, terms, (None, release), remembered)
            }
        }
        .map_err(Verdict::Rejected)
    }

    #[inline(always)]
    fn judge_post<'a>(
        &self,
        names: &Names,
        entry: &EntryRef<'a>,
        movement: Movement<'a>,
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        let (place, balance) = self.place(movement.currency)?;
        let Movement { kind, direction, amount, .. } = movement;
        let amount = amount.minor();
        let group =
            self.judge_group(names, place, Kind::Named(kind), direction, entry.at, amount)?;
        let balance = balance
            .post(direction, amount)
            .and_then(Balance::checked)
            .ok_or(Rejection::BalanceOverflow)?;
        Ok(Effect {
            place,
            balance,
            group: group?,
            hold: HoldChange::None,
            remembered,
            at: entry.at,
        })
    }

    /// Judges the own entry of a hold, which opens it or makes it grow.
    fn judge_hold<'a>(
        &self,
        entry: &EntryRef<'a>,
        movement: Movement<'a>,
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        let Movement { currency, kind, direction, amount } = movement;
        if let Some(open) = self.hold(entry.id) {
            if self.balances[usize::from(open.currency)].currency != currency {
                return Err(Rejection::PendingMismatch(Mismatch::Currency));
            }
            if open.direction != direction {
                return Err(Rejection::PendingMismatch(Mismatch::Direction));
            }
            let open = Hold { has_own_entry: true, ..*open };
            return self.grow(entry, open, amount, remembered);
        }
        let terms = Terms { currency, kind, direction };
        self.open(entry, (entry.id, true), terms, amount, remembered)
    }

    /// Judges another entry that makes a hold grow, or opens it.
    fn judge_growth<'a>(
        &self,
        entry: &EntryRef<'a>,
        id: EntryId,
        terms: Option<Terms<'a>>,
        amount: Amount,
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        match (self.hold(id), terms) {
            (Some(open), terms) => {
                self.check_terms(open, terms)?;
                self.grow(entry, *open, amount, remembered)
            }
            (None, Some(terms)) => self.open(entry, (id, false), terms, amount, remembered),
            (None, None) => Err(Rejection::PendingNotFound),
        }
    }

    fn grow<'a>(
        &self,
        entry: &EntryRef<'a>,
        open: Hold,
        amount: Amount,
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        let place = usize::from(open.currency);
        let amount = amount.minor();
        let balance = self.balances[place]
            .hold(open.direction, amount)
            .and_then(Balance::checked)
            .ok_or(Rejection::BalanceOverflow)?;
        // The hold is part of the sum of all that are open, which fits.
        let hold = HoldChange::Set(Hold { amount: open.amount + amount, ..open });
        Ok(Effect { place, balance, group: GroupChange::None, hold, remembered, at: entry.at })
    }

    /// Judges an entry that opens a hold, as its own entry or another; one of amount 0 opens
    /// nothing.
    fn open<'a>(
        &self,
        entry: &EntryRef<'a>,
        (id, has_own_entry): (EntryId, bool),
        terms: Terms<'a>,
        amount: Amount,
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        let Terms { currency, kind, direction } = terms;
        let (place, balance) = self.place(currency)?;
        let amount = amount.minor();
        if amount > 0 && self.rare.as_ref().is_some_and(|m| m.holds.len() >= HOLDS_PER_USER) {
            return Err(Rejection::TooManyHolds);
        }
        let balance = balance
            .hold(direction, amount)
            .and_then(Balance::checked)
            .ok_or(Rejection::BalanceOverflow)?;
        let hold = if amount > 0 {
            HoldChange::Open { id, kind, direction, amount, has_own_entry }
        } else {
            HoldChange::None
        };
        Ok(Effect { place, balance, group: GroupChange::None, hold, remembered, at: entry.at })
    }

    /// Judges an entry that posts an amount, or none, and releases up to `release` of a hold.
    fn judge_release<'a>(
        &self,
        names: &Names,
        entry: &EntryRef<'a>,
        id: EntryId,
        terms: Option<Terms<'a>>,
        (posted, release): (Option<i64>, i64),
        remembered: SeenEntry,
    ) -> Result<Effect<'a>, Rejection> {
        let open = self.hold(id);
        let (place, mut balance, direction, kind) = match (open, terms) {
            (Some(open), terms) => {
                self.check_terms(open, terms)?;
                let place = usize::from(open.currency);
                let kind = terms.map_or(Kind::Numbered(open.kind), |terms| Kind::Named(terms.kind));
                (place, self.balances[place], open.direction, kind)
            }
            (None, Some(Terms { currency, kind, direction })) => {
                let (place, balance) = self.place(currency)?;
                (place, balance, direction, Kind::Named(kind))
            }
            (None, None) => return Err(Rejection::PendingNotFound),
        };
        let group = match posted {
            Some(amount) => self.judge_group(names, place, kind, direction, entry.at, amount)?,
            None => Ok(GroupChange::None),
        };
        let mut hold = HoldChange::None;
        if let Some(open) = open {
            let released = release.min(open.amount);
            let left = open.amount - released;
            balance = balance.hold(direction, -released).ok_or(Rejection::BalanceOverflow)?;
            hold = if left > 0 {
                HoldChange::Set(Hold { amount: left, ..*open })
            } else {
                HoldChange::Close(id)
            };
        }
        let balance = balance
            .post(direction, posted.unwrap_or(0))
            .and_then(Balance::checked)
            .ok_or(Rejection::BalanceOverflow)?;
        Ok(Effect { place, balance, group: group?, hold, remembered, at: entry.at })
    }

    /// Checks that an entry's own terms are those of the open hold that it names.
    fn check_terms(&self, open: &Hold, terms: Option<Terms<'_>>) -> Result<(), Rejection> {
        let currency = self.balances[usize::from(open.currency)].currency;
        match terms {
            Some(own) if own.currency != currency || own.direction != open.direction => {
                Err(Rejection::PendingMismatch(Mismatch::Id))
            }
            _ => Ok(()),
        }
    }

    /// Judges the change of a group. The outer error is the group limit. The inner one is an
    /// overflow of the sum, which the caller reports only after all limits.
    #[inline(always)]
    fn judge_group<'a>(
        &self,
        names: &Names,
        place: usize,
        kind: Kind<'a>,
        direction: Direction,
        at: Millis,
        amount: i64,
    ) -> Result<Result<GroupChange<'a>, Rejection>, Rejection> {
        let number = match kind {
            Kind::Numbered(number) => Some(number),
            Kind::Named(kind) => names.find(kind),
        };
        let (found, key, groups) = match (number, kind) {
            (Some(kind), _) => {
                let key = GroupKey { currency: place as u8, kind, direction };
                match Groups::of(&self.packed).find(key) {
                    Ok(found) => (Some(found), key, 0),
                    Err(groups) => (None, key, groups),
                }
            }
            (None, Kind::Named(kind)) => {
                let groups = Groups::of(&self.packed).len();
                if groups >= GROUPS_PER_USER {
                    return Err(Rejection::TooManyGroups);
                }
                return Ok(Ok(GroupChange::New { kind, direction, groups, amount }));
            }
            (None, Kind::Numbered(_)) => unreachable!("a number is its own"),
        };
        if groups >= GROUPS_PER_USER {
            return Err(Rejection::TooManyGroups);
        }
        let before = found.as_ref().map_or(Tally::EMPTY, |f| f.lifetime);
        Ok(before
            .checked_add(Tally::of(amount))
            .map(|lifetime| {
                GroupChange::Known(Posting { key, found, groups, lifetime, at, amount })
            })
            .ok_or(Rejection::BalanceOverflow))
    }

    /// Index and balance of a currency; for a new one, the next index and an empty balance.
    fn place(&self, currency: Currency) -> Result<(usize, Balance), Rejection> {
        match self.balances.iter().position(|b| b.currency == currency) {
            Some(place) => Ok((place, self.balances[place])),
            None if self.balances.len() >= CURRENCIES_PER_USER => Err(Rejection::TooManyCurrencies),
            None => Ok((self.balances.len(), Balance::of(currency))),
        }
    }
}
