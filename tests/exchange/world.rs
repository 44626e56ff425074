//! One seed's run: some cores on a fake clock, each with a desk, a log and connections, driven as the engine drives them.

use super::Bug;
use super::client::{Client, Known};
use super::mesh::Mesh;
use crate::desk::TestDesk;
use crate::simulation::counts::Counts;
use crate::simulation::random::Random;
use purser::api::connection::{Connection, Next, Shared};
use purser::api::desk::Desk as _;
use purser::api::exchange::Exchange;
use purser::api::out::{Out, Stamp};
use purser::api::{ENTRIES_AMONG_READS, ENTRIES_PER_TURN, GAPS, KEPT_BYTES, OUT_MARK_BYTES};
use purser::ledger::id::UserId;
use purser::slice::{Lsn, ReleaseSink, Ticket};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// No client has to wait for longer.
const PATIENCE_TURNS: usize = 200_000;

/// Who has which users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Each client its own.
    Apart,
    /// All clients the same.
    Shared,
}

/// Nobody waits with a ticket: every connection is looked at in every turn.
struct Nobody;

impl ReleaseSink for Nobody {
    fn release(&mut self, _: Ticket) {}
}

struct Core {
    desk: TestDesk,
    /// How many entries may be applied, or sent to others, in this turn.
    entries: usize,
    shared: Shared,
    sessions: BTreeMap<u64, Session>,
    /// The version of each user that is durable.
    durable: BTreeMap<u64, u64>,
}

struct Session {
    connection: Connection,
    out: Out,
    next: Next,
    client: usize,
}

pub struct World {
    random: Random,
    bug: Option<Bug>,
    users: Users,
    /// The wall clock.
    now_ms: u64,
    /// The monotonic one.
    clock_ms: u64,
    credits: u32,
    cores: Vec<Core>,
    mesh: Mesh,
    clients: Vec<Client>,
    /// Where each client is connected, and as what.
    seats: Vec<Option<(usize, u64)>>,
    tickets: u64,
    known: Known,
    /// Of a thousand turns, in so many somebody drops a connection.
    dropping: u64,
    /// Of a thousand turns, in so many the disk makes headway.
    disk: u64,
    counts: Counts,
}

impl World {
    /// Runs a seed; `Err` says what was wrong.
    pub fn run(seed: u64, users: Users, bug: Option<Bug>) -> Result<Counts, String> {
        let mut random = Random(seed);
        let cores = random.pick(&[1, 2, 2, 3, 3, 7]);
        let credits = random.pick(&[1, 1, 2, 3, 8, 512]);
        let mut world = Self::new(random, cores, credits, users, bug);
        let clients = world.random.between(1, 6);
        let everybody: Vec<u64> = (0..8).map(|_| world.random.next()).collect();
        let ids = world.random.pick(&[20, 1_000]);
        for _ in 0..clients {
            let client = match users {
                Users::Shared => Client::shared(everybody.clone(), ids),
                Users::Apart => {
                    let count = world.random.between(1, 12);
                    let own = (0..count).map(|_| world.random.next()).collect();
                    Client::apart(world.random.next(), own, world.now_ms)
                }
            };
            world.add(client);
        }
        for _ in 0..world.random.between(1, 4) {
            world.round()?;
        }
        world.sum_up()?;
        world.counts.add("parcels", world.mesh.carried);
        Ok(world.counts)
    }

    fn new(mut random: Random, cores: usize, credits: u32, users: Users, bug: Option<Bug>) -> Self {
        let cargo = Rc::new(Cell::new(0));
        let core = |slice| {
            let mut desk = TestDesk::new();
            desk.cargo = cargo.clone();
            desk.log.keeps = true;
            let exchange = Exchange::new(slice as u32, cores as u32, credits);
            let (sessions, durable) = (BTreeMap::new(), BTreeMap::new());
            Core { desk, entries: 0, shared: Shared::new(exchange), sessions, durable }
        };
        let now_ms = random.between(1_600_000_000_000, 1_900_000_000_000);
        let (dropping, disk) = (random.pick(&[0, 0, 5, 50]), random.pick(&[50, 300, 1_000]));
        Self {
            bug,
            users,
            now_ms,
            clock_ms: 0,
            credits,
            cores: (0..cores).map(core).collect(),
            mesh: Mesh::new(cores, credits, bug),
            clients: Vec::new(),
            seats: Vec::new(),
            tickets: 0,
            known: Known::default(),
            dropping,
            disk,
            counts: Counts::default(),
            random,
        }
    }

