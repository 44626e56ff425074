//! `If-Match` and `If-None-Match`, compared with a user's entity tag: `"v17"` for version 17.
//!
//! `If-Match` compares strongly: `W/"v17"` does not match. `If-None-Match` compares weakly: it does
//! (RFC 9110, 13.1). From the first byte that is not part of a list of entity tags, nothing
//! matches.

/// Result of evaluating a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The request is answered as if it had no conditions.
    Holds,
    /// `If-None-Match` names the current version: `304` is the answer.
    NotModified,
    /// `If-Match` does not name the current version: `412` is the answer.
    Failed,
}

/// Evaluates a request's conditions for something that exists and whose current tag is that of
/// `version`; `None` if it has no tag: `If-Match: *` matches it alone, and `If-None-Match` is
/// ignored.
///
/// `lines` runs from the start of the first header line `If-Match` or `If-None-Match` to the end of
/// the last, with the lines between them. All values of one name form one list. `If-Match` goes
/// first (RFC 9110, 13.2.2).
///
/// ```
/// use purser::http::etag::{Condition, evaluate};
///
/// assert_eq!(evaluate(br#"if-none-match: W/"v16", "v17""#, Some(17)), Condition::NotModified);
/// assert_eq!(evaluate(br#"If-Match: "v16""#, Some(17)), Condition::Failed);
/// assert_eq!(evaluate(br#"If-Match: "v17""#, Some(17)), Condition::Holds);
/// ```
pub fn evaluate(lines: &[u8], version: Option<u64>) -> Condition {
    if matches(lines, b"if-match", version, false) == Some(false) {
        Condition::Failed
    } else if version.is_some() && matches(lines, b"if-none-match", version, true) == Some(true) {
        Condition::NotModified
    } else {
        Condition::Holds
    }
}

/// Whether the lists of all lines called `name` match; `None` without such a line. `weak` tells
/// whether weak tags may match.
fn matches(lines: &[u8], name: &[u8], version: Option<u64>, weak: bool) -> Option<bool> {
    let mut first = None;
    let mut is_sole = true;
    let mut found = false;
    let mut is_legal = true;
    for value in values(lines, name) {
        is_sole = first.is_none();
        first.get_or_insert(value);
        match is_legal.then(|| names(value, version, weak)).flatten() {
            Some(is_named) => found |= is_named,
            None => is_legal = false,
        }
    }
    let first = first?;
    Some(found || is_sole && first.trim_ascii() == b"*")
}

/// The values of all lines called `name`.
fn values<'l>(lines: &'l [u8], name: &[u8]) -> impl Iterator<Item = &'l [u8]> {
    lines.split(|&byte| byte == b'\r').filter_map(move |line| {
        let colon = memchr::memchr(b':', line)?;
        let (found, value) = (line[..colon].trim_ascii(), &line[colon + 1..]);
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Whether the list contains the tag of `version` before its first fault; `None` if a fault comes
/// first.
fn names(list: &[u8], version: Option<u64>, weak: bool) -> Option<bool> {
    let mut rest = list;
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return Some(false);
        }
        let (is_weak, opaque, after) = entity_tag(rest)?;
        if (weak || !is_weak) && version.is_some() && version_of(opaque) == version {
            return Some(true);
        }
        rest = after;
    }
}

/// The tag at the start of `list`: whether it is weak, and the text between its quotes; and the
/// rest after the tag, which is empty or begins with a comma.
fn entity_tag(list: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let weak = list.strip_prefix(b"W/");
    let quoted = weak.unwrap_or(list).strip_prefix(b"\"")?;
    let (opaque, after) = quoted.split_at(memchr::memchr(b'"', quoted)?);
    let after = after[1..].trim_ascii_start();
    let legal = opaque.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
    (legal && matches!(after, [] | [b',', ..])).then_some((weak.is_some(), opaque, after))
}

