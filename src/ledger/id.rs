//! User ids and entry ids: parsing, and the user hash, which selects a user's slice.

use crate::decimal;
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// User id, borrowed: a number, on the wire a decimal without leading zeros, or any other text.
/// Each id has one form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserId<'a> {
    /// A decimal without leading zeros below 2^64.
    Number(u64),
    /// Any other id, of at most [`USER_ID_BYTES`]: see [`UserId::parse`].
    Text(&'a [u8]),
}

const _: () = assert!(size_of::<UserId<'_>>() == 16, "a user id is passed in two registers");

/// Maximum length of a user id, in bytes.
pub const USER_ID_BYTES: usize = 64;

impl<'a> UserId<'a> {
    /// Parses 1 to [`USER_ID_BYTES`] characters `A-Z a-z 0-9 - . _ ~ : @`; `None` for anything
    /// else, and for `.` and `..`, which proxies fold.
    ///
    /// ```
    /// use purser::ledger::id::UserId;
    ///
    /// assert_eq!(UserId::parse(b"42"), Some(UserId::Number(42)));
    /// assert_eq!(UserId::parse(b"042"), Some(UserId::Text(b"042")));
    /// assert_eq!(UserId::parse(b"users:1234"), Some(UserId::Text(b"users:1234")));
    /// assert_eq!(UserId::parse(b"a/b"), None);
    /// ```
    #[inline]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        decimal::parse(text).map(Self::Number).or_else(|| Self::parse_text(text))
    }

    /// Not inlined: numbers stay fast.
    #[inline(never)]
    fn parse_text(text: &'a [u8]) -> Option<Self> {
        let is_allowed = |b: &u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'@')
        };
        let is_id = (1..=USER_ID_BYTES).contains(&text.len())
            && text.iter().all(is_allowed)
            && !matches!(text, b"." | b"..");
        is_id.then_some(Self::Text(text))
    }

    /// Parses an id that is stored as text; `None` also for the text of a number.
    pub fn stored_text(text: &'a [u8]) -> Option<Self> {
        Self::parse(text).filter(|id| matches!(id, Self::Text(_)))
    }

    /// User hash, which spreads users over slices. Of a number: SplitMix64 with its finaliser
    /// (Steele, Lea, Flood, 2014), a bijection. Of a text: XXH3 (Y. Collet, xxHash 0.8) to 64 bits,
    /// with seed 0.
    ///
    /// This is hash version 2. Data on disk and shard-aware clients depend on it, so it never
    /// changes without a new version.
    #[inline]
    pub fn hash(self) -> u64 {
        match self {
            Self::Number(number) => spread(number),
            Self::Text(text) => hash_text(text),
        }
    }

    /// The slice that owns this user: the hash modulo the number of slices. Part of hash version 2.
    ///
    /// ```
    /// use purser::ledger::id::UserId;
    ///
    /// let user = UserId::parse(b"users:1234").expect("a valid id");
    /// assert_eq!(user.slice(1), 0);
    /// assert!(user.slice(8) < 8);
    /// ```
    #[inline]
    pub fn slice(self, slices: u32) -> u32 {
        (self.hash() % u64::from(slices)) as u32
    }

    /// Appends the id as it is on the wire.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => decimal::number(out, number),
            Self::Text(text) => out.extend_from_slice(text),
        }
    }
}

/// The user hash of a number.
#[inline]
const fn spread(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The user hash of a text. Not inlined: numbers stay fast.
#[inline(never)]
fn hash_text(text: &[u8]) -> u64 {
    xxh3_64(text)
}

impl fmt::Display for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
        }
    }
}

impl fmt::Debug for UserId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// User id of a list: a text lies in the list's buffer of texts.
#[derive(Clone, Copy, Debug)]
pub enum ListedId {
    /// A number.
    Number(u64),
    /// A text: its place in the buffer.
    Text {
        /// Offset of its first byte.
        start: u32,
        /// Its length.
        len: u8,
    },
}

impl ListedId {
    /// The form of an id in a list with this buffer of texts.
    #[inline]
    pub fn new(id: UserId<'_>, texts: &mut Vec<u8>) -> Self {
        match id {
            UserId::Number(number) => Self::Number(number),
            UserId::Text(text) => {
                let start = texts.len() as u32;
                texts.extend_from_slice(text);
                Self::Text { start, len: text.len() as u8 }
            }
        }
    }

    /// The id.
    #[inline]
    pub fn of(self, texts: &[u8]) -> UserId<'_> {
        match self {
            Self::Number(number) => UserId::Number(number),
            Self::Text { start, len } => {
                UserId::Text(&texts[start as usize..start as usize + usize::from(len)])
            }
        }
    }
}

