//! Runs a piece of work one instruction at a time (`ptrace`), in a forked child of this process.
//!
//! The child has the memory of its parent, so what was set up before is there, and a function has
//! the same address in both.

use std::io::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Instructions after which a child is given up: far more than one request takes.
const MOST: usize = 20_000_000;

/// Where one instruction found the CPU.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The program counter.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
}

/// Runs `work` in a child, and tells `look` each instruction of it. `Err` says why this machine
/// does not let us.
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
    for _ in 0..MOST {
        // SAFETY: a child of ours, which stands still; no pointer is handed over.
        if unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) } < 0 {
            return last("single step");
        }
        match wait(child)? {
            Stop::Signal(libc::SIGTRAP) => {}
            Stop::Exit(0) => return Ok(()),
            other => panic!("the traced work ended by {other:?}"),
        }
        // SAFETY: plain numbers, for which zero is a value.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: the child stands still, and `registers` is what this request writes.
        if unsafe { libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut registers) } < 0 {
            return last("registers");
        }
        look(At { pc: registers.rip, sp: registers.rsp });
    }
    // SAFETY: a child of ours.
    unsafe { libc::kill(child, libc::SIGKILL) };
    panic!("the traced work takes more than {MOST} instructions");
}

#[cfg(not(target_arch = "x86_64"))]
pub fn trace(_: impl FnOnce(), _: impl FnMut(At)) -> Result<(), String> {
    Err("single steps are known for x86-64 only".into())
}

/// The child's side.
#[cfg(target_arch = "x86_64")]
fn run_traced(work: impl FnOnce()) -> ! {
    // SAFETY: no pointers; the parent waits for the signal.
    let is_traced = unsafe {
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0 && libc::raise(libc::SIGSTOP) == 0
    };
    let is_done = is_traced && catch_unwind(AssertUnwindSafe(work)).is_ok();
    // SAFETY: ends the child without running what its parent will run at its own end.
    unsafe { libc::_exit(i32::from(!is_done)) }
}

/// Why a child stands still.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
#[expect(dead_code, reason = "what ended it is for the message of a failure")]
enum Stop {
    Signal(i32),
    Exit(i32),
    Killed(i32),
}

#[cfg(target_arch = "x86_64")]
fn wait(child: i32) -> Result<Stop, String> {
    let mut status = 0;
    // SAFETY: `status` is what this call writes.
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
