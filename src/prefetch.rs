//! Cache prefetch: hints to the CPU which cache lines will be read soon.
//!
//! A prefetch reads nothing, changes nothing and cannot fault, so no answer depends on it, and
//! addresses need not be valid. On ARM64 it is a no-op, because stable Rust has no intrinsic for it
//! there. Every module may use this one; it is the only place outside `engine` with `unsafe`.

/// Size of a cache line in bytes.
pub const LINE_BYTES: usize = 64;

/// Prefetches the cache line that contains `address`.
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

/// Prefetches `bytes` bytes from `start` on.
#[inline]
pub fn range(start: *const u8, bytes: usize) {
    (0..bytes).step_by(LINE_BYTES).for_each(|at| line(start.wrapping_add(at)));
}

/// Prefetches the first two cache lines of a value, which hold most of it.
#[inline]
pub fn head<T>(value: &T) {
    range((&raw const *value).cast(), 2 * LINE_BYTES);
}
