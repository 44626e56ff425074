//! Manifests: small text files that name the current files. A manifest is always replaced as a
//! whole; a file that it does not name is ignored.
//!
//! The data directory has one manifest. It names the current generation and fixes the number of
//! slices and the hash that distributes users over them:
//!
//! ```text
//! purser data 3
//! generation 1
//! slices 1
//! hash 2
//! crc32c 38d9684c
//! ```
//!
//! Each slice has one manifest. It identifies the slice and names the current snapshot with the
//! offset of its last frame (0 0: none), and the first and the last segment of the log (0 0: none
//! yet):
//!
//! ```text
//! purser slice 3
//! generation 1
//! slice 0
//! snapshot 3 1052672
//! segments 12 15
//! crc32c 1268c21b
//! ```
//!
//! The number in the first line is the version of all formats in the directory. The checksum covers
//! all bytes before its line. A manifest has one form: numbers have no leading zeros, and nothing
//! follows the checksum.

use super::{Fault, File, Place};

/// Version of the formats that this program writes, and the only one that it reads.
pub const VERSION: u64 = 3;
/// Version of the hash that distributes users over slices ([`crate::ledger::id::UserId::hash`]).
pub const HASH_VERSION: u64 = 2;

/// Manifest of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataManifest {
    /// Number of the current generation.
    pub generation: u64,
    /// Number of slices.
    pub slices: u32,
}

/// Manifest of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceManifest {
    /// Number of the current snapshot; 0 if there is none.
    pub snapshot: u64,
    /// Offset of the snapshot's last frame, in bytes.
    pub snapshot_end: u64,
    /// Number of the first segment that replay needs; 0 if there is none yet.
    pub first: u64,
    /// Number of the segment that is written to; 0 if there is none yet.
    pub last: u64,
}

/// Reason to reject a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Not a manifest, or not a whole one.
    Malformed,
    /// A version other than [`VERSION`].
    Version(u64),
    /// A hash other than [`HASH_VERSION`] distributes the users.
    Hash(u64),
    /// Another slice's manifest: generation and number of that slice.
    Elsewhere(u64, u64),
    /// An outdated manifest: this generation is newer.
    Older(u64),
}

impl DataManifest {
    /// Renders the manifest.
    pub fn write(&self) -> String {
        let Self { generation, slices } = self;
        sealed(format!(
            "purser data {VERSION}\ngeneration {generation}\nslices {slices}\nhash {HASH_VERSION}\n"
        ))
    }

    /// Parses a manifest.
    pub fn decode(text: &[u8]) -> Result<Self, ManifestError> {
        let [version, generation, slices, hash] =
            figures(text, ["purser data", "generation", "slices", "hash"])?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        if hash != HASH_VERSION {
            return Err(ManifestError::Hash(hash));
        }
        let slices =
            u32::try_from(slices).ok().filter(|&n| n > 0).ok_or(ManifestError::Malformed)?;
        Ok(Self { generation, slices })
    }

    /// Whether a generation found on disk is the current one; `has_log` says whether it has a log.
    ///
    /// A crash can leave older generations, and the next one before anything was logged in it. Any
    /// other generation shows that this manifest is outdated.
    pub fn names(&self, generation: u64, has_log: bool) -> Result<bool, ManifestError> {
        let is_unfinished = self.generation.checked_add(1) == Some(generation) && !has_log;
        if generation > self.generation && !is_unfinished {
            return Err(ManifestError::Older(generation));
        }
        Ok(generation == self.generation)
    }
}

/// Upper bound of file numbers and sizes in a manifest, so that 1 can be added to either.
const LARGEST: u64 = i64::MAX as u64;

impl SliceManifest {
    /// Renders the manifest of the slice at `place`, whose `file` is ignored.
    pub fn write(&self, place: Place) -> String {
        let Self { snapshot, snapshot_end, first, last } = self;
        let Place { generation, slice, .. } = place;
        let whose = format!("purser slice {VERSION}\ngeneration {generation}\nslice {slice}\n");
        sealed(format!("{whose}snapshot {snapshot} {snapshot_end}\nsegments {first} {last}\n"))
    }

    /// Parses a manifest, which must be that of the slice at `place`, whose `file` is ignored.
    pub fn decode(text: &[u8], place: Place) -> Result<Self, ManifestError> {
        let [version, generation, slice, snapshot, snapshot_end, first, last] =
            figures(text, ["purser slice", "generation", "slice", "snapshot", "", "segments", ""])?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        if (generation, slice) != (place.generation, u64::from(place.slice)) {
            return Err(ManifestError::Elsewhere(generation, slice));
        }
        let is_countable = [snapshot, snapshot_end, last].iter().all(|&figure| figure <= LARGEST);
        let is_whole =
            first <= last && (first == 0) == (last == 0) && (snapshot == 0) == (snapshot_end == 0);
        if !(is_countable && is_whole) {
            return Err(ManifestError::Malformed);
        }
        Ok(Self { snapshot, snapshot_end, first, last })
    }

