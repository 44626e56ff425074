//! Progress: what a connection, or a piece of its work, waits for.

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// The next request: none has begun.
    #[default]
    Idle,
    /// The rest of a request.
    Unfinished,
    /// The next turn: it has work that can proceed.
    Ready,
    /// The log, or a credit at another core: it has work that cannot proceed before.
    Blocked,
    /// Replies of other cores.
    Waiting,
    /// Nothing: all work is done.
    Done,
}

impl Progress {
    /// Whether there is work for this turn or a later one.
    #[inline]
    pub const fn has_work(self) -> bool {
        matches!(self, Self::Ready | Self::Blocked)
    }

    /// Whether newly received bytes have to be buffered.
    #[inline]
    pub const fn holds_input(self) -> bool {
        matches!(self, Self::Ready | Self::Blocked | Self::Waiting)
    }
}
