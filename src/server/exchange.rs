//! The exchange between cores, as one of them has it: requests to others, and requests of others.
//!
//! ```text
//!   asks:    credit ─▶ request ─▶ (mesh) ─▶ … ─▶ (mesh) ─▶ reply ─▶ the connection
//!   replies: (mesh) ─▶ reads: answered in one walk; batches: in line; entries: to their slice ─▶ durable ─▶ (mesh)
//! ```
//!
//! **Credits.** A core has at most so many requests at another at one time. So what waits for a
//! core is bounded, and a reply always finds room to come back: no core waits for room, so none
//! waits in a circle. A connection without a credit starts no further request until a reply comes;
//! if none has come for a while, requests to that core are refused at once.

use super::limits::{CREDITS, PATIENCE_MS, SPARE_LARGE_REQUESTS, SPARE_REQUESTS};
use super::machine::Output;
use super::message::{Job, Message, Request};
use super::owner::Outputs;
use super::topology::Topology;
use std::collections::VecDeque;

/// Why another core cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// All credits are out; one will be back soon.
    Credit,
    /// None has come back for too long.
    Patience,
    /// The reply does not fit the budget.
    Budget,
}

/// The exchange of one core.
#[derive(Debug)]
pub struct Exchange {
    core: u32,
    /// At each peer.
    credits: u32,
    peers: Vec<Peer>,
    now_ms: u64,
    /// Requests of this core that are not back.
    away: usize,
    /// Whether a credit was wanting in this turn.
    is_short: bool,
    #[expect(clippy::vec_box, reason = "a request stays where it is, whichever core has it")]
    spare: Vec<Box<Request>>,
    /// How many of them are large.
    spare_large: usize,
    /// Requests of others, as they came, whose turn has not come.
    #[expect(clippy::vec_box, reason = "a request stays where it is, whichever core has it")]
    pub(super) line: Vec<Box<Request>>,
    /// Requests of others that take much of a turn: batches.
    pub(super) batches: VecDeque<Box<Request>>,
    /// Replies that have come, and from which core.
    pub(super) replies: VecDeque<(u32, Box<Request>)>,
}

/// Another core.
#[derive(Clone, Copy, Debug)]
struct Peer {
    credits: u32,
    /// Since when a credit is wanting and none has come back; `None` if there are some, or nobody
    /// wanted one.
    short_since_ms: Option<u64>,
}

impl Exchange {
    /// The exchange of a core.
    pub fn new(topology: Topology) -> Self {
        Self::with_credits(topology, CREDITS)
    }

