//! Seeded random traffic: feeds, reads and batches about a few users, aimed at every edge case of
//! the contract.
//!
//! One seed gives one endless history, the same on every machine. A history yields bytes and times.
//! It runs a `Model` of its own to know each user's latest entry and open holds, so that it can aim
//! at limits to the millisecond. `spans` is the only finite history, a million entries long.
//!
//! - `drafts`: well-formed and malformed feed lines.
//! - `reads`: targets of reads and bodies of batches.
//! - `clock`: histories for servers with a real clock.
//! - `separate`: several histories that do not share users.
//! - `spans`: the history of a busy user, whose dedup window begins anew.
//! - This file: the choice of user, time and kind of step.

mod clock;
mod drafts;
mod reads;
mod separate;
mod spans;

pub use spans::spans;

use super::Model;
use super::ledger::{DEDUP_HORIZON, Direction, Group, MAX_HOLDS, User};
use super::stats::{BUCKET, DAY, HOUR, MAX_TIME, MINUTE, floor};
use clock::Clock;
use drafts::{Draft, Sent, id_text};
use std::collections::VecDeque;

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `late` is the parameter `late=accept`.
    Feed {
        now_ms: u64,
        late: bool,
        body: Vec<u8>,
    },
    Get {
        now_ms: u64,
        target: String,
    },
    Batch {
        now_ms: u64,
        body: Vec<u8>,
    },
}

