//! Contents of `/v1/info`: the server's build, its start time, the place of each slice, and its
//! limits.

use super::super::Error;
use crate::api::info::{Info, SliceInfo};
use crate::api::{BATCH_BYTES, BATCH_READS, FEED_BYTES, FEED_LINES};
use crate::config::settings::Config;
use crate::journal::manifest::HASH_VERSION;
use std::time::{SystemTime, UNIX_EPOCH};

/// The info of a server that starts now, with its common port, and the own port of each slice.
pub fn info(config: &Config, common: u16, ports: &[Option<u16>]) -> Result<Info, Error> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| {
        Error::Failed(
            "the system clock is before 1970: set it, because entries are checked against it"
                .to_owned(),
        )
    })?;
    let slice_info = |(slice, port): (usize, &Option<u16>)| SliceInfo {
        core: config.core_of(slice) as u32,
        cpu: config.cpu_of(slice),
        port: port.unwrap_or(common),
    };
    let limits = &config.limits;
    Ok(Info {
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("PURSER_COMMIT"),
        started_ms: started.as_millis() as u64,
        hash: HASH_VERSION,
        slices: ports.iter().enumerate().map(slice_info).collect(),
        limits: vec![
            ("feed_lines", FEED_LINES as u64),
            ("feed_bytes", FEED_BYTES as u64),
            ("batch_reads", BATCH_READS as u64),
            ("batch_bytes", BATCH_BYTES as u64),
            ("connections_per_slice", limits.connections as u64),
            ("ledger_bytes_per_slice", config.ledger_bytes_of_slice() as u64),
            ("answer_bytes_per_slice", limits.answer_bytes as u64),
            ("body_bytes_per_slice", limits.body_bytes as u64),
            ("request_timeout_ms", limits.request_ms),
            ("idle_timeout_ms", limits.idle_ms),
            ("send_timeout_ms", limits.send_ms),
        ],
    })
}
