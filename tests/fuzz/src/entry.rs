//! Oracle for one line of the feed.

use crate::forms::{self, present};
use purser::ledger::amount::Amount;
use purser::ledger::entry::{Action, EntryRef, Movement};
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
    /// Takes more than JSON: neither the strings nor the depth are checked.
    #[serde(default, rename = "metadata")]
    _metadata: IgnoredAny,
}

impl Line {
    /// The entry, if the contract allows it.
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        let action = if self.pending_id.is_some() { self.settlement() } else { self.posting() }?;
        let (id, user) = (forms::entry_id(&self.entry_id)?, forms::user(&self.user_id)?);
        Some(EntryRef { id, user, at: forms::time(self.at_ms)?, action })
    }

    fn posting(&self) -> Option<Action<'_>> {
        let movement = Movement {
            currency: forms::currency(self.currency.as_deref()?)?,
            kind: self.kind.as_deref().filter(|kind| forms::is_kind(kind))?,
            direction: forms::direction(self.direction.as_deref()?)?,
            amount: Amount::new(self.amount?)?,
        };
        match self.state.as_deref() {
            None | Some("posted") => Some(Action::Post(movement)),
            Some("pending") => Some(Action::Hold(movement)),
            Some(_) => None,
        }
    }

    fn settlement(&self) -> Option<Action<'_>> {
        let hold = forms::entry_id(self.pending_id.as_deref()?)?;
        if self.currency.is_some() || self.kind.is_some() || self.direction.is_some() {
            return None;
        }
        match (self.state.as_deref(), self.amount) {
            (None | Some("posted"), Some(amount)) => {
                Some(Action::Settle { hold, amount: Amount::new(amount)? })
            }
            (Some("voided"), None) => Some(Action::Void { hold }),
            _ => None,
        }
    }
}
