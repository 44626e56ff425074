//! `purser verify`: reads a whole data directory as a start would, checks what a start trusts, and
//! prints what is there.
//!
//! - [`check`]: one slice: recovery, every user once more, and whether the figures agree
//! - [`report`]: the report on a sound slice
//! - [`unused_files`]: files that no manifest names
//! - [`faults`]: which errors are faults of the data (exit code 3), and which only prevent the
//!   check (exit code 1)
//!
//! Nothing is changed. A fault ends the check. Anything else worth reporting, such as a torn write,
//! is printed as a note, and the check continues.

pub mod check;
pub mod faults;
mod report;
mod unused_files;

use super::Error;
use super::text::{count_noun, print};
use crate::journal::manifest;
use check::Total;
use std::path::PathBuf;
use std::time::Instant;

/// The flags of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXITS, after_help = EXITS)]
pub struct Arguments {
    /// Directory to check; it must not be in use by a server
    #[arg(long, value_name = "DIR", env = "PURSER_DATA", default_value = "purser-data")]
    data: PathBuf,
}

const EXITS: &str = "\
Exit codes: 0 sound, 3 damaged (the file and the offset are printed),
            1 the check could not run (directory in use, missing, unreadable or of another
            version), 2 the command line is invalid";

/// Runs the check.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let start = Instant::now();
    let path = &arguments.data;
    let directory = faults::open(path)?;
    let manifest::DataManifest { generation, slices } = *directory.manifest();
    print(&format!(
        "{}: generation {generation}, {}\n",
        path.display(),
        count_noun(slices.into(), "slice", "slices")
    ));
    let unnamed = directory.unnamed().map_err(faults::judged)?;
    let unnamed: Vec<_> =
        unnamed.into_iter().map(|generation| directory.generation(generation)).collect();
    let mut notes: Vec<String> =
        unnamed.iter().map(|path| unused_files::not_in_use(path)).collect();
    let mut total = Total::default();
    for slice in 0..slices {
        let at = directory.slice(slice);
        let checked = check::check(&at)?;
        total.add(&checked);
        print(&report::slice(slice, &checked));
        notes.extend(report::torn_write(&checked));
        unused_files::in_slice(&at, &checked.found.manifest, &mut notes)?;
    }
    if slices > 1 {
        print(&report::total(&total));
    }
    notes.extend(unused_files::beside_slices(&directory, &unnamed));
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    print(&format!("{notes}sound; checked in {:.1} s\n", start.elapsed().as_secs_f64()));
    Ok(())
}
