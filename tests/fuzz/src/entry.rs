//! Oracle for one line of the feed.

use crate::forms::{self, present};
use purser::ledger::amount::Amount;
use purser::ledger::entry::{Action, EntryRef, Movement, Terms};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A line as `serde_json` reads it: types and names are right, values are not validated yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub entry_id: String,
    user_id: String,
    #[serde(default, deserialize_with = "present")]
    currency: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "present")]
    direction: Option<String>,
    #[serde(default, deserialize_with = "present")]
    amount: Option<i64>,
    at_ms: u64,
    #[serde(default, deserialize_with = "present")]
    state: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pending_id: Option<String>,
    #[serde(default, rename = "final", deserialize_with = "present")]
    is_final: Option<bool>,
    /// Takes more than JSON: neither the strings nor the depth are checked.
    #[serde(default, rename = "metadata")]
    _metadata: IgnoredAny,
}

impl Line {
    /// The entry, if the contract allows it.
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        let is_on_hold = self.pending_id.is_some() || self.state.as_deref() == Some("voided");
        let action = if is_on_hold { self.on_hold() } else { self.movement() }?;
        let (id, user) = (forms::entry_id(&self.entry_id)?, forms::user(&self.user_id)?);
        Some(EntryRef { id, user, at: forms::time(self.at_ms)?, late_accepted: false, action })
    }

    fn movement(&self) -> Option<Action<'_>> {
        let Terms { currency, kind, direction } = self.terms()?;
        let movement = Movement { currency, kind, direction, amount: Amount::new(self.amount?)? };
        match self.state.as_deref() {
            _ if self.is_final.is_some() => None,
            None | Some("posted") => Some(Action::Post(movement)),
            Some("pending") => Some(Action::Hold(movement)),
            Some(_) => None,
        }
    }

    fn terms(&self) -> Option<Terms<'_>> {
        Some(Terms {
            currency: forms::currency(self.currency.as_deref()?)?,
            kind: self.kind.as_deref().filter(|kind| forms::is_kind(kind))?,
            direction: forms::direction(self.direction.as_deref()?)?,
        })
    }

    fn on_hold(&self) -> Option<Action<'_>> {
        let hold = forms::entry_id(self.pending_id.as_deref()?)?;
        let is_bare = self.currency.is_none() && self.kind.is_none() && self.direction.is_none();
        let terms = if is_bare { None } else { Some(self.terms()?) };
        let amount = match self.amount {
            Some(amount) => Some(Amount::new(amount)?),
            None => None,
        };
        match (self.state.as_deref(), self.is_final) {
            (None | Some("posted"), last) => {
                let is_final = last.unwrap_or(true);
                Some(Action::Settle { hold, terms, amount: amount?, is_final })
            }
            (Some("pending"), None) => Some(Action::Grow { hold, terms, amount: amount? }),
            (Some("voided"), None) => Some(Action::Void { hold, terms, amount }),
            _ => None,
        }
    }
}
