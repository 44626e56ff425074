//! Receive buffers: one ring of provided buffers for all connections of a core.
//!
//! The kernel owns a buffer from [`Buffers::publish`] until a completion names it; the core owns it
//! until it is [given back](Buffers::recycle). Received bytes are parsed in place.

use super::Failure;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers of one core. A connection whose receive found none is armed again once some are back.
const COUNT: u16 = 1_024;
/// Bytes of one buffer: a pipelined burst of requests, or a piece of a body.
pub const BYTES: usize = 4_096;
/// Bytes of all buffers: the most that a connection can receive before a cancellation of its
/// receive takes effect.
pub const ALL_BYTES: usize = COUNT as usize * BYTES;
/// The only buffer group of a ring.
pub const GROUP: u16 = 0;

const ENTRIES_BYTES: usize = COUNT as usize * size_of::<BufRingEntry>();
/// Bytes of the mapping. Huge pages need a region of their size and alignment, so the entries have
/// separate pages after the buffers.
const MAPPED_BYTES: usize = ALL_BYTES + ENTRIES_BYTES;

const _: () = assert!(COUNT.is_power_of_two(), "the kernel masks the tail");
const _: () = assert!(ALL_BYTES.is_multiple_of(4_096), "the entries begin on a page boundary");

/// A core's buffer ring, registered with its io_uring.
pub struct Buffers {
    memory: NonNull<u8>,
    /// Entries written so far, modulo 2^16; visible to the kernel after `publish`.
    tail: u16,
}

impl Buffers {
    /// Maps and registers the buffers. The kernel owns all of them afterwards.
    pub fn new(submitter: &Submitter<'_>) -> Result<Self, Failure> {
        let mut buffers =
            Self { memory: map().map_err(Failure::of("map", "receive buffers"))?, tail: 0 };
        let entries = buffers.entries() as u64;
        // SAFETY: the entries are mapped for as long as `self`, which the owner keeps until the
        // ring is dropped.
        unsafe { submitter.register_buf_ring_with_flags(entries, COUNT, GROUP, 0) }
            .map_err(Failure::of("register", "the receive buffer ring"))?;
        (0..COUNT).for_each(|id| buffers.recycle(id));
        buffers.publish();
        Ok(buffers)
    }

    fn entries(&self) -> *mut BufRingEntry {
        // SAFETY: the entries are after the buffers, inside the mapping.
        unsafe { self.memory.as_ptr().add(ALL_BYTES).cast() }
    }

    /// The first `len` bytes of buffer `id`, as a completion reports them.
    #[inline]
    pub fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < COUNT && len <= BYTES, "the kernel names a buffer of this ring");
        // SAFETY: inside the mapping; the kernel wrote `len` bytes and leaves the buffer alone
        // until it is given back.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(usize::from(id) * BYTES), len)
        }
    }

    /// Returns buffer `id` to the ring; the kernel sees it after [`Self::publish`].
    #[inline]
    pub fn recycle(&mut self, id: u16) {
        assert!(id < COUNT, "the buffer belongs to this ring");
        // SAFETY: the masked index is inside the mapped entries, and the kernel reads the entry
        // only after the tail moves past it. `tail` overlays a field of entry 0 that these setters
        // do not touch.
        unsafe {
            let entry = &mut *self.entries().add(usize::from(self.tail & (COUNT - 1)));
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * BYTES) as u64);
            entry.set_len(BYTES as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes returned buffers visible to the kernel.
    #[inline]
    pub fn publish(&self) {
        // SAFETY: the address of the ring's tail, which is aligned and shared with the kernel
        // alone.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries()).cast_mut()) };
        // Release: the kernel's acquire of the tail sees the entries before it.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this length, and unmapped once.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), MAPPED_BYTES) };
    }
}

fn map() -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: an anonymous mapping of its own.
    let memory =
        unsafe { mmap_anonymous(null_mut(), MAPPED_BYTES, protection, MapFlags::PRIVATE) }?;
    // Huge pages are preferred, not required. All buffers are soon used in turn, so they are
    // prefaulted to spare the first requests the page faults. Neither result matters.
    // SAFETY: the mapping was just made.
    unsafe {
        let _ = madvise(memory, MAPPED_BYTES, Advice::LinuxHugepage);
        let _ = madvise(memory, MAPPED_BYTES, Advice::LinuxPopulateWrite);
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
