//! The answers of one connection that wait to leave, in order.
//!
//! Each answer is stamped with the log position that it shows; what lies behind an answer that must still wait waits too. Stamps
//! that are durable when the answer is written cost nothing: no place in line is kept for them.
//!
//! An answer that another core writes leaves a gap, which is filled when it comes; what lies behind a gap waits as well.

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
    /// Where an answer is still to be put in, and its number, in order of both.
    gaps: VecDeque<(usize, u32)>,
    next_gap: u32,
}

impl Out {
    /// Everything from `start` on waits for `stamp`, unless it waits for that already.
    #[inline]
    pub fn stamp(&mut self, start: usize, stamp: Stamp) {
        if stamp > self.line.back().map_or(Stamp::default(), |&(_, last)| last) {
            self.line.push_back((start, stamp));
        }
    }

    /// Leaves a gap for an answer that will come, and returns its number.
    #[inline]
    pub fn gap(&mut self) -> u32 {
        let number = self.next_gap;
        self.next_gap = number.wrapping_add(1);
        self.gaps.push_back((self.bytes.len(), number));
        number
    }

    /// Puts an answer that may leave into its gap.
    #[inline]
    pub fn fill(&mut self, number: u32, answer: &[u8]) {
        let at = self.gaps.iter().position(|&(_, gap)| gap == number).expect("a gap is filled once");
        let (start, _) = self.gaps.remove(at).expect("it is there");
        if start == self.bytes.len() {
            self.bytes.extend_from_slice(answer);
        } else {
            self.bytes.extend_from_slice(answer);
            self.bytes[start..].rotate_right(answer.len());
        }
        // What begins where the gap was lies behind it, unless it is a gap that was there before.
        self.gaps.iter_mut().skip(at).for_each(|(later, _)| *later += answer.len());
        self.line.iter_mut().filter(|(later, _)| *later >= start).for_each(|(later, _)| *later += answer.len());
    }

    /// How many gaps there are.
    #[inline]
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// What the first answer waits for, if it is the log.
    pub fn waits_for(&self) -> Option<Stamp> {
        let &(start, stamp) = self.line.front()?;
        self.gaps.front().is_none_or(|&(gap, _)| start < gap).then_some(stamp)
    }

    /// How many bytes may leave when everything up to `durable` is.
    #[inline]
    pub fn sendable(&mut self, durable: Stamp) -> usize {
        while self.line.front().is_some_and(|&(_, stamp)| stamp <= durable) {
            self.line.pop_front();
        }
        let end = self.line.front().map_or(self.bytes.len(), |&(start, _)| start);
        self.gaps.front().map_or(end, |&(gap, _)| end.min(gap))
    }

    /// Moves the first `count` bytes, all of which may leave, to the empty `frozen`.
    #[inline]
    pub fn freeze(&mut self, count: usize, frozen: &mut Vec<u8>) {
        assert!(frozen.is_empty(), "one send is in flight at a time");
        assert!(
            self.line.front().is_none_or(|&(start, _)| count <= start),
            "no answer leaves before its stamp is durable"
        );
        assert!(self.gaps.front().is_none_or(|&(gap, _)| count <= gap), "no answer leaves before the one before it");
        if count == self.bytes.len() {
            self.gaps.iter_mut().for_each(|(start, _)| *start = 0);
            std::mem::swap(&mut self.bytes, frozen);
            return;
        }
        frozen.extend_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.line.iter_mut().for_each(|(start, _)| *start -= count);
        self.gaps.iter_mut().for_each(|(start, _)| *start -= count);
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

    #[test]
    fn gaps_are_filled_in_any_order_and_sent_in_theirs() {
        let mut out = Out::default();
        let write = |out: &mut Out, answer: &str, stamp| {
            let start = out.bytes.len();
            out.bytes.extend_from_slice(answer.as_bytes());
            out.stamp(start, Stamp(stamp));
        };
        let send = |out: &mut Out, durable| {
            let mut frozen = Vec::new();
            let count = out.sendable(Stamp(durable));
            out.freeze(count, &mut frozen);
            String::from_utf8(frozen).unwrap()
        };
        write(&mut out, "a", 0);
        let (first, second) = (out.gap(), out.gap());
        write(&mut out, "d", 5);
        let third = out.gap();
        assert_eq!(send(&mut out, 0), "a");
        out.fill(third, b"eee");
        out.fill(second, b"cc");
        assert_eq!((send(&mut out, 0).as_str(), out.gaps(), out.waits_for()), ("", 1, None));
        write(&mut out, "f", 7);
        out.fill(first, b"b");
        assert_eq!(send(&mut out, 0), "bcc");
        assert_eq!(out.waits_for(), Some(Stamp(5)));
        assert_eq!(send(&mut out, 6), "deee");
        let last = out.gap();
        assert_eq!(send(&mut out, 7), "f", "all that is there has left, and the gap is where it was");
        write(&mut out, "h", 0);
        out.fill(last, b"g");
        assert_eq!(send(&mut out, 7), "gh");
    }
}
