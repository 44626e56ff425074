//! The exchange between cores, as one core sees it: its requests to other cores, and theirs to it.
//!
//! ```text
//!   outgoing: credit ─▶ request ─▶ (mesh) ─▶ … ─▶ (mesh) ─▶ reply ─▶ the connection
//!   incoming: (mesh) ─▶ reads:   answered together   ─┐
//!                       batches: answered in steps   ─┼─▶ durable ─▶ (mesh)
//!                       entries: to their slice      ─┘
//! ```
//!
//! A core also sends requests to itself: those that are too heavy for a turn ([`super::heavy`]).
//! Its batches take credits, too. Its reads do not: a connection has few of them at a time.
//!
//! **Credits.** A core has a bounded number of requests outstanding at each other core. This bounds
//! the queue of a core, and leaves space for every reply: no core waits for queue space at another,
//! so cores cannot deadlock. A connection without a credit starts no further request until a reply
//! returns one. If no reply has come for [`CREDIT_TIMEOUT_MS`], requests to that core are refused
//! without a wait.

use super::limits::{CREDIT_TIMEOUT_MS, CREDITS, SPARE_LARGE_REQUESTS, SPARE_REQUESTS};
use super::machine::Output;
use super::message::{Job, Message, Request};
use super::owner::Outputs;
use super::topology::Topology;
use std::collections::{BTreeMap, VecDeque};

/// Why another core cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// All credits are in use; one will be returned soon.
    Credit,
    /// All credits are in use, and none was returned for [`CREDIT_TIMEOUT_MS`].
    CreditTimeout,
    /// The reply does not fit the answer budget.
    Budget,
}

/// The heavy requests of one core, in turn: its own, and those of other cores.
#[derive(Debug, Default)]
pub(super) struct HeavyRequests {
    pub(super) queue: VecDeque<Box<Request>>,
    /// Number of requests of each connection, by its core and its id there.
    connections: BTreeMap<(u32, u64), usize>,
}

impl HeavyRequests {
    /// Adds a request.
    pub(super) fn add(&mut self, request: Box<Request>) {
        self.announce(&request);
        self.queue.push_back(request);
    }

    /// Counts a request that will be put into the queue.
    pub(super) fn announce(&mut self, request: &Request) {
        *self.connections.entry((request.asking_core, request.connection)).or_default() += 1;
    }

    /// Accounts for a request that is answered or cancelled.
    pub(super) fn is_over(&mut self, request: &Request) {
        let connection = (request.asking_core, request.connection);
        if let Some(count) = self.connections.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(&connection);
            }
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether one of the same connection waits: later reads of that connection are answered after
    /// it.
    pub(super) fn has_one_before(&self, request: &Request) -> bool {
        !self.connections.is_empty()
            && self.connections.contains_key(&(request.asking_core, request.connection))
    }
}

/// The credit that a request waits for.
#[derive(Clone, Copy, Debug)]
pub struct WantedCredit {
    /// The core that is to be asked.
    pub core: u32,
    /// Whether the request may stay out long: see [`Exchange::take_credit_for_slow_request`].
    pub is_slow: bool,
}

/// The exchange of one core.
#[derive(Debug)]
pub struct Exchange {
    core: u32,
    /// Credits at each other core.
    credits: u32,
    peers: Vec<Peer>,
    now_ms: u64,
    /// Credits taken since the start.
    credits_taken: u64,
    /// Requests of this core that are outstanding at other cores.
    outstanding: usize,
    /// Whether a request of this turn found no credit.
    lacks_credit: bool,
    #[expect(clippy::vec_box, reason = "a request keeps its address as it moves between cores")]
    spare: Vec<Box<Request>>,
    /// How many of the spare requests keep a large buffer.
    spare_large: usize,
    /// Requests of other cores that were received and not looked at yet, in order of arrival.
    #[expect(clippy::vec_box, reason = "a request keeps its address as it moves between cores")]
    pub(super) incoming: Vec<Box<Request>>,
    /// Requests that are answered in steps, of other cores and of this one.
    pub(super) heavy: HeavyRequests,
    /// Replies that have arrived, and the core that each came from.
    pub(super) replies: VecDeque<(u32, Box<Request>)>,
}

