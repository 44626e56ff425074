//! Parser of one feed line: the fields of an entry, or the first problem.
//!
//! The formats of ids, currencies and kinds are here too, because reads use the same ones. The
//! parser has no state: whether an entry may be applied is the ledger's verdict.

use super::json::{self, Fault, Value, echo, member};
use super::ledger::{Direction, Entry, Group, State};
use super::problem::{Code, Problem};
use super::stats::MAX_TIME;
use xxhash_rust::xxh3::xxh3_128;

/// `metadata` is known and not looked at.
const KNOWN: [&str; 11] = [
    "entry_id",
    "user_id",
    "currency",
    "kind",
    "direction",
    "amount",
    "at_ms",
    "state",
    "pending_id",
    "final",
    "metadata",
];

const LONGEST_LINE: usize = 65_536;

/// A parsed line: the entry id to echo (`""` for none), and its fields or the problem.
pub struct Line {
    pub entry_id: String,
    pub entry: Result<Entry, Problem>,
}

pub fn read(line: &[u8]) -> Line {
    let refused_as = |code, field: String| Line {
        entry_id: String::new(),
        entry: Err(Problem::new(code, field)),
    };
    if line.len() > LONGEST_LINE {
        return refused_as(Code::LineTooLong, String::new());
    }
    let members = match json::object(line) {
        Ok(members) => members,
        Err(fault) => return refused_as(Code::InvalidJson(fault), String::new()),
    };
    if let Some(name) = json::repeated(&members) {
        return refused_as(Code::InvalidJson(Fault::Repeated), echo(name.as_bytes()));
    }
    let entry_id =
        member(&members, "entry_id").and_then(Value::text).filter(|text| id(text).is_some());
    Line { entry_id: entry_id.unwrap_or_default().to_owned(), entry: fields(&members) }
}

/// The members of one line, and the kind of entry that they claim to be.
struct Members<'a> {
    all: &'a [(String, Value)],
    /// Whether it has a `pending_id`.
    names_hold: bool,
    voids: bool,
}

fn fields(members: &[(String, Value)]) -> Result<Entry, Problem> {
    if let Some(name) = json::unknown(members, &KNOWN) {
        return Err(Problem::new(Code::UnknownField, echo(name.as_bytes())));
    }
    let members = Members {
        all: members,
        names_hold: member(members, "pending_id").is_some(),
        voids: member(members, "state").and_then(Value::text) == Some("voided"),
    };
    let id = members.needed("entry_id", |value| id(value.text()?))?;
    let user_id = members.needed("user_id", |value| user_id(value.text()?.as_bytes()))?;
    Ok(Entry {
        id,
        user_id,
        group: members.group()?,
        amount: members.amount()?,
        at_ms: members.needed("at_ms", time)?,
        state: members.state()?,
        pending_id: members.pending_id()?,
        is_final: members.is_final()?,
    })
}

