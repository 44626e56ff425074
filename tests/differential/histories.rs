//! Sends one seeded history to a pair of servers, and plants differences that must be found.

use super::pair::{Difference, Pair};
use super::peer::Peers;
use super::sweep;
use crate::model::history::{History, Step, spans};
use crate::model::{Model, Verdict};
use crate::seeds;
use crate::server::client::{batch, feed, get, post};
use crate::server::with_slices;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

const STEPS: usize = 300;
/// Steps before a difference is planted.
const STEPS_BEFORE_PLANT: usize = 30;

/// The clock, or `PURSER_NOW`: the clock of the run to repeat.
pub fn now_ms() -> u64 {
    let now =
        || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    seeds::number("PURSER_NOW").unwrap_or_else(|| now().try_into().expect("a clock of this era"))
}

/// A history and the peer to run it against.
#[derive(Clone, Copy)]
pub struct Run {
    pub seed: u64,
    pub now_ms: u64,
    pub limits: bool,
    pub peer: &'static str,
    pub plant: Option<Plant>,
}

impl Run {
    /// Returns the number of answers compared, or a report that says how to reproduce the first
    /// difference.
    pub fn run(self, peers: &Peers) -> Result<usize, String> {
        // The seed decides the number of slices: one, two or three.
        let mut pair = with_slices(1 + (self.seed % 3) as u32, || Pair::start(peers, self.peer));
        let mut planter = self.plant.map(Planter::new);
        let mut history = self.history();
        for (number, step) in history.by_ref().take(STEPS).enumerate() {
            let theirs = match &mut planter {
                Some(planter) => planter.changed(&step, number >= STEPS_BEFORE_PLANT),
                None => request(&step),
            };
            let asked = pair.ask_each([&request(&step), &theirs]);
            asked.map_err(|parted| self.report(number, step, &parted))?;
            if let Some(more) = planter.as_mut().and_then(|planter| planter.more.take()) {
                pair.ask_peer(&feed(more));
            }
        }
        assert!(planter.is_none_or(|planter| planter.is_done), "nothing was planted");
        history.users().iter().try_for_each(|user| self.sweep(&mut pair, user))?;
        Ok(pair.compared)
    }

    /// Reads everything that the servers have of a user at the end.
    fn sweep(self, pair: &mut Pair, user: &str) -> Result<(), String> {
        let now_ms = self.now_ms;
        let balance = Step::Get { now_ms, target: format!("/v1/users/{user}/balance") };
        let body =
            pair.ask(&request(&balance)).map_err(|parted| self.report(STEPS, balance, &parted))?;
        let body: Value = serde_json::from_str(&body).expect("a body is JSON");
        let Some(latest) = body["as_of_ms"].as_u64() else { return Ok(()) };
        let atoms = Step::Batch { now_ms, body: sweep::batch(&sweep::atoms(user, latest)) };
        pair.ask(&request(&atoms)).map_err(|parted| self.report(STEPS, atoms, &parted))?;
        Ok(())
    }

    fn history(self) -> History {
        let history = History::at_the_clock(self.seed, self.now_ms);
        if self.limits { history.near_limits() } else { history }
    }

    fn report(self, number: usize, step: Step, parted: &Difference) -> String {
        let mut model = Model::new();
        for earlier in self.history().take(number) {
            answer(&mut model, earlier);
        }
        let (status, body) = answer(&mut model, step);
        let Self { seed, now_ms, limits, peer, .. } = self;
        let test = format!("differential::{}_{peer}", if limits { "limits" } else { "histories" });
        format!(
            "seed {seed} step {number}, again: PURSER_SEED={seed} PURSER_NOW={now_ms} cargo test \
             --test purser {test} -- --exact\nthe model agrees with: {}\n{}",
            parted.server_that_answered(status, &body),
            parted.shown()
        )
    }
}

/// Runs the history of a million entries, in which the dedup window begins anew.
pub fn run_spans(peers: &Peers, peer: &'static str) -> usize {
    let mut pair = Pair::start(peers, peer);
    for step in spans() {
        pair.ask(&request(&step)).unwrap_or_else(|parted| panic!("{}", parted.shown()));
    }
    pair.compared
}

