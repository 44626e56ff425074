//! Secret of a process (to be replaced).

/// Secret of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secret([u64; 2]);

impl Secret {
    /// A secret of tests.
    #[cfg(test)]
    pub const TEST: Self = Self([0, 0]);

    /// Mixes.
    #[inline]
    pub const fn mix(self, value: u64) -> u64 {
        let product = (value ^ self.0[0]) as u128 * (self.0[1] ^ 0x9e37_79b9_7f4a_7c15) as u128;
        product as u64 ^ (product >> 64) as u64
    }
}