/// Another core, or this one as far as it sends requests to itself.
#[derive(Clone, Copy, Debug)]
struct Peer {
    credits: u32,
    /// When a request first found no credit, if no credit was returned since; else `None`.
    no_credit_since_ms: Option<u64>,
    /// Whether a request waits for one of its credits.
    is_awaited: bool,
}

impl Exchange {
    /// Creates the exchange of a core.
    pub fn new(topology: Topology) -> Self {
        Self::with_credits(topology, CREDITS)
    }

    /// Creates the exchange of a core with a given number of credits at each other core.
    pub fn with_credits(topology: Topology, credits: u32) -> Self {
        assert!(credits > 0, "a core has at least one credit at each other core");
        Self {
            core: topology.core(),
            credits,
            peers: vec![
                Peer { credits, no_credit_since_ms: None, is_awaited: false };
                topology.cores() as usize
            ],
            now_ms: 0,
            credits_taken: 0,
            outstanding: 0,
            lacks_credit: false,
            spare: Vec::new(),
            spare_large: 0,
            incoming: Vec::new(),
            heavy: HeavyRequests::default(),
            replies: VecDeque::new(),
        }
    }

    /// Begins a turn.
    pub const fn begin_turn(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.lacks_credit = false;
    }

    // Requests to other cores.

    /// Whether a request waits for a credit at `core`. One that has just arrived must wait until
    /// that request has one.
    #[inline]
    pub fn is_awaited(&self, core: u32) -> bool {
        self.peers[core as usize].is_awaited
    }

    /// Credits taken since the start.
    pub const fn credits_taken(&self) -> u64 {
        self.credits_taken
    }