/// User id by value, for the few that are kept outside of a book and of lists.
#[derive(Clone, Debug)]
pub struct OwnedId {
    id: ListedId,
    text: Vec<u8>,
}

impl OwnedId {
    /// Copies an id.
    pub fn new(id: UserId<'_>) -> Self {
        let mut text = Vec::new();
        Self { id: ListedId::new(id, &mut text), text }
    }

    /// The id.
    pub fn get(&self) -> UserId<'_> {
        self.id.of(&self.text)
    }
}

/// Entry id: 128 bits, the value of a UUID in any case or of a decimal integer, or the hash of any
/// other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u128);

impl EntryId {
    /// Parses 1 to [`ENTRY_ID_BYTES`] printable ASCII characters without space, `"` and `\`. A UUID
    /// (`8-4-4-4-12` hexadecimal digits) and a decimal below 2^128 without leading zeros are their
    /// values. Everything else is hashed by XXH3 (Y. Collet, xxHash 0.8) to 128 bits, with seed 0.
    ///
    /// ```
    /// use purser::ledger::id::EntryId;
    ///
    /// assert_eq!(EntryId::parse(b"7"), Some(EntryId(7)));
    /// assert_eq!(EntryId::parse(b"00000000-0000-0000-0000-000000000007"), Some(EntryId(7)));
    /// assert!(EntryId::parse(b"tx9:1").is_some_and(|id| Some(id) != EntryId::parse(b"tx9:2")));
    /// assert_eq!(EntryId::parse(b"tx 9"), None);
    /// ```
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let value = if text.len() == UUID_BYTES && text[8] == b'-' {
            parse_uuid(text)
        } else {
            parse_decimal(text)
        };
        value.map(Self).or_else(|| Self::hashed(text))
    }

    fn hashed(text: &[u8]) -> Option<Self> {
        let is_allowed = |b: &u8| matches!(b, 0x21..=0x7e) && *b != b'"' && *b != b'\\';
        let is_id = (1..=ENTRY_ID_BYTES).contains(&text.len()) && text.iter().all(is_allowed);
        is_id.then(|| Self(xxh3_128(text)))
    }
}

/// Maximum length of an entry id, in bytes.
pub const ENTRY_ID_BYTES: usize = 128;

const UUID_BYTES: usize = 36;
/// 2^128 has 39 decimal digits.
const DECIMAL_BYTES: usize = 39;

fn parse_uuid(text: &[u8]) -> Option<u128> {
    let text: &[u8; UUID_BYTES] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != [b'-'; 4] {
        return None;
    }
    // A valid digit's value is at most 15, any other byte's is 255, so the OR of all values is
    // above 15 if one byte is invalid.
    let mut all = 0;
    let mut group = |range: std::ops::Range<usize>| {
        text[range].iter().fold(0u64, |value, &b| {
            let nibble = HEX[usize::from(b)];
            all |= nibble;
            value << 4 | u64::from(nibble & 15)
        })
    };
    let high = group(0..8) << 32 | group(9..13) << 16 | group(14..18);
    let low = group(19..23) << 48 | group(24..36);
    (all <= 15).then_some(u128::from(high) << 64 | u128::from(low))
}

/// Value of each hexadecimal digit; 255 for every other byte.
const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

