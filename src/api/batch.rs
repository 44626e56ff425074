//! Parser of a batch body: JSON to a list of reads.
//!
//! The first failure wins, in this order: the JSON itself, the number of items, repeated members
//! (of the body, then of the items in order), the body's own members, then the items in order.

use super::BATCH_READS;
use super::json::{
    MemberNames, Members, NotJson, Reader, Scratch, TEXT_BYTES, Value, check_encoding,
    first_repeated, first_unknown,
};
use super::problem::{Code, Field, Problem};
use super::read::{KindFilter, Read, Reads, What};
use crate::ledger::amount::Currency;
use crate::ledger::id::UserId;
use crate::ledger::time::Window;

/// Members of an item, in the order in which they are checked.
pub const MEMBERS: [&str; 6] = ["user_id", "read", "window", "at_ms", "currency", "kind"];
static NAMES: MemberNames<{ MEMBERS.len() }> = MemberNames::new(MEMBERS);
/// Members of an item that reads a balance.
const BALANCE_MEMBERS: [&str; 4] = ["user_id", "read", "at_ms", "currency"];

/// Parses a batch body into `reads`, which is cleared first.
///
/// ```
/// use purser::api::batch;
/// use purser::api::read::{Reads, What};
/// use purser::ledger::id::UserId;
///
/// let mut reads = Reads::default();
/// let body = br#"{"requests":[{"user_id":"42","read":"balance"}]}"#;
/// batch::parse(body, &mut reads).expect("a batch of one read");
/// assert_eq!((reads.get(0).user, reads.get(0).what), (UserId::Number(42), What::Balance));
///
/// let body = br#"{"requests":[{"user_id":"42","read":"name"}]}"#;
/// let problem = batch::parse(body, &mut reads).expect_err("there is no such read");
/// assert_eq!(problem.field.as_bytes(), b"requests[0].read");
/// ```
pub fn parse(body: &[u8], reads: &mut Reads) -> Result<(), Problem> {
    reads.clear();
    check_encoding(body).map_err(Code::InvalidJson)?;
    let mut found = ParsedBody { reads, items: 0, repeated: None, invalid: None, is_list: false };
    let irregular = found.body(&mut Reader::new(body)).map_err(Code::InvalidJson)?;
    if found.items > BATCH_READS {
        return Err(Problem::at(Code::TooManyItems, "requests"));
    }
    if irregular && let Some(name) = first_repeated(Reader::new(body)) {
        return Err(Problem {
            code: Code::InvalidJson(NotJson::Repeated),
            field: Field::echo(&name),
        });
    }
    if let Some(problem) = found.repeated {
        return Err(problem);
    }
    if irregular && let Some(name) = first_unknown(Reader::new(body), |name| name == b"requests") {
        return Err(Problem { code: Code::UnknownField, field: Field::echo(&name) });
    }
    found.invalid.map_or(Ok(()), Err)
}

struct ParsedBody<'r> {
    reads: &'r mut Reads,
    items: usize,
    repeated: Option<Problem>,
    invalid: Option<Problem>,
    /// Whether the body has a list `requests`; `invalid` is set if it has not.
    is_list: bool,
}

impl ParsedBody<'_> {
    /// Reads the body. Returns whether it has repeated or unknown members.
    fn body(&mut self, reader: &mut Reader<'_>) -> Result<bool, NotJson> {
        reader.open_object()?;
        let (mut first, mut seen, mut irregular) = (true, false, false);
        while let Some(name) = reader.name(&mut first)? {
            let known = name.get(&mut [0; TEXT_BYTES]) == Some(b"requests");
            irregular |= !known || seen;
            if known && !seen && reader.open(b'[') {
                self.is_list = true;
                self.items(reader)?;
            } else {
                reader.value()?;
            }
            seen |= known;
        }
        if !self.is_list {
            let code = if seen { Code::InvalidField } else { Code::MissingField };
            self.invalid = Some(Problem::at(code, "requests"));
        }
        reader.end().map(|()| irregular)
    }

    fn items(&mut self, reader: &mut Reader<'_>) -> Result<(), NotJson> {
        let (mut first, mut scratch) = (true, [0; TEXT_BYTES]);
        while reader.another(&mut first, b']')? {
            let index = self.items;
            self.items += 1;
            if index >= BATCH_READS {
                // Too many: all that is left to know is whether the body is JSON.
                reader.value()?;
                continue;
            }
            match item(reader, &mut scratch)? {
                Ok(read) => self.reads.push(read),
                Err(problem) => {
                    let kept = if matches!(problem.code, Code::InvalidJson(_)) {
                        &mut self.repeated
                    } else {
                        &mut self.invalid
                    };
                    kept.get_or_insert(problem.in_item(index));
                }
            }
        }
        Ok(())
    }
}

