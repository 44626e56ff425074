//! CPU affinity: the CPUs that a thread may run on, and pinning.

use super::Failure;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        set.set(cpu);
    }
    sched_setaffinity(None, &set).map_err(|error| failed(error.into()))
}

/// The CPUs that the calling thread may run on, ascending.
pub fn allowed_cpus() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(None)
        .map_err(|error| Failure::new("read", "the CPU affinity", error.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
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
