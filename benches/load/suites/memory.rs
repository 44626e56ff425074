//! `memory`: total memory of servers with whole populations: program, indices, buffers and the
//! allocator's slack.

use super::{Bench, Loaded, MILLION, short};
use crate::error::Result;
use crate::options::Suite;
use crate::report::{Figure, Report};
use crate::rounds::Spread;
use crate::server::Memory;

const AT_MOST_BYTES: f64 = 500.0;
/// Below this many users the program itself outweighs its users, and the figure has no meaning.
const ENOUGH_USERS: u64 = MILLION;

pub fn run(bench: &mut Bench) -> Result<Report> {
    bench.unload()?;
    let sizes = bench.options.users_or(&[MILLION, 10 * MILLION]);
    let mut rows = vec![
        ["users", "entries", "RSS MiB", "PSS MiB", "bytes per user"].map(String::from).to_vec(),
    ];
    let mut figures = Vec::new();
    for users in sizes {
        let loaded = Loaded::new(users, &bench.options, bench.cores)?;
        loaded.check(0)?;
        let memory = loaded.server.memory()?;
        let each = memory.rss.max(memory.pss) as f64 / users as f64;
        rows.push(vec![
            users.to_string(),
            loaded.population.len().to_string(),
            Memory::mib(memory.rss),
            Memory::mib(memory.pss),
            format!("{each:.1}"),
        ]);
        figures.push(Figure {
            what: format!("bytes per user, {} users", short(users)),
            value: Spread::one(each),
            decimals: 1,
            unit: " B",
            at_most: (users >= ENOUGH_USERS).then_some(AT_MOST_BYTES),
        });
        loaded.server.stop()?;
    }
    Ok(Report {
        suite: Suite::Memory,
        title: "Memory of whole populations".to_owned(),
        rows,
        figures,
        notes: Vec::new(),
    })
}
