//! Unsigned LEB128: seven bits a byte, low bits first, the high bit says that more follow. Kept on
//! disk: it never changes.

/// The most bytes one integer takes.
pub(super) const MAX_BYTES: usize = 10;

/// Appends `value` to `out` at `*at` and moves `*at` behind it. `out` must have [`MAX_BYTES`] to
/// spare.
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

/// Reads the integer at `*at` of bytes that may be anything, and moves `*at` behind it. `None` if
/// it is cut short, does not fit 64 bits, or has a shorter form.
#[inline]
pub(super) fn checked(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let shortest = byte != 0 || shift == 0;
            // A tenth byte holds the 64th bit alone.
            return (shortest && u64::from(byte) << shift >> shift == u64::from(byte))
                .then_some(value);
        }
    }
    None
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
                read = 0;
                assert_eq!((checked(&bytes[..wrote], &mut read), read), (Some(value), wrote));
                assert_eq!(checked(&bytes[..wrote - 1], &mut 0), None, "cut short");
            }
        }
    }

    #[test]
    fn an_integer_has_one_form() {
        let check = |bytes: &[u8], want| assert_eq!(checked(bytes, &mut 0), want, "{bytes:x?}");
        check(&[0], Some(0));
        check(&[0x80, 1], Some(128));
        check(&[0x80, 0], None);
        check(&[0xff, 0x80, 0], None);
        let mut most = [0xff; MAX_BYTES];
        check(&most, None);
        most[9] = 1;
        check(&most, Some(u64::MAX));
        most[9] = 2;
        check(&most, None);
        most[9] = 0x81;
        check(&most, None);
    }
}
