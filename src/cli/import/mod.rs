//! `purser import`: builds a data directory that `serve` continues with, from a history of entries
//! in any order.
//!
//! Lines are read as the feed reads them ([`input`]), sorted by user and booking time in bounded
//! memory ([`item`], [`sort`]), judged by the ledger ([`judge`]), and written to the snapshots of
//! their slices, one user after the other ([`crate::engine::snapshot`]).
//!
//! All of it is written to a new generation of files ([`crate::engine::generation`]), so it does
//! not matter how many slices an existing directory has. The last step names the generation in the
//! directory's manifest; until then it does not count, so a process that is killed has imported
//! nothing. The next import or start removes the files that it left.

mod input;
mod item;
mod judge;
mod rejected;
mod sort;

use super::progress::ProgressMeter;
use super::text::{count, count_noun, print};
use super::{Error, REJECTED};
use crate::api::entry::{self, LineScratch};
use crate::api::problem::{Code, Problem, blamed_field};
use crate::config::flags::MAX_SLICES;
use crate::engine::Failure;
use crate::engine::directory::Directory;
use crate::engine::files::Files;
use crate::engine::generation::NewGeneration;
use crate::engine::random;
use crate::ledger::entry::Rejection;
use crate::ledger::time::Millis;
use crate::slice::Slice;
use crate::slice::recovery::Recovery;
use crate::slice::source;
use input::{Input, LineRereader, SHOWN_BYTES, STANDARD};
use item::{FILES, Item, Origin};
use judge::{Judge, LineCounts, Written};
use rejected::Rejected;
use sort::{Sorted, Sorter};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Lines, or entries, between two updates of the progress bar.
const SHOW_EVERY: u64 = 4_096;

/// The flags of `import`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS, after_help = EXITS)]
pub struct Arguments {
    /// Files of entries in the format of the feed, one per line, in any order; plain or gzipped;
    /// blank lines are skipped; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,

    /// Directory to import into; it must be new or hold no entries
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data")]
    data: PathBuf,

    /// File for rejected lines, created if there are any [default: DIR.rejected.ndjson]
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,

    /// Number of slices to write [default: those of DIR; 1 if it is new]
    #[arg(
        long,
        value_name = "N",
        env = "PURSER_SLICES",
        value_parser = clap::value_parser!(u32).range(1..=MAX_SLICES)
    )]
    slices: Option<u32>,

    /// Memory for sorting, in MiB; the index of users, the entry ids of one user and 2 MiB per
    /// slice need memory in addition
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    memory_mib: usize,
}

