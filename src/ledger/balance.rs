//! Balance of a user in one currency.

use super::amount::{Currency, Direction};

/// Balance of a user in one currency, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// Posted credits − posted debits; may be negative.
    pub posted: i64,
    /// Sum of open debit holds.
    pub pending_debits: i64,
    /// Sum of open credit holds.
    pub pending_credits: i64,
}

impl Balance {
    pub(super) const fn of(currency: Currency) -> Self {
        Self { currency, posted: 0, pending_debits: 0, pending_credits: 0 }
    }

    /// `posted` − `pending_debits`. Cannot overflow: an entry that would make it is refused.
    pub const fn available(&self) -> i64 {
        self.posted - self.pending_debits
    }

    pub(super) fn post(mut self, direction: Direction, amount: i64) -> Option<Self> {
        self.posted = match direction {
            Direction::Credit => self.posted.checked_add(amount)?,
            Direction::Debit => self.posted.checked_sub(amount)?,
        };
        Some(self)
    }

    pub(super) fn hold(mut self, direction: Direction, amount: i64) -> Option<Self> {
        let pending = match direction {
            Direction::Credit => &mut self.pending_credits,
            Direction::Debit => &mut self.pending_debits,
        };
        *pending = pending.checked_add(amount)?;
        Some(self)
    }

    pub(super) fn checked(self) -> Option<Self> {
        self.posted.checked_sub(self.pending_debits).map(|_| self)
    }
}
