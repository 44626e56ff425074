//! The io_uring of one core.
//!
//! Flags: SINGLE_ISSUER and DEFER_TASKRUN (completions run when this thread asks for them, never in
//! its way), SUBMIT_ALL, TASKRUN_FLAG, NO_SQARRAY where the kernel has it. The ring's descriptor is
//! registered. The registration belongs to one `Submitter`, so the ring is split once and its parts
//! live as long as the thread.

use super::Failure;
use super::control::Control;
use super::op::{Kind, Op};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{
    CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, opcode, squeue, types,
};
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

/// Submissions of one turn; when it is full, what is there is submitted early.
const SUBMISSIONS: u32 = 4_096;
/// Completions that may wait: more than one turn of thousands of connections makes. Beyond it the
/// kernel keeps the overflow.
const COMPLETIONS: u32 = 32_768;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What it belongs to: see [`super::op::Op`].
    pub user_data: u64,
    /// The operation's result: a count or a negative errno.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

/// The ring of the thread that made it.
pub struct Ring {
    submitter: ManuallyDrop<Submitter<'static>>,
    submissions: ManuallyDrop<SubmissionQueue<'static>>,
    completions: ManuallyDrop<CompletionQueue<'static>>,
    /// When the next tick is due: the kernel reads it when it is submitted.
    tick: Box<Timespec>,
    /// What the three borrow.
    ring: *mut IoUring,
}

impl Ring {
    /// Sets a ring up for the calling thread.
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

    /// Queues an operation.
    ///
    /// # Safety
    ///
    /// What the operation points at must stay valid, and must not move, until it completes.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: handed on to the caller.
        while unsafe { self.submissions.push(entry) }.is_err() {
            // Full: submit without waiting. This cannot fail for good: the kernel takes all or says
            // why.
            self.enter(0, None)
                .unwrap_or_else(|error| panic!("the kernel refuses submissions: {error}"));
        }
    }

    /// Has a completion of [`Kind::Wake`] made whenever the core is woken by `control`.
    pub fn watch(&mut self, control: &Control) {
        let entry = opcode::PollAdd::new(types::Fd(control.fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Op::of_core(Kind::Wake).encode());
        // SAFETY: points at nothing.
        unsafe { self.push(&entry) };
    }

    /// Has a completion of [`Kind::Tick`] made after this time.
    pub fn tick_after(&mut self, time: Duration) {
        *self.tick = Timespec::from(time);
        let entry = opcode::Timeout::new(&raw const *self.tick)
            .build()
            .user_data(Op::of_core(Kind::Tick).encode());
        // SAFETY: the kernel reads the time when the entry is submitted; it lives as long as the
        // ring.
        unsafe { self.push(&entry) };
    }

    /// Submits what is queued, runs what is deferred, and waits until `want` completions are there
    /// or `timeout` has passed; without one, for as long as it takes: a wait with a time limit
    /// costs the kernel a timer.
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
            // The time is up, a signal came, or completions must be reaped first: all of them mean
            // to look at what is there.
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

    /// Whether completions are there.
    #[inline]
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }

    /// Whether there would be some if the ring were entered.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        self.submissions.taskrun()
    }

    /// The next completion that is there.
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
        // SAFETY: dropped once, here, borrowers before what they borrow; the box came from
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