    /// Begins to hand credits to the requests that wait for them; those that get none are marked
    /// again.
    pub fn begin_retries(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.is_awaited = false);
    }

    /// Takes a credit for one request to `core`.
    #[inline]
    pub fn take_credit(&mut self, core: u32) -> Result<(), Shortage> {
        let now_ms = self.now_ms;
        let peer = &mut self.peers[core as usize];
        if peer.credits == 0 {
            self.lacks_credit = true;
            peer.is_awaited = true;
            let since = *peer.no_credit_since_ms.get_or_insert(now_ms);
            return Err(if now_ms - since < CREDIT_TIMEOUT_MS {
                Shortage::Credit
            } else {
                Shortage::CreditTimeout
            });
        }
        peer.credits -= 1;
        self.credits_taken += 1;
        Ok(())
    }

    /// Takes a credit for a request that may stay out long, because its reply is large or waits for
    /// a disk: half of the credits are left for other requests.
    #[inline]
    pub fn take_credit_for_slow_request(&mut self, core: u32) -> Result<(), Shortage> {
        if (1..=self.credits / 2).contains(&self.peers[core as usize].credits) {
            self.lacks_credit = true;
            self.peers[core as usize].is_awaited = true;
            return Err(Shortage::Credit);
        }
        self.take_credit(core)
    }

    /// Whether a request that waits for a credit at `core` gets none now. It has one, or is
    /// refused, when it tries again; until then it need not.
    pub fn keeps_waiting(&mut self, wanted: WantedCredit) -> bool {
        let WantedCredit { core, is_slow } = wanted;
        let taken =
            if is_slow { self.take_credit_for_slow_request(core) } else { self.take_credit(core) };
        if taken.is_ok() {
            self.undo_credit(core);
        }
        taken == Err(Shortage::Credit)
    }

    /// Returns a credit: its request came back, or was not sent.
    #[inline]
    pub fn return_credit(&mut self, core: u32) {
        let peer = &mut self.peers[core as usize];
        assert!(peer.credits < self.credits, "a credit that is returned was taken");
        peer.credits += 1;
    }

    /// Returns a credit that was taken in this turn in vain: another one was missing.
    pub fn undo_credit(&mut self, core: u32) {
        self.return_credit(core);
        self.credits_taken -= 1;
    }

    /// Returns an empty request, with recycled memory if there is some.
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
        assert!(
            core != self.core && request.asking_core == self.core,
            "a core sends only its own requests, and only to other cores"
        );
        self.outstanding += 1;
        outputs.push_back(Output::Message { core, message: Message::Request(request) });
    }

    /// Accounts for a reply from `core`: returns its credit.
    #[inline]
    pub fn reply_received(&mut self, core: u32) {
        self.return_credit(core);
        self.peers[core as usize].no_credit_since_ms = None;
        self.outstanding -= usize::from(core != self.core);
    }

    /// Accounts for a request of this core to itself that is answered or cancelled.
    pub fn own_request_over(&mut self, request: &Request) {
        if request.job != Job::Read {
            self.reply_received(self.core);
        }
    }

    /// Sends a reply to the core that has asked.
    pub fn reply(&mut self, request: Box<Request>, outputs: &mut Outputs) {
        let core = request.asking_core;
        if core == self.core {
            self.own_request_over(&request);
            self.replies.push_back((core, request));
        } else {
            outputs.push_back(Output::Message { core, message: Message::Reply(request) });
        }
    }

    /// Recycles the memory of a finished request.
    #[inline]
    pub fn recycle_request(&mut self, mut request: Box<Request>) {
        if self.spare.len() < SPARE_REQUESTS {
            request.clear(self.spare_large < SPARE_LARGE_REQUESTS);
            self.spare_large += usize::from(request.is_large());
            self.spare.push(request);
        }
    }

    /// The earliest time at which [`Shortage::Credit`] of this turn becomes
    /// [`Shortage::CreditTimeout`]; monotonic milliseconds.
    pub fn credit_deadline_ms(&self) -> Option<u64> {
        let shortages =
            self.peers.iter().filter_map(|peer| Some(peer.no_credit_since_ms? + CREDIT_TIMEOUT_MS));
        shortages.min().filter(|&at| self.lacks_credit && at > self.now_ms)
    }

    /// Whether a request of this turn found no credit.
    pub const fn lacks_credit(&self) -> bool {
        self.lacks_credit
    }

    /// Number of requests outstanding at other cores.
    pub const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether no credit is in use.
    pub fn has_all_credits(&self) -> bool {
        self.peers.iter().all(|peer| peer.credits == self.credits)
    }

    // Requests of other cores.

    /// Whether reads or batches are queued.
    pub fn has_requests(&self) -> bool {
        !(self.incoming.is_empty() && self.heavy.is_empty())
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
            [(); 3].map(|()| exchange.take_credit_for_slow_request(1)),
            [Ok(()), Ok(()), Err(Shortage::Credit)]
        );
        assert_eq!(
            [(); 3].map(|()| exchange.take_credit(1)),
            [Ok(()), Ok(()), Err(Shortage::Credit)]
        );
        assert!(exchange.lacks_credit() && !exchange.has_all_credits());
    }

    #[test]
    fn requests_are_refused_when_no_credit_comes_back_in_time() {
        let mut exchange = exchange(1);
        exchange.begin_turn(1_000);
        assert_eq!([(); 2].map(|()| exchange.take_credit(1)), [Ok(()), Err(Shortage::Credit)]);
        assert_eq!(exchange.credit_deadline_ms(), Some(1_000 + CREDIT_TIMEOUT_MS));
        exchange.begin_turn(1_000 + CREDIT_TIMEOUT_MS);
        assert_eq!(exchange.take_credit(1), Err(Shortage::CreditTimeout));
        exchange.return_credit(1);
        assert_eq!(exchange.take_credit(1), Ok(()));
    }

    #[test]
    #[should_panic(expected = "a credit that is returned was taken")]
    fn returning_a_credit_twice_panics() {
        exchange(1).return_credit(1);
    }
}
