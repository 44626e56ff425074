//! Currencies, directions, amounts and kinds: the typed fields of an entry.

use std::cmp::Ordering;

/// Currency code, `[A-Z][A-Z0-9._/-]{1,7}`, zero-padded to eight bytes. Compared as a big-endian
/// integer, which is byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency([u8; 8]);

impl Currency {
    /// Placeholder for an array element that is not filled yet; not a valid currency.
    pub(super) const NONE: Self = Self([0; 8]);

    /// Parses a currency; `None` if it does not match `[A-Z][A-Z0-9._/-]{1,7}`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !is_currency(text) {
            return None;
        }
        let mut packed = [0; 8];
        packed[..text.len()].copy_from_slice(text);
        Some(Self(packed))
    }

    /// Inverse of [`Self::padded`]; `None` for any other eight bytes.
    pub fn from_padded(padded: [u8; 8]) -> Option<Self> {
        let text = &padded[..8 - u64::from_be_bytes(padded).trailing_zeros() as usize / 8];
        is_currency(text).then_some(Self(padded))
    }

    /// The code, padded with zeros at the end.
    pub const fn padded(&self) -> &[u8; 8] {
        &self.0
    }

    /// The code without padding.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        &self.0[..len]
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> Ordering {
        u64::from_be_bytes(self.0).cmp(&u64::from_be_bytes(other.0))
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn is_currency(text: &[u8]) -> bool {
    let is_inner = |&b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"._/-".contains(&b);
    (2..=8).contains(&text.len()) && text[0].is_ascii_uppercase() && text[1..].iter().all(is_inner)
}

/// Direction of a posting or hold, from the user's side. `Credit` sorts before `Debit`, as the
/// names do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards the user.
    Credit,
    /// Away from the user.
    Debit,
}

impl Direction {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Debit => "debit",
        }
    }

    /// Splits a packed byte into the currency's index (upper seven bits) and the direction (lowest
    /// bit).
    pub(super) const fn unpack(byte: u8) -> (u8, Self) {
        (byte >> 1, if byte & 1 == 0 { Self::Credit } else { Self::Debit })
    }
}

/// Amount of an entry in minor units, 0 … 2^63−1. The sign is in the [`Direction`].
///
/// ```
/// use purser::ledger::amount::Amount;
///
/// assert_eq!(Amount::new(500).map(Amount::minor), Some(500));
/// assert_eq!(Amount::new(-1), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// `None` if `minor` is negative.
    pub const fn new(minor: i64) -> Option<Self> {
        if minor < 0 { None } else { Some(Self(minor)) }
    }

    /// Minor units, never negative.
    pub const fn minor(self) -> i64 {
        self.0
    }
}

/// Whether `text` is a valid kind, `[A-Za-z0-9][A-Za-z0-9._:-]{0,31}`.
pub fn is_kind(text: &[u8]) -> bool {
    (1..=KIND_BYTES).contains(&text.len())
        && text[0].is_ascii_alphanumeric()
        && text[1..].iter().all(|&b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

/// Maximum length of a kind, in bytes.
pub const KIND_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_parse_strictly_and_sort_by_bytes() {
        for good in ["US", "USD", "COIN", "DIAMOND", "A1B2C3D4", "X00", "USD/2", "A.B_C-D"] {
            assert_eq!(
                Currency::parse(good.as_bytes()).map(|c| c.as_bytes().to_vec()),
                Some(good.as_bytes().to_vec())
            );
        }
        for bad in ["", "U", "usd", "1USD", "/USD", "USDUSDUSD", "US D", "US:", "USd", "ÜSD"] {
            assert_eq!(Currency::parse(bad.as_bytes()), None, "{bad}");
        }
        for bad in [*b"U\0\0\0\0\0\0\0", *b"USD\0X\0\0\0", *b"\0USD\0\0\0\0", [0; 8]] {
            assert_eq!(Currency::from_padded(bad), None);
        }
        for good in ["USD", "A1B2C3D4"].map(|c| Currency::parse(c.as_bytes()).unwrap()) {
            assert_eq!(Currency::from_padded(*good.padded()), Some(good));
        }
        let mut names = ["USDX", "USD", "COIN", "US0", "ZZZ", "COINS"];
        let mut packed = names.map(|n| Currency::parse(n.as_bytes()).unwrap());
        names.sort_unstable();
        packed.sort_unstable();
        assert_eq!(packed.map(|c| String::from_utf8(c.as_bytes().to_vec()).unwrap()), names);
    }

    #[test]
    fn kinds_are_validated() {
        for good in ["a", "gift_sent", "0", "Payment.captured:2-b", &"a".repeat(32)] {
            assert!(is_kind(good.as_bytes()), "{good}");
        }
        for bad in ["", "_a", ".a", ":a", "-a", "a/b", "gift sent", &"a".repeat(33), "é"] {
            assert!(!is_kind(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn amounts_are_never_negative() {
        assert_eq!(Amount::new(-1), None);
        assert_eq!(Amount::new(i64::MAX).map(Amount::minor), Some(i64::MAX));
    }
}
