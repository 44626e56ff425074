//! How connections end: when the last answer has left, when a peer or its time is gone, and when the core drains.

use super::super::Failure;
use super::super::connections::{Phase, Slot};
use super::super::op::Kind;
use super::super::service::{Next, Service};
use super::part::{IDLE_BUFFER_BYTES, Part};
use super::{Core, Io};
use io_uring::{opcode, types};
use std::os::fd::AsRawFd;

/// How often deadlines are looked at: each time a quarter of the slots, so a deadline is noticed within about a second.
const TICK_MS: u64 = 250;
const TICKS_AROUND: u32 = 4;
/// How long a closing connection may still send.
const DRAIN_MS: u64 = 2_000;

impl<S: Service> Part<S> {
    /// Shuts our side down: the peer sees the end of the last answer.
    pub(super) fn shut(&mut self, slot: Slot, io: &mut Io) {
        let now = self.clock.monotonic_ms;
        let Some(conn) = self.conns.get(slot) else { return };
        conn.phase = Phase::Draining;
        conn.shutting = true;
        conn.deadline_ms = now + DRAIN_MS;
        let entry = opcode::Shutdown::new(types::Fd(conn.fd.as_raw_fd()), libc::SHUT_WR)
            .build()
            .user_data(conn.op(Kind::Shutdown, slot));
        // SAFETY: points at nothing.
        unsafe { io.ring.push(&entry) };
    }

    /// Ends a connection now, whatever it has in flight.
    pub(super) fn abandon(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.phase != Phase::Closing {
            conn.phase = Phase::Closing;
            if conn.is_owed() {
                // Both directions at once: what is in flight completes at once.
                // SAFETY: no pointers; an error means that the peer was faster.
                unsafe { libc::shutdown(conn.fd.as_raw_fd(), libc::SHUT_RDWR) };
            }
        }
        self.close(slot);
    }

    /// Closes a connection if the kernel owes it nothing more.
    pub(super) fn close(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get(slot) else { return };
        if conn.is_owed() {
            return;
        }
        let conn = self.conns.remove(slot);
        self.held -= conn.counted;
        self.service.release(conn.session);
    }

    pub(super) fn tick(&mut self, io: &mut Io) {
        let now = self.clock.monotonic_ms;
        self.next_tick_ms = now + TICK_MS;
        for listener in 0..self.listeners.len() {
            if self.listeners[listener].again_at_ms.is_some_and(|at| now >= at) {
                self.arm_accept(listener, io);
            }
        }
        self.tick = (self.tick + 1) % TICKS_AROUND;
        let lingered = self.draining_since_ms.is_some_and(|since| now > since + self.limits.linger_ms);
        for slot in (self.tick..self.conns.slots()).step_by(TICKS_AROUND as usize) {
            self.look_at(slot, lingered, io);
        }
    }

    pub(super) fn look_at(&mut self, slot: Slot, lingered: bool, io: &mut Io) {
        let now = self.clock.monotonic_ms;
        let Self { conns, service, dirty, .. } = self;
        let Some(conn) = conns.get(slot) else { return };
        let is_waiting = conn.waiting || conn.out.gaps() > 0;
        if conn.next == Next::Idle && conn.unsent() == 0 && !conn.sending && !is_waiting {
            if conn.out.bytes.capacity().max(conn.frozen.capacity()) > IDLE_BUFFER_BYTES {
                conn.out.bytes = Vec::new();
                conn.frozen = Vec::new();
                // What it holds is counted anew.
                if !std::mem::replace(&mut conn.dirty, true) {
                    dirty.push(slot);
                }
            }
            if lingered && conn.phase == Phase::Open {
                return self.abandon(slot);
            }
        }
        if now >= conn.send_by_ms {
            return self.abandon(slot);
        }
        if now < conn.deadline_ms {
            return;
        }
        match conn.phase {
            Phase::Open if conn.next == Next::Unfinished => {
                conn.next = service.expire(&mut conn.session, &mut conn.out);
                self.after(slot, io);
            }
            // Entries that are being applied, or answers that wait for the log or for another core, are ours to be late with.
            // A send in flight has a deadline of its own.
            Phase::Open | Phase::Finishing
                if conn.sending || is_waiting || matches!(conn.next, Next::Busy | Next::Away) => {}
            _ => self.abandon(slot),
        }
    }

    pub(super) fn drain(&mut self, io: &mut Io) {
        if self.draining_since_ms.is_some() {
            return;
        }
        self.draining_since_ms = Some(self.clock.monotonic_ms);
        self.stop_accepting(io);
        self.service.drain();
        for slot in 0..self.conns.slots() {
            if let Some(conn) = self.conns.get(slot) {
                self.service.drain_session(&mut conn.session);
            }
        }
    }

    /// Ends every connection.
    fn abandon_all(&mut self, io: &mut Io) {
        self.stop_accepting(io);
        (0..self.conns.slots()).for_each(|slot| self.abandon(slot));
    }
}

impl<S: Service> Core<S> {
    /// Ends every connection, and waits for the kernel's last completions: it still uses our memory before them. What was taken in reaches the disk.
    pub(super) fn close_all(&mut self) -> Result<(), Failure> {
        let Self { parts, io, .. } = self;
        parts.iter_mut().for_each(|part| part.abandon_all(io));
        let patience = self.clock.monotonic_ms + DRAIN_MS;
        let is_over = |part: &Part<S>| part.conns.is_empty() && part.service.is_settled();
        while !self.parts.iter().all(is_over) && self.clock.monotonic_ms < patience {
            self.turn()?;
        }
        Ok(())
    }
}
