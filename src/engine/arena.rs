//! Arena: the memory region of one core, which its thread allocates from.
//!
//! The region is mapped once, at its full size, in huge pages if available, and handed to mimalloc
//! as an exclusive arena; the thread allocates from a heap in it. First touches make it local to
//! the thread's NUMA node. Touched memory is never returned: the core reuses it without a system
//! call. A full region is no error: further allocations come from the common heap, and are counted.
//!
//! The first touch of a huge page takes most of a millisecond, or several where a hypervisor has to
//! find the memory first. No read should wait for that, so pages are prefaulted: when the first
//! block of a huge page is allocated, another thread touches the pages after it. No page is
//! prefaulted before there is data next to it, except for a load of known size
//! ([`Arena::prefault_first`]) and the regions in which new size classes begin
//! ([`Arena::prefault_size_classes`]).
//!
//! Sizes are in bytes. [`Allocator`] is for `#[global_allocator]`; threads without an arena
//! allocate from the common heap.

use super::Failure;
use super::priority::SpareCpus;
use libmimalloc_sys as mi;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::{c_long, c_void};
use std::io;
use std::ptr::null_mut;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Largest arena. A larger one is impossible: mimalloc's index of it would not fit in it.
/// Allocations beyond it come from the common heap.
const LARGEST_BYTES: usize = 15 << 30;
/// Prefault unit: a huge page of x86-64, and of ARM64 with 4 KiB pages.
const PAGE_BYTES: usize = 2 << 20;
/// mimalloc's unit of an arena.
const UNIT_BYTES: usize = 32 << 20;
/// Prefault window: pages touched ahead of each newly used page. One page per
/// `USED_PAGES_PER_AHEAD` used pages, within the bounds `MIN_PAGES_AHEAD` and `MAX_PAGES_AHEAD`: a
/// heavy load takes pages faster than they can be touched one by one, and a large window would
/// double a small heap.
const USED_PAGES_PER_AHEAD: usize = 16;
const MIN_PAGES_AHEAD: usize = 2;
const MAX_PAGES_AHEAD: usize = 32;
/// Pages that a core prefaults itself in one turn, without a spare CPU.
const STEP_PAGES: usize = 32;
/// Newly used pages recorded per turn. Pages after any further ones are not prefaulted: the core
/// touches them itself.
const MAX_NEW_PAGES: usize = 32;

/// `mi_option_generic_collect`, which the binding does not name: the number of allocations without
/// a free block at hand after which mimalloc searches all pages of the heap for something to
/// collect. Freed blocks are reused without that search.
const GENERIC_COLLECT: mi::mi_option_t = 34;
/// mimalloc's default: in a heap of many pages, an occasional entry took as long as hundreds of
/// others.
const DEFAULT_COLLECT_AFTER: c_long = 10_000;
/// mimalloc's maximum.
const LONGEST_COLLECT_AFTER: c_long = 1_000_000;

/// Block size and count for each of mimalloc's size classes, which have separate regions in the
/// arena: so many blocks of that size fill the first region of the class.
const CLASSES: [(usize, usize); 4] = [(1 << 10, 1), (32 << 10, 14), (256 << 10, 14), (1 << 20, 1)];

thread_local! {
    static LOCAL: Local = const {
        Local {
            heap: Cell::new(null_mut()),
            base: Cell::new(0),
            pages: Cell::new(0),
            seen: Cell::new(null_mut()),
            new_pages: [const { Cell::new(0) }; MAX_NEW_PAGES],
            new_count: Cell::new(0),
            used: Cell::new(0),
            spilled: Cell::new(0),
        }
    };
}

/// Arena state of one thread. No field needs to be dropped, so the state is valid for as long as
/// the thread allocates.
struct Local {
    /// The thread's heap in the arena; null if it has no arena.
    heap: Cell<*mut mi::mi_heap_t>,
    base: Cell<usize>,
    pages: Cell<usize>,
    /// One byte per page: nonzero once a block has ended in the page.
    seen: Cell<*mut u8>,
    /// Pages that got their first block in this turn.
    new_pages: [Cell<usize>; MAX_NEW_PAGES],
    new_count: Cell<usize>,
    /// Pages with a block, without those of this turn.
    used: Cell<usize>,
    /// Bytes allocated from the common heap because the arena was full.
    spilled: Cell<usize>,
}

