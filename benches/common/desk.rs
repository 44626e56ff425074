//! A core without sockets, clock or log: the API's [`Desk`] straight over one slice.
//!
//! Its time stands still until the owner moves it, and nothing is logged, so no answer waits. Shared with the fuzz targets
//! (`tests/fuzz`): equal calls give equal bytes.

use purser::api::desk::{
    DateLine, Desk, EntryId, EntryRef, Millis, Room, Route, Serving, Status, Step, UserId, Verdict, View, Way,
};
use purser::api::out::Stamp;
use purser::slice::{LogSink, Lsn, Slice};

/// The log of a slice that keeps nothing: there is nothing to wait for.
pub struct NoLog;

impl LogSink for NoLog {
    fn has_room(&self) -> bool {
        true
    }

    fn append(&mut self, _: &EntryRef<'_>, _: u64) -> Lsn {
        Lsn::default()
    }
}

/// One slice, and a time that stands still.
pub struct StillDesk {
    pub slice: Slice,
    now: Millis,
    date: [u8; 29],
    room: Room,
}

impl StillDesk {
    /// A desk without users.
    pub fn new(now: Millis) -> Self {
        Self { slice: Slice::new(usize::MAX), now, date: *DateLine::new().at(now.0 / 1_000), room: Room::default() }
    }

    /// Moves the clock; the `date` line stays, so that answers keep their bytes.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
    }
}

impl Desk for StillDesk {
    fn now(&self) -> Millis {
        self.now
    }

    fn date(&self) -> &[u8; 29] {
        &self.date
    }

    fn serving(&self) -> Serving {
        Serving::Ready
    }

    fn room(&self) -> &Room {
        &self.room
    }

    fn room_mut(&mut self) -> &mut Room {
        &mut self.room
    }

    fn cargo_room(&self) -> usize {
        usize::MAX
    }

    fn pack(&mut self, _: usize) -> bool {
        true
    }

    fn unpack(&mut self, _: usize) {}

    fn entries_left(&self) -> usize {
        usize::MAX
    }

    fn approach(&self, user: UserId, entry: Option<EntryId>, step: Step, way: &Way) {
        self.slice.prefetch(user, entry, step, way);
    }

    #[inline]
    fn read<R>(&self, user: UserId, answer: impl FnOnce(Option<View<'_>>) -> R) -> (Stamp, R) {
        let (lsn, answer) = self.slice.read(user, answer);
        (Stamp(lsn.0), answer)
    }

    fn apply(&mut self, entry: &EntryRef<'_>) -> (Stamp, Verdict) {
        let (lsn, verdict) = self.slice.apply(self.now, entry, &mut NoLog);
        (Stamp(lsn.0), verdict)
    }

    fn info(&self, _: &mut Vec<u8>) {}

    fn answered(&mut self, _: Route, _: Status) {}
}
