//! Startup messages: what was found and is in force, and, once it is true, where requests are
//! accepted.

use super::super::text::{count_noun, print_line};
use crate::config::cpus::CpuList;
use crate::config::settings::Config;
use crate::engine::probe::Kernel;
use std::net::SocketAddr;

const MIB: usize = 1 << 20;

/// Prints the kernel, CPUs, memory and limits in force.
pub fn found(config: &Config, kernel: &Kernel, descriptors: u64) {
    let version = env!("CARGO_PKG_VERSION");
    print_line(&format!(
        "purser {version} on Linux {}: io_uring with multishot receive and deferred task work",
        kernel.release
    ));
    let all = CpuList(config.cores.iter().copied().collect());
    let slices = count_noun(config.slices.into(), "slice", "slices");
    match config.cores.len() {
        1 => print_line(&format!("{slices} on CPU {all}")),
        _ => print_line(&format!("{slices} on CPUs {all}")),
    }
    let (ledger, total) = (config.limits.ledger_bytes / MIB, config.memory_bytes / MIB);
    print_line(&format!(
        "memory: {ledger} MiB for the ledger, of {total} MiB that this process may use"
    ));
    print_line(&format!(
        "limits: {} connections a slice, {descriptors} open descriptors",
        config.limits.connections
    ));
    if config.limits.connections < config.asked_connections {
        print_line(&format!(
            "limits: {} connections a slice were asked for and do not fit into the memory",
            config.asked_connections
        ));
    }
}

/// Prints where requests are accepted. Call it only when every core accepts them.
pub fn listening(config: &Config, address: SocketAddr, ports: &[u16]) {
    for (slice, port) in ports.iter().enumerate().filter(|_| config.slices > 1) {
        print_line(&format!("slice {slice}: CPU {}, port {port}", config.cpu_of(slice)));
    }
    print_line(&format!("listening on {address}"));
    print_line(&format!("try: {}", example(address)));
}

/// Commands that feed one entry and read it back.
fn example(address: SocketAddr) -> String {
    let entry = concat!(
        r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","#,
        r#""direction":"credit","amount":500,"at_ms":1763900000000}"#
    );
    format!(
        "curl -H 'content-type: application/x-ndjson' -d '{entry}' http://{address}/v1/entries; \
         curl http://{address}/v1/users/42/balance"
    )
}
