//! `If-None-Match`, compared with a user's entity tag: `"v17"` for version 17.
//!
//! Comparison is weak, as RFC 9110, 13.1.2 requires: `W/"v17"` matches too. From the first byte
//! that is not part of a list of entity tags, nothing matches: the client then gets the full
//! answer, which is always correct.

/// Whether the client already has `version`, so that `304` is the answer.
///
/// `header` is the value of `If-None-Match`. If there are several such lines, it runs from the
/// first value to the end of the last, with the lines between them; all the values form one list.
///
/// ```
/// use purser::http::etag::if_none_match;
///
/// assert!(if_none_match(br#"W/"v16", "v17""#, 17));
/// assert!(!if_none_match(br#""v16""#, 17));
/// ```
pub fn if_none_match(header: &[u8], version: u64) -> bool {
    header.trim_ascii() == b"*"
        || values(header).map_while(|list| names(list, version)).any(|found| found)
}

/// The values of all `If-None-Match` lines in `header`, which begins at the first value, without a
/// name.
fn values(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = header.split(|&byte| byte == b'\r');
    let value = |line| {
        let (name, value) = line_parts(line)?;
        name.eq_ignore_ascii_case(b"if-none-match").then_some(value)
    };
    lines.next().into_iter().chain(lines.filter_map(value))
}

/// Name and value of a line that still begins with its line feed.
fn line_parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((line[..colon].trim_ascii(), &line[colon + 1..]))
}

/// Whether the list contains the tag of `version` before its first fault; `None` if a fault comes
/// first.
fn names(list: &[u8], version: u64) -> Option<bool> {
    let mut rest = list;
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return Some(false);
        }
        let (opaque, after) = entity_tag(rest)?;
        if version_of(opaque) == Some(version) {
            return Some(true);
        }
        rest = after;
    }
}

/// The text between the quotes of the tag at the start of `list`, and the rest after the tag, which
/// is empty or begins with a comma.
fn entity_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = list.strip_prefix(b"W/").unwrap_or(list).strip_prefix(b"\"")?;
    let (opaque, after) = quoted.split_at(memchr::memchr(b'"', quoted)?);
    let after = after[1..].trim_ascii_start();
    let legal = opaque.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
    (legal && matches!(after, [] | [b',', ..])).then_some((opaque, after))
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

    #[test]
    fn tags_match_as_rfc_9110_defines() {
        let check = |header: &str, expected| {
            assert_eq!(if_none_match(header.as_bytes(), 17), expected, "{header:?}");
        };
        for header in [
            "\"v17\"",
            "W/\"v17\"",
            "*",
            " * ",
            "\"v16\", \"v17\"",
            "\"v16\",W/\"v17\" , \"v18\"",
            ",, \"v17\"",
            "\"a,b\",\"v17\"",
            "\"\", \"v17\"",
            "\"v17\", junk",
            "\"v16\"\r\nIF-none-match: \"v17\"",
            "\r\nAccept: *\r\nif-none-match:\"v1\",\r\nif-none-match:W/\"v17\"",
        ] {
            check(header, true);
        }
        for header in [
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
            "*\r\nif-none-match: *",
            "junk\r\nif-none-match: \"v17\"",
            "\"v16\"\r\nif-match: \"v17\"\r\nif-none-match: \"v18\"",
        ] {
            check(header, false);
        }
    }

    #[test]
    fn every_version_matches_its_tag_only() {
        for version in [0, 1, 9, 10, 99, 1 << 53, u64::MAX] {
            assert!(if_none_match(format!("\"v{version}\"").as_bytes(), version), "{version}");
            assert!(!if_none_match(format!("\"v{version}\"").as_bytes(), version ^ 1), "{version}");
        }
    }
}
