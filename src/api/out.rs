//! The answers of one connection that wait to leave, in order.
//!
//! Each answer is stamped with the log position that it shows; what lies behind an answer that must still wait waits too. Stamps
//! that are durable when the answer is written cost nothing: no place in line is kept for them.

use std::collections::VecDeque;

/// A log position, as the connection sees it: zero has nothing to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// Answers, rendered.
#[derive(Debug, Default)]
pub struct Out {
    /// The bytes; appended to by writers of answers, who call [`Self::stamp`] behind each answer.
    pub bytes: Vec<u8>,
    /// Where an answer that waits begins, and for what, in order of both.
    line: VecDeque<(usize, Stamp)>,
}

impl Out {
    /// Everything from `start` on waits for `stamp`, unless it waits for that already.
    #[inline]
    pub fn stamp(&mut self, start: usize, stamp: Stamp) {
        if stamp > self.line.back().map_or(Stamp::default(), |&(_, last)| last) {
            self.line.push_back((start, stamp));
        }
    }

    /// What the last answer in line waits for.
    pub fn waits_for(&self) -> Option<Stamp> {
        self.line.front().map(|&(_, stamp)| stamp)
    }

    /// How many bytes may leave when everything up to `durable` is.
    #[inline]
    pub fn sendable(&mut self, durable: Stamp) -> usize {
        while self.line.front().is_some_and(|&(_, stamp)| stamp <= durable) {
            self.line.pop_front();
        }
        self.line.front().map_or(self.bytes.len(), |&(start, _)| start)
    }

    /// Moves the first `count` bytes, all of which may leave, to the empty `frozen`.
    #[inline]
    pub fn freeze(&mut self, count: usize, frozen: &mut Vec<u8>) {
        assert!(frozen.is_empty(), "one send is in flight at a time");
        assert!(
            self.line.front().is_none_or(|&(start, _)| count <= start),
            "no answer leaves before its stamp is durable"
        );
        if count == self.bytes.len() {
            std::mem::swap(&mut self.bytes, frozen);
            return;
        }
        frozen.extend_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.line.iter_mut().for_each(|(start, _)| *start -= count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leaves_when_its_stamp_and_those_before_it_are_durable() {
        let mut out = Out::default();
        for (answer, stamp) in [("a", 0), ("bb", 5), ("ccc", 3), ("dddd", 9), ("e", 0)] {
            let start = out.bytes.len();
            out.bytes.extend_from_slice(answer.as_bytes());
            out.stamp(start, Stamp(stamp));
        }
        let mut send = |durable| {
            let mut frozen = Vec::new();
            let count = out.sendable(Stamp(durable));
            out.freeze(count, &mut frozen);
            String::from_utf8(frozen).unwrap()
        };
        assert_eq!(send(0), "a");
        assert_eq!(send(4), "", "the third answer is durable, but its turn has not come");
        assert_eq!(send(5), "bbccc");
        assert_eq!(send(8), "");
        assert_eq!(send(9), "dddde");
        assert_eq!(out.waits_for(), None);
    }
}
