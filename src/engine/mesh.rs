//! The cores of a server, as one of them reaches the others: a queue to each, a queue from each, and what they know of each other.
//!
//! Whoever sends keeps within its credits ([`crate::api::exchange`]), so a queue that holds the questions and the answers of all credits is never
//! full. Things are shown to a core once a turn, and it is woken only if it sleeps ([`super::parking::Parker`]), by the event descriptor of its
//! [`Control`]: slices that share a core share that.

use super::control::Control;
use super::padding::Padded;
use super::queue::{self, Receiver, Sender};
use crate::api::info::Figures;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The mesh, as one core has it.
pub struct Mesh<T> {
    slice: u32,
    to: Vec<Option<Sender<T>>>,
    from: Vec<Option<Receiver<T>>>,
    all: Arc<All>,
}

/// What all cores see.
struct All {
    cores: Box<[Padded<Seen>]>,
    /// Cores that have loaded what was kept.
    loaded: AtomicUsize,
    /// Bytes of large answers on their way between cores.
    cargo: Padded<AtomicUsize>,
    /// Cores that have no connection any more, and nothing away.
    at_rest: AtomicUsize,
}

/// What others see of a core.
struct Seen {
    control: Control,
    figures: Padded<[AtomicU64; 2]>,
}

/// A mesh of as many cores as there are controls; each may have `credits` questions at each other.
pub fn mesh<T>(controls: &[Control], credits: u32) -> Vec<Mesh<T>> {
    let seen = |control: &Control| Padded(Seen { control: control.clone(), figures: Padded::default() });
    let all = Arc::new(All {
        cores: controls.iter().map(seen).collect(),
        loaded: AtomicUsize::new(0),
        cargo: Padded(AtomicUsize::new(0)),
        at_rest: AtomicUsize::new(0),
    });
    let count = controls.len();
    let mut meshes: Vec<_> =
        (0..count as u32).map(|slice| Mesh { slice, to: Vec::new(), from: Vec::new(), all: all.clone() }).collect();
    // Questions one way, answers to the other's questions the same way.
    let places = (2 * credits as usize).next_power_of_two();
    for from in 0..count {
        for to in 0..count {
            let (sender, receiver) = (from != to).then(|| queue::channel(places)).unzip();
            meshes[from].to.push(sender);
            meshes[to].from.push(receiver);
        }
    }
    meshes
}

impl<T> Mesh<T> {
    /// This core's slice.
    pub const fn slice(&self) -> u32 {
        self.slice
    }

    /// How many cores there are.
    pub const fn len(&self) -> usize {
        self.to.len()
    }

    /// Whether there is no other core.
    pub const fn is_empty(&self) -> bool {
        self.to.len() <= 1
    }

    /// Takes what others have sent, with the slice of whoever did.
    #[inline]
    pub fn receive(&mut self, mut take: impl FnMut(u32, T)) {
        for (slice, from) in self.from.iter_mut().enumerate() {
            let Some(from) = from else { continue };
            while let Some(item) = from.pop() {
                take(slice as u32, item);
            }
            from.give_back();
        }
    }

    /// Sends something to another core, which sees it after [`Self::flush`].
    #[inline]
    pub fn send(&mut self, slice: u32, item: T) {
        self.to[slice as usize].as_mut().expect("to another core").push(item);
    }

    /// Shows others what was sent to them, and wakes those who sleep.
    #[inline]
    pub fn flush(&mut self) {
        for (to, seen) in self.to.iter_mut().zip(&self.all.cores) {
            if to.as_mut().is_some_and(Sender::publish) {
                seen.0.control.rouse();
            }
        }
    }

    /// Whether something is there.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.from.iter().flatten().any(|from| !from.is_empty())
    }

    fn seen(&self) -> &Seen {
        &self.all.cores[self.slice as usize].0
    }

    /// This core has loaded what was kept. To be called once.
    pub fn has_loaded(&self) {
        self.join(&self.all.loaded);
    }

    /// Whether all cores have.
    pub fn all_loaded(&self) -> bool {
        // SeqCst: rare, so the simplest order will do, here and below.
        self.all.loaded.load(Ordering::SeqCst) == self.len()
    }

    /// This core asks nothing of others any more. To be called once.
    pub fn rests(&self) {
        self.join(&self.all.at_rest);
    }

    /// Whether no core asks anything of others any more.
    pub fn all_rest(&self) -> bool {
        // SeqCst: as in `all_loaded`.
        self.all.at_rest.load(Ordering::SeqCst) == self.len()
    }

    /// One more core has come somewhere; the last one tells the others.
    fn join(&self, place: &AtomicUsize) {
        // SeqCst: as in `all_loaded`.
        let before = place.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.len(), "each core comes once");
        if before + 1 == self.len() {
            self.all.cores.iter().for_each(|seen| seen.0.control.wake());
        }
    }

    /// The room for what is on its way between cores, so many bytes for all of them.
    pub fn cargo(&self, most: usize) -> Cargo {
        Cargo { all: self.all.clone(), most }
    }

    /// A view of what each core tells of itself.
    pub fn census(&self) -> Census {
        Census(self.all.clone())
    }

    /// Tells the figures of this core.
    #[inline]
    pub fn tell(&self, Figures { users, looked_out_us }: Figures) {
        for (place, figure) in self.seen().figures.0.iter().zip([users, looked_out_us]) {
            // Relaxed: figures for people.
            place.store(figure, Ordering::Relaxed);
        }
    }
}

/// The room for large answers on their way between cores: who answers takes some, and who has asked gives it back.
#[derive(Clone)]
pub struct Cargo {
    all: Arc<All>,
    most: usize,
}

impl Cargo {
    /// What is left.
    pub fn left(&self) -> usize {
        // Relaxed: a sum; nothing else is read on its account, here and below.
        self.most.saturating_sub(self.all.cargo.0.load(Ordering::Relaxed))
    }

    /// Takes so much. Returns whether it was there.
    pub fn pack(&self, bytes: usize) -> bool {
        // Relaxed: as in `left`.
        let before = self.all.cargo.0.fetch_add(bytes, Ordering::Relaxed);
        let is_there = before.saturating_add(bytes) <= self.most;
        if !is_there {
            self.unpack(bytes);
        }
        is_there
    }

    /// Gives so much back.
    pub fn unpack(&self, bytes: usize) {
        // Relaxed: as in `left`.
        let before = self.all.cargo.0.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "what is given back was taken");
    }
}

/// What each core tells of itself.
#[derive(Clone)]
pub struct Census(Arc<All>);

impl Census {
    /// The figures of a slice's core, as of its last turn.
    pub fn figures(&self, slice: u32) -> Figures {
        // Relaxed: as in `tell`.
        let [users, looked_out_us] =
            self.0.cores[slice as usize].0.figures.0.each_ref().map(|f| f.load(Ordering::Relaxed));
        Figures { users, looked_out_us }
    }
}