impl Local {
    /// Records the page in which a block ends, if it is the first block of that page.
    #[inline]
    fn record_block(&self, block: *mut u8, bytes: usize) {
        let page = (block as usize + bytes).wrapping_sub(self.base.get()) / PAGE_BYTES;
        if page >= self.pages.get() {
            return;
        }
        // SAFETY: `seen` has `pages` bytes, is mapped for as long as the thread lives, and is known
        // to no other thread.
        let seen = unsafe { &mut *self.seen.get().add(page) };
        if *seen == 0 {
            *seen = 1;
            self.record_page(page);
        }
    }

    #[cold]
    fn record_page(&self, page: usize) {
        let new_count = self.new_count.get();
        if let Some(place) = self.new_pages.get(new_count) {
            place.set(page);
            self.new_count.set(new_count + 1);
        }
    }

    /// Allocates from the thread's arena if it has one with enough space, else from the common
    /// heap.
    #[inline]
    fn choose(
        bytes: usize,
        from_arena: impl FnOnce(*mut mi::mi_heap_t) -> *mut c_void,
        from_common_heap: impl FnOnce() -> *mut c_void,
    ) -> *mut u8 {
        LOCAL.with(|local| {
            let heap = local.heap.get();
            if !heap.is_null() {
                let block = from_arena(heap).cast::<u8>();
                if !block.is_null() {
                    local.record_block(block, bytes);
                    return block;
                }
                local.spilled.set(local.spilled.get() + bytes);
            }
            from_common_heap().cast()
        })
    }
}

/// Returns this thread's freed memory to the system now instead of after mimalloc's delay. For a
/// thread that used much memory and will not use it again.
pub fn recycle() {
    // SAFETY: frees nothing that is in use, even if mimalloc is not the process's allocator.
    unsafe { mi::mi_collect(true) };
}

/// The process's allocator: mimalloc, with the thread's arena first.
#[derive(Clone, Copy, Debug)]
pub struct Allocator;

// SAFETY: mimalloc's functions satisfy the allocator contract with any of its heaps; a block may be
// freed and resized whichever heap it is from. The state kept beside them is plain thread-local
// cells.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: the heap is this thread's; the rest is the caller's contract.
        Local::choose(
            size,
            |heap| unsafe { mi::mi_heap_malloc_aligned(heap, size, align) },
            || unsafe { mi::mi_malloc_aligned(size, align) },
        )
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as for `alloc`.
        Local::choose(
            size,
            |heap| unsafe { mi::mi_heap_zalloc_aligned(heap, size, align) },
            || unsafe { mi::mi_zalloc_aligned(size, align) },
        )
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's contract.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (block, align) = (block.cast(), layout.align());
        // SAFETY: as for `alloc`; a block that the arena could not resize is unchanged.
        Local::choose(
            size,
            |heap| unsafe { mi::mi_heap_realloc_aligned(heap, block, size, align) },
            || unsafe { mi::mi_realloc_aligned(block, size, align) },
        )
    }
}

/// The thread that touches pages before they are needed.
#[derive(Debug)]
pub struct Prefaulter {
    /// Address ranges to prefault: start and bytes.
    ranges: Sender<(usize, usize)>,
    /// Whether it has a spare CPU, one that no core runs on.
    has_spare_cpu: bool,
}

impl Prefaulter {
    /// Starts the thread.
    pub fn start(spare: SpareCpus) -> Result<Self, Failure> {
        let ((ranges, jobs), has_spare_cpu) = (channel(), spare.exists());
        thread::Builder::new()
            .name("memory".to_owned())
            .spawn(move || {
                spare.run_idle();
                run_prefaults(&jobs);
            })
            .map_err(Failure::of("start", "a thread that prefaults memory"))?;
        Ok(Self { ranges, has_spare_cpu })
    }
}

