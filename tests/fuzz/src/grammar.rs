//! Judges a text with `serde_json`: whether it is JSON, and whether a member is repeated.

use purser::api::json::NotJson;
use purser::api::problem::{Code, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;

/// Verdict on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Not JSON, with the message of `serde_json`.
    Bad(String),
    /// Exceeds a limit of `serde_json` that our readers do not have: a number outside `f64`, or
    /// nesting depth.
    Unsure,
    /// JSON, but not an object.
    Other,
    /// An object.
    Object {
        /// One of its direct members is repeated.
        repeats: bool,
        /// A member is repeated at any depth.
        repeats_inside: bool,
    },
}

/// Judges a text.
pub fn judge(text: &[u8]) -> Grammar {
    match serde_json::from_slice::<Any>(text) {
        Ok(any) if any.is_object => {
            Grammar::Object { repeats: any.repeats, repeats_inside: any.repeats_inside }
        }
        Ok(_) => Grammar::Other,
        Err(error) => {
            let why = error.to_string();
            let limit = why.starts_with("number out of range")
                || why.starts_with("recursion limit exceeded");
            if limit { Grammar::Unsure } else { Grammar::Bad(why) }
        }
    }
}

/// The reason why our reader refused a text as JSON.
pub fn reason(problem: &Problem) -> Option<NotJson> {
    match problem.code {
        Code::InvalidJson(reason) => Some(reason),
        _ => None,
    }
}

/// Checks the reason for which our reader refused `text`, on which `serde_json` gave `why`.
///
/// `serde_json` stops at the same byte, except that it takes an escape that ends early for the end
/// of the text, a number that goes on for a missing comma, and all but one of its messages for a
/// byte out of place.
pub fn check_reason(text: &[u8], why: &str, reason: NotJson) {
    let may_be: &[NotJson] = if text.starts_with(b"\xef\xbb\xbf") {
        &[NotJson::Bom]
    } else if std::str::from_utf8(text).is_err() {
        &[NotJson::NotUtf8]
    } else if !is_braced(text) {
        &[NotJson::NotObject]
    } else if why.starts_with("EOF") {
        &[NotJson::EndsEarly, NotJson::Escape, NotJson::LoneSurrogate]
    } else if why.starts_with("trailing characters") {
        &[NotJson::TrailingText]
    } else if why.starts_with("control character") {
        &[NotJson::ControlCharacter]
    } else if why.starts_with("invalid number") {
        &[NotJson::Number]
    } else if ["escape", "surrogate"].iter().any(|word| why.contains(word)) {
        &[NotJson::Escape, NotJson::LoneSurrogate]
    } else {
        &[NotJson::Syntax, NotJson::Number]
    };
    assert!(may_be.contains(&reason), "{reason:?}, but serde_json says {why}");
}

/// Whether a text is empty, or its first byte that is not white space is `{`.
fn is_braced(text: &[u8]) -> bool {
    text.iter().find(|byte| !b" \t\n\r".contains(byte)).is_none_or(|&first| first == b'{')
}

#[derive(Clone, Copy, Default)]
struct Any {
    is_object: bool,
    repeats: bool,
    repeats_inside: bool,
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Any, E> {
        Ok(Any::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Any, A::Error> {
        let mut whole = Any::default();
        while let Some(item) = list.next_element::<Any>()? {
            whole.repeats_inside |= item.repeats_inside;
        }
        Ok(whole)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Any, A::Error> {
        let mut whole = Any { is_object: true, ..Any::default() };
        let mut names = HashSet::new();
        while let Some((name, value)) = object.next_entry::<String, Any>()? {
            whole.repeats |= !names.insert(name);
            whole.repeats_inside |= whole.repeats | value.repeats_inside;
        }
        Ok(whole)
    }
}
