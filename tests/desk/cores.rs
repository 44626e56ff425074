//! Several cores: a desk each, and a mesh that carries what one has sent when the other's turn comes.

use super::TestDesk;
use purser::api::connection::{Connection, Next, Shared};
use purser::api::exchange::Exchange;
use purser::api::out::{Out, Stamp};
use purser::api::parcel::Parcel;
use purser::slice::{Lsn, ReleaseSink, Ticket};
use std::collections::VecDeque;

/// Cores, and the connections to them. A core whose turn does not come stands still.
pub struct Cores {
    pub desks: Vec<TestDesk>,
    pub clock_ms: u64,
    shared: Vec<Shared>,
    lines: Vec<Line>,
    /// What has come for each core, and from whom.
    come: Vec<VecDeque<(usize, Box<Parcel>)>>,
    #[expect(clippy::vec_box, reason = "as the exchange has it")]
    asked: Vec<Box<Parcel>>,
}

/// A connection to a core.
struct Line {
    core: usize,
    connection: Connection,
    out: Out,
    next: Next,
}

struct Nobody;

impl ReleaseSink for Nobody {
    fn release(&mut self, _: Ticket) {}
}

impl Cores {
    pub fn new(cores: usize, credits: u32) -> Self {
        let exchange = |slice| Exchange::new(slice as u32, cores as u32, credits);
        let cargo = TestDesk::new().cargo;
        Self {
            desks: (0..cores).map(|_| TestDesk { cargo: cargo.clone(), ..TestDesk::new() }).collect(),
            clock_ms: 0,
            shared: (0..cores).map(|slice| Shared::new(exchange(slice))).collect(),
            lines: Vec::new(),
            come: (0..cores).map(|_| VecDeque::new()).collect(),
            asked: Vec::new(),
        }
    }

    /// Connects to a core; returns the connection's number.
    pub fn connect(&mut self, core: usize) -> usize {
        let connection = Connection::new(self.lines.len() as u64);
        self.lines.push(Line { core, connection, out: Out::default(), next: Next::Idle });
        self.lines.len() - 1
    }

    /// Hands a connection bytes.
    pub fn send(&mut self, line: usize, bytes: &[u8]) -> Next {
        let Line { core, connection, out, next } = &mut self.lines[line];
        *next = connection.receive(bytes, &mut self.desks[*core], &mut self.shared[*core], out);
        *next
    }

    /// A connection's peer takes too long.
    pub fn expire(&mut self, line: usize) -> Next {
        let Line { core, connection, out, next } = &mut self.lines[line];
        *next = connection.expire(&mut self.desks[*core], out);
        *next
    }

    pub fn next(&self, line: usize) -> Next {
        self.lines[line].next
    }

    /// Whether a connection waits for nothing but a request.
    pub fn is_idle(&self, line: usize) -> bool {
        self.lines[line].next == Next::Idle && self.lines[line].out.gaps() == 0
    }

    /// Whether nothing of a core's, nor of others', is under way there.
    pub fn is_settled(&self, core: usize) -> bool {
        self.shared[core].exchange.is_settled() && !self.shared[core].exchange.awaits()
    }

    /// A core's turn. All that it has applied is durable at the end.
    pub fn turn(&mut self, core: usize) {
        let Self { desks, shared, lines, come, asked, .. } = self;
        let (desk, shared) = (&mut desks[core], &mut shared[core]);
        desk.room.begin(0);
        shared.exchange.begin(self.clock_ms);
        while let Some((from, parcel)) = come[core].pop_front() {
            if parcel.home as usize != core {
                asked.push(parcel);
                continue;
            }
            shared.exchange.returned(from as u32);
            let line = &mut lines[parcel.ticket as usize];
            line.next = line.connection.take_back(from as u32, parcel, desk, shared, &mut line.out);
        }
        shared.exchange.take_in(asked, desk);
        for line in lines.iter_mut().filter(|line| line.core == core && line.next == Next::Busy) {
            line.next = line.connection.resume(desk, shared, &mut line.out);
        }
        shared.exchange.apply(usize::MAX, desk);
        if desk.log.keeps {
            desk.slice.durable(Lsn(desk.log.last), &mut Nobody);
        }
        shared.exchange.release(Stamp(desk.slice.durable_upto().0));
        for (to, parcel) in shared.exchange.outgoing() {
            come[to as usize].push_back((core, parcel));
        }
    }

    /// Takes what a connection may send, instead of what `taken` holds.
    pub fn take(&mut self, line: usize, taken: &mut Vec<u8>) {
        let Line { core, out, .. } = &mut self.lines[line];
        let count = out.sendable(Stamp(self.desks[*core].slice.durable_upto().0));
        taken.clear();
        out.freeze(count, taken);
    }

    /// The same as text.
    pub fn text(&mut self, line: usize) -> String {
        let mut taken = Vec::new();
        self.take(line, &mut taken);
        String::from_utf8(taken).expect("answers are text")
    }
}
