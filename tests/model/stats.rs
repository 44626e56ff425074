//! Transaction statistics by the contract's formulas: windows, the range that answers a window, and
//! the statistics of that range, counted entry by entry.
//!
//! Times are milliseconds since the epoch in `i64`, signed so that `N - 400 d` cannot underflow.
//! There are no buckets: the range and the entries alone decide.

use super::ledger::{Group, User};
use std::collections::BTreeMap;

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
pub const BUCKET: i64 = 15 * MINUTE;

/// The contract's last millisecond, at the end of the year 9999.
pub const MAX_TIME: i64 = 253_402_300_799_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Lifetime,
    Millis(i64),
}

impl Window {
    /// `lifetime`, or at most six digits without a leading zero and one of `m`, `h`, `d`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == b"lifetime" {
            return Some(Window::Lifetime);
        }
        let (unit, digits) = text.split_last()?;
        let unit = match unit {
            b'm' => MINUTE,
            b'h' => HOUR,
            b'd' => DAY,
            _ => return None,
        };
        let well_formed = (1..=6).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_digit)
            && digits[0] != b'0';
        if !well_formed {
            return None;
        }
        let count: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let millis = count * unit;
        (millis % BUCKET == 0 && (BUCKET..=400 * DAY).contains(&millis))
            .then_some(Window::Millis(millis))
    }
}

pub fn floor(time: i64, grain: i64) -> i64 {
    time.div_euclid(grain) * grain
}

pub fn raise(time: i64, grain: i64) -> i64 {
    floor(time + grain - 1, grain)
}

/// Edges of a user's statistics. Buckets are 15 minutes from `fine` on, an hour from `hourly` on,
/// and a day before that; before `cut` there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    pub fine: i64,
    pub hourly: i64,
    pub cut: i64,
}

impl Edges {
    pub fn of(as_of_ms: i64) -> Self {
        Self {
            fine: floor(as_of_ms - 26 * HOUR, HOUR).max(0),
            hourly: floor(as_of_ms - 8 * DAY, DAY).max(0),
            cut: floor(as_of_ms - 400 * DAY, DAY).max(0),
        }
    }

    pub fn grain(&self, time: i64) -> i64 {
        if time >= self.fine {
            BUCKET
        } else if time >= self.hourly {
            HOUR
        } else {
            DAY
        }
    }
}

/// The half-open range that answers a window: `from_ms` and `to_ms`.
pub fn range(as_of_ms: i64, window: Window, at_ms: i64) -> (i64, i64) {
    let Window::Millis(length) = window else {
        return (0, floor(as_of_ms, BUCKET) + BUCKET);
    };
    let edges = Edges::of(as_of_ms);
    let to = floor(at_ms, BUCKET) + BUCKET;
    let from = (to - length).max(0);
    let from_ms = floor(from, edges.grain(from)).max(edges.cut);
    let to_ms = raise(to, edges.grain(to)).max(edges.cut);
    assert!(from_ms <= to_ms, "{as_of_ms} {window:?} {at_ms}");
    (from_ms, to_ms)
}

/// The instant of a past balance: the first one, not before `at_ms`, at which it is exact.
pub fn instant(as_of_ms: i64, at_ms: i64) -> i64 {
    let (edges, to) = (Edges::of(as_of_ms), raise(at_ms, BUCKET));
    raise(to, edges.grain(to)).max(edges.cut)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub count: u64,
    pub sum: i128,
    pub min: i128,
    pub max: i128,
}

/// Statistics of every group with postings in the range, in the order of the answer.
pub fn figures(user: &User, (from_ms, to_ms): (i64, i64)) -> BTreeMap<&Group, Figures> {
    let mut groups: BTreeMap<&Group, Figures> = BTreeMap::new();
    for (group, amount, at_ms) in user.postings() {
        if !(from_ms..to_ms).contains(&at_ms) {
            continue;
        }
        let figures =
            groups.entry(group).or_insert(Figures { count: 0, sum: 0, min: amount, max: amount });
        figures.count += 1;
        figures.sum += amount;
        figures.min = figures.min.min(amount);
        figures.max = figures.max.max(amount);
    }
    groups
}
