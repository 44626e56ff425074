//! Stack prefault: touches a core's stack once, so that no turn pays for a page fault.

/// Stack used by a turn, with a margin.
const STACK_BYTES: usize = 256 << 10;

/// Touches the calling thread's stack.
#[inline(never)]
pub fn prefault() {
    #[expect(clippy::large_stack_arrays, reason = "it is the stack that is touched")]
    let mut stack = [0u8; STACK_BYTES];
    std::hint::black_box(&mut stack);
}
