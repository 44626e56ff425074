//! `purser verify`: reads a whole data directory as a start would, checks what a start trusts, and says what is there.
//!
//! Recovery reads every frame that the manifests name, with its checksum and its place in line, and what lies behind a torn write; it loads
//! every user, who must keep the ledger's invariants. Here each user is then written and read once more as the log has left them, and the
//! figures must agree.

use super::Error;
use super::progress::{Progress, count, many, print};
use crate::engine::directory::{self, Directory, SliceDirectory};
use crate::engine::files::Files;
use crate::journal::manifest::{self, Unusable};
use crate::journal::{Fault, File, slice_directory};
use crate::ledger::book::Book;
use crate::ledger::index::Slot;
use crate::ledger::time::Millis;
use crate::ledger::user::User;
use crate::slice::Slice;
use crate::slice::recovery::{Recovery, Report};
use crate::slice::source;
use crate::slice::store::Found;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The name of both kinds of manifest, and of the file by which a directory is locked.
const MANIFEST: &str = "manifest";
const LOCK: &str = "lock";

/// The flags of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS, after_help = EXITS)]
pub struct Arguments {
    /// Directory to check; no server may be using it
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data")]
    data: PathBuf,
}

const EXITS: &str = "\
Exit codes: 0 sound, 3 a fault was found (its file and offset are printed),
            1 it could not be checked (in use, not there, not readable, of another version), 2 the command line cannot be used";

/// Checks.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let start = Instant::now();
    let path = &arguments.data;
    let directory = open(path)?;
    let manifest::Directory { generation, slices } = *directory.manifest();
    print(&format!("{}: generation {generation}, {}\n", path.display(), many(slices.into(), "slice", "slices")));
    let unnamed = directory.unnamed().map_err(judged)?;
    let mut notes: Vec<_> =
        unnamed.iter().map(|path| format!("{} is not in use; the next start removes it", path.display())).collect();
    let mut all = (0, 0);
    let mut expected = BTreeSet::from([LOCK.to_owned(), MANIFEST.to_owned(), format!("generation-{generation}")]);
    for slice in 0..slices {
        let at = directory.slice(slice);
        expected.insert(slice_directory(generation, slice));
        let checked = check(&at)?;
        print(&checked.in_words(slice));
        let book = checked.slice.book();
        all = (all.0 + book.users() as u64, all.1 + book.entries());
        notes.extend(checked.note());
        strays(&at, &checked.found.manifest, &mut notes)?;
    }
    if slices > 1 {
        print(&format!("all slices\n  users       {}\n  entries     {}\n", count(all.0), count(all.1)));
    }
    for (below, name) in ["", &format!("generation-{generation}/")].into_iter().flat_map(|below| names(path, below)) {
        let is_known = expected.contains(&format!("{below}{name}")) || unnamed.contains(&path.join(&name));
        if !is_known {
            notes.push(format!("{} is no part of the data", path.join(below).join(name).display()));
        }
    }
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    print(&format!("{notes}sound; checked in {:.1} s\n", start.elapsed().as_secs_f64()));
    Ok(())
}

/// A fault, with the whole path of its file.
pub(super) fn located(directory: &SliceDirectory, fault: &Fault) -> String {
    format!("{} at byte {}: {}", directory.path.join(&fault.file).display(), fault.offset, fault.what)
}

/// Opens the directory. What a manifest lacks is a fault; what keeps it from being looked at is not.
fn open(path: &Path) -> Result<Directory, Error> {
    fs::read_dir(path).map_err(|error| Error::Failed(format!("cannot open {}: {error}", path.display())))?;
    if !path.join(MANIFEST).exists() && !has_files_of_slices(path) {
        return Err(Error::Failed(format!("{} is not a data directory: it has no manifest", path.display())));
    }
    Directory::open(path).map_err(judged)
}

/// Whether files are there that a manifest once named.
fn has_files_of_slices(path: &Path) -> bool {
    names(path, "").iter().any(|(_, generation)| {
        let below = format!("{generation}/");
        generation.starts_with("generation-")
            && names(path, &below).iter().any(|(_, slice)| {
                names(path, &format!("{below}{slice}/")).iter().any(|(_, name)| File::parse(name).is_some())
            })
    })
}

