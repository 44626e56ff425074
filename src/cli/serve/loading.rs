//! Waits while the cores load their data, shows how far they have come, and says what was loaded.

use super::super::progress::Progress;
use super::super::text::{count, say};
use crate::config::Config;
use crate::engine::keeper::News;
use crate::slice::recovery::Report;
use std::sync::mpsc::Receiver;
use std::time::Instant;

/// Waits until all data is loaded, and says so. Returns whether it ever was: not if every core
/// ended before.
pub fn wait(config: &Config, news: &Receiver<(u32, News)>) -> bool {
    let Some(path) = &config.data else {
        say("data: in memory only; all of it is lost when this process stops");
        return true;
    };
    let (start, mut progress) = (Instant::now(), Progress::new("loading"));
    let mut reports = vec![Report::default(); config.slices as usize];
    let mut left = reports.len();
    for (slice, message) in news {
        let (News::Loading(report) | News::Loaded(report)) = message;
        reports[slice as usize] = report;
        left -= usize::from(matches!(message, News::Loaded(_)));
        let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum();
        progress.at(sum(|report| report.bytes), sum(|report| report.bytes_total));
        if left == 0 {
            drop(progress);
            say(&format!("data: {}: {}", path.display(), in_words(&reports, start.elapsed().as_secs_f64())));
            return true;
        }
    }
    false
}

/// What was loaded, of all slices.
fn in_words(reports: &[Report], seconds: f64) -> String {
    let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum::<u64>();
    let [bytes, users, replayed] =
        [sum(|report| report.bytes), sum(|report| report.users), sum(|report| report.replayed)];
    if bytes == 0 {
        return "nothing in it yet".to_owned();
    }
    let rate = |n: u64| count((n as f64 / seconds.max(1e-6)) as u64);
    let mut words = format!(
        "{} users from the snapshot, {} entries from the log, {} entries in all; loaded {} MiB in {seconds:.2} s ({} users/s, {} entries/s)",
        count(users),
        count(replayed),
        count(sum(|report| report.snapshot_entries) + replayed),
        bytes >> 20,
        rate(users),
        rate(replayed + sum(|report| report.known)),
    );
    for (slice, (segment, offset)) in
        reports.iter().enumerate().filter_map(|(slice, report)| Some((slice, report.cut?)))
    {
        let of = if reports.len() > 1 { format!(" of slice {slice}") } else { String::new() };
        words.push_str(&format!(
            "; an unfinished write was cut from log-{segment}{of} at byte {offset}: nobody was told that it was done"
        ));
    }
    words
}