const EXITS: &str = "\
Import the history before feeding live entries: afterwards it would be rejected as too old.
While it runs, sorting needs free disk space in DIR: about half the size of the plain input, \
or one and a half times that size for gzipped or piped input.
A rejected line is written as {\"file\",\"line\",\"entry_id\",\"code\",\"field\",\"detail\",\
\"text\"}; duplicates are counted, not listed.
To start over, remove DIR.

Exit codes: 0 every line was imported, 4 some lines were rejected and all others imported,
            1 nothing was imported, 2 the command line is invalid";

/// The input lines without blank ones, and the file of the rejected ones.
struct Lines {
    files: Vec<String>,
    rereader: LineRereader,
    rejected: Rejected,
    read: u64,
}

/// Runs an import.
pub fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let memory = arguments.memory_mib.checked_mul(1 << 20).filter(|&bytes| bytes > 0);
    let memory = memory.ok_or_else(|| {
        Error::Usage("--memory-mib must be at least 1, and its bytes must fit 64 bits".to_owned())
    })?;
    if arguments.files.iter().filter(|name| *name == STANDARD).count() > 1 {
        return Err(Error::Usage("- (standard input) can be given only once".to_owned()));
    }
    if arguments.files.len() > FILES {
        return Err(Error::Usage(format!("at most {FILES} files can be imported at a time")));
    }
    let size = size(&arguments.files)?;
    let directory = Directory::open_or_create(&arguments.data, arguments.slices.unwrap_or(1))?;
    check_empty(&directory)?;
    let slices = arguments.slices.unwrap_or(directory.manifest().slices);
    let generation = NewGeneration::begin(directory, slices)?;
    let rejected = arguments.rejected.unwrap_or_else(|| rejected_path(&arguments.data));
    let mut lines = Lines {
        files: arguments.files,
        rereader: LineRereader::default(),
        rejected: Rejected::new(rejected),
        read: 0,
    };

    let sorted = lines.sort(Sorter::new(&generation.path(), memory)?, size)?;
    let read_seconds = start.elapsed().as_secs_f64();
    let (runs, passes) = sorted.effort();
    let (written, counts) = lines.judge(sorted, &generation)?;
    lines.rejected.finish()?;
    generation.publish()?;
    let seconds = start.elapsed().as_secs_f64();
    lines.print_summary(written.users, counts);
    #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
    let rate = (lines.read as f64 / seconds.max(1e-6)) as u64;
    print(&format!(
        "{} MiB written in {seconds:.1} s ({read_seconds:.1} s reading the input); \
         {} sorted, {}; {} lines/s\n\
         import complete; start the server with: purser serve --data {}\n",
        written.bytes >> 20,
        count_noun(runs as u64, "run", "runs"),
        count_noun(u64::from(passes) + 1, "merge", "merges"),
        count(rate),
        arguments.data.display(),
    ));
    Ok(if lines.rejected.count() == 0 { ExitCode::SUCCESS } else { ExitCode::from(REJECTED) })
}

/// Total size of the files in bytes, each of which must exist; 0 if one of them has no known size.
fn size(files: &[String]) -> Result<u64, Failure> {
    let mut sum = Some(0);
    for name in files.iter().filter(|name| *name != STANDARD) {
        let metadata = fs::metadata(name).map_err(Failure::of("open", name.as_str()))?;
        sum = sum.filter(|_| metadata.is_file()).map(|sum| sum + metadata.len());
    }
    Ok(sum.filter(|_| files.iter().all(|name| name != STANDARD)).unwrap_or(0))
}

/// Default path of the rejected lines: `DIR.rejected.ndjson`.
fn rejected_path(data: &Path) -> PathBuf {
    // A path that ends with a slash, or with dots, has no name to append to.
    let whole = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let mut name = whole.into_os_string();
    name.push(".rejected.ndjson");
    PathBuf::from(name)
}

/// Recovers each slice of the directory, none of which may hold entries.
fn check_empty(directory: &Directory) -> Result<(), Error> {
    for at in (0..directory.manifest().slices).map(|slice| directory.slice(slice)) {
        let (mut slice, mut files) =
            (Slice::new(usize::MAX, random::secret()?), Files::new(at.clone()));
        let mut recovery = Recovery::new(at.place, at.slices, at.manifest()?);
        let mut is_over = false;
        while !is_over {
            is_over =
                source::step(&mut recovery, &mut slice, &mut files).map_err(
                    |error| match error {
                        source::Error::Disk(failure) => failure.into(),
                        source::Error::Fault(fault) => Error::Failed(at.locate(fault).to_string()),
                    },
                )?;
            if slice.book().users() > 0 {
                return Err(Error::Failed(format!(
                    "{} already holds entries: \
                     import into a new directory, before feeding live entries",
                    directory.path().display()
                )));
            }
        }
    }
    Ok(())
}

