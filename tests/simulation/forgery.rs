//! Forged log frames: whole headers of a later write, correct but for the salt, which is guessed.
//!
//! Clients place them in records ([`drafts`]), whose bytes they choose. More are placed in a
//! segment when it is recycled ([`plant`]), as if the clients had aimed well. No start may take one
//! for a write, or refuse because of one.

use super::oracle::Draft;
use super::random::Random;
use purser::journal::frame::{ALIGN, HEADER_BYTES, Kind, NO_SALT};
use purser::journal::{Place, record};
use purser::ledger::amount::{Amount, Currency, Direction};
use purser::ledger::entry::{Action, EntryRef, Movement};
use purser::ledger::id::{EntryId, UserId};
use purser::ledger::time::Millis;

/// The salt that a forger guesses most often.
pub const GUESS: u64 = 0x5a17;
/// Bytes of a record before its entry id.
const BEFORE_ID: usize = 17;
/// Bytes of a posting or hold, without its kind.
const POSTING: usize = 58;
/// Records before the forged one: with these kinds, its entry id is the first of a block's bytes.
const KINDS: [(&str, usize); 2] = [("topup", 63), ("gift", 1)];

const _: () = {
    let mut bytes = HEADER_BYTES + BEFORE_ID;
    let mut at = 0;
    while at < KINDS.len() {
        bytes += (POSTING + KINDS[at].0.len()) * KINDS[at].1;
        at += 1;
    }
    assert!(bytes == ALIGN, "the forged record's id begins a block");
};

/// A whole frame with a correct checksum.
fn frame(place: Place, salt: u64, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for field in [payload.len() as u32, Kind::Write as u32, place.slice] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for field in [place.generation, place.file, number, salt] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Entries of a user without later ones, the last of which is a settlement: its entry id, booking
/// time, hold and amount are the header of a frame without payload.
pub fn drafts(
    user: UserId<'static>,
    first_id: u128,
    place: Place,
    number: u64,
    random: &mut Random,
) -> Vec<Draft> {
    let guess = if random.coin() { GUESS } else { random.below(i64::MAX as u64) };
    let header = frame(place, guess, number, b"");
    let u128_at =
        |at: usize| u128::from_le_bytes(header[at..at + 16].try_into().expect("16 bytes"));
    let (hold, at) = (EntryId(u128_at(24)), Millis(place.generation));
    let amount = Amount::new(guess as i64).expect("a guess is not negative");
    let movement = |kind, amount| Movement {
        currency: Currency::parse(b"COIN").expect("it is a valid currency"),
        kind,
        direction: Direction::Credit,
        amount,
    };
    let small = Amount::new(1).expect("not negative");
    let mut drafts = vec![EntryRef {
        id: hold,
        user,
        at,
        late_accepted: false,
        action: Action::Hold(movement("topup", amount)),
    }];
    let kinds = KINDS.iter().flat_map(|&(kind, times)| std::iter::repeat_n(kind, times)).skip(1);
    drafts.extend(kinds.enumerate().map(|(n, kind)| EntryRef {
        id: EntryId(first_id + n as u128),
        user,
        at,
        late_accepted: false,
        action: Action::Post(movement(kind, small)),
    }));
    let action = Action::Settle { hold, terms: None, amount, is_final: true };
    drafts.push(EntryRef { id: EntryId(u128_at(0)), user, at, late_accepted: false, action });
    drafts
}

/// Overwrites blocks of a segment that becomes the one at `place` with writes that follow write
/// `written`. Each has a record of a user who does not exist.
pub fn plant(bytes: &mut [u8], place: Place, slices: u32, written: u64, random: &mut Random) {
    let former = bytes[HEADER_BYTES + 28..HEADER_BYTES + 36].try_into().expect("eight bytes");
    let guesses = [GUESS, NO_SALT, u64::from_le_bytes(former), random.next()];
    for _ in 0..random.below(5) {
        let first = random.next() >> 1;
        let user = (first..).map(UserId::Number).find(|user| user.slice(slices) == place.slice);
        let entry = EntryRef {
            id: EntryId(u128::from(first)),
            user: user.expect("every slice has users without end"),
            at: Millis(1),
            late_accepted: false,
            action: Action::Post(Movement {
                currency: Currency::parse(b"COIN").expect("it is a valid currency"),
                kind: "forged",
                direction: Direction::Credit,
                amount: Amount::new(1).expect("not negative"),
            }),
        };
        let mut payload = Vec::new();
        record::write(&mut payload, &entry, 1);
        let number = written + random.between(1, 60);
        let forged = frame(place, random.pick(&guesses), number, &payload);
        // The first block is that of the header, where no record ever is.
        let at = random.between(1, (bytes.len() / ALIGN) as u64 - 1) as usize * ALIGN;
        bytes[at..at + forged.len()].copy_from_slice(&forged);
    }
}

/// Number of blocks that hold a forged frame of `place`.
pub fn count(bytes: &[u8], place: Place) -> u64 {
    let is_forged = |block: &&[u8]| {
        let length = u32::from_le_bytes(block[4..8].try_into().expect("four bytes")) as usize;
        let number = u64::from_le_bytes(block[32..40].try_into().expect("eight bytes"));
        let salt = u64::from_le_bytes(block[40..48].try_into().expect("eight bytes"));
        let end = HEADER_BYTES + length;
        end <= ALIGN && frame(place, salt, number, &block[HEADER_BYTES..end]) == block[..end]
    };
    bytes.chunks_exact(ALIGN).filter(is_forged).count() as u64
}
