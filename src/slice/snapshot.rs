//! Snapshot scan: writes all users of a slice to a snapshot, in bounded steps, while the slice
//! serves.
//!
//! Each user is written in the state of one moment. A user with very many remembered ids takes
//! several steps: entries that arrive meanwhile are applied, and the book sets aside what they
//! change ([`Book::begin_storing`](crate::ledger::book::Book::begin_storing)). A user added during
//! the scan gets a higher slot, so the scan still reaches it. The kinds follow: those that exist
//! once all users are written, because these refer to no others.
//!
//! An image may hold records that are not yet durable. After the last frame, the log must therefore
//! become durable up to its end at that moment before the snapshot is synced and may be published.

use super::disk::Task;
use super::framing::Framing;
use super::{Lsn, Slice, StepOutcome};
use crate::journal::Place;
use crate::journal::frame::FrameBuffer;
use crate::journal::snapshot::FULL_FRAME_BYTES;
use crate::ledger::book::Book;
use crate::ledger::index::UserSlot;
use crate::ledger::memory::PrefetchStep;

/// Bytes of users or kinds that one step serialises while reads wait for it; the last user may
/// exceed it. Without waiting reads, a step fills a whole frame.
const SMALL_STEP_BYTES: usize = 8 << 10;
/// Cells of hash tables that one step visits, for pieces of users; the last piece may exceed it. A
/// table can have many cells and few ids that still count, so bytes do not bound its time.
const STEP_CELLS: usize = 8 << 10;
/// Most frame writes in flight.
const MAX_IN_FLIGHT: usize = 2;
/// Number of buffers that a scan needs. The disk that allocates them writes every byte once: a
/// page's first touch can take as long as many reads.
pub const BUFFERS: usize = MAX_IN_FLIGHT + 1;
/// Payload bytes of each of the [`BUFFERS`]: enough for a frame that is almost full and one piece
/// of evenly spread ids, with the space to sort them, and for all but a few images.
pub const BUFFER_BYTES: usize = 5 << 17;
/// Prefetch distance, in users, for a user's sections; half of it for the memory that these point
/// to.
const PREFETCH_USERS: usize = 8;

/// Whether reads wait for the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLoad {
    /// Reads arrive: steps are small.
    Reads,
    /// Only the feed may be waiting: steps are large.
    NoReads,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Scan {
    framing: Framing,
    segment: u64,
    stage: Stage,
    next_user: usize,
    /// Pieces of the next user that are still to be stored, after its image.
    pieces_left: usize,
    in_flight: usize,
    failed: bool,
    /// The frame of users or kinds that is being filled.
    filling: Option<FrameBuffer>,
    blocks: Vec<FrameBuffer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Creating,
    Scanning,
    /// All users are written or in flight; the kinds below this number follow.
    Kinds(usize),
    /// All frames are written or in flight; the log must become durable up to this position.
    Scanned(Lsn),
    Syncing,
    Synced,
}

/// The snapshot failed, and none of its writes is in flight any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFailed;

impl Scan {
    /// Begins a snapshot over which the log is replayed from `segment` on. `place.file` is the
    /// snapshot's number.
    pub fn begin(place: Place, segment: u64, ask: &mut impl FnMut(Task)) -> Self {
        ask(Task::Create { snapshot: place.file });
        Self {
            framing: Framing::new(place),
            segment,
            stage: Stage::Creating,
            next_user: 0,
            pieces_left: 0,
            in_flight: 0,
            failed: false,
            filling: None,
            blocks: Vec::new(),
        }
    }

    /// Takes at most one step, a small one while reads arrive. `position` is the position of the
    /// log's last record; `durable` is the position up to which the log is durable.
    pub fn advance(
        &mut self,
        slice: &mut Slice,
        read_load: ReadLoad,
        (position, durable): (Lsn, Lsn),
        ask: &mut impl FnMut(Task),
    ) {
        let step_bytes = match read_load {
            ReadLoad::Reads => SMALL_STEP_BYTES,
            ReadLoad::NoReads => FULL_FRAME_BYTES,
        };
        match self.stage {
            _ if self.failed => self.give_up(slice),
            Stage::Scanning | Stage::Kinds(_) if self.in_flight < MAX_IN_FLIGHT => {
                self.step(&mut slice.book, step_bytes, position, ask);
            }
            Stage::Scanned(reached) if self.in_flight == 0 && durable >= reached => {
                self.stage = Stage::Syncing;
                ask(Task::Sync { snapshot: self.framing.number() });
            }
            _ => {}
        }
    }

