//! Time arithmetic: buckets, statistics windows, merge grains, and the exact range of an answer.
//!
//! Times are milliseconds since the Unix epoch, UTC. A range depends only on the user's latest
//! booking time and the query, never on a clock.

/// One hour, in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// The last millisecond of the year 9999: the largest time on the wire.
pub const LAST_MS: u64 = 253_402_300_799_999;
/// Length of a bucket in milliseconds: 15 minutes, the finest grain that is kept.
pub const BUCKET_MS: u64 = 15 * MINUTE_MS;
/// Age from which on 15-minute buckets are merged to hours. Ages are relative to the user's latest
/// booking time.
pub const BUCKETS_KEPT_MS: u64 = 26 * HOUR_MS;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Age from which on hours are merged to days.
const HOURS_KEPT_MS: u64 = 8 * DAY_MS;
/// Age from which on days are dropped.
const DAYS_KEPT_MS: u64 = 400 * DAY_MS;

/// Milliseconds since the Unix epoch, UTC: 0 … [`LAST_MS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// Checks the range; `None` beyond [`LAST_MS`].
    pub const fn new(ms: u64) -> Option<Self> {
        if ms <= LAST_MS { Some(Self(ms)) } else { None }
    }

    /// Number of the 15-minute bucket that contains this time.
    pub const fn bucket(self) -> Bucket {
        (self.0 / BUCKET_MS) as Bucket
    }
}

/// Number of a 15-minute bucket, counted from the Unix epoch.
pub type Bucket = u32;

const _: () = assert!(LAST_MS / BUCKET_MS < u32::MAX as u64, "a bucket's number fits 32 bits");

/// Window of a statistics query: how far back it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Everything that the user ever posted; never expires.
    Lifetime,
    /// Length in milliseconds: a multiple of 15 minutes, 15 minutes to 400 days.
    Last(u64),
}

impl Window {
    /// Parses `lifetime` or `<n>m|h|d`; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == b"lifetime" {
            return Some(Self::Lifetime);
        }
        let (&unit, digits) = text.split_last()?;
        if digits.is_empty()
            || digits.len() > 6
            || digits[0] == b'0'
            || !digits.iter().all(u8::is_ascii_digit)
        {
            return None;
        }
        let count = digits.iter().fold(0, |value, &b| value * 10 + u64::from(b - b'0'));
        let unit_ms = match unit {
            b'm' => MINUTE_MS,
            b'h' => HOUR_MS,
            b'd' => DAY_MS,
            _ => return None,
        };
        let ms = count * unit_ms;
        (ms % BUCKET_MS == 0 && (BUCKET_MS..=DAYS_KEPT_MS).contains(&ms)).then_some(Self::Last(ms))
    }
}

/// Half-open time range, `from_ms <= t < to_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First millisecond inside.
    pub from_ms: u64,
    /// First millisecond after the range.
    pub to_ms: u64,
}

/// Times at which the grain changes, relative to a user's latest entry: 15-minute buckets from
/// `buckets_from` on, hours from `hours_from` on, days from `days_from` on, nothing before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrainEdges {
    /// Start of the 15-minute buckets, in milliseconds; a full hour.
    pub buckets_from: u64,
    /// Start of the hours, in milliseconds; a full day.
    pub hours_from: u64,
    /// Start of the days, in milliseconds; a full day. Nothing before it is kept.
    pub days_from: u64,
}

impl GrainEdges {
    /// Grain edges of a user whose latest booking time is `latest`.
    pub const fn of(latest: Millis) -> Self {
        Self {
            buckets_from: floor(latest.0.saturating_sub(BUCKETS_KEPT_MS), HOUR_MS),
            hours_from: floor(latest.0.saturating_sub(HOURS_KEPT_MS), DAY_MS),
            days_from: floor(latest.0.saturating_sub(DAYS_KEPT_MS), DAY_MS),
        }
    }

    /// Length of the grain at time `t`, in milliseconds.
    pub const fn at(&self, t: u64) -> u64 {
        if t >= self.buckets_from {
            BUCKET_MS
        } else if t >= self.hours_from {
            HOUR_MS
        } else {
            DAY_MS
        }
    }

    /// The range of the grain that holds time `t`.
    pub const fn around(&self, t: u64) -> Range {
        let from_ms = floor(t, self.at(t));
        Range { from_ms, to_ms: from_ms + self.at(t) }
    }

    /// The range that is answered exactly for a window that ends with the bucket of `at`. Edges are
    /// widened to the grain, and limited to what is kept.
    ///
    /// ```
    /// use purser::ledger::time::{BUCKET_MS, GrainEdges, Millis, Window};
    ///
    /// let latest = Millis(1_763_900_000_000);
    /// let Some(Window::Last(length)) = Window::parse(b"24h") else { panic!("it has a length") };
    /// let range = GrainEdges::of(latest).range(length, latest);
    /// // The window ends with the bucket of the latest entry, and both edges are those of buckets.
    /// assert_eq!(range.to_ms, (u64::from(latest.bucket()) + 1) * BUCKET_MS);
    /// assert_eq!(range.to_ms - range.from_ms, length);
    /// ```
    pub fn range(&self, window_ms: u64, at: Millis) -> Range {
        let to = bucket_end(at);
        let from = to.saturating_sub(window_ms);
        Range {
            from_ms: floor(from, self.at(from)).max(self.days_from),
            to_ms: ceil(to, self.at(to)).max(self.days_from),
        }
    }
}

