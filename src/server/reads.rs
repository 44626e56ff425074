//! Reads that were parsed and are not answered yet.
//!
//! All reads that a turn has received are parsed first, which starts the look-up of each user; then
//! they are answered. So the cache misses of different connections overlap. A read is kept by
//! value: the bytes that it came from may be gone.

use super::machine::Slot;
use super::topology::Owned;
use crate::api::read::Read;
use crate::http::response::Persist;

/// A read of one connection.
#[derive(Clone, Copy, Debug)]
pub struct PendingRead {
    /// The connection.
    pub slot: Slot,
    /// The owner of the user. For another core's, a credit was taken.
    pub owner: Owned,
    /// The read.
    pub read: Read,
    /// What becomes of the connection.
    pub persist: Persist,
    /// Whether it is a HEAD.
    pub head_only: bool,
    /// Where its `If-None-Match` lies in the conditions; empty if there is none.
    condition: (u32, u32),
}

/// Reads of one core, in the order in which they were received.
#[derive(Debug, Default)]
pub struct PendingReads {
    reads: Vec<PendingRead>,
    /// The bytes of all conditions.
    conditions: Vec<u8>,
}

impl PendingReads {
    /// Adds a read.
    #[inline]
    pub fn push(
        &mut self,
        (slot, owner): (Slot, Owned),
        read: Read,
        (persist, head_only): (Persist, bool),
        condition: Option<&[u8]>,
    ) {
        let start = self.conditions.len() as u32;
        if let Some(condition) = condition {
            self.conditions.extend_from_slice(condition);
        }
        let condition = (start, self.conditions.len() as u32);
        self.reads.push(PendingRead { slot, owner, read, persist, head_only, condition });
    }

    /// The reads.
    #[inline]
    pub fn reads(&self) -> &[PendingRead] {
        &self.reads
    }

    /// The condition of a read.
    #[inline]
    pub fn condition(&self, read: &PendingRead) -> Option<&[u8]> {
        let (start, end) = read.condition;
        (start < end).then(|| &self.conditions[start as usize..end as usize])
    }

    /// Forgets them all: they are answered.
    #[inline]
    pub fn clear(&mut self) {
        self.reads.clear();
        self.conditions.clear();
    }
}
