//! One connection's machine at a desk of its own, driven as the engine drives it: receive, send, go
//! on while busy.

use super::desk::StillDesk;
use purser::api::connection::{Connection, Next, Shared};
use purser::api::desk::Desk;
use purser::api::out::{Out, Stamp};

/// A connection and all that it needs.
pub struct Machine {
    pub desk: StillDesk,
    connection: Connection,
    shared: Shared,
    out: Out,
    sent: Vec<u8>,
}

impl Machine {
    /// A fresh connection at `desk`.
    pub fn new(desk: StillDesk) -> Self {
        let (connection, shared) = (Connection::default(), Shared::default());
        Self { desk, connection, shared, out: Out::default(), sent: Vec::new() }
    }

    /// Hands `bytes` over as one receive; each step of the work is a turn of its own. Hands every
    /// piece that may leave to `send`, and goes on until no work is at hand.
    pub fn exchange(&mut self, bytes: &[u8], mut send: impl FnMut(&[u8])) -> Next {
        self.desk.room_mut().begin(0);
        let mut next = self.connection.receive(bytes, &mut self.desk, &mut self.shared, &mut self.out);
        loop {
            let count = self.out.sendable(Stamp::default());
            self.sent.clear();
            self.out.freeze(count, &mut self.sent);
            send(&self.sent);
            if next != Next::Busy {
                return next;
            }
            self.desk.room_mut().begin(0);
            next = self.connection.resume(&mut self.desk, &mut self.shared, &mut self.out);
        }
    }

    /// The same, with all that was sent in one piece.
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        self.exchange(bytes, |piece| sent.extend_from_slice(piece));
        sent
    }
}
