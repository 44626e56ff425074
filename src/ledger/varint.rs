//! Unsigned LEB128: seven bits a byte, low bits first, the high bit says that more follow.

/// The most bytes one integer takes.
pub(super) const MAX_BYTES: usize = 10;

/// Appends `value` to `out` at `*at` and moves `*at` behind it. `out` must have [`MAX_BYTES`] to spare.
pub(super) fn put(out: &mut [u8], at: &mut usize, mut value: u64) {
    while value >= 0x80 {
        out[*at] = value as u8 | 0x80;
        value >>= 7;
        *at += 1;
    }
    out[*at] = value as u8;
    *at += 1;
}

/// Reads the integer at `*at` and moves `*at` behind it.
#[inline]
pub(super) fn get(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = u64::from(bytes[*at]);
    *at += 1;
    if value < 0x80 {
        return value;
    }
    value &= 0x7f;
    let mut shift = 7;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_reads_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let (mut bytes, mut wrote, mut read) = ([0; MAX_BYTES], 0, 0);
                put(&mut bytes, &mut wrote, value);
                assert_eq!((get(&bytes, &mut read), read), (value, wrote));
            }
        }
    }
}
