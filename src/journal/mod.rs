//! On-disk formats of the log, the snapshots and the manifests, and the names of their files.
//!
//! ```text
//! lock                              allows one process at a time
//! manifest                          names the current generation
//! generation-1/slice-0/manifest     names the current files of the slice
//! generation-1/slice-0/log-12       a segment of the log
//! generation-1/slice-0/snapshot-3   all users of the slice
//! ```
//!
//! - [`frame`]: the unit of all binary data: checksum, location, payload
//! - [`record`]: an accepted entry; [`segment`]: a file of the log; [`snapshot`]: all users
//! - [`manifest`]: small text files that name the current files
//!
//! **Pure.** Bytes come in and go out; nothing here opens a file. No bytes that are read cause a
//! panic: damaged or unexpected data is reported as a [`Fault`] with the file and the offset. All
//! integers are little-endian. Formats are kept for ever; tests pin each one, and a change to any
//! of them is a new [`manifest::VERSION`].
//!
//! A *generation* is the data of all slices under one number of slices. A new number of slices is a
//! new generation, with the next generation number and its own directories: each slice begins with
//! a snapshot and no log, as after an import. Its files are complete and on stable storage before
//! the manifest names it, and that manifest is on stable storage before the old generation is
//! removed. So two generations exist only between these steps, or after a crash between them. A
//! generation that the manifest does not name is ignored; it has a log only if it is the old one.
//! Numbers of generations that were ever named are not reused.
//!
//! The log of a slice is one sequence of *writes*, numbered from 1 across its segments. A write is
//! a frame of records; its number is the [log position](crate::slice::Lsn) of its records. One
//! write at a time is in flight, so a crash can tear only the last one. Hence a broken write with
//! nothing after it was never acknowledged and is cut off; a broken write with a later write after
//! it is corruption.

mod fields;
pub mod frame;
pub mod manifest;
pub mod record;
pub mod segment;
pub mod snapshot;

use std::fmt;
use thiserror::Error;

/// Location of a frame. Every frame contains it, so that a misplaced frame is detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The generation of the data directory.
    pub generation: u64,
    /// The number of the slice.
    pub slice: u32,
    /// The number of the segment or snapshot.
    pub file: u64,
}

/// A file of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    /// A segment of the log, by number.
    Segment(u64),
    /// A snapshot, by number.
    Snapshot(u64),
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(number) => write!(f, "log-{number}"),
            Self::Snapshot(number) => write!(f, "snapshot-{number}"),
        }
    }
}

impl File {
    /// Parses a file name; `None` if it is not that of a segment or snapshot.
    pub fn parse(name: &str) -> Option<Self> {
        let file = match name.split_once('-')? {
            ("log", number) => Self::Segment(number.parse().ok()?),
            ("snapshot", number) => Self::Snapshot(number.parse().ok()?),
            _ => return None,
        };
        (file.to_string() == name).then_some(file)
    }

    /// The number of the segment or snapshot.
    pub const fn number(self) -> u64 {
        match self {
            Self::Segment(number) | Self::Snapshot(number) => number,
        }
    }
}

/// Directory of a generation, relative to the data directory.
pub fn generation_directory(generation: u64) -> String {
    format!("generation-{generation}")
}

/// Parses the directory name of a generation; `None` for any other name.
pub fn parse_generation(name: &str) -> Option<u64> {
    let generation = name.strip_prefix("generation-")?.parse().ok()?;
    (generation_directory(generation) == name).then_some(generation)
}

/// Directory of a slice, relative to the data directory.
pub fn slice_directory(generation: u64, slice: u32) -> String {
    format!("generation-{generation}/slice-{slice}")
}

/// Damaged or unexpected data on disk.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file} at byte {offset}: {what}")]
pub struct Fault {
    /// The file, relative to its slice's directory; or its whole path.
    pub file: String,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Description of the fault.
    pub what: String,
}

impl Fault {
    /// A fault at `offset` of `file`, described by `what`.
    pub fn new(file: File, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.to_string(), offset, what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for file in [File::Segment(1), File::Snapshot(12)] {
            assert_eq!(File::parse(&file.to_string()), Some(file));
        }
        for other in
            ["log-01", "log-", "log", "manifest", "log-1.tmp", "snapshot--1", "snapshot-+1"]
        {
            assert_eq!(File::parse(other), None, "{other}");
        }
        assert_eq!(parse_generation(&generation_directory(7)), Some(7));
        assert!(slice_directory(7, 2).starts_with(&format!("{}/", generation_directory(7))));
        for other in [
            "generation-07",
            "generation-",
            "generation",
            "generation-7.new",
            "generation-+7",
            "lock",
        ] {
            assert_eq!(parse_generation(other), None, "{other}");
        }
    }
}
