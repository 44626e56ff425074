//! Operations: `user_data` encodes the kind of an operation, its slot and the slot's generation.

/// The kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// Accept on a listener.
    Accept = 1,
    /// Multishot receive on a connection.
    Receive,
    /// A send of a connection's buffer.
    Send,
    /// Shutdown of a connection's sending side.
    Shutdown,
    /// Cancellation of another operation; its own result is ignored.
    Cancel,
    /// Poll of the event descriptor by which other threads wake this core.
    Wake,
    /// Tick of the ring's timer.
    Tick,
}

/// An operation: its kind, and the slot and generation that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The kind of operation.
    pub kind: OpKind,
    /// The connection's slot, or the listener's number; 0 if there is neither.
    pub slot: u32,
    /// The lower 24 bits of the slot's generation, which tells its uses apart.
    pub generation: u32,
}

/// Mask of a generation: generations count modulo 2^24.
pub const GENERATION_MASK: u32 = (1 << 24) - 1;

impl Op {
    /// An operation that belongs to no connection.
    pub const fn of_core(kind: OpKind) -> Self {
        Self { kind, slot: 0, generation: 0 }
    }

    /// Encodes the operation as `user_data`: kind in the upper 8 bits, generation in the next 24,
    /// slot in the lower 32.
    pub const fn encode(self) -> u64 {
        (self.kind as u64) << 56
            | ((self.generation & GENERATION_MASK) as u64) << 32
            | self.slot as u64
    }

    /// Decodes `user_data`; `None` if its kind is unknown.
    pub const fn decode(user_data: u64) -> Option<Self> {
        let kind = match (user_data >> 56) as u8 {
            1 => OpKind::Accept,
            2 => OpKind::Receive,
            3 => OpKind::Send,
            4 => OpKind::Shutdown,
            5 => OpKind::Cancel,
            6 => OpKind::Wake,
            7 => OpKind::Tick,
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
    fn an_encoded_operation_decodes_to_itself() {
        for kind in [
            OpKind::Accept,
            OpKind::Receive,
            OpKind::Send,
            OpKind::Shutdown,
            OpKind::Cancel,
            OpKind::Wake,
            OpKind::Tick,
        ] {
            let op = Op { kind, slot: 0xdead_beef, generation: GENERATION_MASK };
            assert_eq!(Op::decode(op.encode()), Some(op));
        }
        assert_eq!(Op::decode(0), None);
        assert_eq!(Op::decode(u64::MAX), None);
    }
}
