//! Priority of background threads: disk threads, the arena's prefault thread.
//!
//! A background thread runs on spare CPUs, which no core runs on, if there are any, and at a lower
//! priority than the cores. All of this is best effort: if the system refuses either, the thread
//! does the same work anyway.

use super::affinity;

/// The spare CPUs, which no core runs on; there may be none. Background work belongs there: the
/// first touch of memory may cost a virtual CPU milliseconds, whichever of its threads does it.
#[derive(Clone, Debug)]
pub struct SpareCpus(Vec<usize>);

impl SpareCpus {
    /// The spare CPUs among `allowed`: those that are not in `cores`.
    pub fn of(allowed: &[usize], cores: &[usize]) -> Self {
        Self(allowed.iter().copied().filter(|cpu| !cores.contains(cpu)).collect())
    }

    /// Whether there is a spare CPU.
    pub const fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    /// For a thread whose work a core may have to wait for: moves the calling thread to the spare
    /// CPUs and lowers its priority.
    pub fn run_background(&self) {
        self.move_to_spare_cpus();
        lower();
    }

    /// For a thread whose work nobody waits for: moves the calling thread to the spare CPUs and
    /// lowers its priority. Without a spare CPU it runs only while other threads sleep.
    pub fn run_idle(&self) {
        match self.move_to_spare_cpus() {
            true => lower(),
            false => lower_to_idle(),
        }
    }

    /// Moves the calling thread to the spare CPUs. Returns whether it runs there.
    fn move_to_spare_cpus(&self) -> bool {
        !self.0.is_empty() && affinity::run_on(&self.0).is_ok()
    }
}

/// Niceness of background threads: such a thread still gets about a tenth of a CPU that other
/// threads would use up.
const NICENESS: i32 = 10;

/// Lowers the calling thread's priority to [`NICENESS`].
fn lower() {
    // On Linux the call applies to the calling thread.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// Puts the calling thread into SCHED_IDLE: it runs only when no other thread wants the CPU.
fn lower_to_idle() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` outlives the call, which applies to the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_no_core_runs_on_is_spare() {
        assert_eq!(SpareCpus::of(&[0, 1, 2, 3], &[1, 3]).0, [0, 2]);
        assert!(!SpareCpus::of(&[0, 1], &[0, 1]).exists());
    }
}