/// The version in an opaque tag: `v` and a number as this server writes it, without a sign or
/// leading zeros.
fn version_of(opaque: &[u8]) -> Option<u64> {
    match opaque.strip_prefix(b"v")? {
        [b'0', _, ..] | [b'+', ..] => None,
        digits => str::from_utf8(digits).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str, version: Option<u64>, expected: Condition) {
        assert_eq!(evaluate(lines.as_bytes(), version), expected, "{lines:?}");
    }

    /// Lists that contain the tag of version 17, strong.
    const NAMED: [&str; 10] = [
        "\"v17\"",
        "*",
        " * ",
        "\"v16\", \"v17\"",
        "W/\"v16\",\"v17\" , \"v18\"",
        ",, \"v17\"",
        "\"a,b\",\"v17\"",
        "\"\", \"v17\"",
        "\"v17\", junk",
        "W/\"v17\",\"v17\"",
    ];

    /// Lists that do not.
    const NOT_NAMED: [&str; 20] = [
        "",
        "v17",
        "\"v17",
        "\"v1\"",
        "\"v170\"",
        "\"v017\"",
        "\"v+17\"",
        "\"V17\"",
        "\"17\"",
        "w/\"v17\"",
        "W/ \"v17\"",
        "\"v17\"x",
        "\"v 17\"",
        "\"v16\" \"v17\"",
        "junk, \"v17\"",
        "*, \"v17\"",
        "\"v16\", *",
        "'v17'",
        "\"v18446744073709551633\"",
        "\"v\"",
    ];

    #[test]
    fn if_none_match_compares_weakly() {
        for list in NAMED.into_iter().chain(["W/\"v17\"", "\"v16\",W/\"v17\""]) {
            check(&format!("If-None-Match:{list}"), Some(17), Condition::NotModified);
            check(&format!("if-none-match: {list}"), None, Condition::Holds);
        }
        for list in NOT_NAMED {
            check(&format!("If-None-Match:{list}"), Some(17), Condition::Holds);
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        for list in NAMED {
            check(&format!("If-Match:{list}"), Some(17), Condition::Holds);
            let untagged = if list.trim() == "*" { Condition::Holds } else { Condition::Failed };
            check(&format!("If-Match:{list}"), None, untagged);
        }
        for list in NOT_NAMED.into_iter().chain(["W/\"v17\"", "\"v16\",W/\"v17\""]) {
            check(&format!("If-Match:{list}"), Some(17), Condition::Failed);
            check(&format!("If-Match:{list}"), None, Condition::Failed);
        }
    }

    #[test]
    fn all_lines_of_one_name_form_a_list() {
        let same = "if-none-match: \"v16\"\r\nIF-NONE-MATCH: \"v17\"";
        check(same, Some(17), Condition::NotModified);
        let apart = "If-None-Match:\"v1\",\r\nAccept: *\r\nif-none-match:W/\"v17\"";
        check(apart, Some(17), Condition::NotModified);
        check("if-none-match: junk\r\nif-none-match: \"v17\"", Some(17), Condition::Holds);
        check("if-none-match: *\r\nif-none-match: *", Some(17), Condition::Holds);
        check("if-match: \"v16\"\r\nif-match: \"v17\"", Some(17), Condition::Holds);
        check("if-match: *\r\nif-match: *", Some(17), Condition::Failed);
        check("if-match: \"v16\"\r\nx-if-match: \"v17\"", Some(17), Condition::Failed);
    }

    #[test]
    fn if_match_goes_first() {
        let both = |one: &str, none: &str| {
            [
                format!("if-match: {one}\r\nif-none-match: {none}"),
                format!("if-none-match: {none}\r\nif-match: {one}"),
            ]
        };
        let check = |one, none, expected| {
            both(one, none).iter().for_each(|lines| check(lines, Some(17), expected));
        };
        check("\"v17\"", "\"v17\"", Condition::NotModified);
        check("\"v16\"", "\"v17\"", Condition::Failed);
        check("\"v17\"", "\"v16\"", Condition::Holds);
        check("*", "*", Condition::NotModified);
    }

    #[test]
    fn every_version_matches_its_tag_only() {
        for version in [0, 1, 9, 10, 99, 1 << 53, u64::MAX] {
            let lines = format!("if-none-match: \"v{version}\"");
            check(&lines, Some(version), Condition::NotModified);
            check(&lines, Some(version ^ 1), Condition::Holds);
        }
    }
}
