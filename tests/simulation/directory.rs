//! Directory of one slice on the simulated disk: its files, and what of them is durable.

use purser::journal::{File, Place, manifest};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The name of a file in a slice's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Manifest,
    /// A file under its temporary name, renamed when complete.
    New,
    File(File),
}

/// Contents of a file, independent of its names.
#[derive(Clone, Debug, Default)]
pub struct Inode {
    pub durable: Vec<u8>,
    /// Writes that readers see, but that a power cut may lose.
    pub unsynced: Vec<(usize, Vec<u8>)>,
}

impl Inode {
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self { durable: bytes, unsynced: Vec::new() }
    }

    pub fn size(&self) -> usize {
        self.unsynced
            .iter()
            .map(|(at, bytes)| at + bytes.len())
            .max()
            .unwrap_or(0)
            .max(self.durable.len())
    }

    pub fn seen(&self) -> Cow<'_, [u8]> {
        let mut bytes = Cow::Borrowed(&self.durable[..]);
        self.unsynced.iter().for_each(|(at, written)| put(bytes.to_mut(), *at, written));
        bytes
    }

    /// Writes durably, over what an earlier attempt left.
    pub fn write_through(&mut self, at: usize, bytes: &[u8]) {
        let is_over =
            |from: usize, part: &[u8]| at <= from && from + part.len() <= at + bytes.len();
        self.unsynced.retain(|(from, part)| !is_over(*from, part));
        put(&mut self.durable, at, bytes);
    }

    pub fn sync(&mut self) {
        for (at, bytes) in std::mem::take(&mut self.unsynced) {
            put(&mut self.durable, at, &bytes);
        }
    }
}

pub fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A directory change that is not durable yet.
#[derive(Clone, Debug)]
pub enum Change {
    Link(Name, usize),
    Rename(Name, Name),
    Unlink(Name),
}

pub fn change(names: &mut BTreeMap<Name, usize>, change: &Change) {
    match *change {
        Change::Link(name, inode) => _ = names.insert(name, inode),
        Change::Unlink(name) => _ = names.remove(&name),
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

/// The directory of one slice.
#[derive(Clone, Debug)]
pub struct Directory {
    pub place: Place,
    pub inodes: Vec<Inode>,
    pub durable: BTreeMap<Name, usize>,
    pub seen: BTreeMap<Name, usize>,
    pub changes: Vec<Change>,
    /// Every manifest that the slice ever had.
    pub manifests: Vec<Vec<u8>>,
    /// Number of the last log write that was reported as durable.
    pub written: u64,
    /// Segment and offset of the next log write, if known.
    pub end: Option<(u64, u64)>,
}

impl Directory {
    /// A directory with the manifest of an empty slice.
    pub fn new(place: Place) -> Self {
        let mut directory = Self {
            place,
            inodes: Vec::new(),
            durable: BTreeMap::new(),
            seen: BTreeMap::new(),
            changes: Vec::new(),
            manifests: Vec::new(),
            written: 0,
            end: None,
        };
        let text = manifest::SliceManifest::default().write(place).into_bytes();
        directory.make(Name::Manifest, text.clone());
        directory.manifests.push(text);
        directory.sync();
        directory
    }

    /// The manifest as readers see it.
    pub fn manifest(&mut self) -> Option<manifest::SliceManifest> {
        let place = self.place;
        manifest::SliceManifest::decode(&self.inode(Name::Manifest)?.seen(), place).ok()
    }

    pub fn make(&mut self, name: Name, bytes: Vec<u8>) {
        self.inodes.push(Inode::holding(bytes));
        self.change(Change::Link(name, self.inodes.len() - 1));
    }

    pub fn change(&mut self, what: Change) {
        change(&mut self.seen, &what);
        self.changes.push(what);
    }

    pub fn sync(&mut self) {
        self.durable = self.seen.clone();
        self.changes.clear();
    }

    /// Rebuilds the visible entries: the durable ones and the changes after them.
    pub fn see_again(&mut self) {
        self.seen = self.durable.clone();
        self.changes.iter().for_each(|what| change(&mut self.seen, what));
    }

    pub fn inode(&mut self, name: Name) -> Option<&mut Inode> {
        let inode = *self.seen.get(&name)?;
        Some(&mut self.inodes[inode])
    }

    pub fn file(&mut self, file: File) -> &mut Inode {
        self.inode(Name::File(file)).expect("a file is created before it is written")
    }

    /// Drops the contents of files without a name.
    pub fn forget(&mut self) {
        for (at, inode) in self.inodes.iter_mut().enumerate() {
            let changes = &self.changes;
            let is_linked = changes
                .iter()
                .any(|change| matches!(change, Change::Link(_, inode) if *inode == at));
            if !is_linked
                && !self.seen.values().chain(self.durable.values()).any(|&inode| inode == at)
            {
                *inode = Inode::default();
            }
        }
    }

    pub fn used(&self) -> u64 {
        self.seen.values().map(|&inode| self.inodes[inode].size() as u64).sum()
    }
}
