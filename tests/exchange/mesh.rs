//! A mesh whose parcels take as long as they please; those of one core to another keep their order. It counts what is under way.

use super::Bug;
use crate::simulation::random::Random;
use purser::api::parcel::{Job, Parcel};
use std::collections::VecDeque;

pub struct Mesh {
    bug: Option<Bug>,
    cores: usize,
    credits: usize,
    /// From each core to each.
    queues: Vec<VecDeque<Box<Parcel>>>,
    /// Parcels of each core that are at each other one, or on the way.
    away: Vec<usize>,
    pub carried: u64,
}

impl Mesh {
    pub fn new(cores: usize, credits: u32, bug: Option<Bug>) -> Self {
        let queues = (0..cores * cores).map(|_| VecDeque::new()).collect();
        Self { bug, cores, credits: credits as usize, queues, away: vec![0; cores * cores], carried: 0 }
    }

    /// Takes a parcel on its way.
    pub fn send(&mut self, from: usize, to: usize, mut parcel: Box<Parcel>, random: &mut Random) -> Result<(), String> {
        let home = parcel.home as usize;
        if from == to || (home != from && home != to) {
            return Err(format!("a parcel of core {home} goes from {from} to {to}"));
        }
        if home == from {
            let away = &mut self.away[from * self.cores + to];
            *away += 1;
            if *away > self.credits {
                return Err(format!("core {from} has {away} parcels at {to}, and {} credits", self.credits));
            }
        }
        self.carried += 1;
        let (mut to, rare) = (to, random.in_thousand(20));
        match self.bug {
            Some(Bug::ParcelLost) if rare => return Ok(()),
            Some(Bug::WrongCore) if rare && home == from => {
                to = (0..self.cores).find(|core| *core != from && *core != to).unwrap_or(to)
            }
            Some(Bug::WrongGap) if home == to && parcel.job == Job::Read => {
                // It changes places with one that is on its way already.
                let queue = &mut self.queues[from * self.cores + to];
                let other = queue
                    .iter_mut()
                    .find(|other| other.job == Job::Read && other.ticket == parcel.ticket && other.home == parcel.home);
                if let Some(other) = other {
                    std::mem::swap(&mut other.place, &mut parcel.place);
                }
            }
            _ => {}
        }
        let queue = &mut self.queues[from * self.cores + to];
        queue.push_back(parcel);
        if self.bug == Some(Bug::OutOfOrder) && rare && queue.len() > 1 {
            let last = queue.len() - 1;
            queue.swap(last, last - 1);
        }
        // Questions and the answers to the other's.
        if queue.len() > 2 * self.credits {
            return Err(format!("{} parcels from core {from} to {to}, and room for {}", queue.len(), 2 * self.credits));
        }
        Ok(())
    }

    /// Hands over some of what has come to a core.
    pub fn receive(&mut self, to: usize, random: &mut Random) -> Vec<(usize, Box<Parcel>)> {
        let mut come = Vec::new();
        for from in 0..self.cores {
            let there = self.queues[from * self.cores + to].len();
            if there == 0 {
                continue;
            }
            let some = random.between(0, there as u64) as usize;
            let count = random.pick(&[0, 1, some, there]);
            for parcel in self.queues[from * self.cores + to].drain(..count.min(there)) {
                if parcel.home as usize == to {
                    let away = &mut self.away[to * self.cores + from];
                    // From where nothing was asked: a planted bug.
                    *away = away.saturating_sub(1);
                }
                come.push((from, parcel));
            }
        }
        come
    }

    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty) && self.away.iter().all(|away| *away == 0)
    }
}
