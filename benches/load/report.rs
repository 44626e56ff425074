//! Report of a suite as Markdown: printed, and with `--keep` appended to
//! `benches/runs/DATE-SUITE.md`.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::error::{Context, Result};
use crate::host::{self, Host};
use crate::options::Suite;
use crate::rounds::{Series, Spread};

/// A published figure and its target. The target applies to the median or, if there is an interval,
/// to its low end: such a figure misses its target only if it exceeds it by more than chance.
pub struct Figure {
    pub what: String,
    pub value: Spread,
    pub decimals: usize,
    pub unit: &'static str,
    pub at_most: Option<f64>,
}

pub struct Report {
    pub suite: Suite,
    pub title: String,
    /// Table rows; the first one is the header.
    pub rows: Vec<Vec<String>>,
    pub figures: Vec<Figure>,
    pub notes: Vec<String>,
}

impl Figure {
    fn row(&self) -> Vec<String> {
        let Self { what, value, decimals, unit, at_most } = self;
        let (judged, prefix) =
            value.interval.map_or((value.median, ""), |interval| (interval.low, "low end "));
        let verdict = at_most.map_or("", |most| if judged <= most { "met" } else { "MISSED" });
        let asked =
            at_most.map_or_else(|| "-".to_owned(), |most| format!("{prefix}<= {most}{unit}"));
        vec![what.clone(), format!("{}{unit}", value.text(*decimals)), asked, verdict.to_owned()]
    }

    fn interval(&self) -> String {
        let Self { value, decimals, unit, .. } = self;
        value.interval.map_or_else(
            || "-".to_owned(),
            |interval| format!("{}{unit}", interval.text(*decimals)),
        )
    }
}

/// Table rows of some series.
pub fn rows(series: &[Series]) -> Vec<Vec<String>> {
    let head =
        ["", "requests/s", "server CPU us/request", "answer bytes", "p50 us", "p99 us", "p99.9 us"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for series in series {
        let latency = |place| series.latency(place).map_or_else(|| "-".to_owned(), |us| us.text(0));
        rows.push(vec![
            series.name.clone(),
            series.spread(|round| round.per_second).text(0),
            series.spread(|round| round.cpu_us).text(3),
            series.spread(|round| round.bytes).text(0),
            latency(0),
            latency(1),
            latency(2),
        ]);
    }
    rows
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("### {}\n\n{}\n", self.title, table(&self.rows));
        text.push_str(&table(&self.figures_as_rows()));
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    fn figures_as_rows(&self) -> Vec<Vec<String>> {
        let has_interval = self.figures.iter().any(|figure| figure.value.interval.is_some());
        let mut rows =
            vec![["figure", "median (min..max)", "target", ""].map(String::from).to_vec()];
        rows.extend(self.figures.iter().map(Figure::row));
        if has_interval {
            rows[0].insert(2, "mean (95 % interval)".to_owned());
            for (row, figure) in rows[1..].iter_mut().zip(&self.figures) {
                row.insert(2, figure.interval());
            }
        }
        rows
    }

    pub fn print(&self) {
        println!("{}", self.text());
    }

    /// Appends to this suite's file of the day, so that earlier runs are kept.
    pub fn keep(&self, host: &Host, command: &str) -> Result<()> {
        let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/runs");
        let name = format!("{}-{}.md", host::today(), self.suite.name());
        let text = format!("{}\n```sh\n{command}\n```\n\n{}\n", self.text(), host.facts());
        fs::create_dir_all(&runs).context("making benches/runs")?;
        let file = OpenOptions::new().create(true).append(true).open(runs.join(&name));
        let doing = format!("keeping benches/runs/{name}");
        file.context(&doing)?.write_all(text.as_bytes()).context(&doing)
    }
}

/// A Markdown table with aligned columns.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "|{:-<1$}", "", width + 2);
            }
            text.push_str("|\n");
        }
    }
    text
}
