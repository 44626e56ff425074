//! How a core waits: in the kernel, until something completes or somebody wakes it; for other cores it looks out a moment before.

use super::super::Failure;
use super::super::connections::Slot;
use super::super::placement;
use super::super::service::Service;
use super::Core;
use std::time::{Duration, Instant};

/// Looking once whether there is something takes less, if nobody else runs meanwhile.
const LOOK: Duration = Duration::from_micros(3);

impl<S: Service> Core<S> {
    /// Waits until there is something to do.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let is_idle = self.is_idle();
        if is_idle && self.limits.spin_ns > 0 && self.service.awaits() {
            self.enter(0)?;
            if self.looks_out() {
                return Ok(());
            }
        }
        if is_idle && self.limits.shares_cpu {
            self.enter(0)?;
            if self.ring.has_completions() || self.service.has_mail() {
                return Ok(());
            }
            placement::give_turn();
        }
        let sleeps = is_idle && self.service.lie_down();
        let entered = self.enter(u32::from(sleeps));
        if sleeps {
            self.service.rise();
        }
        entered
    }

    /// Whether nothing goes on before something completes, or comes.
    fn is_idle(&mut self) -> bool {
        let Self { ready, conns, service, .. } = self;
        let is_blocked = |slot: &Slot| conns.get(*slot).is_none_or(|conn| service.is_blocked(&conn.session));
        !service.is_busy() && ready.iter().all(is_blocked)
    }

    /// With answers of other cores outstanding it looks out for them for a while, and for anything else: to be woken takes longer. Whoever else can run on
    /// this CPU does so meanwhile. Returns whether there is something that needs no more of the kernel.
    fn looks_out(&mut self) -> bool {
        if self.ring.has_completions() || self.service.has_mail() {
            return true;
        }
        let (since, spin) = (Instant::now(), Duration::from_nanos(self.limits.spin_ns));
        let (mut now, mut spun, mut has_mail) = (since, Duration::ZERO, false);
        while !has_mail && !self.ring.has_deferred() && now - since < spin {
            placement::give_turn();
            has_mail = self.service.has_mail();
            let last = std::mem::replace(&mut now, Instant::now());
            // When it took longer, others ran.
            spun += if now - last < LOOK { now - last } else { Duration::ZERO };
        }
        self.service.looked_out(spun.as_nanos() as u64);
        has_mail
    }

    fn enter(&mut self, want: u32) -> Result<(), Failure> {
        let timeout = if want == 0 { Duration::ZERO } else { self.timeout() };
        self.ring.enter(want, timeout).map_err(|error| Failure::new("enter", "the io_uring", error))
    }

    fn timeout(&self) -> Duration {
        let accepts = self.listeners.iter().filter_map(|listener| listener.again_at_ms);
        let until = accepts.chain(self.service.wakes_at_ms()).fold(self.next_tick_ms, u64::min);
        Duration::from_millis(until.saturating_sub(self.clock.monotonic_ms))
    }
}
