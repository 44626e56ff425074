//! The priority of a thread that works beside the cores: disk workers, the arena's prefault thread.
//!
//! Such a thread runs on CPUs that no core runs on, if there are any, and below the priority of
//! what serves. All of this is best effort: a thread that can be neither moved nor slowed does the
//! same work where it is.

use super::affinity;

/// The CPUs that no core runs on; there may be none. Work beside a core belongs there: the first
/// touch of memory may cost a virtual CPU milliseconds, whichever of its threads does it.
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

    /// For a thread whose work a core may have to wait for: moves it aside and lowers its priority.
    pub fn work(&self) {
        self.move_there();
        lower();
    }

    /// For a thread whose work nobody waits for: moves it aside and lowers its priority. Where
    /// there is no CPU aside, it runs only while others sleep.
    pub fn idle(&self) {
        match self.move_there() {
            true => lower(),
            false => lower_to_idle(),
        }
    }

    /// Moves the calling thread aside. Returns whether it is there.
    fn move_there(&self) -> bool {
        !self.0.is_empty() && affinity::run_on(&self.0).is_ok()
    }
}

/// Niceness of threads beside the cores: about a tenth of a CPU is left to one of them where others
/// would take all of it.
const NICENESS: i32 = 10;

/// Lowers the calling thread's priority to [`NICENESS`].
fn lower() {
    // SAFETY: no pointers. On Linux it applies to the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// Puts the calling thread into SCHED_IDLE: it runs only where no other thread wants to.
fn lower_to_idle() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: `none` outlives the call, which applies to the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_no_core_runs_on_is_aside() {
        assert_eq!(Aside::of(&[0, 1, 2, 3], &[1, 3]).0, [0, 2]);
        assert!(!Aside::of(&[0, 1], &[0, 1]).exists());
    }
}