    /// Gives the snapshot up: no step may follow. Drops what the book has set aside for it.
    pub fn give_up(&mut self, slice: &mut Slice) {
        self.failed = true;
        if std::mem::take(&mut self.pieces_left) > 0 {
            slice.book.end_storing(self.next_user as UserSlot);
        }
    }

    fn step(
        &mut self,
        book: &mut Book,
        step_bytes: usize,
        position: Lsn,
        ask: &mut impl FnMut(Task),
    ) {
        let mut block =
            self.filling.take().or_else(|| self.blocks.pop()).unwrap_or_else(Framing::block);
        let until = (block.payload_bytes() + step_bytes).min(FULL_FRAME_BYTES);
        let task = match self.stage {
            _ if self.framing.frames() == 0 => self.framing.first(self.segment, block),
            Stage::Kinds(kinds) => {
                let more = self.framing.fill_kinds(book.names(), kinds, until, &mut block);
                if block.payload_bytes() == 0 {
                    self.stage = Stage::Scanned(position);
                    self.framing.last(block, position.0)
                } else if more && block.payload_bytes() < FULL_FRAME_BYTES {
                    self.filling = Some(block);
                    return;
                } else {
                    self.framing.kinds(block)
                }
            }
            _ => {
                self.fill_users(book, until, &mut block);
                let more = self.next_user < book.users();
                if more && block.payload_bytes() < FULL_FRAME_BYTES {
                    self.filling = Some(block);
                    return;
                }
                if !more {
                    self.stage = Stage::Kinds(book.names().len());
                }
                if block.payload_bytes() == 0 {
                    self.blocks.push(block);
                    return;
                }
                self.framing.users(block)
            }
        };
        self.in_flight += 1;
        ask(task);
    }

    /// Stores users and their pieces until the block's payload has `until` bytes, or until
    /// [`STEP_CELLS`] are visited.
    fn fill_users(&mut self, book: &mut Book, until: usize, block: &mut FrameBuffer) {
        let (users, mut cells) = (book.users(), 0);
        while self.next_user < users && block.payload_bytes() < until && cells < STEP_CELLS {
            let slot = self.next_user as UserSlot;
            if self.pieces_left > 0 {
                cells += book.store_next_piece(slot, block.payload());
                self.pieces_left -= 1;
                if self.pieces_left == 0 {
                    book.end_storing(slot);
                    self.next_user += 1;
                }
                continue;
            }
            for (ahead, step) in [
                (PREFETCH_USERS, PrefetchStep::Sections),
                (PREFETCH_USERS / 2, PrefetchStep::RareState),
            ] {
                if self.next_user + ahead < users {
                    book.prefetch_slot((self.next_user + ahead) as UserSlot, step);
                }
            }
            self.framing.count(book.user(slot));
            self.pieces_left = book.begin_storing(slot, block.payload());
            self.next_user += usize::from(self.pieces_left == 0);
        }
    }

    /// The file was created, or could not be.
    pub fn created(&mut self, buffers: Option<Vec<FrameBuffer>>) {
        self.failed |= buffers.is_none();
        self.blocks = buffers.unwrap_or_default();
        self.stage = Stage::Scanning;
    }

    /// A frame was written, or could not be.
    pub fn written(&mut self, mut block: FrameBuffer, ok: bool) {
        self.in_flight -= 1;
        self.failed |= !ok;
        block.clear();
        self.blocks.push(block);
    }

    /// The file was brought to stable storage, or could not be.
    pub fn synced(&mut self, ok: bool) {
        self.failed |= !ok;
        self.stage = Stage::Synced;
    }

    /// State of the scan. After [`StepOutcome::Done`] the snapshot is on stable storage and may be
    /// named in the manifest.
    pub fn progress(&self) -> Result<StepOutcome, SnapshotFailed> {
        match self.stage {
            Stage::Creating | Stage::Syncing => Ok(StepOutcome::Waiting),
            _ if self.failed && self.in_flight == 0 => Err(SnapshotFailed),
            _ if self.failed => Ok(StepOutcome::Waiting),
            Stage::Synced => Ok(StepOutcome::Done),
            Stage::Scanning | Stage::Kinds(_) if self.in_flight < MAX_IN_FLIGHT => {
                Ok(StepOutcome::Going)
            }
            Stage::Scanning | Stage::Kinds(_) | Stage::Scanned(_) => Ok(StepOutcome::Waiting),
        }
    }

