//! Fuzzes data read from a disk, with valid checksums: records, user images, manifests and whole
//! recoveries.
//!
//! Reading never panics. Data has exactly one encoding, so writing what was read gives the same
//! bytes. A recovered slice answers every read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purser::journal::frame::{FrameBuffer, Kind, NO_SALT};
use purser::journal::segment::{self, Header};
use purser::journal::snapshot::{Begin, End, Kinds};
use purser::journal::{File, Place, manifest, record};
use purser::ledger::id::UserId;
use purser::ledger::secret::Secret;
use purser::ledger::time::{Millis, Window};
use purser::ledger::user::{RowSource, Stat, StatsQuery, User};
use purser::slice::Slice;
use purser::slice::recovery::Recovery;
use purser::slice::source::{self, Error, Source};
use std::collections::BTreeMap;
use std::convert::Infallible;

const PLACE: Place = Place { generation: 1, slice: 0, file: 0 };
const SALT: u64 = 1;

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, bytes)) = bytes.split_first() else { return };
    match what % 4 {
        0 => records(bytes),
        1 => image(bytes),
        2 => manifests(bytes),
        _ => recovery(bytes),
    }
});

fn records(bytes: &[u8]) {
    let (mut rest, mut again) = (bytes, Vec::new());
    while let Some((entry, version)) = record::decode(&mut rest) {
        record::write(&mut again, &entry, version);
        assert_eq!(again[..], bytes[..bytes.len() - rest.len()], "a record has one encoding");
    }
}

fn image(bytes: &[u8]) {
    let Ok((loaded, used)) = User::load(bytes, 8, Secret::default()) else { return };
    let mut again = Vec::new();
    loaded.user.store(loaded.id, &mut again);
    let has_pieces = bytes[3] >> 7 == 1;
    assert!(has_pieces || again[..] == bytes[..used], "an image has one encoding");
    let (other, _) = User::load(&again, 8, Secret::default()).expect("a stored user loads");
    assert_eq!(loaded.id, other.id);
    let canonical = [&loaded.user, &other.user].map(|user| {
        let mut form = Vec::new();
        user.write_canonical(&mut form);
        form
    });
    assert_eq!(canonical[0], canonical[1], "a user is loaded as stored");
}

fn manifests(bytes: &[u8]) {
    if let Ok(directory) = manifest::DataManifest::decode(bytes) {
        assert_eq!(directory.write().as_bytes(), bytes);
    }
    if let Ok(slice) = manifest::SliceManifest::decode(bytes, PLACE) {
        assert_eq!(slice.write(PLACE).as_bytes(), bytes);
    }
    if let Some(header) = Header::decode(bytes) {
        let mut again = Vec::new();
        header.write(&mut again);
        assert_eq!(Header::decode(&again), Some(header));
    }
    if let Some(end) = End::decode(bytes) {
        let mut again = Vec::new();
        end.write(&mut again);
        assert_eq!(again, bytes);
    }
    if let Some(kinds) = Kinds::decode(bytes) {
        let mut again = Vec::new();
        kinds.iter().for_each(|kind| Kinds::write(&mut again, kind));
        assert_eq!(again, bytes);
    }
}

/// Recovers a snapshot with the first half of the bytes as users, in one or two frames, and a log
/// with the second half as records.
fn recovery(bytes: &[u8]) {
    let (users, records) = bytes.split_at(bytes.len() / 2);
    let kinds = ["topup", "gift", "a", "b2"];
    let mut files = Files::default();
    let entries = [users.first().copied().unwrap_or(0), 0];
    let snapshot = File::Snapshot(1);
    files.frame(snapshot, Kind::Snapshot, 0, |out| Begin { segment: 1 }.write(out));
    // The second byte is where the first frame ends.
    let (split, images) =
        users.get(1..).unwrap_or_default().split_at_checked(1).unwrap_or_default();
    let split = usize::from(split.first().copied().unwrap_or(0)).min(images.len());
    files.frame(snapshot, Kind::Users, 1, |out| out.extend_from_slice(&images[..split]));
    files.frame(snapshot, Kind::Users, 2, |out| out.extend_from_slice(&images[split..]));
    let kinds_at = files.0[&snapshot].len() as u64;
    files.frame(snapshot, Kind::Kinds, 3, |out| {
        kinds.iter().for_each(|kind| Kinds::write(out, kind))
    });
    let snapshot_end = files.0[&snapshot].len() as u64;
    let (users, entries) = (u64::from(entries[0] % 4), u64::from(entries[0] / 4));
    let end = End { users, entries, position: 0, kinds: kinds.len() as u64, kinds_at };
    files.frame(snapshot, Kind::End, 4, |out| end.write(out));
    let header = Header { capacity: 1 << 20, before: None::<segment::End>, salt: SALT };
    files.frame(File::Segment(1), Kind::Segment, 0, |out| header.write(out));
    files.frame(File::Segment(1), Kind::Write, 1, |out| out.extend_from_slice(records));
    for manifest in [
        manifest::SliceManifest { snapshot: 0, snapshot_end: 0, first: 1, last: 1 },
        manifest::SliceManifest { snapshot: 1, snapshot_end, first: 1, last: 1 },
    ] {
        let mut slice = Slice::new(usize::MAX, Secret::default());
        let mut recovery = Recovery::new(PLACE, 1, manifest);
        loop {
            match source::step(&mut recovery, &mut slice, &mut files) {
                Ok(false) => {}
                Ok(true) => break look(&slice),
                Err(Error::Fault(_)) => break,
                Err(Error::Disk(never)) => match never {},
            }
        }
    }
}

/// Reads everything that a slice can answer.
fn look(slice: &Slice) {
    for slot in 0..slice.book().users() as u32 {
        let id: UserId<'_> = slice.book().id(slot);
        let (_, view) = slice.view(id);
        let view = view.expect("every user is found");
        view.user.visit_balances(|balance| assert!(balance.available() <= balance.posted));
        for window in [Window::Lifetime, Window::Last(900_000), Window::Last(400 * 86_400_000)] {
            let query = StatsQuery { window, currency: None, kind: None };
            let range = view.user.range(window, view.user.as_of());
            let rows = &mut RowSource::Now { bytes_left: usize::MAX };
            let is_counted = |stat: Stat<'_>| assert!(stat.tally.count > 0);
            view.user.visit_stats(view.names, &query, range, rows, is_counted);
            let range = view.user.range(window, Millis(0));
            let rows = &mut RowSource::Now { bytes_left: usize::MAX };
            view.user.visit_stats(view.names, &query, range, rows, |_| {});
        }
    }
}

#[derive(Default)]
struct Files(BTreeMap<File, Vec<u8>>);

impl Files {
    fn frame(&mut self, file: File, kind: Kind, number: u64, payload: impl FnOnce(&mut Vec<u8>)) {
        let mut block = FrameBuffer::with_capacity(64);
        payload(block.payload());
        let salt = if kind == Kind::Write { SALT } else { NO_SALT };
        block.seal(kind, Place { file: file.number(), ..PLACE }, salt, number);
        self.0.entry(file).or_default().extend_from_slice(block.bytes());
    }
}

impl Source for Files {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        Ok(self.0.get(&file).map(|bytes| bytes.len() as u64))
    }

    fn read(
        &mut self,
        file: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Infallible> {
        let all = &self.0[&file];
        let from = all.len().min(offset as usize);
        into.clear();
        into.extend_from_slice(&all[from..all.len().min(from + bytes)]);
        Ok(())
    }
}
