//! Fingerprints: what is remembered of an accepted entry, 16 bytes.
//!
//! An id is stored as a 64-bit fingerprint, a 32-bit fingerprint of the entry's parsed fields, and
//! the low 32 bits of the user's latest booking time when it was accepted. With n ids in the
//! window, a new id collides with another one with probability n·2⁻⁶⁴, and is then *refused
//! visibly* (`entry_id_conflict`). To be taken silently for a duplicate, its fields would have to
//! collide too (2⁻⁹⁶). Ids and kinds are hashed by XXH3 (Y. Collet, xxHash 0.8) with seed 0; fields
//! are folded together by multiplication.
//!
//! Fingerprints are stored on disk in the same 16 bytes ([`super::image`]), so how they are
//! computed and packed never changes. They have no key: where they are placed in memory is decided
//! by another hash, which has one ([`super::tables`]).

use super::entry::{Action, EntryRef, Movement, Terms};
use super::id::EntryId;
use super::time::Millis;
use xxhash_rust::xxh3::xxh3_64;

/// One id on disk: fields: u32 LE | low half of the latest booking time: u32 LE | id: u64 LE.
pub(super) const SEEN_ENTRY_BYTES: usize = 16;

/// Fingerprints of one accepted entry, and when it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEntry {
    /// Fingerprint of the id.
    pub(super) id: u64,
    /// Fingerprint of the fields.
    pub(super) fields: u32,
    /// Low half of the user's latest booking time when the entry had been accepted.
    pub(super) latest_low: u32,
}

impl SeenEntry {
    /// The fingerprints of an entry that is not accepted yet.
    #[inline(always)]
    pub fn of(entry: &EntryRef<'_>) -> Self {
        Self { id: Self::fingerprint(entry.id), fields: fields(entry), latest_low: 0 }
    }

    /// The same, accepted; `latest` is the user's latest booking time after it.
    #[must_use]
    pub(super) const fn accepted(self, latest: Millis) -> Self {
        Self { latest_low: latest.0 as u32, ..self }
    }

    /// Fingerprint of an id.
    pub(super) fn fingerprint(id: EntryId) -> u64 {
        xxh3_64(&id.0.to_le_bytes())
    }

    pub(super) fn to_bytes(self) -> [u8; SEEN_ENTRY_BYTES] {
        (u128::from(self.id) << 64 | u128::from(self.latest_low) << 32 | u128::from(self.fields))
            .to_le_bytes()
    }

    pub(super) fn of_bytes(bytes: [u8; SEEN_ENTRY_BYTES]) -> Self {
        let packed = u128::from_le_bytes(bytes);
        Self { id: (packed >> 64) as u64, fields: packed as u32, latest_low: (packed >> 32) as u32 }
    }
}

const CREDIT_HOLD: u64 = 2;
const SETTLE: u64 = 4;
const VOID: u64 = 5;
const VOID_AMOUNT: u64 = 6;
const GROW: u64 = 7;
/// Flag of a tag: the entry names a hold and has terms of its own.
const HAS_TERMS: u64 = 8;
/// Flag of a tag: the rest of the hold stays held.
const KEEPS_REST: u64 = 16;

/// Fingerprint of the parsed fields, without the id, which has its own fingerprint, and the user,
/// to whom the dedup window belongs.
#[inline(always)]
fn fields(entry: &EntryRef<'_>) -> u32 {
    let at = entry.at.0;
    match entry.action {
        Action::Post(movement) => of_movement(at, 0, &movement),
        Action::Hold(movement) => of_movement(at, CREDIT_HOLD, &movement),
        Action::Grow { hold, terms, amount } => {
            on_hold(at, GROW, hold, terms, amount.minor().cast_unsigned())
        }
        Action::Settle { hold, terms, amount, is_final } => {
            let tag = SETTLE | if is_final { 0 } else { KEEPS_REST };
            on_hold(at, tag, hold, terms, amount.minor().cast_unsigned())
        }
        Action::Void { hold, terms, amount: None } => on_hold(at, VOID, hold, terms, 0),
        Action::Void { hold, terms, amount: Some(amount) } => {
            on_hold(at, VOID_AMOUNT, hold, terms, amount.minor().cast_unsigned())
        }
    }
}

#[inline(always)]
fn of_movement(at: u64, tag: u64, movement: &Movement<'_>) -> u32 {
    let Movement { currency, kind, direction, amount } = *movement;
    let currency = u64::from_le_bytes(*currency.padded());
    let amount = amount.minor().cast_unsigned();
    finish(mix(at, amount, currency, xxh3_64(kind.as_bytes())), tag | direction as u64)
}

