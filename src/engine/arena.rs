//! Arena: the memory region of one core, which its thread allocates from.
//!
//! The region is mapped once, at its full size, in huge pages if available, and handed to mimalloc
//! as an exclusive arena; the thread allocates from a heap in it. First touches make it local to
//! the thread's NUMA node. A full region is no error: further allocations come from the common
//! heap, and are counted.
//!
//! A core reuses freed memory without a system call. When it has needed much less than before for
//! [`WINDOW_TICKS`], another thread returns whole free pages to the system
//! ([`Arena::return_unused`]).
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
use super::mimalloc::return_on_request;
use super::priority::SpareCpus;
use libmimalloc_sys as mi;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
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
const MIN_PAGES_AHEAD: usize = 1;
const MAX_PAGES_AHEAD: usize = 32;
/// Pages of an arena per page of its largest window. Each of mimalloc's size classes has a window.
const PAGES_PER_AHEAD: usize = 128;
/// Pages that a core prefaults itself in one turn, without a spare CPU.
const STEP_PAGES: usize = 32;
/// Newly used pages recorded per turn. Pages after any further ones are not prefaulted: the core
/// touches them itself.
const MAX_NEW_PAGES: usize = 32;

/// Size of a large block, in bytes: only large blocks are counted, because small ones rarely leave
/// a whole page free.
const LARGE_BLOCK_BYTES: usize = 16 << 10;
/// Size of a small block, in bytes: mimalloc keeps blocks of up to 10 KiB in pages of 64 KiB.
const SMALL_BLOCK_BYTES: usize = 10 << 10;
const SMALL_PAGE_BYTES: usize = 64 << 10;
/// Growth of an arena after which small blocks are measured again: a part of its pages.
const MEASURED_GROWTH: usize = 32;
/// Pages that a measurement visits: those of a gibibyte, which takes a millisecond.
const MEASURED_PAGES: usize = 16_384;
/// Bytes in small blocks from which on a measurement says something about the users' blocks.
const MEASURABLE_BYTES: usize = 4 << 20;

/// Ticks over which a core's need is observed before memory is returned: two seconds.
const WINDOW_TICKS: u32 = 8;
/// Bytes that a core must need less than before.
const UNUSED_BYTES: isize = 16 << 20;

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
            large: Cell::new(0),
            large_peak: Cell::new(0),
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
    /// Bytes in large blocks: those allocated by this thread less those freed by it. Blocks may be
    /// freed by other threads, so only changes mean something.
    large: Cell<isize>,
    /// Its maximum since the last window began.
    large_peak: Cell<isize>,
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

    /// Counts the difference that an allocation or a free makes to the bytes in large blocks.
    #[cold]
    fn count_large(bytes: isize) {
        LOCAL.with(|local| {
            let large = local.large.get() + bytes;
            local.large.set(large);
            local.large_peak.set(local.large_peak.get().max(large));
        });
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
        if bytes >= LARGE_BLOCK_BYTES {
            Self::count_large(bytes.cast_signed());
        }
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

/// Returns freed memory to the system now instead of after mimalloc's delay: what this thread has
/// freed, and free pages of all arenas.
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
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= LARGE_BLOCK_BYTES {
            Local::count_large(-layout.size().cast_signed());
        }
        // SAFETY: the caller's contract.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (block, align) = (block.cast(), layout.align());
        if layout.size() >= LARGE_BLOCK_BYTES {
            Local::count_large(-layout.size().cast_signed());
        }
        // SAFETY: as for `alloc`; a block that the arena could not resize is unchanged.
        Local::choose(
            size,
            |heap| unsafe { mi::mi_heap_realloc_aligned(heap, block, size, align) },
            || unsafe { mi::mi_realloc_aligned(block, size, align) },
        )
    }
}

/// Work for the prefault thread.
#[derive(Debug)]
enum Job {
    /// Prefault the pages of an address range: start and bytes.
    Populate(usize, usize),
    /// Return free pages to the system.
    Return,
}

/// The thread that touches pages before they are needed, and returns those no longer needed.
#[derive(Debug)]
pub struct Prefaulter {
    jobs: Sender<Job>,
    /// Whether it has a spare CPU, one that no core runs on.
    has_spare_cpu: bool,
}

impl Prefaulter {
    /// Starts the thread.
    pub fn start(spare: SpareCpus) -> Result<Self, Failure> {
        let ((sender, jobs), has_spare_cpu) = (channel(), spare.exists());
        thread::Builder::new()
            .name("memory".to_owned())
            .spawn(move || {
                spare.run_idle();
                run(&jobs);
            })
            .map_err(Failure::of("start", "a thread that prefaults memory"))?;
        Ok(Self { jobs: sender, has_spare_cpu })
    }
}

fn run(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Populate(start, bytes) => populate(start, bytes),
            Job::Return => recycle(),
        }
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
    /// Bytes of large blocks that the core is known to need: the maximum of a window, or what it
    /// has grown to since.
    needed: isize,
    /// Ticks since the window began.
    ticks: u32,
    /// Used pages when small blocks were measured last.
    measured_used: usize,
}

