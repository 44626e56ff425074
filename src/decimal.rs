//! Decimal text of integers. `itoa` writes the digits: 2.3 times as fast as a writer of our own was
//! (`benches/runs/2026-11-30-by-hand.md`).

/// Appends a decimal integer. Allocates only if `out` must grow.
///
/// ```
/// let mut body = b"\"version\":".to_vec();
/// purser::decimal::number(&mut body, 1_763_900);
/// assert_eq!(body, b"\"version\":1763900");
/// ```
#[inline]
pub fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Parses a decimal integer without leading zeros; `None` for anything else, or from 2^64 on.
///
/// ```
/// use purser::decimal::parse;
///
/// assert_eq!(parse(b"18446744073709551615"), Some(u64::MAX));
/// assert_eq!([&b""[..], b"042", b"+1", b"18446744073709551616"].map(parse), [None; 4]);
/// ```
#[inline]
pub fn parse(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    // Nineteen digits cannot overflow; only a twentieth can.
    let (head, last) = text.split_at(text.len().min(19));
    let mut all_digits = true;
    let value = head.iter().fold(0u64, |value, &b| {
        let digit = b.wrapping_sub(b'0');
        all_digits &= digit <= 9;
        value.wrapping_mul(10).wrapping_add(u64::from(digit))
    });
    let value = match last {
        [b] if b.is_ascii_digit() => value.checked_mul(10)?.checked_add(u64::from(b - b'0'))?,
        [] => value,
        _ => return None,
    };
    all_digits.then_some(value)
}
