//! Simulation of one seed: some cores on simulated clocks, driven as the engine drives them, over
//! several lives of their process.

use super::Planted;
use super::client::{Client, Known};
use super::mesh::Mesh;
use super::peer_connection::{Event, PeerBehaviour, PeerConnection};
use super::watch::Watch;
use crate::drive::driver::{UNLIMITED, info};
use crate::simulation::counts::Counts;
use crate::simulation::disk::{Crash, Disk, DiskError, Name};
use crate::simulation::random::Random;
use crate::users;
use purser::journal::{File, Place, frame, manifest, record};
use purser::ledger::secret::Secret;
use purser::limits::Limits;
use purser::server::core::{Server, Setup};
use purser::server::limits::{CREDIT_TIMEOUT_MS, TICK_MS, TURN_BYTES};
use purser::server::machine::{Clocks, Machine, Output, Slot, Wait};
use purser::server::message::Message;
use purser::server::owner::Stored;
use purser::server::progress::Progress;
use purser::server::topology::Topology;
use purser::slice::disk::{Done, Task};
use purser::slice::log::Segments;
use purser::slice::recovery::Recovery;
use purser::slice::store::Settings;
use std::collections::BTreeMap;

/// Most steps in which all clients must be answered. With a single credit and a slow disk, each
/// entry of another core's user takes some twenty, and a client may feed thousands.
const MAX_TURNS: usize = 1_000_000;
/// Steps of a round after which peers drop no more connections, so that large feeds can complete.
const STEADY_STEPS: usize = 10_000;
/// Steps per core without a turn after which time jumps to the next deadline.
const QUIET_STEPS: usize = 40;

/// How users are distributed among clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// Each client has its own users.
    Separate,
    /// All clients have the same users.
    Shared,
}

struct Core {
    machine: Server,
    peer_connections: Vec<Option<PeerConnection>>,
    watch: Watch,
    is_serving: bool,
    /// Time of its last turn.
    turned_ms: u64,
    /// Whether a drain is still to be reported to it, and whether it has ended.
    drains: bool,
    has_ended: bool,
}

impl Core {
    /// Time at which its next turn is due; `None` if it has work at hand.
    fn waits_until_ms(&self) -> Option<u64> {
        let Wait::Event { until_ms, .. } = self.machine.wait() else { return None };
        let tick_ms = self.turned_ms + TICK_MS;
        Some(until_ms.map_or(tick_ms, |until_ms| until_ms.min(tick_ms)))
    }
}

/// Users and versions in the log of a slice: those being written, and those that are durable.
#[derive(Default)]
struct Logged {
    under_way: Vec<(u64, u64)>,
    durable: BTreeMap<u64, u64>,
}

pub struct World {
    random: Random,
    planted: Option<Planted>,
    users: Users,
    clocks: Clocks,
    /// Limit of the monotonic clock until the end of the round.
    clock_stops_ms: u64,
    topologies: Vec<Topology>,
    credits: u32,
    turn_bytes: usize,
    limits: Limits,
    settings: Settings,
    cores: Vec<Core>,
    mesh: Mesh,
    disk: Disk,
    disk_ms: u64,
    logged: Vec<Logged>,
    clients: Vec<Client>,
    /// Core and slot to which each client is connected.
    client_slots: Vec<Option<(usize, Slot)>>,
    all_users: Vec<u64>,
    known: Known,
    behaviour: PeerBehaviour,
    is_draining: bool,
    quiet_steps: usize,
    counts: Counts,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After all requests are answered.
    AtRest,
    /// With requests in flight.
    Crash,
    /// By a drain with requests in flight.
    Drain,
}

impl World {
    /// Runs a seed; `Err` describes the failure.
    pub fn run(seed: u64, users: Users, planted: Option<Planted>) -> Result<Counts, String> {
        let mut world = Self::new(seed, users, planted);
        let (cores, slices, credits) =
            (world.topologies.len(), world.topologies[0].slices(), world.credits);
        world
            .lives()
            .map_err(|what| format!("{cores} cores, {slices} slices, {credits} credits: {what}"))?;
        let mut counts = world.counts;
        counts.take(&world.mesh.counts);
        counts.add("refused requests", world.known.refused);
        counts.add("answers without space", world.known.unstored);
        Ok(counts)
    }

