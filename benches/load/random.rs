//! Seeded randomness: a generator, a permutation of 0..n, and Zipf's law. Equal seeds give equal
//! sequences on every machine, up to the last bit of its libm's `ln` and `exp`.

/// SplitMix64 (Steele, Lea, Flood 2014): 64 random bits per step.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in 0..n, by Lemire's multiplication. Its bias, below n / 2^64, does not matter here.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in [0, 1).
    #[inline]
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Finaliser of SplitMix64: a bijection of all u64.
#[inline]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seeded permutation of 0..n without a table: a bijection of the next power of two, followed
/// along its cycle until the value is below n (at most two steps on average).
#[derive(Clone)]
pub struct Shuffle {
    n: u64,
    mask: u64,
    half: u32,
    keys: [u64; 2],
}

impl Shuffle {
    pub fn new(n: u64, seed: u64) -> Self {
        assert!(n > 0, "nothing to shuffle");
        let bits = n.next_power_of_two().trailing_zeros().max(1);
        let mut random = Random::new(seed);
        Self {
            n,
            mask: (1 << bits) - 1,
            half: bits.div_ceil(2),
            keys: [random.bits(), random.bits()],
        }
    }

    #[inline]
    pub fn at(&self, k: u64) -> u64 {
        debug_assert!(k < self.n);
        let mut x = k;
        loop {
            for key in self.keys {
                // Each step is invertible within the mask: xor, multiplication by an odd number,
                // xor of the high half into the low half.
                x = (x ^ key) & self.mask;
                x = x.wrapping_mul(key | 1) & self.mask;
                x ^= x >> self.half;
            }
            if x < self.n {
                return x;
            }
        }
    }
}

/// Zipf's law with exponent 1 over ranks 0..n: rank k has probability proportional to 1 / (k + 1).
/// Rejection-inversion after Hörmann and Derflinger, "Rejection-inversion to generate variates from
/// monotone discrete distributions" (1996), in the form of Apache Commons'
/// `RejectionInversionZipfSampler`; at exponent 1 its integral is simply ln.
pub struct Zipf {
    n: f64,
    low: f64,
    high: f64,
    sure: f64,
}

impl Zipf {
    pub fn new(n: u64) -> Self {
        assert!(n > 0, "no ranks to draw");
        let n = n as f64;
        Self {
            n,
            low: 1.5_f64.ln() - 1.0,
            high: (n + 0.5).ln(),
            sure: 2.0 - (2.5_f64.ln() - 0.5).exp(),
        }
    }

    #[inline]
    pub fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let u = self.high + random.unit() * (self.low - self.high);
            let x = u.exp();
            let k = (x + 0.5).floor().clamp(1.0, self.n);
            if k - x <= self.sure || u >= (k + 0.5).ln() - 1.0 / k {
                return k as u64 - 1;
            }
        }
    }
}
