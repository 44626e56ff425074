//! An older build against the current one, `--before`: the figures *after against before* and what
//! is asked of them.
//!
//! A round's ratio is the CPU a unit (a request, an entry, a start) of the current build, divided
//! by that of the older one in the same round. A figure shows the ratios' median and range, and the
//! 95 % confidence interval of their mean (`interval`). It is missed if the interval's low end is
//! above what is asked: then the current build costs more than that, and chance does not explain
//! it. A wide interval is met and proves nothing; more rounds make it narrower.

use crate::error::Result;
use crate::interval::Interval;
use crate::report::{Figure, Report};
use crate::rounds::{Series, Spread};
use crate::server::Subject;

/// Asked of a request and of an entry.
pub const AT_MOST: f64 = 1.02;
/// Asked of a start.
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

/// After against before, by each round's ratio. Of a single round nothing is asked: it has no
/// interval.
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

/// The figure of a lane and the same lane of the older build.
pub fn requests(what: &str, after: &Series, before: &Series, at_most: Option<f64>) -> Figure {
    figure(&format!("CPU a request{what}"), after.ratios(before), at_most)
}

/// What the two programs are built from, in one line.
pub fn builds(after: &Subject, before: &Subject, core: usize) -> Result<String> {
    let commit = |subject: &Subject| -> Result<String> {
        let server = subject.start(core)?;
        let commit = server.info()?.commit;
        server.stop()?;
        Ok(commit)
    };
    let (after, before) = (commit(after)?, commit(before)?);
    Ok(format!("By their /v1/info, after is built from commit {after}, before from {before}."))
}