fn run_prefaults(jobs: &Receiver<(usize, usize)>) {
    while let Ok((start, bytes)) = jobs.recv() {
        populate(start, bytes);
    }
}

/// Prefaults pages of an arena, one system call per page: a concurrent `mmap` would wait for all
/// pages of one call.
fn populate(start: usize, bytes: usize) {
    for page in (start..start + bytes).step_by(PAGE_BYTES) {
        // SAFETY: the page belongs to a mapping that is never unmapped; it becomes present, and its
        // contents stay. If the call fails, the first use faults the page in.
        let _ = unsafe { madvise(page as *mut c_void, PAGE_BYTES, Advice::LinuxPopulateWrite) };
    }
}

/// The arena of one core.
#[derive(Debug)]
pub struct Arena {
    base: usize,
    pages: usize,
    prefaulter: Prefaulter,
    /// Pages from the start of the arena prefaulted by [`Self::prefault_first`].
    prefaulted: usize,
}

impl Arena {
    /// Maps an arena of at most `bytes` bytes. The calling thread allocates from it from now on,
    /// for as long as it lives.
    pub fn new(bytes: usize, prefaulter: Prefaulter) -> Result<Self, Failure> {
        let bytes = (bytes / UNIT_BYTES * UNIT_BYTES).clamp(UNIT_BYTES, LARGEST_BYTES);
        // One unit more, to align the start to a unit.
        let start = map(bytes + UNIT_BYTES)
            .map_err(Failure::of("map", format!("an arena of {} MiB", bytes >> 20)))?;
        let base = start.next_multiple_of(UNIT_BYTES);
        let pages = bytes / PAGE_BYTES;
        let seen = map(pages).map_err(Failure::of("map", "the page index of an arena"))?;
        // SAFETY: advice about a mapping of our own; without huge pages it is refused, with no
        // other effect.
        let _ = unsafe { madvise(base as *mut c_void, bytes, Advice::LinuxHugepage) };
        let mut arena = null_mut();
        // SAFETY: the region is ours, zeroed, writable, and never unmapped; "pinned" says that none
        // of it is given back to the kernel.
        let heap = unsafe {
            let is_managed = mi::mi_manage_os_memory_ex(
                base as *const c_void,
                bytes,
                true,
                true,
                true,
                -1,
                true,
                &raw mut arena,
            );
            if is_managed { mi::mi_heap_new_in_arena(arena) } else { null_mut() }
        };
        if heap.is_null() {
            return Err(Failure::new("create", "an arena", io::ErrorKind::OutOfMemory.into()));
        }
        LOCAL.with(|local| {
            local.base.set(base);
            local.pages.set(pages);
            local.seen.set(seen as *mut u8);
            local.heap.set(heap);
        });
        let arena = Self { base, pages, prefaulter, prefaulted: 0 };
        arena.prefault_size_classes();
        Ok(arena)
    }

    /// Touches the region in which the next block of each size class lies. Call it on the arena's
    /// thread, while no request waits.
    pub fn prefault_size_classes(&self) {
        // Together: blocks that are freed in between would share a region.
        let _blocks =
            CLASSES.map(|(bytes, count)| std::hint::black_box(vec![vec![1u8; bytes]; count]));
        self.prefault_ahead();
    }

    /// Prefaults the first `bytes` bytes, which will be needed soon, as early as possible: a
    /// hypervisor takes back the memory of an earlier process within a moment, and the first touch
    /// then costs ten times as much. Without a spare CPU, each call prefaults one step on the
    /// caller's thread. Call it once a turn during a load.
    pub fn prefault_first(&mut self, bytes: usize) {
        let (from, end) = (self.prefaulted, (bytes / PAGE_BYTES).min(self.pages));
        if from >= end {
            return;
        }
        self.prefaulted =
            if self.prefaulter.has_spare_cpu { end } else { end.min(from + STEP_PAGES) };
        let (start, bytes) = (self.base + from * PAGE_BYTES, (self.prefaulted - from) * PAGE_BYTES);
        if !self.prefaulter.has_spare_cpu || self.prefaulter.ranges.send((start, bytes)).is_err() {
            populate(start, bytes);
        }
    }

