//! Secret of a process, which keys the placement in every hash table that outside bytes reach:
//! users, kinds, remembered ids.
//!
//! Whoever can choose ids could otherwise choose such that all of them share a place, and each
//! lookup would visit them all. The secret is drawn at a start and never stored, so nothing on disk
//! and no user's slice depends on it.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A secret of 128 bits.
#[derive(Clone, Copy)]
pub struct Secret([u64; 2]);

impl Secret {
    /// A secret of these bits, which must be random.
    pub const fn of(bits: [u64; 2]) -> Self {
        Self(bits)
    }

    /// Keyed hash of an integer: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014), with the
    /// secret before its first and between its two multiplications.
    #[inline]
    pub const fn mix(self, value: u64) -> u64 {
        let Self([before, between]) = self;
        let mut x = value ^ before;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ between;
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Keyed hash of bytes: XXH3 (Y. Collet, xxHash 0.8) seeded with the secret. Not inlined: user
    /// ids that are numbers stay fast.
    #[inline(never)]
    pub fn hash(self, bytes: &[u8]) -> u64 {
        self.mix(xxh3_64_with_seed(bytes, self.0[1]))
    }
}

/// A secret that everybody knows: for tests, and for tables that no outside bytes reach.
impl Default for Secret {
    fn default() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

/// It is not shown.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