    /// Whether a file found on disk is current. Other files were left by a crash. A segment that no
    /// crash can leave is a fault: this manifest is outdated.
    pub fn names(&self, file: File) -> Result<bool, Fault> {
        match file {
            File::Snapshot(snapshot) => Ok(snapshot == self.snapshot),
            File::Segment(segment) if segment.saturating_sub(1) > self.last => {
                let last = self.last;
                Err(Fault::new(
                    file,
                    0,
                    format!("the manifest names segments only up to {last}: it is outdated"),
                ))
            }
            File::Segment(segment) => Ok((self.first..=self.last).contains(&segment)),
        }
    }
}

fn sealed(mut text: String) -> String {
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("crc32c {crc:08x}\n"));
    text
}

/// The text before the checksum, if the checksum is correct.
pub fn unsealed(text: &str) -> Option<&str> {
    let before = &text[..text.rfind("crc32c ")?];
    (sealed(before.to_owned()) == text).then_some(before)
}

/// Parses the numbers after `words`, in this order; an empty word means a second number on the same
/// line. The version comes first and is read even if the rest cannot be parsed: a later version may
/// have another form.
fn figures<const N: usize>(text: &[u8], words: [&str; N]) -> Result<[u64; N], ManifestError> {
    let text = std::str::from_utf8(text).map_err(|_| ManifestError::Malformed)?;
    let version = || text.lines().next()?.strip_prefix(words[0])?.strip_prefix(' ')?.parse().ok();
    let version: u64 = version().ok_or(ManifestError::Malformed)?;
    let known = || {
        let mut rest = unsealed(text)?;
        let mut found = [0; N];
        for (n, word) in words.iter().enumerate() {
            rest = rest.strip_prefix(word)?.strip_prefix(' ')?;
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            found[n] = rest[..digits].parse().ok()?;
            (digits == 1 || !rest.starts_with('0')).then_some(())?;
            rest = &rest[digits..];
            if words.get(n + 1).is_none_or(|next| !next.is_empty()) {
                rest = rest.strip_prefix('\n')?;
            }
        }
        rest.is_empty().then_some(found)
    };
    known().ok_or(if version == VERSION {
        ManifestError::Malformed
    } else {
        ManifestError::Version(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "purser data 3\ngeneration 7\nslices 3\nhash 2\ncrc32c f63ebed7\n";
    const SLICE: &str =
        "purser slice 3\ngeneration 7\nslice 2\nsnapshot 3 8192\nsegments 12 15\ncrc32c facedfbd\n";
    const PLACE: Place = Place { generation: 7, slice: 2, file: 0 };

    #[test]
    fn manifests_are_pinned_and_read_back() {
        let directory = DataManifest { generation: 7, slices: 3 };
        assert_eq!(directory.write(), DIRECTORY);
        assert_eq!(DataManifest::decode(DIRECTORY.as_bytes()), Ok(directory));
        let slice = SliceManifest { snapshot: 3, snapshot_end: 8_192, first: 12, last: 15 };
        assert_eq!(slice.write(PLACE), SLICE);
        assert_eq!(SliceManifest::decode(SLICE.as_bytes(), PLACE), Ok(slice));
    }

    /// The samples here and in the documentation are manifests of this version.
    #[test]
    fn the_samples_are_manifests() {
        let place = Place { generation: 1, slice: 0, file: 0 };
        let slice = SliceManifest { snapshot: 3, snapshot_end: 1_052_672, first: 12, last: 15 };
        let manifests = [DataManifest { generation: 1, slices: 1 }.write(), slice.write(place)];
        let checksums = manifests.each_ref().map(|text| text.lines().last().expect("a checksum"));
        for page in [include_str!("manifest.rs"), include_str!("../../docs/storage.md")] {
            for checksum in checksums {
                assert!(page.contains(checksum), "no sample ends with {checksum:?}");
            }
        }
    }

    #[test]
    fn another_slices_manifest_is_refused() {
        for place in [Place { slice: 1, ..PLACE }, Place { generation: 8, ..PLACE }] {
            assert_eq!(
                SliceManifest::decode(SLICE.as_bytes(), place),
                Err(ManifestError::Elsewhere(7, 2))
            );
        }
        assert!(
            SliceManifest::decode(SLICE.as_bytes(), Place { file: 9, ..PLACE }).is_ok(),
            "the file is ignored"
        );
    }

    #[test]
    fn a_manifest_has_one_form() {
        for other in [
            "purser data 3\ngeneration 7\nslices 3\nhash 02\n",
            "purser data 03\ngeneration 7\nslices 3\nhash 2\n",
            "purser data 3\ngeneration 007\nslices 3\nhash 2\n",
            "purser data 3\ngeneration +7\nslices 3\nhash 2\n",
            "purser data 3\ngeneration 7\nslices 3\nhash 2\n\n",
        ] {
            assert_eq!(
                DataManifest::decode(sealed(other.to_owned()).as_bytes()),
                Err(ManifestError::Malformed),
                "{other}"
            );
        }
        let zero = DataManifest { generation: 0, slices: 1 };
        assert_eq!(DataManifest::decode(zero.write().as_bytes()), Ok(zero));
    }

    #[test]
    fn every_flipped_bit_is_detected() {
        for (text, reads) in [
            (DIRECTORY, (|t| DataManifest::decode(t).is_ok()) as fn(&[u8]) -> bool),
            (SLICE, |t| SliceManifest::decode(t, PLACE).is_ok()),
        ] {
            for bit in 0..text.len() * 8 {
                let mut bad = text.as_bytes().to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!reads(&bad), "bit {bit}");
            }
            for len in 0..text.len() {
                assert!(!reads(&text.as_bytes()[..len]), "{len} bytes");
            }
        }
    }

    #[test]
    fn other_versions_are_reported() {
        let later = "purser data 4\nsomething else\n";
        assert_eq!(DataManifest::decode(later.as_bytes()), Err(ManifestError::Version(4)));
        let earlier = sealed("purser data 1\ngeneration 7\nslices 3\nhash 2\n".to_owned());
        assert_eq!(DataManifest::decode(earlier.as_bytes()), Err(ManifestError::Version(1)));
        let hash = sealed("purser data 3\ngeneration 7\nslices 3\nhash 3\n".to_owned());
        assert_eq!(DataManifest::decode(hash.as_bytes()), Err(ManifestError::Hash(3)));
        for bad in [
            "snapshot 0 0\nsegments 3 2\n",
            "snapshot 0 0\nsegments 0 2\n",
            "snapshot 3 0\nsegments 1 2\n",
        ] {
            let text = sealed(format!("purser slice 3\ngeneration 7\nslice 2\n{bad}"));
            assert_eq!(
                SliceManifest::decode(text.as_bytes(), PLACE),
                Err(ManifestError::Malformed)
            );
        }
    }

    #[test]
    fn leftover_generations_are_told_from_newer_ones() {
        let directory = DataManifest { generation: 7, slices: 3 };
        for (generation, has_log, expected) in [
            (1, true, Ok(false)),
            (6, true, Ok(false)),
            (6, false, Ok(false)),
            (7, true, Ok(true)),
            (7, false, Ok(true)),
            (8, false, Ok(false)),
            (8, true, Err(ManifestError::Older(8))),
            (9, false, Err(ManifestError::Older(9))),
        ] {
            assert_eq!(directory.names(generation, has_log), expected, "{generation}, {has_log}");
        }
        assert_eq!(DataManifest { generation: u64::MAX, slices: 3 }.names(0, true), Ok(false));
    }

    #[test]
    fn leftover_files_are_told_from_newer_ones() {
        let slice = SliceManifest { snapshot: 3, snapshot_end: 8_192, first: 12, last: 15 };
        let counts = |file| slice.names(file).map_err(|fault| fault.file);
        for (file, expected) in [
            (File::Segment(11), Ok(false)),
            (File::Segment(12), Ok(true)),
            (File::Segment(15), Ok(true)),
            (File::Segment(16), Ok(false)),
            (File::Segment(17), Err("log-17".to_owned())),
            (File::Snapshot(2), Ok(false)),
            (File::Snapshot(3), Ok(true)),
            (File::Snapshot(9), Ok(false)),
        ] {
            assert_eq!(counts(file), expected, "{file}");
        }
    }

    #[test]
    fn numbers_that_could_overflow_are_refused() {
        let whole =
            SliceManifest { snapshot: 1, snapshot_end: LARGEST, first: LARGEST, last: LARGEST };
        assert_eq!(SliceManifest::decode(whole.write(PLACE).as_bytes(), PLACE), Ok(whole));
        for other in [
            SliceManifest { snapshot: LARGEST + 1, ..whole },
            SliceManifest { snapshot_end: LARGEST + 1, ..whole },
            SliceManifest { last: u64::MAX, ..whole },
        ] {
            assert_eq!(
                SliceManifest::decode(other.write(PLACE).as_bytes(), PLACE),
                Err(ManifestError::Malformed),
                "{other:?}"
            );
        }
    }

    /// A manifest is text that anyone can write: its numbers may have any value.
    #[test]
    fn the_largest_segment_number_does_not_overflow() {
        let slice = SliceManifest { snapshot: 0, snapshot_end: 0, first: u64::MAX, last: u64::MAX };
        for (segment, want) in [(u64::MAX, true), (u64::MAX - 1, false), (0, false)] {
            assert_eq!(slice.names(File::Segment(segment)), Ok(want), "{segment}");
        }
        assert!(SliceManifest { last: 5, ..slice }.names(File::Segment(7)).is_err());
        assert_eq!(SliceManifest { first: 5, last: 5, ..slice }.names(File::Segment(6)), Ok(false));
    }
}