    /// Requests the prefault of the pages after those first used in this turn. Call it once a turn,
    /// on the arena's thread.
    #[inline]
    pub fn prefault_ahead(&self) {
        LOCAL.with(|local| {
            if local.new_count.get() > 0 {
                self.request_prefaults(local);
            }
        });
    }

    #[cold]
    fn request_prefaults(&self, local: &Local) {
        let new_count = local.new_count.replace(0);
        local.used.set(local.used.get() + new_count);
        let ahead =
            (local.used.get() / USED_PAGES_PER_AHEAD).clamp(MIN_PAGES_AHEAD, MAX_PAGES_AHEAD);
        for page in local.new_pages[..new_count].iter().map(Cell::get) {
            let (first, end) = (page + 1, (page + 1 + ahead).min(self.pages));
            if first < end {
                // If the prefault thread is gone, the core faults them in on first use.
                let _ = self
                    .prefaulter
                    .ranges
                    .send((self.base + first * PAGE_BYTES, (end - first) * PAGE_BYTES));
            }
        }
    }

    /// Bytes allocated from the common heap because the arena was full, since the start.
    pub fn spilled(&self) -> usize {
        LOCAL.with(|local| local.spilled.get())
    }
}

/// Makes mimalloc search all pages of a heap as rarely as it can, for all heaps.
pub fn collect_rarely() {
    // SAFETY: takes no pointers; any thread may call it at any time.
    unsafe {
        if mi::mi_option_get(GENERIC_COLLECT) == DEFAULT_COLLECT_AFTER {
            mi::mi_option_set(GENERIC_COLLECT, LONGEST_COLLECT_AFTER);
        }
    }
}

