//! Decimal formatting of integers on the hot path. `itoa` does it elsewhere.
//!
//! Digits are written in pairs from a table, into a fixed buffer as wide as the longest number. The
//! whole buffer is copied and the result truncated, because a copy of fixed length is cheaper than
//! one of variable length. Nothing fails, and nothing is allocated but growth of the caller's
//! vector.

/// Maximum number of digits of a `u64`.
pub const MAX_DIGITS: usize = 20;

/// The decimal pairs `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Writes a number to the start of `text` and returns its digits, without leading zeros.
#[inline]
pub fn digits(value: u64, text: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let len = fill(text, value);
    &text[..len]
}

/// Appends a decimal integer.
///
/// ```
/// let mut body = b"\"version\":".to_vec();
/// purser::decimal::number(&mut body, 1_763_900);
/// assert_eq!(body, b"\"version\":1763900");
/// ```
#[inline]
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut text = [0; MAX_DIGITS];
    let len = fill(&mut text, value);
    let start = out.len();
    out.extend_from_slice(&text);
    out.truncate(start + len);
}

/// Writes a number to the start of `text` and returns its number of digits. Always inlined, so that
/// the caller appends `text` without copying it first.
#[inline(always)]
fn fill(text: &mut [u8; MAX_DIGITS], value: u64) -> usize {
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    let (mut at, mut rest) = (digits, value);
    while rest >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if at > 0 {
        text[0] = b'0' + rest as u8;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_match_std() {
        let powers = (0..20).map(|n| 10u64.pow(n));
        let widths = powers.flat_map(|power| [power, power - 1, power.wrapping_mul(7) | 1]);
        for value in widths.chain([0, 9, 10, 99, 100, u64::MAX]) {
            let mut out = b"before".to_vec();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{value}"));
            assert_eq!(digits(value, &mut [0; MAX_DIGITS]), value.to_string().as_bytes());
        }
        assert_eq!(digits(u64::MAX, &mut [0; MAX_DIGITS]).len(), MAX_DIGITS);
    }
}
