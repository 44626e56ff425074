//! A seeded population: the entries of every user and, computed by naive counting, the expected
//! answers.
//!
//! Entry `n` is a function of `n`. In the first four rounds every user gets one entry of each
//! group; after that, users are uniformly random. Ten entries a user fill the thirty days before
//! [`NOW`]; later entries continue at the same rate. Ids have 19 digits, neither dense nor sorted,
//! so that all requests have the same width. Times are Unix milliseconds.

use super::machine::Machine;
use purser::api::FEED_LINES;
use purser::ledger::amount::{Amount, Currency, Direction};
use purser::ledger::entry::{Action, EntryRef, Movement, Verdict};
use purser::ledger::id::{EntryId, UserId};
use purser::ledger::secret::Secret;
use purser::ledger::time::Millis;
use purser::slice::{NoLog, Slice};
use std::fmt::Write;

const ENTRIES_PER_USER: u64 = 10;
const BUCKET_MS: u64 = 15 * 60_000;
const HOUR_MS: u64 = 4 * BUCKET_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const SPAN_MS: u64 = 30 * DAY_MS;

/// End of the history: 2025-11-23T12:13:20Z.
pub const NOW: Millis = Millis(1_763_900_000_000);
/// [`NOW`] as the value of a `date` header.
pub const DATE: &str = "Sun, 23 Nov 2025 12:13:20 GMT";

/// Currency, kind and direction, in the order of the groups in an answer.
const GROUPS: [(&str, &str, Direction); 4] = [
    ("COIN", "gift_sent", Direction::Debit),
    ("COIN", "topup", Direction::Credit),
    ("DIAMOND", "gift_received", Direction::Credit),
    ("DIAMOND", "payout", Direction::Debit),
];

/// A population of this many users.
#[derive(Clone, Copy)]
pub struct Population {
    pub users: u64,
}

/// One posted entry.
#[derive(Clone, Copy)]
pub struct Posted {
    id: u128,
    pub user: u64,
    pub group: usize,
    pub amount: i64,
    pub at_ms: u64,
}

/// Finaliser of SplitMix64: a bijection of all u64.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Id of a user: 10^18 plus less than 2^60.
pub fn user_id(user: u64) -> u64 {
    1_000_000_000_000_000_000 + (mix(user + 1) >> 4)
}

