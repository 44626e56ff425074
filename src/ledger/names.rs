//! Kinds, numbered: an open vocabulary of words that users share.

use super::cursor::{Cursor, Malformed};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// The number of a kind in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u32);

impl KindId {
    /// Reads the number of one of `kinds`.
    pub(super) fn load(cursor: &mut Cursor<'_>, kinds: u32) -> Result<Self, Malformed> {
        let number = cursor.varint()?;
        Malformed::unless(number < u64::from(kinds), "a kind's number has a name")?;
        Ok(Self(number as u32))
    }
}

/// How kinds are numbered where a user is stored.
#[derive(Debug)]
pub(super) enum Numbers<'a> {
    /// As in the user's slice.
    Own,
    /// As in another slice, which gives a number to those that it lacks.
    Other { own: &'a Names, other: &'a mut Names },
}

impl Numbers<'_> {
    /// The number there of a kind of the user's slice.
    #[inline]
    pub(super) fn of(&mut self, kind: KindId) -> KindId {
        match self {
            Self::Own => kind,
            Self::Other { own, other } => other.number(own.name(kind)),
        }
    }
}

/// The kinds of a slice.
#[derive(Debug, Default)]
pub struct Names {
    names: Vec<Box<str>>,
    by_name: HashTable<u32>,
    bytes: usize,
}

impl Names {
    /// The number of `name`, if it has one.
    pub fn find(&self, name: &str) -> Option<KindId> {
        self.by_name
            .find(xxh3_64(name.as_bytes()), |&n| &*self.names[n as usize] == name)
            .map(|&n| KindId(n))
    }

    /// The number of `name`, given to it now if it had none.
    pub fn number(&mut self, name: &str) -> KindId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let id = u32::try_from(self.names.len())
            .expect("memory ends long before four thousand million kinds");
        self.names.push(name.into());
        self.bytes += name.len() + size_of::<Box<str>>() + size_of::<u32>();
        let Self { names, by_name, .. } = self;
        by_name.insert_unique(xxh3_64(name.as_bytes()), id, |&n| {
            xxh3_64(names[n as usize].as_bytes())
        });
        KindId(id)
    }

    /// The name of a number that [`Self::number`] gave.
    #[inline]
    pub fn name(&self, id: KindId) -> &str {
        &self.names[id.0 as usize]
    }

    /// The names in order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.names.iter().map(|name| &**name)
    }

    /// How many there are: the number that the next one gets.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }
}
