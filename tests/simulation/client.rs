//! Simulated clients of one slice: new, repeated and unacknowledged entries of few users.

use super::forgery;
use super::oracle::{Draft, Oracle};
use super::random::Random;
use crate::users;
use purser::journal::Place;
use purser::ledger::amount::{Amount, Currency, Direction};
use purser::ledger::entry::{Action, EntryRef, Movement, Terms};
use purser::ledger::id::{EntryId, UserId};
use purser::ledger::time::Millis;
use std::collections::VecDeque;

const HOUR_MS: u64 = 3_600_000;
const KINDS: [&str; 5] =
    ["topup", "gift", "refund", "withdrawal", "a_kind_whose_name_is_quite_long"];
const CURRENCIES: [&[u8]; 4] = [b"COIN", b"EUR", b"DIAMOND", b"USD"];

/// All clients of a slice together.
#[derive(Debug)]
pub struct Clients {
    users: Vec<u64>,
    /// A user whose id is a number, and whose entries all have the booking time that a forgery
    /// needs.
    forger: u64,
    /// Kinds to choose from, except for the first user's entries with [`Self::with_large`].
    kinds: Vec<&'static str>,
    /// How many of a thousand entries are the first user's; 0 for the usual choice of users.
    for_first: u64,
    next_id: u128,
    /// Entries without a known outcome, or refused for lack of space: to be resent in this order.
    doubtful: VecDeque<Draft>,
}

impl Clients {
    /// Clients with `users` users of slice `slice` of `slices`.
    pub fn new(users: u64, slice: u32, slices: u32) -> Self {
        let mut own = (0..).filter(|&user| users::id(user).slice(slices) == slice);
        Self {
            users: own.by_ref().take(users as usize).collect(),
            forger: own
                .find(|&user| matches!(users::id(user), UserId::Number(_)))
                .expect("every slice has users without end"),
            kinds: KINDS.to_vec(),
            for_first: 0,
            next_id: 1,
            doubtful: VecDeque::new(),
        }
    }

    /// A body whose last record holds the header of write `number` at `place`, with a guessed
    /// salt, if the body becomes one write: see [`forgery::drafts`].
    pub fn forged(&mut self, place: Place, number: u64, random: &mut Random) -> Vec<Draft> {
        let first_id = self.next_id << 64;
        self.next_id += 1;
        forgery::drafts(UserId::Number(self.forger), first_id, place, number, random)
    }

    /// Clients with very many entries of the first user, and with so many kinds.
    pub fn with_large(mut self, kinds: usize) -> Self {
        let name = |n| format!("kind_{n:05}_of_very_many_kinds");
        self.kinds = (0..kinds).map(|n| &*Box::leak(name(n).into_boxed_str())).collect();
        self.for_first = 900;
        self
    }

    /// Adds entries without a known outcome.
    pub fn add_doubtful(&mut self, drafts: impl IntoIterator<Item = Draft>) {
        self.doubtful.extend(drafts);
    }

    pub fn has_doubtful_entries(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Takes at most `most` entries to resend, oldest first.
    pub fn take_resends(&mut self, most: usize) -> Vec<Draft> {
        let most = most.min(self.doubtful.len());
        self.doubtful.drain(..most).collect()
    }

    pub fn user(&self, random: &mut Random) -> u64 {
        // The first users are chosen more often.
        let count = self.users.len() as u64;
        self.users[random.below(count).min(random.below(count)) as usize]
    }

    /// An entry: mostly new, else a repeat or a conflict.
    pub fn draft(&mut self, oracle: &Oracle, now_ms: u64, random: &mut Random) -> Draft {
        let is_for_first = self.for_first > 0 && random.in_thousand(self.for_first);
        let user = match self.for_first {
            0 => self.user(random),
            _ if is_for_first => self.users[0],
            _ => random.pick(&self.users[1..]),
        };
        let history = oracle.users.get(&user);
        let recent = |random: &mut Random| {
            let back = random.below(12) as usize;
            history.and_then(|history| history.entries().rev().nth(back)).copied()
        };
        if random.in_thousand(60)
            && let Some(known) = recent(random)
        {
            return known;
        }
        if random.in_thousand(30)
            && let Some(mut other) = recent(random)
        {
            other.at.0 ^= 1;
            return other;
        }
        let id = EntryId(self.next_id << 64 | u128::from(random.next() >> 1));
        self.next_id += 1;
        let late_ms = match random.below(20) {
            0 => random.below(30 * HOUR_MS),
            4 => random.below(500 * 24 * HOUR_MS),
            1..4 => random.below(3 * HOUR_MS),
            _ => random.below(1_000),
        };
        let at = if random.in_thousand(5) { now_ms + 2 * HOUR_MS } else { now_ms - late_ms };
        let at = Millis(at);
        let size = 1 << random.between(1, 40);
        let amount = Amount::new(random.below(size) as i64).expect("not negative");
        let hold = history.and_then(|history| {
            let named = history.entries().rev().take(40).filter_map(|draft| match draft.action {
                Action::Hold(held) => Some((draft.id, held.currency, held.direction)),
                Action::Grow { hold, terms: Some(own), .. } => {
                    Some((hold, own.currency, own.direction))
                }
                _ => None,
            });
            let holds: Vec<_> = named.collect();
            if holds.is_empty() { None } else { Some(random.pick(&holds)) }
        });
        let movement = Movement {
            currency: Currency::parse(random.pick(&CURRENCIES)).expect("it is a valid currency"),
            kind: random.pick(if is_for_first { &KINDS } else { &self.kinds }),
            direction: if random.coin() { Direction::Credit } else { Direction::Debit },
            amount,
        };
        let Movement { mut currency, kind, mut direction, .. } = movement;
        if let Some((_, held, towards)) = hold
            && !random.in_thousand(100)
        {
            (currency, direction) = (held, towards);
        }
        let terms = random.coin().then_some(Terms { currency, kind, direction });
        let (is_final, is_part) = (random.coin(), random.coin());
        let action = match (random.below(12), hold) {
            (0..2, _) => Action::Hold(movement),
            (2 | 3, Some((hold, ..))) => Action::Settle { hold, terms, amount, is_final },
            (4, Some((hold, ..))) => {
                let amount = Amount::new(0).expect("not negative");
                Action::Settle { hold, terms, amount, is_final }
            }
            (5, Some((hold, ..))) => {
                Action::Void { hold, terms, amount: is_part.then_some(amount) }
            }
            (6, Some((hold, ..))) => Action::Grow { hold, terms, amount },
            (7, _) => {
                let terms = Some(Terms { currency, kind, direction });
                Action::Grow { hold: EntryId(self.next_id << 64), terms, amount }
            }
            _ => Action::Post(movement),
        };
        let late_accepted = random.in_thousand(300);
        EntryRef { id, user: users::id(user), at, late_accepted, action }
    }
}
