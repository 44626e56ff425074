//! Reads: parses a request target or a batch body into questions, and writes their answers.
//!
//! A whole request is checked before any part is answered, and a bad request is reported before an
//! unknown user.

use super::entry::{canonical, is_currency, is_kind, time, user_id};
use super::json::{self, Fault, Value, echo, member};
use super::ledger::{Direction, Group, User};
use super::problem::{Code, Problem};
use super::stats::{self, Figures, MAX_TIME, Window};
use super::{Model, Reply};

pub const MAX_BATCH: usize = 1_000;

/// A well-formed read.
struct Question {
    user_id: String,
    read: Read,
    currency: Option<String>,
}

enum Read {
    Balance,
    /// What was posted before a time.
    BalanceAt(i64),
    Stats {
        window: Window,
        /// `None`: now.
        at_ms: Option<i64>,
        kind: Option<String>,
    },
}

impl Question {
    fn is_of_now(&self) -> bool {
        matches!(self.read, Read::Stats { window: Window::Millis(_), at_ms: None, .. })
    }
}

pub fn get(model: &Model, now_ms: i64, target: &str) -> Reply {
    let question = match question(target) {
        Ok(question) => question,
        Err(problem) => return problem.reply(),
    };
    let Some(user) = model.user(&question.user_id) else {
        return Problem::new(Code::UserNotFound, "").reply();
    };
    Reply {
        status: 200,
        content_type: "application/json",
        etag: matches!(question.read, Read::Balance | Read::BalanceAt(_))
            .then(|| format!("\"v{}\"", user.version())),
        body: answer(user, &question, now_ms),
    }
}

pub fn batch(model: &Model, now_ms: i64, body: &[u8]) -> Reply {
    let questions = match questions(body) {
        Ok(questions) => questions,
        Err(problem) => return problem.reply(),
    };
    let answers: Vec<String> = questions
        .iter()
        .map(|question| match model.user(&question.user_id) {
            Some(user) => answer(user, question, now_ms),
            None => {
                let problem = Problem::new(Code::UserNotFound, "").body();
                let open = problem.strip_suffix('}').expect("an object");
                format!(r#"{open},"user_id":"{}"}}"#, question.user_id)
            }
        })
        .collect();
    Reply {
        status: 200,
        content_type: "application/json",
        etag: None,
        body: format!(r#"{{"responses":[{}]}}"#, answers.join(",")),
    }
}

/// Whether the answer to a GET depends on the clock.
pub fn asks_the_clock(target: &str) -> bool {
    question(target).is_ok_and(|question| question.is_of_now())
}

/// Whether the answer to a batch depends on the clock.
pub fn batch_asks_the_clock(body: &[u8]) -> bool {
    questions(body).is_ok_and(|questions| questions.iter().any(Question::is_of_now))
}

fn question(target: &str) -> Result<Question, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // Escapes are decoded after the split, so that `%2F` separates nothing.
    let segments: Vec<Option<Vec<u8>>> = path.split('/').map(percent_decoded).collect();
    let segments: Vec<Option<&[u8]>> = segments.iter().map(Option::as_deref).collect();
    match segments[..] {
        [Some(b""), Some(b"v1"), Some(b"users"), user, Some(read @ (b"balance" | b"stats"))] => {
            let user_id =
                user.and_then(user_id).ok_or(Problem::new(Code::InvalidParameter, "user_id"))?;
            if read == b"balance" {
                balance_question(user_id, query)
            } else {
                stats_question(user_id, query)
            }
        }
        [Some(b""), Some(b"v1"), Some(b"entries" | b"batch")] => {
            Err(Problem::new(Code::MethodNotAllowed, ""))
        }
        _ => Err(Problem::new(Code::NotFound, "")),
    }
}

fn balance_question(user_id: String, query: &str) -> Result<Question, Problem> {
    let (mut at_ms, mut currency) = (None, None);
    parameters(query, &["at_ms", "currency"], |name, value| {
        match name {
            "at_ms" => at_ms = Some(canonical(value).filter(|time| *time <= MAX_TIME)?),
            _ => currency = Some(owned(value, is_currency)?),
        }
        Some(())
    })?;
    Ok(Question { user_id, read: at_ms.map_or(Read::Balance, Read::BalanceAt), currency })
}

fn stats_question(user_id: String, query: &str) -> Result<Question, Problem> {
    let (mut window, mut at_ms, mut currency, mut kind) = (None, None, None, None);
    parameters(query, &["window", "at_ms", "currency", "kind"], |name, value| {
        match name {
            "window" => window = Some(Window::parse(value)?),
            "at_ms" => at_ms = Some(canonical(value).filter(|time| *time <= MAX_TIME)?),
            "currency" => currency = Some(owned(value, is_currency)?),
            _ => kind = Some(owned(value, is_kind)?),
        }
        Some(())
    })?;
    let window = window.ok_or(Problem::new(Code::InvalidWindow, "window"))?;
    if window == Window::Lifetime && at_ms.is_some() {
        return Err(Problem::new(Code::InvalidParameter, "at_ms"));
    }
    Ok(Question { user_id, read: Read::Stats { window, at_ms, kind }, currency })
}

/// Calls `take` for each parameter in order; `take` returns `None` to refuse a value.
fn parameters(
    query: &str,
    known: &[&str],
    mut take: impl FnMut(&str, &[u8]) -> Option<()>,
) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    let pieces = query.split('&').filter(|_| !query.is_empty());
    for piece in pieces {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = percent_decoded(name).unwrap_or_default();
        let invalid = || Problem::new(Code::InvalidParameter, echo(&name));
        let value = percent_decoded(value).filter(|value| !value.is_empty()).ok_or_else(invalid)?;
        let name = known
            .iter()
            .find(|known| known.as_bytes() == name)
            .filter(|name| !seen.contains(name))
            .ok_or_else(invalid)?;
        seen.push(name);
        take(name, &value).ok_or_else(|| match *name {
            "window" => Problem::new(Code::InvalidWindow, "window"),
            _ => invalid(),
        })?;
    }
    Ok(())
}