    /// Whether another step can be taken now.
    pub fn is_ready_for_step(&self) -> bool {
        self.progress() == Ok(StepOutcome::Going)
    }

    /// The snapshot's number.
    pub const fn number(&self) -> u64 {
        self.framing.number()
    }

    /// First segment of the log that is replayed over the snapshot.
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Offset of the last frame; 0 until it is framed.
    pub const fn last_frame(&self) -> u64 {
        self.framing.last_frame()
    }

    /// Bytes written so far, including the frame that is being filled.
    pub fn bytes(&self) -> u64 {
        self.framing.bytes() + self.filling.as_ref().map_or(0, |block| block.payload_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Done;
    use super::super::log::{Segments, Tail};
    use super::super::recovery::tests::{Files, PLACE, post};
    use super::super::store::{Recovered, Settings, Store, TurnInput};
    use super::*;
    use crate::journal::File;
    use crate::journal::frame::{self, Kind, NO_SALT};
    use crate::journal::manifest::SliceManifest;
    use crate::ledger::entry::{Rejection, Verdict};
    use crate::ledger::id::UserId;
    use crate::ledger::time::{BUCKET_MS, HOUR_MS, Millis};
    use crate::ledger::user::User;
    use std::collections::{BTreeMap, VecDeque};

    const START_MS: u64 = 1_700_000_000_000;
    const LARGE: u64 = 7;
    const LARGE_SLOT: UserSlot = 1;
    /// Time between two ids of the large user, who has a day of them.
    const STEP_MS: u64 = 82;
    const LAST_MS: u64 = START_MS + IDS * STEP_MS;
    /// Entries of the large user, of which the later half is remembered.
    const IDS: u64 = 1 << 20;
    use crate::ledger::tables::MAX_PIECE_BYTES as PIECE_BYTES;

    fn canonical_form(user: &User) -> Vec<u8> {
        let mut out = Vec::new();
        user.write_canonical(&mut out);
        out
    }

    fn stored(book: &Book, slot: UserSlot) -> Vec<u8> {
        let mut out = Vec::new();
        book.user(slot).store(book.id(slot), &mut out);
        out
    }

    /// A slice with a small user, one with as many remembered ids as can be, and another small one.
    fn large() -> Slice {
        let mut slice = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
        for user in [3, LARGE, 4] {
            assert_eq!(post(&mut slice, (user, 0), "topup", Millis(START_MS)), Verdict::Accepted);
        }
        for n in 1..IDS {
            let at = Millis(START_MS + n * STEP_MS);
            assert_eq!(post(&mut slice, (LARGE, n.into()), "topup", at), Verdict::Accepted);
        }
        slice
    }

    /// The same users in another slice.
    fn copy(slice: &Slice) -> Slice {
        let mut other = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
        slice.book.names().iter().for_each(|kind| other.add_kind(kind).unwrap());
        for slot in 0..slice.book.users() as UserSlot {
            let bytes = stored(&slice.book, slot);
            let (user, _) =
                User::load(&bytes, slice.book.names().len() as u32, slice.book.names().secret())
                    .unwrap();
            let slot = other.restore(user).unwrap();
            other.index(slot).unwrap();
        }
        other
    }

    /// A scan with a disk that does everything at once, and what it wrote.
    struct Disk {
        scan: Scan,
        tasks: VecDeque<Task>,
        files: Files,
    }

    impl Disk {
        fn new() -> Self {
            let mut tasks = VecDeque::new();
            let scan = Scan::begin(PLACE, 1, &mut |task| tasks.push_back(task));
            Self { scan, tasks, files: Files::default() }
        }

        fn step(&mut self, slice: &mut Slice, read_load: ReadLoad) {
            let Self { scan, tasks, files } = self;
            scan.advance(slice, read_load, (Lsn(0), Lsn(0)), &mut |task| tasks.push_back(task));
            while let Some(task) = tasks.pop_front() {
                match task {
                    Task::Create { .. } => scan.created(Some(Vec::new())),
                    Task::Write { file, offset, block } => {
                        let bytes = files.0.entry(file).or_default();
                        assert_eq!(bytes.len() as u64, offset);
                        bytes.extend_from_slice(block.bytes());
                        scan.written(block, true);
                    }
                    Task::Sync { .. } => scan.synced(true),
                    other => unreachable!("a scan asks for no such task: {other:?}"),
                }
            }
        }

        fn is_done(&self) -> bool {
            self.scan.progress() == Ok(StepOutcome::Done)
        }

        /// Kinds and payloads of all frames.
        fn frames(&self) -> Vec<(Kind, Vec<u8>)> {
            let (mut rest, mut frames) = (&self.files.0[&File::Snapshot(1)][..], Vec::new());
            while !rest.is_empty() {
                let frame = frame::decode(rest, PLACE, NO_SALT).unwrap();
                frames.push((frame.kind, frame.payload.to_vec()));
                rest = &rest[frame.size()..];
            }
            frames
        }

        /// Recovers the snapshot. Returns the slice, and the bytes read by the largest step.
        fn recovered(&mut self) -> (Slice, u64) {
            let mut most = 0;
            let end = self.scan.last_frame();
            let slice = self.files.recover(end, |bytes| most = most.max(bytes)).unwrap();
            (slice, most)
        }
    }

    /// Entries of the large user that are applied between two steps.
    #[derive(Clone, Copy, Debug)]
    struct Meanwhile {
        /// User time that passes with each step.
        step_ms: u64,
        /// Pieces that are stored when the user's time jumps, and how far it jumps.
        jump: Option<(usize, u64)>,
        read_load: ReadLoad,
    }

    /// Scans `slice` while entries arrive, and checks every step, every frame, and what is loaded.
    fn check(slice: &mut Slice, meanwhile: Meanwhile) {
        let Meanwhile { step_ms, mut jump, read_load } = meanwhile;
        let (mut disk, mut expected, mut canonical) = (Disk::new(), Vec::new(), Vec::new());
        let mut pieces = 0;
        let (mut now, mut id, mut accepted) = (LAST_MS, IDS.into(), 0);
        let small = [0, 2].map(|slot| stored(&slice.book, slot));
        while !disk.is_done() {
            let Scan { next_user, pieces_left, .. } = disk.scan;
            if next_user <= LARGE_SLOT as usize && pieces_left == 0 {
                expected = stored(&slice.book, LARGE_SLOT);
                canonical = canonical_form(slice.book.user(LARGE_SLOT));
            }
            let before = disk.scan.bytes();
            disk.step(slice, read_load);
            let bytes = (disk.scan.bytes() - before) as usize;
            let most =
                if matches!(read_load, ReadLoad::Reads) { 8 << 10 } else { FULL_FRAME_BYTES };
            assert!(bytes <= most + PIECE_BYTES + frame::ALIGN, "a step of {bytes} bytes");
            let left = disk.scan.pieces_left;
            assert!(pieces_left - left.min(pieces_left) <= 4, "a step stores few pieces");
            pieces = pieces.max(left);
            now += step_ms;
            if left > 0
                && let Some((_, ms)) = jump.take_if(|(at, _)| pieces * *at / 64 <= pieces - left)
            {
                now += ms;
            }
            // New ids, some of them late, and one that is known.
            for n in 0..50 {
                let late = if n % 7 == 0 { 10 * HOUR_MS } else { 0 };
                let at = Millis(now + n - late);
                id += 1;
                match post(slice, (LARGE, id), "topup", at) {
                    Verdict::Accepted => accepted += 1,
                    Verdict::Rejected(Rejection::TooOld) => {}
                    other => panic!("{meanwhile:?}: {other:?}"),
                }
            }
        }
        assert!(jump.is_none() && accepted > 500, "{meanwhile:?}: {accepted}");
        let frames = disk.frames();
        let most = frames.iter().map(|(_, payload)| payload.len()).max().unwrap();
        assert!(most <= FULL_FRAME_BYTES + PIECE_BYTES, "a frame of {most} bytes");
        let users = frames.iter().filter(|(kind, _)| *kind == Kind::Users);
        let written: Vec<u8> = users.flat_map(|(_, payload)| payload).copied().collect();
        let [first, last] = &small;
        assert!(written == [&first[..], &expected, last].concat(), "{meanwhile:?}");
        let (loaded, most) = disk.recovered();
        assert!(most as usize <= (256 << 10) + FULL_FRAME_BYTES + PIECE_BYTES, "{most} bytes");
        let slot = loaded.book.find(UserId::Number(LARGE)).unwrap();
        assert!(canonical_form(loaded.book.user(slot)) == canonical, "{meanwhile:?}");
    }

    #[test]
    fn a_user_is_stored_as_of_one_moment_in_bounded_steps_while_entries_are_applied() {
        let slice = large();
        assert_eq!(stored(&slice.book, LARGE_SLOT).len() >> 20, 8);
        let day = 24 * HOUR_MS;
        for (step_ms, jump, read_load) in [
            // A table is swept with each step.
            (BUCKET_MS, None, ReadLoad::NoReads),
            (1_000 + BUCKET_MS / 4, None, ReadLoad::Reads),
            // All tables are swept at once, with most of their ids expired.
            (1_000, Some((20, 20 * HOUR_MS)), ReadLoad::NoReads),
            // All ids are forgotten: after the first piece, between pieces, before the last piece.
            (BUCKET_MS, Some((1, 2 * day)), ReadLoad::NoReads),
            (BUCKET_MS, Some((40, 2 * day)), ReadLoad::Reads),
            (2 * HOUR_MS, Some((63, 2 * day)), ReadLoad::NoReads),
        ] {
            check(&mut copy(&slice), Meanwhile { step_ms, jump, read_load });
        }
    }

    #[test]
    fn tables_whose_ids_have_expired_take_several_steps_too() {
        let mut slice = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
        for n in 0..300_000 {
            post(&mut slice, (LARGE, n), "topup", Millis(START_MS + n as u64));
        }
        // All ids expire, and not all tables are swept.
        for hours in [12, 24, 25] {
            let at = Millis(START_MS + hours * HOUR_MS);
            post(&mut slice, (LARGE, 1 << 64 | u128::from(hours)), "topup", at);
        }
        let own = canonical_form(slice.book.user(0));
        assert!(own.len() < 1_000, "{} bytes", own.len());
        let (mut disk, mut steps) = (Disk::new(), 0);
        while !disk.is_done() {
            disk.step(&mut slice, ReadLoad::NoReads);
            steps += usize::from(disk.scan.pieces_left > 0);
        }
        // Each of the 128 tables that is not swept has 3,584 cells.
        assert!((20..=60).contains(&steps), "{steps} steps");
        assert!(canonical_form(disk.recovered().0.book.user(0)) == own);
    }

    #[test]
    fn what_is_set_aside_for_a_snapshot_is_dropped_when_it_ends_or_is_given_up() {
        let mut slice = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
        let mut n = 0;
        let mut grow = |slice: &mut Slice, count| {
            for _ in 0..count {
                n += 1;
                post(slice, (LARGE, n), "topup", Millis(START_MS + n as u64));
            }
        };
        grow(&mut slice, 64 * 4_000);
        // Bytes of the ledger once what is set aside is dropped, and before.
        let plain = |slice: &Slice| copy(slice).book.bytes();
        let until_pieces = |slice: &mut Slice| {
            let mut disk = Disk::new();
            while disk.scan.pieces_left == 0 {
                disk.step(slice, ReadLoad::NoReads);
            }
            disk
        };
        let mut disk = until_pieces(&mut slice);
        grow(&mut slice, 64 * 10);
        assert!(slice.book.bytes() > plain(&slice) + (1 << 20), "tables are set aside");
        while !disk.is_done() {
            disk.step(&mut slice, ReadLoad::NoReads);
        }
        assert_eq!(slice.book.bytes(), plain(&slice), "after the end");
        // A failed write.
        let mut disk = until_pieces(&mut slice);
        grow(&mut slice, 64 * 10);
        disk.scan.in_flight += 1;
        disk.scan.written(Framing::block(), false);
        disk.step(&mut slice, ReadLoad::NoReads);
        assert_eq!(disk.scan.progress(), Err(SnapshotFailed));
        assert_eq!(slice.book.bytes(), plain(&slice), "after a failure");
    }

    #[test]
    fn a_drain_drops_what_is_set_aside() {
        let mut slice = Slice::new(usize::MAX, crate::ledger::secret::Secret::default());
        let mut log_bytes = 0;
        let segments = Segments::DISK;
        let manifest = SliceManifest { snapshot: 0, snapshot_end: 0, first: 1, last: 1 };
        let tail = Tail { segment: 1, offset: frame::ALIGN as u64, crc: 0, position: 0 };
        let found = Recovered {
            manifest,
            segments: vec![(1, segments.first_bytes)],
            tail,
            snapshot_bytes: 0,
            log_bytes: 2 << 20,
        };
        let settings = Settings { place: PLACE, snapshot_after_bytes: 1 << 20, segments };
        let mut store = Store::new(settings, found);
        for n in 0..64 * 4_000 {
            post(&mut slice, (LARGE, n), "topup", Millis(START_MS + n as u64));
        }
        let plain = slice.book.bytes();
        let mut turn = |store: &mut Store, slice: &mut Slice, now_ms| {
            let mut tasks = Vec::new();
            let turn = TurnInput { now_ms, read_load: ReadLoad::Reads, is_log_awaited: true };
            store.advance(turn, slice, &mut |task| tasks.push(task));
            for task in tasks {
                let done = match task {
                    Task::Create { snapshot } => {
                        Done::Created { snapshot, buffers: Some(Vec::new()) }
                    }
                    Task::Write { file, block, .. } => {
                        log_bytes += block.bytes().len();
                        Done::Written { file, block, ok: true }
                    }
                    Task::Prepare { segment, .. } => Done::Prepared { segment, salt: Some(1) },
                    other => unreachable!("{other:?}"),
                };
                store.done(now_ms, done, &mut |_| {});
            }
        };
        for now_ms in 0..20 {
            turn(&mut store, &mut slice, now_ms);
        }
        for n in 0..64 * 10 {
            post(&mut slice, (LARGE, 1 << 64 | n), "topup", Millis(START_MS + 64 * 4_000));
        }
        assert!(slice.book.bytes() > plain + (1 << 20), "tables are set aside");
        store.drain();
        turn(&mut store, &mut slice, 21);
        assert_eq!(slice.book.bytes(), copy(&slice).book.bytes());
    }

    #[test]
    fn kinds_are_written_in_bounded_frames_as_of_the_end_of_the_users() {
        let name = |n: usize| format!("a_kind_with_a_name_of_32_{n:07}");
        for read_load in [ReadLoad::NoReads, ReadLoad::Reads] {
            let (mut slice, mut disk, mut kinds) =
                (Slice::new(usize::MAX, crate::ledger::secret::Secret::default()), Disk::new(), 0);
            let mut post_new = |slice: &mut Slice| {
                let user = kinds as u64 / 200;
                kinds += 1;
                post(slice, (user, kinds as u128), &name(kinds), Millis(START_MS))
            };
            for _ in 0..20_000 {
                assert_eq!(post_new(&mut slice), Verdict::Accepted);
            }
            let mut expected = 0;
            while !disk.is_done() {
                let before = disk.scan.bytes();
                disk.step(&mut slice, read_load);
                let bytes = (disk.scan.bytes() - before) as usize;
                assert!(bytes <= FULL_FRAME_BYTES + 2 * frame::ALIGN, "a step of {bytes} bytes");
                if let (Stage::Kinds(kinds), 0) = (disk.scan.stage, expected) {
                    expected = kinds;
                    assert_eq!(slice.book.names().len(), kinds);
                }
                // New kinds arrive throughout, in new users too.
                assert_eq!(post_new(&mut slice), Verdict::Accepted);
            }
            let frames = disk.frames();
            let mut by_kind = BTreeMap::<u32, Vec<usize>>::new();
            for (kind, payload) in frames {
                by_kind.entry(kind as u32).or_default().push(payload.len());
            }
            let kinds = &by_kind[&(Kind::Kinds as u32)];
            assert!(kinds.len() >= 10, "{kinds:?}");
            assert!(by_kind.values().flatten().all(|&bytes| bytes < FULL_FRAME_BYTES + 16_384));
            assert_eq!(by_kind[&(Kind::End as u32)], [40]);
            let (loaded, most) = disk.recovered();
            assert!(most as usize <= (256 << 10) + 2 * FULL_FRAME_BYTES, "{most} bytes");
            assert!(expected >= 20_000 && expected < slice.book.names().len());
            assert!(loaded.book.names().iter().eq(slice.book.names().iter().take(expected)));
        }
    }

    #[test]
    fn a_slice_without_users_or_kinds_has_a_snapshot_of_two_frames() {
        let (mut slice, mut disk) =
            (Slice::new(usize::MAX, crate::ledger::secret::Secret::default()), Disk::new());
        while !disk.is_done() {
            disk.step(&mut slice, ReadLoad::NoReads);
        }
        let kinds: Vec<_> = disk.frames().iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Snapshot, Kind::End]);
        assert_eq!(disk.recovered().0.book.users(), 0);
    }
}
