//! Limit of open file descriptors. Each connection takes one, and so does each file.

use super::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns it.
pub fn raise_limit() -> Result<usize, Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|error| Failure::new("raise", "the limit of open files", error.into()))?;
    Ok(limit.current.map_or(usize::MAX, |limit| limit as usize))
}

/// The number of descriptors that are open: the standard streams, and what this process inherited.
pub fn open() -> usize {
    // The listing itself takes one. Without `/proc`, the standard streams are assumed.
    std::fs::read_dir("/proc/self/fd").map_or(3, |list| list.count() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raised_limit_is_at_least_64() {
        assert!(raise_limit().unwrap() >= 64);
    }

    #[test]
    fn an_open_file_is_counted() {
        // Other tests open and close files meanwhile.
        let _files = [(); 100].map(|()| std::fs::File::open("/proc/self/stat").unwrap());
        assert!(open() >= 100);
    }
}
