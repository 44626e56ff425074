//! Another number of slices: all users are written once more, into a new generation, before a start.
//!
//! 1. What an attempt before this one left is removed.
//! 2. Each slice of the old generation is recovered as a start recovers it, one after the other, and nothing of it is changed. Its users go to
//!    the snapshots of the new slices, all of which are open meanwhile; then it is dropped. So the memory that this takes is that of
//!    the largest old slice, and two mebibytes for each new one.
//! 3. The new generation is brought to stable storage, then the directory's manifest names it: that is the moment of the change.
//! 4. The old generation is removed.
//!
//! Killed in 2 or before, the old generation counts, and whatever there is of the new one is removed by the next start; killed later, the new one
//! counts, and the old one is removed. The directory stays locked from one end to the other.
//!
//! **Errors.** A fault in an old file, and whatever the operating system says; the new generation is removed again, if that can be done, and the
//! data is what it was. Progress is in bytes of the old files.

use super::directory::{self, Directory, Error, SliceDirectory};
use super::files::Files;
use super::snapshot::Snapshot;
use super::{Failure, arena};
use crate::journal::{generation_directory, manifest};
use crate::ledger::index::Room;
use crate::ledger::memory::Step;
use crate::ledger::names::Names;
use crate::ledger::user::User;
use crate::slice::Slice;
use crate::slice::recovery::Recovery;
use crate::slice::source;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Users that are written between two looks at the progress.
const USERS_PER_LOOK: u32 = 1_024;
/// Prefetch distance, in users: a user's parts; what hangs on these, half of it.
const AHEAD: u32 = 8;
/// The number of each new slice's snapshot.
const SNAPSHOT: u64 = 1;
/// The segment from which the log is replayed over it: the first, once there is one.
const SEGMENT: u64 = 1;

/// Hears how far it has come, in bytes of so many. Returns whether to go on.
pub type Look<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Removes the generations that nothing names. If the one that is named is not there, or another came after it, nothing is removed: then
/// there may be nothing else left.
pub fn remove_unnamed(directory: &Directory) -> Result<(), Error> {
    let unnamed = directory.unnamed()?;
    if unnamed.is_empty() {
        return Ok(());
    }
    old_slices(directory)?;
    // A process that was killed may have left the manifest's new name on its way.
    directory::sync(directory.path())?;
    for generation in unnamed {
        directory::remove(&generation)?;
    }
    // Gone for good, before there may be another of the same name.
    Ok(directory::sync(directory.path())?)
}

/// Gives the directory so many slices, at least one; if it has them already, only what nothing names is removed. `look` hears how far it has come; if it
/// says no, the data stays as it is ([`Error::Stopped`]).
pub fn repartition(mut directory: Directory, slices: u32, look: Look<'_>) -> Result<Directory, Error> {
    assert!(slices > 0, "each user has a slice");
    remove_unnamed(&directory)?;
    if directory.manifest().slices == slices {
        return Ok(directory);
    }
    let olds = old_slices(&directory)?;
    let bytes = olds.iter().map(Old::bytes_total).sum();
    let mut progress = Progress { path: directory.path().to_owned(), passed: 0, bytes, look };
    let generation = directory.next_generation()?;
    let manifest = manifest::Directory { generation, slices };
    let unfinished = Unfinished::begin(&directory, generation)?;
    let news = (0..slices).map(|slice| New::begin(directory.slice_by(&manifest, slice)));
    let mut news = news.collect::<Result<Vec<_>, _>>()?;
    deal_all(olds, &mut news, &mut progress)?;
    for new in news {
        new.finish()?;
        progress.at(0)?;
    }
    directory::sync(&unfinished.path())?;
    directory::sync(directory.path())?;
    progress.at(0)?;
    directory.publish(manifest)?;
    drop(unfinished);
    // It is too late to stop.
    _ = progress.at(0);
    remove_unnamed(&directory)?;
    Ok(directory)
}

/// Loads one old slice after the other, and deals its users out to the new ones.
fn deal_all(olds: Vec<Old>, news: &mut [New], progress: &mut Progress<'_>) -> Result<(), Error> {
    let mut counted = (0, 0);
    for old in olds {
        let bytes = old.bytes_total();
        let slice = old.load(progress)?;
        deal(&slice, news, bytes, progress)?;
        counted = (counted.0 + slice.book().users() as u64, counted.1 + slice.book().entries());
        progress.passed += bytes;
        drop(slice);
        arena::give_back();
    }
    let add = |(users, entries), New { snapshot, .. }: &New| (users + snapshot.users(), entries + snapshot.entries());
    let written = news.iter().fold((0, 0), add);
    assert!(written == counted, "every user was written once: {written:?} of {counted:?} users and entries");
    Ok(())
}

