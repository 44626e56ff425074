//! The life of a core among the others: loading, serving, draining, at rest. Known here and nowhere
//! else.
//!
//! ```text
//!  loading ── all cores have loaded ──▶ serving ── drain ──▶ draining ── no connection, nothing asked ──▶ at rest
//!     └────────────────────────────── drain ────────────────────▲          all cores at rest ──▶ done
//! ```

use crate::api::problem::Code;

/// Where a core is in its life, and what it knows of the others.
#[derive(Debug)]
pub struct Lifecycle {
    cores: u32,
    /// Cores that have loaded all their slices, this one included.
    loaded: u32,
    /// Cores that are at rest, this one included.
    at_rest: u32,
    /// Whether this core has said that it is at rest.
    is_at_rest: bool,
    draining_since_ms: Option<u64>,
}

impl Lifecycle {
    /// One of so many cores, which has nothing loaded yet.
    pub const fn new(cores: u32) -> Self {
        Self { cores, loaded: 0, at_rest: 0, is_at_rest: false, draining_since_ms: None }
    }

    /// One more core has loaded. Returns whether it was the last.
    pub fn core_loaded(&mut self) -> bool {
        self.loaded += 1;
        assert!(self.loaded <= self.cores, "each core loads once");
        self.loaded == self.cores
    }

    /// One more core is at rest.
    pub fn core_at_rest(&mut self) {
        self.at_rest += 1;
        assert!(self.at_rest <= self.cores, "each core comes to rest once");
    }

    /// This core has no connection and asks nothing any more. Returns whether that is news.
    pub fn rest(&mut self) -> bool {
        let is_news = !std::mem::replace(&mut self.is_at_rest, true);
        if is_news {
            self.core_at_rest();
        }
        is_news
    }

    /// Whether this core has said that it asks nothing any more.
    pub const fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// Whether no core asks anything any more.
    pub const fn all_at_rest(&self) -> bool {
        self.at_rest == self.cores
    }

    /// The core begins to drain. Returns whether it did not drain before.
    pub fn drain(&mut self, now_ms: u64) -> bool {
        let is_news = self.draining_since_ms.is_none();
        self.draining_since_ms.get_or_insert(now_ms);
        is_news
    }

    /// Since when the core drains, in milliseconds of the monotonic clock.
    pub const fn draining_since_ms(&self) -> Option<u64> {
        self.draining_since_ms
    }

    /// Why a new request is refused. A core that was told to drain while it was loading refuses as
    /// before: there is nothing that it could finish.
    #[inline]
    pub const fn refusal(&self) -> Option<Code> {
        if self.loaded < self.cores {
            Some(Code::Recovering)
        } else if self.draining_since_ms.is_some() {
            Some(Code::Draining)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_between_the_last_load_and_the_drain() {
        let mut life = Lifecycle::new(2);
        assert!(!life.core_loaded());
        assert_eq!(life.refusal(), Some(Code::Recovering));
        assert!(life.core_loaded());
        assert_eq!(life.refusal(), None);
        assert!(life.drain(7) && !life.drain(9));
        assert_eq!((life.refusal(), life.draining_since_ms()), (Some(Code::Draining), Some(7)));
        assert!(life.rest() && !life.rest() && !life.all_at_rest());
        life.core_at_rest();
        assert!(life.all_at_rest());
    }
}
