//! Oracle for a batch body.

use crate::forms::{self, present};
use crate::object::Object;
use purser::api::BATCH_READS;
use purser::api::read::{KindFilter, Read, What};
use purser::ledger::time::Window;
use serde::Deserialize;

/// A batch as `serde_json` reads it: types and names are right, values are not validated yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    requests: Vec<Object<Item>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    user_id: String,
    read: String,
    #[serde(default, deserialize_with = "present")]
    window: Option<String>,
    #[serde(default, deserialize_with = "present")]
    at_ms: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    currency: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kind: Option<String>,
}

impl Body {
    /// The reads, if the contract allows all of them.
    pub fn reads(&self) -> Option<Vec<Read<'_>>> {
        let reads: Option<Vec<Read<'_>>> = self.requests.iter().map(|item| item.0.read()).collect();
        reads.filter(|reads| reads.len() <= BATCH_READS)
    }
}

impl Item {
    fn read(&self) -> Option<Read<'_>> {
        let user = forms::user(&self.user_id)?;
        let currency = self.currency.as_deref().map(forms::currency);
        let what = match self.read.as_str() {
            "balance" if self.window.is_none() && self.kind.is_none() => match self.at_ms {
                None => What::Balance,
                Some(ms) => What::BalanceAt(forms::time(ms)?),
            },
            "stats" => self.stats()?,
            _ => return None,
        };
        Some(Read { user, currency: currency.map_or(Some(None), |c| c.map(Some))?, what })
    }

    fn stats(&self) -> Option<What> {
        let window = forms::window(self.window.as_deref()?)?;
        if window == Window::Lifetime && self.at_ms.is_some() {
            return None;
        }
        let at = self.at_ms.map_or(Some(None), |ms| forms::time(ms).map(Some))?;
        let kind = match self.kind.as_deref() {
            None => None,
            Some(text) if forms::is_kind(text) => {
                Some(KindFilter::parse(text.as_bytes()).expect("a checked kind parses"))
            }
            Some(_) => return None,
        };
        Some(What::Stats { window, at, kind })
    }
}
