//! Single-stepping with `ptrace`: runs work one instruction at a time in a forked child.
//!
//! The child has a copy of its parent's memory: everything set up before is there, and each
//! function has the same address in both.

use std::io::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most instructions of a child before it is killed: far more than one request takes.
const MAX_STEPS: usize = 20_000_000;

/// Registers before one instruction.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The program counter.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
}

/// Runs `work` in a child and calls `look` for each of its instructions. `Err` says why this
/// machine does not allow that.
#[cfg(target_arch = "x86_64")]
pub fn trace(work: impl FnOnce(), mut look: impl FnMut(At)) -> Result<(), String> {
    // SAFETY: the child runs `work` on this thread's stack and ends by `_exit`; the allocator of
    // the C library can be used after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        run_traced(work);
    }
    let last = |call: &str| Err(format!("{call}: {}", Error::last_os_error()));
    if child < 0 {
        return last("fork");
    }
    match wait(child)? {
        Stop::Signal(libc::SIGSTOP) => {}
        other => return Err(format!("the child does not let itself be traced: {other:?}")),
    }
    for _ in 0..MAX_STEPS {
        // SAFETY: the process is a stopped child of this one; no pointer is passed.
        if unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) } < 0 {
            return last("single step");
        }
        match wait(child)? {
            Stop::Signal(libc::SIGTRAP) => {}
            Stop::Exit(0) => return Ok(()),
            other => panic!("the traced work ended by {other:?}"),
        }
        // SAFETY: the struct has only integers, for which zero is valid.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the child is stopped, and the request writes only to `registers`.
        if unsafe { libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers) } < 0 {
            return last("registers");
        }
        look(At { pc: registers.rip, sp: registers.rsp });
    }
    // SAFETY: no pointers; the process is a child of this one.
    unsafe { libc::kill(child, libc::SIGKILL) };
    panic!("the traced work takes more than {MAX_STEPS} instructions");
}

#[cfg(not(target_arch = "x86_64"))]
pub fn trace(_: impl FnOnce(), _: impl FnMut(At)) -> Result<(), String> {
    Err("single steps are known for x86-64 only".into())
}

/// Runs `work` in the child, traced by the parent.
#[cfg(target_arch = "x86_64")]
fn run_traced(work: impl FnOnce()) -> ! {
    // SAFETY: no pointers; the parent waits for the signal.
    let is_traced = unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0 && libc::raise(libc::SIGSTOP) == 0
    };
    let is_done = is_traced && catch_unwind(AssertUnwindSafe(work)).is_ok();
    // SAFETY: ends the child without the exit handlers, which only the parent may run.
    unsafe { libc::_exit(i32::from(!is_done)) }
}

/// Result of waiting for a child: stopped or ended.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
#[expect(dead_code, reason = "the values appear in failure messages only")]
enum Stop {
    Signal(i32),
    Exit(i32),
    Killed(i32),
}

#[cfg(target_arch = "x86_64")]
fn wait(child: i32) -> Result<Stop, String> {
    let mut status = 0;
    // SAFETY: the call writes only to `status`.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        return Err(format!("waitpid: {}", Error::last_os_error()));
    }
    Ok(if libc::WIFSTOPPED(status) {
        Stop::Signal(libc::WSTOPSIG(status))
    } else if libc::WIFEXITED(status) {
        Stop::Exit(libc::WEXITSTATUS(status))
    } else {
        Stop::Killed(libc::WTERMSIG(status))
    })
}
