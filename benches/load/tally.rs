//! Expected answers: the tally keeps the generated entries of some sampled users, and computes
//! their balance and statistics naively by the contract's formulas. It shares no code with the
//! server.

use std::collections::HashMap;
use std::fmt::Write;

use crate::population::{
    DAY_MS, END_MS, Entry, GROUPS, Group, HOUR_MS, MINUTE_MS, Population, SPAN_MS,
};
use crate::random::{Shuffle, mix};
use crate::user_id::IdText;

const SAMPLED_USERS: u64 = 1_000;
const BUCKET_MS: u64 = 15 * MINUTE_MS;
const WINDOW_MS: u64 = 7 * DAY_MS;
/// Number of instants of past balances. A prime, so that no stride through the users repeats them.
const INSTANTS: u64 = 997;

/// Query of the stats suite. It sets `at_ms`, because the history ends in the past and a window
/// that ends now would be empty.
pub fn stats_query() -> String {
    format!("window=7d&at_ms={END_MS}")
}

/// The instants of past balances: spread evenly over the days of the history, in shuffled order.
/// All have 13 digits.
pub fn instants() -> impl Iterator<Item = u64> + Clone {
    (0..INSTANTS).map(instant_of)
}

/// One of the instants, by a number of any size.
pub fn instant_of(number: u64) -> u64 {
    let order = Shuffle::new(INSTANTS, INSTANTS);
    END_MS - SPAN_MS + (order.at(number % INSTANTS) + 1) * SPAN_MS / INSTANTS
}

#[derive(Clone)]
pub struct Tally {
    population: Population,
    /// Indices of sampled users, in random order.
    sampled: Vec<u64>,
    /// Bitmap of sampled users; read for every entry.
    wanted: Vec<u64>,
    kept: HashMap<u64, Vec<Posting>>,
}

#[derive(Clone, Copy)]
struct Posting {
    group: usize,
    amount: u64,
    at_ms: u64,
}

impl Tally {
    pub fn new(population: &Population) -> Self {
        let shuffle = Shuffle::new(population.users, mix(population.seed ^ 0x7a11));
        let sampled: Vec<u64> =
            (0..population.users.min(SAMPLED_USERS)).map(|k| shuffle.at(k)).collect();
        let mut wanted = vec![0; population.users.div_ceil(64) as usize];
        for index in &sampled {
            wanted[(index / 64) as usize] |= 1 << (index % 64);
        }
        Self { population: *population, sampled, wanted, kept: HashMap::new() }
    }

    #[inline]
    pub fn observe(&mut self, entry: &Entry) {
        if self.wants(entry.user) {
            let &Entry { group, amount, at_ms, .. } = entry;
            self.kept.entry(entry.user).or_default().push(Posting { group, amount, at_ms });
        }
    }

    /// Whether a user is sampled; entries of other users need not be observed.
    #[inline]
    pub fn wants(&self, user: u64) -> bool {
        self.wanted[(user / 64) as usize] >> (user % 64) & 1 == 1
    }

    /// `count` sampled users. Different `turn`s give different users until the sample is used up.
    pub fn sample(&self, turn: usize, count: usize) -> impl Iterator<Item = u64> {
        self.sampled.iter().cycle().skip(turn * count % self.sampled.len()).take(count).copied()
    }

    /// Number of users in the population.
    pub fn users(&self) -> u64 {
        self.population.users
    }

    pub fn user_id(&self, user: u64) -> IdText {
        self.population.user_id(user)
    }

    fn postings(&self, user: u64) -> &[Posting] {
        self.kept.get(&user).map_or(&[], Vec::as_slice)
    }

    pub fn version(&self, user: u64) -> usize {
        self.postings(user).len()
    }

    fn latest_ms(&self, user: u64) -> u64 {
        self.postings(user).iter().map(|posting| posting.at_ms).max().unwrap_or(0)
    }

    /// Sum posted to a user in a currency; `None` if there is none.
    pub fn posted(&self, user: u64, currency: &str) -> Option<i64> {
        let mut moved =
            self.postings(user).iter().filter(|p| GROUPS[p.group].currency == currency).peekable();
        moved.peek().is_some().then(|| moved.map(Posting::signed).sum())
    }

