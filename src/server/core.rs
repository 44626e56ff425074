//! The machine that ships: the state of one core, and the order of a turn.
//!
//! Received bytes are parsed as they come ([`Machine::received`]), and reads are left pending. The
//! rest of the turn is [`Machine::end_turn`], in this order:
//!
//! 1. Pending reads are answered together, so that their lookups overlap. Those that are too heavy
//!    for a turn, and batches of other cores, get a step each ([`super::heavy`]).
//! 2. Replies are handed to their connections. Then requests of other cores are served: reads
//!    completely, entries up to half of a turn's bound.
//! 3. Connections with work resume, starting with a different one each turn. Here feeds apply their
//!    entries.
//! 4. Entries of other cores get the rest of the turn's bound.
//! 5. Every connection that an event or an answer has changed is updated: it sends what may be
//!    sent.
//! 6. Replies whose log positions are durable are sent, and each slice's log is written if somebody
//!    waits for it.
//!
//! A slice applies at most [`super::limits::ENTRIES_PER_TURN`] entries a turn, whoever sent them.
//! Slices of one core share its latency: reads on any of them shorten the turns of all of them.

use super::connections::Connections;
use super::exchange::Exchange;
use super::limits::{
    CREDITS, RELEASED_PER_TURN, REQUESTS_PER_TURN, TICK_MS, TICKS, TURN_BYTES, refused_connections,
};
use super::machine::{Clocks, CorruptFile, Machine, Output, Slot, Wait};
use super::message::Message;
use super::owner::{Owner, Stored};
use super::planted_bug::PlantedBug;
use super::progress::Progress;
use super::requests::NextStep;
use super::shared::Shared;
use super::topology::{Location, Topology};
use crate::api::info::Info;
use crate::ledger::memory::{Lookup, PrefetchStep, prefetch_steps};
use crate::ledger::secret::Secret;
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::slice::Slice;
use crate::slice::disk::Done;
use crate::slice::store::Counts;

/// Configuration of a core.
#[derive(Debug)]
pub struct Setup {
    /// Its number, and the number of cores and slices.
    pub topology: Topology,
    /// The limits in force.
    pub limits: Limits,
    /// The static part of `/v1/info`.
    pub info: Info,
    /// For each of its slices, the data on disk; `None` for a slice without a disk.
    pub stored: Vec<Option<Stored>>,
    /// Requests that it may have outstanding at each other core.
    pub credits: u32,
    /// A turn's share of reads, in bytes: [`TURN_BYTES`], or less in a test.
    pub turn_bytes: usize,
    /// Keys the hash tables of its slices.
    pub secret: Secret,
}

impl Setup {
    /// A single core with one slice, without a disk.
    pub fn alone(limits: Limits, info: Info) -> Self {
        Self {
            topology: Topology::alone(),
            limits,
            info,
            stored: vec![None],
            credits: CREDITS,
            turn_bytes: TURN_BYTES,
            secret: Secret::default(),
        }
    }
}

/// The machine of one core.
#[derive(Debug)]
pub struct Server {
    connections: Connections,
    shared: Shared,
    /// Ready connections for which this turn has nothing left; they come first in the next one.
    waiting: Vec<Slot>,
    next_tick_ms: u64,
    tick: u32,
    /// Whether this core's slices are loaded.
    is_loaded: bool,
}

impl Server {
    /// Creates a core. Data on disk is loaded in its first turns; requests are served when all
    /// cores have loaded.
    pub fn new(setup: Setup) -> Self {
        let Setup { topology, limits, info, stored, credits, turn_bytes, secret } = setup;
        let slices = topology.slices();
        let ledger_bytes = limits.ledger_bytes / slices as usize;
        let owners: Vec<_> = (topology.slices_here().zip(stored).enumerate())
            .map(|(local_slice, (number, stored))| {
                Owner::new(number, local_slice, Slice::new(ledger_bytes, secret), stored)
            })
            .collect();
        assert!(owners.len() == topology.slices_here().count(), "every slice is set up");
        let exchange = Exchange::with_credits(topology, credits);
        Self {
            connections: Connections::default(),
            shared: Shared::new(topology, limits, info, owners, exchange, turn_bytes),
            waiting: Vec::new(),
            next_tick_ms: 0,
            tick: 0,
            is_loaded: false,
        }
    }

    /// Plants a bug: a test does this to show that it is found.
    pub fn plant_bug(&mut self, bug: PlantedBug) {
        self.shared.planted = Some(bug);
    }

