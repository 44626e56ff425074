//! A log whose bytes are chosen by an enemy: clients write most of what a segment holds, and a
//! recycled segment keeps it. A start takes none of it for a write, is not held up by it, and takes
//! every step in bounded time.

use crate::server::client::{feed, get};
use crate::server::expected::{self, balance, fed};
use crate::server::{Client, Scratch, Server, credit, entries, slice_manifest};
use crate::verify::sound;
use purser::journal::frame::{
    ALIGN, FrameBuffer, HEADER_BYTES, Kind, MAX_WRITE_BYTES, NO_SALT, size_of_payload,
};
use purser::journal::segment::Header;
use purser::journal::{File, Place, manifest, slice_directory};
use purser::ledger::secret::Secret;
use purser::slice::log::Segments;
use purser::slice::recovery::{Recovery, Report};
use purser::slice::source::{self, Source};
use purser::slice::{Slice, StepOutcome};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::time::{Duration, Instant};

/// Booking time of the first ordinary entry.
const T: u64 = 1_700_000_100_000;
/// Users with ordinary entries: 1 to this number.
const USERS: u64 = 4;
/// User with forged entries. All have one booking time, which is the number of the generation.
const FORGER: u64 = 9;
const GENERATION: u64 = 1;
/// Bytes of a record before its entry id.
const BEFORE_ID: usize = 17;
/// Bytes of a posting or hold, without its kind; and of the longest one.
const POSTING: usize = 58;
const LONGEST: usize = POSTING + 32;
/// Ordinary entries per request that fills the log.
const LINES: u64 = 10_000;