impl Members<'_> {
    fn needed<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, Problem> {
        let value = member(self.all, name).ok_or(Problem::new(Code::MissingField, name))?;
        read(value).ok_or(Problem::new(Code::InvalidField, name))
    }

    /// Currency, kind and direction: all required, but a line on a hold may leave out all three.
    fn group(&self) -> Result<Option<Group>, Problem> {
        let is_there = |name| member(self.all, name).is_some();
        let is_given = is_there("currency") || is_there("kind") || is_there("direction");
        if (self.names_hold || self.voids) && !is_given {
            return Ok(None);
        }
        Ok(Some(Group {
            currency: self.currency()?,
            kind: self.kind()?,
            direction: self.direction()?,
        }))
    }

    fn currency(&self) -> Result<String, Problem> {
        self.needed("currency", |value| {
            value.text().filter(|text| is_currency(text.as_bytes())).map(str::to_owned)
        })
    }

    fn kind(&self) -> Result<String, Problem> {
        self.needed("kind", |value| {
            value.text().filter(|text| is_kind(text.as_bytes())).map(str::to_owned)
        })
    }

    fn direction(&self) -> Result<Direction, Problem> {
        self.needed("direction", |value| match value.text()? {
            "credit" => Some(Direction::Credit),
            "debit" => Some(Direction::Debit),
            _ => None,
        })
    }

    fn amount(&self) -> Result<Option<i128>, Problem> {
        if self.voids && member(self.all, "amount").is_none() {
            return Ok(None);
        }
        if member(self.all, "amount").is_some_and(Value::is_negative_integer) {
            return Err(Problem::new(Code::AmountNegative, "amount"));
        }
        self.needed("amount", |value| {
            value
                .unsigned()
                .filter(|amount| i64::try_from(*amount).is_ok())
                .map(|amount| Some(i128::from(amount)))
        })
    }

    fn state(&self) -> Result<State, Problem> {
        if member(self.all, "state").is_none() {
            return Ok(State::Posted);
        }
        self.needed("state", |value| match value.text()? {
            "posted" => Some(State::Posted),
            "pending" => Some(State::Pending),
            "voided" => Some(State::Voided),
            _ => None,
        })
    }

    fn pending_id(&self) -> Result<Option<u128>, Problem> {
        if self.names_hold || self.voids {
            self.needed("pending_id", |value| id(value.text()?).map(Some))
        } else {
            Ok(None)
        }
    }

    fn is_final(&self) -> Result<bool, Problem> {
        let Some(value) = member(self.all, "final") else { return Ok(true) };
        let is_posted = matches!(self.state()?, State::Posted);
        match value {
            Value::Bool(is_final) if is_posted && self.names_hold => Ok(*is_final),
            _ => Err(Problem::new(Code::InvalidField, "final")),
        }
    }
}

/// A JSON integer within the contract's range of times.
pub fn time(value: &Value) -> Option<i64> {
    let time = i64::try_from(value.unsigned()?).ok()?;
    (time <= MAX_TIME).then_some(time)
}

/// Digits without a leading zero, the only accepted form of a number in a string.
pub fn canonical<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    let well_formed =
        text.iter().all(u8::is_ascii_digit) && (text == b"0" || text.first()? != &b'0');
    if well_formed { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// 1 to 64 of `A-Z a-z 0-9 - . _ ~ : @`, but not `.` or `..`.
pub fn user_id(text: &[u8]) -> Option<String> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(byte);
    let is_id = (1..=64).contains(&text.len()) && text.iter().all(is_allowed);
    let text = String::from_utf8(text.to_vec()).ok()?;
    (is_id && text != "." && text != "..").then_some(text)
}

/// A UUID (8-4-4-4-12, any case), a decimal below 2^128, or any other text, which is hashed.
pub fn id(text: &str) -> Option<u128> {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let is_text = (1..=128).contains(&text.len()) && text.bytes().all(is_allowed);
    canonical(text.as_bytes())
        .or_else(|| uuid(text))
        .or_else(|| is_text.then(|| xxh3_128(text.as_bytes())))
}

fn uuid(text: &str) -> Option<u128> {
    let parts: Vec<&str> = text.split('-').collect();
    let well_formed = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if well_formed { u128::from_str_radix(&parts.concat(), 16).ok() } else { None }
}

/// `[A-Z][A-Z0-9._/-]{1,7}`
pub fn is_currency(text: &[u8]) -> bool {
    let is_inner =
        |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-');
    (2..=8).contains(&text.len()) && text[0].is_ascii_uppercase() && text.iter().all(is_inner)
}

/// `[A-Za-z0-9][A-Za-z0-9._:-]{0,31}`
pub fn is_kind(text: &[u8]) -> bool {
    let is_inner =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    (1..=32).contains(&text.len()) && text[0].is_ascii_alphanumeric() && text.iter().all(is_inner)
}
