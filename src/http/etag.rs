//! `If-None-Match` against our entity tag, which is `"v17"` for version 17.
//!
//! Comparison is weak, as RFC 9110, 13.1.2 has it: `W/"v17"` matches too. It errs towards the full
//! answer, which is always right: what is not a list of entity tags matches nothing from there on.

/// The client holds `version` already, so that `304` is the answer. `header` is the value of
/// `If-None-Match`; or several of them, with the lines between them: together they are one list.
pub fn if_none_match(header: &[u8], version: u64) -> bool {
    header.trim_ascii() == b"*"
        || values(header).map_while(|list| names(list, version)).any(|found| found)
}

/// The values of the header, of which the first has lost its name.
fn values(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut lines = header.split(|&byte| byte == b'\r');
    let value = |line| {
        let (name, value) = line_parts(line)?;
        name.eq_ignore_ascii_case(b"if-none-match").then_some(value)
    };
    lines.next().into_iter().chain(lines.filter_map(value))
}

/// Name and value of a line that still has its line feed in front.
fn line_parts(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((line[..colon].trim_ascii(), &line[colon + 1..]))
}

/// Whether the list has our tag of this version; `None` where it is no list of entity tags.
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

/// The text between the quotes of the tag at the start of `list`, and what is behind the tag: the
/// end, or its comma.
fn entity_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let quoted = list.strip_prefix(b"W/").unwrap_or(list).strip_prefix(b"\"")?;
    let (opaque, after) = quoted.split_at(memchr::memchr(b'"', quoted)?);
    let after = after[1..].trim_ascii_start();
    let legal = opaque.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
    (legal && matches!(after, [] | [b',', ..])).then_some((opaque, after))
}

/// The version that an opaque tag of ours names: `v` and a number as we write it, without leading
/// zeros.
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
    fn matches_as_rfc_9110_has_it() {
        let check = |header: &str, expected| {
            assert_eq!(if_none_match(header.as_bytes(), 17), expected, "{header:?}")
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
    fn knows_every_version() {
        for version in [0, 1, 9, 10, 99, 1 << 53, u64::MAX] {
            assert!(if_none_match(format!("\"v{version}\"").as_bytes(), version), "{version}");
            assert!(!if_none_match(format!("\"v{version}\"").as_bytes(), version ^ 1), "{version}");
        }
    }
}
