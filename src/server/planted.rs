//! Planted faults: mistakes that a scheduler could make. A test plants one
//! ([`super::core::Server::plant`]) and shows that the simulation finds it. A server that ships has
//! none.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// An answer leaves before the log position that it shows is durable.
    UndurableAnswer,
    /// A credit that was taken for a scatter-gather is not given back when another core has none.
    LeakedCredit,
    /// Requests to the last slice of a core wait as long as the first one has any.
    StarvedSlice,
    /// A slice applies one entry too many in a turn.
    LongTurn,
    /// A reply is larger than what was reserved for it.
    LargeReply,
    /// A core that drains is done while another one has not answered it yet.
    ForgottenRequest,
}
