//! Parser of a feed line: JSON to an entry.
//!
//! The first failure wins, in this order: the length, the JSON itself, a repeated member, an
//! unknown member, then the members in the order in which the contract lists them.

use super::LINE_BYTES;
use super::json::{
    MemberNames, Members, NotJson, Reader, Scratch, TEXT_BYTES, Value, check_encoding,
    first_repeated, first_unknown,
};
use super::problem::{Code, Field, Problem};
use super::read::millis;
use crate::decimal;
use crate::ledger::amount::{Amount, Currency, Direction, is_kind};
use crate::ledger::entry::{Action, EntryRef, Movement, Terms};
use crate::ledger::id::{ENTRY_ID_BYTES, EntryId, UserId};
use crate::ledger::time::Millis;

/// Members of an entry, in the order in which they are checked. The value of `metadata` may be any
/// JSON and is dropped.
pub const MEMBERS: [&str; 11] = [
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
static NAMES: MemberNames<{ MEMBERS.len() }> = MemberNames::new(MEMBERS);

/// Whether a line, or a piece of one, has only spaces, tabs and carriage returns: a feed skips such
/// lines.
#[inline]
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// Buffers for the texts of one line that have escapes.
#[derive(Debug)]
pub struct LineScratch {
    id: [u8; ENTRY_ID_BYTES],
    user: Scratch,
    kind: Scratch,
}

impl LineScratch {
    /// Empty buffers.
    pub const EMPTY: Self =
        Self { id: [0; ENTRY_ID_BYTES], user: [0; TEXT_BYTES], kind: [0; TEXT_BYTES] };
}

/// Result of parsing one line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The entry's id as it was sent; empty if it is not valid.
    pub id_text: &'a [u8],
    /// The entry, or the reason for its rejection.
    pub entry: Result<EntryRef<'a>, Problem>,
}

/// Parses one line, which excludes its line feed.
///
/// ```
/// use purser::api::entry::{self, LineScratch};
/// use purser::ledger::entry::Action;
///
/// let mut scratch = LineScratch::EMPTY;
/// let text = br#"{"entry_id":"7","user_id":"42","at_ms":1763900000000,
///     "state":"voided","pending_id":"6"}"#;
/// let line = entry::parse(text, &mut scratch);
/// assert_eq!(line.id_text, b"7");
/// assert!(matches!(line.entry.map(|entry| entry.action), Ok(Action::Void { .. })));
///
/// let refused = entry::parse(br#"{"entry_id":"7","user_id":42}"#, &mut scratch);
/// let problem = refused.entry.expect_err("ids are strings");
/// assert_eq!(problem.field.as_bytes(), b"user_id");
/// ```
#[inline]
pub fn parse<'a>(line: &'a [u8], scratch: &'a mut LineScratch) -> Line<'a> {
    let refused = |problem| Line { id_text: b"", entry: Err(problem) };
    if line.len() > LINE_BYTES {
        return refused(Code::LineTooLong.into());
    }
    if !line.is_ascii()
        && let Err(why) = check_encoding(line)
    {
        return refused(Code::InvalidJson(why).into());
    }
    let mut reader = Reader::new(line);
    let mut members = Members::default();
    if let Err(why) = reader.members(&NAMES, &mut members).and_then(|()| reader.end()) {
        return refused(Code::InvalidJson(why).into());
    }
    if members.has_repeated_or_unknown
        && let Some(name) = first_repeated(Reader::new(line))
    {
        return refused(Problem {
            code: Code::InvalidJson(NotJson::Repeated),
            field: Field::echo(&name),
        });
    }
    let LineScratch { id, user, kind } = scratch;
    let sent = text(members.values[0], id);
    let id = sent.and_then(EntryId::parse);
    let id_text = if id.is_some() { sent.unwrap_or_default() } else { b"" };
    if members.has_repeated_or_unknown {
        let name = first_unknown(Reader::new(line), |name| {
            MEMBERS.iter().any(|known| known.as_bytes() == name)
        });
        let field = Field::echo(&name.unwrap_or_default());
        return Line { id_text, entry: Err(Problem { code: Code::UnknownField, field }) };
    }
    Line { id_text, entry: judge(&members.values, id, (user, kind)) }
}

