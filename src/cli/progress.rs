//! How far a long job has come, shown on a terminal; and numbers for people.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// A job that is over sooner shows no bar.
const SOON: Duration = Duration::from_secs(1);

/// A bar on the standard error, if that is a terminal and the job takes longer than a second. It is gone when this is dropped.
pub struct Progress {
    what: &'static str,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A job that begins now.
    pub fn new(what: &'static str) -> Self {
        Self { what, start: Instant::now(), bar: None }
    }

    /// So many bytes, of so many.
    pub fn at(&mut self, bytes: u64, total: u64) {
        if self.start.elapsed() < SOON {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{msg} [{bar:40}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
                    .expect("the template is a constant");
            ProgressBar::new(total).with_style(style).with_message(self.what).with_elapsed(self.start.elapsed())
        });
        bar.set_length(total);
        bar.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A count, with commas.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).expect("digits")).collect();
    groups.join(",")
}

/// Prints text that ends with a line feed. A standard output that is gone changes nothing about what was done.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// `n` of something, in words: `1 user`, `2 users`.
pub fn many(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}
