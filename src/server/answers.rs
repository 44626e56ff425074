//! Rendered answers of one connection that wait to be sent, in request order.
//!
//! An answer that shows a log position which is not durable yet is marked with that position; it
//! and everything after it wait. An answer that shows only durable state has no mark and costs
//! nothing.
//!
//! A read that another core answers leaves a gap. The reply is spliced into the gap when it
//! arrives; until then, everything after the gap waits.

use crate::slice::Lsn;
use std::collections::VecDeque;

/// A log position of one of this core's slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Index of the slice on its core.
    pub local_slice: usize,
    /// Log position; zero means that there is nothing to wait for.
    pub lsn: Lsn,
}

/// An answer that waits.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Its offset.
    start: usize,
    /// The position that it waits for.
    position: Position,
    /// Whether it answers a HEAD request.
    head_only: bool,
}

/// The answers of one connection.
#[derive(Debug, Default)]
pub struct Answers {
    /// Rendered bytes. Writers append an answer, then call [`Self::mark`].
    pub bytes: Vec<u8>,
    /// The answers that wait; ascending offsets.
    marks: VecDeque<Mark>,
    /// Offset at which each outstanding reply belongs, and the gap's number; both ascending.
    gaps: VecDeque<(usize, u32)>,
    next_gap: u32,
}

impl Answers {
    /// Makes everything from offset `start` on, where the answer to a HEAD request begins if it is
    /// `head_only`, wait for `position`, unless it already waits for as much.
    #[inline]
    pub fn mark(&mut self, start: usize, position: Position, head_only: bool) {
        if position.lsn == Lsn::default() {
            return;
        }
        let last = self.marks.back().map(|mark| mark.position);
        let last = last.filter(|last| last.local_slice == position.local_slice);
        if last.is_none_or(|last| last.lsn < position.lsn) {
            self.marks.push_back(Mark { start, position, head_only });
        }
    }

    /// Opens a gap for a reply, and returns its number.
    #[inline]
    pub fn gap(&mut self) -> u32 {
        let number = self.next_gap;
        self.next_gap = number.wrapping_add(1);
        self.gaps.push_back((self.bytes.len(), number));
        number
    }

    /// Splices a reply, whose state is durable, into its gap.
    #[inline]
    pub fn fill(&mut self, number: u32, reply: &[u8]) {
        let at =
            self.gaps.iter().position(|&(_, gap)| gap == number).expect("a gap is filled once");
        let (start, _) = self.gaps.remove(at).expect("its index was just found");
        self.bytes.extend_from_slice(reply);
        if start + reply.len() < self.bytes.len() {
            self.bytes[start..].rotate_right(reply.len());
        }
        // An older gap at the same offset stays; everything else from there on moves back.
        self.gaps.iter_mut().skip(at).for_each(|(later, _)| *later += reply.len());
        let behind = self.marks.iter_mut().filter(|mark| mark.start >= start);
        behind.for_each(|mark| mark.start += reply.len());
    }

    /// Whether the gap is the last thing here: no bytes and no other gap after it.
    pub fn ends_with(&self, number: u32) -> bool {
        self.gaps.back() == Some(&(self.bytes.len(), number))
    }

