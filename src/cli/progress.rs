//! Progress bar of a long job, shown only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// A job that takes less time than this shows no bar.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// A progress bar on standard error, if that is a terminal and the job takes longer than a second.
/// Dropping it clears the bar.
pub struct ProgressMeter {
    what: &'static str,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl ProgressMeter {
    /// Starts the clock of a job.
    pub fn new(what: &'static str) -> Self {
        Self { what, start: Instant::now(), bar: None }
    }

    /// Reports progress: `bytes` of `total`.
    pub fn at(&mut self, bytes: u64, total: u64) {
        if self.start.elapsed() < SHOW_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "{msg} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            )
            .expect("the template is a constant");
            ProgressBar::new(total)
                .with_style(style)
                .with_message(self.what)
                .with_elapsed(self.start.elapsed())
        });
        bar.set_length(total);
        bar.set_position(bytes);
    }
}

impl Drop for ProgressMeter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
