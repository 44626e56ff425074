//! `purser verify`: sound directories, faults with file and offset, and directories that cannot be
//! checked.

use crate::import::{Outcome, Random, import_all, run, slice_of};
use crate::seeds;
use crate::server::{Scratch, Server, credit, purser};
use std::fs;
use std::path::{Path, PathBuf};

const T: u64 = 1_700_000_100_000;
/// Alignment of frames.
const ALIGN: usize = 4_096;
/// Bytes of a frame before its payload.
const HEADER_BYTES: usize = 48;

pub fn verify(data: &Path) -> Outcome {
    run(purser().args(["verify", "--data"]).arg(data), b"")
}

/// A directory with a snapshot of three users and a log of two segments with four writes.
fn filled(scratch: &Scratch) -> PathBuf {
    let data = scratch.join("data");
    import_all(
        &data,
        &[
            credit(1, 7, 5, T),
            credit(1, 8, 6, T + 1),
            credit(2, 7, 1, T + 2),
            credit(1, 9, 4, T + 3),
        ],
    );
    for round in 0..2 {
        let server = Server::with_data(&data, &[]);
        server.feed(&[credit(10 + round, 7, 1, T + 4 + round)]);
        server.feed(&[credit(20 + round, 10, 1, T + 4 + round)
            .replace("topup", "gift")
            .replace("COIN", "EUR")]);
    }
    data
}

/// Asserts that a directory is sound and returns the output.
pub fn sound(data: &Path) -> String {
    let (code, out, err) = verify(data);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.lines().last().is_some_and(|line| line.starts_with("sound; checked in ")), "{out}");
    out
}

/// Asserts a fault in `file`, at byte `offset` if given, and returns the error text.
fn faulty(data: &Path, file: &Path, offset: Option<usize>, context: &str) -> String {
    let (code, out, err) = verify(data);
    assert_eq!(code, Some(3), "{context}: {out}{err}");
    let at = offset.map_or(" at byte ".to_owned(), |offset| format!(" at byte {offset}: "));
    let starts = format!("fault: {}{at}", file.display());
    assert!(err.starts_with(&starts), "{context}: {err} does not start with {starts}");
    assert!(!out.contains("sound"), "{context}: {out}");
    err
}

fn unchecked(data: &Path, part: &str) {
    let (code, out, err) = verify(data);
    assert!(
        code == Some(1) && err.starts_with("error: ") && err.contains(part),
        "{code:?} {out}{err}"
    );
}

/// Start of each frame in a file, with its length without padding.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + HEADER_BYTES <= bytes.len() && bytes[at..at + HEADER_BYTES] != [0; HEADER_BYTES] {
        let payload = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((at, HEADER_BYTES + payload));
        at += (HEADER_BYTES + payload).next_multiple_of(ALIGN);
    }
    found
}

#[test]
fn a_sound_directory_is_described() {
    let scratch = Scratch::new("verify-sound");
    let data = filled(&scratch);
    let out = sound(&data);
    let snapshot = fs::metadata(slice_of(&data).join("snapshot-1")).unwrap().len();
    assert_eq!(snapshot, 16_384);
    let want = [
        format!("{}: generation 2, 1 slice", data.display()),
        "slice 0".to_owned(),
        "  users       4".to_owned(),
        "  entries     8".to_owned(),
        "  snapshot    snapshot-1: 16,384 bytes, 3 users, 4 entries".to_owned(),
        "  log         log-1 to log-2: 2,097,152 bytes, 16,384 of them writes; \
         4 entries replayed, 0 already in the snapshot; log position 4"
            .to_owned(),
        "  oldest      2023-11-14T22:15:00.001Z (1700000100001 ms): the latest entry of the least \
         recently active user"
            .to_owned(),
        "  newest      2023-11-14T22:15:00.005Z (1700000100005 ms)".to_owned(),
        "  kinds       topup gift".to_owned(),
        "  currencies  COIN EUR".to_owned(),
    ];
    assert_eq!(out.lines().take(want.len()).collect::<Vec<_>>(), want);
    // The next segment, created ahead, in whole or in part.
    let mut notes = out.lines().skip(want.len()).filter(|line| line.starts_with("note: "));
    let is_known =
        |note: &str| note.contains("/log-3") && note.ends_with("; the next start removes it");
    assert!(notes.all(is_known), "{out}");
    for (file, note) in [
        ("generation-2/slice-0/snapshot-9", "is not in use; the next start removes it"),
        ("generation-2/slice-0/import.new", "was never finished; the next start removes it"),
        ("generation-2/slice-0/notes", "does not belong to the data and is ignored"),
        ("generation-2/slice-7", "does not belong to the data and is ignored"),
        ("generation-3", "does not belong to the data and is ignored"),
        ("notes", "does not belong to the data and is ignored"),
    ] {
        fs::write(data.join(file), b"").unwrap();
        let out = sound(&data);
        assert!(
            out.contains(&format!("note: {} {note}\n", data.join(file).display())),
            "{file}: {out}"
        );
        fs::remove_file(data.join(file)).unwrap();
    }
    assert!(sound(&scratch_empty(&scratch)).contains(
        "  users       0\n  entries     0\n  snapshot    none\n  log         none\n  kinds       \
         none\n"
    ));
}

