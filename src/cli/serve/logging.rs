//! Log of a serving process: lines on standard error, written by a thread of their own.
//!
//! Nothing that serves waits for standard error. A line goes to a bounded queue; while nobody takes
//! the lines, and when they cannot be written, further ones are dropped and counted.

use super::super::text::print_error;
use crate::engine::Failure;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{panic, process};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// Lines that wait to be written.
const QUEUED_LINES: usize = 1_024;

/// The log while it is on. Its drop waits up to about a second for queued lines to be written.
pub struct LogLines {
    _worker: WorkerGuard,
    queue: ErrorCounter,
    unwritten: Arc<AtomicUsize>,
}

impl LogLines {
    /// Turns the log on. A panic is logged, too.
    pub fn start() -> Self {
        let unwritten = Arc::new(AtomicUsize::new(0));
        // The writer's thread is started by a function that panics where it cannot be.
        panic::set_hook(Box::new(|_| exit_without_log()));
        let (writer, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUED_LINES)
            .thread_name("log-lines")
            .finish(Stderr(Arc::clone(&unwritten)));
        let queue = writer.error_counter();
        let lines = tracing_subscriber::fmt().with_target(false).with_ansi(false);
        // It fails if a log is on already: then that is used.
        let _ = lines.with_writer(writer).try_init();
        panic::set_hook(Box::new(|panic| {
            let trace = Backtrace::capture();
            match trace.status() {
                BacktraceStatus::Captured => tracing::error!("{panic}\n{trace}"),
                _ => tracing::error!("{panic}"),
            }
            crate::engine::cores::let_the_log_be_written();
        }));
        Self { _worker: worker, queue, unwritten }
    }

    /// Number of lines that were dropped.
    pub fn dropped(&self) -> usize {
        // Relaxed: only the sum matters.
        self.queue.dropped_lines() + self.unwritten.load(Ordering::Relaxed)
    }
}

/// Ends the process, because its log cannot start.
#[expect(clippy::disallowed_methods, reason = "a panic hook cannot return, and would abort")]
fn exit_without_log() {
    let failure =
        Failure::new("start", "the thread of the log", io::Error::from_raw_os_error(libc::EAGAIN));
    print_error(format!("error: {failure}\n"));
    process::exit(1);
}

/// Standard error, whose failures are counted.
struct Stderr(Arc<AtomicUsize>);

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            // Relaxed: only the sum matters.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
