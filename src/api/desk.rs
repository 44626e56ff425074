//! What a connection's machine asks of the core that it runs on.

use super::out::Stamp;
pub use super::room::Room;
pub use super::route::Route;
pub use crate::http::date::DateLine;
pub use crate::http::response::Status;
pub use crate::ledger::book::View;
pub use crate::ledger::entry::{EntryRef, Verdict};
pub use crate::ledger::id::{EntryId, UserId};
pub use crate::ledger::memory::{Step, Way, ahead};
pub use crate::ledger::time::Millis;

/// Whether new requests are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// None yet: data is still being loaded.
    Recovering,
    /// All of them.
    Ready,
    /// Shutting down: only what was begun before is finished.
    Draining,
}

/// The core, as its connections see it. All times of one turn are one reading of the clock.
pub trait Desk {
    /// The wall clock.
    fn now(&self) -> Millis;

    /// The wall clock as a `date` line has it.
    fn date(&self) -> &[u8; 29];

    /// Whether new requests are taken.
    fn serving(&self) -> Serving;

    /// The room for answers on the core's connections.
    fn room(&self) -> &Room;

    /// The same, to be used.
    fn room_mut(&mut self) -> &mut Room;

    /// The room that is left for large answers on their way between cores, of all of them.
    fn cargo_room(&self) -> usize;

    /// Takes so much of that. Returns whether it was there.
    fn pack(&mut self, bytes: usize) -> bool;

    /// Gives back what was taken, on whichever core.
    fn unpack(&mut self, bytes: usize);

    /// How many more entries may be applied in this turn; none while they must wait for the disk, or for the room on it.
    fn entries_left(&self) -> usize;

    /// Brings near where a step of the way to a user leads, and to where an entry of theirs will be booked.
    fn approach(&self, user: UserId, entry: Option<EntryId>, step: Step, way: &Way);

    /// Calls `answer` with a user and stamps what it wrote.
    fn read<R>(&self, user: UserId, answer: impl FnOnce(Option<View<'_>>) -> R) -> (Stamp, R);

    /// Applies an entry and stamps the verdict.
    fn apply(&mut self, entry: &EntryRef<'_>) -> (Stamp, Verdict);

    /// Appends what this server says of itself.
    fn info(&self, out: &mut Vec<u8>);

    /// Counts an answer.
    fn answered(&mut self, route: Route, status: Status);
}
