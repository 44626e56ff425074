//! Judges a text with `serde_json`: whether it is JSON, and whether a member is repeated.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;

/// Verdict on a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Not JSON.
    Bad,
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
            if limit { Grammar::Unsure } else { Grammar::Bad }
        }
    }
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