fn judge<'a>(
    values: &[Option<Value<'a>>; MEMBERS.len()],
    id: Option<EntryId>,
    (user_scratch, kind_scratch): (&'a mut Scratch, &'a mut Scratch),
) -> Result<EntryRef<'a>, Problem> {
    let [sent_id, user, currency, kind, direction, amount, at, state, pending, last, ..] = *values;
    let mut scratch = [0; TEXT_BYTES];
    let voids = is_text(state, b"voided");

    let id = id.ok_or_else(|| missing_or_invalid(sent_id, "entry_id"))?;
    let user_id = text(user, user_scratch)
        .and_then(UserId::parse)
        .ok_or_else(|| missing_or_invalid(user, "user_id"))?;
    // An entry on a hold may leave out what is the hold's.
    let is_on_hold = pending.is_some() || voids;
    let has_terms = !is_on_hold || currency.is_some() || kind.is_some() || direction.is_some();
    let terms = if has_terms {
        let parsed_currency = text(currency, &mut scratch).and_then(Currency::parse);
        let parsed_currency =
            parsed_currency.ok_or_else(|| missing_or_invalid(currency, "currency"))?;
        let parsed_kind = text(kind, kind_scratch)
            .filter(|k| is_kind(k))
            .and_then(|k| std::str::from_utf8(k).ok());
        let parsed_kind = parsed_kind.ok_or_else(|| missing_or_invalid(kind, "kind"))?;
        let parsed_direction = text(direction, &mut scratch).and_then(read_direction);
        let parsed_direction =
            parsed_direction.ok_or_else(|| missing_or_invalid(direction, "direction"))?;
        Some(Terms { currency: parsed_currency, kind: parsed_kind, direction: parsed_direction })
    } else {
        None
    };
    let amount = if voids && amount.is_none() { None } else { Some(read_amount(amount)?) };
    let at = read_time(at).ok_or_else(|| missing_or_invalid(at, "at_ms"))?;
    let held = match state {
        None => false,
        Some(_) if voids || is_text(state, b"posted") => false,
        Some(_) if is_text(state, b"pending") => true,
        Some(_) => return Err(Problem::at(Code::InvalidField, "state")),
    };
    let action = if is_on_hold {
        let mut scratch = [0; ENTRY_ID_BYTES];
        let hold = text(pending, &mut scratch).and_then(EntryId::parse);
        let hold = hold.ok_or_else(|| missing_or_invalid(pending, "pending_id"))?;
        on_hold(hold, terms, amount, (held, voids), last)?
    } else {
        let invalid = |name| Problem::at(Code::InvalidField, name);
        last.map_or(Ok(()), |_| Err(invalid("final")))?;
        let (Some(terms), Some(amount)) = (terms, amount) else {
            unreachable!("only an entry on a hold leaves them out")
        };
        let Terms { currency, kind, direction } = terms;
        let movement = Movement { currency, kind, direction, amount };
        if held { Action::Hold(movement) } else { Action::Post(movement) }
    };
    Ok(EntryRef { id, user: user_id, at, late_accepted: false, action })
}

/// The effect of an entry that names a hold, and is pending, voided or posted.
fn on_hold<'a>(
    hold: EntryId,
    terms: Option<Terms<'a>>,
    amount: Option<Amount>,
    (held, voids): (bool, bool),
    last: Option<Value<'_>>,
) -> Result<Action<'a>, Problem> {
    let is_final = match last {
        None => true,
        Some(Value::Boolean(is_final)) if !held && !voids => is_final,
        Some(_) => return Err(Problem::at(Code::InvalidField, "final")),
    };
    Ok(match amount {
        _ if voids => Action::Void { hold, terms, amount },
        Some(amount) if held => Action::Grow { hold, terms, amount },
        Some(amount) => Action::Settle { hold, terms, amount, is_final },
        None => unreachable!("only a void leaves out the amount"),
    })
}

/// The problem of a required member without a valid value: missing or invalid.
fn missing_or_invalid(value: Option<Value<'_>>, name: &'static str) -> Problem {
    Problem::at(if value.is_none() { Code::MissingField } else { Code::InvalidField }, name)
}

#[inline]
fn text<'s, 'a: 's>(value: Option<Value<'a>>, scratch: &'s mut [u8]) -> Option<&'s [u8]> {
    match value {
        Some(Value::Text(text)) => text.get(scratch),
        _ => None,
    }
}

fn is_text(value: Option<Value<'_>>, word: &[u8]) -> bool {
    text(value, &mut [0; TEXT_BYTES]) == Some(word)
}

