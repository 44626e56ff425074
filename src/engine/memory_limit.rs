//! Memory limit of this process: the machine's memory or the limit of a control group.

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

#[cfg(test)]
mod tests {
    use super::*;

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
