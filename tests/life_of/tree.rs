//! The call tree of a run: which functions of this crate were called, by which, in the order of
//! first call.

use super::steps::At;
use super::symbols::{Chain, Code, files, short};
use std::collections::{BTreeMap, BTreeSet};

/// A function of this crate: its short name, and its file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub name: String,
    pub file: String,
}

/// A call tree without repeats: a function stands where it was called first.
#[derive(Debug, Default)]
pub struct Tree {
    /// Functions in the order of their first call, with their depth. Those that the compiler
    /// inlined are among them if they call another of this crate.
    pub lines: Vec<(usize, Node)>,
    /// How many of them were called, and not inlined.
    pub called: usize,
    /// How many there are, with all that were inlined.
    pub all: usize,
    /// Who calls whom, inlined functions included.
    pub calls: BTreeSet<(Node, Node)>,
}

/// A call that has not returned.
struct Frame<'a> {
    /// The stack pointer at its beginning: it has returned when the stack is shorter.
    sp: u64,
    /// The function that was called, and those inlined into it where it is now.
    chain: &'a [Code],
}

/// What was found so far.
#[derive(Default)]
struct Walk<'a> {
    files: BTreeMap<String, String>,
    /// Functions by their first caller.
    children: BTreeMap<Option<&'a str>, Vec<&'a str>>,
    known: BTreeSet<&'a str>,
    called: BTreeSet<&'a str>,
    calls: BTreeSet<(&'a str, &'a str)>,
}

impl Tree {
    /// The tree of these steps, whose program counters are in these functions.
    pub fn of(steps: &[At], chains: &BTreeMap<u64, Chain>) -> Self {
        let mut walk = Walk { files: files(chains), ..Walk::default() };
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let mut before: Option<(At, &[Code])> = None;
        for &at in steps {
            while frames.len() > 1 && frames.last().is_some_and(|frame| frame.sp < at.sp) {
                frames.pop();
            }
            let chain = chains.get(&at.pc).map_or(&[][..], |chain| chain);
            // A call has pushed where it returns to, and goes far; a push goes to the next
            // instruction.
            let is_call =
                before.is_none_or(|(b, _)| at.sp + 8 == b.sp && at.pc.wrapping_sub(b.pc) > 15);
            match frames.last_mut() {
                // A function may end with a jump to the last one that it calls.
                Some(top) if !is_call && (top.sp != at.sp || is_of_one(top.chain, chain)) => {
                    top.chain = chain
                }
                _ => frames.push(Frame { sp: at.sp, chain }),
            }
            if is_call || before.is_none_or(|(_, last)| last != chain) {
                walk.look(&frames);
            }
            before = Some((at, chain));
        }
        walk.tree()
    }
}

/// Whether two places are in the same function.
fn is_of_one(a: &[Code], b: &[Code]) -> bool {
    let name = |code: &Code| (code.path.clone(), code.is_closure);
    a.first().map(name) == b.first().map(name)
}

impl<'a> Walk<'a> {
    /// Notes the calls that are under way. A closure counts as the function that wrote it: when
    /// another function calls it, its writer goes on.
    fn look(&mut self, frames: &[Frame<'a>]) {
        let mut stack: Vec<&'a str> = Vec::new();
        for (place, code) in frames.iter().flat_map(|frame| frame.chain.iter().enumerate()) {
            let path = &*code.path;
            let is_writer_under_way = code.is_closure && stack.contains(&path);
            if !self.files.contains_key(path) {
                continue;
            }
            if !is_writer_under_way {
                let caller = stack.last().copied();
                self.calls
                    .extend(caller.filter(|caller| *caller != path).map(|caller| (caller, path)));
                if self.known.insert(path) {
                    self.children.entry(caller).or_default().push(path);
                }
                if place == 0 {
                    self.called.insert(path);
                }
            }
            stack.push(path);
        }
    }

    fn tree(self) -> Tree {
        let node = |path: &str| Node { name: short(path), file: self.files[path].clone() };
        let calls =
            self.calls.iter().map(|(caller, callee)| (node(caller), node(callee))).collect();
        let mut lines = Vec::new();
        let mut to_write: Vec<_> = vec![(0, None)];
        while let Some((depth, path)) = to_write.pop() {
            if let Some(path) = path {
                lines.push((depth, node(path)));
            }
            let below = depth + usize::from(path.is_some());
            let children = self.children.get(&path).into_iter().flatten();
            let is_shown = |path: &&'a str| {
                self.called.contains(*path) || self.children.contains_key(&Some(*path))
            };
            to_write
                .extend(children.copied().filter(is_shown).rev().map(|child| (below, Some(child))));
        }
        Tree { lines, calls, called: self.called.len(), all: self.known.len() }
    }
}
