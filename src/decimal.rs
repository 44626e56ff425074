//! Integers as decimal text: the one writer of digits on the wire.
//!
//! Two digits at a time, from a table. Text is written into a place that is as wide as any number
//! and then cut: copying a fixed number of bytes is cheaper than copying just as many as there are.
//! Nothing fails, and nothing is allocated but what the caller's vector needs.

/// Most digits of a `u64`.
pub const MOST_DIGITS: usize = 20;

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

/// The digits of a number, without leading zeros.
#[derive(Clone, Copy, Debug)]
pub struct Digits {
    text: [u8; MOST_DIGITS],
    len: usize,
}

impl Digits {
    /// Of `value`.
    #[inline]
    pub fn of(value: u64) -> Self {
        let len = value.checked_ilog10().unwrap_or(0) as usize + 1;
        let (mut text, mut at, mut rest) = ([0; MOST_DIGITS], len, value);
        while rest >= 10 {
            at -= 2;
            text[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        if at > 0 {
            text[0] = b'0' + rest as u8;
        }
        Self { text, len }
    }

    /// As text.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// Appends a decimal integer.
#[inline]
pub fn number(out: &mut Vec<u8>, value: u64) {
    let Digits { text, len } = Digits::of(value);
    let start = out.len();
    out.extend_from_slice(&text);
    out.truncate(start + len);
}

/// A number below 100 in two digits.
#[inline]
pub fn two_digits(value: u64) -> [u8; 2] {
    PAIRS[value as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        let powers = (0..20).map(|n| 10u64.pow(n));
        let widths = powers.flat_map(|power| [power, power - 1, power.wrapping_mul(7) | 1]);
        for value in widths.chain([0, 9, 10, 99, 100, u64::MAX]) {
            let mut out = b"before".to_vec();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{value}"));
            assert_eq!(Digits::of(value).as_bytes(), value.to_string().as_bytes());
        }
        assert_eq!(Digits::of(u64::MAX).as_bytes().len(), MOST_DIGITS);
    }

    #[test]
    fn pairs() {
        for value in 0..100 {
            assert_eq!(two_digits(value), *format!("{value:02}").as_bytes());
        }
    }
}
