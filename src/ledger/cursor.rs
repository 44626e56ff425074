//! Bytes that may be anything, read with suspicion: nothing beyond their end, and no integer in any
//! but its one form.

use super::varint;
use std::fmt;

/// What is stored does not hold an invariant of the ledger; the text names the invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it does not hold that {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    /// Names `invariant` if it does not hold.
    #[inline]
    pub(super) const fn unless(holds: bool, invariant: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self(invariant)) }
    }
}

const WHOLE: Malformed = Malformed("no part is cut short");

/// What is read, and how far it was read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Whether everything was read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What was not read yet.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.bytes[self.at..].get(..len).ok_or(WHOLE)?;
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.bytes[self.at..].first_chunk().ok_or(WHOLE)?;
        self.at += N;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(WHOLE)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer in its shortest form.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => {
                self.long_varint().ok_or(Malformed("an integer is whole and in its shortest form"))
            }
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        varint::checked(self.bytes, &mut self.at)
    }

    /// Minor units, not negative.
    #[inline(always)]
    pub(super) fn amount(&mut self) -> Result<i64, Malformed> {
        i64::try_from(self.varint()?).map_err(|_| Malformed("an amount fits 63 bits"))
    }

    /// As many bytes as a varint before them says.
    #[inline]
    pub(super) fn bytes_field(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.varint()?).map_err(|_| WHOLE)?;
        self.take(len)
    }
}

/// Appends an integer.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        return out.push(value as u8);
    }
    let (mut packed, mut len) = ([0; varint::MAX_BYTES], 0);
    varint::put(&mut packed, &mut len, value);
    out.extend_from_slice(&packed[..len]);
}

/// Appends bytes, and before them how many they are.
#[inline]
pub(super) fn put_bytes_field(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
