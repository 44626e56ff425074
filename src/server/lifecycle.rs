//! Lifecycle of a core among the others: loading, serving, draining, at rest. No other module keeps
//! this state. A lame duck serves or loads as before; only `/readyz` tells.
//!
//! ```text
//!  loading ── all cores have loaded ──▶ serving ── drain ──▶ draining
//!     └────────────────────────── drain ────────────────────────▲
//!  draining ── no connection, no outstanding request ──▶ at rest ── all cores at rest ──▶ done
//! ```

use crate::api::problem::Code;
use crate::http::response::Persist;

/// The lifecycle state of a core, and what it knows of the others.
#[derive(Debug)]
pub struct Lifecycle {
    cores: u32,
    /// Cores that have loaded all their slices, including this one.
    loaded: u32,
    /// Cores at rest, including this one.
    at_rest: u32,
    /// Whether this core is at rest, and has told the others.
    is_at_rest: bool,
    /// Whether no new clients are wanted.
    is_lame_duck: bool,
    draining_since_ms: Option<u64>,
}

impl Lifecycle {
    /// Creates the lifecycle of one of `cores` cores; nothing is loaded yet.
    pub const fn new(cores: u32) -> Self {
        Self {
            cores,
            loaded: 0,
            at_rest: 0,
            is_at_rest: false,
            is_lame_duck: false,
            draining_since_ms: None,
        }
    }

    /// Counts a core that has loaded. Returns whether it was the last.
    pub fn core_loaded(&mut self) -> bool {
        self.loaded += 1;
        assert!(self.loaded <= self.cores, "each core loads once");
        self.loaded == self.cores
    }

    /// Counts a core that is at rest.
    pub fn core_at_rest(&mut self) {
        self.at_rest += 1;
        assert!(self.at_rest <= self.cores, "each core comes to rest once");
    }

    /// Marks this core at rest: it has no connection and no outstanding request. Returns whether it
    /// was not at rest before.
    pub fn mark_at_rest(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.is_at_rest, true);
        if is_new {
            self.core_at_rest();
        }
        is_new
    }

    /// Whether this core is at rest.
    pub const fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// Whether all cores are at rest.
    pub const fn all_at_rest(&self) -> bool {
        self.at_rest == self.cores
    }

    /// Becomes a lame duck: no new clients are wanted.
    pub const fn lame_duck(&mut self) {
        self.is_lame_duck = true;
    }

    /// Begins to drain. Returns whether the core did not drain before.
    pub fn drain(&mut self, now_ms: u64) -> bool {
        self.is_lame_duck = true;
        let is_new = self.draining_since_ms.is_none();
        self.draining_since_ms.get_or_insert(now_ms);
        is_new
    }

    /// When draining began, in milliseconds of the monotonic clock.
    pub const fn draining_since_ms(&self) -> Option<u64> {
        self.draining_since_ms
    }

    /// The reason to refuse requests, if there is one.
    #[inline]
    pub const fn refusal(&self) -> Option<Code> {
        if self.loaded < self.cores { Some(Code::Recovering) } else { None }
    }

    /// The reason why `/readyz` fails, if it does.
    pub const fn unreadiness(&self) -> Option<Code> {
        match self.refusal() {
            None if self.is_lame_duck => Some(Code::Draining),
            refusal => refusal,
        }
    }

    /// Whether a connection stays open after an answer. While the core drains, it does until the
    /// last request is answered that has been received on it.
    #[inline]
    pub const fn persist(&self, asked: Persist, is_last: bool) -> Persist {
        if is_last && self.draining_since_ms.is_some() { Persist::Close } else { asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_served_from_the_last_load_on() {
        let mut life = Lifecycle::new(2);
        assert!(!life.core_loaded());
        assert_eq!(life.refusal(), Some(Code::Recovering));
        life.lame_duck();
        assert_eq!(life.unreadiness(), Some(Code::Recovering));
        assert!(life.core_loaded());
        assert_eq!((life.refusal(), life.unreadiness()), (None, Some(Code::Draining)));
        assert_eq!(life.draining_since_ms(), None);
        assert_eq!(life.persist(Persist::Default, true), Persist::Default);
        assert!(life.drain(7) && !life.drain(9));
        assert_eq!((life.refusal(), life.draining_since_ms()), (None, Some(7)));
        assert_eq!(life.persist(Persist::Default, false), Persist::Default);
        assert_eq!(life.persist(Persist::Default, true), Persist::Close);
        assert!(life.mark_at_rest() && !life.mark_at_rest() && !life.all_at_rest());
        life.core_at_rest();
        assert!(life.all_at_rest());
    }
}