    /// The same, with so many credits at each other core.
    pub fn with_credits(topology: Topology, credits: u32) -> Self {
        assert!(credits > 0, "a core may ask");
        Self {
            core: topology.core(),
            credits,
            peers: vec![Peer { credits, short_since_ms: None }; topology.cores() as usize],
            now_ms: 0,
            away: 0,
            is_short: false,
            spare: Vec::new(),
            spare_large: 0,
            line: Vec::new(),
            batches: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// A turn begins.
    pub const fn begin_turn(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.is_short = false;
    }

    // Requests to others.

    /// Takes a credit for one request to `core`.
    #[inline]
    pub fn take_credit(&mut self, core: u32) -> Result<(), Shortage> {
        let now_ms = self.now_ms;
        let peer = &mut self.peers[core as usize];
        if peer.credits == 0 {
            self.is_short = true;
            let since = *peer.short_since_ms.get_or_insert(now_ms);
            return Err(if now_ms - since < PATIENCE_MS {
                Shortage::Credit
            } else {
                Shortage::Patience
            });
        }
        peer.credits -= 1;
        Ok(())
    }

    /// The same for a request that may be long on its way, because its reply is large or waits for
    /// a disk: half of the credits are left to others.
    #[inline]
    pub fn take_credit_for_long(&mut self, core: u32) -> Result<(), Shortage> {
        if (1..=self.credits / 2).contains(&self.peers[core as usize].credits) {
            self.is_short = true;
            return Err(Shortage::Credit);
        }
        self.take_credit(core)
    }

    /// Returns a credit: its request came back, or was not sent.
    #[inline]
    pub fn return_credit(&mut self, core: u32) {
        let peer = &mut self.peers[core as usize];
        assert!(peer.credits < self.credits, "a credit that is returned was taken");
        peer.credits += 1;
    }

    /// An empty request.
    pub fn request(&mut self, job: Job, connection: u64) -> Box<Request> {
        let spare =
            self.spare.pop().inspect(|spare| self.spare_large -= usize::from(spare.is_large()));
        let mut request = spare.unwrap_or_else(|| Box::new(Request::new(self.core)));
        (request.job, request.connection) = (job, connection);
        request
    }

    /// Sends a request for which a credit was taken.
    #[inline]
    pub fn send(&mut self, core: u32, request: Box<Request>, outputs: &mut Outputs) {
        assert!(core != self.core && request.home == self.core, "what is ours is answered here");
        self.away += 1;
        outputs.push_back(Output::Message { core, message: Message::Request(request) });
    }

    /// A request has come back from `core`.
    #[inline]
    pub fn came_back(&mut self, core: u32) {
        self.return_credit(core);
        self.peers[core as usize].short_since_ms = None;
        self.away -= 1;
    }

    /// Keeps a request that is done with for the next one.
    #[inline]
    pub fn keep(&mut self, mut request: Box<Request>) {
        if self.spare.len() < SPARE_REQUESTS {
            request.clear(self.spare_large < SPARE_LARGE_REQUESTS);
            self.spare_large += usize::from(request.is_large());
            self.spare.push(request);
        }
    }

    /// When patience with a core at which a credit was wanting in this turn will end.
    pub fn patience_ends_ms(&self) -> Option<u64> {
        let shortages =
            self.peers.iter().filter_map(|peer| Some(peer.short_since_ms? + PATIENCE_MS));
        shortages.min().filter(|&at| self.is_short && at > self.now_ms)
    }

    /// Whether a credit was wanting in this turn.
    pub const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Requests that are at other cores.
    pub const fn away(&self) -> usize {
        self.away
    }

    /// Whether all credits are here.
    pub fn has_all_credits(&self) -> bool {
        let others = self.peers.iter().enumerate().filter(|(core, _)| *core != self.core as usize);
        others.into_iter().all(|(_, peer)| peer.credits == self.credits)
    }

    // Requests of others.

    /// Whether reads or batches of others wait for their turn.
    pub fn has_requests(&self) -> bool {
        !(self.line.is_empty() && self.batches.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(credits: u32) -> Exchange {
        Exchange::with_credits(Topology::new(0, 2, 2), credits)
    }

    #[test]
    fn a_long_request_leaves_half_of_the_credits_to_others() {
        let mut exchange = exchange(4);
        assert_eq!(
            [(); 3].map(|()| exchange.take_credit_for_long(1)),
            [Ok(()), Ok(()), Err(Shortage::Credit)]
        );
        assert_eq!(
            [(); 3].map(|()| exchange.take_credit(1)),
            [Ok(()), Ok(()), Err(Shortage::Credit)]
        );
        assert!(exchange.is_short() && !exchange.has_all_credits());
    }

    #[test]
    fn patience_ends_when_no_credit_comes_back_for_a_while() {
        let mut exchange = exchange(1);
        exchange.begin_turn(1_000);
        assert_eq!([(); 2].map(|()| exchange.take_credit(1)), [Ok(()), Err(Shortage::Credit)]);
        assert_eq!(exchange.patience_ends_ms(), Some(1_000 + PATIENCE_MS));
        exchange.begin_turn(1_000 + PATIENCE_MS);
        assert_eq!(exchange.take_credit(1), Err(Shortage::Patience));
        exchange.return_credit(1);
        assert_eq!(exchange.take_credit(1), Ok(()));
    }

    #[test]
    #[should_panic(expected = "a credit that is returned was taken")]
    fn a_credit_that_is_returned_twice_is_noticed() {
        exchange(1).return_credit(1);
    }
}