/// Random numbers: SplitMix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// 0 to `end` - 1.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).expect("below a usize")
    }

    /// `low` to `high`, both included.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low) + 1;
        low.wrapping_add_unsigned(self.next() % span)
    }

    /// True in `parts` percent of the calls.
    fn percent(&mut self, parts: usize) -> bool {
        self.below(100) < parts
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Proportions of a history, drawn from the seed.
#[derive(Clone, Debug)]
struct Bias {
    currencies: Vec<String>,
    kinds: Vec<String>,
    /// Percentage of amounts near 2^63.
    huge: usize,
    /// Percentage of malformed lines.
    malformed: usize,
    /// Percentages of lines that are new holds, and settlements.
    holds: usize,
    settlements: usize,
    /// Percentage of feeds that accept late entries.
    late: usize,
    /// Percentage of steps before which time jumps.
    jumps: usize,
    max_lines: usize,
}

#[derive(Clone, Debug)]
pub struct History {
    random: Random,
    model: Model,
    now_ms: i64,
    /// The servers' clock, if it differs from `now_ms`.
    clock: Option<Clock>,
    users: Vec<String>,
    /// Whether valid lines for other users are replaced.
    is_separate: bool,
    bias: Bias,
    /// Sample of well-formed lines for resends, at most `MAX_SENT`.
    sent: Vec<Sent>,
    /// Steps before the random ones.
    opening: VecDeque<Step>,
}

/// Most well-formed lines kept for resends.
const MAX_SENT: usize = 600;

impl History {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let count = 5 + random.below(16);
        let users = users(&mut random, count);
        let bias = bias(&mut random);
        let now_ms = match random.below(8) {
            0 => random.between(0, 2 * DAY),
            1 => random.between(0, 420 * DAY),
            2 => MAX_TIME - random.between(0, 30 * DAY),
            3 => floor(random.between(0, MAX_TIME), DAY) + random.between(-1, 1).max(0),
            _ => random.between(1_600_000_000_000, 1_900_000_000_000),
        };
        let (model, sent, opening) = (Model::new(), Vec::new(), VecDeque::new());
        Self { random, model, now_ms, clock: None, users, is_separate: false, bias, sent, opening }
    }

    /// A history whose users first come close to a limit: 16 currencies, 256 groups or, in half of
    /// the histories, 65,536 open holds.
    pub fn at_limits(seed: u64) -> Self {
        Self::new(seed).near_limits()
    }

    /// Makes this history begin with users close to a limit; to be called before its first step.
    pub fn near_limits(mut self) -> Self {
        self.users.truncate(5);
        (self.bias.holds, self.bias.settlements) = (30, 20);
        self.now_ms = self.now_ms.clamp(DAY, MAX_TIME - 500 * DAY);
        let has_holds = self.random.below(2) == 0;
        for (index, user) in self.users.clone().into_iter().enumerate() {
            let lines = match index % 3 {
                0 if has_holds && index == 0 => self.many_holds(&user),
                0 | 1 => self.many_groups(&user),
                _ => self.many_currencies(&user),
            };
            for chunk in lines.chunks(if lines.len() < 1_000 { 200 } else { 8_000 }) {
                let body = chunk.join("\n").into_bytes();
                let (now_ms, late) = (self.served_ms(), false);
                self.model.feed(now_ms, late, &body);
                self.opening.push_back(Step::Feed { now_ms, late, body });
            }
        }
        self
    }

    /// Users that get entries.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    fn many_holds(&mut self, user: &str) -> Vec<String> {
        let count = MAX_HOLDS - self.random.below(4);
        (0..count)
            .map(|index| {
                let mut draft = self.fresh(user, true);
                draft.set_text("entry_id", self.random.wide().to_string());
                draft.set_text("currency", self.bias.currencies[0].clone());
                draft.set_number("amount", index + 1);
                draft.set_number("at_ms", self.now_ms);
                draft.plain()
            })
            .collect()
    }

    fn many_groups(&mut self, user: &str) -> Vec<String> {
        let count = 256 - self.random.below(3);
        (0..count)
            .map(|index| {
                let mut draft = self.fresh(user, false);
                draft.set_text("entry_id", self.random.wide().to_string());
                draft.set_text("currency", self.bias.currencies[0].clone());
                draft.set_text("kind", format!("group_{}", index / 2));
                draft.set_text("direction", ["credit", "debit"][index % 2]);
                draft.set_number("amount", index);
                draft.set_number("at_ms", self.now_ms);
                draft.plain()
            })
            .collect()
    }

    fn many_currencies(&mut self, user: &str) -> Vec<String> {
        let count = 16 - self.random.below(2);
        (0..count)
            .map(|index| {
                let mut draft = self.fresh(user, index % 3 == 0);
                draft.set_text("entry_id", self.random.wide().to_string());
                draft.set_text("currency", format!("CUR{index}"));
                draft.set_number("amount", index);
                draft.set_number("at_ms", self.now_ms);
                draft.plain()
            })
            .collect()
    }

    fn step(&mut self) -> Step {
        self.advance();
        let now_ms = self.served_ms();
        match self.random.below(100) {
            0..40 => {
                let late = self.random.percent(self.bias.late);
                let body = self.feed_body(late);
                Step::Feed { now_ms, late, body }
            }
            40..88 => {
                let target = self.target();
                Step::Get { now_ms, target }
            }
            _ => {
                let body = self.batch_body();
                Step::Batch { now_ms, body }
            }
        }
    }

    fn advance(&mut self) {
        let ahead = if self.random.percent(self.bias.jumps) {
            match self.random.below(12) {
                0..4 => self.random.between(0, 60 * MINUTE),
                4 | 5 => self.random.between(HOUR, 12 * HOUR),
                6 => 24 * HOUR,
                7 => 26 * HOUR + self.random.between(-HOUR, HOUR),
                8 => 8 * DAY + self.random.between(-DAY, DAY),
                9 => 400 * DAY + self.random.between(-DAY, DAY),
                // To the edge of a 15-minute bucket, an hour or a day, or one millisecond before.
                _ => {
                    let grain = self.random.pick(&[BUCKET, HOUR, DAY]);
                    let edge = floor(self.now_ms, grain) + grain - self.now_ms;
                    edge - self.random.between(0, 1)
                }
            }
        } else {
            self.random.between(0, 5_000)
        };
        let now_ms = (self.now_ms + ahead.max(0)).min(MAX_TIME);
        // Steps beyond the servers' clock are left out.
        if self.clock.is_none_or(|clock| now_ms <= clock.end()) {
            self.now_ms = now_ms;
        }
    }

    fn feed_body(&mut self, late: bool) -> Vec<u8> {
        if self.random.below(120) == 0 {
            let body = self.oversized();
            self.model.feed(self.served_ms(), late, &body);
            return body;
        }
        if self.random.percent(3) {
            return [&b""[..], b"\n", b"\r\n", b"\n\n\n"][self.random.below(4)].to_vec();
        }
        let count = match self.random.below(10) {
            0 => 1,
            1..8 => 1 + self.random.below(self.bias.max_lines.min(40)),
            _ => 1 + self.random.below(self.bias.max_lines),
        };
        let end: &[u8] = if self.random.percent(15) { b"\r\n" } else { b"\n" };
        let mut body = Vec::new();
        for index in 0..count {
            if index > 0 {
                body.extend_from_slice(end);
            }
            let line = self.any_line();
            let line = self.own(self.beyond_doubt(line));
            self.model.apply_line(self.served_ms(), late, &line);
            body.extend_from_slice(&line);
            if self.random.percent(4) {
                body.extend_from_slice(end);
                body.extend_from_slice(self.random.pick(&[&b""[..], b" ", b"\t\r", b" \t  "]));
            }
        }
        match self.random.below(20) {
            0..12 => body.extend_from_slice(end),
            12 => body.extend_from_slice(b"\n\n"),
            13 => body.extend_from_slice(b"\n "),
            _ => {}
        }
        body
    }

    /// Bodies at the feed's limits of 10,000 lines and 8 MiB, and one line or byte above.
    fn oversized(&mut self) -> Vec<u8> {
        let user = self.users[0].clone();
        let good = self.fresh(&user, false).plain().into_bytes();
        let good = self.beyond_doubt(good);
        match self.random.below(6) {
            0 => [&good[..], &b"\n{}".repeat(9_999)].concat(),
            1 => {
                [&b"\n \r".repeat(10_001)[..], b"\n", &good[..], &b"\n\n{}".repeat(9_999)].concat()
            }
            2 => [&good[..], &b"\n{}".repeat(10_000)].concat(),
            3 => [&good[..], b"\n", &b" ".repeat((8 << 20) - good.len() - 1)].concat(),
            4 => [&good[..], b"\n", &b"x".repeat((8 << 20) - good.len() - 1)].concat(),
            _ => [&good[..], b"\n", &b" ".repeat((8 << 20) - good.len())].concat(),
        }
    }

    fn any_line(&mut self) -> Vec<u8> {
        let user = self.random.pick(&self.users);
        if self.random.percent(self.bias.malformed) {
            let draft = match self.random.below(8) {
                0 | 1 => self.settlement(&user),
                2 => self.fresh(&user, true),
                _ => self.fresh(&user, false),
            };
            return draft.malformed(&mut self.random);
        }
        if !self.sent.is_empty() && self.random.percent(16) {
            return self.again();
        }
        let roll = self.random.below(100);
        let mut draft = if roll < self.bias.holds {
            self.fresh(&user, true)
        } else if roll < self.bias.holds + self.bias.settlements {
            self.settlement(&user)
        } else {
            self.fresh(&user, false)
        };
        if self.random.percent(6) {
            draft.add_metadata(&mut self.random);
        }
        let line = draft.plain().into_bytes();
        let line = if self.random.percent(20) { draft.restyled(&mut self.random) } else { line };
        self.remember(Sent { draft, line: line.clone() });
        line
    }

    fn remember(&mut self, sent: Sent) {
        if self.sent.len() < MAX_SENT {
            self.sent.push(sent);
        } else {
            let at = self.random.below(MAX_SENT);
            self.sent[at] = sent;
        }
    }

    /// A line sent before: unchanged, in another form of equal meaning, with one field changed, or
    /// with its id reused for another user or time.
    fn again(&mut self) -> Vec<u8> {
        let recent = self.sent.len().min(40);
        let at = if self.random.percent(60) {
            self.sent.len() - 1 - self.random.below(recent)
        } else {
            self.random.below(self.sent.len())
        };
        let Sent { mut draft, line } = self.sent[at].clone();
        match self.random.below(10) {
            0..3 => return line,
            3..6 => {
                draft.spell_ids_otherwise(&mut self.random);
                draft.spell_state_otherwise();
                draft.spell_metadata_otherwise(&mut self.random);
                return draft.restyled(&mut self.random);
            }
            6 | 7 => draft.change_one_field(&mut self.random),
            8 => draft.set_text("user_id", self.random.pick(&self.users)),
            _ => {
                let user = self.random.pick(&self.users);
                let at_ms = self.at_ms(&user);
                draft.set_number("at_ms", at_ms);
            }
        }
        let line = draft.plain().into_bytes();
        self.remember(Sent { draft, line: line.clone() });
        line
    }

    fn fresh(&mut self, user: &str, pending: bool) -> Draft {
        let mut draft = Draft::default();
        draft.set_text("entry_id", self.new_id());
        draft.set_text("user_id", user.to_string());
        draft.set_text("currency", self.random.pick(&self.bias.currencies));
        draft.set_text("kind", self.random.pick(&self.bias.kinds));
        draft.set_text("direction", self.random.pick(&["credit", "debit"]));
        draft.set_number("amount", self.amount());
        draft.set_number("at_ms", self.at_ms(user));
        if pending {
            draft.set_text("state", "pending");
        } else if self.random.percent(30) {
            draft.set_text("state", "posted");
        }
        draft
    }

    /// A line on a hold: mostly an open one.
    fn settlement(&mut self, user: &str) -> Draft {
        let open = match self.model.user(user) {
            Some(user) if user.open_holds().len() > 0 && !self.random.percent(8) => {
                let at = self.random.below(user.open_holds().len());
                user.open_holds()
                    .nth(at)
                    .map(|(id, group, left, own)| (id, group.clone(), left, own))
            }
            _ => None,
        };
        // Else unknown, settled already, or another user's.
        let group = Group {
            currency: self.random.pick(&self.bias.currencies),
            kind: self.random.pick(&self.bias.kinds),
            direction: self.random.pick(&[Direction::Credit, Direction::Debit]),
        };
        let (hold, group, held, own) = open.unwrap_or_else(|| (self.small_id(), group, 100, false));
        let mut draft = Draft::default();
        if !own && self.random.percent(30) {
            // The hold's own line, after one that names it.
            draft.set_text("entry_id", id_text(hold, &mut self.random));
            self.set_terms(&mut draft, group, 25);
            draft.set_number("amount", self.part(held));
            draft.set_text("state", "pending");
        } else {
            draft.set_text("entry_id", self.new_id());
            if self.random.percent(40) {
                self.set_terms(&mut draft, group, 8);
            }
            let state = self.random.below(10);
            if state < 7 || self.random.percent(50) {
                draft.set_number("amount", self.part(held));
            }
            match state {
                0..3 if self.random.percent(50) => {}
                0..5 => draft.set_text("state", "posted"),
                5 | 6 => draft.set_text("state", "pending"),
                _ => draft.set_text("state", "voided"),
            }
            if state < 5 && self.random.percent(50) {
                draft.set_raw("final", self.random.pick(&["true", "false", "false"]));
            }
            draft.set_text("pending_id", id_text(hold, &mut self.random));
        }
        draft.set_text("user_id", user.to_string());
        draft.set_number("at_ms", self.at_ms(user));
        draft
    }

    /// Currency, kind and direction of a line on a hold. In `differs` percent of the lines the
    /// currency is drawn, and so is the direction; else they are the hold's.
    fn set_terms(&mut self, draft: &mut Draft, hold: Group, differs: usize) {
        let Group { mut currency, mut kind, mut direction } = hold;
        if self.random.percent(differs) {
            currency = self.random.pick(&self.bias.currencies);
        }
        if self.random.percent(50) {
            kind = self.random.pick(&self.bias.kinds);
        }
        if self.random.percent(differs) {
            direction = self.random.pick(&[Direction::Credit, Direction::Debit]);
        }
        draft.set_text("currency", currency);
        draft.set_text("kind", kind);
        draft.set_text("direction", direction.name());
    }

    /// An amount for a line on a hold of which so much is held.
    fn part(&mut self, held: i128) -> i128 {
        let part = match self.random.below(9) {
            0 | 1 => held,
            2 => held + 1,
            3 => 0,
            4 => held - 1,
            5 => held + i128::from(self.amount()),
            _ => i128::try_from(self.random.wide() >> 1).expect("127 bits") % (held + 1),
        };
        part.clamp(0, i128::from(i64::MAX))
    }

    fn new_id(&mut self) -> String {
        if self.random.percent(20) {
            return self.text_id();
        }
        let id = match self.random.below(10) {
            0 => self.small_id(),
            1 => u128::MAX - self.small_id(),
            2 => 10u128.pow(31) + self.small_id(),
            _ => self.random.wide(),
        };
        id_text(id, &mut self.random)
    }

    /// An id out of 120, so that ids repeat, even after they left the dedup window.
    fn small_id(&mut self) -> u128 {
        self.random.below(120) as u128
    }

    /// An id that is neither a UUID nor a number.
    fn text_id(&mut self) -> String {
        let number = self.small_id();
        match self.random.below(6) {
            0 => format!("tx{number}:1"),
            1 => format!("0{number}"),
            2 => "~".repeat(100 + number as usize % 29),
            3 => format!("{{{number}}}"),
            4 => format!("{:032x}", self.random.wide() | 1 << 127 | 0xa),
            _ => format!("{}:{}", self.random.wide(), number % 2),
        }
    }

    fn amount(&mut self) -> i64 {
        if self.random.percent(self.bias.huge) {
            return match self.random.below(5) {
                0 => i64::MAX,
                1 => i64::MAX - self.random.between(0, 1_000),
                2 => i64::MAX / 2 + self.random.between(0, 2),
                _ => self.random.between(0, i64::MAX),
            };
        }
        match self.random.below(10) {
            0 => 0,
            1..7 => self.random.between(1, 1_000),
            _ => self.random.between(1, 1_000_000_000),
        }
    }

    /// A booking time within the contract's range: near now, or at an edge set by the user's latest
    /// entry.
    fn at_ms(&mut self, user: &str) -> i64 {
        if let Some(at_ms) = self.ahead_of_the_clock() {
            return at_ms;
        }
        let now = self.now_ms;
        let latest = self.model.user(user).and_then(|user| user.as_of_ms());
        let Some(latest) = latest else {
            let back = self.random.pick(&[0, 0, HOUR, 9 * DAY, 420 * DAY]);
            return (now - self.random.between(0, back.max(1))).clamp(0, MAX_TIME);
        };
        let horizon = self.model.user(user).map_or(0, User::window_ms).max(0);
        let random = &mut self.random;
        let at_ms = match random.below(40) {
            0..20 => now - random.between(0, 30_000),
            20..26 => latest - random.between(0, DEDUP_HORIZON),
            26 => horizon,
            27 => horizon - 1,
            28 => horizon + random.between(-2, 2),
            29 => {
                let back = random.pick(&[30 * DAY, 30 * DAY, 500 * DAY]);
                horizon - random.between(1, back)
            }
            30 => now + HOUR,
            31 => now + HOUR + 1,
            32 => now + random.between(0, HOUR),
            33 => now + random.between(HOUR, 3 * HOUR),
            34 => latest,
            35 => latest + random.between(-1, 1),
            36 => floor(now, BUCKET) - random.between(0, 1),
            37 => floor(now, HOUR) - random.between(0, 1),
            38 => floor(now, DAY) - random.between(0, 1),
            _ => floor(latest, BUCKET) + BUCKET - random.between(0, 1),
        };
        at_ms.clamp(0, MAX_TIME)
    }
}