    fn new(seed: u64, users: Users, planted: Option<Planted>) -> Self {
        let mut random = Random(seed);
        let (cores, slices) =
            random.pick(&[(1, 1), (1, 3), (2, 2), (2, 3), (3, 3), (3, 3), (3, 7)]);
        let place = Place { generation: random.between(1, 3), slice: 0, file: 0 };
        let first_bytes = random.pick(&[64 << 10, 256 << 10]);
        let segments = Segments { first_bytes, largest_bytes: first_bytes << random.below(2) };
        let snapshot_after_bytes = random.pick(&[64 << 10, 256 << 10, u64::MAX]);
        let credits = random.pick(&[1, 1, 2, 3, 8, 512]);
        let turn_bytes = random.pick(&[1, 1_000, TURN_BYTES]);
        let mut disk = Disk::new((0..slices).map(|slice| Place { slice, ..place }), None);
        disk.slowness = random.pick(&[1, 1, 4, 16]);
        let mut limits = UNLIMITED;
        (limits.request_ms, limits.idle_ms, limits.send_ms) = (1 << 40, 1 << 40, 1 << 40);
        limits.drain_ms = 1 << 40;
        // A read that is requested again is refused if its user has changed in between and later
        // requests of the connection were already answered: see `check_at_rest`.
        let mut known = Known { may_refuse: cores > 1, ..Known::default() };
        if users == Users::Shared {
            (known.may_refuse, known.may_lack_room) = (true, true);
            disk.failing = random.pick(&[0, 0, 30]);
            disk.copies_on_write = random.coin();
            known.may_stall = disk.failing > 0;
            limits.answer_bytes = random.pick(&[usize::MAX, usize::MAX, 64 << 10]);
        }
        let mut world = Self {
            planted,
            users,
            clocks: Clocks { monotonic_ms: random.below(1 << 40), ..Clocks::default() },
            clock_stops_ms: u64::MAX,
            topologies: (0..cores).map(|core| Topology::new(core, cores, slices)).collect(),
            credits,
            turn_bytes,
            limits,
            settings: Settings { place, snapshot_after_bytes, segments },
            cores: Vec::new(),
            mesh: Mesh::new(cores as usize, credits, planted.and_then(Planted::bug)),
            disk,
            disk_ms: 0,
            logged: (0..slices).map(|_| Logged::default()).collect(),
            clients: Vec::new(),
            client_slots: Vec::new(),
            all_users: Vec::new(),
            known,
            behaviour: PeerBehaviour {
                dropping: random.pick(&[0, 0, 5, 50]),
                half_closing: random.pick(&[0, 0, 5, 50]),
                taking: random.pick(&[50, 500, 1_000]),
            },
            is_draining: false,
            quiet_steps: 0,
            counts: Counts::default(),
            random,
        };
        world.clocks.unix_ms = world.random.between(1_600_000_000_000, 1_900_000_000_000);
        world.add_clients();
        world
    }

    fn add_clients(&mut self) {
        let random = &mut self.random;
        let ids = random.pick(&[20, 1_000]);
        if self.users == Users::Shared {
            self.all_users = (0..8).map(|_| random.next()).collect();
        }
        for _ in 0..random.between(1, 6) {
            self.clients.push(match self.users {
                Users::Shared => Client::shared(self.all_users.clone(), ids),
                Users::Separate => {
                    let own: Vec<u64> = (0..random.between(1, 12)).map(|_| random.next()).collect();
                    self.all_users.extend(&own);
                    Client::separate(random.next(), own, self.clocks.unix_ms)
                }
            });
            self.client_slots.push(None);
        }
    }

    // The lives of the process.

    fn lives(&mut self) -> Result<(), String> {
        let lives = self.random.between(1, 3);
        for life in 1..=lives {
            self.live(life == lives).map_err(|what| format!("life {life}: {what}"))?;
        }
        self.start().map_err(|what| format!("in the end: {what}"))?;
        self.check_totals()
    }

