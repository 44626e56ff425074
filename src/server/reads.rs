//! Pending reads: parsed, not answered yet.
//!
//! All reads received in a turn are parsed first, and parsing a read starts the lookup of its user.
//! Then they are answered. So cache misses of different connections overlap. A read is stored by
//! value, with what it refers to, because the receive buffer that it was parsed from may already be
//! recycled.

use super::machine::Slot;
use super::topology::Location;
use crate::api::read::{ListedRead, Read};
use crate::http::response::Persist;
use crate::ledger::id::UserId;

/// A pending read of one connection.
#[derive(Clone, Copy, Debug)]
pub struct PendingRead {
    /// Its connection.
    pub slot: Slot,
    /// The owner of its user. If that is another core, a credit was taken.
    pub owner: Location,
    /// What is read: see [`PendingReads::asked`].
    read: ListedRead,
    /// Whether the connection stays open after the answer.
    pub persist: Persist,
    /// Whether it is a HEAD request.
    pub head_only: bool,
    /// Range of its conditions in the texts of all reads; empty if absent.
    conditions: (u32, u32),
}

/// Pending reads of one core, in order of arrival.
#[derive(Debug, Default)]
pub struct PendingReads {
    reads: Vec<PendingRead>,
    /// User ids that are texts, and the conditions of all reads: see
    /// [`Head::conditions`](crate::http::request::Head).
    texts: Vec<u8>,
}

impl PendingReads {
    /// Adds a read.
    #[inline]
    pub fn push(
        &mut self,
        (slot, owner): (Slot, Location),
        read: Read<'_>,
        (persist, head_only): (Persist, bool),
        conditions: Option<&[u8]>,
    ) {
        let read = ListedRead::new(read, &mut self.texts);
        let start = self.texts.len() as u32;
        if let Some(lines) = conditions {
            self.texts.extend_from_slice(lines);
        }
        let conditions = (start, self.texts.len() as u32);
        self.reads.push(PendingRead { slot, owner, read, persist, head_only, conditions });
    }

    /// The pending reads.
    #[inline]
    pub fn reads(&self) -> &[PendingRead] {
        &self.reads
    }

    /// What a pending read reads.
    #[inline]
    pub fn asked(&self, read: &PendingRead) -> Read<'_> {
        read.read.of(&self.texts)
    }

    /// The user of a pending read.
    #[inline]
    pub fn user(&self, read: &PendingRead) -> UserId<'_> {
        read.read.user(&self.texts)
    }

    /// The conditions of a read.
    #[inline]
    pub fn conditions(&self, read: &PendingRead) -> Option<&[u8]> {
        let (start, end) = read.conditions;
        (start < end).then(|| &self.texts[start as usize..end as usize])
    }

    /// Removes all reads, which must have been answered.
    #[inline]
    pub fn clear(&mut self) {
        self.reads.clear();
        self.texts.clear();
    }
}
