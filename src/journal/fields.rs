//! Decoders of payload fields that the journal's formats share.
//!
//! Each takes its field from the front of untrusted bytes, or returns `None` if the bytes do not
//! hold it.

use crate::ledger::amount::is_kind;

/// Takes the next `N` bytes.
#[inline]
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// Takes a little-endian integer of eight bytes.
#[inline]
pub(super) fn number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

/// Takes a kind: its length in one byte, then its name.
#[inline]
pub(super) fn kind<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let [len] = take(bytes)?;
    let (name, rest) = bytes.split_at_checked(usize::from(len))?;
    *bytes = rest;
    std::str::from_utf8(name).ok().filter(|name| is_kind(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_from_the_front_and_refused_when_cut_short() {
        let mut out = 7u64.to_le_bytes().to_vec();
        out.extend_from_slice(b"\x04gift\x09");
        let mut rest = &out[..];
        assert_eq!((number(&mut rest), kind(&mut rest), rest), (Some(7), Some("gift"), &[9][..]));
        assert_eq!(
            (take::<2>(&mut rest), rest),
            (None, &[9][..]),
            "a failed take consumes nothing"
        );
        assert_eq!(kind(&mut &b"\x04gif"[..]), None);
        assert_eq!(kind(&mut &b"\x00"[..]), None);
        assert_eq!(kind(&mut &b"\x02A!"[..]), None);
    }
}
