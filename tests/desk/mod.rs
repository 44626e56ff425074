//! The API without an engine: a connection's machine at a desk over one slice, with the clock in the test's hand.

pub mod cores;

use purser::api::connection::{Connection, Next, Shared};
use purser::api::desk::{
    DateLine, Desk, EntryId, EntryRef, Millis, Room, Route, Serving, Status, Step, UserId, Verdict, View, Way,
};
use purser::api::out::{Out, Stamp};
use purser::slice::{LogSink, Lsn, Slice};
use std::cell::Cell;
use std::rc::Rc;

/// A core, as its connections see it.
pub struct TestDesk {
    pub slice: Slice,
    pub log: Log,
    pub now_ms: u64,
    pub serving: Serving,
    pub answered: u64,
    /// How many more entries may be applied in this turn.
    pub entries_left: usize,
    /// There is always room, unless a test says otherwise; what is promised is counted.
    pub room: Room,
    /// Bytes of large answers that are on their way between cores.
    pub cargo: Rc<Cell<usize>>,
    /// How many there may be.
    pub most_cargo: usize,
    date: [u8; 29],
}

/// A log that counts; nothing is durable unless the test says so, or `keeps` is false.
#[derive(Default)]
pub struct Log {
    pub keeps: bool,
    pub last: u64,
    /// User and version of each record, if it keeps them.
    pub records: Vec<(u64, u64)>,
}

impl LogSink for Log {
    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, entry: &EntryRef<'_>, version: u64) -> Lsn {
        self.last += 1;
        if !self.keeps {
            return Lsn::default();
        }
        self.records.push((entry.user.0, version));
        Lsn(self.last)
    }
}

impl TestDesk {
    pub fn new() -> Self {
        Self {
            slice: Slice::new(usize::MAX),
            log: Log::default(),
            now_ms: 0,
            serving: Serving::Ready,
            answered: 0,
            entries_left: usize::MAX,
            room: Room::default(),
            cargo: Rc::default(),
            most_cargo: usize::MAX,
            date: *DateLine::new().at(0),
        }
    }
}

impl Desk for TestDesk {
    fn now(&self) -> Millis {
        Millis(self.now_ms)
    }

    fn date(&self) -> &[u8; 29] {
        &self.date
    }

    fn serving(&self) -> Serving {
        self.serving
    }

    fn room(&self) -> &Room {
        &self.room
    }

    fn room_mut(&mut self) -> &mut Room {
        &mut self.room
    }

    fn cargo_room(&self) -> usize {
        self.most_cargo.saturating_sub(self.cargo.get())
    }

    fn pack(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.cargo_room();
        if has_room {
            self.cargo.update(|cargo| cargo + bytes);
        }
        has_room
    }

    fn unpack(&mut self, bytes: usize) {
        self.cargo.update(|cargo| cargo - bytes);
    }

    fn entries_left(&self) -> usize {
        self.entries_left
    }

    #[inline]
    fn approach(&self, user: UserId, entry: Option<EntryId>, step: Step, way: &Way) {
        self.slice.prefetch(user, entry, step, way);
    }

    fn read<R>(&self, user: UserId, answer: impl FnOnce(Option<View<'_>>) -> R) -> (Stamp, R) {
        let (lsn, answer) = self.slice.read(user, answer);
        (Stamp(lsn.0), answer)
    }

    fn apply(&mut self, entry: &EntryRef<'_>) -> (Stamp, Verdict) {
        self.entries_left -= 1;
        let (lsn, verdict) = self.slice.apply(Millis(self.now_ms), entry, &mut self.log);
        (Stamp(lsn.0), verdict)
    }

    fn info(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{}");
    }

    fn answered(&mut self, _: Route, _: Status) {
        self.answered += 1;
    }
}

/// One connection and what it wrote.
#[derive(Default)]
pub struct Wire {
    connection: Connection,
    shared: Shared,
    pub out: Out,
}

impl Wire {
    /// Hands bytes in, and lets the connection go on until it waits for more.
    pub fn send(&mut self, desk: &mut TestDesk, bytes: &[u8]) -> Next {
        desk.room.begin(0);
        let mut next = self.connection.receive(bytes, desk, &mut self.shared, &mut self.out);
        while next == Next::Busy {
            assert!(self.out.bytes.len() <= purser::api::OUT_MARK_BYTES, "answers over the mark must be taken first");
            desk.room.begin(0);
            next = self.connection.resume(desk, &mut self.shared, &mut self.out);
        }
        next
    }

    /// Hands a request in and takes its whole answer.
    pub fn ask(&mut self, desk: &mut TestDesk, request: &[u8]) -> Answer {
        if self.send(desk, request) == Next::Close {
            self.connection = Connection::default();
        }
        let answer = Answer::read(&std::mem::take(&mut self.out.bytes));
        assert!(self.out.waits_for().is_none() || desk.log.keeps);
        answer
    }
}

/// An answer, taken apart.
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
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer in {text:?}"));
        let header = |name: &str| {
            head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
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
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
