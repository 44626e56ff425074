//! Prefetch: tells the processor which cache lines will be read soon.
//!
//! A leaf that every room may use, and the one place outside `engine` with an unsafe instruction. A
//! prefetch is a hint: it reads nothing, changes nothing and cannot fault, so no answer depends on
//! it. Addresses need not be valid. On ARM64 it does nothing: stable Rust has no instruction for it
//! there.

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;

/// Prefetches the line at `address`.
#[inline]
pub fn line(address: *const u8) {
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Prefetches `bytes` from `start` on.
#[inline]
pub fn range(start: *const u8, bytes: usize) {
    (0..bytes).step_by(LINE_BYTES).for_each(|at| line(start.wrapping_add(at)));
}

/// Prefetches the first two lines of a value: most of what it holds.
#[inline]
pub fn head<T>(value: &T) {
    range((&raw const *value).cast(), 2 * LINE_BYTES);
}
