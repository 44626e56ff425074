//! The stack of a core's thread, prefaulted so that no turn pays for a page fault.

/// What a turn uses of its thread's stack, with a margin.
const STACK_BYTES: usize = 256 << 10;

/// Touches the calling thread's stack.
#[inline(never)]
pub fn prefault() {
    let mut room = [0u8; STACK_BYTES];
    std::hint::black_box(&mut room);
}
