//! Parser of one feed line: the fields of an entry, or the first problem.
//!
//! The formats of ids, currencies and kinds are here too, because reads use the same ones. The
//! parser has no state: whether an entry may be applied is the ledger's verdict.

use super::json::{self, Fault, Value, echo, member};
use super::ledger::{Direction, Entry, Group, State};
use super::problem::{Code, Problem};
use super::stats::MAX_TIME;

/// `metadata` is known and not looked at.
const KNOWN: [&str; 10] = [
    "entry_id",
    "user_id",
    "currency",
    "kind",
    "direction",
    "amount",
    "at_ms",
    "state",
    "pending_id",
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
    settles: bool,
    voids: bool,
}

fn fields(members: &[(String, Value)]) -> Result<Entry, Problem> {
    if let Some(name) = json::unknown(members, &KNOWN) {
        return Err(Problem::new(Code::UnknownField, echo(name.as_bytes())));
    }
    let members = Members {
        all: members,
        settles: member(members, "pending_id").is_some(),
        voids: member(members, "state").and_then(Value::text) == Some("voided"),
    };
    let id = members.needed("entry_id", |value| id(value.text()?))?;
    let user_id = members.needed("user_id", |value| user_id(value.text()?.as_bytes()))?;
    if members.voids && !members.settles {
        return Err(members.void_of_nothing());
    }
    Ok(Entry {
        id,
        user_id,
        group: members.group()?,
        amount: members.amount()?,
        at_ms: members.needed("at_ms", time)?,
        state: members.state()?,
        pending_id: members.pending_id()?,
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

    fn left_out(&self, name: &'static str) -> Result<(), Problem> {
        match member(self.all, name) {
            Some(_) => Err(Problem::new(Code::InvalidField, name)),
            None => Ok(()),
        }
    }

    /// The first problem of a voided line without `pending_id`: a value that is not allowed, else
    /// the missing `pending_id`.
    fn void_of_nothing(&self) -> Problem {
        let is_there = |name| member(self.all, name).is_some();
        let judged = [
            is_there("currency").then(|| self.currency().map(drop)),
            is_there("kind").then(|| self.kind().map(drop)),
            is_there("direction").then(|| self.direction().map(drop)),
            is_there("amount").then(|| self.amount().map(drop)),
            Some(self.needed("at_ms", time).map(drop)),
        ];
        let first = judged.into_iter().flatten().find_map(Result::err);
        first.unwrap_or(Problem::new(Code::MissingField, "pending_id"))
    }

    /// Currency, kind and direction: all required, or all forbidden in a settlement.
    fn group(&self) -> Result<Option<Group>, Problem> {
        if self.settles {
            self.left_out("currency")?;
            self.left_out("kind")?;
            self.left_out("direction")?;
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
        if self.settles && self.voids {
            self.left_out("amount")?;
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
            "pending" if !self.settles => Some(State::Pending),
            "voided" => Some(State::Voided),
            _ => None,
        })
    }

    fn pending_id(&self) -> Result<Option<u128>, Problem> {
        if self.settles {
            self.needed("pending_id", |value| id(value.text()?).map(Some))
        } else {
            Ok(None)
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

pub fn user_id(text: &[u8]) -> Option<u64> {
    canonical(text)
}

/// A UUID (8-4-4-4-12, any case) or a decimal below 2^128.
pub fn id(text: &str) -> Option<u128> {
    canonical(text.as_bytes()).or_else(|| uuid(text))
}

fn uuid(text: &str) -> Option<u128> {
    let parts: Vec<&str> = text.split('-').collect();
    let well_formed = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if well_formed { u128::from_str_radix(&parts.concat(), 16).ok() } else { None }
}

/// `[A-Z][A-Z0-9]{2,7}`
pub fn is_currency(text: &[u8]) -> bool {
    (3..=8).contains(&text.len())
        && text[0].is_ascii_uppercase()
        && text.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// `[a-z][a-z0-9_]{0,31}`
pub fn is_kind(text: &[u8]) -> bool {
    (1..=32).contains(&text.len())
        && text[0].is_ascii_lowercase()
        && text
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
}
