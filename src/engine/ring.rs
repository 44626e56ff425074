//! Ring: the io_uring of one core.
//!
//! Flags: SINGLE_ISSUER and DEFER_TASKRUN (completion work runs only when this thread enters the
//! ring, and never interrupts it), SUBMIT_ALL, TASKRUN_FLAG, and NO_SQARRAY where the kernel has
//! it. The ring's descriptor is registered. The registration belongs to one `Submitter`, so the
//! ring is split once and its parts live as long as the thread.

use super::Failure;
use super::control::Control;
use super::op::{Op, OpKind};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{
    CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, opcode, squeue, types,
};
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

/// Submission queue entries, for one turn; when the queue is full, it is submitted early.
const SUBMISSIONS: u32 = 4_096;
/// Completion queue entries: more than one turn of thousands of connections makes. The kernel keeps
/// any overflow.
const COMPLETIONS: u32 = 32_768;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The operation that has completed, encoded: see [`super::op::Op`].
    pub user_data: u64,
    /// The operation's result: a count or a negative errno.
    pub result: i32,
    /// Flags `IORING_CQE_F_*`.
    pub flags: u32,
}

/// A ring that belongs to the thread that made it.
pub struct Ring {
    submitter: ManuallyDrop<Submitter<'static>>,
    submissions: ManuallyDrop<SubmissionQueue<'static>>,
    completions: ManuallyDrop<CompletionQueue<'static>>,
    /// The timeout of the next tick; the kernel reads it at submission.
    tick: Box<Timespec>,
    /// The ring that the three parts above borrow.
    ring: *mut IoUring,
}

impl Ring {
    /// Sets up a ring for the calling thread.
    pub fn new() -> Result<Self, Failure> {
        let ring = build(true)
            .or_else(|error| {
                if error.raw_os_error() == Some(libc::EINVAL) { build(false) } else { Err(error) }
            })
            .map_err(Failure::of("set up", "an io_uring"))?;
        let ring = Box::into_raw(Box::new(ring));
        // SAFETY: the box lives until `drop`, which drops the borrowing parts first; nothing else
        // has the pointer.
        let (mut submitter, submissions, completions) = unsafe { &mut *ring }.split();
        let registered = submitter.register_ring_fd();
        let ring = Self {
            submitter: ManuallyDrop::new(submitter),
            submissions: ManuallyDrop::new(submissions),
            completions: ManuallyDrop::new(completions),
            tick: Box::default(),
            ring,
        };
        registered.map_err(Failure::of("register", "the ring's descriptor"))?;
        Ok(ring)
    }

    /// The submitter, for registrations.
    pub fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    /// Queues an operation for submission.
    ///
    /// # Safety
    ///
    /// Memory that the operation points at must stay valid, and must not move, until it completes.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's contract.
        while unsafe { self.submissions.push(entry) }.is_err() {
            // Full: submit without waiting. The kernel takes every entry or returns an error, so
            // this cannot loop for good.
            self.enter(0, None)
                .unwrap_or_else(|error| panic!("the kernel refuses submissions: {error}"));
        }
    }

    /// Polls the event descriptor of `control`: each wake-up is a completion of
    /// [`OpKind::Wake`].
    pub fn watch(&mut self, control: &Control) {
        let entry = opcode::PollAdd::new(types::Fd(control.fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Op::of_core(OpKind::Wake).encode());
        // SAFETY: the operation has no pointer.
        unsafe { self.push(&entry) };
    }

    /// Arms the ring's timer: a completion of [`OpKind::Tick`] after `time`.
    pub fn tick_after(&mut self, time: Duration) {
        *self.tick = Timespec::from(time);
        let entry = opcode::Timeout::new(&raw const *self.tick)
            .build()
            .user_data(Op::of_core(OpKind::Tick).encode());
        // SAFETY: the kernel reads the time when the entry is submitted; it lives as long as the
        // ring.
        unsafe { self.push(&entry) };
    }

    /// Submits queued operations, runs deferred work, and waits until `want` completions are there
    /// or `timeout` has passed. Without a timeout it waits without limit, which saves the kernel a
    /// timer.
    pub fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.submissions.sync();
        let count = self.submissions.len() as u32;
        let entered = match timeout {
            None => {
                let flags = EnterFlags::GETEVENTS.bits();
                // SAFETY: every queued entry was pushed under the contract of `push`.
                unsafe { self.submitter.enter::<libc::sigset_t>(count, want, flags, None) }
            }
            Some(timeout) => {
                let timespec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timespec);
                let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
                // SAFETY: every queued entry was pushed under the contract of `push`; `args`
                // outlives the call.
                unsafe { self.submitter.enter(count, want, flags, Some(&args)) }
            }
        };
        self.completions.sync();
        self.submissions.sync();
        match entered {
            Ok(_) => Ok(()),
            // Timeout, a signal, or completions to be reaped first: in each case the caller reaps
            // what is there.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether completions can be reaped without entering the ring.
    #[inline]
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Whether entering the ring would run deferred work.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        self.submissions.taskrun()
    }

    /// Reaps the next completion.
    #[inline]
    pub fn reap(&mut self) -> Option<Completion> {
        let entry = self.completions.next()?;
        Some(Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: dropped once, here, the borrowing parts before the ring; the box came from
        // `Box::into_raw`.
        unsafe {
            ManuallyDrop::drop(&mut self.completions);
            ManuallyDrop::drop(&mut self.submissions);
            ManuallyDrop::drop(&mut self.submitter);
            drop(Box::from_raw(self.ring));
        }
    }
}

fn build(no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .dontfork();
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(SUBMISSIONS)
}
