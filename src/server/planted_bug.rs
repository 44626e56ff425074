//! Planted bugs: scheduling mistakes that a test injects ([`super::core::Server::plant_bug`]) to
//! show that the simulation finds them. A server that ships has none.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// An answer is sent before the log position that it shows is durable.
    UndurableAnswer,
    /// A credit taken for a scatter-gather is not returned when another core has none.
    LeakedCredit,
    /// Requests to the last slice of a core wait as long as the first slice has any.
    StarvedSlice,
    /// A slice applies one entry too many in a turn.
    LongTurn,
    /// A reply is larger than the bytes reserved for it.
    LargeReply,
    /// A draining core is done while it has a request outstanding at another core.
    ForgottenRequest,
}
