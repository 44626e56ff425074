//! WAL record: one accepted entry, with the version that it gave its user.
//!
//! | bytes | field, little-endian |
//! |-------|----------------------|
//! | 1 | action: 0 post, 1 hold, 2 grow, 3 settle, 4 void; plus flags |
//! | 8 | user: the number, or the hash of a text |
//! | 8 | version of the user after the entry |
//! | 16 | entry id |
//! | 8 | booking time, ms |
//! | 1 + n | length of the user id; user id: if it is a text |
//! | 16 | grow, settle, void: id of the hold |
//! | 8 | amount; a void may have none |
//! | 8 + 1 + n | currency, padded with zeros; length of the kind; kind: if they are its own |
//!
//! Flags: 8, a grow, settle or void has its own currency, kind and direction; 16, that direction is
//! debit; 32, a settle keeps the rest, or a void has an amount; 64, the entry was accepted even if
//! it is late; 128, the user id is a text.
//!
//! Currencies and kinds are stored as text: a record can be read without any other.

use super::fields::{kind, number, take};
use crate::ledger::amount::{Amount, Currency, Direction, KIND_BYTES};
use crate::ledger::entry::{Action, EntryRef, Movement, Terms};
use crate::ledger::id::{EntryId, USER_ID_BYTES, UserId};
use crate::ledger::time::Millis;

/// Upper bound of a record's size in bytes.
pub const MAX_BYTES: usize = HEAD_BYTES + 1 + USER_ID_BYTES + 16 + 17 + KIND_BYTES;
/// Bytes up to the booking time.
pub const HEAD_BYTES: usize = 41;

const POST: u8 = 0;
const HOLD: u8 = 1;
const GROW: u8 = 2;
const SETTLE: u8 = 3;
const VOID: u8 = 4;
/// Bits of the action byte that are the action.
const ACTION: u8 = 7;
/// Flags of the action byte.
const OWN_TERMS: u8 = 8;
const DEBIT: u8 = 16;
const KEEPS_REST: u8 = 32;
const HAS_AMOUNT: u8 = 32;
const LATE_ACCEPTED: u8 = 64;
const TEXT_ID: u8 = 128;

/// Appends the record of an accepted entry.
#[inline]
pub fn write(out: &mut Vec<u8>, entry: &EntryRef<'_>, version: u64) {
    let tag = match entry.action {
        Action::Post(movement) => POST | direction(movement.direction),
        Action::Hold(movement) => HOLD | direction(movement.direction),
        Action::Grow { terms, .. } => GROW | own_terms(terms),
        Action::Settle { terms, is_final, .. } => {
            SETTLE | own_terms(terms) | if is_final { 0 } else { KEEPS_REST }
        }
        Action::Void { terms, amount, .. } => {
            VOID | own_terms(terms) | if amount.is_some() { HAS_AMOUNT } else { 0 }
        }
    };
    let (text_id, user) = match entry.user {
        UserId::Number(number) => (&[][..], number),
        UserId::Text(text) => (text, entry.user.hash()),
    };
    let mut head = [0; HEAD_BYTES];
    head[0] = tag
        | if entry.late_accepted { LATE_ACCEPTED } else { 0 }
        | if text_id.is_empty() { 0 } else { TEXT_ID };
    head[1..9].copy_from_slice(&user.to_le_bytes());
    head[9..17].copy_from_slice(&version.to_le_bytes());
    head[17..33].copy_from_slice(&entry.id.0.to_le_bytes());
    head[33..].copy_from_slice(&entry.at.0.to_le_bytes());
    out.extend_from_slice(&head);
    if !text_id.is_empty() {
        write_text_id(out, text_id);
    }
    match entry.action {
        Action::Post(movement) | Action::Hold(movement) => {
            let mut money = [0; 17];
            money[..8].copy_from_slice(&movement.amount.minor().to_le_bytes());
            money[8..16].copy_from_slice(movement.currency.padded());
            money[16] = movement.kind.len() as u8;
            out.extend_from_slice(&money);
            out.extend_from_slice(movement.kind.as_bytes());
        }
        Action::Grow { hold, terms, amount } | Action::Settle { hold, terms, amount, .. } => {
            write_on_hold(out, hold, Some(amount), terms);
        }
        Action::Void { hold, terms, amount } => write_on_hold(out, hold, amount, terms),
    }
}

