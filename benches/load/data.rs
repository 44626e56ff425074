//! Data directories of durable servers, and the file system and device that they are on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Context, Result};

/// A directory that is removed with its contents when the value is dropped.
pub struct DataDir(PathBuf);

impl DataDir {
    /// Creates an empty directory below `below`, or below the target directory.
    pub fn new(below: Option<&Path>) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed); // only has to differ
        let below = below.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR")));
        let path = below.join(format!("purser-load-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).context(format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates a data directory for another server, beside this one, with the same log. Files are
    /// hard-linked, not copied; a server that writes less than a few dozen MiB of new log changes
    /// none of them.
    pub fn linked(&self) -> Result<Self> {
        let other = Self::new(self.0.parent())?;
        link(&self.0, &other.0).context(format!("linking the files of {}", self.0.display()))?;
        Ok(other)
    }

    /// Creates a copy beside this directory. It is synced before this returns, so no later
    /// write-back disturbs a measured start.
    pub fn copied(&self) -> Result<Self> {
        let other = Self::new(self.0.parent())?;
        copy(&self.0, &other.0).context(format!("copying {}", self.0.display()))?;
        Ok(other)
    }

    /// Number of the slice's current snapshot, by its manifest; 0 if there is none.
    pub fn snapshot(&self) -> Result<u64> {
        let manifest = self.0.join("generation-1/slice-0/manifest");
        let text =
            fs::read_to_string(&manifest).context(format!("reading {}", manifest.display()))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("snapshot "))
            .context("a manifest names a snapshot")?;
        line.split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .context("the number of a snapshot")
    }

    /// Total bytes of the slice's files whose names begin with `what`.
    pub fn bytes(&self, what: &str) -> Result<u64> {
        let slice = self.0.join("generation-1/slice-0");
        let mut bytes = 0;
        for entry in fs::read_dir(&slice).context(format!("listing {}", slice.display()))? {
            let entry = entry.context("listing a slice")?;
            if entry.file_name().to_string_lossy().starts_with(what) {
                bytes += entry.metadata().context("reading the size of a file")?.len();
            }
        }
        Ok(bytes)
    }

    /// The medium of the directory in one line: file system, device, write cache, and whether the
    /// device supports write-through (FUA).
    pub fn medium(&self) -> String {
        let unknown = || "not visible".to_owned();
        let device = fs::metadata(&self.0).map(|data| data.dev()).unwrap_or_default();
        let number = format!("{}:{}", libc::major(device), libc::minor(device));
        let system = mounted(&number).unwrap_or_else(unknown);
        let block = PathBuf::from(format!("/sys/dev/block/{number}"));
        let block = fs::canonicalize(&block).unwrap_or(block);
        let name =
            block.file_name().map_or_else(unknown, |name| name.to_string_lossy().into_owned());
        // A partition has no queue directory; its parent disk does.
        let queue = |fact: &str| {
            let of = |path: &Path| fs::read_to_string(path.join("queue").join(fact)).ok();
            let text = of(&block).or_else(|| of(block.parent()?));
            text.map_or_else(unknown, |text| text.trim().to_owned())
        };
        let (fua, cache, rotates) = (queue("fua"), queue("write_cache"), queue("rotational"));
        format!(
            "{system} on {name}; queue/fua {fua}, queue/write_cache {cache}, \
             queue/rotational {rotates}"
        )
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?, to.join(""));
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            link(&entry.path(), &to.join(name))?;
        } else if name == "lock" || name == "manifest" {
            // Each server needs its own lock, and manifests are small.
            fs::copy(entry.path(), to.join(name))?;
        } else {
            fs::hard_link(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// The file system mounted from the device with this number, by /proc/self/mountinfo.
fn mounted(number: &str) -> Option<String> {
    let list = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = list.lines().find(|line| line.split(' ').nth(2) == Some(number))?;
    Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
}