impl GrainEdges {
    /// The first instant at `at` or later at which a past balance is exact, in milliseconds: an
    /// edge of the grain there, and not before what is kept.
    ///
    /// ```
    /// use purser::ledger::time::{BUCKET_MS, GrainEdges, HOUR_MS, Millis};
    ///
    /// let latest = Millis(1_763_900_000_000);
    /// let edges = GrainEdges::of(latest);
    /// let bucket = u64::from(latest.bucket()) * BUCKET_MS;
    /// assert_eq!(edges.instant(Millis(bucket)), bucket);
    /// assert_eq!(edges.instant(Millis(bucket + 1)), bucket + BUCKET_MS);
    /// // Two days ago the grain is an hour.
    /// let ago = bucket - bucket % HOUR_MS - 48 * HOUR_MS;
    /// assert_eq!(edges.instant(Millis(ago + 1)), ago + HOUR_MS);
    /// ```
    pub const fn instant(&self, at: Millis) -> u64 {
        let to = ceil(at.0, BUCKET_MS);
        let edge = ceil(to, self.at(to));
        if edge > self.days_from { edge } else { self.days_from }
    }
}

/// The range of a lifetime answer: from the epoch to the end of the latest entry's bucket.
pub const fn lifetime(latest: Millis) -> Range {
    Range { from_ms: 0, to_ms: bucket_end(latest) }
}

const fn bucket_end(at: Millis) -> u64 {
    floor(at.0, BUCKET_MS) + BUCKET_MS
}

const fn ceil(t: u64, grain: u64) -> u64 {
    floor(t + grain - 1, grain)
}

const fn floor(t: u64, grain: u64) -> u64 {
    t - t % grain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_parse_only_as_multiples_of_a_bucket() {
        let check = |text: &str, want: Option<u64>| {
            assert_eq!(Window::parse(text.as_bytes()), want.map(Window::Last), "{text}");
        };
        check("15m", Some(BUCKET_MS));
        check("24h", Some(DAY_MS));
        check("1d", Some(DAY_MS));
        check("400d", Some(DAYS_KEPT_MS));
        check("576000m", Some(DAYS_KEPT_MS));
        for bad in [
            "", "m", "0m", "10m", "16m", "401d", "9601h", "015m", "1.5h", "24H", "24", "-1d", "1w",
            "9999999m",
        ] {
            check(bad, None);
        }
        assert_eq!(Window::parse(b"lifetime"), Some(Window::Lifetime));
    }

    #[test]
    fn a_window_in_the_fine_grain_has_bucket_edges() {
        // `from_ms` and `to_ms` lie in the fine grain, so both are bucket edges.
        let grains = GrainEdges::of(Millis(1_763_898_000_000));
        let range = grains.range(DAY_MS, Millis(1_763_898_299_999));
        assert_eq!(range, Range { from_ms: 1_763_811_900_000, to_ms: 1_763_898_300_000 });
    }

    #[test]
    fn edges_widen_to_the_grain_within_what_is_kept() {
        let latest = Millis(1_000 * DAY_MS + 13 * HOUR_MS + 7);
        let grains = GrainEdges::of(latest);
        assert_eq!(grains.buckets_from, 999 * DAY_MS + 11 * HOUR_MS);
        assert_eq!(grains.hours_from, 992 * DAY_MS);
        assert_eq!(grains.days_from, 600 * DAY_MS);
        let range = |window, at| {
            let r = grains.range(window, Millis(at));
            (r.from_ms, r.to_ms)
        };
        // Both edges in the hours: `from` is rounded down, `to` is rounded up.
        let t = 995 * DAY_MS + 5 * HOUR_MS + BUCKET_MS;
        assert_eq!(range(BUCKET_MS, t), (995 * DAY_MS + 5 * HOUR_MS, 995 * DAY_MS + 6 * HOUR_MS));
        // Both edges in the days.
        assert_eq!(range(BUCKET_MS, 700 * DAY_MS + 1), (700 * DAY_MS, 701 * DAY_MS));
        // A range entirely before what is kept is empty.
        assert_eq!(range(DAY_MS, 10 * DAY_MS), (600 * DAY_MS, 600 * DAY_MS));
        // After the latest entry.
        assert_eq!(range(BUCKET_MS, 2_000 * DAY_MS), (2_000 * DAY_MS, 2_000 * DAY_MS + BUCKET_MS));
        // Close to the epoch: edges stay at or above 0.
        assert_eq!(
            GrainEdges::of(Millis(5)),
            GrainEdges { buckets_from: 0, hours_from: 0, days_from: 0 }
        );
        assert_eq!(
            GrainEdges::of(Millis(5)).range(DAYS_KEPT_MS, Millis(5)),
            Range { from_ms: 0, to_ms: BUCKET_MS }
        );
    }
}
