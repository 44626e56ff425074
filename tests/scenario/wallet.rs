//! The wallet: a seeded system of record, which decides alone and asks nobody.
//!
//! Each story (a payment with its captures, refunds and chargeback, an exchange, a gift) is decided
//! when it begins, and its entries are committed as their times come. All lines of one hold go
//! through one feeder, in order: the order between feeders is not that of commitment.

use super::book::{Account, CURRENCIES, DAY, Deed, Entry, Group, HOUR, MINUTE, kind};
use crate::simulation::random::Random;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The account that takes a fee of everything.
pub const FEES: usize = 0;

/// Entries of the fee account in a millisecond of its busy time.
const FEES_A_MS: u64 = 5;

/// The feeder that an entry goes through: A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

pub struct Wallet {
    random: Random,
    /// Names of the users.
    pub names: Vec<String>,
    /// The book: an account for each user.
    pub accounts: Vec<Account>,
    /// Entries decided and not committed yet, by time and order of decision.
    plans: BTreeMap<(u64, u64), (Side, Entry)>,
    decided: u64,
    now: u64,
    /// When the fee account is busy, from and to, and its entries so far.
    busy: (u64, u64),
    fees: u64,
}

impl Wallet {
    /// A wallet that begins at `now`; its fee account is busy from and to the times in `busy`.
    pub fn new(seed: u64, users: usize, now: u64, busy: (u64, u64)) -> Self {
        let mut random = Random(seed);
        let names = (0..users).map(|user| name(&mut random, user)).collect();
        let accounts = (0..users).map(|_| Account::default()).collect();
        let plans = BTreeMap::new();
        Self { random, names, accounts, plans, decided: 0, now, busy, fees: 0 }
    }

    /// Commits all until `to`, with `stories` new ones: the entries in order of time, booked.
    pub fn until(&mut self, to: u64, stories: u64) -> Vec<(Side, Entry)> {
        for _ in 0..stories {
            let at = self.random.between(self.now, to - 1);
            self.story(at);
        }
        let mut committed = Vec::new();
        while let Some(next) = self.plans.first_entry().filter(|next| next.key().0 < to) {
            let (side, entry) = next.remove();
            self.fees_until(entry.at, &mut committed);
            self.commit(side, entry, &mut committed);
        }
        self.fees_until(to, &mut committed);
        self.now = to;
        committed
    }

    fn commit(&mut self, side: Side, entry: Entry, committed: &mut Vec<(Side, Entry)>) {
        self.accounts[entry.user].book(&entry.id, entry.at, &entry.deed);
        committed.push((side, entry));
    }

    /// Commits the busy fee account's entries until `to`, one of a hundred through feeder B.
    fn fees_until(&mut self, to: u64, committed: &mut Vec<(Side, Entry)>) {
        let end = to.min(self.busy.1).saturating_sub(self.busy.0) * FEES_A_MS;
        while self.fees < end {
            let at = self.busy.0 + self.fees / FEES_A_MS;
            let (id, amount) = (format!("fee:{}", self.fees), self.random.below(1_000) as i64);
            let side = if self.random.in_thousand(10) { Side::B } else { Side::A };
            let currency = self.random.below(2) as u8;
            let group = Group { currency, kind: kind("fee"), debit: false };
            let deed = Deed::Post(group, amount);
            self.commit(side, Entry { id, user: FEES, at, deed }, committed);
            self.fees += 1;
        }
    }

    /// A new entry id: a number, a UUID or a text.
    fn id(&mut self) -> String {
        self.decided += 1;
        match self.random.below(3) {
            0 => format!("{}", 1_000_000 + self.decided),
            1 => uuid(&mut self.random),
            _ => format!("tx-{}", self.decided),
        }
    }

    /// A user; some are far busier than others.
    fn user(&mut self) -> usize {
        let end = self.random.between(2, self.names.len() as u64);
        self.random.between(1, end - 1) as usize
    }

    /// The feeder of a story of a user: a third of the users have only A, a third only B.
    fn side(&mut self, user: usize) -> Side {
        match user % 3 {
            0 => Side::A,
            1 => Side::B,
            _ => self.random.pick(&[Side::A, Side::B]),
        }
    }

    fn plan(&mut self, side: Side, user: usize, at: u64, id: String, deed: Deed) {
        self.decided += 1;
        self.plans.insert((at, self.decided), (side, Entry { id, user, at, deed }));
    }

    fn plan_new(&mut self, side: Side, user: usize, at: u64, deed: Deed) {
        let id = self.id();
        self.plan(side, user, at, id, deed);
    }

