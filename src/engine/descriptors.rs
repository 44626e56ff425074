//! Limit of open file descriptors. Each connection takes one, and so does each file.

use super::Failure;
use std::io;

/// Raises the soft limit to the hard one, and returns it.
pub fn raise_limit() -> Result<u64, Failure> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives both calls.
    let result = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
        } else {
            -1
        }
    };
    if result == 0 {
        Ok(limit.rlim_cur)
    } else {
        Err(Failure::new("raise", "the limit of open descriptors", io::Error::last_os_error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raised_limit_is_at_least_64() {
        assert!(raise_limit().unwrap() >= 64);
    }
}
