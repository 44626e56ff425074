//! A batch whose users live on several cores: each core answers its items in one go, and they are put together in the order asked.

use super::desk::Desk;
use super::exchange::{self, Exchange, Short};
use super::out::Stamp;
use super::parcel::{Job, Parcel};
use super::read::Read;
use super::reply;
use crate::http::response::{Persist, Status};

/// The answer to so few reads is hardly a large one: they are asked for even if there is no room for more.
const SMALL_READS: usize = 16;

/// A batch on its way.
#[derive(Debug)]
pub struct Gather {
    /// The slice of each item.
    owners: Vec<u32>,
    /// The answers that are here, by slice.
    parts: Vec<Option<Box<Parcel>>>,
    away: usize,
    /// The core's own slice.
    own: u32,
}

impl Gather {
    /// Asks each owner for its items of `reads`, the core's own at once. Nothing is asked before there is a credit for all, and room.
    pub fn begin<D: Desk>(reads: &[Read], ticket: u64, desk: &mut D, exchange: &mut Exchange) -> Result<Self, Short> {
        let owners: Vec<u32> = reads.iter().map(|read| exchange.owner(read.user)).collect();
        let mut parts: Vec<Option<Box<Parcel>>> = (0..exchange.slices()).map(|_| None).collect();
        let mut taken = Vec::with_capacity(parts.len());
        let own = exchange.slice();
        if reads.len() > SMALL_READS && (desk.room().is_full() || desk.cargo_room() == 0) {
            return Err(Short::OfRoom);
        }
        for peer in (0..parts.len() as u32).filter(|peer| *peer != own && owners.contains(peer)) {
            if let Err(short) = exchange.credit(peer) {
                taken.into_iter().for_each(|peer| exchange.give_back(peer));
                return Err(short);
            }
            taken.push(peer);
        }
        for (read, &owner) in reads.iter().zip(&owners) {
            let part = parts[owner as usize].get_or_insert_with(|| exchange.parcel(Job::Batch, ticket));
            part.now = desk.now();
            part.reads.push(*read);
        }
        if let Some(part) = &mut parts[own as usize] {
            exchange::answer_batch(part, desk);
            if part.is_refused() {
                taken.into_iter().for_each(|peer| exchange.give_back(peer));
                parts.into_iter().flatten().for_each(|part| exchange.keep(part));
                return Err(Short::OfRoom);
            }
        }
        for &peer in &taken {
            let part = parts[peer as usize].take().expect("a credit was taken for it");
            exchange.send(peer, part);
        }
        Ok(Self { owners, parts, away: taken.len(), own })
    }

    /// A part has come back from `peer`.
    pub fn take(&mut self, peer: u32, part: Box<Parcel>) {
        let place = &mut self.parts[peer as usize];
        assert!(place.is_none(), "each core answers once");
        *place = Some(part);
        self.away -= 1;
    }

    /// Whether all parts are here.
    pub const fn is_whole(&self) -> bool {
        self.away == 0
    }

    /// Writes the answer, unless there is no room for it, here or at one of the owners. What came from other cores is durable; the stamp is that of
    /// this core's part.
    pub fn write<D: Desk>(&mut self, persist: Persist, desk: &mut D, out: &mut Vec<u8>) -> Option<Stamp> {
        let parts = || self.parts.iter().flatten();
        let bytes = parts().map(|part| part.bytes.len()).sum();
        if parts().any(|part| part.is_refused()) || !desk.room().takes(bytes) {
            return None;
        }
        let start = out.len();
        let own = self.parts[self.own as usize].as_ref();
        let stamp = own.map_or(Stamp::default(), |part| part.stamp);
        let mut bodies: Vec<_> = self.parts.iter().map(|part| part.iter().flat_map(|part| part.bodies())).collect();
        let body = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"responses\":[");
            for (at, &owner) in self.owners.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(bodies[owner as usize].next().expect("each item is answered"));
            }
            out.extend_from_slice(b"]}");
        };
        reply::json(Status::Ok, persist, reply::batch_width(self.owners.len()), desk, body, out);
        desk.room_mut().wrote(out.len() - start);
        Some(stamp)
    }

    /// Gives back what it holds.
    pub fn end<D: Desk>(&mut self, desk: &mut D, exchange: &mut Exchange) {
        for part in self.parts.iter_mut().filter_map(Option::take) {
            desk.unpack(part.cargo());
            exchange.keep(part);
        }
    }
}
