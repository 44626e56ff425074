//! The text of user ids, in two forms: the user's number, or a UUID made from it. Within a form,
//! all ids have the same width (the wrk scripts rely on it).

use std::fmt;

use crate::random::mix;

/// Bytes of a UUID's text, the longest id.
const UUID_BYTES: usize = 36;

/// Form of a population's ids.
#[derive(Clone, Copy)]
pub enum IdForm {
    /// 19 digits.
    Number,
    /// 8-4-4-4-12 hexadecimal digits.
    Uuid,
}

/// One user's id.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; UUID_BYTES],
    len: usize,
}

impl IdForm {
    /// Bytes of each id.
    pub fn width(self) -> usize {
        match self {
            Self::Number => 19,
            Self::Uuid => UUID_BYTES,
        }
    }

    /// The id of the user with this number.
    #[inline]
    pub fn text(self, number: u64) -> IdText {
        match self {
            Self::Number => IdText::of(itoa::Buffer::new().format(number).as_bytes()),
            Self::Uuid => IdText::of(&uuid(version_4(number))),
        }
    }
}

impl IdText {
    #[inline]
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; UUID_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Self { bytes, len: text.len() }
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(std::str::from_utf8(self.as_bytes()).expect("ids are ASCII"))
    }
}

/// The bits of a UUID with the version and variant of a random one. The low half keeps the low 62
/// bits of the number, in which the numbers of a population differ.
#[inline]
fn version_4(number: u64) -> u128 {
    let high = mix(number) & !0xf000 | 0x4000;
    let low = number & (u64::MAX >> 2) | 1 << 63;
    u128::from(high) << 64 | u128::from(low)
}

/// The text of a UUID, in lower case.
pub fn uuid(id: u128) -> [u8; UUID_BYTES] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    const DASH_BEFORE_BYTE: [usize; 4] = [4, 6, 8, 10];
    let mut text = [b'-'; UUID_BYTES];
    let mut at = 0;
    for (i, byte) in id.to_be_bytes().into_iter().enumerate() {
        at += usize::from(DASH_BEFORE_BYTE.contains(&i));
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}