impl Iterator for History {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Some(match self.opening.pop_front() {
            Some(step) => step,
            None => self.step(),
        })
    }
}

fn users(random: &mut Random, count: usize) -> Vec<String> {
    let mut users = ["0", "1", "18446744073709551615", "users:1"].map(str::to_owned).to_vec();
    while users.len() < count {
        let (number, wide) = (random.next(), random.wide());
        users.push(match random.below(10) {
            0 => (number % 100).to_string(),
            1 => (number % 1_000_000).to_string(),
            2 | 3 => number.to_string(),
            4 => format!("users:{}", number % 1_000),
            5 => format!("0{}", number % 100),
            6 => format!("{}", u128::from(u64::MAX) + 1 + u128::from(number % 100)),
            7 => format!("{:08x}-{number:04x}-{wide:x}", number >> 32).chars().take(36).collect(),
            8 => format!("{number:~>64}"),
            _ => format!("{}.{}_A-Z@Example:~", random.pick(&["", ".", "a"]), number % 100),
        });
    }
    random.shuffle(&mut users);
    users
}

fn bias(random: &mut Random) -> Bias {
    let currencies: &[&str] = &["COIN", "USD/2", "EUR", "DIAMOND", "B2", "A.-_56Z8", "AAA", "AAB"];
    let kinds: &[&str] = &["gift_sent", "Gift", "payment.captured", "a:b-c", "0", "a_", "z9"];
    let mut bias = Bias {
        currencies: currencies.iter().map(|&name| name.to_owned()).collect(),
        kinds: kinds.iter().map(|&name| name.to_owned()).collect(),
        huge: 1,
        malformed: 12,
        holds: 18,
        settlements: 16,
        late: 25,
        jumps: 12,
        max_lines: 60,
    };
    bias.kinds.push("k".repeat(32));
    bias.currencies.truncate(1 + random.below(8));
    bias.kinds.truncate(1 + random.below(8));
    match random.below(8) {
        0 => bias.currencies.extend((0..24).map(|n| format!("X{n:02}"))),
        1 => bias.kinds.extend((0..300).map(|n| format!("kind_{n}"))),
        2 => bias.huge = 40,
        3 => bias.malformed = 60,
        4 => (bias.holds, bias.settlements) = (45, 40),
        5 => bias.jumps = 50,
        6 => bias.max_lines = 200,
        _ => {}
    }
    bias
}