    fn live(&mut self, is_last: bool) -> Result<(), String> {
        if self.users == Users::Shared && self.random.coin() {
            self.ask();
        }
        self.start()?;
        for _ in 0..self.random.between(1, 3) {
            self.ask();
            self.settle()?;
            self.check_at_rest()?;
        }
        // A client with separate users expects every answered entry to be known in the next life,
        // so its process never crashes, and drains only in the last life.
        let end = match self.users {
            Users::Shared => self.random.pick(&[End::AtRest, End::Crash, End::Drain]),
            Users::Separate if is_last => self.random.pick(&[End::AtRest, End::Drain]),
            Users::Separate => End::AtRest,
        };
        if end != End::AtRest {
            self.ask();
            for _ in 0..self.random.between(0, 400) {
                self.step()?;
            }
        }
        if end == End::Drain {
            self.drain()?;
        }
        self.end(end);
        Ok(())
    }

    /// Starts the process from the contents of its disks.
    fn start(&mut self) -> Result<(), String> {
        for core in 0..self.topologies.len() {
            let topology = self.topologies[core];
            let stored: Vec<_> =
                topology.slices_here().map(|slice| self.stored(slice)).collect::<Result<_, _>>()?;
            let setup = Setup {
                topology,
                limits: self.limits,
                info: info(topology.slices()),
                stored: stored.into_iter().map(Some).collect(),
                credits: self.credits,
                turn_bytes: self.turn_bytes,
                secret: Secret::of([self.random.next(), self.random.next()]),
            };
            let mut machine = Server::new(setup);
            if let Some(Planted::Core(bug)) = self.planted {
                machine.plant_bug(bug);
            }
            let (watch, peer_connections) = (Watch::new(&machine), Vec::new());
            self.cores.push(Core {
                machine,
                peer_connections,
                watch,
                is_serving: false,
                turned_ms: 0,
                drains: false,
                has_ended: false,
            });
        }
        self.counts.add("lives", 1);
        for _ in 0..MAX_TURNS {
            if self.cores.iter().all(|core| core.is_serving) {
                return Ok(());
            }
            self.step()?;
        }
        Err("the cores never serve".to_owned())
    }

    fn stored(&self, slice: u32) -> Result<Stored, String> {
        let place = Place { slice, ..self.settings.place };
        let text = self
            .disk
            .files_of(slice as usize)
            .bytes(Name::Manifest)
            .ok_or("the manifest is missing")?;
        let manifest = manifest::SliceManifest::decode(&text, place)
            .map_err(|why| format!("the manifest: {why:?}"))?;
        let recovery = Recovery::new(place, self.topologies[0].slices(), manifest);
        Ok(Stored { settings: Settings { place, ..self.settings }, recovery })
    }

    /// Ends the process with disk tasks in flight.
    fn end(&mut self, end: End) {
        for (client, place) in self.clients.iter_mut().zip(&mut self.client_slots) {
            match place.take() {
                Some(_) => client.dropped(&mut self.known),
                None if end == End::Drain && self.users == Users::Separate => client.give_up(),
                None => {}
            }
        }
        let what = match end {
            End::AtRest => "ends at rest",
            End::Crash => "crashes",
            End::Drain => "drains",
        };
        self.counts.add(what, 1);
        for core in self.cores.drain(..) {
            self.counts.add("accepted", core.machine.counters().accepted);
            self.counts.add("snapshots", core.machine.store_counts().snapshots);
        }
        self.mesh.clear();
        let crash = self.random.pick(&[Crash::Kill, Crash::Power]);
        self.disk.crash(crash, &mut self.random);
        self.logged.iter_mut().for_each(|logged| logged.under_way.clear());
        (self.is_draining, self.known.may_close) = (false, false);
    }

    /// Drains the process. Each core learns of it at its own time; the process ends when everything
    /// is finished.
    fn drain(&mut self) -> Result<(), String> {
        (self.is_draining, self.known.may_close, self.clock_stops_ms) = (true, true, u64::MAX);
        self.cores.iter_mut().for_each(|core| core.drains = true);
        for _ in 0..MAX_TURNS {
            if self.cores.iter().all(|core| core.has_ended) {
                return self.drained();
            }
            self.step()?;
        }
        Err(format!("the cores do not end within {MAX_TURNS} turns"))
    }

