//! A machine that answers every request with the same prepared bytes: the load bench's floor, the
//! least that a driver can cost.
//!
//! It scans a request only for the end of its head (`\r\n\r\n`). Each connection has two buffers,
//! one that fills and one that is being sent; once both have grown, a request allocates nothing.
//! The machine has no ledger, uses no disk and no other core, and has no deadlines: an idle
//! connection stays open until its peer closes it.

use memchr::memmem;
use purser::metrics::Counters;
use purser::server::machine::{Clocks, CorruptFile, Machine, Output, Slot, Wait};
use purser::server::message::Message;
use purser::slice::disk::Done;
use std::collections::VecDeque;

const END: &[u8; 4] = b"\r\n\r\n";

/// A [`Machine`] with a constant answer.
pub struct Constant {
    answer: Vec<u8>,
    connections: Vec<Option<Connection>>,
    count: usize,
    /// Connections with an event in this turn.
    touched: Vec<Slot>,
    outputs: VecDeque<Output>,
    is_draining: bool,
    counters: Counters,
}

#[derive(Default)]
struct Connection {
    /// Bytes of [`END`] that the received bytes end with.
    matched: usize,
    /// Answers not yet handed out to be sent.
    out: Vec<u8>,
    /// Buffer of the last send, reused for the next one.
    spare: Vec<u8>,
    /// Bytes already sent of the buffer that is in flight.
    in_flight: Option<usize>,
    is_touched: bool,
    is_peer_gone: bool,
    is_closing: bool,
}

impl Constant {
    /// Creates a machine whose every answer is `answer`, a whole HTTP answer.
    pub fn new(answer: Vec<u8>) -> Self {
        Self {
            answer,
            connections: Vec::new(),
            count: 0,
            touched: Vec::new(),
            outputs: VecDeque::from([Output::Serving]),
            is_draining: false,
            counters: Counters::default(),
        }
    }

    /// Marks the connection of an event, so that the end of the turn processes it.
    #[inline]
    fn touch(&mut self, slot: Slot) -> &mut Connection {
        let connection = self.connections[slot as usize]
            .as_mut()
            .expect("an event belongs to an open connection");
        if !std::mem::replace(&mut connection.is_touched, true) {
            self.touched.push(slot);
        }
        connection
    }

    fn touch_all(&mut self) {
        for slot in 0..self.connections.len() {
            if self.connections[slot].is_some() {
                self.touch(slot as Slot);
            }
        }
    }
}

impl Connection {
    /// Appends an answer for each request whose head ends in `bytes`.
    #[inline]
    fn answer(&mut self, mut bytes: &[u8], answer: &[u8]) {
        while self.matched > 0 && !bytes.is_empty() {
            self.matched = if bytes[0] == END[self.matched] {
                self.matched + 1
            } else {
                usize::from(bytes[0] == END[0])
            };
            bytes = &bytes[1..];
            if self.matched == END.len() {
                self.out.extend_from_slice(answer);
                self.matched = 0;
            }
        }
        let mut behind = 0;
        for end in memmem::find_iter(bytes, END) {
            self.out.extend_from_slice(answer);
            behind = end + END.len();
        }
        let rest = &bytes[behind..];
        self.matched += (1..END.len()).rev().find(|&n| rest.ends_with(&END[..n])).unwrap_or(0);
    }

    /// Returns the output at the end of a turn: send, close, or none.
    #[inline]
    fn settle(&mut self, slot: Slot, is_draining: bool) -> Option<Output> {
        self.is_touched = false;
        if self.is_closing || self.in_flight.is_some() {
            return None;
        }
        if !self.out.is_empty() {
            let buffer = std::mem::replace(&mut self.out, std::mem::take(&mut self.spare));
            self.in_flight = Some(0);
            return Some(Output::Send { slot, buffer, from: 0 });
        }
        let is_over = self.is_peer_gone || (is_draining && self.matched == 0);
        self.is_closing = is_over;
        is_over.then_some(Output::Close { slot })
    }
}

impl Machine for Constant {
    fn begin_turn(&mut self, _: Clocks) {}

    fn message(&mut self, _: u32, _: Message) {
        unreachable!("a single core receives no messages");
    }

    fn task_done(&mut self, _: u32, _: Done) {
        unreachable!("this machine starts no disk tasks");
    }

    fn opened(&mut self, slot: Slot, _: u32) {
        let at = slot as usize;
        if at >= self.connections.len() {
            self.connections.resize_with(at + 1, || None);
        }
        assert!(self.connections[at].is_none(), "a slot belongs to one connection at a time");
        self.connections[at] = Some(Connection::default());
        self.count += 1;
        self.counters.connections += 1;
        self.outputs.push_back(Output::Receive { slot, on: true });
    }

    #[inline]
    fn received(&mut self, slot: Slot, bytes: &[u8]) {
        self.counters.bytes_in += bytes.len() as u64;
        self.touch(slot);
        let connection = self.connections[slot as usize].as_mut().expect("the connection is open");
        connection.answer(bytes, &self.answer);
    }

    fn peer_closed(&mut self, slot: Slot) {
        self.touch(slot).is_peer_gone = true;
    }

    #[inline]
    fn sent(&mut self, slot: Slot, mut buffer: Vec<u8>, count: usize) {
        self.counters.bytes_out += count as u64;
        let connection = self.touch(slot);
        let from = connection.in_flight.take().expect("a completed send was in flight") + count;
        if from < buffer.len() {
            connection.in_flight = Some(from);
            self.outputs.push_back(Output::Send { slot, buffer, from });
            return;
        }
        buffer.clear();
        connection.spare = buffer;
    }

    fn failed(&mut self, slot: Slot) {
        if !std::mem::replace(&mut self.touch(slot).is_closing, true) {
            self.outputs.push_back(Output::Close { slot });
        }
    }

    fn closed(&mut self, slot: Slot) {
        let gone = self.connections[slot as usize].take();
        assert!(gone.is_some(), "a connection is closed once");
        self.count -= 1;
    }

    fn drain(&mut self) {
        self.is_draining = true;
        self.touch_all();
    }

    fn stop(&mut self) {
        self.is_draining = true;
        for slot in 0..self.connections.len() {
            if self.connections[slot].is_some() {
                self.failed(slot as Slot);
            }
        }
    }

    fn end_turn(&mut self) -> Result<(), CorruptFile> {
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.drain(..) {
            if let Some(connection) = &mut self.connections[slot as usize] {
                self.outputs.extend(connection.settle(slot, self.is_draining));
            }
        }
        self.touched = touched;
        Ok(())
    }

    #[inline]
    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn wait(&self) -> Wait {
        Wait::Event { until_ms: None, spins: false }
    }

    fn is_drained(&self) -> bool {
        self.is_draining && self.count == 0
    }

    fn may_exit(&self) -> bool {
        self.count == 0
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