/// Reads one item whole. The inner error is the item's, without its index.
fn item<'s, 'a: 's>(
    reader: &mut Reader<'a>,
    scratch: &'s mut Scratch,
) -> Result<Result<Read<'s>, Problem>, NotJson> {
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(Err(Code::InvalidField.into()));
    }
    let object = reader.clone();
    let mut members = Members::default();
    reader.members(&NAMES, &mut members)?;
    Ok(judge(object, &members, scratch))
}

fn judge<'s, 'a: 's>(
    object: Reader<'_>,
    members: &Members<'a, { MEMBERS.len() }>,
    scratch: &'s mut Scratch,
) -> Result<Read<'s>, Problem> {
    let [user, read, window, at, currency, kind] = members.values;
    let balance = text(read, |t| (t == b"balance").then_some(())).is_some();
    let irregular =
        members.has_repeated_or_unknown || (balance && (window.is_some() || kind.is_some()));
    if irregular && let Some(problem) = repeated_or_unknown(object, balance) {
        return Err(problem);
    }
    let user_id = match user {
        Some(Value::Text(text)) => text.get(scratch).and_then(UserId::parse),
        _ => None,
    };
    let user = user_id.ok_or_else(|| missing_or_invalid(user, "user_id"))?;
    let time = || {
        at.map(|_| super::entry::read_time(at).ok_or_else(|| missing_or_invalid(at, "at_ms")))
            .transpose()
    };
    if balance {
        let what = time()?.map_or(What::Balance, What::BalanceAt);
        let currency = optional(currency, "currency", Currency::parse)?;
        return Ok(Read { user, currency, what });
    }
    text(read, |t| (t == b"stats").then_some(()))
        .ok_or_else(|| missing_or_invalid(read, "read"))?;
    let Some(Value::Text(_)) = window else { return Err(missing_or_invalid(window, "window")) };
    let window =
        text(window, Window::parse).ok_or_else(|| Problem::at(Code::InvalidWindow, "window"))?;
    let time = time()?;
    if time.is_some() && window == Window::Lifetime {
        return Err(Problem::at(Code::InvalidField, "at_ms"));
    }
    let currency = optional(currency, "currency", Currency::parse)?;
    let kind = optional(kind, "kind", KindFilter::parse)?;
    Ok(Read { user, currency, what: What::Stats { window, at: time, kind } })
}

#[cold]
fn repeated_or_unknown(object: Reader<'_>, balance: bool) -> Option<Problem> {
    if let Some(name) = first_repeated(object.clone()) {
        return Some(Problem {
            code: Code::InvalidJson(NotJson::Repeated),
            field: Field::echo(&name),
        });
    }
    let known: &[&str] = if balance { &BALANCE_MEMBERS } else { &MEMBERS };
    let name = first_unknown(object, |name| known.iter().any(|k| k.as_bytes() == name))?;
    Some(Problem { code: Code::UnknownField, field: Field::echo(&name) })
}

fn missing_or_invalid(value: Option<Value<'_>>, name: &'static str) -> Problem {
    Problem::at(if value.is_none() { Code::MissingField } else { Code::InvalidField }, name)
}

fn text<T>(value: Option<Value<'_>>, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    match value {
        Some(Value::Text(text)) => text.get(&mut [0; TEXT_BYTES]).and_then(parse),
        _ => None,
    }
}

