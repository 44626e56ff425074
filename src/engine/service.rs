//! What the event loop asks of the handler that it drives.
//!
//! The loop knows connections, bytes and time; a service knows what they mean. The wallet is one ([`super::wallet`]); a benchmark's constant answer
//! is another, so that the loop's own cost can be measured with the same loop.

use super::Failure;
pub use crate::api::connection::Next;
pub use crate::api::out::{Out, Stamp};

/// One reading of the clocks, for a whole turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since some fixed point; never falls.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// The handler of one core's connections.
pub trait Service {
    /// What it keeps of one connection.
    type Session;

    /// A turn begins, in which connections hold so many bytes: of answers that have not left, and of requests whose turn has not come.
    fn begin(&mut self, clock: Clock, held: usize);

    /// A connection was accepted, which the loop calls `ticket`.
    fn open(&mut self, ticket: u64) -> Self::Session;

    /// Bytes arrived.
    fn receive(&mut self, session: &mut Self::Session, bytes: &[u8], out: &mut Out) -> Next;

    /// A busy session's next turn has come.
    fn resume(&mut self, session: &mut Self::Session, out: &mut Out) -> Next;

    /// A session's deadline has passed.
    fn expire(&mut self, session: &mut Self::Session, out: &mut Out) -> Next;

    /// The core begins to drain. Called for each session, after [`Self::drain`].
    fn drain_session(&mut self, session: &mut Self::Session);

    /// The core begins to drain.
    fn drain(&mut self);

    /// Bytes that a session keeps until their turn comes.
    fn kept_bytes(&self, session: &Self::Session) -> usize;

    /// The connection is gone.
    fn release(&mut self, session: Self::Session);

    /// Up to where answers may leave.
    fn durable(&self) -> Stamp;

    /// A connection's first answer in line waits for `stamp`: the loop wants `ticket` back when it is durable.
    fn wait(&mut self, stamp: Stamp, ticket: u64);

    /// The answer to a connection that is one too many: a whole response.
    fn turned_away(&mut self) -> Vec<u8>;

    /// The turn's requests are answered: hears what the disk has done.
    fn flush(&mut self, _clock: Clock) -> Result<(), Failure> {
        Ok(())
    }

    /// What can leave is leaving, and who waits for the disk is known: hands it what is due.
    fn submit(&mut self, _clock: Clock) {}

    /// The next ticket whose stamp has become durable.
    fn released(&mut self) -> Option<u64> {
        None
    }

    /// Whether reads were answered in the last turn.
    fn has_read(&self) -> bool {
        false
    }

    /// Another service on this thread has answered reads in the last turn.
    fn sees_reads(&mut self) {}

    /// Takes what others have sent since the turn began.
    fn hear(&mut self) {}

    /// Sends what is to go to others.
    fn say(&mut self) {}

    /// The ticket of the connection for which the next thing has come from another core.
    fn arrived(&mut self) -> Option<u64> {
        None
    }

    /// Hands that thing over, or drops it, if the connection is gone.
    fn take_back(&mut self, _: Option<(&mut Self::Session, &mut Out)>) -> Next {
        Next::Idle
    }

    /// Whether other cores are to answer something.
    fn awaits(&self) -> bool {
        false
    }

    /// The core has looked out for answers of others for so many nanoseconds, instead of sleeping.
    fn looked_out(&mut self, _ns: u64) {}

    /// Bytes of memory that what is being loaded will take, as far as is known.
    fn expected_bytes(&self) -> usize {
        0
    }

    /// Whether something has come from another core.
    fn has_mail(&self) -> bool {
        false
    }

    /// Whether something ever does.
    fn has_others(&self) -> bool {
        false
    }

    /// Whether there is work at hand besides that of busy sessions.
    fn is_busy(&self) -> bool {
        false
    }

    /// While draining, no connection is left: whether that is so on all cores.
    fn rests(&mut self) -> bool {
        self.is_settled()
    }

    /// When the next turn is wanted at the latest, in milliseconds of the monotonic clock.
    fn wakes_at_ms(&self) -> Option<u64> {
        None
    }

    /// Whether a busy session makes no headway before something else completes.
    fn is_blocked(&self, _: &Self::Session) -> bool {
        false
    }

    /// Whether it is still loading what was kept: no request is answered yet, and turns are as long as a step of that.
    fn is_loading(&self) -> bool {
        false
    }

    /// Whether everything that was taken in is durable.
    fn is_settled(&self) -> bool {
        true
    }
}
