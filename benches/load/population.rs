//! Seeded populations: users and the entries of their last 30 days, generated in time order.
//!
//! A population is a function of (users, seed) and of the form of its ids. A user is an index in
//! 0..users; `user_number` scatters it over 19-digit numbers, so ids are neither dense nor sorted,
//! and `user_id` writes the number in the population's form (`user_id`). There are ten entries per
//! user on average, all posted. Of every ten entries, four visit all users in a shuffled order,
//! reshuffled each round; the other six follow Zipf's law. A user's first four entries are one of
//! each group, so that every user ends with two currencies and four groups. This needs one byte of
//! memory per user, the number of such entries so far.
//!
//! Times are Unix milliseconds, amounts minor units.

use crate::random::{Random, Shuffle, Zipf, mix};
use crate::user_id::{IdForm, IdText};

pub const ENTRIES_PER_USER: u64 = 10;
const ROUND_ROBIN: u64 = 4; // of every ten entries

pub const MINUTE_MS: u64 = 60_000;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// End of the history: 2025-11-01T12:26:40Z, not on a bucket boundary. Fixed, so that equal seeds
/// give equal bytes; in the past, so that no entry is `entry_in_future`.
pub const END_MS: u64 = 1_762_000_000_000;
pub const SPAN_MS: u64 = 30 * DAY_MS;

const MORE_PER_MS: u64 = 10;
const LARGEST_AMOUNT: u64 = 100_000;
/// Smallest id: 10^18 + x with x below 2^62 always has 19 digits.
const FIRST_ID: u64 = 1_000_000_000_000_000_000;

pub struct Group {
    pub currency: &'static str,
    pub kind: &'static str,
    pub direction: &'static str,
}

/// The groups in the order of an answer.
pub const GROUPS: [Group; 4] = [
    Group { currency: "COIN", kind: "gift_sent", direction: "debit" },
    Group { currency: "COIN", kind: "topup", direction: "credit" },
    Group { currency: "DIAMOND", kind: "gift_received", direction: "credit" },
    Group { currency: "DIAMOND", kind: "payout", direction: "debit" },
];

#[derive(Clone, Copy)]
pub struct Population {
    pub users: u64,
    pub seed: u64,
    pub form: IdForm,
}

/// One ledger entry; `user` is an index, `group` one of `GROUPS`.
pub struct Entry {
    pub id: u128,
    pub user: u64,
    pub group: usize,
    pub amount: u64,
    pub at_ms: u64,
}

impl Population {
    /// A population with numbers as ids.
    pub fn new(users: u64, seed: u64) -> Self {
        Self { users, seed, form: IdForm::Number }
    }

    pub fn user_id(&self, index: u64) -> IdText {
        self.form.text(self.user_number(index))
    }

    pub fn user_number(&self, index: u64) -> u64 {
        // Bijective within 62 bits: xor, multiplication by an odd number, xor of the high half into
        // the low half.
        const MASK: u64 = (1 << 62) - 1;
        let mut x = (index ^ mix(self.seed)) & MASK;
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) & MASK;
        x ^= x >> 31;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9) & MASK;
        FIRST_ID + (x ^ (x >> 31))
    }

    pub fn len(&self) -> u64 {
        self.users * ENTRIES_PER_USER
    }

    /// Endless entries after the history: uniformly random users, ten entries per millisecond.
    pub fn more(&self) -> impl Iterator<Item = Entry> + use<> {
        let (users, mut random) = (self.users, Random::new(mix(self.seed ^ 0x303e)));
        (0..).map(move |n| Entry {
            id: u128::from(random.bits()) << 64 | u128::from(random.bits()),
            user: random.below(users),
            group: random.below(GROUPS.len() as u64) as usize,
            amount: 1 + random.below(LARGEST_AMOUNT),
            at_ms: END_MS + n / MORE_PER_MS,
        })
    }

    pub fn entries(&self) -> Entries {
        Entries {
            population: *self,
            next: 0,
            random: Random::new(self.seed),
            zipf: Zipf::new(self.users),
            round: Shuffle::new(self.users, self.seed),
            had: vec![0; self.users as usize],
        }
    }
}

/// The whole history, oldest first.
pub struct Entries {
    population: Population,
    next: u64,
    random: Random,
    zipf: Zipf,
    round: Shuffle,
    /// Entries of each user so far, up to four.
    had: Vec<u8>,
}

impl Entries {
    fn user(&mut self) -> u64 {
        let users = self.population.users;
        let (ten, place) = (self.next / ENTRIES_PER_USER, self.next % ENTRIES_PER_USER);
        if place >= ROUND_ROBIN {
            return self.zipf.draw(&mut self.random);
        }
        let turn = ten * ROUND_ROBIN + place;
        if turn.is_multiple_of(users) {
            self.round = Shuffle::new(users, self.random.bits());
        }
        self.round.at(turn % users)
    }

    /// A user's first four entries cover all groups; the first group differs by user.
    fn group(&mut self, user: u64) -> usize {
        let groups = GROUPS.len() as u64;
        let had = &mut self.had[user as usize];
        if u64::from(*had) == groups {
            return self.random.below(groups) as usize;
        }
        *had += 1;
        ((user + u64::from(*had)) % groups) as usize
    }
}

impl Iterator for Entries {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        let len = self.population.len();
        if self.next == len {
            return None;
        }
        let user = self.user();
        let group = self.group(user);
        let entry = Entry {
            id: u128::from(self.random.bits()) << 64 | u128::from(self.random.bits()),
            user,
            group,
            amount: 1 + self.random.below(LARGEST_AMOUNT),
            at_ms: END_MS - SPAN_MS
                + (u128::from(self.next) * u128::from(SPAN_MS) / u128::from(len)) as u64,
        };
        self.next += 1;
        Some(entry)
    }
}
