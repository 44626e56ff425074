//! The 95 % confidence interval of a mean ratio: Student's t over the logarithms of paired ratios,
//! converted back with `exp` (J. M. Bland, D. G. Altman, "The use of transformation when comparing
//! two means", BMJ 312, 1996, p. 1153). The mean is the geometric one, so that A against B is
//! exactly the inverse of B against A.
//!
//! The interval is valid if rounds are independent and the logarithms roughly normal. A slow moment
//! of the host that affects one variant of a round widens the interval; one that affects both
//! cancels out.

#[derive(Clone, Copy)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// The interval of ratios above 0; `None` for fewer than two.
    pub fn of(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let logs: Vec<f64> = ratios.map(f64::ln).collect();
        let freedom = logs.len().checked_sub(1).filter(|&freedom| freedom > 0)?;
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / freedom as f64;
        let half = quantile(freedom) * (variance / count).sqrt();
        Some(Self { mean: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() })
    }

    pub fn text(&self, decimals: usize) -> String {
        let Self { mean, low, high } = self;
        format!("{mean:.decimals$} ({low:.decimals$}..{high:.decimals$})")
    }
}

/// 97.5 % quantiles of Student's t; the first is for 1 degree of freedom.
const QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The quantile from the table; beyond it, the first terms of the expansion around the normal
/// quantile (Abramowitz and Stegun, 26.7.5), accurate to 0.001 there.
fn quantile(freedom: usize) -> f64 {
    const Z: f64 = 1.959_964;
    let expansion = || {
        let n = freedom as f64;
        let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n * n);
        Z + (Z.powi(3) + Z) / (4.0 * n) + second
    };
    QUANTILES.get(freedom - 1).copied().unwrap_or_else(expansion)
}
