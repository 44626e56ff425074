//! Limit of open file descriptors. Each connection takes one, and so does each file.

use super::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and returns it.
pub fn raise_limit() -> Result<u64, Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(|error| Failure::new("raise", "the limit of open files", error.into()))?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raised_limit_is_at_least_64() {
        assert!(raise_limit().unwrap() >= 64);
    }
}