/// Decodes `%41` to `A`; every other byte, a plus sign too, stays as it is. `None` for a bad
/// escape.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}

fn owned(value: &[u8], is_allowed: impl Fn(&[u8]) -> bool) -> Option<String> {
    if is_allowed(value) { String::from_utf8(value.to_vec()).ok() } else { None }
}

fn questions(body: &[u8]) -> Result<Vec<Question>, Problem> {
    let members = json::object(body).map_err(|fault| Problem::new(Code::InvalidJson(fault), ""))?;
    let repeats = |field| Err(Problem::new(Code::InvalidJson(Fault::Repeated), field));
    // If `requests` is repeated, its first list is checked for the number of items.
    let items = match member(&members, "requests") {
        Some(Value::List(items)) => &items[..],
        _ => &[],
    };
    if items.len() > MAX_BATCH {
        return Err(Problem::new(Code::TooManyItems, "requests"));
    }
    if let Some(name) = json::repeated(&members) {
        return repeats(echo(name.as_bytes()));
    }
    for (index, item) in items.iter().enumerate() {
        if let Value::Object(item) = item
            && let Some(name) = json::repeated(item)
        {
            return repeats(item_field(index, name));
        }
    }
    if let Some(name) = json::unknown(&members, &["requests"]) {
        return Err(Problem::new(Code::UnknownField, echo(name.as_bytes())));
    }
    match member(&members, "requests") {
        None => Err(Problem::new(Code::MissingField, "requests")),
        Some(Value::List(items)) => {
            items.iter().enumerate().map(|(index, item)| item_question(index, item)).collect()
        }
        Some(_) => Err(Problem::new(Code::InvalidField, "requests")),
    }
}

/// `requests[3].window`, or `requests[3]` if the name may not be echoed.
fn item_field(index: usize, name: &str) -> String {
    match echo(name.as_bytes()).as_str() {
        "" => format!("requests[{index}]"),
        name => format!("requests[{index}].{name}"),
    }
}

