//! Decimal text of integers. `itoa` writes the digits: 2.3 times as fast as a writer of our own was
//! (`benches/runs/2026-11-30-by-hand.md`).

/// Appends a decimal integer. Allocates only if `out` must grow.
///
/// ```
/// let mut body = b"\"version\":".to_vec();
/// purser::decimal::number(&mut body, 1_763_900);
/// assert_eq!(body, b"\"version\":1763900");
/// ```
#[inline]
pub fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}