    /// Expected body of `GET /v1/users/{id}/balance`.
    pub fn balance(&self, user: u64) -> String {
        let (id, version, as_of) = (self.user_id(user), self.version(user), self.latest_ms(user));
        let mut body =
            format!(r#"{{"user_id":"{id}","version":{version},"as_of_ms":{as_of},"balances":["#);
        let mut comma = "";
        for currency in ["COIN", "DIAMOND"] {
            let Some(posted) = self.posted(user, currency) else { continue };
            let _ = write!(body, r#"{comma}{{"currency":"{currency}","posted":{posted},"#);
            let _ =
                write!(body, r#""pending_debits":0,"pending_credits":0,"available":{posted}}}"#);
            comma = ",";
        }
        body + "]}"
    }

    /// Expected body of `GET /v1/users/{id}/balance?at_ms=…`.
    pub fn past(&self, user: u64, at_ms: u64) -> String {
        let (id, version, as_of) = (self.user_id(user), self.version(user), self.latest_ms(user));
        let at = Grid::of(as_of).raise(at_ms.next_multiple_of(BUCKET_MS));
        let mut body = format!(
            r#"{{"user_id":"{id}","version":{version},"as_of_ms":{as_of},"at_ms":{at},"balances":["#
        );
        let mut comma = "";
        for currency in ["COIN", "DIAMOND"] {
            let all = self.postings(user).iter().filter(|p| GROUPS[p.group].currency == currency);
            if all.clone().next().is_none() {
                continue;
            }
            let posted: i64 = all.filter(|p| p.at_ms < at).map(Posting::signed).sum();
            let _ = write!(body, r#"{comma}{{"currency":"{currency}","posted":{posted}}}"#);
            comma = ",";
        }
        body + "]}"
    }

    /// Expected body of `GET /v1/users/{id}/stats` with `stats_query`.
    pub fn stats(&self, user: u64) -> String {
        let (id, version) = (self.user_id(user), self.version(user));
        let (from, to) = stated_range(self.latest_ms(user), END_MS, WINDOW_MS);
        let mut body = format!(
            r#"{{"user_id":"{id}","version":{version},"from_ms":{from},"to_ms":{to},"stats":["#
        );
        let mut comma = "";
        for (index, group) in GROUPS.iter().enumerate() {
            let inside = |p: &&Posting| p.group == index && (from..to).contains(&p.at_ms);
            let amounts = || self.postings(user).iter().filter(inside).map(|p| p.amount);
            let (Some(min), Some(max)) = (amounts().min(), amounts().max()) else {
                continue;
            };
            let (count, sum) = (amounts().count(), amounts().sum::<u64>());
            let Group { currency, kind, direction } = group;
            let _ = write!(
                body,
                r#"{comma}{{"currency":"{currency}","kind":"{kind}","direction":"{direction}","#
            );
            let _ = write!(body, r#""count":{count},"sum":{sum},"min":{min},"max":{max}}}"#);
            comma = ",";
        }
        body + "]}"
    }
}

impl Posting {
    fn signed(&self) -> i64 {
        let amount = self.amount as i64;
        if GROUPS[self.group].direction == "credit" { amount } else { -amount }
    }
}

/// Range stated by a statistics answer for a user whose latest entry is at `n`: API.md, "The answer
/// is exact for".
fn stated_range(n: u64, at_ms: u64, window: u64) -> (u64, u64) {
    let grid = Grid::of(n);
    let to = floor(at_ms, BUCKET_MS) + BUCKET_MS;
    let from = to.saturating_sub(window);
    (floor(from, grid.grain(from)).max(grid.days), grid.raise(to))
}

fn floor(t: u64, grain: u64) -> u64 {
    t - t % grain
}

/// The instants at which the answers for a user are exact, by where each grain begins.
struct Grid {
    fine: u64,
    hours: u64,
    days: u64,
}

impl Grid {
    /// The grid of a user whose latest entry is at `n`.
    fn of(n: u64) -> Self {
        Self {
            fine: floor(n.saturating_sub(26 * HOUR_MS), HOUR_MS),
            hours: floor(n.saturating_sub(8 * DAY_MS), DAY_MS),
            days: floor(n.saturating_sub(400 * DAY_MS), DAY_MS),
        }
    }

    fn grain(&self, t: u64) -> u64 {
        match t {
            _ if t >= self.fine => BUCKET_MS,
            _ if t >= self.hours => HOUR_MS,
            _ => DAY_MS,
        }
    }

    /// The first instant of the grid, not before `to`, a multiple of 15 minutes.
    fn raise(&self, to: u64) -> u64 {
        to.next_multiple_of(self.grain(to)).max(self.days)
    }
}