fn item_question(index: usize, item: &Value) -> Result<Question, Problem> {
    let problem = |code, name: &str| Problem::new(code, item_field(index, name));
    let Value::Object(members) = item else {
        return Err(problem(Code::InvalidField, ""));
    };
    let read = member(members, "read").and_then(Value::text);
    let known: &[&str] = match read {
        Some("balance") => &["user_id", "read", "at_ms", "currency"],
        _ => &["user_id", "read", "window", "at_ms", "currency", "kind"],
    };
    if let Some(name) = json::unknown(members, known) {
        return Err(problem(Code::UnknownField, name));
    }
    let text = |name: &str| match member(members, name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.as_bytes())),
        Some(_) => Err(problem(Code::InvalidField, name)),
    };
    let needed = |name: &str| text(name)?.ok_or_else(|| problem(Code::MissingField, name));
    let filter = |name: &str, is_allowed: fn(&[u8]) -> bool| match text(name)? {
        None => Ok(None),
        Some(value) => match owned(value, is_allowed) {
            None => Err(problem(Code::InvalidField, name)),
            allowed => Ok(allowed),
        },
    };

    let user_id =
        user_id(needed("user_id")?).ok_or_else(|| problem(Code::InvalidField, "user_id"))?;
    if needed("read")? == b"balance" {
        let read = match member(members, "at_ms") {
            None => Read::Balance,
            Some(value) => {
                let at_ms = time(value).ok_or_else(|| problem(Code::InvalidField, "at_ms"))?;
                Read::BalanceAt(at_ms)
            }
        };
        return Ok(Question { user_id, read, currency: filter("currency", is_currency)? });
    }
    if read != Some("stats") {
        return Err(problem(Code::InvalidField, "read"));
    }
    let window =
        Window::parse(needed("window")?).ok_or_else(|| problem(Code::InvalidWindow, "window"))?;
    let at_ms = match member(members, "at_ms") {
        None => None,
        Some(value) => Some(
            time(value)
                .filter(|_| window != Window::Lifetime)
                .ok_or_else(|| problem(Code::InvalidField, "at_ms"))?,
        ),
    };
    let currency = filter("currency", is_currency)?;
    let kind = filter("kind", is_kind)?;
    Ok(Question { user_id, read: Read::Stats { window, at_ms, kind }, currency })
}

fn answer(user: &User, question: &Question, now_ms: i64) -> String {
    let as_of_ms = user.as_of_ms().expect("a user has an entry");
    let head = format!(r#""user_id":"{}","version":{}"#, question.user_id, user.version());
    match &question.read {
        Read::Balance => {
            let rows = balance_rows(user, question);
            format!(r#"{{{head},"as_of_ms":{as_of_ms},"balances":[{rows}]}}"#)
        }
        Read::BalanceAt(at_ms) => {
            let instant = stats::instant(as_of_ms, *at_ms);
            let rows = past_rows(user, question, instant);
            format!(r#"{{{head},"as_of_ms":{as_of_ms},"at_ms":{instant},"balances":[{rows}]}}"#)
        }
        Read::Stats { window, at_ms, kind } => {
            let (from_ms, to_ms) = stats::range(as_of_ms, *window, at_ms.unwrap_or(now_ms));
            let figures = stats::figures(user, (from_ms, to_ms));
            let asked = figures.into_iter().filter(|(group, _)| {
                is_asked(question.currency.as_deref(), &group.currency)
                    && is_asked(kind.as_deref(), &group.kind)
            });
            let rows: Vec<String> =
                asked.map(|(group, figures)| stats_row(group, &figures)).collect();
            let rows = rows.join(",");
            format!(r#"{{{head},"from_ms":{from_ms},"to_ms":{to_ms},"stats":[{rows}]}}"#)
        }
    }
}

/// Whether a filter accepts a value; an absent filter accepts all.
fn is_asked(filter: Option<&str>, value: &str) -> bool {
    filter.is_none_or(|asked| asked == value)
}

fn balance_rows(user: &User, question: &Question) -> String {
    let rows: Vec<String> = user
        .balances()
        .iter()
        .filter(|(currency, _)| is_asked(question.currency.as_deref(), currency))
        .map(|(currency, balance)| {
            format!(
                "{{\"currency\":\"{currency}\",\"posted\":{},\"pending_debits\":{},\
                 \"pending_credits\":{},\"available\":{}}}",
                balance.posted,
                balance.pending_debits,
                balance.pending_credits,
                balance.available(),
            )
        })
        .collect();
    rows.join(",")
}

/// What was posted in each currency before an instant.
fn past_rows(user: &User, question: &Question, instant: i64) -> String {
    let currencies = user.balances().keys();
    let asked = currencies.filter(|currency| is_asked(question.currency.as_deref(), currency));
    let rows: Vec<String> = asked
        .map(|currency| {
            let before = user
                .postings()
                .filter(|(group, _, at_ms)| group.currency == *currency && *at_ms < instant);
            let posted: i128 = before
                .map(|(group, amount, _)| match group.direction {
                    Direction::Credit => amount,
                    Direction::Debit => -amount,
                })
                .sum();
            format!(r#"{{"currency":"{currency}","posted":{posted}}}"#)
        })
        .collect();
    rows.join(",")
}

fn stats_row(group: &Group, figures: &Figures) -> String {
    format!(
        r#"{{"currency":"{}","kind":"{}","direction":"{}","count":{},"sum":{},"min":{},"max":{}}}"#,
        group.currency,
        group.kind,
        group.direction.name(),
        figures.count,
        figures.sum,
        figures.min,
        figures.max,
    )
}
