//! Call tree of a trace: which functions of this crate were called, and by which, in the order of
//! their first call.

use super::steps::At;
use super::symbols::{Chain, Code, files, short};
use std::collections::{BTreeMap, BTreeSet};

/// A function of this crate: its short name and its file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub name: String,
    pub file: String,
}

/// A call tree without repeats: each function is listed where it was called first.
#[derive(Debug, Default)]
pub struct Tree {
    /// Functions in the order of their first call, with their depth. Inlined functions are listed
    /// if they are the first caller of another function.
    pub lines: Vec<(usize, Node)>,
    /// Number of functions that were called rather than inlined.
    pub called: usize,
    /// Number of functions, including all inlined ones.
    pub all: usize,
    /// Pairs of caller and callee, inlined functions included.
    pub calls: BTreeSet<(Node, Node)>,
}

/// A call that has not returned.
struct Frame<'a> {
    /// Stack pointer at entry: the call has returned once the stack is shorter.
    sp: u64,
    /// The called function and those inlined into it at the current program counter.
    chain: &'a [Code],
}

/// State of the walk over a trace.
#[derive(Default)]
struct Walk<'a> {
    files: BTreeMap<String, String>,
    /// Functions by first caller.
    children: BTreeMap<Option<&'a str>, Vec<&'a str>>,
    known: BTreeSet<&'a str>,
    called: BTreeSet<&'a str>,
    calls: BTreeSet<(&'a str, &'a str)>,
}

impl Tree {
    /// Builds the tree of a trace, whose program counters are in `chains`.
    pub fn of(steps: &[At], chains: &BTreeMap<u64, Chain>) -> Self {
        let mut walk = Walk { files: files(chains), ..Walk::default() };
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let mut before: Option<(At, &[Code])> = None;
        for &at in steps {
            while frames.len() > 1 && frames.last().is_some_and(|frame| frame.sp < at.sp) {
                frames.pop();
            }
            let chain = chains.get(&at.pc).map_or(&[][..], |chain| chain);
            // A call pushes its return address and jumps more than 15 bytes, the longest
            // instruction; after a push the next instruction follows.
            let is_call =
                before.is_none_or(|(b, _)| at.sp + 8 == b.sp && at.pc.wrapping_sub(b.pc) > 15);
            match frames.last_mut() {
                // No call: the top frame moves on, unless it tail-calls another function.
                Some(top) if !is_call && (top.sp != at.sp || is_of_one(top.chain, chain)) => {
                    top.chain = chain;
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

/// Whether two chains are in the same called function.
fn is_of_one(a: &[Code], b: &[Code]) -> bool {
    let name = |code: &Code| (code.path.clone(), code.is_closure);
    a.first().map(name) == b.first().map(name)
}

impl<'a> Walk<'a> {
    /// Records the active calls. A closure counts as the function that contains it: when another
    /// function calls the closure, its function continues.
    fn look(&mut self, frames: &[Frame<'a>]) {
        let mut stack: Vec<&'a str> = Vec::new();
        for (place, code) in frames.iter().flat_map(|frame| frame.chain.iter().enumerate()) {
            let path = &*code.path;
            let is_owner_active = code.is_closure && stack.contains(&path);
            if !self.files.contains_key(path) {
                continue;
            }
            if !is_owner_active {
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
