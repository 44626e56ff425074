//! Check of one slice: recovery, then every user once more.
//!
//! Recovery reads every frame that the manifests name, with its checksum and its place in the
//! sequence, and what follows a torn write. It loads every user, who must keep the ledger's
//! invariants. Then each user, in the state that the log has left, is written and read back once
//! more, and the figures must agree.

use super::super::Error;
use super::super::progress::ProgressMeter;
use super::faults;
use crate::engine::directory::SliceDirectory;
use crate::engine::files::Files;
use crate::engine::random;
use crate::ledger::book::Book;
use crate::ledger::image::Loaded;
use crate::ledger::index::UserSlot;
use crate::ledger::time::Millis;
use crate::ledger::user::User;
use crate::slice::Slice;
use crate::slice::recovery::{Recovery, Report};
use crate::slice::source;
use crate::slice::store::Recovered;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A slice without faults.
pub struct Checked {
    /// Its users.
    pub slice: Slice,
    /// Its files.
    pub found: Recovered,
    /// What recovery read.
    pub report: Report,
    /// Summary of its users.
    pub summary: Summary,
    /// Path of its directory.
    pub path: PathBuf,
}

/// Summary of a slice's users.
#[derive(Debug, Default)]
pub struct Summary {
    /// Sum of the users' versions: entries that were accepted.
    versions: u64,
    /// The least and the greatest booking time among the users' latest entries.
    pub times: Option<(Millis, Millis)>,
    /// Every currency that a user has.
    pub currencies: BTreeSet<String>,
}

/// Totals of all slices.
#[derive(Debug, Default)]
pub struct Total {
    /// Users.
    pub users: u64,
    /// Entries.
    pub entries: u64,
}

impl Total {
    /// Adds a slice.
    pub fn add(&mut self, checked: &Checked) {
        let book = checked.slice.book();
        self.users += book.users() as u64;
        self.entries += book.entries();
    }
}

/// Recovers a slice, without a change of its files.
pub fn recovered(directory: &SliceDirectory) -> Result<(Slice, Report, Recovered), Error> {
    let manifest = directory.manifest().map_err(faults::judged)?;
    let faulty = |error| faults::of_recovery(directory, error);
    let mut slice = Slice::new(usize::MAX, random::secret()?);
    let mut files = Files::new(directory.clone());
    let mut recovery = Recovery::new(directory.place, directory.slices, manifest);
    source::measure(&mut recovery, &mut files).map_err(faulty)?;
    let mut progress = ProgressMeter::new("reading");
    while !source::step(&mut recovery, &mut slice, &mut files).map_err(faulty)? {
        progress.at(recovery.report().bytes, recovery.report().bytes_total);
    }
    Ok((slice, *recovery.report(), recovery.finish()))
}

/// Recovers and checks a slice.
pub fn check(directory: &SliceDirectory) -> Result<Checked, Error> {
    let (slice, report, found) = recovered(directory)?;
    let book = slice.book();
    let summary = Summary::of(book).and_then(|summary| {
        agree(summary.versions, book.entries(), report.snapshot_entries + report.replayed)?;
        Ok(summary)
    });
    let summary =
        summary.map_err(|what| Error::Fault(format!("{}: {what}", directory.path.display())))?;
    Ok(Checked { slice, found, report, summary, path: directory.path.clone() })
}

/// Checks that users, book and files count the same entries.
fn agree(versions: u64, booked: u64, read: u64) -> Result<(), String> {
    if versions == booked && versions == read {
        return Ok(());
    }
    Err(format!(
        "entry counts differ: {versions} by users' versions, {booked} in the ledger, \
         {read} read from the files"
    ))
}

impl Summary {
    /// Checks and summarises every user.
    fn of(book: &Book) -> Result<Self, String> {
        let (mut summary, mut image, mut again) = (Self::default(), Vec::new(), Vec::new());
        let mut progress = ProgressMeter::new("checking users");
        for slot in 0..book.users() as UserSlot {
            check_user(book, slot, &mut image, &mut again)?;
            summary.count(book.user(slot));
            progress.at(slot.into(), book.users() as u64);
        }
        Ok(summary)
    }

    fn count(&mut self, user: &User) {
        self.versions += user.version();
        let (least, most) = self.times.unwrap_or((user.as_of(), user.as_of()));
        self.times = Some((least.min(user.as_of()), most.max(user.as_of())));
        user.visit_balances(|balance| {
            let name = balance.currency.as_bytes();
            let name = std::str::from_utf8(name).expect("a currency is ASCII");
            if !self.currencies.contains(name) {
                self.currencies.insert(name.to_owned());
            }
        });
    }
}

/// Checks that a user is read back as written, and found by their id. The buffers are overwritten.
fn check_user(
    book: &Book,
    slot: UserSlot,
    image: &mut Vec<u8>,
    again: &mut Vec<u8>,
) -> Result<(), String> {
    let user = book.user(slot);
    let id = book.id(slot);
    image.clear();
    again.clear();
    user.store(id, image);
    let names = book.names();
    let (Loaded { user: loaded, id: loaded_id }, bytes) =
        User::load(image, names.len() as u32, names.secret())
            .map_err(|error| format!("user {id}: {error}"))?;
    let is_whole = bytes == image.len() && loaded_id == id;
    image.clear();
    user.write_canonical(image);
    loaded.write_canonical(again);
    if !is_whole || again != image {
        return Err(format!("user {id} does not read back as written"));
    }
    if book.find(id) != Some(slot) {
        return Err(format!("user {id} is missing from the index"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_users_book_and_files_must_agree() {
        assert_eq!(agree(5, 5, 5), Ok(()));
        for (versions, booked, read) in [(4, 5, 5), (5, 4, 5), (5, 5, 4)] {
            assert!(agree(versions, booked, read).is_err(), "{versions} {booked} {read}");
        }
    }
}
