//! Facts about the machine for a kept result: enough to judge the figures, without paths and host
//! names.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// State of the host at the start of a suite, for the facts at its end.
pub struct Host {
    load: String,
    ticks: Option<Ticks>,
}

/// CPU ticks of all cores since boot, from the first line of /proc/stat.
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Host {
    pub fn look() -> Self {
        Self { load: read("/proc/loadavg").unwrap_or_default(), ticks: Ticks::now() }
    }

    /// The facts as a Markdown list, one per line.
    pub fn facts(&self) -> String {
        let unknown = || "not visible".to_owned();
        let fact = |name: &str, value: Option<String>| {
            format!("- {name}: {}\n", value.unwrap_or_else(unknown))
        };
        let load: Vec<&str> = self.load.split(' ').take(3).collect();
        [
            fact("commit", commit()),
            fact("kernel", read("/proc/sys/kernel/osrelease")),
            fact("CPU", cpu_model()),
            fact("memory", memory()),
            fact("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            fact(
                "polling before a virtual CPU halts, ns",
                read("/sys/module/haltpoll/parameters/guest_halt_poll_ns"),
            ),
            fact("transparent huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
            fact("load average at the start", Some(load.join(" "))),
            fact("CPU time stolen by the hypervisor during the suite", self.stolen()),
            fact("load tool", wrk_version()),
        ]
        .concat()
    }

    fn stolen(&self) -> Option<String> {
        let (before, now) = (self.ticks.as_ref()?, Ticks::now()?);
        let share = (now.stolen - before.stolen) as f64 / (now.all - before.all).max(1) as f64;
        Some(format!("{:.2} %", share * 100.0))
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let fields = stat.lines().next()?.split_ascii_whitespace().skip(1);
        // user nice system idle iowait irq softirq steal; guest time is in user already
        let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
        Some(Self { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
    }
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        info.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim()))
    };
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    Some(format!("{}, {cores} cores visible", field("model name")?))
}

fn memory() -> Option<String> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let kib =
        info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))?;
    Some(format!("{:.1} GiB", kib.trim().parse::<f64>().ok()? / 1_048_576.0))
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output =
            Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { commit } else { format!("{commit}, with changes") })
}

/// `wrk -v` prints its version, and its usage after it.
fn wrk_version() -> Option<String> {
    let output = Command::new("wrk").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next()?.split(" Copyright").next()?.trim().to_owned())
}

/// Whether a program is on the PATH.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Today's date in UTC as YYYY-MM-DD. The conversion from days is Howard Hinnant's,
/// "chrono-Compatible Low-Level Date Algorithms".
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = seconds / 86_400 + 719_468; // from 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let date = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + u64::from(month >= 10), (month + 2) % 12 + 1);
    format!("{year:04}-{month:02}-{date:02}")
}
