//! What a completion belongs to: every `user_data` carries the kind of operation, the slot and its
//! generation.

/// The kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Multishot accept on a listener.
    Accept = 1,
    /// Multishot receive on a connection.
    Receive,
    /// A send of a connection's buffer.
    Send,
    /// Shutdown of a connection's sending side.
    Shutdown,
    /// Cancellation of something else; its own outcome says nothing.
    Cancel,
    /// A poll of the event descriptor by which other threads wake this core.
    Wake,
    /// The tick of the ring's timer.
    Tick,
}

/// An operation: its kind, and which use of which slot it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What was asked.
    pub kind: Kind,
    /// The connection's slot, or the listener's number; 0 where there is none.
    pub slot: u32,
    /// Which use of the slot: the lower 24 bits of its generation.
    pub generation: u32,
}

/// Generations count modulo 2^24.
pub const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Op {
    /// An operation that belongs to no connection.
    pub const fn of_core(kind: Kind) -> Self {
        Self { kind, slot: 0, generation: 0 }
    }

    /// As `user_data`.
    pub const fn encode(self) -> u64 {
        (self.kind as u64) << 56
            | ((self.generation & GENERATION_MASK) as u64) << 32
            | self.slot as u64
    }

    /// From `user_data`; `None` if this loop never made it.
    pub const fn decode(user_data: u64) -> Option<Self> {
        let kind = match (user_data >> 56) as u8 {
            1 => Kind::Accept,
            2 => Kind::Receive,
            3 => Kind::Send,
            4 => Kind::Shutdown,
            5 => Kind::Cancel,
            6 => Kind::Wake,
            7 => Kind::Tick,
            _ => return None,
        };
        Some(Self {
            kind,
            slot: user_data as u32,
            generation: (user_data >> 32) as u32 & GENERATION_MASK,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for kind in [
            Kind::Accept,
            Kind::Receive,
            Kind::Send,
            Kind::Shutdown,
            Kind::Cancel,
            Kind::Wake,
            Kind::Tick,
        ] {
            let op = Op { kind, slot: 0xdead_beef, generation: GENERATION_MASK };
            assert_eq!(Op::decode(op.encode()), Some(op));
        }
        assert_eq!(Op::decode(0), None);
        assert_eq!(Op::decode(u64::MAX), None);
    }
}
