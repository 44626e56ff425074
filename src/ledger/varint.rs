//! Varints: unsigned LEB128, seven bits per byte, low bits first; a set high bit means that more
//! bytes follow. This is an on-disk format and never changes.
//!
//! By hand, because no library does both: `integer-encoding` takes 1.2 times as long to read, 0.9
//! times as long to write, and accepts longer forms; `unsigned-varint` refuses them, reads as fast
//! as [`checked`], and takes 3.4 times as long to write (`benches/runs/2026-11-30-by-hand.md`).

/// Maximum length of one integer, in bytes.
pub(super) const MAX_BYTES: usize = 10;

/// Writes `value` to `out` at `*at` and advances `*at`. Panics if it does not fit; [`MAX_BYTES`]
/// always suffice.
pub(super) fn put(out: &mut [u8], at: &mut usize, mut value: u64) {
    while value >= 0x80 {
        out[*at] = value as u8 | 0x80;
        value >>= 7;
        *at += 1;
    }
    out[*at] = value as u8;
    *at += 1;
}

/// Reads the integer at `*at` of trusted bytes and advances `*at`. Panics if it is cut short.
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

/// Reads the integer at `*at` of untrusted bytes and advances `*at`. `None` if it is cut short,
/// does not fit 64 bits, or has a shorter form.
#[inline]
pub(super) fn checked(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let shortest = byte != 0 || shift == 0;
            // A tenth byte can hold only the 64th bit.
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
    fn integers_of_every_width_round_trip() {
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
    fn only_the_shortest_form_is_accepted() {
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
