//! CPU affinity: the CPUs that a thread may run on, and pinning.

use super::Failure;
use std::io;

/// Pins the calling thread to one CPU.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    run_on(&[cpu])
}

/// Restricts the calling thread to these CPUs.
pub(super) fn run_on(cpus: &[usize]) -> Result<(), Failure> {
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

/// The CPUs that the calling thread may run on, ascending.
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
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_cpu() {
        let cpus = allowed_cpus().unwrap();
        assert!(!cpus.is_empty() && cpus.is_sorted());
        std::thread::spawn(move || {
            pin(cpus[0]).unwrap();
            assert_eq!(allowed_cpus().unwrap(), cpus[..1]);
        })
        .join()
        .unwrap();
        assert!(pin(1 << 20).is_err());
    }
}