/// Maps zeroed memory that is not resident before it is touched.
fn map(bytes: usize) -> io::Result<usize> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a fresh mapping, at an address that the kernel chooses.
    Ok(unsafe { mmap_anonymous(null_mut(), bytes, protection, flags) }? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit tests' global allocator is the system's: they call [`Allocator`] by name.
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    fn no_spare_cpus() -> SpareCpus {
        SpareCpus::of(&[], &[])
    }

    /// Runs `work` on a thread of its own, because an arena belongs to a thread.
    fn on_a_core<R: Send + 'static>(
        bytes: usize,
        work: impl FnOnce(Arena) -> R + Send + 'static,
    ) -> R {
        let run =
            move || work(Arena::new(bytes, Prefaulter::start(no_spare_cpus()).unwrap()).unwrap());
        thread::spawn(run).join().unwrap()
    }

    #[test]
    fn blocks_of_a_core_are_in_its_arena() {
        on_a_core(128 << 20, |arena| {
            let (start, end) = (arena.base, arena.base + arena.pages * PAGE_BYTES);
            let is_inside = |block: *mut u8| (start..end).contains(&(block as usize));
            for bytes in [1, 100, 5_000, 60_000, 300_000, 1 << 20, 8 << 20] {
                // SAFETY: allocated, resized and freed by the trait's contract; only written bytes
                // are read.
                unsafe {
                    let block = Allocator.alloc(layout(bytes));
                    assert!(is_inside(block), "{bytes}");
                    block.write(7);
                    let block = Allocator.realloc(block, layout(bytes), bytes * 2);
                    assert!(is_inside(block) && block.read() == 7, "{bytes}");
                    Allocator.dealloc(block, layout(bytes * 2));
                    let zeros = Allocator.alloc_zeroed(layout(bytes));
                    assert!(is_inside(zeros), "{bytes}");
                    assert!(
                        std::slice::from_raw_parts(zeros, bytes).iter().all(|&byte| byte == 0),
                        "{bytes}"
                    );
                    Allocator.dealloc(zeros, layout(bytes));
                }
            }
            assert_eq!(arena.spilled(), 0);
        });
        // SAFETY: as above; this thread has no arena.
        unsafe {
            let block = Allocator.alloc(layout(100));
            assert!(!block.is_null());
            Allocator.dealloc(block, layout(100));
        }
    }

    #[test]
    fn the_collect_option_number_is_right() {
        collect_rarely();
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { mi::mi_option_get(GENERIC_COLLECT) }, LONGEST_COLLECT_AFTER);
    }

    #[test]
    fn a_full_arena_spills() {
        on_a_core(UNIT_BYTES, |arena| {
            let bytes = 4 << 20;
            // SAFETY: allocated and freed by the trait's contract; only written bytes are read.
            unsafe {
                let blocks: Vec<_> = (0..16).map(|_| Allocator.alloc(layout(bytes))).collect();
                for (n, &block) in blocks.iter().enumerate() {
                    assert!(!block.is_null(), "{n}");
                    block.add(bytes - 1).write(n as u8);
                }
                for (n, &block) in blocks.iter().enumerate() {
                    assert_eq!(block.add(bytes - 1).read(), n as u8);
                    Allocator.dealloc(block, layout(bytes));
                }
            }
            assert!(arena.spilled() >= 8 * bytes, "{}", arena.spilled());
        });
    }

    #[test]
    fn another_thread_may_free_a_block_of_a_core() {
        // SAFETY: allocated and freed once, and not used in between.
        let block = on_a_core(UNIT_BYTES, |_| unsafe { Allocator.alloc(layout(1_000)) } as usize);
        // SAFETY: as above: this is the one time that it is freed.
        unsafe { Allocator.dealloc(block as *mut u8, layout(1_000)) };
    }

    /// Pages of the first units, in which the blocks of every size class lie.
    const BEGUN: usize = (CLASSES.len() + 1) * UNIT_BYTES / PAGE_BYTES;

    /// Without a spare CPU, the caller prefaults.
    #[test]
    fn first_pages_are_prefaulted_in_steps() {
        on_a_core(512 << 20, |mut arena| {
            let present = |arena: &Arena, page: usize| {
                let mut there = 0u8;
                // SAFETY: queries one small page of the arena, and writes one byte.
                let looked = unsafe {
                    libc::mincore(
                        (arena.base + page * PAGE_BYTES) as *mut c_void,
                        1,
                        &raw mut there,
                    )
                };
                assert_eq!(looked, 0, "{}", io::Error::last_os_error());
                there & 1 == 1
            };
            let bytes = (2 * STEP_PAGES + 3) * PAGE_BYTES;
            for touched in [STEP_PAGES, 2 * STEP_PAGES, 2 * STEP_PAGES + 3] {
                arena.prefault_first(bytes + 1);
                assert!((0..touched).all(|page| present(&arena, page)), "{touched}");
                // The first units hold blocks, so their pages are present anyway.
                assert!(
                    (touched.max(BEGUN)..arena.pages).all(|page| !present(&arena, page)),
                    "{touched}"
                );
                assert_eq!(arena.prefaulted, touched);
            }
            arena.prefault_first(bytes);
            arena.prefault_first(0);
            assert_eq!(arena.prefaulted, 2 * STEP_PAGES + 3, "a smaller request prefaults nothing");
            arena.prefault_first(usize::MAX);
            assert_eq!(arena.prefaulted, 3 * STEP_PAGES + 3);
            (0..10).for_each(|_| arena.prefault_first(usize::MAX));
            assert_eq!(arena.prefaulted, arena.pages, "the prefault stops at the arena's end");
        });
    }

    #[test]
    fn each_page_is_recorded_once_as_newly_used() {
        on_a_core(128 << 20, |arena| {
            arena.prefault_ahead();
            LOCAL.with(|local| {
                let at = (arena.base + 20 * PAGE_BYTES) as *mut u8;
                local.record_block(at, 100);
                local.record_block(at, 200);
                assert_eq!(local.new_count.get(), 1);
                (0..2 * MAX_NEW_PAGES).for_each(|page| {
                    local.record_block((arena.base + page * PAGE_BYTES) as *mut u8, 1);
                });
                assert!(local.new_count.get() <= MAX_NEW_PAGES);
                local.record_block((arena.base - 10) as *mut u8, 5);
                local.record_block((arena.base + arena.pages * PAGE_BYTES) as *mut u8, 5);
                arena.prefault_ahead();
                assert_eq!(local.new_count.get(), 0);
            });
        });
    }
}