impl Lines {
    /// Reads all lines. Skips blank ones, rejects others that are no entries, and sorts the rest.
    fn sort(&mut self, mut sorter: Sorter, size: u64) -> Result<Sorted, Error> {
        let mut progress = ProgressMeter::new("reading");
        let taken = Rc::new(Cell::new(0));
        let (mut line, mut bytes) = (Vec::new(), Vec::new());
        for (file, name) in self.files.iter().enumerate() {
            let mut input = Input::open(name, taken.clone())?;
            let mut number = 0;
            while let Some(read) =
                input.line(&mut line).map_err(|failure| read_failed(failure, number))?
            {
                number += 1;
                if read.is_blank {
                    continue;
                }
                self.read += 1;
                if self.read.is_multiple_of(SHOW_EVERY) {
                    progress.at(input.taken(), size);
                }
                let mut scratch = LineScratch::EMPTY;
                let parsed = if read.is_whole {
                    entry::parse(&line, &mut scratch)
                } else {
                    entry::Line { id_text: b"", entry: Err(Code::LineTooLong.into()) }
                };
                match parsed.entry {
                    Ok(entry) => {
                        let text = if input.can_be_read_again() {
                            &[][..]
                        } else {
                            &line[..line.len().min(SHOWN_BYTES)]
                        };
                        let item = Item {
                            entry,
                            origin: Origin::new(file, number),
                            offset: read.offset,
                            text,
                        };
                        bytes.clear();
                        item.write(&mut bytes);
                        sorter.push(&bytes)?;
                    }
                    Err(problem) => self.rejected.add(&rejected::RejectedLine {
                        file: name,
                        number,
                        entry_id: parsed.id_text,
                        problem,
                        text: &line,
                    })?,
                }
            }
        }
        drop(progress);
        let mut progress = ProgressMeter::new("sorting");
        Ok(sorter.finish(|done, total| progress.at(done, total))?)
    }

    /// Judges all entries and writes the users. When it returns, all slices of the generation are
    /// on stable storage, and the directory's manifest does not name the generation yet.
    fn judge(
        &mut self,
        mut sorted: Sorted,
        generation: &NewGeneration,
    ) -> Result<(Written, LineCounts), Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let mut judge = Judge::new(Millis(now), generation.slices())?;
        let mut progress = ProgressMeter::new("merging");
        let (mut entries, mut bytes, total) = (0u64, 0, sorted.bytes());
        let mut refuse = |item: &Item<'_>, reason| self.refuse(item, reason);
        while let Some(item) = sorted.next()? {
            entries += 1;
            bytes += (item.len() + size_of::<u32>()) as u64;
            if entries.is_multiple_of(SHOW_EVERY) {
                progress.at(bytes, total);
            }
            judge.judge(item, &mut refuse)?;
        }
        judge.finish(&mut refuse)
    }

    /// Rejects an entry that the ledger does not take.
    fn refuse(&mut self, item: &Item<'_>, reason: Rejection) -> Result<(), Error> {
        let file = &self.files[item.origin.file()];
        let again;
        let text = match item.text {
            [] => {
                again = self.rereader.line(file, item.offset)?;
                &again[..]
            }
            text => text,
        };
        let mut scratch = LineScratch::EMPTY;
        let problem = Problem::at(reason.into(), blamed_field(reason));
        self.rejected.add(&rejected::RejectedLine {
            file,
            number: item.origin.line(),
            entry_id: entry::parse(text, &mut scratch).id_text,
            problem,
            text,
        })?;
        Ok(())
    }

    fn print_summary(&self, users: u64, counts: LineCounts) {
        let LineCounts { accepted, duplicates } = counts;
        let rejected = self.rejected.count();
        assert!(accepted + duplicates + rejected == self.read, "every line has one verdict");
        let mut text = format!(
            "{}: {} accepted, {}, {} rejected; {}\n",
            count_noun(self.read, "line", "lines"),
            count(accepted),
            count_noun(duplicates, "duplicate", "duplicates"),
            count(rejected),
            count_noun(users, "user", "users"),
        );
        for (code, lines) in self.rejected.by_code() {
            text.push_str(&format!("  {code}: {}\n", count(*lines)));
        }
        if rejected > 0 {
            text.push_str(&format!("  rejected lines are in {}\n", self.rejected.path().display()));
        }
        print(&text);
    }
}

/// A read failure, with the number of lines read before it.
fn read_failed(failure: Failure, line: u64) -> Error {
    Error::Failed(format!("{failure} (after line {line}); nothing was imported"))
}
