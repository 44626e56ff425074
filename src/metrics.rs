//! Plain counters of one core: no atomics, no locks, added up when they are read.
//!
//! Imports nothing of ours: routes and verdicts are given by number and named by whoever shows
//! them.

/// Routes that are counted apart.
pub const ROUTES: usize = 8;
/// Classes of status: 1xx to 5xx, by their first digit.
pub const CLASSES: usize = 6;

/// What one core has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How long turns took, from the kernel's return to the next call of it, in nanoseconds.
    pub turns: Histogram,
    /// For each send, the length of its turn and the one before: bytes of a read that waited for no
    /// disk were with the kernel no longer before.
    pub sends: Histogram,
    /// Answers by route and status class.
    pub answers: [[u64; CLASSES]; ROUTES],
    /// Entries accepted.
    pub accepted: u64,
    /// Entries that were duplicates.
    pub duplicates: u64,
    /// Entries that the ledger rejected.
    pub rejected: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away at the limit.
    pub refused_connections: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Questions put to other cores.
    pub hops: u64,
    /// Nanoseconds in which a core looked out for answers of others, instead of sleeping.
    pub spun_ns: u64,
    /// Bytes of memory that found no room in the core's own region.
    pub spilled_bytes: u64,
}

/// Counts of values by size, exact to a sixteenth of a power of two; nothing is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    largest: u64,
}

/// Buckets of one power of two.
const FINE: u32 = 16;
const BUCKETS: usize = (u64::BITS * FINE) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], largest: 0 }
    }
}

impl Histogram {
    /// Counts `value` so many times.
    #[inline]
    pub fn record(&mut self, value: u64, times: u64) {
        self.counts[bucket(value)] += times;
        if times > 0 && value > self.largest {
            self.largest = value;
        }
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.largest = self.largest.max(other.largest);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The largest of them.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// A value that at least `share` in a thousand of them do not exceed, at most a sixteenth too
    /// large; 0 if there are none.
    pub fn per_mille(&self, share: u64) -> u64 {
        let wanted = u128::from(self.count()) * u128::from(share);
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen * 1_000 >= wanted {
                return edge(bucket).min(self.largest);
            }
        }
        0
    }
}

/// Values below [`FINE`] have buckets of their own; each power of two above has [`FINE`] of them.
fn bucket(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power < FINE.ilog2() {
        return value as usize;
    }
    let within = (value >> (power - FINE.ilog2())) as u32 - FINE;
    ((power - FINE.ilog2() + 1) * FINE + within) as usize
}

/// The largest value of a bucket.
fn edge(bucket: usize) -> u64 {
    let (power, within) = (bucket as u32 / FINE, bucket as u64 % u64::from(FINE));
    match power {
        0 => within,
        _ => (u64::from(FINE) + within + 1)
            .checked_shl(power - 1)
            .map_or(u64::MAX, |next| next.wrapping_sub(1)),
    }
}

impl Counters {
    /// Counts an answer.
    #[inline]
    pub fn answered(&mut self, route: usize, status: u16) {
        self.answers[route % ROUTES][usize::from(status / 100) % CLASSES] += 1;
    }

    /// Adds what another core has counted.
    pub fn add(&mut self, other: &Self) {
        self.turns.add(&other.turns);
        self.sends.add(&other.sends);
        let mine = self.answers.iter_mut().flatten();
        mine.zip(other.answers.iter().flatten()).for_each(|(mine, theirs)| *mine += theirs);
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.connections += other.connections;
        self.refused_connections += other.refused_connections;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.hops += other.hops;
        self.spun_ns += other.spun_ns;
        self.spilled_bytes += other.spilled_bytes;
    }

    /// Answers of all routes and classes.
    pub fn answers_total(&self) -> u64 {
        self.answers.iter().flatten().sum()
    }

    /// Answers of one class of status, of all routes.
    pub fn answers_of_class(&self, class: usize) -> u64 {
        self.answers.iter().map(|by_class| by_class[class % CLASSES]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_most_a_sixteenth_too_large() {
        for value in (0..64)
            .flat_map(|power| [1u64 << power, (1 << power) - 1, (1 << power) + (1 << power) / 3])
        {
            let mut one = Histogram::default();
            one.record(value, 1);
            one.record(u64::MAX, 1);
            let found = one.per_mille(500);
            assert!(found >= value && found - value <= value / 16, "{value}: {found}");
        }
        let mut many = Histogram::default();
        (1..=1_000).for_each(|n| many.record(n, 1));
        assert_eq!((many.count(), many.largest(), many.per_mille(1_000)), (1_000, 1_000, 1_000));
        assert!((990..=1_000).contains(&many.per_mille(990)));
        assert_eq!(Histogram::default().per_mille(500), 0);
    }

    #[test]
    fn answers_add_up() {
        let mut counters = Counters::default();
        for (route, status) in [(0, 200), (0, 304), (1, 200), (7, 503)] {
            counters.answered(route, status);
        }
        assert_eq!(counters.answers_total(), 4);
        assert_eq!([2, 3, 4, 5].map(|class| counters.answers_of_class(class)), [2, 1, 0, 1]);
    }
}
