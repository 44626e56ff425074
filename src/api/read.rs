//! A read: what one request, or one item of a batch, asks of one user.

use crate::ledger::amount::{Currency, KIND_BYTES, is_kind};
use crate::ledger::id::UserId;
use crate::ledger::time::{Millis, Window};

/// A read of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub user: UserId,
    /// Only this currency.
    pub currency: Option<Currency>,
    /// What of it.
    pub what: What,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The balances.
    Balance,
    /// Statistics.
    Stats {
        /// How far back.
        window: Window,
        /// From when; `None` is now.
        at: Option<Millis>,
        /// Only this kind.
        kind: Option<Kind>,
    },
}

/// A kind's name, kept by value: a read outlives the bytes that it came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    bytes: [u8; KIND_BYTES],
    len: u8,
}

impl Kind {
    /// `None` if it has not the form of a kind.
    pub fn parse(text: &[u8]) -> Option<Self> {
        is_kind(text).then(|| {
            let mut bytes = [0; KIND_BYTES];
            bytes[..text.len()].copy_from_slice(text);
            Self { bytes, len: text.len() as u8 }
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("a kind is ASCII")
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a time: a decimal integer without sign or leading zeros, up to the end of the year 9999.
pub fn millis(digits: &[u8]) -> Option<Millis> {
    UserId::parse(digits).and_then(|ms| Millis::new(ms.0))
}
