//! A simulated connection: operations that the kernel has not completed, and a slow peer.

use super::client::{Client, Known};
use crate::simulation::counts::Counts;
use crate::simulation::random::Random;
use purser::server::core::Server;
use purser::server::machine::{Machine, Slot};

/// An event of a connection.
#[derive(Debug)]
pub enum Event {
    /// Accepted by the listener of this slice.
    Opened(u32),
    Received(Vec<u8>),
    PeerClosed,
    Sent(Vec<u8>, usize),
    Failed,
    Closed,
}

impl Event {
    /// Reports the event to the machine.
    pub fn report(self, slot: Slot, machine: &mut Server) {
        match self {
            Self::Opened(slice) => machine.opened(slot, slice),
            Self::Received(bytes) => machine.received(slot, &bytes),
            Self::PeerClosed => machine.peer_closed(slot),
            Self::Sent(buffer, count) => machine.sent(slot, buffer, count),
            Self::Failed => machine.failed(slot),
            Self::Closed => machine.closed(slot),
        }
    }
}

/// Behaviour of peers.
#[derive(Clone, Copy, Debug)]
pub struct PeerBehaviour {
    /// Probability per turn, in thousandths, that a peer drops its connection.
    pub dropping: u64,
    /// Probability per turn, in thousandths, that a peer shuts down its sending side.
    pub half_closing: u64,
    /// Probability per turn, in thousandths, that a peer receives some of what is sent.
    pub taking: u64,
}

/// A connection.
#[derive(Debug)]
pub struct PeerConnection {
    /// Slice whose listener accepted it.
    slice: u32,
    /// Its client; `None` once it has ended for the client.
    pub client: Option<usize>,
    is_new: bool,
    /// Buffer in flight, and how much of it was sent.
    in_flight: Option<(Vec<u8>, usize)>,
    receives: bool,
    /// Receives that may still complete after receiving was switched off.
    under_way: u64,
    /// Whether the server has shut down its sending side.
    is_shut: bool,
    is_half_closed: bool,
    /// Whether the peer has dropped it, which was reported to the machine.
    has_failed: bool,
    /// Whether the machine has requested its close.
    closes: bool,
}

impl PeerConnection {
    pub const fn new(client: usize, slice: u32) -> Self {
        Self {
            slice,
            client: Some(client),
            is_new: true,
            in_flight: None,
            receives: false,
            under_way: 0,
            is_shut: false,
            is_half_closed: false,
            has_failed: false,
            closes: false,
        }
    }

    /// Whether events are still due that need nothing from the server.
    pub const fn is_busy(&self) -> bool {
        self.is_new
            || self.in_flight.is_some()
            || self.is_shut
            || self.closes
            || self.client.is_none()
    }

    // Events from the peer.

    /// Events of the connection in this turn.
    pub fn events(
        &mut self,
        client: Option<&mut Client>,
        behaviour: PeerBehaviour,
        known: &mut Known,
        counts: &mut Counts,
        random: &mut Random,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.is_new) {
            return vec![Event::Opened(self.slice)];
        }
        if self.closes {
            return if random.coin() { vec![Event::Closed] } else { events };
        }
        if self.has_failed {
            return events;
        }
        if random.in_thousand(behaviour.taking)
            && let Some((buffer, from)) = self.in_flight.take()
        {
            let left = buffer.len() - from;
            let some = random.between(1, left as u64) as usize;
            let count = random.pick(&[1, some, left, left]);
            counts.add("sends in part", u64::from(count < left));
            if count < left {
                self.in_flight = Some((Vec::new(), from + count));
            }
            events.push(Event::Sent(buffer, count));
        }
        let Some(client) = client else {
            if self.is_shut && !self.is_half_closed && random.coin() {
                self.is_half_closed = true;
                events.push(Event::PeerClosed);
            }
            return events;
        };
        if client.may_drop() && random.in_thousand(behaviour.dropping) {
            client.dropped(known);
            (self.client, self.has_failed) = (None, true);
            counts.add("dropped connections", 1);
            events.push(Event::Failed);
            return events;
        }
        if self.is_half_closed {
            return events;
        }
        if (self.receives || self.under_way > 0) && random.coin() {
            self.under_way = self.under_way.saturating_sub(u64::from(!self.receives));
            let most = random.pick(&[1, 10, 100, 1_000, 100_000, 1_000_000]);
            let bytes = client.send(most, known);
            if !bytes.is_empty() {
                events.push(Event::Received(bytes));
            }
        }
        if random.in_thousand(behaviour.half_closing) && client.half_close() {
            self.is_half_closed = true;
            counts.add("half-closed connections", 1);
            events.push(Event::PeerClosed);
        }
        events
    }

    // Outputs of the machine.

    /// Starts or continues a send. Returns whether it starts: its bytes are sent at that time.
    pub fn send(&mut self, buffer: Vec<u8>, from: usize) -> Result<bool, String> {
        if self.closes || self.is_shut {
            return Err("a send on a connection that has ended".to_owned());
        }
        let is_first = match self.in_flight.take() {
            None if from == 0 && !buffer.is_empty() => true,
            Some((lent, done)) if lent.is_empty() && from == done && from < buffer.len() => false,
            other => {
                let left = other.map(|(lent, done)| (lent.len(), done));
                return Err(format!(
                    "a send of {} bytes from {from}, and {left:?} is in flight",
                    buffer.len()
                ));
            }
        };
        self.in_flight = Some((buffer, from));
        Ok(is_first)
    }

    /// Switches receiving on or off. After switching off, `under_way` receives may still complete.
    pub fn receive(&mut self, on: bool, under_way: u64) -> Result<(), String> {
        if self.closes || self.receives == on {
            return Err(format!("receiving is turned {on} twice"));
        }
        (self.receives, self.under_way) = (on, under_way);
        Ok(())
    }

    /// Shuts down the sending side. Returns the client whose connection ends with this.
    pub fn shut(&mut self) -> Result<Option<usize>, String> {
        if self.closes || std::mem::replace(&mut self.is_shut, true) || self.in_flight.is_some() {
            return Err("a connection is shut down twice, or before all is sent".to_owned());
        }
        Ok(self.client.take())
    }

    /// Closes the connection. Returns the client whose connection ends with this.
    pub fn close(&mut self) -> Result<Option<usize>, String> {
        if std::mem::replace(&mut self.closes, true) {
            return Err("a connection is closed twice".to_owned());
        }
        if self.in_flight.take().is_some() && !self.has_failed {
            return Err("a connection is closed before all is sent".to_owned());
        }
        Ok(self.client.take())
    }
}