    /// Its slices, in order of their index.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = &Slice> {
        self.shared.owners.iter().map(Owner::slice)
    }

    /// Counters of its slices' stores, summed.
    pub fn store_counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.shared.owners.iter().for_each(|owner| sum.add(&owner.counts()));
        sum
    }

    /// Its connections.
    pub const fn connections(&mut self) -> &mut Connections {
        &mut self.connections
    }

    /// Whether no request is under way between this core and others, in either direction, and
    /// everything accepted is durable.
    pub fn is_quiet(&self) -> bool {
        self.shared.exchange.outstanding() == 0 && self.shared.is_durable()
    }

    /// The owners of its slices, in order of their index.
    pub fn owners(&self) -> &[Owner] {
        &self.shared.owners
    }

    /// Its requests that are outstanding at other cores.
    pub const fn requests_outstanding(&self) -> usize {
        self.shared.exchange.outstanding()
    }

    /// Bytes held by its connections: unsent answers, and unparsed requests.
    pub const fn held_bytes(&self) -> usize {
        self.shared.connection_bytes
    }

    /// Whether none of its credits at other cores is in use.
    pub fn has_all_credits(&self) -> bool {
        self.shared.exchange.has_all_credits()
    }

    /// Bytes reserved for answers, and for bodies.
    pub const fn reserved_bytes(&self) -> (usize, usize) {
        (self.shared.answers.reserved(), self.shared.bodies.reserved())
    }

    // Steps of a turn.

    /// Processes bytes of a connection. Returns how many were consumed.
    fn process(&mut self, slot: Slot, bytes: &[u8]) -> usize {
        let most = REQUESTS_PER_TURN.min(self.shared.requests_left);
        let (mut at, mut budget) = (0, most);
        loop {
            let connection = self.connections.of(slot);
            let (used, then) = connection.step(&bytes[at..], &mut budget, &mut self.shared);
            at += used;
            match then {
                NextStep::Again => {}
                NextStep::Answer => self.answer_reads(),
                NextStep::Stop => {
                    self.shared.requests_left -= most - budget;
                    return at;
                }
            }
        }
    }

    /// Resumes a connection with the bytes that it has buffered.
    fn resume(&mut self, slot: Slot) {
        let mut input = std::mem::take(&mut self.connections.of(slot).input);
        let used = self.process(slot, &input);
        input.drain(..used);
        let connection = self.connections.of(slot);
        // The buffer of a large burst is freed.
        if !input.is_empty() || input.capacity() <= super::limits::KEPT_BUFFER_BYTES {
            connection.input = input;
        }
        connection.touch(&mut self.shared);
        connection.queue_work(&mut self.shared);
    }

    /// Answers the pending reads, in order of arrival.
    fn answer_reads(&mut self) {
        let Self { connections, shared, .. } = self;
        let mut pending = std::mem::take(&mut shared.pending);
        let reads = pending.reads();
        for (at, one) in reads.iter().enumerate() {
            for (next, step) in prefetch_steps(reads, at, [PrefetchStep::User]) {
                if let Location::Local(local_slice) = next.owner {
                    shared.owners[local_slice].prefetch(
                        pending.user(next),
                        None,
                        step,
                        &Lookup::default(),
                    );
                }
            }
            let read = (pending.asked(one), pending.conditions(one));
            connections.of(one.slot).answer(one, read, shared);
        }
        pending.clear();
        shared.pending = pending;
    }

    /// Hands replies of other cores to their connections.
    fn take_replies(&mut self) {
        while let Some((core, request)) = self.shared.exchange.replies.pop_front() {
            let Self { connections, shared, .. } = self;
            match connections.by_id(request.connection) {
                None => shared.recycle_request(request),
                Some(connection) => {
                    let slot = connection.slot;
                    if connection.take_reply(core, request, shared) {
                        self.resume(slot);
                    }
                }
            }
        }
    }

    /// Resumes connections with work, those first that have waited longest. A connection that gets
    /// a share of the turn is listed after those for which nothing is left.
    fn resume_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.shared.ready);
        for slot in ready.drain(..) {
            let Some(connection) = self.connections.get(slot) else { continue };
            if connection.has_no_share(&mut self.shared) {
                self.waiting.push(slot);
            } else if connection.take_turn() {
                let credits_taken = self.shared.exchange.credits_taken();
                self.resume(slot);
                // One that took a credit and needs another goes behind those that got none.
                if credits_taken == self.shared.exchange.credits_taken()
                    && self.connections.of(slot).requeue_without_credit(&self.shared)
                {
                    self.waiting.push(slot);
                }
            }
        }
        // Connections that became ready in this loop wait for the next turn.
        ready.append(&mut self.waiting);
        ready.append(&mut self.shared.ready);
        self.shared.ready = ready;
    }

    /// Updates every connection that an event or an answer has changed.
    fn update_touched(&mut self) {
        let Self { connections, shared, .. } = self;
        for _ in 0..RELEASED_PER_TURN {
            let Some(id) = shared.released.pop_front() else { break };
            if let Some(connection) = connections.by_id(id) {
                connection.released(shared);
            }
        }
        let mut touched = std::mem::take(&mut shared.touched);
        for slot in touched.drain(..) {
            if let Some(connection) = connections.get(slot) {
                connection.update(shared);
            }
        }
        shared.touched = touched;
    }

    /// Checks the deadlines of one group of connections, once a tick.
    fn check_deadlines(&mut self) {
        let Self { connections, shared, .. } = self;
        let now_ms = shared.now_ms();
        if now_ms < self.next_tick_ms {
            return;
        }
        self.next_tick_ms = now_ms + TICK_MS;
        self.tick = (self.tick + 1) % TICKS;
        for slot in (self.tick..connections.slots()).step_by(TICKS as usize) {
            if let Some(connection) = connections.get(slot) {
                connection.check_deadlines(shared);
            }
        }
    }

    /// Takes a step of loading in each slice that is not loaded.
    fn load(&mut self) -> Result<(), CorruptFile> {
        let now_ms = self.shared.now_ms();
        let Shared { owners, outputs, .. } = &mut self.shared;
        for owner in owners.iter_mut().filter(|owner| owner.is_loading()) {
            owner
                .load(now_ms, outputs)
                .map_err(|fault| CorruptFile { slice: owner.number(), fault })?;
        }
        if owners.iter().any(Owner::is_loading) {
            return Ok(());
        }
        self.is_loaded = true;
        if self.shared.life.draining_since_ms().is_none() {
            self.broadcast(|| Message::Loaded);
            self.core_loaded();
        }
        Ok(())
    }

    /// Whether this core drains, has no connection left and has no request outstanding.
    fn has_come_to_rest(&self) -> bool {
        let Shared { life, exchange, planted, .. } = &self.shared;
        let has_replies =
            exchange.outstanding() == 0 || *planted == Some(PlantedBug::ForgottenRequest);
        life.draining_since_ms().is_some()
            && self.connections.is_empty()
            && has_replies
            && exchange.replies.is_empty()
    }

    fn core_loaded(&mut self) {
        if self.shared.life.core_loaded() {
            self.shared.outputs.push_back(Output::Serving);
        }
    }

    fn broadcast(&mut self, message: impl Fn() -> Message) {
        let topology = self.shared.topology;
        for core in (0..topology.cores()).filter(|&core| core != topology.core()) {
            self.shared.outputs.push_back(Output::Message { core, message: message() });
        }
    }
}