    fn group(&mut self, user: usize, name: &str, debit: bool) -> Group {
        // A user has three of the currencies.
        let currency = (user as u64 + self.random.below(3)) % CURRENCIES.len() as u64;
        Group { currency: currency as u8, kind: kind(name), debit }
    }

    fn amount(&mut self) -> i64 {
        let most = self.random.pick(&[10, 1_000, 100_000, 10_000_000_000]);
        self.random.between(1, most) as i64
    }

    fn story(&mut self, at: u64) {
        let user = self.user();
        let side = self.side(user);
        match self.random.below(20) {
            0..3 => {
                let (group, amount) = (self.group(user, "topup", false), self.amount());
                self.plan_new(side, user, at, Deed::Post(group, amount));
            }
            3 => {
                let group = self.group(user, "login", false);
                self.plan_new(side, user, at, Deed::Post(group, 0));
            }
            4..6 => self.exchange(side, user, at),
            6..9 => self.gift(side, user, at),
            9..11 => self.payment(side, user, at, false),
            _ => self.payment(side, user, at, true),
        }
        let group = self.group(FEES, "fee", false);
        let amount = self.random.below(100) as i64;
        self.plan_new(Side::A, FEES, at, Deed::Post(group, amount));
    }

    /// Two legs of one user in two currencies, with two ids.
    fn exchange(&mut self, side: Side, user: usize, at: u64) {
        let sold = self.group(user, "exchange", true);
        let currency = (sold.currency + 1) % CURRENCIES.len() as u8;
        let bought = Group { currency, debit: false, ..sold };
        let id = self.id();
        for (leg, group) in [(1, sold), (2, bought)] {
            let amount = self.amount();
            self.plan(side, user, at, format!("{id}:{leg}"), Deed::Post(group, amount));
        }
    }

    /// One transaction of two users: each has an entry of the same id.
    fn gift(&mut self, side: Side, user: usize, at: u64) {
        let (other, amount, id) = (self.user(), self.amount(), self.id());
        let sent = self.group(user, "gift_sent", true);
        self.plan(side, user, at, id.clone(), Deed::Post(sent, amount));
        if other != user {
            let received = Group { kind: kind("gift_received"), debit: false, ..sent };
            let side = self.side(other);
            self.plan(side, other, at, id, Deed::Post(received, amount));
        }
    }

    /// A later moment: minutes, hours or days after.
    fn later(&mut self, at: &mut u64) -> u64 {
        let most = self.random.pick(&[MINUTE, 2 * HOUR, DAY, 6 * DAY]);
        *at += self.random.between(1, most);
        *at
    }

    /// A hold that is captured or voided in one of many ways, and what follows.
    fn payment(&mut self, side: Side, user: usize, start: u64, debit: bool) {
        let group = self.group(user, if debit { "payment" } else { "payout" }, debit);
        let own =
            Group { kind: kind(if debit { "payment.captured" } else { "cashback" }), ..group };
        let (mut at, held, id) = (start, self.amount(), self.id());
        let open = |id, amount| Deed::Hold { id, terms: Some(group), amount };
        let way = self.random.below(10);
        if way == 0 {
            // Opened by another line, before its own one.
            let more = self.amount();
            self.plan_new(side, user, at, open(Some(id.clone()), more));
            self.later(&mut at);
        }
        self.plan(side, user, at, id.clone(), open(None, held));
        let mut captured = Vec::new();
        let mut capture = |wallet: &mut Self, at, terms, amount, last| {
            captured.push(amount);
            let deed = Deed::Capture { id: id.clone(), terms, amount, last };
            wallet.plan_new(side, user, at, deed);
        };
        // Terms of a line on an open hold.
        let some = |wallet: &mut Self| wallet.random.pick(&[None, Some(group), Some(own)]);
        match way {
            // It stays open.
            1 => {}
            2 | 3 => {
                let (at, terms) = (self.later(&mut at), some(self));
                let amount = self.random.coin().then_some(held);
                let deed = Deed::Void { id: id.clone(), terms, amount };
                self.plan_new(side, user, at, deed);
            }
            // In parts; what is left is released, by the last or by a void.
            4 | 5 => {
                let parts = self.random.between(2, 4);
                for part in 1..=parts {
                    let (at, terms) = (self.later(&mut at), some(self));
                    capture(self, at, terms, held / (parts as i64 + 1), part == parts && way == 4);
                }
                if way == 5 {
                    let (at, terms) = (self.later(&mut at), some(self));
                    self.plan_new(
                        side,
                        user,
                        at,
                        Deed::Void { id: id.clone(), terms, amount: None },
                    );
                }
            }
            // Above what was held, which closes it.
            6 => {
                let (at, terms, more) = (self.later(&mut at), some(self), self.amount());
                let last = self.random.coin();
                capture(self, at, terms, held + more, last);
            }
            // Captured and voided again after it is closed.
            7 => {
                let (first, terms) = (self.later(&mut at), some(self));
                capture(self, first, terms, held, false);
                let (at, more) = (self.later(&mut at), self.amount());
                capture(self, at, Some(own), more, true);
                let deed = Deed::Void { id: id.clone(), terms: Some(own), amount: None };
                self.plan_new(side, user, at, deed);
            }
            // It grows, shrinks and is captured.
            8 => {
                let (at1, terms, amount) = (self.later(&mut at), some(self), self.amount());
                let deed = Deed::Hold { id: Some(id.clone()), terms, amount };
                self.plan_new(side, user, at1, deed);
                let (at2, terms) = (self.later(&mut at), some(self));
                let deed = Deed::Void { id: id.clone(), terms, amount: Some(held) };
                self.plan_new(side, user, at2, deed);
                let (at3, terms) = (self.later(&mut at), some(self));
                capture(self, at3, terms, amount / 2, true);
            }
            _ => {
                let (at, terms) = (self.later(&mut at), some(self));
                capture(self, at, terms, held, true);
            }
        }
        if debit {
            captured
                .into_iter()
                .for_each(|amount| self.after_capture(side, user, group, at, amount));
        }
    }