/// Not inlined: records of users with numbers stay fast.
#[inline(never)]
fn write_text_id(out: &mut Vec<u8>, text: &[u8]) {
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn write_on_hold(
    out: &mut Vec<u8>,
    hold: EntryId,
    amount: Option<Amount>,
    terms: Option<Terms<'_>>,
) {
    out.extend_from_slice(&hold.0.to_le_bytes());
    if let Some(amount) = amount {
        out.extend_from_slice(&amount.minor().to_le_bytes());
    }
    if let Some(terms) = terms {
        out.extend_from_slice(terms.currency.padded());
        out.push(terms.kind.len() as u8);
        out.extend_from_slice(terms.kind.as_bytes());
    }
}

fn own_terms(terms: Option<Terms<'_>>) -> u8 {
    terms.map_or(0, |terms| OWN_TERMS | direction(terms.direction))
}

const fn direction(direction: Direction) -> u8 {
    match direction {
        Direction::Credit => 0,
        Direction::Debit => DEBIT,
    }
}

/// The text that is the user id of a well-formed record; empty if the id is a number.
pub fn text_id(record: &[u8]) -> &[u8] {
    match record.get(HEAD_BYTES..).and_then(<[u8]>::split_first) {
        Some((&len, rest)) if record[0] & TEXT_ID != 0 => &rest[..usize::from(len)],
        _ => &[],
    }
}

/// Takes the next record and its version off `bytes`; `None` if they do not begin with a
/// well-formed record.
#[inline]
pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<(EntryRef<'a>, u64)> {
    let [tag] = take(bytes)?;
    let user = number(bytes)?;
    let version = Some(number(bytes)?).filter(|&version| version > 0)?;
    let id = EntryId(u128::from_le_bytes(take(bytes)?));
    let at = Millis::new(number(bytes)?)?;
    let user = if tag & TEXT_ID == 0 { UserId::Number(user) } else { take_text_id(bytes, user)? };
    let direction = if tag & DEBIT == 0 { Direction::Credit } else { Direction::Debit };
    let (own, flag) = (tag & OWN_TERMS != 0, tag & KEEPS_REST != 0);
    let is_on_hold = tag & ACTION >= GROW;
    if is_on_hold && !own && direction == Direction::Debit {
        return None;
    }
    let action = match tag & ACTION {
        POST if !own && !flag => Action::Post(movement(bytes, direction)?),
        HOLD if !own && !flag => Action::Hold(movement(bytes, direction)?),
        action => {
            let hold = EntryId(u128::from_le_bytes(take(bytes)?));
            let amount = if action != VOID || flag { Some(amount(bytes)?) } else { None };
            let terms = if own { Some(terms(bytes, direction)?) } else { None };
            match (action, amount) {
                (GROW, Some(amount)) if !flag => Action::Grow { hold, terms, amount },
                (SETTLE, Some(amount)) => Action::Settle { hold, terms, amount, is_final: !flag },
                (VOID, amount) => Action::Void { hold, terms, amount },
                _ => return None,
            }
        }
    };
    let late_accepted = tag & LATE_ACCEPTED != 0;
    Some((EntryRef { id, user, at, late_accepted, action }, version))
}

#[inline(never)]
fn take_text_id<'a>(bytes: &mut &'a [u8], hash: u64) -> Option<UserId<'a>> {
    let [len] = take(bytes)?;
    let (text, rest) = bytes.split_at_checked(usize::from(len))?;
    *bytes = rest;
    UserId::stored_text(text).filter(|id| id.hash() == hash)
}

fn movement<'a>(bytes: &mut &'a [u8], direction: Direction) -> Option<Movement<'a>> {
    let amount = amount(bytes)?;
    let Terms { currency, kind, direction } = terms(bytes, direction)?;
    Some(Movement { currency, kind, direction, amount })
}

fn terms<'a>(bytes: &mut &'a [u8], direction: Direction) -> Option<Terms<'a>> {
    let padded: [u8; 8] = take(bytes)?;
    let len = padded.iter().position(|&b| b == 0).unwrap_or(padded.len());
    let currency = Currency::parse(&padded[..len]).filter(|c| *c.padded() == padded)?;
    Some(Terms { currency, kind: kind(bytes)?, direction })
}

