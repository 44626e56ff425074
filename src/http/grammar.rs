//! Grammar of RFC 9110 that several files share: character classes, hex digits, comma-separated
//! lists, authorities.
//!
//! Nothing here refuses a request; the functions only classify and split bytes.

/// Whether a byte may be in a token: a method, a header name, a transfer coding (RFC 9110, 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether a byte may be in a header's value: visible ASCII, space, tab and obs-text (RFC 9110,
/// 5.5). All other control bytes are excluded.
pub(super) const fn is_field_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether a byte may be in the host of a URI: unreserved, sub-delims and `%` (RFC 3986, 3.2.2).
/// The delimiters of a port and of an IP literal are excluded.
const fn is_host(byte: u8) -> bool {
    HOST[byte as usize]
}

/// The value of a hex digit of either case.
pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Elements of a comma-separated list, without the white space around them. Empty elements are
/// returned too. The list may hold only [`is_field_text`] bytes and no quoted strings.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether `value` is `uri-host [":" port]`, as in `Host` and in an absolute target (RFC 3986,
/// 3.2.2), without user information. The host may be empty.
pub(super) fn is_authority(value: &[u8]) -> bool {
    if let [b'[', inner @ ..] = value {
        let end = inner.iter().position(|&byte| byte == b']').unwrap_or(0);
        return is_ip_literal(&inner[..end]) && inner.get(end + 1..).is_some_and(is_port);
    }
    let mut rest = value;
    loop {
        rest = match rest {
            [b'%', high, low, after @ ..]
                if hex_digit(*high).is_some() && hex_digit(*low).is_some() =>
            {
                after
            }
            [b'%', ..] => return false,
            [byte, after @ ..] if is_host(*byte) => after,
            _ => return is_port(rest),
        }
    }
}

/// Whether `inner` may be between the brackets of an IP literal. Only characters are checked; the
/// address is not parsed.
fn is_ip_literal(inner: &[u8]) -> bool {
    !inner.is_empty() && inner.iter().all(|&byte| byte == b':' || (is_host(byte) && byte != b'%'))
}

/// Whether `rest` may follow a host: nothing, or a colon and any number of digits, even none.
fn is_port(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

static TOKEN: [bool; 256] = class(b"!#$%&'*+-.^_`|~");
static HOST: [bool; 256] = class(b"-._~!$&'()*+,;=%");

/// Table of ASCII letters, digits and `others`.
const fn class(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        for byte in 0..=255u8 {
            let letter = byte.is_ascii_alphanumeric();
            assert_eq!(is_token(byte), letter || b"!#$%&'*+-.^_`|~".contains(&byte), "{byte:#x}");
            assert_eq!(is_host(byte), letter || b"-._~!$&'()*+,;=%".contains(&byte), "{byte:#x}");
            assert_eq!(
                is_field_text(byte),
                byte == b'\t' || (byte >= 0x20 && byte != 0x7f),
                "{byte:#x}"
            );
            assert_eq!(hex_digit(byte).map(u32::from), char::from(byte).to_digit(16), "{byte:#x}");
        }
    }

    #[test]
    fn lists() {
        let check = |list: &[u8], expected: &[&[u8]]| {
            assert_eq!(elements(list).collect::<Vec<_>>(), expected);
        };
        check(b"", &[b""]);
        check(b"a", &[b"a"]);
        check(b"a ,\tb,,c d ", &[b"a", b"b", b"", b"c d"]);
    }
}
