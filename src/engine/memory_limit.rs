//! Memory limit of this process: the machine's memory or the limit of a control group; and the
//! limit of its address space.

use rustix::process::{Resource, getrlimit};

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// The memory that this process may use, in bytes: the minimum of the machine's memory and the
/// limits of its control groups: `memory.max`, and `memory.high`, above which the kernel slows the
/// process down.
pub fn bytes() -> usize {
    let memory = rustix::system::sysinfo();
    let machine = memory.totalram as usize * memory.mem_unit as usize;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().flat_map(|line| group_limits(ROOT, line)).fold(machine, usize::min)
}

/// The limits in one line of `/proc/self/cgroup`: those of its group and of all groups above it.
/// Supports version 2, and version 1's `memory` controller.
fn group_limits(root: &str, line: &str) -> Vec<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    // Where both versions are mounted, version 2 is at `unified`.
    let files: &[(&str, &str)] = match controllers {
        "" => &[
            ("", "memory.max"),
            ("", "memory.high"),
            ("/unified", "memory.max"),
            ("/unified", "memory.high"),
        ],
        _ if controllers.split(',').any(|c| c == "memory") => {
            &[("/memory", "memory.limit_in_bytes")]
        }
        _ => return Vec::new(),
    };
    let groups = std::iter::successors(Some(path.trim_end_matches('/')), |p| {
        p.rsplit_once('/').map(|(up, _)| up)
    });
    groups
        .flat_map(|group| files.iter().map(move |(mount, file)| format!("{mount}{group}/{file}")))
        .filter_map(|path| std::fs::read_to_string(format!("{root}{path}")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .collect()
}

/// What a limit of the address space (`ulimit -v`) leaves to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// The limit in bytes.
    pub limit_bytes: usize,
    /// Bytes that are not mapped yet.
    pub left_bytes: usize,
    /// Bytes that a further thread maps, besides its work.
    pub thread_bytes: usize,
}

/// Stack of a thread.
const STACK_BYTES: usize = 2 << 20;
/// Smallest piece of the common heap that a thread takes.
const HEAP_BYTES: usize = 32 << 20;
/// Piece of the common heap that mimalloc reserves for all threads when a program begins. Where the
/// limit does not allow that, each thread maps its own.
const RESERVE_BYTES: usize = 1 << 30;

impl AddressSpace {
    /// No limit.
    pub const UNLIMITED: Self =
        Self { limit_bytes: usize::MAX, left_bytes: usize::MAX, thread_bytes: 0 };

    /// What is left to this process, which has one thread.
    pub fn left() -> Self {
        let Some(limit) = getrlimit(Resource::As).current else { return Self::UNLIMITED };
        let limit_bytes = limit as usize;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kib = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse().ok());
        let mapped_bytes = kib.unwrap_or(0_usize) << 10;
        let heap_bytes = if mapped_bytes > RESERVE_BYTES { 0 } else { HEAP_BYTES };
        Self {
            limit_bytes,
            left_bytes: limit_bytes.saturating_sub(mapped_bytes),
            thread_bytes: STACK_BYTES + heap_bytes,
        }
    }
}

/// Makes all threads share one heap of the C library, which needs little: each would otherwise
/// reserve 64 MiB of address space. Call it before the first thread starts.
pub fn share_libc_heap() {
    // SAFETY: it sets a number of an allocator that only the C library itself uses.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_address_space_leaves_what_is_not_mapped() {
        let limit = getrlimit(Resource::As).current;
        let left = AddressSpace::left();
        assert!(limit.map_or(left == AddressSpace::UNLIMITED, |limit| {
            left.left_bytes < limit as usize && left.thread_bytes >= STACK_BYTES
        }));
    }

    #[test]
    fn the_limit_is_over_16_mib() {
        assert!(bytes() > 1 << 24);
    }

    /// Every limit of the group and of all groups above it counts, in both versions.
    #[test]
    fn limits_of_all_groups_above_are_found() {
        let root = std::env::temp_dir().join(format!("purser-limits-{}", std::process::id()));
        for (file, limit) in [
            ("a/b/memory.max", "max"),
            ("a/b/memory.high", "300"),
            ("a/memory.max", "200"),
            ("memory/a/b/memory.limit_in_bytes", "9223372036854771712"),
            ("memory/a/memory.limit_in_bytes", "100"),
            ("unified/a/memory.high", "250"),
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{limit}\n")).unwrap();
        }
        let limits = |line| group_limits(root.to_str().unwrap(), line);
        assert_eq!(limits("0::/a/b"), [300, 200, 250]);
        assert_eq!(limits("4:memory:/a/b"), [9_223_372_036_854_771_712, 100]);
        assert_eq!(limits("4:cpu,memory:/a/"), [100]);
        assert!(limits("3:cpuset:/a/b").is_empty());
        std::fs::remove_dir_all(root).unwrap();
    }
}