    fn drained(&mut self) -> Result<(), String> {
        for (at, core) in self.cores.iter_mut().enumerate() {
            let (held, reserved) = (core.machine.held_bytes(), core.machine.reserved_bytes());
            if (held, reserved) != (0, (0, 0))
                || !core.machine.has_all_credits()
                || !core.machine.may_exit()
            {
                return Err(format!(
                    "core {at} has ended with {held} bytes in buffers, and {reserved:?} reserved"
                ));
            }
        }
        if self.client_slots.iter().any(Option::is_some) || !self.mesh.is_empty() {
            return Err("all cores have ended before their connections or messages".to_owned());
        }
        Ok(())
    }

    // A round of requests.

    /// All clients queue requests. The wall clock stands still until all are answered, so that all
    /// cores judge entries by the same time.
    fn ask(&mut self) {
        let counts: Vec<_> = self.clients.iter().map(|_| self.random.between(0, 12)).collect();
        let mut now_ms = self.clocks.unix_ms;
        for (client, count) in self.clients.iter_mut().zip(&counts) {
            now_ms = client.plan(now_ms, *count).max(now_ms);
        }
        let is_bulk = self.users == Users::Shared && self.random.in_thousand(120);
        for (client, count) in self.clients.iter_mut().zip(&counts) {
            client.ask(now_ms, *count, is_bulk, &mut self.random);
            self.counts.add("requests", client.waits_for() as u64);
        }
        self.clocks.unix_ms = now_ms;
        self.clocks.monotonic_ms += self.random.below(1_000);
        // With separate users no request may be refused, so less time passes than a core's
        // credit timeout.
        let most_ms = self.random.below(CREDIT_TIMEOUT_MS);
        self.clock_stops_ms = match self.users {
            Users::Separate => self.clocks.monotonic_ms + most_ms,
            Users::Shared => u64::MAX,
        };
    }

    /// Takes steps until everything is answered and nothing is in flight.
    fn settle(&mut self) -> Result<(), String> {
        for step in 0..MAX_TURNS {
            if step == STEADY_STEPS {
                (self.behaviour.dropping, self.behaviour.half_closing) = (0, 0);
            }
            self.step()?;
            if self.clients.iter().all(Client::is_done) && self.is_quiet() {
                return Ok(());
            }
        }
        let waits = self.clients.iter().zip(&self.client_slots).map(|(client, place)| {
            let progress =
                place.map(|(core, slot)| self.cores[core].machine.connections().progress(slot));
            format!("{} answers ({progress:?})", client.waits_for())
        });
        let waits = waits.collect::<Vec<_>>().join(", ");
        Err(format!("no rest after {MAX_TURNS} turns; clients wait for {waits}"))
    }

    fn is_quiet(&self) -> bool {
        self.mesh.is_empty()
            && self.cores.iter().all(|core| {
                core.machine.is_quiet()
                    && core.machine.wait() != Wait::Work
                    && !core.peer_connections.iter().flatten().any(PeerConnection::is_busy)
            })
    }

