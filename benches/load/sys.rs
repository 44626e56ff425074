//! System calls that `std` lacks. Other `unsafe` code of the load bench is only in the `hop` suite
//! and in the rival engines.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// CPU time of a process: all its threads, including ended ones and kernel workers on its behalf.
/// It is exact to the nanosecond: counted at each context switch, not sampled.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is valid for a write; any process id is allowed.
    let error = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for a write.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The cores that this process may run on, in ascending order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let mut set = no_cores();
    // SAFETY: `set` is valid for a write of the size given.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: the core number is below the set's size.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

/// Pins this thread, and the threads that it starts later, to one core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = no_cores();
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the core number is below the set's size.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is valid for a read of the size given.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

fn no_cores() -> libc::cpu_set_t {
    // SAFETY: a set of cores is a plain array of bits; all zeroes is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Time for the calling thread to touch this much memory for the first time, with huge pages where
/// possible.
pub fn first_touch(bytes: usize) -> io::Result<Duration> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a private mapping that nothing else points to; it is unmapped before this returns.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::madvise(memory, bytes, libc::MADV_HUGEPAGE);
        let clock = Instant::now();
        let touched = libc::madvise(memory, bytes, libc::MADV_POPULATE_WRITE);
        let (took, error) = (clock.elapsed(), io::Error::last_os_error());
        libc::munmap(memory, bytes);
        if touched == 0 { Ok(took) } else { Err(error) }
    }
}

/// Sends a signal to a child. The child must not have been waited for, so that its process id is
/// still its own.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: the call takes no pointers.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) })
}

/// Creates an event descriptor.
pub fn event() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    check(event)?;
    // SAFETY: the kernel just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(event) })
}

/// Waits until the event descriptor is written to, and resets it.
pub fn read_event(event: &OwnedFd) -> io::Result<()> {
    let mut count = 0_u64;
    // SAFETY: eight bytes of our own.
    let bytes = unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    if bytes < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Writes to the event descriptor.
pub fn write_event(event: &OwnedFd) -> io::Result<()> {
    let one = 1_u64;
    // SAFETY: eight bytes of our own.
    let bytes =
        unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    if bytes < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An epoll instance over sockets that may become readable.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(epoll)?;
        // SAFETY: the kernel just created this descriptor, and nothing else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 64] })
    }

    /// Adds `socket` under this number.
    pub fn add(&self, socket: &impl AsRawFd, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` is valid for a read.
        check(unsafe {
            libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        })
    }

    /// Calls `readable` with the numbers of the sockets that are readable now; does not wait.
    pub fn look(&mut self, mut readable: impl FnMut(usize)) -> io::Result<()> {
        let most = self.events.len() as i32;
        // SAFETY: `events` has space for `most` events.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), most, 0) };
        check(count)?;
        self.events[..count as usize].iter().for_each(|event| readable(event.u64 as usize));
        Ok(())
    }
}

/// Raises the soft limit of open files to the hard limit, for this process and its children.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for a write.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for a read.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