/// The directory of a server without entries.
fn scratch_empty(scratch: &Scratch) -> PathBuf {
    let data = scratch.join("empty");
    drop(Server::with_data(&data, &[]));
    data
}

#[test]
fn a_flipped_bit_is_found_in_each_kind_of_file() {
    let scratch = Scratch::new("verify-flipped");
    let data = filled(&scratch);
    sound(&data);
    let seed = seeds::number("PURSER_SEED").unwrap_or(3);
    let mut random = Random(seed);
    let slice = slice_of(&data);
    let mut cases = Vec::new();
    for manifest in [data.join("manifest"), slice.join("manifest")] {
        let bytes = fs::metadata(&manifest).unwrap().len() as usize;
        // One of these offsets is the version's digit.
        cases.extend([0, 12, 14].map(|at| (manifest.clone(), Some(0), at)));
        cases.extend((0..6).map(|_| (manifest.clone(), Some(0), random.below(bytes))));
    }
    for (name, count) in [("snapshot-1", 4), ("log-1", 3), ("log-2", 3)] {
        let file = slice.join(name);
        let frames = frames(&fs::read(&file).unwrap());
        assert_eq!(frames.len(), count, "{name}");
        for (n, &(start, len)) in frames.iter().enumerate() {
            if (name, n) == ("log-2", 2) {
                continue; // A damaged last write of the log looks torn.
            }
            let mut spots = vec![start, start + 6, start + HEADER_BYTES - 1, start + len - 1];
            spots.extend((0..3).map(|_| start + random.below(len)));
            cases.extend(spots.into_iter().map(|at| (file.clone(), Some(start), at)));
        }
    }
    for (file, offset, at) in cases {
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1 << random.below(8);
        fs::write(&file, &bad).unwrap();
        faulty(&data, &file, offset, &format!("seed {seed}: byte {at} of {}", file.display()));
        fs::write(&file, &good).unwrap();
    }
    sound(&data);
}

#[test]
fn a_missing_file_is_a_fault() {
    let scratch = Scratch::new("verify-missing");
    let data = filled(&scratch);
    let slice = slice_of(&data);
    for (file, what) in [
        (slice.join("snapshot-1"), "the manifest names this file, but it is missing"),
        (slice.join("log-1"), "the manifest names this file, but it is missing"),
        (slice.join("log-2"), "the manifest names this file, but it is missing"),
        (slice.join("manifest"), "the file is missing"),
        (data.join("manifest"), "the file is missing"),
    ] {
        let aside = scratch.join("aside");
        fs::rename(&file, &aside).unwrap();
        let err = faulty(&data, &file, Some(0), "missing");
        assert!(err.ends_with(&format!("{what}\n")), "{err}");
        fs::rename(&aside, &file).unwrap();
    }
    // A file that is too short.
    let file = slice.join("snapshot-1");
    let good = fs::read(&file).unwrap();
    fs::write(&file, &good[..8_192]).unwrap();
    faulty(&data, &file, Some(12_288), "short");
    fs::write(&file, &good).unwrap();
    sound(&data);
}

