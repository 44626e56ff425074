//! The mesh: a queue from each core to each other, as one of them has it.
//!
//! A core keeps within its credits ([`crate::server::exchange`]), so a queue that holds the
//! requests and the replies of all credits, and the few other messages, is never full. Messages are
//! shown to a core once a turn, and it is woken only if it is parked ([`super::parking::Parker`]),
//! by the event descriptor of its [`Control`].

use super::control::Control;
use super::queue::{self, Receiver, Sender};

/// Messages of one core to another that take no credit: it has loaded, it is at rest.
const ONCE: usize = 2;

/// The mesh, as one core has it.
pub struct Mesh<T> {
    to: Vec<Option<(Sender<T>, Control)>>,
    from: Vec<Option<Receiver<T>>>,
}

/// A mesh of as many cores as there are controls; each may have `credits` requests at each other.
/// In order of the cores.
pub fn mesh<T>(controls: &[Control], credits: u32) -> Vec<Mesh<T>> {
    let mut meshes: Vec<_> =
        controls.iter().map(|_| Mesh { to: Vec::new(), from: Vec::new() }).collect();
    // Requests one way, replies to the other's requests the same way.
    let places = (2 * credits as usize + ONCE).next_power_of_two();
    for from in 0..controls.len() {
        for (to, control) in controls.iter().enumerate() {
            let (sender, receiver) = (from != to).then(|| queue::channel(places)).unzip();
            meshes[from].to.push(sender.map(|sender| (sender, control.clone())));
            meshes[to].from.push(receiver);
        }
    }
    meshes
}

impl<T> Mesh<T> {
    /// The mesh of a core that is alone.
    pub const fn alone() -> Self {
        Self { to: Vec::new(), from: Vec::new() }
    }

    /// Whether there is no other core.
    pub const fn is_empty(&self) -> bool {
        self.to.len() <= 1
    }

    /// Takes what others have sent, with the core that did.
    #[inline]
    pub fn receive(&mut self, mut take: impl FnMut(u32, T)) {
        for (core, from) in self.from.iter_mut().enumerate() {
            let Some(from) = from else { continue };
            while let Some(item) = from.pop() {
                take(core as u32, item);
            }
            from.give_back();
        }
    }

    /// Sends something to another core, which sees it after [`Self::flush`].
    #[inline]
    pub fn send(&mut self, core: u32, item: T) {
        let (sender, _) = self.to[core as usize].as_mut().expect("to another core");
        sender.push(item);
    }

    /// Shows others what was sent to them, and wakes those that are parked.
    #[inline]
    pub fn flush(&mut self) {
        for (sender, control) in self.to.iter_mut().flatten() {
            if sender.publish() {
                control.wake_if_parked();
            }
        }
    }

    /// Whether something is there.
    #[inline]
    pub fn has_messages(&self) -> bool {
        self.from.iter().flatten().any(|from| !from.is_empty())
    }
}
