//! Cursor over untrusted bytes: bounds-checked reads, and integers only in their shortest form.
//!
//! Nothing panics and nothing is read past the end. Any violation is [`Malformed`], which names the
//! broken invariant. [`put`] and [`put_bytes_field`] write what the cursor reads.

use super::varint;
use thiserror::Error;

/// Stored data breaks an invariant of the ledger. The text states the invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invariant violated: {0}")]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// Fails with `invariant` if `holds` is false.
    #[inline]
    pub(super) const fn unless(holds: bool, invariant: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self(invariant)) }
    }
}

const WHOLE: Malformed = Malformed("every part is complete");

/// Bytes and the read position in them.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Number of bytes read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Whether all bytes were read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads all remaining bytes.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Reads the next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes[self.at..].get(..len).ok_or(WHOLE)?;
        self.at += len;
        Ok(taken)
    }

    /// Reads the next `N` bytes as an array.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.bytes[self.at..].first_chunk().ok_or(WHOLE)?;
        self.at += N;
        Ok(*taken)
    }

    /// Reads one byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(WHOLE)?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads a LEB128 integer; it must be in its shortest form.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self
                .long_varint()
                .ok_or(Malformed("an integer is complete and in its shortest encoding")),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        varint::checked(self.bytes, &mut self.at)
    }

    /// Reads an amount in minor units, 0 … 2^63−1.
    #[inline(always)]
    pub(super) fn amount(&mut self) -> Result<i64, Malformed> {
        i64::try_from(self.varint()?).map_err(|_| Malformed("an amount fits 63 bits"))
    }

    /// Reads a byte string prefixed with its length as a varint.
    #[inline]
    pub(super) fn bytes_field(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| WHOLE)?;
        self.take(len)
    }
}

/// Appends an integer as LEB128.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    let (mut packed, mut len) = ([0; varint::MAX_BYTES], 0);
    varint::put(&mut packed, &mut len, value);
    out.extend_from_slice(&packed[..len]);
}

/// Appends a byte string prefixed with its length as a varint.
#[inline]
pub(super) fn put_bytes_field(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
