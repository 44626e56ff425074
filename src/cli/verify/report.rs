//! Report of sound slices. Times are UTC; counts have thousands separators.

use super::super::text::{count, count_noun};
use super::check::{Checked, Total};
use crate::journal::File;
use crate::ledger::time::Millis;
use jiff::civil::date;
use std::time::Duration;

/// Describes a slice: what it holds, and in which files.
pub fn slice(number: u32, checked: &Checked) -> String {
    let (book, summary) = (checked.slice.book(), &checked.summary);
    let mut lines = vec![
        format!("users       {}", count(book.users() as u64)),
        format!("entries     {}", count(book.entries())),
        format!("snapshot    {}", snapshot(checked)),
        format!("log         {}", log(checked)),
    ];
    if let Some((oldest, newest)) = summary.times {
        let time = |at: Millis| format!("{} ({} ms)", rfc3339(at), at.0);
        lines.push(format!(
            "oldest      {}: the latest entry of the least recently active user",
            time(oldest)
        ));
        lines.push(format!("newest      {}", time(newest)));
    }
    lines.push(format!("kinds       {}", list(book.names().iter())));
    lines.push(format!("currencies  {}", list(summary.currencies.iter().map(String::as_str))));
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("slice {number}\n{lines}")
}

/// Describes the totals of all slices.
pub fn total(total: &Total) -> String {
    format!(
        "all slices\n  users       {}\n  entries     {}\n",
        count(total.users),
        count(total.entries)
    )
}

/// A note of the torn write, if there is one.
pub fn torn_write(checked: &Checked) -> Option<String> {
    let (segment, offset) = checked.report.torn_write?;
    let file = checked.path.join(File::Segment(segment).to_string());
    Some(format!(
        "{} at byte {offset}: an unfinished write that was never acknowledged; \
         the next start cuts it",
        file.display()
    ))
}

fn snapshot(checked: &Checked) -> String {
    let Checked { found, report, .. } = checked;
    match found.manifest.snapshot {
        0 => "none".to_owned(),
        snapshot => format!(
            "{}: {} bytes, {}, {}",
            File::Snapshot(snapshot),
            count(found.snapshot_bytes),
            count_noun(report.users, "user", "users"),
            count_noun(report.snapshot_entries, "entry", "entries"),
        ),
    }
}

fn log(checked: &Checked) -> String {
    let Checked { found, report, .. } = checked;
    match found.manifest.first {
        0 => "none".to_owned(),
        first => format!(
            "{} to {}: {} bytes, {} of them writes; {} replayed, \
             {} already in the snapshot; log position {}",
            File::Segment(first),
            File::Segment(found.manifest.last),
            count(found.segments.iter().map(|&(_, bytes)| bytes).sum()),
            count(found.log_bytes),
            count_noun(report.replayed, "entry", "entries"),
            count(report.already_known),
            found.tail.position,
        ),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

/// Formats a time as RFC 3339: `2025-11-23T12:13:20.000Z`.
fn rfc3339(at: Millis) -> String {
    // A date without a time zone, because a `jiff::Timestamp` ends a day before the year 9999 does.
    let date = date(1970, 1, 1).at(0, 0, 0, 0) + Duration::from_millis(at.0);
    format!("{date:.3}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::time::LAST_MS;

    #[test]
    fn times_are_formatted_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_763_900_000_000, "2025-11-23T12:13:20.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Millis(ms)), text);
        }
    }
}
