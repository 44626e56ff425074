//! Kind names of one slice, interned: each kind gets a number on first use, and users refer to
//! kinds by number. Numbers are dense and never change; the set of kinds is open.

use super::cursor::{Cursor, Malformed};
use super::secret::Secret;
use hashbrown::HashTable;

/// Number of a kind in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u32);

impl KindId {
    /// Reads a kind number and checks that it is below `kinds`.
    pub(super) fn load(cursor: &mut Cursor<'_>, kinds: u32) -> Result<Self, Malformed> {
        let number = cursor.varint()?;
        Malformed::unless(number < u64::from(kinds), "a kind's number has a name")?;
        Ok(Self(number as u32))
    }
}

/// Kind numbering to use when a user is stored.
#[derive(Debug)]
pub(super) enum KindNumbering<'a> {
    /// Numbering of the user's own slice.
    SameSlice,
    /// Numbering of another slice, which assigns numbers to kinds that it does not have yet.
    OtherSlice { own: &'a Names, other: &'a mut Names },
}

impl KindNumbering<'_> {
    /// Translates a kind number of the user's slice.
    #[inline]
    pub(super) fn of(&mut self, kind: KindId) -> KindId {
        match self {
            Self::SameSlice => kind,
            Self::OtherSlice { own, other } => other.number(own.name(kind)),
        }
    }
}

/// Kinds of a slice, by number and by name.
#[derive(Debug, Default)]
pub struct Names {
    names: Vec<Box<str>>,
    by_name: HashTable<u32>,
    secret: Secret,
    bytes: usize,
}

impl Names {
    /// No kinds yet. `secret` keys the table.
    pub fn new(secret: Secret) -> Self {
        Self { secret, ..Self::default() }
    }

    /// Number of `name`, if it has one.
    pub fn find(&self, name: &str) -> Option<KindId> {
        self.by_name
            .find(self.secret.hash(name.as_bytes()), |&n| &*self.names[n as usize] == name)
            .map(|&n| KindId(n))
    }

    /// Number of `name`; assigns the next number if it has none.
    pub fn number(&mut self, name: &str) -> KindId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = u32::try_from(self.names.len()).expect("memory runs out long before 2^32 kinds");
        self.names.push(name.into());
        self.bytes += name.len() + size_of::<Box<str>>() + size_of::<u32>();
        let Self { names, by_name, secret, .. } = self;
        by_name.insert_unique(secret.hash(name.as_bytes()), id, |&n| {
            secret.hash(names[n as usize].as_bytes())
        });
        KindId(id)
    }

    /// Makes space for `kinds` kinds.
    pub(super) fn reserve(&mut self, kinds: usize) {
        let Self { names, by_name, secret, .. } = self;
        names.reserve_exact(kinds);
        by_name.reserve(kinds, |&n| secret.hash(names[n as usize].as_bytes()));
    }

    /// Name of a number returned by [`Self::number`].
    #[inline]
    pub fn name(&self, id: KindId) -> &str {
        &self.names[id.0 as usize]
    }

    /// Names in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.names.iter().map(|name| &**name)
    }

    /// The secret of its tables.
    #[inline]
    pub const fn secret(&self) -> Secret {
        self.secret
    }

    /// Number of kinds, which is the number that the next kind gets.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no kinds.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Estimated bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