#[cfg(test)]
mod tests {
    use super::super::json::Fault;
    use super::super::{Code, Verdict};
    use super::*;
    use std::collections::BTreeMap;

    /// Runs steps through a model and counts verdicts and statuses.
    #[derive(Default)]
    struct Tally {
        model: Model,
        met: BTreeMap<String, usize>,
    }

    impl Tally {
        fn run(&mut self, steps: impl Iterator<Item = Step>) {
            for step in steps {
                let (name, status) = match step {
                    Step::Feed { now_ms, late, body } => {
                        self.lines(now_ms, late, &body);
                        ("feed", self.model.feed(now_ms, late, &body).0)
                    }
                    Step::Get { now_ms, target } => ("get", self.model.get(now_ms, &target).status),
                    Step::Batch { now_ms, body } => {
                        let reply = self.model.batch(now_ms, &body);
                        if let Some(fault) =
                            Fault::ALL.iter().find(|fault| reply.body.contains(fault.detail()))
                        {
                            *self.met.entry(format!("body {fault:?}")).or_default() += 1;
                        }
                        ("batch", reply.status)
                    }
                };
                *self.met.entry(format!("{name} {status}")).or_default() += 1;
            }
            for user in self.model.users.values() {
                assert_eq!(user.balances(), &user.recounted());
            }
        }