impl Machine for Server {
    fn begin_turn(&mut self, clocks: Clocks) {
        self.shared.begin_turn(clocks);
    }

    fn message(&mut self, from: u32, message: Message) {
        match message {
            Message::Request(request) => self.shared.exchange.incoming.push(request),
            Message::Reply(request) => {
                // Its credit is returned before the requests of this turn need one, so a long turn
                // of this core is not taken for a slow peer.
                self.shared.exchange.reply_received(from);
                self.shared.exchange.replies.push_back((from, request));
            }
            Message::Loaded => self.core_loaded(),
            Message::AtRest => self.shared.life.core_at_rest(),
        }
    }

    fn task_done(&mut self, slice: u32, done: Done) {
        let now_ms = self.shared.now_ms();
        let Shared { owners, topology, released, outputs, .. } = &mut self.shared;
        owners[topology.local_slice(slice)].task_done(now_ms, done, released, outputs);
    }

    fn opened(&mut self, slot: Slot, slice: u32) {
        let Self { connections, shared, .. } = self;
        let (limit, local_slice) = (shared.limits.connections, shared.topology.local_slice(slice));
        let deadline_ms = shared.now_ms() + shared.limits.idle_ms;
        let count = shared.owners[local_slice].open();
        let connection = connections.insert(slot, local_slice, deadline_ms, shared.limits.send_ms);
        if count < limit {
            shared.counters.connections += 1;
            return connection.touch(shared);
        }
        shared.counters.refused_connections += 1;
        connection.refuse_at_once(shared);
        if count >= limit + refused_connections(limit) {
            // Too many refused connections as well: this one is refused and does not linger.
            connection.peer_closed(shared);
        }
    }

