//! Startup messages: what was found and is in force, and, once it is true, where requests are
//! accepted.

use super::super::text::{count_noun, print_line};
use crate::config::cpus::CpuList;
use crate::config::settings::Config;
use crate::engine::net::{Ports, client_ports};
use crate::engine::probe::Kernel;
use std::net::{Ipv4Addr, SocketAddr};

const MIB: usize = 1 << 20;

/// Prints the kernel, CPUs, memory and limits in force.
pub fn found(config: &Config, kernel: &Kernel, descriptors: usize) {
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
    let (asked, connections) = (config.asked_connections, config.limits.connections);
    if connections < config.connections_within_descriptors {
        print_line(&format!(
            "limits: {connections} connections a slice instead of {asked} (--max-connections), \
             because no more fit into the memory: raise --memory-mib or lower --max-connections"
        ));
    } else if connections < asked {
        print_line(&format!(
            "limits: {connections} connections a slice instead of {asked} (--max-connections), \
             because {descriptors} open descriptors, the hard limit, leave no more beside those \
             of files: raise it (ulimit -Hn, LimitNOFILE= of the service) or lower \
             --max-connections"
        ));
    }
}

/// Warns of slices without the port that they should have, and of ports that a restart may find
/// taken.
pub fn warn_of_ports(config: &Config, ports: &Ports) {
    for (slice, failure) in ports.missing() {
        tracing::warn!(
            "slice {slice} has no port of its own: {failure}; its users are served on the common \
             port, and --no-slice-ports does without own ports"
        );
    }
    let first = config.listen.port();
    let last = if config.own_ports { first + config.slices as u16 } else { first };
    if let Some(range) =
        client_ports().filter(|range| first <= *range.end() && *range.start() <= last)
        && first > 0
    {
        let (start, end) = range.into_inner();
        tracing::warn!(
            "ports {first} to {last} overlap those of clients, {start} to {end} \
             (net.ipv4.ip_local_port_range): a restart may find them taken; choose a --listen port \
             outside"
        );
    }
}

/// Prints where requests are accepted. Call it only when every core accepts them.
pub fn listening(config: &Config, address: SocketAddr, ports: &[Option<u16>]) {
    for (slice, port) in ports.iter().enumerate().filter(|_| config.slices > 1) {
        let port = port.map_or("no port of its own".to_owned(), |port| format!("port {port}"));
        print_line(&format!("slice {slice}: CPU {}, {port}", config.cpu_of(slice)));
    }
    print_line(&format!("listening on {address}"));
    print_line(&format!("try: {}", example(address)));
}

/// Commands that feed one entry and read it back.
fn example(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let entry = concat!(
        r#"{"entry_id":"1","user_id":"42","currency":"COIN","kind":"topup","#,
        r#""direction":"credit","amount":500,"at_ms":1763900000000}"#
    );
    format!(
        "curl -H 'content-type: application/x-ndjson' -d '{entry}' http://{address}/v1/entries; \
         curl http://{address}/v1/users/42/balance"
    )
}
