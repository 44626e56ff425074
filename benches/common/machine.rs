//! One connection to a single core that runs without a disk.

use super::driver::{Core, UNLIMITED, info};
use purser::ledger::time::Millis;
use purser::server::core::{Server, Setup};
use purser::server::machine::{Machine as _, Slot};

/// A core and one connection to it.
pub struct Machine {
    pub core: Core,
    slot: Slot,
}

impl Machine {
    /// Creates a core without users whose wall clock is at `now`.
    pub fn new(now: Millis) -> Self {
        let mut core = Core::new(Server::new(Setup::alone(UNLIMITED, info(1))), 0, 1_000, now.0);
        core.turn(|_| {});
        let slot = core.connect();
        Self { core, slot }
    }

    /// Sets the wall clock.
    pub fn set_now(&mut self, now: Millis) {
        self.core.clocks.unix_ms = now.0;
    }

    /// Delivers `bytes` as one receive, runs turns until no work is left, and passes each sent
    /// piece to `take`. Returns whether the connection is still open.
    pub fn exchange(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> bool {
        let Self { core, slot } = self;
        let is_open = |core: &Core| {
            !(core.ends[*slot as usize].is_shut || core.ends[*slot as usize].is_closed)
        };
        if !is_open(core) {
            return false;
        }
        core.turn(|machine| machine.received(*slot, bytes));
        loop {
            let inbox = &mut core.ends[*slot as usize].inbox;
            take(inbox);
            inbox.clear();
            if !core.has_work() {
                return is_open(core);
            }
            core.turn(|_| {});
        }
    }

    /// Like [`Self::exchange`]; returns everything that was sent, as one buffer.
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        self.exchange(bytes, |piece| sent.extend_from_slice(piece));
        sent
    }
}
