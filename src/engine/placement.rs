//! Where a core's thread runs, and how much memory and how many descriptors it may have.

use super::Failure;
use std::io;

/// Pins the calling thread to one CPU.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    run_on(&[cpu])
}

fn run_on(cpus: &[usize]) -> Result<(), Failure> {
    let failed = |error| {
        let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
        Failure::new("pin a thread to", format!("CPU {}", list.join(",")), error)
    };
    // SAFETY: an all-zero set is a valid, empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        // SAFETY: `cpu` is within the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set outlives the call.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result == 0 { Ok(()) } else { Err(failed(io::Error::last_os_error())) }
}

/// Lets others run on this CPU that can, and goes on after them.
pub fn give_turn() {
    // SAFETY: no pointers; it cannot fail.
    unsafe { libc::sched_yield() };
}

/// What a turn uses of its thread's stack, and some more.
const STACK_BYTES: usize = 256 << 10;

/// Touches the calling thread's stack, so that no turn is the first to do so.
#[inline(never)]
pub fn touch_stack() {
    let mut room = [0u8; STACK_BYTES];
    std::hint::black_box(&mut room);
}

/// The CPUs that no core runs on; there may be none. What is done beside a core belongs there: a first touch of memory may cost a virtual CPU
/// milliseconds, whichever of its threads does it.
#[derive(Clone, Debug)]
pub struct Aside(Vec<usize>);

impl Aside {
    /// Of the CPUs that may be used, those that are no core's.
    pub fn of(allowed: &[usize], cores: &[usize]) -> Self {
        Self(allowed.iter().copied().filter(|cpu| !cores.contains(cpu)).collect())
    }

    /// Whether there is one.
    pub const fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    /// The calling thread does work that a core may have to wait for.
    pub fn work(&self) {
        self.step();
        give_way();
    }

    /// The calling thread does work that nobody waits for: where there is no CPU aside, while others sleep.
    pub fn idle(&self) {
        match self.step() {
            true => give_way(),
            false => give_way_wholly(),
        }
    }

    /// Moves the calling thread aside, if there is room. One that stays does the same work.
    fn step(&self) -> bool {
        !self.0.is_empty() && run_on(&self.0).is_ok()
    }
}

/// How much a thread gives way: a tenth of a CPU is left to it where others would take all.
const NICENESS: i32 = 10;

/// The calling thread does its work somewhat later than others. One that keeps its priority does the same work.
fn give_way() {
    // SAFETY: no pointers. Of the calling thread, as Linux has it.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// The calling thread works while others sleep. One that keeps its priority does the same work.
fn give_way_wholly() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` outlives the call; of the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
}

/// The CPUs that this process may run on, ascending.
pub fn allowed_cpus() -> Result<Vec<usize>, Failure> {
    // SAFETY: an all-zero set is a valid, empty one, and outlives the call.
    let (result, set) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(0, size_of_val(&set), &raw mut set), set)
    };
    if result != 0 {
        return Err(Failure::new("read", "the CPU affinity", io::Error::last_os_error()));
    }
    // SAFETY: every number is within the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// The memory that this process may use, in bytes: the machine's, or its control group's if that is less.
pub fn memory() -> Result<usize, Failure> {
    // SAFETY: no pointers.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    if pages <= 0 || page <= 0 {
        return Err(Failure::new("read", "the size of memory", io::Error::last_os_error()));
    }
    let machine = pages as usize * page as usize;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Ok(groups.lines().flat_map(group_limits).fold(machine, usize::min))
}

/// The limits of one line of `/proc/self/cgroup`, its group's and all that hold it: version 2, or version 1's `memory`.
fn group_limits(line: &str) -> Vec<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let groups = std::iter::successors(Some(path.trim_end_matches('/')), |p| p.rsplit_once('/').map(|(up, _)| up));
    groups
        .filter_map(|group| std::fs::read_to_string(format!("{root}{group}/{file}")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .collect()
}

/// Raises the limit of open descriptors as far as it goes, and returns it.
pub fn raise_descriptors() -> Result<u64, Failure> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives both calls.
    let result = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        } else {
            -1
        }
    };
    if result == 0 {
        Ok(limit.rlim_cur)
    } else {
        Err(Failure::new("raise", "the limit of open descriptors", io::Error::last_os_error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let cpus = allowed_cpus().unwrap();
        assert!(!cpus.is_empty() && cpus.is_sorted());
        assert!(memory().unwrap() > 1 << 24);
        assert!(raise_descriptors().unwrap() >= 64);
        std::thread::spawn(move || {
            pin(cpus[0]).unwrap();
            assert_eq!(allowed_cpus().unwrap(), cpus[..1]);
        })
        .join()
        .unwrap();
        assert!(pin(1 << 20).is_err());
    }
}