    fn add(&mut self, client: Client) {
        self.clients.push(client);
        self.seats.push(None);
    }

    /// All clients ask something, in one go, and everything comes to rest. The clocks stand still meanwhile, so that all cores judge alike.
    fn round(&mut self) -> Result<(), String> {
        let counts: Vec<_> = self.clients.iter().map(|_| self.random.between(0, 12)).collect();
        for (client, count) in self.clients.iter_mut().zip(&counts) {
            self.now_ms = client.think(self.now_ms, *count).max(self.now_ms);
        }
        for (client, count) in self.clients.iter_mut().zip(&counts) {
            client.ask(self.now_ms, *count, &mut self.random);
            self.counts.add("requests", client.waits_for() as u64);
        }
        self.clock_ms += self.random.below(1_000);
        self.settle()?;
        self.rest()
    }

    /// Turns until everything is answered.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..PATIENCE_TURNS {
            let core = self.random.below(self.cores.len() as u64) as usize;
            self.turn(core)
                .map_err(|what| format!("core {core} of {}, {} credits: {what}", self.cores.len(), self.credits))?;
            if self.clients.iter().all(Client::is_done) && self.is_settled() {
                return Ok(());
            }
        }
        let waits = self.clients.iter().zip(&self.seats).map(|(client, seat)| {
            let next = seat.map(|(core, ticket)| self.cores[core].sessions[&ticket].next);
            format!("{} answers ({next:?})", client.waits_for())
        });
        let (cores, waits) = (self.cores.len(), waits.collect::<Vec<_>>().join(", "));
        Err(format!(
            "{cores} cores, {} credits: no rest after {PATIENCE_TURNS} turns; clients wait for {waits}",
            self.credits
        ))
    }

    fn is_settled(&self) -> bool {
        let settled = |core: &Core| core.shared.exchange.is_settled() && !core.shared.exchange.awaits();
        self.mesh.is_empty() && self.cores.iter().all(settled)
    }

    /// What must hold when nothing is under way.
    fn rest(&mut self) -> Result<(), String> {
        let slices = self.cores.len();
        for (slice, core) in self.cores.iter_mut().enumerate() {
            core.desk.room.begin(0);
            let (promised, cargo) = (usize::MAX - core.desk.room.left(), core.desk.cargo.get());
            if (promised, cargo) != (0, 0) {
                return Err(format!(
                    "core {slice} keeps {promised} bytes of room to feeds that are over, and {cargo} to parcels"
                ));
            }
            for (ticket, session) in &core.sessions {
                if session.out.gaps() > 0 || !matches!(session.next, Next::Idle | Next::Close) {
                    return Err(format!("connection {ticket} is {:?} with {} gaps", session.next, session.out.gaps()));
                }
            }
            for peer in (0..slices as u32).filter(|peer| *peer as usize != slice) {
                let exchange = &mut core.shared.exchange;
                let taken = (0..self.credits).take_while(|_| exchange.credit(peer).is_ok()).count() as u32;
                (0..taken).for_each(|_| exchange.give_back(peer));
                if taken != self.credits {
                    return Err(format!("core {slice} has {taken} of {} credits at {peer}", self.credits));
                }
            }
        }
        Ok(())
    }

    /// What must hold in the end.
    fn sum_up(&mut self) -> Result<(), String> {
        let (slices, booked) = (self.cores.len(), self.cores.iter().map(|core| core.desk.log.last).sum::<u64>());
        self.counts.add("accepted", booked);
        for (slice, core) in self.cores.iter_mut().enumerate() {
            for peer in (0..slices as u32).filter(|peer| *peer as usize != slice) {
                if (0..=self.credits).all(|_| core.shared.exchange.credit(peer).is_ok()) {
                    return Err(format!("core {slice} has more than {} credits at {peer}", self.credits));
                }
            }
        }
        let Known { accepted, doubtful, .. } = self.known;
        if self.users == Users::Shared && !(accepted..=accepted + doubtful).contains(&booked) {
            return Err(format!("{booked} entries are booked, {accepted} were reported, and {doubtful} are in doubt"));
        }
        Ok(())
    }

    // A core's turn.

    fn turn(&mut self, at: usize) -> Result<(), String> {
        let random = &mut self.random;
        let core = &mut self.cores[at];
        core.desk.now_ms = self.now_ms;
        core.entries = random.pick(&[0, 3, ENTRIES_AMONG_READS, ENTRIES_PER_TURN]);
        core.desk.entries_left = core.entries;
        core.desk.room.begin(0);
        if random.in_thousand(200) {
            // Other batches have had this turn.
            core.desk.room.used_turn(usize::MAX);
        }
        core.shared.exchange.begin(self.clock_ms);
        self.hear(at)?;
        self.go_on(at);
        self.serve(at)?;
        self.flush(at)?;
        self.send(at)
    }

    /// What other cores have sent.
    fn hear(&mut self, at: usize) -> Result<(), String> {
        let Core { desk, shared, sessions, .. } = &mut self.cores[at];
        let (mut asked, mut arrived) = (Vec::new(), Vec::new());
        for (from, parcel) in self.mesh.receive(at, &mut self.random) {
            if parcel.home as usize == at {
                if self.bug != Some(Bug::CreditKept) || !self.random.in_thousand(20) {
                    shared.exchange.returned(from as u32);
                }
                arrived.push((from as u32, parcel));
            } else {
                asked.push(parcel);
            }
        }
        self.counts.add("asked", asked.len() as u64);
        shared.exchange.take_in(&mut asked, desk);
        shared.exchange.apply(ENTRIES_PER_TURN / 2, desk);
        for (peer, mut parcel) in arrived {
            if self.bug == Some(Bug::WrongConnection) && self.random.in_thousand(100) {
                parcel.ticket = *sessions.keys().next().unwrap_or(&parcel.ticket);
            }
            match sessions.get_mut(&parcel.ticket) {
                Some(session) => {
                    let next = session.connection.take_back(peer, parcel, desk, shared, &mut session.out);
                    session.next = next;
                }
                None => {
                    self.counts.add("parcels of connections that are gone", 1);
                    desk.unpack(parcel.cargo());
                    shared.exchange.keep(parcel);
                }
            }
        }
        Ok(())
    }

    /// Connections that have work at hand.
    fn go_on(&mut self, at: usize) {
        let Core { desk, shared, sessions, .. } = &mut self.cores[at];
        for session in sessions.values_mut() {
            if session.next == Next::Busy && session.out.bytes.len() <= OUT_MARK_BYTES {
                session.next = session.connection.resume(desk, shared, &mut session.out);
            }
            self.counts.add("turns in which a connection waits for others", u64::from(session.next == Next::Away));
        }
        self.counts.add("turns without a credit", u64::from(shared.exchange.is_short()));
    }

    /// What clients send; they come, and some go.
    fn serve(&mut self, at: usize) -> Result<(), String> {
        let random = &mut self.random;
        for (number, client) in self.clients.iter_mut().enumerate() {
            if self.seats[number].is_none() && !client.is_done() && random.coin() {
                self.tickets += 1;
                self.seats[number] = Some((at, self.tickets));
                let connection = Connection::new(self.tickets);
                let session = Session { connection, out: Out::default(), next: Next::Idle, client: number };
                self.cores[at].sessions.insert(self.tickets, session);
            }
            let Some((_, ticket)) = self.seats[number].filter(|(core, _)| *core == at) else { continue };
            let Core { desk, shared, sessions, .. } = &mut self.cores[at];
            if client.may_drop() && random.in_thousand(self.dropping) {
                let mut session = sessions.remove(&ticket).expect("it is connected");
                session.connection.release(desk, shared);
                client.dropped(&mut self.known);
                self.seats[number] = None;
                self.counts.add("dropped connections", 1);
                continue;
            }
            let session = sessions.get_mut(&ticket).expect("it is connected");
            if session.next == Next::Close || session.connection.kept_bytes() > KEPT_BYTES || random.coin() {
                continue;
            }
            let bytes = client.send(random.pick(&[1, 10, 100, 1_000, 100_000, 10_000_000]), &self.known);
            if !bytes.is_empty() {
                session.next = session.connection.receive(&bytes, desk, shared, &mut session.out);
            }
        }
        Ok(())
    }

    /// The rest of the turn's entries, the disk, and what goes to others.
    fn flush(&mut self, at: usize) -> Result<(), String> {
        let Core { desk, entries, shared: Shared { exchange, .. }, durable, .. } = &mut self.cores[at];
        exchange.apply(ENTRIES_PER_TURN, desk);
        let before = desk.slice.durable_upto().0;
        if self.random.in_thousand(self.disk) {
            let upto = self.random.between(before, desk.log.last);
            let upto = self.random.pick(&[upto, desk.log.last]);
            desk.slice.durable(Lsn(upto), &mut Nobody);
            durable.extend(desk.log.records[before as usize..upto as usize].iter().copied());
        }
        let upto = desk.slice.durable_upto().0;
        self.counts.add("turns with entries that are not durable", u64::from(upto < desk.log.last));
        exchange.release(Stamp(if self.bug == Some(Bug::ReleasedEarly) { u64::MAX } else { upto }));
        let mut given = 0;
        for (to, parcel) in exchange.outgoing() {
            given += if parcel.home as usize == at { parcel.entries.len() } else { 0 };
            self.mesh.send(at, to as usize, parcel, &mut self.random)?;
        }
        if given > *entries {
            return Err(format!("{given} entries are sent to others in a turn of {entries}"));
        }
        Ok(())
    }

    /// What may leave, leaves; at once or later.
    fn send(&mut self, at: usize) -> Result<(), String> {
        let durable = self.cores[at].desk.slice.durable_upto().0;
        let durable = Stamp(if self.bug == Some(Bug::AnswerLeavesEarly) { u64::MAX } else { durable });
        let tickets: Vec<_> = self.cores[at].sessions.keys().copied().collect();
        for ticket in tickets {
            let session = self.cores[at].sessions.get_mut(&ticket).expect("it is connected");
            self.counts.add("turns with as many gaps as may be", u64::from(session.out.gaps() == GAPS));
            if session.out.gaps() > GAPS {
                return Err(format!("a connection waits for {} answers", session.out.gaps()));
            }
            let count = session.out.sendable(durable);
            let count = self.random.pick(&[count, count, 0, count / 2]);
            let mut frozen = Vec::new();
            session.out.freeze(count, &mut frozen);
            let is_over = session.next == Next::Close && session.out.bytes.is_empty() && session.out.gaps() == 0;
            let client = session.client;
            let slices = self.cores.len() as u32;
            let durable = |user| {
                let owner = UserId(user).slice(slices) as usize;
                self.cores[owner].durable.get(&user).copied().unwrap_or_default()
            };
            self.clients[client].receive(&frozen, &mut self.known, durable)?;
            if is_over {
                let Core { desk, shared, sessions, .. } = &mut self.cores[at];
                let mut session = sessions.remove(&ticket).expect("it is connected");
                session.connection.release(desk, shared);
                self.clients[client].ended(&mut self.known)?;
                self.seats[client] = None;
                self.counts.add("ended connections", 1);
            }
        }
        Ok(())
    }
}