/// The bytes of a frame's header, with a correct checksum if there is no payload.
fn header(place: Place, salt: u64, kind: Kind, number: u64, payload_bytes: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for field in [payload_bytes, kind as u32, place.slice] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for field in [place.generation, place.file, number, salt] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[4..HEADER_BYTES]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What was fed, all of it acknowledged.
struct Fed {
    /// Ordinary entries.
    count: u64,
    /// Forged settlements, and the sum of their amounts.
    forged: u64,
    sum: i64,
    /// Other entries of the forger: a hold for each settlement, and postings of 1.
    others: u64,
}

impl Fed {
    fn line(n: u64) -> String {
        let line = credit(n, 1 + n % USERS, 1, T + n * 1_000);
        line.replace("topup", &"k".repeat(LONGEST - POSTING))
    }

    fn fill(&mut self, server: &Server, lines: u64) {
        let lines: Vec<_> = (self.count..self.count + lines).map(Self::line).collect();
        server.feed(&lines);
        self.count += lines.len() as u64;
    }

    /// Feeds a body that becomes one write of two blocks. The second block begins with the entry
    /// id of a settlement, which is a whole frame of segment `segment` without payload: entry id,
    /// booking time, hold and amount.
    fn forge(&mut self, client: &mut Client, segment: u64) {
        let place = Place { generation: GENERATION, slice: 0, file: segment };
        // Write numbers that are still to come when the segment is used, and the amount as salt.
        let (number, amount) = (1 << 40 | self.forged, 1 + self.forged % 1_000);
        let frame = header(place, amount, Kind::Write, number, 0);
        let id = |at: usize| u128::from_le_bytes(frame[at..at + 16].try_into().expect("16 bytes"));
        let posting = |id: u128, kind: usize, amount: u64, state: &str| {
            format!(
                "{{\"entry_id\":\"{id}\",\"user_id\":\"{FORGER}\",\"currency\":\"COIN\",\
                 \"kind\":\"{}\",\"direction\":\"credit\",\"amount\":{amount},\
                 \"at_ms\":{GENERATION},\"state\":\"{state}\"}}",
                "k".repeat(kind)
            )
        };
        let mut lines = vec![posting(id(24), 1, amount, "pending")];
        // Fills the block up to the settlement's entry id.
        let rest = ALIGN - HEADER_BYTES - BEFORE_ID - (POSTING + 1);
        let fillers = rest.div_ceil(LONGEST);
        for n in 0..fillers {
            let kind = rest / fillers + usize::from(n < rest % fillers) - POSTING;
            let id = (u128::from(self.forged) << 64 | n as u128) + (1 << 100);
            lines.push(posting(id, kind, 1, "posted"));
        }
        lines.push(format!(
            "{{\"entry_id\":\"{}\",\"user_id\":\"{FORGER}\",\"amount\":{amount},\
             \"at_ms\":{GENERATION},\"state\":\"posted\",\"pending_id\":\"{}\"}}",
            id(0),
            id(24)
        ));
        let answer = client.ask(feed(entries(&lines))).shown();
        assert_eq!(answer, expected::json("", &fed(lines.len(), 0, &[])));
        self.forged += 1;
        self.sum += (amount + fillers as u64) as i64;
        self.others += 1 + fillers as u64;
    }

    /// Checks that everything that was acknowledged is there.
    fn check(&self, server: &Server) {
        let mut client = server.connect();
        for user in 1..=USERS {
            let last = (0..self.count).rev().find(|n| 1 + n % USERS == user).expect("it has some");
            let count = last / USERS + 1;
            let answer = client.ask(get(&format!("/v1/users/{user}/balance"))).shown();
            assert_eq!(answer, balance(user, count, T + last * 1_000, count as i64));
        }
        let answer = client.ask(get(&format!("/v1/users/{FORGER}/balance"))).shown();
        assert_eq!(answer, balance(FORGER, self.forged + self.others, GENERATION, self.sum));
    }
}

/// The salt that the header of a segment states.
fn salt_of(segment: &[u8]) -> Option<u64> {
    let length = u32::from_le_bytes(segment[4..8].try_into().expect("four bytes")) as usize;
    Header::decode(&segment[HEADER_BYTES..HEADER_BYTES + length]).map(|header| header.salt)
}

/// Blocks of a segment with a forged frame of segment `number`.
fn forged_blocks(segment: &[u8], number: u64) -> usize {
    let place = Place { generation: GENERATION, slice: 0, file: number };
    let u64_at = |block: &[u8], at: usize| {
        u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"))
    };
    let is_forged = |block: &&[u8]| {
        let forged = header(place, u64_at(block, 40), Kind::Write, u64_at(block, 32), 0);
        block[..HEADER_BYTES] == forged[..HEADER_BYTES]
    };
    segment.chunks_exact(ALIGN).filter(is_forged).count()
}

/// Clients fill a segment of the largest size with frames of the segment that it will be once it
/// is recycled. The server is killed when it is.
#[test]
fn records_that_look_like_later_writes_are_not_taken_for_them() {
    let scratch = Scratch::new("hostile-log");
    let data = scratch.join("data");
    let mut server = Server::with_data(&data, &["--snapshot-after-mib", "1"]);
    let named = || slice_manifest(&data, 0);
    // The first segment of the largest size; the third one after it is the same file. By then,
    // snapshots have made it superfluous.
    let Segments { first_bytes, largest_bytes } = Segments::DISK;
    let hostile = 1 + u64::from((largest_bytes / first_bytes).ilog2());
    let recycled = hostile + 3;
    let begun = Instant::now();
    let mut all = Fed { count: 0, forged: 0, sum: 0, others: 0 };
    while named().last < hostile {
        all.fill(&server, LINES);
    }
    let mut client = server.connect();
    while named().last == hostile {
        (0..16).for_each(|_| all.forge(&mut client, recycled));
    }
    while named().last < recycled {
        all.fill(&server, LINES);
    }
    all.fill(&server, 10);
    let fed_in = begun.elapsed();
    server.kill();

    let path = |number| data.join(slice_directory(GENERATION, 0)).join(format!("log-{number}"));
    let bytes = fs::read(path(recycled)).expect("it is there");
    let forged = forged_blocks(&bytes, recycled);
    assert!(forged > 1_000, "the segment was recycled and holds {forged} forged frames");
    let begun = Instant::now();
    sound(&data);
    let verified_in = begun.elapsed();
    let begun = Instant::now();
    server = Server::with_data(&data, &[]);
    println!(
        "{forged} forged frames; fed in {fed_in:?}, verified in {verified_in:?}, started in {:?}",
        begun.elapsed()
    );
    all.check(&server);
    all.fill(&server, LINES);
    server.kill();
    // No two segments have the same salt.
    let segments: Vec<_> = (named().first..=named().last).collect();
    let salt = |&number: &u64| salt_of(&fs::read(path(number)).expect("it is there"));
    let salts: BTreeSet<_> = segments.iter().filter_map(salt).collect();
    assert!(salts.len() == segments.len() && salts.len() > 1, "{segments:?}: {salts:?}");
    all.check(&Server::with_data(&data, &[]));
}

// A segment whose every block holds a hostile header, recovered without a server.

const PLACE: Place = Place { generation: 1, slice: 0, file: 1 };
const SALT: u64 = 0x0123_4567_89ab_cdef;
const SEGMENT_BYTES: usize = Segments::DISK.largest_bytes as usize;

/// The bytes of a block, by its place in the segment.
type Block<'a> = &'a dyn Fn(usize) -> Vec<u8>;

/// A log of one segment.
struct OneSegment(Vec<u8>);

impl OneSegment {
    /// A segment with no write, and `block` with its place in the file in every block after the
    /// header.
    fn of(block: Block<'_>) -> Self {
        let mut first = FrameBuffer::with_capacity(ALIGN);
        Header { capacity: SEGMENT_BYTES as u64, before: None, salt: SALT }.write(first.payload());
        first.seal(Kind::Segment, PLACE, NO_SALT, 0);
        let mut bytes = first.bytes().to_vec();
        bytes.resize(SEGMENT_BYTES, 0xa5);
        for at in (ALIGN..SEGMENT_BYTES).step_by(ALIGN) {
            let block = block(at);
            bytes[at..at + block.len()].copy_from_slice(&block);
        }
        Self(bytes)
    }

    /// Recovers it. Returns the report, the whole time, that of the longest step, and the most
    /// bytes that a step copied and checksummed.
    fn recover(&mut self) -> (Report, Duration, Duration, u64) {
        let manifest = manifest::SliceManifest { first: 1, last: 1, ..Default::default() };
        let (mut slice, mut recovery) =
            (Slice::new(usize::MAX, Secret::default()), Recovery::new(PLACE, 1, manifest));
        let (mut whole, mut longest, mut most) = (Duration::ZERO, Duration::ZERO, 0);
        loop {
            let (mut asked, before) = (Vec::new(), recovery.report().worked_bytes);
            let begun = Instant::now();
            let outcome = recovery.advance(&mut slice, &mut |task| asked.push(task));
            let took = begun.elapsed();
            (whole, longest) = (whole + took, longest.max(took));
            most = most.max(recovery.report().worked_bytes - before);
            if outcome.expect("nothing in this segment is a later write") == StepOutcome::Done {
                assert_eq!(recovery.report().replayed, 0);
                return (*recovery.report(), whole, longest, most);
            }
            for task in asked {
                recovery.done(source::serve(task, self).unwrap_or_else(|never| match never {}));
            }
        }
    }
}

impl Source for OneSegment {
    type Error = Infallible;

    fn size(&mut self, file: File) -> Result<Option<u64>, Infallible> {
        Ok((file == File::Segment(1)).then_some(SEGMENT_BYTES as u64))
    }

    fn read(
        &mut self,
        _: File,
        offset: u64,
        bytes: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), Infallible> {
        into.clear();
        into.extend_from_slice(&self.0[offset as usize..offset as usize + bytes]);
        Ok(())
    }
}

#[test]
fn a_segment_full_of_hostile_headers_is_searched_in_bounded_steps() {
    const AT_MOST: Duration = Duration::from_secs(2);
    // A step's budget, exceeded by one write that is copied, moved up and checksummed.
    const MOST_BYTES: u64 = (256 << 10) + 3 * size_of_payload(MAX_WRITE_BYTES) as u64;
    let rest = |at: usize| (SEGMENT_BYTES - at - HEADER_BYTES) as u32;
    let longest = |at: usize| rest(at).min(MAX_WRITE_BYTES as u32);
    let broken = |mut header: Vec<u8>| {
        header[0] ^= 1;
        header
    };
    let number = |at: usize| (at / ALIGN) as u64;
    let with = |salt, kind, at: usize, bytes| broken(header(PLACE, salt, kind, number(at), bytes));
    let cases: [(_, _, Block<'_>); 7] = [
        // Bytes that a client can write.
        ("to the end", true, &|at| with(SALT ^ 1, Kind::Write, at, rest(at))),
        ("no salt", true, &|at| with(NO_SALT, Kind::Users, at, rest(at))),
        ("no header", false, &|_| vec![0xff; ALIGN]),
        // Bytes that nobody can, without the salt.
        ("longest writes", true, &|at| with(SALT, Kind::Write, at, longest(at))),
        ("longer writes", true, &|at| with(SALT, Kind::Write, at, rest(at))),
        ("users", true, &|at| with(SALT, Kind::Users, at, rest(at))),
        ("headers", true, &|at| with(SALT, Kind::Segment, at, rest(at))),
    ];
    for (what, is_torn, block) in cases {
        let (report, whole, longest, most) = OneSegment::of(block).recover();
        println!(
            "{what}: {whole:?}, longest step {longest:?}; {} bytes of work, at most {most} a step",
            report.worked_bytes
        );
        assert_eq!(report.torn_write, is_torn.then_some((1, ALIGN as u64)), "{what}");
        assert!(whole < AT_MOST, "{what}: {whole:?}");
        // Far above what a step takes: the machine may be busy with other things.
        assert!(longest < Duration::from_millis(100), "{what}: a step takes {longest:?}");
        assert!(most <= MOST_BYTES, "{what}: a step copies and checksums {most} bytes");
    }
}
