//! Loading of a start: waits for all cores, shows progress, and prints what was loaded.

use super::super::progress::ProgressMeter;
use super::super::text::{count, print_line};
use crate::config::settings::Config;
use crate::engine::Failure;
use crate::engine::cores::Cores;
use crate::engine::executor::LoadEvent;
use crate::slice::recovery::Report;
use std::time::Instant;

/// Waits until all data is loaded and every core accepts requests, and prints what was loaded.
/// Returns false if a core ended before that.
pub fn wait(config: &Config, cores: &mut Cores, count: usize) -> Result<bool, Failure> {
    if config.data.is_none() {
        print_line("data: in memory only; it is lost when this process ends");
    }
    let (start, mut progress) = (Instant::now(), Some(ProgressMeter::new("loading")));
    let mut reports = vec![Report::default(); config.slices as usize];
    let (mut loading, mut starting) =
        (if config.data.is_some() { reports.len() } else { 0 }, count);
    while loading + starting > 0 {
        match cores.next_load_event()? {
            None => return Ok(false),
            Some(LoadEvent::Serving) => starting -= 1,
            Some(LoadEvent::Loading { slice, report, is_over }) => {
                reports[slice as usize] = report;
                loading -= usize::from(is_over);
                let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum();
                let (bytes, total) = (sum(|report| report.bytes), sum(|report| report.bytes_total));
                progress.iter_mut().for_each(|progress| progress.at(bytes, total));
            }
        }
        if let (Some(path), 0, true) = (&config.data, loading, progress.is_some()) {
            progress = None;
            print_line(&format!(
                "data: {}: {}",
                path.display(),
                describe(&reports, start.elapsed().as_secs_f64())
            ));
        }
    }
    Ok(true)
}

/// Describes what all slices have loaded.
fn describe(reports: &[Report], seconds: f64) -> String {
    let sum = |figure: fn(&Report) -> u64| reports.iter().map(figure).sum::<u64>();
    let [bytes, users, replayed] =
        [sum(|report| report.bytes), sum(|report| report.users), sum(|report| report.replayed)];
    if bytes == 0 {
        return "empty".to_owned();
    }
    #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
    let rate = |n: u64| count((n as f64 / seconds.max(1e-6)) as u64);
    let mut words = format!(
        "{} users from the snapshot, {} entries from the log, {} entries in all; \
         loaded {} MiB in {seconds:.2} s ({} users/s, {} entries/s)",
        count(users),
        count(replayed),
        count(sum(|report| report.snapshot_entries) + replayed),
        bytes >> 20,
        rate(users),
        rate(replayed + sum(|report| report.already_known)),
    );
    for (slice, (segment, offset)) in
        reports.iter().enumerate().filter_map(|(slice, report)| Some((slice, report.torn_write?)))
    {
        let of = if reports.len() > 1 { format!(" of slice {slice}") } else { String::new() };
        words.push_str(&format!(
            "; cut an unfinished write from log-{segment}{of} at byte {offset}: \
             it was never acknowledged"
        ));
    }
    words
}
