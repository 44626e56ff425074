//! `If-None-Match` against our entity tag, which is `"v17"` for version 17.
//!
//! Comparison is weak, as RFC 9110, 13.1.2 has it: `W/"v17"` matches too. It errs towards the full
//! answer, which is always right: what is not a list of entity tags matches nothing from there on.

/// The client holds `version` already, so that `304` is the answer. `header` is the value of
/// `If-None-Match`.
pub fn if_none_match(header: &[u8], version: u64) -> bool {
    let mut rest = header.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let Some((opaque, after)) = entity_tag(rest) else {
            return false;
        };
        if version_of(opaque) == Some(version) {
            return true;
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
        let check = |header: &str, expected| assert_eq!(if_none_match(header.as_bytes(), 17), expected, "{header:?}");
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
