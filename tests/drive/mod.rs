//! Test harness for the machine of a core without an engine: bytes in, bytes out, with clocks set
//! by the test.

#[path = "../../benches/common/driver.rs"]
pub mod driver;
#[path = "../../benches/common/ram_disk.rs"]
pub mod ram_disk;

pub mod cores;

use driver::{Core, UNLIMITED, info};
use purser::journal::Place;
use purser::ledger::secret::Secret;
use purser::limits::Limits;
use purser::server::core::{Server, Setup};
use purser::server::limits::{CREDITS, TURN_BYTES};
use purser::server::machine::{Machine as _, Slot};
use purser::server::owner::Stored;
use purser::server::progress::Progress;
use purser::server::topology::Topology;
use purser::slice::log::Segments;
use purser::slice::recovery::Recovery;
use purser::slice::store::Settings;
use ram_disk::RamDisk;

/// Settings and recovery for a slice on an empty disk.
fn stored_slice(slice: u32, slices: u32) -> (Stored, RamDisk) {
    let place = Place { generation: 1, slice, file: 0 };
    let settings = Settings { place, snapshot_after_bytes: u64::MAX, segments: Segments::DISK };
    let disk = RamDisk::new(place);
    (Stored { settings, recovery: Recovery::new(place, slices, disk.manifest) }, disk)
}

/// The machine of a core with a disk for each of its slices; the disks are used if `is_kept`.
fn server(
    topology: Topology,
    credits: u32,
    limits: Limits,
    is_kept: bool,
) -> (Server, Vec<(u32, RamDisk)>) {
    let slices: Vec<_> = topology.slices_here().collect();
    let (mut stored, mut disks) = (Vec::new(), Vec::new());
    for slice in slices {
        let (data, disk) = stored_slice(slice, topology.slices());
        stored.push(is_kept.then_some(data));
        disks.push((slice, disk));
    }
    let info = info(topology.slices());
    let setup = Setup {
        topology,
        limits,
        info,
        stored,
        credits,
        turn_bytes: TURN_BYTES,
        secret: Secret::default(),
    };
    (Server::new(setup), disks)
}

/// One connection to a single core, and the bytes sent on it.
pub struct Wire {
    pub core: Core,
    slot: Slot,
    disks: Vec<(u32, RamDisk)>,
}

impl Wire {
    /// Connects to a core without a log.
    pub fn new(now_ms: u64) -> Self {
        Self::of(now_ms, false)
    }

    /// Connects to a core with a log; its disk works only on [`Self::work`].
    pub fn with_disk(now_ms: u64) -> Self {
        Self::of(now_ms, true)
    }

    fn of(now_ms: u64, is_kept: bool) -> Self {
        Self::with(now_ms, UNLIMITED, is_kept)
    }

    /// Connects to a core with these limits, and with a log if `is_kept`.
    pub fn with(now_ms: u64, limits: Limits, is_kept: bool) -> Self {
        let (server, disks) = server(Topology::alone(), CREDITS, limits, is_kept);
        let mut wire = Self { core: Core::new(server, 0, 1_000, now_ms), slot: 0, disks };
        wire.work();
        wire.slot = wire.core.connect();
        wire
    }

    /// The connection's slot.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Sets the wall clock.
    pub fn set_now(&mut self, now_ms: u64) {
        self.core.clocks.unix_ms = now_ms;
    }

    /// Delivers bytes and runs turns until the connection waits for more.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.is_open() {
            self.core.send(self.slot, bytes);
            self.core.settle();
        }
    }

    /// Runs turns and disk tasks until nothing is left to do.
    pub fn work(&mut self) {
        loop {
            self.core.turn(|_| {});
            let mut is_over = !self.core.has_work();
            for (slice, task) in std::mem::take(&mut self.core.tasks) {
                let (_, disk) = self
                    .disks
                    .iter_mut()
                    .find(|(of, _)| *of == slice)
                    .expect("tasks are for slices of the core");
                self.core.done.extend(disk.work(task).map(|done| (slice, done)));
                is_over = false;
            }
            if is_over {
                return;
            }
        }
    }

    pub fn is_open(&self) -> bool {
        let end = &self.core.ends[self.slot as usize];
        !end.is_shut && !end.is_closed
    }

    /// State of the connection; `None` if it has ended.
    pub fn progress(&mut self) -> Option<Progress> {
        self.is_open().then(|| self.core.machine.connections().progress(self.slot)).flatten()
    }

    /// Bytes sent by the server and not yet taken.
    pub fn sent(&self) -> &[u8] {
        &self.core.ends[self.slot as usize].inbox
    }

    /// Takes the bytes sent by the server.
    pub fn take(&mut self) -> Vec<u8> {
        self.core.take(self.slot)
    }

    /// Discards the bytes sent by the server.
    pub fn clear(&mut self) {
        self.core.ends[self.slot as usize].inbox.clear();
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.core.machine.counters().answers_total()
    }

    /// Sends a request and takes its whole answer; reconnects if the last connection has ended.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        if !self.is_open() {
            self.slot = self.core.connect();
        }
        self.send(request);
        Answer::read(&self.take())
    }
}

/// A parsed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub etag: Option<String>,
    pub body: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("answers are text");
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer in {text:?}"));
        let header = |name: &str| {
            head.lines()
                .skip(1)
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
        };
        let length: usize = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        assert_eq!(body.len(), length, "one answer of the stated length: {text:?}");
        Self {
            status: head[9..12].parse().expect("a status"),
            content_type: header("content-type").unwrap_or_default(),
            etag: header("etag"),
            body: body.to_owned(),
        }
    }
}

pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

pub fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
