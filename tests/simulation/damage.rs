//! Damage to files at rest, while no process has them open, and what recovery may do about it.
//!
//! After any damage, recovery gives right answers or refuses. There is one exception: if no write
//! of the log is whole from some position to its end, that end looks like a torn write and is cut.

use super::disk::{Disk, Files, Name, SECTOR};
use super::random::Random;
use purser::journal::frame::{self, ALIGN, Kind, NO_SALT};
use purser::journal::segment::Header;
use purser::journal::{File, Place, manifest};

/// A frame in a segment: its number, its bytes from the header to the end of the payload, the start
/// of the next frame, and its checksum.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub number: u64,
    pub start: usize,
    pub end: usize,
    pub next: usize,
    pub crc: u32,
}

/// The header and the writes of an undamaged segment.
pub fn frames(segment: &[u8], place: Place) -> Vec<Placed> {
    let (mut found, mut at, mut salt) = (Vec::<Placed>::new(), 0, NO_SALT);
    while at < segment.len() {
        let Ok(read) = frame::decode(&segment[at..], place, salt) else { break };
        let follows = match found.last() {
            None => read.kind == Kind::Segment,
            Some(last) => read.kind == Kind::Write && read.number == last.number + 1,
        };
        if !follows {
            break;
        }
        if read.kind == Kind::Segment {
            let Some(header) = Header::decode(read.payload) else { break };
            salt = header.salt;
        }
        let end = at + frame::HEADER_BYTES + read.payload.len();
        found.push(Placed {
            number: read.number,
            start: at,
            end,
            next: at + read.size(),
            crc: read.crc,
        });
        at += read.size();
    }
    found
}

/// Damages a file of a slice and returns a description.
pub fn damage(
    disk: &mut Disk,
    slices: usize,
    slice: usize,
    place: Place,
    random: &mut Random,
) -> String {
    let names = disk.names(slice);
    let name = random.pick(&names);
    let what = match random.below(8) {
        0 | 1 => flip(disk, slice, name, random),
        2 => zero(disk, slice, name, random),
        3 => misdirect(disk, slices, slice, name, random),
        4 => cut(disk, slice, name, random),
        5 => {
            disk.lose(slice, name);
            "deleted".to_owned()
        }
        6 => rewind(disk, slice, name, place, random),
        _ => swap(disk, slices, slice, name, random),
    };
    format!("{name:?} of slice {slice} {what}")
}

fn file(disk: &mut Disk, slice: usize, name: Name) -> &mut Vec<u8> {
    disk.bytes_of(slice, name).expect("the name is in the slice's directory")
}

/// A random position in a file, mostly in its used part.
fn somewhere(bytes: &[u8], random: &mut Random) -> usize {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(bytes.len(), |last| last + 1);
    let end = if random.in_thousand(800) { used } else { bytes.len() };
    random.below(end.max(1) as u64) as usize
}

fn flip(disk: &mut Disk, slice: usize, name: Name, random: &mut Random) -> String {
    let bytes = file(disk, slice, name);
    if bytes.is_empty() {
        return "left alone".to_owned();
    }
    let flips = random.between(1, 3);
    let at = somewhere(bytes, random);
    for n in 0..flips as usize {
        let at = (at + n).min(bytes.len() - 1);
        bytes[at] ^= 1 << random.below(8);
    }
    format!("with {flips} bits flipped from byte {at} on")
}

fn run(bytes: &[u8], random: &mut Random) -> (usize, usize) {
    let start = somewhere(bytes, random) / SECTOR * SECTOR;
    let end = (start + SECTOR * random.between(1, 16) as usize).min(bytes.len());
    (start, end)
}

fn zero(disk: &mut Disk, slice: usize, name: Name, random: &mut Random) -> String {
    let bytes = file(disk, slice, name);
    let (start, end) = run(bytes, random);
    bytes[start..end].fill(0);
    format!("zeroed from byte {start} to {end}")
}