    /// Number of open gaps.
    #[inline]
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// Whether there are neither bytes nor gaps.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.gaps.is_empty()
    }

    /// The log position that the first bytes wait for; `None` if they wait for a gap or for
    /// nothing.
    pub fn waits_for(&self) -> Option<Position> {
        let &Mark { start, position, .. } = self.marks.front()?;
        self.gaps.front().is_none_or(|&(gap, _)| start < gap).then_some(position)
    }

    /// Number of bytes that may be sent now. `durable` returns the durable log position of a slice.
    #[inline]
    pub fn sendable(&mut self, durable: impl Fn(usize) -> Lsn) -> usize {
        while self
            .marks
            .front()
            .is_some_and(|mark| mark.position.lsn <= durable(mark.position.local_slice))
        {
            self.marks.pop_front();
        }
        let end = self.marks.front().map_or(self.bytes.len(), |mark| mark.start);
        self.gaps.front().map_or(end, |&(gap, _)| end.min(gap))
    }

    /// Moves the first `count` bytes, all of them sendable, to `to`, which must be empty.
    #[inline]
    pub fn freeze(&mut self, count: usize, to: &mut Vec<u8>) {
        assert!(to.is_empty(), "one send is in flight at a time");
        assert!(
            self.marks.front().is_none_or(|mark| count <= mark.start),
            "an answer leaves when its log position is durable"
        );
        assert!(
            self.gaps.front().is_none_or(|&(gap, _)| count <= gap),
            "answers leave in the order of their requests"
        );
        if count == self.bytes.len() {
            self.gaps.iter_mut().for_each(|(start, _)| *start = 0);
            std::mem::swap(&mut self.bytes, to);
            return;
        }
        to.extend_from_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        self.marks.iter_mut().for_each(|mark| mark.start -= count);
        self.gaps.iter_mut().for_each(|(start, _)| *start -= count);
    }

    /// Drops all answers. No gap may be open. Returns whether the first that waits answers a HEAD
    /// request.
    pub fn clear(&mut self) -> bool {
        assert!(self.gaps.is_empty(), "a reply that comes belongs to an answer");
        let head_only = self.marks.front().is_some_and(|mark| mark.head_only);
        self.bytes.clear();
        self.marks.clear();
        head_only
    }

    /// Drops all marks: used by a planted bug.
    pub(super) fn forget_marks(&mut self) {
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(answers: &mut Answers, answer: &str, local_slice: usize, lsn: u64) {
        let start = answers.bytes.len();
        answers.bytes.extend_from_slice(answer.as_bytes());
        answers.mark(start, Position { local_slice, lsn: Lsn(lsn) }, false);
    }

    fn send(answers: &mut Answers, durable: [u64; 2]) -> String {
        let mut sent = Vec::new();
        let count = answers.sendable(|local_slice| Lsn(durable[local_slice]));
        answers.freeze(count, &mut sent);
        String::from_utf8(sent).unwrap()
    }

    #[test]
    fn an_answer_leaves_when_it_and_those_before_it_are_durable() {
        let mut answers = Answers::default();
        for (answer, lsn) in [("a", 0), ("bb", 5), ("ccc", 3), ("dddd", 9), ("e", 0)] {
            write(&mut answers, answer, 0, lsn);
        }
        let mut send = |durable| send(&mut answers, [durable, 0]);
        assert_eq!(send(0), "a");
        assert_eq!(send(4), "", "the third answer is durable, but the second is not");
        assert_eq!(send(5), "bbccc");
        assert_eq!(send(8), "");
        assert_eq!(send(9), "dddde");
        assert_eq!(answers.waits_for(), None);
    }

    #[test]
    fn each_answer_waits_for_the_log_of_its_own_slice() {
        let mut answers = Answers::default();
        for (answer, local_slice, lsn) in [("a", 0, 2), ("b", 1, 7), ("c", 0, 2), ("d", 0, 3)] {
            write(&mut answers, answer, local_slice, lsn);
        }
        assert_eq!(send(&mut answers, [9, 6]), "a");
        assert_eq!(answers.waits_for(), Some(Position { local_slice: 1, lsn: Lsn(7) }));
        assert_eq!(send(&mut answers, [2, 7]), "bc");
        assert_eq!(send(&mut answers, [3, 0]), "d");
    }

    #[test]
    fn the_first_answer_that_waits_says_how_it_is_refused() {
        let mut answers = Answers::default();
        write(&mut answers, "a", 0, 3);
        answers.bytes.extend_from_slice(b"bb");
        answers.mark(1, Position { local_slice: 0, lsn: Lsn(5) }, true);
        write(&mut answers, "ccc", 0, 7);
        assert_eq!(send(&mut answers, [4, 0]), "a");
        assert!(answers.clear(), "the second answers a HEAD request");
        write(&mut answers, "d", 0, 9);
        assert!(!answers.clear() && answers.is_empty());
    }

    #[test]
    fn gaps_are_filled_in_any_order_and_sent_in_request_order() {
        let mut answers = Answers::default();
        let send = |answers: &mut Answers, durable| send(answers, [durable, 0]);
        write(&mut answers, "a", 0, 0);
        let (first, second) = (answers.gap(), answers.gap());
        write(&mut answers, "d", 0, 5);
        let third = answers.gap();
        assert_eq!(send(&mut answers, 0), "a");
        answers.fill(third, b"eee");
        answers.fill(second, b"cc");
        assert_eq!(
            (send(&mut answers, 0).as_str(), answers.gaps(), answers.waits_for()),
            ("", 1, None)
        );
        write(&mut answers, "f", 0, 7);
        answers.fill(first, b"b");
        assert_eq!(send(&mut answers, 0), "bcc");
        assert_eq!(answers.waits_for().map(|position| position.lsn), Some(Lsn(5)));
        assert_eq!(send(&mut answers, 6), "deee");
        let last = answers.gap();
        assert_eq!(
            send(&mut answers, 7),
            "f",
            "everything before the gap is sent, and the gap stays"
        );
        assert!(answers.ends_with(last) && !answers.ends_with(first));
        write(&mut answers, "h", 0, 0);
        assert!(!answers.ends_with(last));
        answers.fill(last, b"g");
        assert_eq!(send(&mut answers, 7), "gh");
    }
}