/// Deals a slice's users, and `bytes`/2 of progress, out to the new slices.
fn deal(slice: &Slice, news: &mut [New], bytes: u64, progress: &mut Progress<'_>) -> Result<(), Error> {
    let (book, slices) = (slice.book(), news.len() as u32);
    let users = book.users() as u32;
    for slot in 0..users {
        for (ahead, step) in [(AHEAD, Step::Parts), (AHEAD / 2, Step::Deep)] {
            if slot + ahead < users {
                book.prefetch_slot(slot + ahead, step);
            }
        }
        let user = book.user(slot);
        news[user.id().slice(slices) as usize].add(user, book.names())?;
        if slot.is_multiple_of(USERS_PER_LOOK) {
            progress.at(bytes / 2 + bytes / 2 * u64::from(slot) / u64::from(users))?;
        }
    }
    Ok(())
}

/// How far it has come.
struct Progress<'a> {
    path: PathBuf,
    /// Bytes of the old slices that are done.
    passed: u64,
    /// Of all.
    bytes: u64,
    look: Look<'a>,
}

impl Progress<'_> {
    /// So many bytes of the old slice at hand: its first half is passed when it is loaded, the second when it is written.
    fn at(&mut self, bytes: u64) -> Result<(), Error> {
        if (self.look)(self.passed + bytes, self.bytes) { Ok(()) } else { Err(Error::Stopped(self.path.clone())) }
    }
}

/// A slice of the old generation.
struct Old {
    directory: SliceDirectory,
    manifest: manifest::Slice,
    recovery: Recovery,
    files: Files,
}

/// The slices that the manifest names, each of whose files is there.
fn old_slices(directory: &Directory) -> Result<Vec<Old>, Error> {
    (0..directory.manifest().slices).map(|slice| Old::look_at(directory.slice(slice))).collect()
}

impl Old {
    fn look_at(directory: SliceDirectory) -> Result<Self, Error> {
        let manifest = directory.manifest()?;
        let mut files = Files::new(directory.clone());
        let mut recovery = Recovery::new(directory.place, directory.slices, manifest);
        source::measure(&mut recovery, &mut files).map_err(|error| failure(&directory, error))?;
        Ok(Self { directory, manifest, recovery, files })
    }

    fn bytes_total(&self) -> u64 {
        self.recovery.report().bytes_total
    }

    /// Loads it, as a start does.
    fn load(mut self, progress: &mut Progress<'_>) -> Result<Slice, Error> {
        let mut slice = Slice::new(usize::MAX);
        let failed = |error| failure(&self.directory, error);
        while !source::step(&mut self.recovery, &mut slice, &mut self.files).map_err(failed)? {
            progress.at(self.recovery.report().bytes / 2)?;
        }
        // They stay, but a start would refuse those that no crash leaves.
        self.directory.unnamed(&self.manifest)?;
        Ok(slice)
    }
}

/// A slice of the new generation.
struct New {
    directory: SliceDirectory,
    snapshot: Snapshot,
    names: Names,
    /// For those who can be found there.
    room: Room,
}

impl New {
    fn begin(directory: SliceDirectory) -> Result<Self, Failure> {
        make(&directory.path)?;
        let snapshot = Snapshot::begin(&directory, SNAPSHOT, SEGMENT)?;
        Ok(Self { directory, snapshot, names: Names::default(), room: Room::default() })
    }

    fn add(&mut self, user: &User, own: &Names) -> Result<(), Failure> {
        if !self.room.take(user.id()) {
            let why =
                format!("there is no room for user {}, whose id was chosen to share its hash with others", user.id().0);
            return Err(Failure::new("fill", self.directory.path.display().to_string(), io::Error::other(why)));
        }
        self.snapshot.add_from(user, own, &mut self.names)
    }

    /// All users were added: brings the slice to stable storage. There is no log, so the snapshot needs none of it.
    fn finish(self) -> Result<(), Failure> {
        let written = self.snapshot.finish(&self.names, 0)?;
        let (snapshot, snapshot_end) = (written.number, written.last_frame);
        let manifest = manifest::Slice { snapshot, snapshot_end, ..manifest::Slice::default() };
        self.directory.publish(&manifest.write(self.directory.place))
    }
}

/// A generation that is being written. In the end it is removed, unless the manifest names it then: as long as it is not known to name another one,
/// everything stays.
struct Unfinished {
    data: PathBuf,
    generation: u64,
}

impl Unfinished {
    fn begin(directory: &Directory, generation: u64) -> Result<Self, Failure> {
        make(&directory.path().join(generation_directory(generation)))?;
        Ok(Self { data: directory.path().to_owned(), generation })
    }

    fn path(&self) -> PathBuf {
        self.data.join(generation_directory(self.generation))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let named = Directory::manifest_at(&self.data);
        if named.is_ok_and(|named| named.generation != self.generation) {
            // If it stays, the next start removes it.
            let _ = directory::remove(&self.path());
        }
    }
}

fn make(path: &Path) -> Result<(), Failure> {
    fs::create_dir(path).map_err(Failure::of("create", path.display().to_string()))
}

/// What keeps a slice from being recovered.
fn failure(directory: &SliceDirectory, error: source::Error<Failure>) -> Failure {
    match error {
        source::Error::Disk(failure) => failure,
        source::Error::Fault(fault) => directory.unloadable(fault),
    }
}