    /// Refunds and chargebacks of a captured amount.
    fn after_capture(&mut self, side: Side, user: usize, group: Group, at: u64, amount: i64) {
        let back = |name, debit| Group { kind: kind(name), debit, ..group };
        if self.random.in_thousand(200) {
            let mut at = at;
            let (at, part) = (self.later(&mut at), self.random.between(0, 2) as i64);
            self.plan_new(side, user, at, Deed::Post(back("refund", false), amount / (part + 1)));
        }
        if self.random.in_thousand(100) {
            let at = at + 40 * DAY;
            self.plan_new(side, user, at, Deed::Post(back("chargeback", false), amount));
            self.plan_new(side, user, at, Deed::Post(back("chargeback.fee", true), 1_500));
        }
    }

    /// Writes an entry as a line of the feed.
    pub fn write_line(names: &[String], entry: &Entry, text: &mut String) {
        let Entry { id, user, at, deed } = entry;
        let user = &names[*user];
        let _ = write!(text, "{{\"entry_id\":\"{id}\",\"user_id\":\"{user}\",\"at_ms\":{at}");
        // Defaults are given on every other line.
        let explicit = at % 2 == 0;
        let (pending, terms, amount, state) = match deed {
            Deed::Post(group, amount) => (None, Some(group), Some(amount), "posted"),
            Deed::Hold { id, terms, amount } => {
                (id.as_ref(), terms.as_ref(), Some(amount), "pending")
            }
            Deed::Capture { id, terms, amount, .. } => {
                (Some(id), terms.as_ref(), Some(amount), "posted")
            }
            Deed::Void { id, terms, amount } => {
                (Some(id), terms.as_ref(), amount.as_ref(), "voided")
            }
        };
        if let Some(group) = terms {
            let (currency, kind) = (group.currency(), group.kind());
            let direction = group.direction();
            let _ = write!(text, ",\"currency\":\"{currency}\",\"kind\":\"{kind}\"");
            let _ = write!(text, ",\"direction\":\"{direction}\"");
        }
        if let Some(amount) = amount {
            let _ = write!(text, ",\"amount\":{amount}");
        }
        if state != "posted" || explicit {
            let _ = write!(text, ",\"state\":\"{state}\"");
        }
        if let Some(pending) = pending {
            let _ = write!(text, ",\"pending_id\":\"{pending}\"");
        }
        if let Deed::Capture { last, .. } = deed
            && (!last || explicit)
        {
            let _ = write!(text, ",\"final\":{last}");
        }
        if at % 50 == 0 {
            *text += r#","metadata":{"channel":"app","tags":[1,null,"x"]}"#;
        }
        *text += "}\n";
    }
}

/// The name of a user: a number, small or large, or a text.
fn name(random: &mut Random, user: usize) -> String {
    match user % 4 {
        1 => format!("users:{user}"),
        3 => uuid(random),
        0 => format!("{}", u64::MAX - user as u64),
        _ => format!("{}", 1_000 + user),
    }
}

fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}
