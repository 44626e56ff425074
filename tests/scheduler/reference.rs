//! Reference server: one core, one slice, no disk, and a client that sends each request whole.

use crate::drive::driver::{Core, UNLIMITED, info};
use crate::users;
use purser::server::core::{Server, Setup};
use purser::server::machine::{Machine, Slot};

pub struct Reference {
    core: Core,
    slot: Option<Slot>,
}

impl Reference {
    pub fn new() -> Self {
        let mut core = Core::new(Server::new(Setup::alone(UNLIMITED, info(1))), 0, 0, 0);
        while !core.is_serving {
            core.turn(|_| {});
        }
        Self { core, slot: None }
    }

    pub fn set_clock(&mut self, unix_ms: u64) {
        self.core.clocks.unix_ms = unix_ms;
    }

    /// Returns the answer to a request, and whether the server then ends the connection.
    pub fn ask(&mut self, request: &[u8]) -> (Vec<u8>, bool) {
        let slot = *self.slot.get_or_insert_with(|| self.core.connect());
        self.core.send(slot, request);
        self.core.settle();
        let answer = self.core.take(slot);
        let ends = self.core.ends[slot as usize].is_shut;
        if ends {
            self.core.turn(|machine| machine.peer_closed(slot));
            self.slot = None;
        }
        (answer, ends)
    }

    /// Version of a user; 0 for an unknown one.
    pub fn version(&self, user: u64) -> u64 {
        let slice = self.core.machine.slices().next().expect("the core has one slice");
        slice.view(users::id(user)).1.map_or(0, |view| view.user.version())
    }
}
