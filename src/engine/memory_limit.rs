//! Memory limit of this process: the machine's memory or the limit of a control group.

/// The memory that this process may use, in bytes: the minimum of the machine's memory and the
/// limits of its control groups.
pub fn bytes() -> usize {
    let memory = rustix::system::sysinfo();
    let machine = memory.totalram as usize * memory.mem_unit as usize;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().flat_map(group_limits).fold(machine, usize::min)
}

/// The limits in one line of `/proc/self/cgroup`: those of its group and of all groups above it.
/// Supports version 2, and version 1's `memory` controller.
fn group_limits(line: &str) -> Vec<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|c| c == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let groups = std::iter::successors(Some(path.trim_end_matches('/')), |p| {
        p.rsplit_once('/').map(|(up, _)| up)
    });
    groups
        .filter_map(|group| std::fs::read_to_string(format!("{root}{group}/{file}")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_over_16_mib() {
        assert!(bytes() > 1 << 24);
    }
}
