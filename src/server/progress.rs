//! Progress: what a connection, or a piece of its work, waits for.

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// The next request: nothing is under way.
    #[default]
    Idle,
    /// The rest of a request.
    Unfinished,
    /// The next turn: there is work at hand.
    Ready,
    /// The log, or a credit at another core: there is work at hand, and it makes no headway before.
    Blocked,
    /// Replies of other cores.
    Waiting,
    /// Nothing: all is done.
    Done,
}

impl Progress {
    /// Whether there is work at hand, for this turn or a later one.
    #[inline]
    pub const fn has_work(self) -> bool {
        matches!(self, Self::Ready | Self::Blocked)
    }

    /// Whether new bytes have to wait.
    #[inline]
    pub const fn holds_input(self) -> bool {
        matches!(self, Self::Ready | Self::Blocked | Self::Waiting)
    }
}