    #[inline]
    fn received(&mut self, slot: Slot, bytes: &[u8]) {
        self.shared.counters.bytes_in += bytes.len() as u64;
        let connection = self.connections.of(slot);
        if !connection.is_open() {
            return connection.discard(bytes.len(), &mut self.shared);
        }
        if connection.progress.holds_input() {
            connection.input.extend_from_slice(bytes);
            return connection.touch(&mut self.shared);
        }
        if !connection.input.is_empty() {
            connection.input.extend_from_slice(bytes);
            return self.resume(slot);
        }
        let used = self.process(slot, bytes);
        let connection = self.connections.of(slot);
        if used < bytes.len() {
            connection.input.extend_from_slice(&bytes[used..]);
        }
        connection.touch(&mut self.shared);
        connection.queue_work(&mut self.shared);
    }

    fn peer_closed(&mut self, slot: Slot) {
        self.connections.of(slot).peer_closed(&mut self.shared);
    }

    fn sent(&mut self, slot: Slot, buffer: Vec<u8>, count: usize) {
        self.connections.of(slot).sent(buffer, count, &mut self.shared);
    }

    fn failed(&mut self, slot: Slot) {
        self.connections.of(slot).close(&mut self.shared);
    }

    fn closed(&mut self, slot: Slot) {
        let local_slice = self.connections.remove(slot);
        self.shared.owners[local_slice].close();
    }

    fn lame_duck(&mut self) {
        self.shared.life.lame_duck();
    }

    fn drain(&mut self) {
        if self.shared.life.drain(self.shared.now_ms()) {
            self.shared.owners.iter_mut().for_each(Owner::drain);
        }
    }

    fn stop(&mut self) {
        self.drain();
        let Self { connections, shared, .. } = self;
        connections.iter_mut().for_each(|connection| connection.close(shared));
    }

    fn end_turn(&mut self) -> Result<(), CorruptFile> {
        self.answer_reads();
        if !self.shared.exchange.heavy.is_empty() {
            self.shared.step_heavy();
        }
        self.take_replies();
        if !self.shared.topology.is_alone() {
            self.shared.serve_requests();
            self.shared.apply_requests(super::limits::ENTRIES_PER_TURN / 2);
            self.shared.exchange.begin_retries();
        }
        self.shared.may_apply = true;
        self.resume_ready();
        self.answer_reads();
        if !self.shared.topology.is_alone() {
            self.shared.apply_requests(usize::MAX);
        }
        self.check_deadlines();
        self.update_touched();
        if self.has_come_to_rest() && self.shared.life.mark_at_rest() {
            self.broadcast(|| Message::AtRest);
        }
        if !self.is_loaded {
            return self.load();
        }
        self.shared.send_replies();
        let (now_ms, read_load) = (self.shared.now_ms(), self.shared.read_load());
        let Shared { owners, outputs, .. } = &mut self.shared;
        owners.iter_mut().for_each(|owner| owner.advance(now_ms, read_load, outputs));
        Ok(())
    }

    #[inline]
    fn poll(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    fn wait(&self) -> Wait {
        let Self { shared, .. } = self;
        let owner_works = |owner: &Owner| owner.can_load() || owner.has_work();
        let is_ready = |slot: &Slot| self.connections.progress(*slot) == Some(Progress::Ready);
        let has_work = shared.owners.iter().any(owner_works)
            || shared.exchange.has_requests()
            || !(shared.exchange.replies.is_empty() && shared.released.is_empty())
            || shared.ready.iter().any(is_ready)
            || (self.has_come_to_rest() && !shared.life.is_at_rest());
        if has_work {
            return Wait::Work;
        }
        let owners = shared.owners.iter().filter_map(Owner::wakes_at_ms);
        let until_ms = owners.chain(shared.exchange.credit_deadline_ms()).min();
        Wait::Event { until_ms, spins: shared.exchange.outstanding() > 0 }
    }

    fn is_drained(&self) -> bool {
        let Some(since_ms) = self.shared.life.draining_since_ms() else { return false };
        let is_at_rest =
            self.has_come_to_rest() && self.shared.life.all_at_rest() && self.shared.is_durable();
        is_at_rest || self.shared.now_ms() > since_ms.saturating_add(self.shared.limits.drain_ms)
    }

    fn may_exit(&self) -> bool {
        self.connections.is_empty() && self.shared.is_durable()
    }

    fn loading(&self) -> Option<usize> {
        (!self.is_loaded).then(|| self.shared.owners.iter().map(Owner::expected_bytes).sum())
    }

    fn resident(&mut self, resident_bytes: usize, block_bytes: usize) {
        let owners = self.shared.owners.iter_mut();
        owners.for_each(|owner| owner.measured(resident_bytes, block_bytes));
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}