fn on_hold(at: u64, tag: u64, hold: EntryId, terms: Option<Terms<'_>>, amount: u64) -> u32 {
    let mixed = mix(at, amount, hold.0 as u64, (hold.0 >> 64) as u64);
    let Some(Terms { currency, kind, direction }) = terms else { return finish(mixed, tag) };
    let currency = u64::from_le_bytes(*currency.padded());
    let [.., k5, k6] = KEYS;
    let terms = fold(currency ^ k5, xxh3_64(kind.as_bytes()) ^ k6).rotate_left(direction as u32);
    finish(mixed ^ terms, tag | HAS_TERMS)
}

#[inline(always)]
const fn mix(at: u64, amount: u64, low: u64, high: u64) -> u64 {
    let [k0, k1, k2, k3, ..] = KEYS;
    fold(at ^ k0, amount ^ k1) ^ fold(low ^ k2, high ^ k3).rotate_left(23)
}

#[inline(always)]
const fn finish(mixed: u64, tag: u64) -> u32 {
    (fold(mixed ^ tag, KEYS[4]) >> 32) as u32
}

/// Mixing constants: fractional digits of pi, as nothing-up-my-sleeve numbers.
const KEYS: [u64; 7] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
];

/// XOR of both halves of a 128-bit product: the mixing step of wyhash (Wang Yi, 2019).
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::{Amount, Currency, Direction};
    use crate::ledger::id::UserId;

    fn entry(action: Action<'static>, at: u64) -> EntryRef<'static> {
        let (id, user) = (EntryId(7), UserId::Number(1));
        EntryRef { id, user, at: Millis(at), late_accepted: false, action }
    }

    fn terms(currency: &str, kind: &'static str, direction: Direction) -> Terms<'static> {
        Terms { currency: Currency::parse(currency.as_bytes()).unwrap(), kind, direction }
    }

    fn movement(terms: Terms<'static>, amount: i64) -> Movement<'static> {
        let Terms { currency, kind, direction } = terms;
        Movement { currency, kind, direction, amount: Amount::new(amount).unwrap() }
    }

    /// Entries that differ in one field each.
    fn different() -> Vec<EntryRef<'static>> {
        let (credit, debit) = (Direction::Credit, Direction::Debit);
        let all = [
            terms("COIN", "gift", credit),
            terms("COIN", "gift", debit),
            terms("COIN", "gifts", credit),
            terms("COINS", "gift", credit),
        ];
        let (none, five) = (Amount::new(0).unwrap(), Amount::new(5).unwrap());
        let mut entries = vec![
            entry(Action::Post(movement(all[0], 5)), 1_001),
            entry(Action::Post(movement(all[0], 6)), 1_000),
            entry(Action::Hold(movement(all[0], 5)), 1_000),
        ];
        entries.extend(all.map(|terms| entry(Action::Post(movement(terms, 5)), 1_000)));
        for hold in [EntryId(1 << 70 | 5), EntryId(1 << 70 | 6)] {
            for terms in all.map(Some).into_iter().chain([None]) {
                let actions = [
                    Action::Grow { hold, terms, amount: none },
                    Action::Grow { hold, terms, amount: five },
                    Action::Settle { hold, terms, amount: none, is_final: true },
                    Action::Settle { hold, terms, amount: none, is_final: false },
                    Action::Settle { hold, terms, amount: five, is_final: true },
                    Action::Void { hold, terms, amount: None },
                    Action::Void { hold, terms, amount: Some(none) },
                    Action::Void { hold, terms, amount: Some(five) },
                ];
                entries.extend(actions.map(|action| entry(action, 1_000)));
            }
        }
        entries
    }

    #[test]
    fn every_field_changes_the_fingerprint() {
        let mut seen: Vec<_> = different().iter().map(fields).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), different().len());
    }

    #[test]
    fn whether_a_late_entry_is_accepted_is_no_field() {
        for entry in different() {
            let late = EntryRef { late_accepted: true, ..entry };
            assert_eq!(SeenEntry::of(&late), SeenEntry::of(&entry));
        }
    }

    #[test]
    fn fingerprints_are_pinned() {
        let all: Vec<u8> =
            different().iter().flat_map(|e| SeenEntry::of(e).fields.to_le_bytes()).collect();
        assert_eq!((xxh3_64(&7u128.to_le_bytes()), xxh3_64(&all)), PINNED);
    }

    const PINNED: (u64, u64) = (5_175_499_747_093_961_662, 17_270_658_429_466_615_635);
}
