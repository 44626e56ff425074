//! Read of one user: what a read request, or one item of a batch, asks for; and lists of reads.

use crate::decimal;
use crate::ledger::amount::{Currency, KIND_BYTES, is_kind};
use crate::ledger::id::{ListedId, UserId};
use crate::ledger::time::{Millis, Range, Window};
use crate::ledger::user::User;

/// A read of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read<'a> {
    /// The user to read.
    pub user: UserId<'a>,
    /// Restricts the read to one currency.
    pub currency: Option<Currency>,
    /// Balances or statistics.
    pub what: What,
}

/// Subject of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The balances.
    Balance,
    /// What was posted before an instant: the first one from this time on at which it is known.
    BalanceAt(Millis),
    /// Statistics.
    Stats {
        /// Length of the time window.
        window: Window,
        /// A time in the last bucket of the window; `None` is now.
        at: Option<Millis>,
        /// Restricts the statistics to one kind.
        kind: Option<KindFilter>,
    },
}

/// A read in a list.
#[derive(Clone, Copy, Debug)]
pub struct ListedRead {
    user: ListedId,
    currency: Option<Currency>,
    what: What,
}

impl ListedRead {
    /// The form of a read in a list with this buffer of texts.
    #[inline]
    pub fn new(read: Read<'_>, texts: &mut Vec<u8>) -> Self {
        let Read { user, currency, what } = read;
        Self { user: ListedId::new(user, texts), currency, what }
    }

    /// The read. `texts` is what it was created with.
    #[inline]
    pub fn of(self, texts: &[u8]) -> Read<'_> {
        let Self { user, currency, what } = self;
        Read { user: user.of(texts), currency, what }
    }

    /// The user to read.
    #[inline]
    pub fn user<'t>(&self, texts: &'t [u8]) -> UserId<'t> {
        self.user.of(texts)
    }
}

/// A list of reads.
#[derive(Debug, Default)]
pub struct Reads {
    reads: Vec<ListedRead>,
    texts: Vec<u8>,
}

impl Reads {
    /// Adds a read.
    pub fn push(&mut self, read: Read<'_>) {
        self.reads.push(ListedRead::new(read, &mut self.texts));
    }

    /// The read at index `at`.
    #[inline]
    pub fn get(&self, at: usize) -> Read<'_> {
        self.reads[at].of(&self.texts)
    }

    /// Number of reads.
    pub const fn len(&self) -> usize {
        self.reads.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// The reads, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Read<'_>> {
        self.reads.iter().map(|read| read.of(&self.texts))
    }

    /// The reads as they are listed: see [`Self::user`].
    pub fn listed(&self) -> &[ListedRead] {
        &self.reads
    }

    /// The user of a read of this list.
    #[inline]
    pub fn user(&self, read: &ListedRead) -> UserId<'_> {
        read.user(&self.texts)
    }

    /// Removes all reads. Keeps the memory.
    pub fn clear(&mut self) {
        self.reads.clear();
        self.texts.clear();
    }

    /// Capacity of its buffers, in bytes.
    pub const fn capacity_bytes(&self) -> usize {
        self.reads.capacity() * size_of::<ListedRead>() + self.texts.capacity()
    }
}

impl Read<'_> {
    /// The time range of the rows that the answer about a user needs; `None` if it needs none.
    /// `now` replaces a missing `at_ms`.
    pub fn rows(&self, user: &User, now: Millis) -> Option<Range> {
        match self.what {
            What::Balance | What::Stats { window: Window::Lifetime, .. } => None,
            What::BalanceAt(at) => Some(user.range_from(user.instant(at))),
            What::Stats { window, at, .. } => Some(user.range(window, at.unwrap_or(now))),
        }
    }
}

/// Name of a kind, stored by value: a read outlives the bytes that it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KindFilter {
    bytes: [u8; KIND_BYTES],
    len: u8,
}

impl KindFilter {
    /// Parses a kind; `None` if `text` has not the form of one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        is_kind(text).then(|| {
            let mut bytes = [0; KIND_BYTES];
            bytes[..text.len()].copy_from_slice(text);
            Self { bytes, len: text.len() as u8 }
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("a kind is ASCII")
    }
}

impl std::fmt::Debug for KindFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses a time in milliseconds: a decimal integer without sign or leading zeros, up to the end of
/// the year 9999.
pub fn millis(digits: &[u8]) -> Option<Millis> {
    decimal::parse(digits).and_then(Millis::new)
}
