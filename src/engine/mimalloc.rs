//! Options of mimalloc, the process's allocator, that its binding does not name. They hold for all
//! heaps.

use libmimalloc_sys as mi;
use std::ffi::c_long;

/// `mi_option_generic_collect`, which the binding does not name: the number of allocations without
/// a free block at hand after which mimalloc searches all pages of the heap for something to
/// collect. Freed blocks are reused without that search.
const GENERIC_COLLECT: mi::mi_option_t = 34;
/// mimalloc's default: in a heap of many pages, an occasional entry took as long as hundreds of
/// others.
const DEFAULT_COLLECT_AFTER: c_long = 10_000;
/// mimalloc's maximum.
const LONGEST_COLLECT_AFTER: c_long = 1_000_000;

/// `mi_option_purge_delay`: time from a free to the return of the memory, in milliseconds.
const PURGE_DELAY: mi::mi_option_t = 15;
/// mimalloc's default.
const DEFAULT_PURGE_DELAY: c_long = 1_000;
/// So long that memory is returned only by [`super::arena::recycle`]: never in the middle of an
/// allocation.
const LONGEST_PURGE_DELAY: c_long = 1 << 30;
/// `mi_option_minimal_purge_size`: the unit in which memory is returned, in KiB.
const PURGE_UNIT: mi::mi_option_t = 44;
/// A huge page.
const PAGE_KIB: c_long = 2_048;

/// Makes mimalloc search all pages of a heap as rarely as it can, for all heaps.
pub fn collect_rarely() {
    // SAFETY: takes no pointers; any thread may call it at any time.
    unsafe {
        if mi::mi_option_get(GENERIC_COLLECT) == DEFAULT_COLLECT_AFTER {
            mi::mi_option_set(GENERIC_COLLECT, LONGEST_COLLECT_AFTER);
        }
    }
}

/// Makes mimalloc return memory only when [`super::arena::recycle`] is called, in whole huge pages,
/// for all heaps.
pub fn return_on_request() {
    // SAFETY: takes no pointers; any thread may call it at any time.
    unsafe {
        if mi::mi_option_get(PURGE_DELAY) == DEFAULT_PURGE_DELAY {
            mi::mi_option_set(PURGE_DELAY, LONGEST_PURGE_DELAY);
            mi::mi_option_set(PURGE_UNIT, PAGE_KIB);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_numbers_are_right() {
        collect_rarely();
        return_on_request();
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { mi::mi_option_get(GENERIC_COLLECT) }, LONGEST_COLLECT_AFTER);
        // SAFETY: as above.
        let purge = [PURGE_DELAY, PURGE_UNIT].map(|option| unsafe { mi::mi_option_get(option) });
        assert_eq!(purge, [LONGEST_PURGE_DELAY, PAGE_KIB]);
    }
}