    /// Checks the state when nothing is in flight.
    fn check_at_rest(&mut self) -> Result<(), String> {
        let (refused, asked_again) =
            (self.known.refused, self.mesh.counts.of("replies refused for their size"));
        if self.users == Users::Separate && refused > asked_again {
            return Err(format!(
                "{refused} requests are refused, but {asked_again} were requested again"
            ));
        }
        if !self.mesh.has_replied() {
            return Err("requests are in flight at rest".to_owned());
        }
        for (at, core) in self.cores.iter_mut().enumerate() {
            let (in_flight, reserved) =
                (core.machine.requests_outstanding(), core.machine.reserved_bytes());
            if in_flight > 0 || reserved != (0, 0) {
                return Err(format!(
                    "core {at} has {in_flight} requests in flight at rest, and {reserved:?} bytes \
                     reserved"
                ));
            }
            if !core.machine.has_all_credits() {
                return Err(format!("core {at} lacks credits at rest"));
            }
            for slot in 0..core.peer_connections.len() as Slot {
                let Some(connection) = core.machine.connections().get(slot) else { continue };
                let (progress, gaps) = (connection.progress(), connection.gaps());
                if gaps > 0 || progress != Progress::Idle {
                    return Err(format!(
                        "connection {slot} of core {at} is {progress:?} at rest, with {gaps} gaps"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks the books at the end: each accepted entry was applied once.
    fn check_totals(&mut self) -> Result<(), String> {
        let booked: u64 = self.all_users.iter().map(|&user| self.version(user)).sum();
        let Known { accepted, doubtful, .. } = self.known;
        if self.users == Users::Shared && !(accepted..=accepted + doubtful).contains(&booked) {
            return Err(format!(
                "{booked} entries are booked, {accepted} were accepted, and {doubtful} are in doubt"
            ));
        }
        Ok(())
    }

    /// Version of a user at the core that owns it.
    fn version(&self, user: u64) -> u64 {
        let slice = users::id(user).slice(self.topologies[0].slices());
        let core = self
            .topologies
            .iter()
            .position(|topology| topology.is_here(slice))
            .expect("each slice is on a core");
        let slice = self.cores[core]
            .machine
            .slices()
            .nth(self.topologies[core].local_slice(slice))
            .expect("the slice is on this core");
        slice.view(users::id(user)).1.map_or(0, |view| view.user.version())
    }

    // Time.

    /// Advances the clocks, and lets a random core take a turn if it has one to take.
    fn step(&mut self) -> Result<(), String> {
        self.disk_ms += self.random.below(3);
        if self.clocks.monotonic_ms < self.clock_stops_ms {
            self.clocks.monotonic_ms += self.random.below(3);
        }
        let at = self.random.below(self.cores.len() as u64) as usize;
        let has_turned = !self.cores[at].has_ended
            && self.turn(at).map_err(|what| format!("core {at}: {what}"))?;
        self.quiet_steps = if has_turned { 0 } else { self.quiet_steps + 1 };
        if self.quiet_steps > QUIET_STEPS * self.cores.len()
            && self.mesh.is_empty()
            && self.disk.is_idle()
        {
            // Nothing happens before the earliest deadline of a core.
            let waits =
                self.cores.iter().filter(|core| !core.has_ended).filter_map(Core::waits_until_ms);
            self.clocks.monotonic_ms =
                self.clocks.monotonic_ms.max(waits.min().unwrap_or_default());
            self.counts.add("time jumps", 1);
        }
        Ok(())
    }

    // A core's turn.

    /// Runs a turn of a core if anything has arrived or its deadline has passed. Returns whether it
    /// did.
    fn turn(&mut self, at: usize) -> Result<bool, String> {
        let messages = self.mesh.receive(at, &mut self.random);
        let done = self.done(at)?;
        let events = self.events(at);
        let core = &mut self.cores[at];
        let is_drained_now = core.drains && self.random.in_thousand(100);
        let is_due =
            core.waits_until_ms().is_none_or(|until_ms| self.clocks.monotonic_ms >= until_ms);
        if messages.is_empty() && done.is_empty() && events.is_empty() && !is_drained_now && !is_due
        {
            return Ok(false);
        }
        core.turned_ms = self.clocks.monotonic_ms;
        core.machine.begin_turn(self.clocks);
        for (from, message) in messages {
            if let Message::Reply(reply) = &message {
                let is_gone = core
                    .peer_connections
                    .get(reply.connection as Slot as usize)
                    .is_none_or(Option::is_none);
                self.counts.add("replies to connections that are gone", u64::from(is_gone));
            }
            core.machine.message(from, message);
        }
        done.into_iter().for_each(|(slice, done)| core.machine.task_done(slice, done));
        events.into_iter().for_each(|(slot, event)| event.report(slot, &mut core.machine));
        if is_drained_now {
            core.drains = false;
            core.machine.drain();
        }
        core.machine
            .end_turn()
            .map_err(|broken| format!("slice {} is broken: {}", broken.slice, broken.fault))?;
        self.carry_out(at)?;
        if let Some(what) = self.disk.broken.take() {
            return Err(what);
        }
        self.has_ended(at)?;
        Ok(true)
    }

    /// Completed tasks of the disks of a core's slices.
    fn done(&mut self, at: usize) -> Result<Vec<(u32, Done)>, String> {
        let mut all = Vec::new();
        for slice in self.topologies[at].slices_here() {
            let number = slice as usize;
            while let Some(done) = self.disk.next(self.disk_ms, number, &mut self.random) {
                let done = done.map_err(|trouble| match trouble {
                    DiskError::Fatal => "the disk fails".to_owned(),
                    DiskError::Refused(what) => what,
                })?;
                let logged = &mut self.logged[number];
                if matches!(done, Done::Written { file: File::Segment(_), ok: true, .. }) {
                    logged.durable.extend(logged.under_way.drain(..));
                }
                self.counts.add("reads of recovery", u64::from(matches!(done, Done::Read { .. })));
                all.push((slice, done));
            }
            let is_under_way = !self.logged[number].under_way.is_empty();
            self.counts.add("turns with entries that are not durable", u64::from(is_under_way));
        }
        Ok(all)
    }

    /// Events of a core's connections. Clients connect, and some disconnect.
    fn events(&mut self, at: usize) -> Vec<(Slot, Event)> {
        let Self { random, clients, client_slots, known, counts, behaviour, .. } = self;
        let core = &mut self.cores[at];
        let mut events = Vec::new();
        for (slot, place) in core.peer_connections.iter_mut().enumerate() {
            let Some(peer_connection) = place else { continue };
            let who = peer_connection.client;
            let line_events = peer_connection.events(
                who.map(|who| &mut clients[who]),
                *behaviour,
                known,
                counts,
                random,
            );
            if let Some(who) = who.filter(|_| peer_connection.client.is_none()) {
                client_slots[who] = None;
            }
            if matches!(line_events[..], [Event::Closed]) {
                *place = None;
            }
            events.extend(line_events.into_iter().map(|event| (slot as Slot, event)));
        }
        let may_come = !self.is_draining && (core.is_serving || self.users == Users::Shared);
        for (number, client) in clients.iter().enumerate() {
            if may_come && client_slots[number].is_none() && !client.is_done() && random.coin() {
                let free = core.peer_connections.iter().position(Option::is_none);
                let slot = free.unwrap_or_else(|| {
                    core.peer_connections.push(None);
                    core.peer_connections.len() - 1
                });
                // A slot closed in this turn is free from the next turn on.
                if events.iter().all(|(other, _)| *other as usize != slot) {
                    core.peer_connections[slot] = Some(PeerConnection::new(number, at as u32));
                    client_slots[number] = Some((at, slot as Slot));
                }
            }
        }
        events
    }

    /// Carries out a core's outputs.
    fn carry_out(&mut self, at: usize) -> Result<(), String> {
        let mut sent_entries = 0;
        while let Some(output) = self.cores[at].machine.poll() {
            match output {
                Output::Send { slot, buffer, from } => self.send(at, slot, buffer, from)?,
                Output::Receive { slot, on } => {
                    let under_way = if on { 0 } else { self.random.below(3) };
                    self.peer_connection(at, slot)?.receive(on, under_way)?;
                }
                Output::Shutdown { slot } => {
                    let whose = self.peer_connection(at, slot)?.shut()?;
                    self.over(whose)?;
                    self.counts.add("ended connections", 1);
                }
                Output::Close { slot } => {
                    let whose = self.peer_connection(at, slot)?.close()?;
                    self.over(whose)?;
                }
                Output::Message { core, message } => {
                    sent_entries += self.check_message(at, &message)?;
                    self.mesh.send(at, core as usize, message, &mut self.random)?;
                }
                Output::Task { slice, task } => self.task(at, slice, task)?,
                Output::Loading { slice, is_over: true, .. } => self.loaded(at, slice)?,
                Output::Loading { .. } => {}
                Output::Serving => {
                    let Core { machine, watch, is_serving, .. } = &mut self.cores[at];
                    if std::mem::replace(is_serving, true) {
                        return Err("the core reports twice that it serves".to_owned());
                    }
                    watch.loaded(machine);
                }
            }
        }
        let Core { machine, watch, is_serving, peer_connections, .. } = &mut self.cores[at];
        if *is_serving {
            watch.turn(machine, sent_entries, peer_connections.len() as Slot, &mut self.counts)?;
        }
        Ok(())
    }

    fn peer_connection(&mut self, at: usize, slot: Slot) -> Result<&mut PeerConnection, String> {
        let peer_connection =
            self.cores[at].peer_connections.get_mut(slot as usize).and_then(Option::as_mut);
        peer_connection.ok_or_else(|| format!("connection {slot} is not open"))
    }

    /// Records that the server has ended a client's connection.
    fn over(&mut self, whose: Option<usize>) -> Result<(), String> {
        if let Some(client) = whose {
            self.client_slots[client] = None;
            self.clients[client].ended(&mut self.known)?;
        }
        Ok(())
    }

    /// Sends answers: whatever they show must be durable.
    fn send(&mut self, at: usize, slot: Slot, buffer: Vec<u8>, from: usize) -> Result<(), String> {
        let peer_connection = self.peer_connection(at, slot)?;
        let (client, bytes) = (peer_connection.client, buffer.clone());
        if !peer_connection.send(buffer, from)? {
            return Ok(());
        }
        let Some(client) = client else { return Ok(()) };
        let Self { clients, known, logged, topologies, .. } = self;
        let slices = topologies[0].slices();
        let durable = |user| {
            let durable = &logged[users::id(user).slice(slices) as usize].durable;
            durable.get(&user).copied().unwrap_or_default()
        };
        clients[client].receive(&bytes, known, durable)
    }

    /// Checks a message that is sent: whatever a reply shows must be durable. Returns how many
    /// entries it carries to another core.
    fn check_message(&self, at: usize, message: &Message) -> Result<usize, String> {
        match message {
            Message::Request(request) => Ok(request.entries.len()),
            Message::Reply(reply) => {
                for shown in &reply.positions {
                    let slice = self.topologies[at]
                        .slices_here()
                        .nth(shown.local_slice)
                        .ok_or("a slice of another core")?;
                    let durable = self.disk.written(slice as usize);
                    if shown.lsn.0 > durable {
                        return Err(format!(
                            "a reply shows write {}, but {durable} is durable",
                            shown.lsn.0
                        ));
                    }
                }
                Ok(0)
            }
            Message::Loaded | Message::AtRest => Ok(0),
        }
    }

    /// Starts a disk task of a slice.
    fn task(&mut self, at: usize, slice: u32, task: Task) -> Result<(), String> {
        if !self.topologies[at].is_here(slice) {
            return Err(format!("the core uses the disk of slice {slice}"));
        }
        if let Task::Write { file: File::Segment(_), offset: 1.., block } = &task {
            let bytes = block.bytes();
            let length = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize;
            let mut records = &bytes[frame::HEADER_BYTES..frame::HEADER_BYTES + length];
            let under_way = &mut self.logged[slice as usize].under_way;
            while let Some((entry, version)) = record::decode(&mut records) {
                under_way.push((users::of(entry.user), version));
            }
        }
        self.disk.ask(slice as usize, self.disk_ms, task, &mut self.random);
        Ok(())
    }

    /// Checks a slice after recovery: it has loaded everything that was durable in earlier lives,
    /// or more.
    fn loaded(&mut self, at: usize, slice: u32) -> Result<(), String> {
        let topology = self.topologies[at];
        let machine = self.cores[at]
            .machine
            .slices()
            .nth(topology.local_slice(slice))
            .expect("the slice is on this core");
        self.disk.recovered(slice as usize, machine.durable_upto().0);
        let durable = &mut self.logged[slice as usize].durable;
        for &user in
            self.all_users.iter().filter(|&&user| users::id(user).slice(topology.slices()) == slice)
        {
            let version = machine.view(users::id(user)).1.map_or(0, |view| view.user.version());
            let before = durable.insert(user, version).unwrap_or_default();
            if version < before {
                return Err(format!(
                    "user {user} was durable at version {before}, but is loaded at {version}"
                ));
            }
        }
        Ok(())
    }

    /// Records that a draining core has ended: none may before all are at rest.
    fn has_ended(&mut self, at: usize) -> Result<(), String> {
        if !self.cores[at].machine.is_drained() {
            return Ok(());
        }
        for (number, core) in self.cores.iter_mut().enumerate() {
            let (in_flight, connections) =
                (core.machine.requests_outstanding(), core.machine.connections().len());
            if in_flight > 0 || connections > 0 {
                return Err(format!(
                    "the core is done, but core {number} has {in_flight} requests in flight and \
                     {connections} connections"
                ));
            }
        }
        if !self.mesh.is_empty_to(at) {
            return Err("the core is done, but a message to it is in transit".to_owned());
        }
        self.cores[at].has_ended = true;
        Ok(())
    }
}
