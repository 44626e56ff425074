//! Mesh: a queue from each core to every other core. [`Mesh`] is one core's end of the queues.
//!
//! A queue has space for the requests and the replies of all credits, and for the few messages
//! without a credit. A core keeps within its credits ([`crate::server::exchange`]), so a queue is
//! never full. Messages are published to a core once a turn. A core is woken only if it is parked
//! ([`super::parking::Parker`]), by the event descriptor of its [`Control`].

use super::control::Control;
use super::queue::{self, Receiver, Sender};

/// Messages from one core to another that take no credit: that it has loaded, and that it is at
/// rest.
const WITHOUT_CREDIT: usize = 2;

/// One core's ends of the queues of the mesh.
pub struct Mesh<T> {
    to: Vec<Option<(Sender<T>, Control)>>,
    from: Vec<Option<Receiver<T>>>,
}

/// Creates the mesh of one core per control, in the order of the controls. Each core may have
/// `credits` requests outstanding at every other core.
pub fn mesh<T>(controls: &[Control], credits: u32) -> Vec<Mesh<T>> {
    let mut meshes: Vec<_> =
        controls.iter().map(|_| Mesh { to: Vec::new(), from: Vec::new() }).collect();
    // The same direction carries requests, and replies to the other core's requests.
    let places = (2 * credits as usize + WITHOUT_CREDIT).next_power_of_two();
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
    /// The mesh of a single core, without queues.
    pub const fn alone() -> Self {
        Self { to: Vec::new(), from: Vec::new() }
    }

    /// Whether there is no other core.
    pub const fn is_empty(&self) -> bool {
        self.to.len() <= 1
    }

    /// Takes all published messages of the other cores; `take` gets the sending core's number.
    #[inline]
    pub fn receive(&mut self, mut take: impl FnMut(u32, T)) {
        for (core, from) in self.from.iter_mut().enumerate() {
            let Some(from) = from else { continue };
            while let Some(item) = from.pop() {
                take(core as u32, item);
            }
            from.recycle();
        }
    }

    /// Queues a message for another core, which sees it after [`Self::flush`].
    #[inline]
    pub fn send(&mut self, core: u32, item: T) {
        let (sender, _) = self.to[core as usize].as_mut().expect("the receiver is another core");
        sender.push(item);
    }

    /// Publishes the queued messages to the other cores, and wakes those that are parked.
    #[inline]
    pub fn flush(&mut self) {
        for (sender, control) in self.to.iter_mut().flatten() {
            if sender.publish() {
                control.wake_if_parked();
            }
        }
    }

    /// Whether a message is published and not taken yet.
    #[inline]
    pub fn has_messages(&self) -> bool {
        self.from.iter().flatten().any(|from| !from.is_empty())
    }
}
