//! The pieces of RFC 9110's grammar that more than one file needs: classes of characters, hex
//! digits, comma lists, authorities.
//!
//! Nothing here judges a request; it only says what a byte is.

/// A byte of a token: a method, a header name, a transfer coding (RFC 9110, 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A byte of a header's value: visible ASCII, space, tab and obs-text; any other control byte is
/// none (RFC 9110, 5.5).
pub(super) const fn is_field_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// A byte of a host as a URI has it: unreserved, sub-delims and `%` (RFC 3986, 3.2.2). The marks of
/// a port and of an IP literal are not among them.
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

/// The elements of a comma list, without the white space around them; empty elements are handed on.
/// For values that hold [`is_field_text`] only, and no quoted strings.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// `uri-host [":" port]`, as in `Host` and in an absolute target (RFC 3986, 3.2.2; without user
/// information). May be empty.
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

/// What stands between the brackets of an IP literal: characters only, the address itself is not
/// read.
fn is_ip_literal(inner: &[u8]) -> bool {
    !inner.is_empty() && inner.iter().all(|&byte| byte == b':' || (is_host(byte) && byte != b'%'))
}

/// What follows a host: nothing, or a colon and digits, which may be none.
fn is_port(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

static TOKEN: [bool; 256] = class(b"!#$%&'*+-.^_`|~");
static HOST: [bool; 256] = class(b"-._~!$&'()*+,;=%");

/// Letters, digits and `others`.
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
            assert_eq!(elements(list).collect::<Vec<_>>(), expected)
        };
        check(b"", &[b""]);
        check(b"a", &[b"a"]);
        check(b"a ,\tb,,c d ", &[b"a", b"b", b"", b"c d"]);
    }
}
