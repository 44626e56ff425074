//! Simulated file system with crashes: nested directories, files, and their durable state.
//!
//! - A file write is durable once the file is synced.
//! - A created, renamed or removed directory entry is durable once its directory is synced. Before
//!   that, a power cut keeps or loses each change independently.
//! - A crash can come in any changing step, which then is done, not done, or done in part.

use super::directory::{Inode, put};
use super::disk::{Crash, some_sectors};
use super::random::Random;
use std::collections::BTreeMap;

/// Error of a step in which the process crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crashed;

type Step = Result<(), Crashed>;

#[derive(Debug)]
enum Node {
    File(Inode),
    Directory(Names),
}

#[derive(Debug, Default)]
struct Names {
    durable: BTreeMap<String, usize>,
    seen: BTreeMap<String, usize>,
    changes: Vec<Change>,
}

/// A directory change that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

fn change(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Link(name, node) => _ = names.insert(name.clone(), *node),
        Change::Unlink(name) => _ = names.remove(name),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

/// The file system. Paths have no leading slash; the empty path is the root.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Changing steps until the crash; `None` for no crash.
    pub left: Option<u64>,
    pub random: Random,
}

impl Tree {
    pub fn new(random: Random) -> Self {
        Self { nodes: vec![Node::Directory(Names::default())], left: None, random }
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |at, name| {
            match &self.nodes[at] {
                Node::Directory(names) => names.seen.get(name).copied(),
                Node::File(_) => None,
            }
        })
    }

    fn directory(&mut self, path: &str) -> &mut Names {
        let at = self.find(path).unwrap_or_else(|| panic!("no {path}"));
        let Node::Directory(names) = &mut self.nodes[at] else { panic!("{path} is no directory") };
        names
    }

    fn file(&mut self, path: &str) -> &mut Inode {
        let at = self.find(path).unwrap_or_else(|| panic!("no {path}"));
        let Node::File(inode) = &mut self.nodes[at] else { panic!("{path} is no file") };
        inode
    }

    /// The names in a directory, each with whether it is a directory.
    pub fn names(&self, path: &str) -> Vec<(String, bool)> {
        let Some(Node::Directory(names)) = self.find(path).map(|at| &self.nodes[at]) else {
            return Vec::new();
        };
        let is_directory = |at: usize| matches!(self.nodes[at], Node::Directory(_));
        names.seen.iter().map(|(name, &at)| (name.clone(), is_directory(at))).collect()
    }

    /// The whole file, as readers see it.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match &self.nodes[self.find(path)?] {
            Node::File(inode) => Some(inode.seen().into_owned()),
            Node::Directory(_) => None,
        }
    }

    /// Counts down to the crash before a changing step. `Err` if the process crashes now; its value
    /// says whether the step is still done.
    fn step(&mut self) -> Result<(), bool> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(self.random.coin()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn change(&mut self, path: &str, what: Change) -> Step {
        let step = self.step();
        if step != Err(false) {
            let names = self.directory(path);
            change(&mut names.seen, &what);
            names.changes.push(what);
        }
        step.map_err(|_| Crashed)
    }

    fn link(&mut self, path: &str, node: Node) -> Step {
        self.nodes.push(node);
        let (directory, name) = split(path);
        self.change(directory, Change::Link(name.to_owned(), self.nodes.len() - 1))
    }

    pub fn make_directory(&mut self, path: &str) -> Step {
        assert!(self.find(path).is_none(), "{path} exists already");
        self.link(path, Node::Directory(Names::default()))
    }

    /// Creates an empty file; one of that name is truncated, as `O_TRUNC` does, and stays the same
    /// file. So no crash brings an earlier file of that name back.
    pub fn create(&mut self, path: &str) -> Step {
        if self.find(path).is_none() {
            return self.link(path, Node::File(Inode::default()));
        }
        let step = self.step();
        if step != Err(false) {
            *self.file(path) = Inode::default();
        }
        step.map_err(|_| Crashed)
    }

    pub fn write(&mut self, path: &str, at: usize, bytes: &[u8]) -> Step {
        if self.step().is_ok() {
            self.file(path).unsynced.push((at, bytes.to_vec()));
            return Ok(());
        }
        let sectors = some_sectors(at, bytes, &mut self.random);
        let sectors: Vec<_> =
            sectors.into_iter().map(|(at, sector)| (at, sector.to_vec())).collect();
        self.file(path).unsynced.extend(sectors);
        Err(Crashed)
    }

    /// Makes a file's contents or a directory's entries durable.
    pub fn sync(&mut self, path: &str) -> Step {
        let step = self.step();
        if step != Err(false) {
            let at = self.find(path).unwrap_or_else(|| panic!("no {path}"));
            match &mut self.nodes[at] {
                Node::File(inode) => inode.sync(),
                Node::Directory(names) => {
                    names.durable = names.seen.clone();
                    names.changes.clear();
                }
            }
        }
        step.map_err(|_| Crashed)
    }

    /// Renames a file within its directory.
    pub fn rename(&mut self, directory: &str, from: &str, to: &str) -> Step {
        self.change(directory, Change::Rename(from.to_owned(), to.to_owned()))
    }

    /// Removes a file or a directory with its contents; does nothing if there is none.
    pub fn remove(&mut self, path: &str) -> Step {
        if self.find(path).is_none() {
            return Ok(());
        }
        for (name, _) in self.names(path) {
            self.remove(&format!("{path}/{name}"))?;
        }
        let (directory, name) = split(path);
        self.change(directory, Change::Unlink(name.to_owned()))
    }

    /// Ends the process; after a power cut, each change that is not durable is kept or lost.
    pub fn crash(&mut self, how: Crash) {
        self.left = None;
        if how == Crash::Kill {
            return;
        }
        let random = &mut self.random;
        for node in &mut self.nodes {
            match node {
                Node::Directory(names) => {
                    for what in std::mem::take(&mut names.changes) {
                        if random.coin() {
                            change(&mut names.durable, &what);
                        }
                    }
                    names.seen = names.durable.clone();
                }
                Node::File(inode) => {
                    for (at, bytes) in std::mem::take(&mut inode.unsynced) {
                        for (at, sector) in some_sectors(at, &bytes, random) {
                            put(&mut inode.durable, at, sector);
                        }
                    }
                }
            }
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
