//! Comparison of the current build with an older one, `--before`: the figures *after against
//! before* and their targets.
//!
//! A round's ratio is the CPU time per unit (a request, an entry, a start) of the current build,
//! divided by that of the older build in the same round. A figure shows the median and range of the
//! ratios, and the 95 % confidence interval of their mean (`interval`). A target is missed if the
//! low end of the interval is above it: the current build then costs more than the target, and
//! chance does not explain it. A wide interval meets the target but proves nothing; more rounds
//! make it narrower.

use crate::error::Result;
use crate::interval::Interval;
use crate::report::{Figure, Report};
use crate::rounds::{Series, Spread};
use crate::server::Subject;

/// Target ratio for a request and for an entry.
pub const AT_MOST: f64 = 1.02;
/// Target ratio for a start.
pub const START_AT_MOST: f64 = 1.05;

/// What a comparison adds to a suite's report.
#[derive(Default)]
pub struct Compared {
    pub rows: Vec<Vec<String>>,
    pub figures: Vec<Figure>,
    pub notes: Vec<String>,
}

impl Compared {
    pub fn add_to(self, report: &mut Report) {
        report.rows.extend(self.rows);
        report.figures.extend(self.figures);
        report.notes.extend(self.notes);
    }
}

/// The figure *after against before* of each round's ratio. A single round has no interval, and so
/// no target.
pub fn figure(what: &str, ratios: impl Iterator<Item = f64>, at_most: Option<f64>) -> Figure {
    let ratios: Vec<f64> = ratios.collect();
    let interval = Interval::of(ratios.iter().copied());
    Figure {
        what: format!("after against before: {what}"),
        value: Spread { interval, ..Spread::of(ratios.into_iter()) },
        decimals: 3,
        unit: "x",
        at_most: at_most.filter(|_| interval.is_some()),
    }
}

/// Compares the CPU time per request of a variant with the same variant of the older build.
pub fn requests(what: &str, after: &Series, before: &Series, at_most: Option<f64>) -> Figure {
    figure(&format!("CPU per request{what}"), after.ratios(before), at_most)
}

/// The commits from which the two programs are built, in one line.
pub fn builds(after: &Subject, before: &Subject, core: usize) -> Result<String> {
    let commit = |subject: &Subject| -> Result<String> {
        let server = subject.start(core)?;
        let commit = server.info()?.commit;
        server.stop()?;
        Ok(commit)
    };
    let (after, before) = (commit(after)?, commit(before)?);
    Ok(format!("According to /v1/info, after is built from commit {after}, before from {before}."))
}