fn read_direction(word: &[u8]) -> Option<Direction> {
    match word {
        b"credit" => Some(Direction::Credit),
        b"debit" => Some(Direction::Debit),
        _ => None,
    }
}

fn read_amount(value: Option<Value<'_>>) -> Result<Amount, Problem> {
    let Some(Value::Number(digits)) = value else {
        return Err(missing_or_invalid(value, "amount"));
    };
    if let [b'-', rest @ ..] = digits {
        let negative = rest != b"0" && rest.iter().all(u8::is_ascii_digit);
        return Err(Problem::at(
            if negative { Code::AmountNegative } else { Code::InvalidField },
            "amount",
        ));
    }
    let minor = decimal::parse(digits).and_then(|n| i64::try_from(n).ok()).and_then(Amount::new);
    minor.ok_or_else(|| Problem::at(Code::InvalidField, "amount"))
}

/// Parses a JSON integer as a time.
pub(super) fn read_time(value: Option<Value<'_>>) -> Option<Millis> {
    match value {
        Some(Value::Number(digits)) => millis(digits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::DEPTH;
    use super::*;

    const GOOD: &str = concat!(
        r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"gift_sent","#,
        r#""direction":"debit","amount":500,"at_ms":1763900000000}"#
    );

    fn check(line: &str, want: Result<(), (&str, &str)>) {
        let mut scratch = LineScratch::EMPTY;
        let got = parse(line.as_bytes(), &mut scratch).entry;
        let got = got
            .map(|_| ())
            .map_err(|p| (p.code.name(), String::from_utf8(p.field.as_bytes().to_vec()).unwrap()));
        assert_eq!(got, want.map_err(|(code, field)| (code, field.to_owned())), "{line}");
    }

    /// `GOOD` with the value of one member replaced. An empty value removes the member; a new name
    /// is added.
    fn with(name: &str, value: &str) -> String {
        let mut members: Vec<(String, String)> = GOOD[1..GOOD.len() - 1]
            .split(',')
            .map(|m| {
                m.split_once(':')
                    .map(|(n, v)| (n.trim_matches('"').to_owned(), v.to_owned()))
                    .unwrap()
            })
            .collect();
        match members.iter_mut().find(|m| m.0 == name) {
            Some(member) => member.1 = value.to_owned(),
            None => members.push((name.to_owned(), value.to_owned())),
        }
        let shown: Vec<_> = members
            .iter()
            .filter(|m| !m.1.is_empty())
            .map(|(n, v)| format!("\"{n}\":{v}"))
            .collect();
        format!("{{{}}}", shown.join(","))
    }

    #[test]
    fn fields_are_checked_in_order() {
        check(GOOD, Ok(()));
        let escaped = |id: &str| id.bytes().map(|b| format!("\\u{b:04x}")).collect::<String>();
        for id in ["~".repeat(128), escaped(&"~".repeat(128)), "tx9:1".to_owned()] {
            check(&with("entry_id", &format!("\"{id}\"")), Ok(()));
            check(&with("entry_id", &format!("\"{id}~ \"")), Err(("invalid_field", "entry_id")));
        }
        let long = escaped(&"~".repeat(129));
        check(&with("entry_id", &format!("\"{long}\"")), Err(("invalid_field", "entry_id")));
        check(&with("pending_id", &format!("\"{long}\"")), Err(("invalid_field", "pending_id")));
        for name in &MEMBERS[..7] {
            check(&with(name, ""), Err(("missing_field", name)));
            for bad in ["null", "true", "{}", "[1]", "\"\"", "1.5", "\"\u{e9}\""] {
                check(&with(name, bad), Err(("invalid_field", name)));
            }
        }
        for (amount, code) in [
            ("-1", "amount_negative"),
            ("-99999999999999999999", "amount_negative"),
            ("-0", "invalid_field"),
            ("1.0", "invalid_field"),
            ("1e3", "invalid_field"),
            ("9223372036854775808", "invalid_field"),
            ("\"5\"", "invalid_field"),
            ("01", "invalid_json"),
            ("-1.5", "invalid_field"),
        ] {
            check(
                &with("amount", amount),
                Err((code, if code == "invalid_json" { "" } else { "amount" })),
            );
        }
        check(&with("amount", "9223372036854775807"), Ok(()));
        check(&with("at_ms", "253402300800000"), Err(("invalid_field", "at_ms")));
        check(&with("state", "\"pending\""), Ok(()));
        check(&with("state", "\"open\""), Err(("invalid_field", "state")));
        check(&with("x", "{\"a\":[1]}"), Err(("unknown_field", "x")));
        check(&with("x\\u0041", "1"), Err(("unknown_field", "xA")));
        check(&with("\\u0061mount", "1"), Err(("invalid_json", "amount")));
        let long = |bytes| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
        let mut scratch = LineScratch::EMPTY;
        assert!(parse(long(LINE_BYTES).as_bytes(), &mut scratch).entry.is_ok());
        check(&long(LINE_BYTES + 1), Err(("line_too_long", "")));
        check("", Err(("invalid_json", "")));
        check("[]", Err(("invalid_json", "")));
        check(&format!("{GOOD}x"), Err(("invalid_json", "")));
        check(&format!(" {GOOD}\r"), Ok(()));
    }

    #[test]
    fn metadata_is_any_json_and_is_dropped() {
        let parsed = |line: &str| {
            let mut scratch = LineScratch::EMPTY;
            let entry =
                parse(line.as_bytes(), &mut scratch).entry.map(|entry| format!("{entry:?}"));
            entry.map_err(|problem| (problem.code, problem.field))
        };
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let refused = |why, field| Err((Code::InvalidJson(why), Field::known(field)));
        for value in [
            "null",
            "true",
            "-0",
            "1e400",
            "-1.50E-7",
            r#""\ud83d\ude00 é""#,
            "[]",
            r#"{"amount":-5,"a":1,"a":[{"metadata":null,"metadata":2}]}"#,
            &nested(DEPTH - 1),
        ] {
            let last = with("metadata", value);
            assert_eq!(parsed(&last), parsed(GOOD), "{value}");
            let first = format!("{{\"m\\u0065tadata\" : {value},{}", &GOOD[1..]);
            assert_eq!(parsed(&first), parsed(GOOD), "{value}");
        }
        for (value, why) in [
            (&*nested(DEPTH), NotJson::TooDeep),
            ("[01]", NotJson::Number),
            ("1.", NotJson::Number),
            (r#"{"a":"\ud83d"}"#, NotJson::LoneSurrogate),
            (r#"{"\x":1}"#, NotJson::Escape),
            ("\"\t\"", NotJson::ControlCharacter),
            ("[1,]", NotJson::Syntax),
            ("nul", NotJson::Syntax),
        ] {
            assert_eq!(parsed(&with("metadata", value)), refused(why, ""), "{value}");
        }
        let twice = with("metadata", "1,\"metadata\":1");
        assert_eq!(parsed(&twice), refused(NotJson::Repeated, "metadata"));
        check(&with("Metadata", "1"), Err(("unknown_field", "Metadata")));
        let settlement = r#"{"entry_id":"2","user_id":"42","at_ms":1,"amount":5,"pending_id":"1""#;
        check(&format!("{settlement},\"metadata\":[1]}}"), Ok(()));
        let long = |bytes: usize| {
            let rest = bytes - with("metadata", "\"\"").len();
            with("metadata", &format!("\"{}\"", "x".repeat(rest)))
        };
        assert_eq!(parsed(&long(LINE_BYTES)), parsed(GOOD));
        check(&long(LINE_BYTES + 1), Err(("line_too_long", "")));
    }

    #[test]
    fn an_entry_on_a_hold_gives_all_of_its_terms_or_none() {
        let line = |rest: &str| {
            format!(r#"{{"entry_id":"2","user_id":"42","at_ms":1,"pending_id":"1"{rest}}}"#)
        };
        let terms = r#","currency":"USD/2","kind":"payment.captured","direction":"debit""#;
        for terms in ["", terms] {
            for rest in [
                r#","amount":5"#,
                r#","amount":5,"state":"posted","final":true"#,
                r#","amount":5,"final":false"#,
                r#","amount":5,"state":"pending""#,
                r#","state":"voided""#,
                r#","state":"voided","amount":5"#,
            ] {
                check(&line(&format!("{terms}{rest}")), Ok(()));
            }
            check(&line(terms), Err(("missing_field", "amount")));
            let pending = format!(r#"{terms},"amount":5,"state":"pending","final":true"#);
            check(&line(&pending), Err(("invalid_field", "final")));
            let voided = format!(r#"{terms},"state":"voided","final":false"#);
            check(&line(&voided), Err(("invalid_field", "final")));
            for last in ["null", "1", "\"true\"", "[true]"] {
                let posted = format!(r#"{terms},"amount":5,"final":{last}"#);
                check(&line(&posted), Err(("invalid_field", "final")));
            }
        }
        check(&line(r#","amount":5,"currency":"COIN""#), Err(("missing_field", "kind")));
        check(&line(r#","amount":5,"kind":"a""#), Err(("missing_field", "currency")));
        let two = r#","amount":5,"currency":"COIN","kind":"a""#;
        check(&line(two), Err(("missing_field", "direction")));
        for extra in ["currency", "kind", "direction"] {
            let rest = format!(r#"{},"amount":5"#, terms.replace(extra, "metadata"));
            check(&line(&format!(r#"{rest},"{extra}":null"#)), Err(("invalid_field", extra)));
        }
        check(&with("final", "true"), Err(("invalid_field", "final")));
        check(
            r#"{"entry_id":"2","user_id":"42","at_ms":1,"amount":5,"pending_id":7}"#,
            Err(("invalid_field", "pending_id")),
        );
    }

    #[test]
    fn a_void_without_a_hold_lacks_only_its_pending_id() {
        let void = |rest: &str| {
            format!(r#"{{"entry_id":"2","user_id":"42","at_ms":1,"state":"voided"{rest}}}"#)
        };
        check(&void(""), Err(("missing_field", "pending_id")));
        check(&with("state", "\"voided\""), Err(("missing_field", "pending_id")));
        check(&void(r#","amount":5"#), Err(("missing_field", "pending_id")));
        check(&void(r#","currency":"COIN","amount":5"#), Err(("missing_field", "kind")));
        // Members that are given must be valid: the first that is not is named.
        for name in ["currency", "kind", "direction"] {
            let line = with(name, "7").replace("\"amount\"", "\"state\":\"voided\",\"amount\"");
            check(&line, Err(("invalid_field", name)));
        }
        check(&void(r#","amount":1.0"#), Err(("invalid_field", "amount")));
        check(&void(r#","amount":-5"#), Err(("amount_negative", "amount")));
        check(&void("").replace("\"at_ms\":1,", ""), Err(("missing_field", "at_ms")));
        check(&void("").replace(":1,", ":-1,"), Err(("invalid_field", "at_ms")));
        check(&void("").replace("\"user_id\":\"42\",", ""), Err(("missing_field", "user_id")));
        check(&void("").replace("voided", "Voided"), Err(("missing_field", "currency")));
    }

    #[test]
    fn the_encoding_is_judged_before_the_rest() {
        for (line, want) in [
            (&b"\xef\xbb\xbf{}"[..], NotJson::Bom),
            (b"\xef\xbb\xbf", NotJson::Bom),
            (b"\xef\xbb\xbf\xff", NotJson::Bom),
            (b" \xef\xbb\xbf{}", NotJson::NotObject),
            (b"\xff\xfe{\x00}\x00", NotJson::NotUtf8),
            (b"[01,\"\xc0\xaf\"", NotJson::NotUtf8),
            (b"{\"a\":1,\"a\":\"\xed\xa0\x80\"}", NotJson::NotUtf8),
            ("{\"a\":1,\"a\":\"é\"}".as_bytes(), NotJson::Repeated),
            ("{} é".as_bytes(), NotJson::TrailingText),
        ] {
            let mut scratch = LineScratch::EMPTY;
            let got = parse(line, &mut scratch).entry.map_err(|problem| problem.code);
            assert_eq!(got, Err(Code::InvalidJson(want)), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_valid_id_is_echoed_as_it_was_sent() {
        let echo = |line: &str| {
            let mut scratch = LineScratch::EMPTY;
            String::from_utf8(parse(line.as_bytes(), &mut scratch).id_text.to_vec()).unwrap()
        };
        assert_eq!(
            echo(&with("entry_id", "\"0192F0C1-0000-7000-8000-00000000ABcd\"")),
            "0192F0C1-0000-7000-8000-00000000ABcd"
        );
        assert_eq!(echo(&with("entry_id", "\"\\u0034\\u0032\"")), "42");
        assert_eq!(echo(&with("x", "1")), "1");
        assert_eq!(echo(&with("entry_id", "\"tx9:1\"")), "tx9:1");
        assert_eq!(echo(&with("entry_id", "\"tx 9\"")), "");
        assert_eq!(echo("{\"entry_id\":\"1\",\"entry_id\":\"1\"}"), "");
    }
}