#[test]
fn a_torn_tail_is_noted_and_later_writes_are_searched() {
    let scratch = Scratch::new("verify-torn");
    let data = filled(&scratch);
    let file = slice_of(&data).join("log-2");
    let good = fs::read(&file).unwrap();
    let frames = frames(&good);
    let &(last, len) = frames.last().unwrap();
    let tail = last + len.next_multiple_of(ALIGN);
    // A torn write: its first half.
    let mut torn = good.clone();
    torn[tail..tail + len / 2].copy_from_slice(&good[last..last + len / 2]);
    fs::write(&file, &torn).unwrap();
    let out = sound(&data);
    let note = format!("note: {} at byte {tail}: an unfinished write", file.display());
    assert!(out.contains(&note) && out.contains("  entries     8\n"), "{out}");
    // A broken last write with nothing after it counts as torn too.
    let mut broken = good.clone();
    broken[last + HEADER_BYTES] ^= 1;
    fs::write(&file, &broken).unwrap();
    let out = sound(&data);
    assert!(
        out.contains(&format!("at byte {last}: an unfinished write"))
            && out.contains("  entries     7\n"),
        "{out}"
    );
    // A broken write with a later write after it is a fault: no crash leaves that.
    let far = good.len() - ALIGN;
    broken[far..].copy_from_slice(&renumbered(&good[last..last + ALIGN], 5));
    fs::write(&file, &broken).unwrap();
    let err = faulty(&data, &file, Some(last), "a later write");
    assert!(
        err.contains(&format!("write 4 is broken, but write 5 follows at byte {far}")),
        "{err}"
    );
    fs::write(&file, &good).unwrap();
    sound(&data);
}

/// The frame with another number and a new checksum.
fn renumbered(frame: &[u8], number: u64) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let end = HEADER_BYTES + u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
    frame[32..40].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c::crc32c(&frame[4..end]);
    frame[..4].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// Users whose image has a good checksum but violates an invariant of the ledger.
#[test]
fn a_violated_invariant_is_a_fault() {
    let scratch = Scratch::new("verify-invariant");
    let data = filled(&scratch);
    let file = slice_of(&data).join("snapshot-1");
    let good = fs::read(&file).unwrap();
    let (users, _) = frames(&good)[1];
    // Offset 12 of the first user, after its length and id, is the start of its version.
    let first = users + HEADER_BYTES;
    for (at, to, what) in [
        (first + 12, 9, "user image: "),
        (first + 12, 0, "user image: invariant violated: a version lies between"),
    ] {
        let mut bad = good.clone();
        bad[at] = to;
        let sealed = renumbered(&bad[users..users + ALIGN], 1);
        bad[users..users + ALIGN].copy_from_slice(&sealed);
        fs::write(&file, &bad).unwrap();
        let (code, out, err) = verify(&data);
        assert_eq!(code, Some(3), "{out}{err}");
        assert!(err.starts_with(&format!("fault: {} at byte ", file.display())), "{err}");
        assert!(to != 0 || err.contains(what), "{err}");
    }
}

#[test]
fn an_unreadable_directory_is_no_fault() {
    let scratch = Scratch::new("verify-unchecked");
    let data = filled(&scratch);
    unchecked(&scratch.join("nowhere"), "nowhere: No such file");
    fs::create_dir(scratch.join("other")).unwrap();
    unchecked(&scratch.join("other"), "it has no manifest");
    fs::write(scratch.join("file"), b"").unwrap();
    unchecked(&scratch.join("file"), "Not a directory");
    let server = Server::with_data(&data, &[]);
    unchecked(&data, "is in use by another process");
    drop(server);
    let good = fs::read_to_string(data.join("manifest")).unwrap();
    for (from, to, part) in [
        ("purser data 3", "purser data 1", "has format version 1; this program reads version 3"),
        ("purser data 3", "purser data 4", "has format version 4; this program reads version 3"),
        ("hash 2", "hash 1", "distributes users by hash version 1; this program uses version 2"),
        ("hash 2", "hash 3", "distributes users by hash version 3; this program uses version 2"),
    ] {
        let text = good.replace(from, to);
        let (text, _) = text.split_once("crc32c").unwrap();
        let sealed = format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()));
        fs::write(data.join("manifest"), sealed).unwrap();
        unchecked(&data, part);
    }
    fs::write(data.join("manifest"), good).unwrap();
    sound(&data);
    let (code, out, _) = run(purser().args(["verify", "--help"]), b"");
    assert!(code == Some(0) && out.contains("Exit codes: 0 sound, 3 damaged"), "{out}");
    let (code, _, err) = run(purser().args(["verify", "--deep"]), b"");
    assert!(code == Some(2) && err.contains("--deep"), "{err}");
}