        /// Counts verdicts line by line on a copy of the model; `feed` applies the body itself.
        fn lines(&mut self, now_ms: u64, late: bool, body: &[u8]) {
            let mut copy = self.model.clone();
            let strict = |model: &Model, line: &[u8]| model.clone().apply_line(now_ms, false, line);
            for line in super::super::lines(body).into_iter().take(300) {
                let would_be = if late { strict(&copy, line) } else { Verdict::Accepted };
                let name = match copy.apply_line(now_ms, late, line) {
                    Verdict::Accepted if would_be != Verdict::Accepted => "late".to_owned(),
                    Verdict::Accepted => "accepted".to_owned(),
                    Verdict::Duplicate { .. } => "duplicate".to_owned(),
                    Verdict::Rejected { code, field, .. } => match code {
                        Code::UnknownField => code.name().to_owned(),
                        Code::InvalidJson(fault) => format!("line {fault:?}"),
                        _ => format!("{} {field}", code.name()),
                    },
                };
                *self.met.entry(name).or_default() += 1;
            }
        }
    }

    #[test]
    fn one_seed_is_one_history() {
        let steps = |seed| History::new(seed).take(60).collect::<Vec<_>>();
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }

    #[test]
    fn histories_meet_every_verdict() {
        every_verdict_is_met(History::new);
    }

