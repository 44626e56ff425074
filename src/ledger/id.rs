//! User ids and entry ids: parsing, and the user hash, which selects the slice and the index entry.

use xxhash_rust::xxh3::xxh3_128;

/// User id: a `u64`, on the wire a decimal string without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

impl UserId {
    /// Parses the decimal form; `None` for anything but a canonical `u64`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > 20 || (text[0] == b'0' && text.len() > 1) {
            return None;
        }
        // Nineteen digits cannot overflow; only a twentieth can.
        let (head, last) = text.split_at(text.len().min(19));
        let mut all_digits = true;
        let value = head.iter().fold(0u64, |value, &b| {
            let digit = b.wrapping_sub(b'0');
            all_digits &= digit <= 9;
            value.wrapping_mul(10).wrapping_add(u64::from(digit))
        });
        let value = match last {
            [b] if b.is_ascii_digit() => value.checked_mul(10)?.checked_add(u64::from(b - b'0'))?,
            [] => value,
            _ => return None,
        };
        all_digits.then_some(Self(value))
    }

    /// User hash, which spreads users over slices and over the index: SplitMix64 with its finaliser
    /// (Steele, Lea, Flood, 2014), a bijection.
    ///
    /// This is hash version 1. Data on disk and shard-aware clients depend on it, so it never
    /// changes without a new version.
    pub const fn hash(self) -> u64 {
        let mut x = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The slice that owns this user: the hash modulo the number of slices. Part of hash version 1.
    ///
    /// ```
    /// use purser::ledger::id::UserId;
    ///
    /// let user = UserId::parse(b"42").expect("a decimal without leading zeros");
    /// assert_eq!(user.slice(1), 0);
    /// assert!(user.slice(8) < 8);
    /// ```
    pub const fn slice(self, slices: u32) -> u32 {
        (self.hash() % slices as u64) as u32
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
    if let Some(short) = (text.len() <= 19).then(|| UserId::parse(text)) {
        return short.map(|id| u128::from(id.0));
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
    fn user_ids_parse_only_as_canonical_decimals() {
        let check = |text: &str, want: Option<u64>| {
            assert_eq!(UserId::parse(text.as_bytes()).map(|u| u.0), want, "{text}");
        };
        check("0", Some(0));
        check("42", Some(42));
        check("18446744073709551615", Some(u64::MAX));
        for bad in [
            "",
            "00",
            "042",
            "18446744073709551616",
            "99999999999999999999",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "x",
            "٣",
        ] {
            check(bad, None);
        }
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

    #[test]
    fn the_user_hash_is_pinned() {
        assert_eq!(
            [0, 1, 42, u64::MAX].map(|id| UserId(id).hash()),
            [
                0xe220_a839_7b1d_cdaf,
                0x910a_2dec_8902_5cc1,
                0xbdd7_3226_2feb_6e95,
                0xe4d9_7177_1b65_2c20,
            ]
        );
        assert_eq!([0, 1, 42, u64::MAX].map(|id| UserId(id).slice(1)), [0; 4]);
        assert_eq!([0, 1, 42, u64::MAX].map(|id| UserId(id).slice(3)), [1, 2, 1, 2]);
    }
}