/// The body of a batch: every fourth item asks for statistics.
pub fn batch_body(users: &[u64]) -> String {
    let item = |(place, &user): (usize, &u64)| match place % 4 {
        3 => format!(r#"{{"user_id":"{}","read":"stats","window":"7d"}}"#, user_id(user)),
        _ => format!(r#"{{"user_id":"{}","read":"balance"}}"#, user_id(user)),
    };
    let items: Vec<String> = users.iter().enumerate().map(item).collect();
    format!(r#"{{"requests":[{}]}}"#, items.join(","))
}

impl Population {
    /// Number of entries in the history.
    pub fn history(&self) -> u64 {
        self.users * ENTRIES_PER_USER
    }

    /// Returns entry number `n`.
    pub fn entry(&self, n: u64) -> Posted {
        let bits = mix(n ^ 0x5eed_0000_0000_0000);
        let round = n / self.users;
        let (user, group) =
            if round < 4 { (n % self.users, round) } else { (bits % self.users, bits >> 62) };
        let at_ms = NOW.0 - SPAN_MS
            + (u128::from(n) * u128::from(SPAN_MS) / u128::from(self.history())) as u64;
        let id = u128::from(bits) << 64 | u128::from(n);
        Posted {
            id,
            user,
            group: group as usize,
            amount: (bits >> 20 & 0xffff).cast_signed(),
            at_ms,
        }
    }

    /// Creates a slice that has applied the whole history at [`NOW`].
    pub fn slice(&self) -> Slice {
        let mut slice = Slice::new(usize::MAX, Secret::default());
        for n in 0..self.history() {
            let (_, verdict) = slice.apply(NOW, &self.entry(n).as_entry(), &mut NoLog);
            assert_eq!(verdict, Verdict::Accepted);
        }
        slice
    }

    /// Creates a machine at [`NOW`] that was fed the whole history.
    pub fn machine(&self) -> Machine {
        let mut machine = Machine::new(NOW);
        let mut body = String::new();
        for first in (0..self.history()).step_by(FEED_LINES) {
            let count = (self.history() - first).min(FEED_LINES as u64);
            body.clear();
            (first..first + count).for_each(|n| self.entry(n).write_line(&mut body));
            let head = "POST /v1/entries HTTP/1.1\r\nHost: x\r\n\
                        Content-Type: application/x-ndjson\r\nContent-Length: ";
            let sent = machine.answer(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
            let accepted = format!("{{\"accepted\":{count},");
            assert!(
                String::from_utf8_lossy(&sent).contains(&accepted),
                "{}",
                String::from_utf8_lossy(&sent)
            );
        }
        machine
    }

    fn of(&self, user: u64) -> Vec<Posted> {
        (0..self.history()).map(|n| self.entry(n)).filter(|posted| posted.user == user).collect()
    }

    /// Expected body of a user's balance.
    pub fn balance(&self, user: u64) -> String {
        let entries = self.of(user);
        let posted = |currency: &str| -> i64 {
            entries.iter().filter(|e| GROUPS[e.group].0 == currency).map(|e| e.signed()).sum()
        };
        let one = |currency: &str| {
            let posted = posted(currency);
            let head = format!(r#"{{"currency":"{currency}","posted":{posted}"#);
            format!(r#"{head},"pending_debits":0,"pending_credits":0,"available":{posted}}}"#)
        };
        let (version, as_of) =
            (entries.len(), entries.iter().map(|e| e.at_ms).max().unwrap_or_default());
        let head =
            format!(r#"{{"user_id":"{}","version":{version},"as_of_ms":{as_of}"#, user_id(user));
        format!(r#"{head},"balances":[{},{}]}}"#, one("COIN"), one("DIAMOND"))
    }

    /// Expected body of a user's statistics at [`NOW`] with `window=7d`. The range follows the
    /// contract's rule literally.
    pub fn stats(&self, user: u64) -> String {
        let entries = self.of(user);
        let latest = entries.iter().map(|e| e.at_ms).max().unwrap_or_default();
        let to = (NOW.0 / BUCKET_MS + 1) * BUCKET_MS;
        let (fine, middle) =
            ((latest - 26 * HOUR_MS) / HOUR_MS * HOUR_MS, (latest - 8 * DAY_MS) / DAY_MS * DAY_MS);
        let grain = |at| match at {
            _ if at >= fine => BUCKET_MS,
            _ if at >= middle => HOUR_MS,
            _ => DAY_MS,
        };
        let from = to - 7 * DAY_MS;
        let (from, to) = (from / grain(from) * grain(from), to.next_multiple_of(grain(to)));
        let mut groups = Vec::new();
        for (group, (currency, kind, direction)) in GROUPS.iter().enumerate() {
            let inside = |e: &&Posted| e.group == group && (from..to).contains(&e.at_ms);
            let amounts: Vec<i64> = entries.iter().filter(inside).map(|e| e.amount).collect();
            let (Some(min), Some(max)) = (amounts.iter().min(), amounts.iter().max()) else {
                continue;
            };
            let (count, sum, direction) =
                (amounts.len(), amounts.iter().sum::<i64>(), direction.name());
            let head =
                format!(r#"{{"currency":"{currency}","kind":"{kind}","direction":"{direction}""#);
            groups.push(format!(r#"{head},"count":{count},"sum":{sum},"min":{min},"max":{max}}}"#));
        }
        let head = format!(r#"{{"user_id":"{}","version":{}"#, user_id(user), entries.len());
        format!(r#"{head},"from_ms":{from},"to_ms":{to},"stats":[{}]}}"#, groups.join(","))
    }
}

impl Posted {
    fn signed(&self) -> i64 {
        if GROUPS[self.group].2 == Direction::Credit { self.amount } else { -self.amount }
    }

    /// Returns the entry in the form that the ledger applies.
    pub fn as_entry(&self) -> EntryRef<'static> {
        let (currency, kind, direction) = GROUPS[self.group];
        let currency =
            Currency::parse(currency.as_bytes()).expect("the groups have valid currencies");
        let movement = Movement {
            currency,
            kind,
            direction,
            amount: Amount::new(self.amount).expect("amounts are not negative"),
        };
        EntryRef {
            id: EntryId(self.id),
            user: UserId::Number(user_id(self.user)),
            at: Millis(self.at_ms),
            late_accepted: false,
            action: Action::Post(movement),
        }
    }

    /// Appends the entry as a line of the feed.
    pub fn write_line(&self, out: &mut String) {
        let (currency, kind, direction) = GROUPS[self.group];
        let hex = format!("{:032x}", self.id);
        let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
        let (user, direction) = (user_id(self.user), direction.name());
        let (amount, at_ms) = (self.amount, self.at_ms);
        let head = format!(r#"{{"entry_id":"{uuid}","user_id":"{user}","currency":"{currency}""#);
        let tail = format!(r#""at_ms":{at_ms},"state":"posted"}}"#);
        writeln!(
            out,
            r#"{head},"kind":"{kind}","direction":"{direction}","amount":{amount},{tail}"#
        )
        .expect("writing to a string does not fail");
    }
}