fn amount(bytes: &mut &[u8]) -> Option<Amount> {
    Amount::new(i64::from_le_bytes(take(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<EntryRef<'static>> {
        let movement = |direction, kind| Movement {
            currency: Currency::parse(b"COIN").unwrap(),
            kind,
            direction,
            amount: Amount::new(i64::MAX).unwrap(),
        };
        let hold = EntryId(u128::MAX - 5);
        let entry = |action| EntryRef {
            id: EntryId(1 << 100 | 9),
            user: UserId::Number(42),
            at: Millis(1_763_900_000_000),
            late_accepted: false,
            action,
        };
        let terms = Some(Terms {
            currency: Currency::parse(b"USD/2").unwrap(),
            kind: "payment.captured",
            direction: Direction::Debit,
        });
        let amount = Amount::new(7).unwrap();
        let mut late = entry(Action::Grow { hold, terms, amount });
        late.late_accepted = true;
        let mut texts = entry(Action::Void { hold, terms, amount: Some(amount) });
        texts.user = UserId::Text(b"users:1234");
        vec![
            entry(Action::Post(movement(Direction::Credit, "topup"))),
            entry(Action::Post(movement(Direction::Debit, "a"))),
            entry(Action::Hold(movement(Direction::Credit, "abcdefghijklmnopqrstuvwxyz_01234"))),
            entry(Action::Hold(movement(Direction::Debit, "b2"))),
            entry(Action::Grow { hold, terms: None, amount }),
            late,
            entry(Action::Settle { hold, terms: None, amount, is_final: true }),
            entry(Action::Settle { hold, terms, amount, is_final: false }),
            entry(Action::Void { hold, terms: None, amount: None }),
            entry(Action::Void { hold, terms, amount: Some(amount) }),
            texts,
        ]
    }

    #[test]
    fn records_read_back() {
        let mut bytes = Vec::new();
        for (version, entry) in entries().iter().enumerate().map(|(n, entry)| (n + 1, entry)) {
            let before = bytes.len();
            write(&mut bytes, entry, version as u64);
            assert!(bytes.len() - before <= MAX_BYTES);
        }
        let mut rest = &bytes[..];
        for (version, entry) in entries().iter().enumerate().map(|(n, entry)| (n + 1, entry)) {
            assert_eq!(decode(&mut rest), Some((*entry, version as u64)));
        }
        assert_eq!(rest, b"");
        assert_eq!(decode(&mut rest), None);
    }

    #[test]
    fn corrupt_bytes_never_panic() {
        for entry in entries() {
            let mut good = Vec::new();
            write(&mut good, &entry, 3);
            for len in 0..good.len() {
                assert_eq!(decode(&mut &good[..len]), None, "{len} bytes of {entry:?}");
            }
            for (at, flip) in (0..good.len()).flat_map(|at| (1..=255).map(move |flip| (at, flip))) {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Some((other, version)) = decode(&mut &bad[..]) {
                    let mut again = Vec::new();
                    write(&mut again, &other, version);
                    assert_eq!(again[..], bad[..again.len()], "each record has one encoding");
                }
            }
        }
    }

    /// Logs are kept for ever: these bytes define the format of records.
    #[test]
    fn the_format_is_pinned() {
        let shown: Vec<String> = entries()
            .iter()
            .map(|entry| {
                let mut bytes = Vec::new();
                write(&mut bytes, entry, 258);
                bytes.iter().map(|b| format!("{b:02x}")).collect()
            })
            .collect();
        assert_eq!(shown, PINNED);
    }

    const PINNED: &[&str] = &[
        "002a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         ffffffffffffff7f434f494e0000000005746f707570",
        "102a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         ffffffffffffff7f434f494e000000000161",
        "012a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         ffffffffffffff7f434f494e00000000206162636465666768696a6b6c6d6e6f7071727374757677\
         78797a5f3031323334",
        "112a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         ffffffffffffff7f434f494e00000000026232",
        "022a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff0700000000000000",
        "5a2a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff07000000000000005553442f32000000107061796d656e74\
         2e6361707475726564",
        "032a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff0700000000000000",
        "3b2a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff07000000000000005553442f32000000107061796d656e74\
         2e6361707475726564",
        "042a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff",
        "3c2a000000000000000201000000000000090000000000000000000000100000000007a2b09a010000\
         faffffffffffffffffffffffffffffff07000000000000005553442f32000000107061796d656e74\
         2e6361707475726564",
        "bc512802d9b0d2e52b0201000000000000090000000000000000000000100000000007a2b09a010000\
         0a75736572733a31323334faffffffffffffffffffffffffffffff07000000000000005553442f3200\
         0000107061796d656e742e6361707475726564",
    ];
}