    #[test]
    fn histories_at_a_real_clock_meet_every_verdict() {
        every_verdict_is_met(|seed| History::at_the_clock(seed, 1_763_900_000_000));
    }

    fn every_verdict_is_met(history: fn(u64) -> History) {
        let mut met = BTreeMap::new();
        let plain = (0..32).map(|seed| history(seed).take(150));
        let limits = (0..4).map(|seed| history(seed).near_limits().take(120));
        for steps in plain.chain(limits) {
            let mut tally = Tally::default();
            tally.run(steps);
            for (name, count) in tally.met {
                *met.entry(name).or_insert(0) += count;
            }
        }
        println!("{met:#?}");
        let wanted = "accepted|late|duplicate|unknown_field|line_too_long \
                      |missing_field entry_id|missing_field user_id|missing_field currency\
                      |missing_field kind\
                      |missing_field direction|missing_field amount|missing_field at_ms\
                      |missing_field pending_id|invalid_field entry_id|invalid_field user_id\
                      |invalid_field currency|invalid_field kind|invalid_field direction\
                      |invalid_field amount|invalid_field at_ms|invalid_field state|invalid_field \
                      pending_id|amount_negative amount|entry_in_future at_ms|entry_too_old at_ms\
                      |entry_id_conflict entry_id|pending_not_found pending_id\
                      |pending_mismatch pending_id|pending_mismatch currency\
                      |pending_mismatch direction|invalid_field final\
                      |too_many_currencies currency|too_many_groups \
                      kind|too_many_holds |balance_overflow amount|feed 200|feed 413\
                      |feed 422|get 200|get 400|get 404|get 405|batch 200|batch 400|batch 413";
        let faults = Fault::ALL.map(|fault| [format!("line {fault:?}"), format!("body {fault:?}")]);
        let wanted = wanted.split('|').chain(faults.as_flattened().iter().map(String::as_str));
        let missing: Vec<&str> = wanted.filter(|name| !met.contains_key(*name)).collect();
        assert!(missing.is_empty(), "never met: {missing:?}");
        assert!(met["accepted"] > met.values().sum::<usize>() / 5);
    }
}
