//! File system of a data directory: shortages, such as of space, and copy on write.
//!
//! On most file systems a write over bytes that were written before needs no further space. A
//! copy-on-write file system puts it elsewhere, so a full disk can refuse it.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, statfs};
use std::fs::File;
use std::io;
use std::path::Path;

/// Copy-on-write file systems, by the magic number of `statfs(2)`.
const COPY_ON_WRITE: [(u64, &str); 3] =
    [(0x9123_683e, "btrfs"), (0xca45_1a4e, "bcachefs"), (0x2fc1_2fc1, "ZFS")];

/// Whether an error says that the system is short of something which may be there again later:
/// space, a quota, descriptors or memory.
pub fn is_shortage(error: &io::Error) -> bool {
    let shortages =
        [libc::ENOSPC, libc::EDQUOT, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}

/// The name of the file system that holds `path`, if it is a copy-on-write file system.
pub fn copy_on_write(path: &Path) -> Option<&'static str> {
    #[expect(clippy::cast_sign_loss, reason = "a magic number is 32 bits")]
    let magic = statfs(path).ok()?.f_type as u64 & u64::from(u32::MAX);
    COPY_ON_WRITE.iter().find(|(number, _)| *number == magic).map(|&(_, name)| name)
}

/// Turns copy on write off for a file that is still empty, where the file system can: btrfs. Its
/// checksums of the file's bytes are off, too; a frame has its own.
pub fn write_in_place(file: &File) {
    // Other file systems refuse the flag, and write in place anyway or always copy.
    if let Ok(flags) = ioctl_getflags(file) {
        let _ = ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortages_are_told_from_failures() {
        let is_shortage = |code| is_shortage(&io::Error::from_raw_os_error(code));
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EMFILE, libc::ENOMEM] {
            assert!(is_shortage(code), "{code}");
        }
        for code in [libc::EIO, libc::EROFS, libc::EINVAL, libc::EFBIG, libc::ENODEV] {
            assert!(!is_shortage(code), "{code}");
        }
        assert_eq!(copy_on_write(Path::new("/proc")), None);
    }
}