/// What a measurement of small blocks has found.
#[derive(Default)]
struct SmallAreas {
    pages: usize,
    page_bytes: usize,
    block_bytes: usize,
}

/// Adds an area, if it has small blocks, to the [`SmallAreas`] at `found`. Returns whether more is
/// wanted.
unsafe extern "C" fn add_area(
    _heap: *const mi::mi_heap_t,
    area: *const mi::mi_heap_area_t,
    _block: *mut c_void,
    _block_bytes: usize,
    found: *mut c_void,
) -> bool {
    // SAFETY: mimalloc passes an area of its own, and the pointer that `measure_small_blocks` gave.
    let (area, found) = unsafe { (&*area, &mut *found.cast::<SmallAreas>()) };
    if area.full_block_size <= SMALL_BLOCK_BYTES {
        found.pages += 1;
        found.page_bytes += area.reserved.next_multiple_of(SMALL_PAGE_BYTES);
        found.block_bytes += area.used * area.full_block_size;
    }
    found.pages < MEASURED_PAGES
}

impl Arena {
    /// Maps an arena of at most `bytes` bytes. The calling thread allocates from it from now on,
    /// for as long as it lives.
    pub fn new(bytes: usize, prefaulter: Prefaulter) -> Result<Self, Failure> {
        return_on_request();
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
        // SAFETY: the region is ours, zeroed, writable, and never unmapped. It is not "pinned":
        // free pages may be given back to the kernel.
        let heap = unsafe {
            let is_managed = mi::mi_manage_os_memory_ex(
                base as *const c_void,
                bytes,
                true,
                false,
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
        let arena =
            Self { base, pages, prefaulter, prefaulted: 0, needed: 0, ticks: 0, measured_used: 0 };
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
        if !self.prefaulter.has_spare_cpu
            || self.prefaulter.jobs.send(Job::Populate(start, bytes)).is_err()
        {
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
            (local.used.get() / USED_PAGES_PER_AHEAD).clamp(MIN_PAGES_AHEAD, max_ahead(self.pages));
        for page in local.new_pages[..new_count].iter().map(Cell::get) {
            let (first, end) = (page + 1, (page + 1 + ahead).min(self.pages));
            if first < end {
                // If the prefault thread is gone, the core faults them in on first use.
                let _ = self.prefaulter.jobs.send(Job::Populate(
                    self.base + first * PAGE_BYTES,
                    (end - first) * PAGE_BYTES,
                ));
            }
        }
    }

    /// Measures small blocks, if the arena has grown much since the last time: the bytes of their
    /// pages, and their own. Call it on the arena's thread.
    pub fn measure_small_blocks(&mut self) -> Option<(usize, usize)> {
        let used = LOCAL.with(|local| local.used.get());
        if used < self.measured_used + (self.measured_used / MEASURED_GROWTH).max(1) {
            return None;
        }
        self.measured_used = used;
        let heap = LOCAL.with(|local| local.heap.get());
        let mut areas = SmallAreas::default();
        // SAFETY: the heap is this thread's, the visitor changes nothing, and `areas` outlives the
        // call.
        unsafe { mi::mi_heap_visit_blocks(heap, false, Some(add_area), (&raw mut areas).cast()) };
        (areas.block_bytes >= MEASURABLE_BYTES).then_some((areas.page_bytes, areas.block_bytes))
    }

    /// Has free memory returned to the system, by another thread, if the core has needed much less
    /// than before for a whole window. Call it once a tick, on the arena's thread.
    pub fn return_unused(&mut self) {
        self.ticks += 1;
        if self.ticks < WINDOW_TICKS {
            return;
        }
        self.ticks = 0;
        let peak = LOCAL.with(|local| local.large_peak.replace(local.large.get()));
        if self.needed - peak >= UNUSED_BYTES {
            // If the thread is gone, the memory stays: the core uses it again.
            let _ = self.prefaulter.jobs.send(Job::Return);
            self.needed = peak;
        } else {
            self.needed = self.needed.max(peak);
        }
    }

    /// Bytes allocated from the common heap because the arena was full, since the start.
    pub fn spilled(&self) -> usize {
        LOCAL.with(|local| local.spilled.get())
    }
}

/// Pages of the largest prefault window in an arena of so many pages.
const fn max_ahead(pages: usize) -> usize {
    let share = pages / PAGES_PER_AHEAD;
    if share < MIN_PAGES_AHEAD {
        MIN_PAGES_AHEAD
    } else if share > MAX_PAGES_AHEAD {
        MAX_PAGES_AHEAD
    } else {
        share
    }
}

/// Upper bound of what an arena of `bytes` bytes has resident beside blocks, in bytes: for each
/// size class, the page that is being filled and the largest prefault window.
pub const fn overhead_bytes(bytes: usize) -> usize {
    CLASSES.len() * (1 + max_ahead(bytes / PAGE_BYTES)) * PAGE_BYTES
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