/// Copies bytes to the wrong place, from this file or another, like a misdirected write.
fn misdirect(
    disk: &mut Disk,
    slices: usize,
    slice: usize,
    name: Name,
    random: &mut Random,
) -> String {
    let from_slice = random.below(slices as u64) as usize;
    let names = disk.names(from_slice);
    let from = if random.coin() && from_slice == slice { name } else { random.pick(&names) };
    let source = file(disk, from_slice, from).clone();
    let (mut start, mut end) = run(&source, random);
    if random.coin() {
        start = start / ALIGN * ALIGN;
        end = (start + ALIGN).min(source.len());
    }
    let bytes = file(disk, slice, name);
    let unit = if random.coin() { ALIGN } else { SECTOR };
    let to = somewhere(bytes, random) / unit * unit;
    let count = (end - start).min(bytes.len() - to);
    bytes[to..to + count].copy_from_slice(&source[start..start + count]);
    format!("with {count} bytes of {from:?} of slice {from_slice}, from byte {start}, at byte {to}")
}

fn cut(disk: &mut Disk, slice: usize, name: Name, random: &mut Random) -> String {
    let bytes = file(disk, slice, name);
    let mut len = somewhere(bytes, random);
    if random.coin() {
        len = len / ALIGN * ALIGN;
    }
    bytes.truncate(len);
    format!("cut to {len} bytes")
}

/// Restores an older state of a file.
fn rewind(disk: &mut Disk, slice: usize, name: Name, place: Place, random: &mut Random) -> String {
    match name {
        Name::Manifest => {
            let older = random.below(disk.manifests(slice).len() as u64) as usize;
            let text = disk.manifests(slice)[older].clone();
            *file(disk, slice, name) = text;
            format!("as the {older}th was")
        }
        Name::File(of @ File::Segment(number)) => {
            let bytes = file(disk, slice, Name::File(of));
            let frames = frames(bytes, Place { file: number, ..place });
            if frames.is_empty() {
                return "left alone".to_owned();
            }
            let from = random.pick(&frames).start;
            bytes[from..].fill(0);
            format!("as it was when byte {from} was to be written")
        }
        _ => {
            let bytes = file(disk, slice, name);
            let from = somewhere(bytes, random) / ALIGN * ALIGN;
            bytes.truncate(from);
            format!("as it was with {from} bytes")
        }
    }
}

fn swap(disk: &mut Disk, slices: usize, slice: usize, name: Name, random: &mut Random) -> String {
    let from_slice = random.below(slices as u64) as usize;
    let names = disk.names(from_slice);
    let from = random.pick(&names);
    let copy = file(disk, from_slice, from).clone();
    *file(disk, slice, name) = copy;
    format!("replaced by {from:?} of slice {from_slice}")
}

/// The write up to which recovery must find the log after its last segment was damaged: the last
/// whole write. `u64::MAX` if recovery must refuse, because the segment is too short or has no
/// whole write.
pub fn must_reach(whole: Files<'_>, damaged: Files<'_>, place: Place) -> u64 {
    let text = whole.bytes(Name::Manifest).unwrap_or_default();
    let Ok(manifest) = manifest::SliceManifest::decode(&text, place) else { return 0 };
    if manifest.last == 0 {
        return 0;
    }
    let name = Name::File(File::Segment(manifest.last));
    let (Some(whole), Some(damaged)) = (whole.bytes(name), damaged.bytes(name)) else {
        return u64::MAX;
    };
    if damaged.len() < whole.len() {
        return u64::MAX;
    }
    frames(&whole, Place { file: manifest.last, ..place })
        .iter()
        .filter(|placed| {
            damaged.get(placed.start..placed.end) == Some(&whole[placed.start..placed.end])
        })
        .map(|placed| placed.number)
        .max()
        .unwrap_or(u64::MAX)
}