/// Names in a directory below `path`, each with that directory. One that cannot be listed has none.
fn names<'b>(path: &Path, below: &'b str) -> Vec<(&'b str, String)> {
    let entries = fs::read_dir(path.join(below)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| (below, entry.file_name().to_string_lossy().into_owned())).collect();
    names.sort_unstable();
    names
}

fn judged(error: directory::Error) -> Error {
    match &error {
        directory::Error::Failed(_)
        | directory::Error::InUse(_)
        | directory::Error::NotOurs(_)
        | directory::Error::Stopped(_) => error.into(),
        // The text of another version need not have the form of ours; but one whose seal is broken was damaged.
        directory::Error::Manifest(path, Unusable::Version(_) | Unusable::Hash(_)) if is_sealed(path) => error.into(),
        directory::Error::Manifest(path, Unusable::Elsewhere(generation, slice)) => Error::Fault(format!(
            "{} at byte 0: it is that of slice {slice} of generation {generation}",
            path.display()
        )),
        directory::Error::Manifest(path, Unusable::Older(generation)) => Error::Fault(format!(
            "{} at byte 0: it is an older manifest: generation {generation} came after it, and is there",
            path.display()
        )),
        directory::Error::Manifest(path, _) => Error::Fault(format!(
            "{} at byte 0: this is not a whole manifest: it was changed or damaged",
            path.display()
        )),
        directory::Error::Missing(path) => Error::Fault(format!("{} at byte 0: it is missing", path.display())),
    }
}

fn is_sealed(path: &Path) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let Some(text) = std::str::from_utf8(&text).ok() else { return false };
    let sealed = |at: usize| text[at..] == format!("crc32c {:08x}\n", crc32c::crc32c(&text.as_bytes()[..at]));
    text.rfind("crc32c ").is_some_and(sealed)
}

/// What was found in a sound slice.
struct Checked {
    slice: Slice,
    found: Found,
    report: Report,
    /// Bytes of the segments.
    segment_bytes: u64,
    /// The least and the greatest booking time of users' latest entries.
    times: Option<(Millis, Millis)>,
    currencies: BTreeSet<String>,
    path: PathBuf,
}

fn check(directory: &SliceDirectory) -> Result<Checked, Error> {
    let manifest = directory.manifest().map_err(judged)?;
    let faulty = |error| match error {
        source::Error::Disk(failure) => Error::from(failure),
        source::Error::Fault(fault) => Error::Fault(located(directory, &fault)),
    };
    let (mut slice, mut files) = (Slice::new(usize::MAX), Files::new(directory.clone()));
    let mut recovery = Recovery::new(directory.place, directory.slices, manifest);
    source::measure(&mut recovery, &mut files).map_err(faulty)?;
    let mut progress = Progress::new("reading");
    while !source::step(&mut recovery, &mut slice, &mut files).map_err(faulty)? {
        progress.at(recovery.report().bytes, recovery.report().bytes_total);
    }
    drop(progress);
    let report = *recovery.report();
    let found = recovery.finish();
    let mut checked = Checked {
        slice,
        segment_bytes: found.segments.iter().map(|&(_, bytes)| bytes).sum(),
        found,
        report,
        times: None,
        currencies: BTreeSet::new(),
        path: directory.path.clone(),
    };
    checked.users().map_err(|what| Error::Fault(format!("{}: {what}", directory.path.display())))?;
    Ok(checked)
}

impl Checked {
    /// Checks each user, as the log has left them, and what they come to.
    fn users(&mut self) -> Result<(), String> {
        let book = self.slice.book();
        let (mut versions, mut image, mut again) = (0, Vec::new(), Vec::new());
        let mut progress = Progress::new("checking users");
        for slot in 0..book.users() as Slot {
            let user = book.user(slot);
            image.clear();
            again.clear();
            user.store(&mut image);
            let (loaded, bytes) = User::load(&image, book.names().len() as u32)
                .map_err(|error| format!("user {} breaks an invariant: {error}", user.id().0))?;
            loaded.store(&mut again);
            if bytes != image.len() || again != image {
                return Err(format!("user {} is not read as they are written", user.id().0));
            }
            if book.find(user.id()) != Some(slot) {
                return Err(format!("user {} is not found by their id", user.id().0));
            }
            versions += user.version();
            let (least, most) = self.times.unwrap_or((user.as_of(), user.as_of()));
            self.times = Some((least.min(user.as_of()), most.max(user.as_of())));
            user.visit_balances(|balance| {
                let name = balance.currency.as_bytes();
                let name = std::str::from_utf8(name).expect("a currency is ASCII");
                if !self.currencies.contains(name) {
                    self.currencies.insert(name.to_owned());
                }
            });
            progress.at(slot.into(), book.users() as u64);
        }
        self.figures(book, versions)
    }

