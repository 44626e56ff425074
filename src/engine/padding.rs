//! Padding: a value on cache lines of its own, so that one core's writes do not slow another core's
//! reads.

/// A value alone on its cache line and the adjacent one, which processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);
