//! Checks of a core after each of its turns: the amount of work done, and fairness between slices.

use crate::simulation::counts::Counts;
use purser::server::core::Server;
use purser::server::limits::{ENTRIES_PER_TURN, MAX_GAPS};
use purser::server::machine::{Machine, Slot};
use purser::server::progress::Progress;

/// Most turns without progress on entries of other cores, for a slice whose disk keeps up.
const STALLED_TURNS: u32 = 2;

/// Identity of the next entry of another core: requesting core, connection, slice, line index, and
/// entries of its request already judged.
type Next = (u32, u64, u32, u32, usize);

/// State of a core after its last turn.
#[derive(Debug)]
pub struct Watch {
    judged: u64,
    slices: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    accepted: u64,
    next: Option<Next>,
    stalled_turns: u32,
}

impl Watch {
    pub fn new(machine: &Server) -> Self {
        let mut watch = Self { judged: 0, slices: vec![Seen::default(); machine.slices().len()] };
        watch.loaded(machine);
        watch
    }

    /// Excludes recovered entries from the count of the next turn.
    pub fn loaded(&mut self, machine: &Server) {
        for (seen, slice) in self.slices.iter_mut().zip(machine.slices()) {
            seen.accepted = slice.book().entries();
        }
    }

    /// Checks a finished turn in which `sent` entries went to other cores.
    pub fn turn(
        &mut self,
        machine: &mut Server,
        sent: usize,
        slots: Slot,
        counts: &mut Counts,
    ) -> Result<(), String> {
        self.entries(machine, sent)?;
        self.fairness(machine, counts)?;
        for slot in 0..slots {
            let progress = machine.connections().progress(slot);
            let Some(connection) = machine.connections().get(slot) else { continue };
            let gaps = connection.gaps();
            counts.add(
                "turns with a connection waiting for other cores",
                u64::from(progress == Some(Progress::Waiting)),
            );
            counts.add("turns with the maximum of gaps", u64::from(gaps == MAX_GAPS));
            if gaps > MAX_GAPS {
                return Err(format!("connection {slot} waits for {gaps} replies"));
            }
        }
        Ok(())
    }

    fn entries(&mut self, machine: &Server, sent: usize) -> Result<(), String> {
        let counters = machine.counters();
        let judged = counters.accepted + counters.duplicates + counters.rejected;
        let in_turn = judged - std::mem::replace(&mut self.judged, judged);
        let most = ENTRIES_PER_TURN * self.slices.len();
        if in_turn > most as u64 {
            return Err(format!(
                "{in_turn} entries in one turn of {} slices, at most {most}",
                self.slices.len()
            ));
        }
        if sent > ENTRIES_PER_TURN {
            return Err(format!("{sent} entries go to other cores in one turn"));
        }
        for (place, (seen, slice)) in self.slices.iter_mut().zip(machine.slices()).enumerate() {
            let accepted = slice.book().entries();
            let in_turn = accepted - std::mem::replace(&mut seen.accepted, accepted);
            if in_turn > ENTRIES_PER_TURN as u64 {
                return Err(format!(
                    "slice {place} of its core accepts {in_turn} entries in one turn"
                ));
            }
        }
        Ok(())
    }

    fn fairness(&mut self, machine: &Server, counts: &mut Counts) -> Result<(), String> {
        for (place, (seen, owner)) in self.slices.iter_mut().zip(machine.owners()).enumerate() {
            let next = owner.next_request().map(|request| {
                let index = request.entries.first().map_or(0, |entry| entry.mark.index);
                (request.asking_core, request.connection, request.slice, index, request.judged)
            });
            counts.add("turns with entries of other cores left", u64::from(next.is_some()));
            counts.add("turns with a slice waiting for its disk", u64::from(owner.is_throttled()));
            let is_stalled = next.is_some() && next == seen.next && !owner.is_throttled();
            seen.stalled_turns = if is_stalled { seen.stalled_turns + 1 } else { 0 };
            seen.next = next;
            if seen.stalled_turns > STALLED_TURNS {
                return Err(format!(
                    "slice {place} of its core makes no progress for {} turns",
                    seen.stalled_turns
                ));
            }
        }
        Ok(())
    }
}
