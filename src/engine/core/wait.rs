//! How a core waits: in the kernel, until something completes or somebody wakes it; for other cores it looks out a moment before.

use super::super::Failure;
use super::super::service::Service;
use super::Core;
use super::part::Part;
use std::time::{Duration, Instant};

/// Looking once whether there is something takes less, if nobody else runs meanwhile.
const LOOK: Duration = Duration::from_micros(3);

impl<S: Service> Core<S> {
    /// Waits until there is something to do.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        let is_idle = self.parts.iter_mut().all(Part::is_idle);
        if is_idle && self.spin_ns > 0 && self.parts.iter().any(|part| part.service.awaits()) {
            self.enter(0)?;
            if self.looks_out() {
                return Ok(());
            }
        }
        let sleeps = is_idle && (!self.has_others || self.control.lie_down(|| !self.has_mail()));
        let entered = self.enter(u32::from(sleeps));
        if sleeps && self.has_others {
            self.control.rise();
        }
        entered
    }

    fn has_mail(&self) -> bool {
        self.parts.iter().any(|part| part.service.has_mail())
    }

    /// With answers of other cores outstanding it looks out for them for a while, and for anything else: to be woken takes longer. Whoever else can run on
    /// this CPU does so meanwhile. Returns whether there is something that needs no more of the kernel.
    fn looks_out(&mut self) -> bool {
        if self.io.ring.has_completions() || self.has_mail() {
            return true;
        }
        let (since, spin) = (Instant::now(), Duration::from_nanos(self.spin_ns));
        let (mut now, mut spun, mut has_mail) = (since, Duration::ZERO, false);
        while !has_mail && !self.io.ring.has_deferred() && now - since < spin {
            std::thread::yield_now();
            has_mail = self.has_mail();
            let last = std::mem::replace(&mut now, Instant::now());
            // When it took longer, others ran.
            spun += if now - last < LOOK { now - last } else { Duration::ZERO };
        }
        self.parts[0].service.looked_out(spun.as_nanos() as u64);
        has_mail
    }

    fn enter(&mut self, want: u32) -> Result<(), Failure> {
        let timeout = if want == 0 { Duration::ZERO } else { self.timeout() };
        self.io.ring.enter(want, timeout).map_err(|error| Failure::new("enter", "the io_uring", error))
    }

    fn timeout(&self) -> Duration {
        let until = self.parts.iter().map(Part::wakes_at_ms).min().unwrap_or_default();
        Duration::from_millis(until.saturating_sub(self.clock.monotonic_ms))
    }
}