/// A feed, with the parameter `late=accept` if `late`.
fn feed_with(late: bool, body: &[u8]) -> Vec<u8> {
    if late { post("/v1/entries?late=accept", "application/x-ndjson", body) } else { feed(body) }
}

fn request(step: &Step) -> Vec<u8> {
    match step {
        Step::Feed { late, body, .. } => feed_with(*late, body),
        Step::Get { target, .. } => get(target).into_bytes(),
        Step::Batch { body, .. } => batch(body),
    }
}

fn answer(model: &mut Model, step: Step) -> (u16, String) {
    let reply = match step {
        Step::Feed { now_ms, late, body } => return model.feed(now_ms, late, &body),
        Step::Get { now_ms, target } => model.get(now_ms, &target),
        Step::Batch { now_ms, body } => model.batch(now_ms, &body),
    };
    (reply.status, reply.body)
}

/// A single difference in what the peer is sent.
#[derive(Clone, Copy, Debug)]
pub enum Plant {
    /// One additional entry of one minor unit.
    More,
    /// An entry whose amount is one minor unit larger.
    Amount,
    /// An entry one bucket earlier.
    Earlier,
    /// An entry of another kind.
    Kind,
}

impl Plant {
    /// Changes an entry to what the peer gets.
    fn change(self, entry: &mut Value) {
        let number = |name: &str| entry[name].as_u64().expect("an accepted entry has it");
        match self {
            Plant::More => {
                entry["entry_id"] = "31415926535897932384".into();
                entry["amount"] = 1.into();
            }
            Plant::Amount => entry["amount"] = (number("amount") + 1).into(),
            Plant::Earlier => entry["at_ms"] = (number("at_ms") - 900_000).into(),
            Plant::Kind => entry["kind"] = "planted".into(),
        }
    }
}

/// Finds an entry that is accepted both unchanged and changed, and changes it.
struct Planter {
    plant: Plant,
    model: Model,
    now_ms: u64,
    /// An additional body for the peer.
    more: Option<Vec<u8>>,
    is_done: bool,
}

impl Planter {
    fn new(plant: Plant) -> Self {
        Self { plant, model: Model::new(), now_ms: now_ms(), more: None, is_done: false }
    }

    /// The request that the peer gets for this step.
    fn changed(&mut self, step: &Step, may_plant: bool) -> Vec<u8> {
        let Step::Feed { late, body, .. } = step else {
            return request(step);
        };
        let mut lines: Vec<Vec<u8>> =
            body.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        for line in &mut lines {
            let is_accepted = may_plant && !self.is_done && self.accepts(*late, line);
            let changed = if is_accepted { self.change(*late, line) } else { None };
            self.model.apply_line(self.now_ms, *late, line);
            match (changed, self.plant) {
                (Some(changed), Plant::More) => self.more = Some(changed),
                (Some(changed), _) => *line = changed,
                (None, _) => {}
            }
        }
        // The additional entry follows the body's own entries.
        if let Some(more) = self.more.take() {
            self.is_done = self.accepts(*late, &more);
            self.more = self.is_done.then_some(more);
        }
        feed_with(*late, &lines.join(&b'\n'))
    }

    fn accepts(&self, late: bool, line: &[u8]) -> bool {
        self.model.clone().apply_line(self.now_ms, late, line) == Verdict::Accepted
    }

    /// A posted entry with the planted change, if it is still accepted.
    fn change(&mut self, late: bool, line: &[u8]) -> Option<Vec<u8>> {
        let mut entry: Value = serde_json::from_slice(line).ok()?;
        if entry.get("kind").is_none() || entry.get("state").is_some_and(|state| state != "posted")
        {
            return None;
        }
        self.plant.change(&mut entry);
        let changed = entry.to_string().into_bytes();
        self.is_done = self.accepts(late, &changed);
        self.is_done.then_some(changed)
    }
}
