//! What is on disk: the formats of the log, the snapshots and the manifests, and the names of their
//! files.
//!
//! ```text
//! lock                              one process at a time
//! manifest                          which generation counts
//! generation-1/slice-0/manifest     which of the following count
//! generation-1/slice-0/log-12       a segment of the log
//! generation-1/slice-0/snapshot-3   all users of the slice
//! ```
//!
//! - [`frame`] — the unit of everything binary: checksum, where it belongs, payload
//! - [`record`] — an accepted entry; [`segment`] — a file of the log; [`snapshot`] — all users
//! - [`manifest`] — small texts that name the files that count
//!
//! **Pure.** Bytes come in and go out; nothing here opens a file. Whatever the bytes, nothing
//! panics: what is not as it should be is a [`Fault`] with the file and the offset. All integers
//! are little-endian. Formats are kept for ever; tests pin each, and a change of any of them is a
//! new [`manifest::VERSION`].
//!
//! A *generation* is all slices of one number of them. Another number is a new generation, with the
//! next number and directories of its own: each slice begins with a snapshot and no log, as after
//! an import. Its files are whole and on stable storage before the manifest names it, and the
//! manifest that names it is before the old one is removed. So there are two only between these
//! moments, or after a crash between them; one that is not named counts for nothing, and has a log
//! only if it is the old one. Numbers of generations that were ever named are not used again.
//!
//! The log of a slice is one line of *writes*, numbered from 1, that runs through its segments. A
//! write is a frame of records; its number is the [log position](crate::slice::Lsn) of what it
//! holds. One write at a time is in flight, so a crash can tear only the last. Hence: a broken
//! write with nothing behind it was never acknowledged, and is cut; a broken one with a later one
//! behind it is corruption.

pub mod frame;
pub mod manifest;
mod parts;
pub mod record;
pub mod segment;
pub mod snapshot;

use std::fmt;

/// Where a frame belongs. Part of each, so that one that strayed is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The generation of the data directory.
    pub generation: u64,
    /// The slice.
    pub slice: u32,
    /// The number of the segment or snapshot.
    pub file: u64,
}

/// A slice's file.
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
    /// From the name; `None` if it is that of something else.
    pub fn parse(name: &str) -> Option<Self> {
        let file = match name.split_once('-')? {
            ("log", number) => Self::Segment(number.parse().ok()?),
            ("snapshot", number) => Self::Snapshot(number.parse().ok()?),
            _ => return None,
        };
        (file.to_string() == name).then_some(file)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        match self {
            Self::Segment(number) | Self::Snapshot(number) => number,
        }
    }
}

/// The directory of a generation, below the data directory.
pub fn generation_directory(generation: u64) -> String {
    format!("generation-{generation}")
}

/// The generation whose directory has this name; `None` if it is that of something else.
pub fn parse_generation(name: &str) -> Option<u64> {
    let generation = name.strip_prefix("generation-")?.parse().ok()?;
    (generation_directory(generation) == name).then_some(generation)
}

/// The directory of a slice, below the data directory.
pub fn slice_directory(generation: u64, slice: u32) -> String {
    format!("generation-{generation}/slice-{slice}")
}

/// Something on disk that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which file, below its slice's directory; or its whole path.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    /// `what` is wrong at `offset` of `file`.
    pub fn new(file: File, offset: u64, what: impl Into<String>) -> Self {
        Self { file: file.to_string(), offset, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.what)
    }
}

impl std::error::Error for Fault {}

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