fn optional<T>(
    value: Option<Value<'_>>,
    name: &'static str,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, Problem> {
    match value {
        None => Ok(None),
        Some(_) => text(value, parse).map(Some).ok_or_else(|| missing_or_invalid(value, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, want: Result<usize, (&str, &str)>) {
        let mut reads = Reads::default();
        let got = parse(body.as_bytes(), &mut reads).map(|()| reads.len());
        let got = got
            .map_err(|p| (p.code.name(), String::from_utf8(p.field.as_bytes().to_vec()).unwrap()));
        assert_eq!(got, want.map_err(|(code, field)| (code, field.to_owned())), "{body}");
    }

    #[test]
    fn bodies() {
        check(r#"{"requests":[]}"#, Ok(0));
        check(
            concat!(
                r#"{"requests":[{"user_id":"42","read":"balance"},"#,
                r#"{"user_id":"7","read":"stats","window":"7d","kind":"gift_sent"}]}"#
            ),
            Ok(2),
        );
        check("", Err(("invalid_json", "")));
        check("[]", Err(("invalid_json", "")));
        check("{}", Err(("missing_field", "requests")));
        check(r#"{"requests":{}}"#, Err(("invalid_field", "requests")));
        check(r#"{"requests":[],"x":1}"#, Err(("unknown_field", "x")));
        check(r#"{"requests":[],"requests":[]}"#, Err(("invalid_json", "requests")));
        check(r#"{"requests":[1]}"#, Err(("invalid_field", "requests[0]")));
        check(r#"{"requests":[]"#, Err(("invalid_json", "")));
        let many = |n| {
            format!(
                r#"{{"requests":[{}]}}"#,
                vec![r#"{"user_id":"1","read":"balance"}"#; n].join(",")
            )
        };
        check(&many(1_000), Ok(1_000));
        check(&many(1_001), Err(("too_many_items", "requests")));
    }

    #[test]
    fn a_body_that_is_not_json_has_its_reason() {
        let many = |last: &str| {
            let items = r#"{"user_id":"1","read":"balance"},"#.repeat(1_001);
            format!(r#"{{"requests":[{items}{last}]}}"#)
        };
        for (body, want) in [
            ("\u{feff}{\"requests\":[]}", NotJson::Bom),
            ("", NotJson::EndsEarly),
            ("[]", NotJson::NotObject),
            (r#"{"requests":[{"user_id":"1""#, NotJson::EndsEarly),
            (r#"{"requests":[{"at_ms":01}]}"#, NotJson::Number),
            (r#"{"requests":[{}{}]}"#, NotJson::Syntax),
            (r#"{"requests":[{"kind":"\x"},{"at_ms":01}]}"#, NotJson::Escape),
            (r#"{"requests":[]}]"#, NotJson::TrailingText),
            (r#"{"requests":[{"read":1,"read":2}],"x":tru}"#, NotJson::Syntax),
            (r#"{"requests":[{"read":1,"read":2}]}"#, NotJson::Repeated),
            (&many("01"), NotJson::Number),
            (&many("{\"a\":\"\t\"}"), NotJson::ControlCharacter),
        ] {
            let got = parse(body.as_bytes(), &mut Reads::default()).map_err(|problem| problem.code);
            assert_eq!(got, Err(Code::InvalidJson(want)), "{body}");
        }
        let got = parse(b"{\"\xff\":[", &mut Reads::default()).map_err(|problem| problem.code);
        assert_eq!(got, Err(Code::InvalidJson(NotJson::NotUtf8)));
    }

    #[test]
    fn items() {
        let item =
            |item: &str| format!(r#"{{"requests":[{{"user_id":"1","read":"balance"}},{item}]}}"#);
        let bad = |text: &str, code, field| check(&item(text), Err((code, field)));
        bad(r#"{"read":"balance"}"#, "missing_field", "requests[1].user_id");
        bad(r#"{"user_id":"1"}"#, "missing_field", "requests[1].read");
        bad(r#"{"user_id":"1","read":"x"}"#, "invalid_field", "requests[1].read");
        bad(r#"{"user_id":1,"read":"balance"}"#, "invalid_field", "requests[1].user_id");
        bad(
            r#"{"user_id":"1","read":"balance","window":"7d"}"#,
            "unknown_field",
            "requests[1].window",
        );
        bad(r#"{"user_id":"1","read":"stats"}"#, "missing_field", "requests[1].window");
        bad(
            r#"{"user_id":"1","read":"stats","window":"7x"}"#,
            "invalid_window",
            "requests[1].window",
        );
        bad(r#"{"user_id":"1","read":"stats","window":7}"#, "invalid_field", "requests[1].window");
        bad(
            r#"{"user_id":"1","read":"stats","window":"lifetime","at_ms":1}"#,
            "invalid_field",
            "requests[1].at_ms",
        );
        bad(
            r#"{"user_id":"1","read":"stats","window":"7d","at_ms":"1"}"#,
            "invalid_field",
            "requests[1].at_ms",
        );
        bad(
            r#"{"user_id":"1","read":"stats","window":"7d","currency":"x"}"#,
            "invalid_field",
            "requests[1].currency",
        );
        bad(
            r#"{"user_id":"1","read":"stats","window":"7d","kind":null}"#,
            "invalid_field",
            "requests[1].kind",
        );
        bad(r#"{"x":1},{"user_id":"1","user_id":"1"}"#, "invalid_json", "requests[2].user_id");
        bad(r#"{"x\"y":1}"#, "unknown_field", "requests[1]");
    }
}
