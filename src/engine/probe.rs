//! Kernel probe: checks at the start that this kernel has what the event loop needs, so that a lack
//! is reported plainly and not found out under load.

use super::buffers::Buffers;
use super::ring::Ring;
use io_uring::{Probe, opcode};
use thiserror::Error;

/// A kernel that has everything.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
}

/// The features that a kernel lacks, and the remedy.
#[derive(Debug, Error)]
#[error(
    "this kernel ({release}) lacks what the event loop needs:\n\
     {}\
     Purser needs Linux 6.1 or later with io_uring allowed: see kernel.io_uring_disabled, the \
     seccomp profile if this is a container, and for want of memory the limit of locked memory \
     (ulimit -l; 8 MiB a core will do)",
    list(.what)
)]
pub struct Missing {
    release: String,
    what: Vec<String>,
}

fn list(what: &[String]) -> String {
    what.iter().map(|what| format!("  - {what}\n")).collect()
}

/// The operations that a core uses: code and name.
const OPERATIONS: [(u8, &str); 5] = [
    (opcode::Accept::CODE, "accept"),
    (opcode::RecvMulti::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::Shutdown::CODE, "shutdown"),
    (opcode::AsyncCancel::CODE, "cancel"),
];

/// Sets up a ring and buffers as a core does, and checks for the operations that a core uses.
pub fn probe() -> Result<Kernel, Missing> {
    let release =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let mut what = Vec::new();
    if version(&release).is_some_and(|version| version < (6, 1)) {
        what.push(
            "Linux 6.1 features: multishot receive into provided buffers, deferred task work"
                .to_owned(),
        );
    }
    match Ring::new() {
        Err(failure) => what.push(failure.to_string()),
        Ok(ring) => {
            let mut operations = Probe::new();
            match ring.submitter().register_probe(&mut operations) {
                Err(error) => what.push(format!("cannot list the supported operations: {error}")),
                Ok(()) => {
                    let lacking =
                        OPERATIONS.iter().filter(|(code, _)| !operations.is_supported(*code));
                    what.extend(lacking.map(|(_, name)| format!("the io_uring operation {name}")));
                }
            }
            what.extend(Buffers::new(ring.submitter()).err().map(|failure| failure.to_string()));
        }
    }
    if what.is_empty() { Ok(Kernel { release }) } else { Err(Missing { release, what }) }
}

/// The first two numbers of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_version() {
        assert_eq!(version("6.18.44-generic"), Some((6, 18)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("weird"), None);
    }
}
