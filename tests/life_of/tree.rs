//! The call tree of a run: which functions of this crate were called, by which, in the order of
//! first call.

use super::steps::At;
use super::symbols::{Chain, Function};
use std::collections::{BTreeMap, BTreeSet};

/// A function of this crate: its name, and its file.
pub type Node = (String, String);

/// A call tree without repeats: a function stands where it was called first.
#[derive(Debug, Default)]
pub struct Tree {
    /// Functions in the order of their first call, with their depth.
    pub lines: Vec<(usize, Node)>,
    /// Every call: who, whom.
    pub calls: BTreeSet<(Node, Node)>,
    children: BTreeMap<Option<Node>, Vec<Node>>,
}

/// A call that has not returned.
struct Frame<'a> {
    /// The stack pointer at its beginning: it has returned when the stack is shorter.
    sp: u64,
    /// Where it is, or where it calls the next frame.
    chain: &'a [Function],
}

impl Tree {
    /// The tree of these steps, whose program counters are in these functions.
    pub fn of(steps: &[At], chains: &BTreeMap<u64, Chain>) -> Self {
        let mut tree = Self::default();
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let mut before: Option<At> = None;
        let mut seen = BTreeSet::new();
        for &at in steps {
            while frames.len() > 1 && frames.last().is_some_and(|frame| frame.sp < at.sp) {
                frames.pop();
            }
            let chain = chains.get(&at.pc).map_or(&[][..], |chain| chain);
            let top = frames.last_mut();
            // A call has pushed where it returns to, and goes far; a push goes to the next instruction.
            let is_call = before.is_none_or(|b| at.sp + 8 == b.sp && at.pc.wrapping_sub(b.pc) > 15);
            // A function that ends with a call jumps there.
            let is_jump = top.as_ref().is_some_and(|top| top.sp == at.sp && top.chain.first() != chain.first());
            match top {
                Some(top) if !is_call && !is_jump => top.chain = chain,
                _ => frames.push(Frame { sp: at.sp, chain }),
            }
            if is_call || is_jump || before.is_none_or(|b| chains.get(&b.pc).is_none_or(|other| other != chain)) {
                tree.see(&frames, &mut seen);
            }
            before = Some(at);
        }
        tree.write(None, 0);
        tree
    }

    /// Notes the calls that are under way.
    fn see<'a>(&mut self, frames: &[Frame<'a>], seen: &mut BTreeSet<&'a Function>) {
        // The functions that have called each other; a closure stands for the one that wrote it.
        let mut stack: Vec<Node> = Vec::new();
        for function in frames.iter().flat_map(|frame| frame.chain) {
            let Some(file) = &function.file else { continue };
            let node = (function.name.clone(), file.clone());
            let is_under_way = function.is_closure && stack.contains(&node);
            if !is_under_way {
                if let Some(caller) = stack.last().filter(|caller| **caller != node) {
                    self.calls.insert((caller.clone(), node.clone()));
                }
                if seen.insert(function) && !self.children.values().any(|nodes| nodes.contains(&node)) {
                    let children = self.children.entry(stack.last().cloned()).or_default();
                    children.push(node.clone());
                }
            }
            stack.push(node);
        }
    }

    fn write(&mut self, parent: Option<Node>, depth: usize) {
        for child in self.children.remove(&parent).unwrap_or_default() {
            self.lines.push((depth, child.clone()));
            self.write(Some(child), depth + 1);
        }
    }
}