    fn figures(&self, book: &Book, versions: u64) -> Result<(), String> {
        let booked = self.report.snapshot_entries + self.report.replayed;
        if versions == book.entries() && versions == booked {
            return Ok(());
        }
        Err(format!(
            "users' versions come to {versions}, the book counts {} entries, and {booked} were read",
            book.entries()
        ))
    }

    fn in_words(&self, number: u32) -> String {
        let Self { found, report, .. } = self;
        let book = self.slice.book();
        let mut lines = vec![
            format!("users       {}", count(book.users() as u64)),
            format!("entries     {}", count(book.entries())),
        ];
        lines.push(match found.manifest.snapshot {
            0 => "snapshot    none".to_owned(),
            snapshot => format!(
                "snapshot    {}: {} bytes, {}, {}",
                File::Snapshot(snapshot),
                count(found.snapshot_bytes),
                many(report.users, "user", "users"),
                many(report.snapshot_entries, "entry", "entries"),
            ),
        });
        lines.push(match found.manifest.first {
            0 => "log         none".to_owned(),
            first => format!(
                "log         {} to {}: {} bytes, {} of them writes behind the snapshot; {} beyond it, {} that it holds; position {}",
                File::Segment(first),
                File::Segment(found.manifest.last),
                count(self.segment_bytes),
                count(found.log_bytes),
                many(report.replayed, "entry", "entries"),
                count(report.known),
                found.tail.position,
            ),
        });
        if let Some((oldest, newest)) = self.times {
            let time = |at: Millis| format!("{} ({} ms)", rfc3339(at), at.0);
            lines.push(format!("oldest      {}: the user whose latest entry is the oldest", time(oldest)));
            lines.push(format!("newest      {}", time(newest)));
        }
        let list = |words: Vec<&str>| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
        lines.push(format!("kinds       {}", list(book.names().iter().collect())));
        lines.push(format!("currencies  {}", list(self.currencies.iter().map(String::as_str).collect())));
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        format!("slice {number}\n{lines}")
    }

    fn note(&self) -> Option<String> {
        let (segment, offset) = self.report.cut?;
        let file = self.path.join(File::Segment(segment).to_string());
        Some(format!(
            "{} at byte {offset}: an unfinished write, which nobody was told was done; the next start leaves it out",
            file.display()
        ))
    }
}

/// Notes files that the manifest does not name. One that no crash leaves behind is a fault.
fn strays(directory: &SliceDirectory, manifest: &manifest::Slice, notes: &mut Vec<String>) -> Result<(), Error> {
    fs::read_dir(&directory.path)
        .map_err(|error| Error::Failed(format!("cannot list {}: {error}", directory.path.display())))?;
    for (_, name) in names(&directory.path, "") {
        let file = directory.path.join(&name);
        let file = file.display();
        match File::parse(&name) {
            Some(named) => {
                if !manifest.names(named).map_err(|fault| Error::Fault(located(directory, &fault)))? {
                    notes.push(format!("{file} is not in use; the next start removes it"));
                }
            }
            None if name == MANIFEST => {}
            None if name.ends_with(".new") => {
                notes.push(format!("{file} was never finished; the next start removes it"))
            }
            None => notes.push(format!("{file} is no part of the data")),
        }
    }
    Ok(())
}

/// `2025-11-23T12:13:20.000Z`. Days to dates: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn rfc3339(at: Millis) -> String {
    let (days, ms) = (at.0 / 86_400_000 + 719_468, at.0 % 86_400_000);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let (month, next) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    let year = era * 400 + year_of_era + next;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::time::LAST_MS;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_763_900_000_000, "2025-11-23T12:13:20.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Millis(ms)), text);
        }
    }
}
