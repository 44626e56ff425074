//! Metrics of one core: plain counters and histograms, without atomics or locks. Reading them adds
//! up the counters of all cores.
//!
//! The module imports nothing from the rest of the crate. Routes are numbers here; the code that
//! prints the metrics names them.

/// Number of routes that are counted separately.
pub const ROUTES: usize = 8;
/// Number of status classes: 1xx to 5xx, indexed by the first digit.
pub const CLASSES: usize = 6;

/// Counters of one core since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turn durations in nanoseconds, from the return of one system call of the ring to the next
    /// call.
    pub turns: Histogram,
    /// For each send, the duration of its turn plus the turn before, in nanoseconds. This is an
    /// upper bound of the latency from receive to send of a read that did not wait for a disk.
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
    /// Connections refused at the connection limit.
    pub refused_connections: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Requests between cores, counted by the core that serves them. Requests for metrics do not
    /// count.
    pub remote_requests: u64,
    /// Users that were copied, because the work of a request on them did not fit a turn.
    pub copied_users: u64,
    /// CPU time in nanoseconds that the core spent spinning for replies of other cores.
    pub spun_ns: u64,
    /// Bytes allocated from the common heap because they did not fit the core's own memory region.
    pub spilled_bytes: u64,
}

/// Logarithmic histogram with 16 buckets per power of two, so a value is known to within 1/16 of
/// itself. Fixed size; nothing is allocated. By hand: `hdrhistogram` with the same buckets takes
/// 1.9 times as long to record a value (`benches/runs/2026-11-30-by-hand.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    largest: u64,
}

/// Histogram buckets per power of two.
const SUB_BUCKETS: u32 = 16;
const BUCKETS: usize = (u64::BITS * SUB_BUCKETS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], largest: 0 }
    }
}

impl Histogram {
    /// Records `value`, `times` times.
    #[inline]
    pub fn record(&mut self, value: u64, times: u64) {
        self.counts[bucket(value)] += times;
        if times > 0 && value > self.largest {
            self.largest = value;
        }
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.largest = self.largest.max(other.largest);
    }

    /// Number of recorded values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Largest recorded value; 0 if there are none.
    pub const fn largest(&self) -> u64 {
        self.largest
    }

    /// Quantile in per mille: at least `share` of 1,000 values do not exceed the result, which is
    /// too large by at most 1/16. 0 if there are no values.
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

/// Bucket of a value. Each value below [`SUB_BUCKETS`] has a bucket of its own; each power of two
/// from [`SUB_BUCKETS`] on has [`SUB_BUCKETS`] buckets.
fn bucket(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power < SUB_BUCKETS.ilog2() {
        return value as usize;
    }
    let within = (value >> (power - SUB_BUCKETS.ilog2())) as u32 - SUB_BUCKETS;
    ((power - SUB_BUCKETS.ilog2() + 1) * SUB_BUCKETS + within) as usize
}

/// Largest value of a bucket.
fn edge(bucket: usize) -> u64 {
    let (power, within) = (bucket as u32 / SUB_BUCKETS, bucket as u64 % u64::from(SUB_BUCKETS));
    match power {
        0 => within,
        _ => (u64::from(SUB_BUCKETS) + within + 1)
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

    /// Adds the counters of another core.
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
        self.remote_requests += other.remote_requests;
        self.spun_ns += other.spun_ns;
        self.spilled_bytes += other.spilled_bytes;
    }

    /// Number of answers of all routes and status classes.
    pub fn answers_total(&self) -> u64 {
        self.answers.iter().flatten().sum()
    }

    /// Number of answers of one status class, over all routes.
    pub fn answers_of_class(&self, class: usize) -> u64 {
        self.answers.iter().map(|by_class| by_class[class % CLASSES]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_sixteenth_too_large() {
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
    fn answers_are_counted_by_route_and_status_class() {
        let mut counters = Counters::default();
        for (route, status) in [(0, 200), (0, 304), (1, 200), (7, 503)] {
            counters.answered(route, status);
        }
        assert_eq!(counters.answers_total(), 4);
        assert_eq!([2, 3, 4, 5].map(|class| counters.answers_of_class(class)), [2, 1, 0, 1]);
    }
}