fn parse_decimal(text: &[u8]) -> Option<u128> {
    if text.is_empty() || text.len() > DECIMAL_BYTES || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    if text.len() <= 19 {
        return decimal::parse(text).map(u128::from);
    }
    text.iter().try_fold(0u128, |value, &b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u128::from(digit)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_numbers_or_texts() {
        let number = |text: &str, want: u64| {
            assert_eq!(UserId::parse(text.as_bytes()), Some(UserId::Number(want)), "{text}");
            assert_eq!(UserId::stored_text(text.as_bytes()), None, "{text}");
        };
        number("0", 0);
        number("42", 42);
        number("18446744073709551615", u64::MAX);
        for text in [
            "00",
            "042",
            "18446744073709551616",
            "99999999999999999999",
            "-1",
            "1.0",
            "x",
            "users:1234",
            "0192f0c1-0000-7000-8000-00000000abcd",
            "...",
            "a..b",
            "A-Z.a_z~0:9@",
            &"x".repeat(USER_ID_BYTES),
        ] {
            let bytes = text.as_bytes();
            assert_eq!(UserId::parse(bytes), Some(UserId::Text(bytes)), "{text}");
            assert_eq!(UserId::stored_text(bytes), Some(UserId::Text(bytes)), "{text}");
        }
        for bad in [
            "",
            ".",
            "..",
            "+1",
            " 1",
            "1 ",
            "a/b",
            "a%41",
            "a\"",
            "a\\",
            "*",
            "\u{663}",
            "a\0",
            &"x".repeat(USER_ID_BYTES + 1),
        ] {
            assert_eq!(UserId::parse(bad.as_bytes()), None, "{bad}");
            assert_eq!(UserId::stored_text(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn each_allowed_byte_is_allowed_everywhere_and_no_other() {
        let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@";
        for byte in 0..=u8::MAX {
            for text in [[byte, b'x', b'y'], [b'x', byte, b'y'], [b'x', b'y', byte]] {
                let is_id = UserId::parse(&text).is_some();
                assert_eq!(is_id, allowed.contains(&byte), "{:?}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn a_listed_id_is_the_id() {
        let mut texts = Vec::new();
        let ids = [&b"7"[..], b"users:1", b"07", b"18446744073709551615", &[b'x'; USER_ID_BYTES]];
        let ids = ids.map(|text| UserId::parse(text).unwrap());
        let listed = ids.map(|id| ListedId::new(id, &mut texts));
        assert_eq!(listed.map(|id| id.of(&texts)), ids);
    }

    #[test]
    fn entry_ids_are_uuids_decimals_or_hashed_texts() {
        let check = |text: &str, want: Option<u128>| {
            assert_eq!(EntryId::parse(text.as_bytes()).map(|e| e.0), want, "{text}");
        };
        check("0", Some(0));
        check("340282366920938463463374607431768211455", Some(u128::MAX));
        check("12345678901234567890123456789012", Some(12_345_678_901_234_567_890_123_456_789_012));
        check(
            "0192f0c1-0000-7000-8000-00000000ABcd",
            Some(0x0192_f0c1_0000_7000_8000_0000_0000_abcd),
        );
        check(
            "0192F0C1-0000-7000-8000-00000000abCD",
            Some(0x0192_f0c1_0000_7000_8000_0000_0000_abcd),
        );
        for text in [
            "01",
            "-1",
            "340282366920938463463374607431768211456",
            "0192f0c100007000800000000000abcd",
            "0192f0c1-0000-7000-8000-00000000abcg",
            "0192f0c1-0000-7000-8000_00000000abcd",
            "0192f0c1-0000-7000-8000-00000000abcde",
            "{192f0c1-0000-7000-8000-00000000abcd}",
            "tx9:1",
            "!#[]~",
            &"x".repeat(ENTRY_ID_BYTES),
        ] {
            check(text, Some(xxh3_128(text.as_bytes())));
        }
        check("a", Some(0xa96f_af70_5af1_6834_e6c6_32b6_1e96_4e1f));
        for bad in
            ["", "a b", "a\"", "a\\", "a\n", "a\x7f", "\u{e9}", &"x".repeat(ENTRY_ID_BYTES + 1)]
        {
            check(bad, None);
        }
    }

    /// As the reference implementation of xxHash 0.8 computes them.
    const PINNED_TEXT_HASHES: [u64; 4] = [
        0xe6c6_32b6_1e96_4e1f,
        0x75c5_808e_066b_9b54,
        0x2be5_d2b0_d902_2851,
        0x3264_823d_06b7_32b1,
    ];

    #[test]
    fn the_user_hash_is_pinned() {
        assert_eq!(
            [0, 1, 42, u64::MAX].map(|id| UserId::Number(id).hash()),
            [
                0xe220_a839_7b1d_cdaf,
                0x910a_2dec_8902_5cc1,
                0xbdd7_3226_2feb_6e95,
                0xe4d9_7177_1b65_2c20,
            ]
        );
        assert_eq!([0, 1, 42, u64::MAX].map(|id| UserId::Number(id).slice(1)), [0; 4]);
        assert_eq!([0, 1, 42, u64::MAX].map(|id| UserId::Number(id).slice(3)), [1, 2, 1, 2]);
        let texts = [&b"a"[..], b"042", b"users:1234", b"0192f0c1-0000-7000-8000-00000000abcd"];
        let texts = texts.map(|text| UserId::parse(text).unwrap());
        assert_eq!(texts.map(UserId::hash), PINNED_TEXT_HASHES);
        assert_eq!(texts.map(|id| u64::from(id.slice(7))), PINNED_TEXT_HASHES.map(|h| h % 7));
    }
}
