//! Oracle for the syntax of the contract's values: a second, slow implementation with the standard
//! library's parsers and a check of each character.

use purser::ledger::amount::{Currency, Direction};
use purser::ledger::id::{EntryId, UserId};
use purser::ledger::time::{Millis, Window};
use serde::{Deserialize, Deserializer};

/// Deserialises a member that may be absent but never `null`.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A decimal in the form in which Rust prints it.
fn canonical<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse::<T>().ok().filter(|value| value.to_string() == text)
}

/// A decimal `u64`, or 1 to 64 of `A-Z a-z 0-9 - . _ ~ : @` but not `.` or `..`.
pub fn user(text: &str) -> Option<UserId<'_>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@".contains(c);
    let is_text = text.chars().all(is_plain) && (1..=64).contains(&text.len());
    let text_id = is_text && text != "." && text != "..";
    canonical(text).map(UserId::Number).or(text_id.then_some(UserId::Text(text.as_bytes())))
}

/// A UUID of any case, a decimal below 2^128, or the hash of any other text.
pub fn entry_id(text: &str) -> Option<EntryId> {
    let groups: Vec<&str> = text.split('-').collect();
    let is_uuid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
    if is_uuid && groups.concat().bytes().all(|b| b.is_ascii_hexdigit()) {
        return u128::from_str_radix(&groups.concat(), 16).ok().map(EntryId);
    }
    let is_plain = text.chars().all(|c| ('!'..='~').contains(&c) && !['"', '\\'].contains(&c));
    let hashed = || xxhash_rust::xxh3::xxh3_128(text.as_bytes());
    let is_text = is_plain && (1..=128).contains(&text.len());
    canonical(text).or_else(|| is_text.then(hashed)).map(EntryId)
}

/// `[A-Z][A-Z0-9._/-]{1,7}`.
pub fn currency(text: &str) -> Option<Currency> {
    let starts = text.starts_with(|c: char| c.is_ascii_uppercase());
    let rest = text.chars().all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '.' | '_' | '/' | '-'));
    if !(starts && rest && (2..=8).contains(&text.len())) {
        return None;
    }
    let currency = Currency::parse(text.as_bytes()).expect("a checked currency parses");
    assert_eq!(currency.as_bytes(), text.as_bytes());
    Some(currency)
}

/// `[A-Za-z0-9][A-Za-z0-9._:-]{0,31}`.
pub fn is_kind(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_inner = |c: char| c.is_ascii_alphanumeric() || ['.', '_', ':', '-'].contains(&c);
    starts && text.chars().all(is_inner) && text.len() <= 32
}

/// `credit` or `debit`.
pub fn direction(text: &str) -> Option<Direction> {
    match text {
        "credit" => Some(Direction::Credit),
        "debit" => Some(Direction::Debit),
        _ => None,
    }
}

/// Milliseconds up to the end of the year 9999.
pub fn time(ms: u64) -> Option<Millis> {
    (ms <= 253_402_300_799_999).then_some(Millis(ms))
}

/// `lifetime`, or a multiple of 15 minutes, 15m to 400d, in minutes, hours or days.
pub fn window(text: &str) -> Option<Window> {
    const MINUTE_MS: u64 = 60_000;
    if text == "lifetime" {
        return Some(Window::Lifetime);
    }
    let minutes = match text.chars().last()? {
        'm' => 1,
        'h' => 60,
        'd' => 1_440,
        _ => return None,
    };
    let minutes = canonical::<u64>(&text[..text.len() - 1])?.checked_mul(minutes)?;
    let fits = (15..=400 * 1_440).contains(&minutes) && minutes % 15 == 0;
    fits.then(|| Window::Last(minutes * MINUTE_MS))
}
