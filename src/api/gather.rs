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

/// A batch on its way; at rest, memory for the next one.
#[derive(Debug, Default)]
pub struct Gather {
    /// The slice of each item.
    owners: Vec<u32>,
    /// The share of each slice.
    parts: Vec<Part>,
    /// How many of them are not here.
    away: usize,
    /// The core's own slice.
    own: u32,
}

#[derive(Debug, Default)]
struct Part {
    /// What is to be asked, or the answer that is here.
    parcel: Option<Box<Parcel>>,
    /// How many of its bodies were written.
    written: usize,
}

impl Gather {
    /// Asks each owner for its items of `reads`, the core's own at once. Nothing is asked before there is a credit for all, and room;
    /// without, it is over.
    pub fn begin<D: Desk>(
        &mut self,
        reads: &[Read],
        ticket: u64,
        desk: &mut D,
        exchange: &mut Exchange,
    ) -> Result<(), Short> {
        if reads.len() > SMALL_READS && (desk.room().is_full() || desk.cargo_room() == 0) {
            return Err(Short::OfRoom);
        }
        self.own = exchange.slice();
        self.parts.resize_with(exchange.slices(), Part::default);
        for read in reads {
            let owner = exchange.owner(read.user);
            self.owners.push(owner);
            let parcel = &mut self.parts[owner as usize].parcel;
            let parcel = parcel.get_or_insert_with(|| exchange.parcel(Job::Batch, ticket));
            parcel.now = desk.now();
            parcel.reads.push(*read);
        }
        self.ask(desk, exchange)
    }

    fn ask<D: Desk>(&mut self, desk: &mut D, exchange: &mut Exchange) -> Result<(), Short> {
        for (before, peer) in self.peers().enumerate() {
            if let Err(short) = exchange.credit(peer) {
                self.peers().take(before).for_each(|peer| exchange.give_back(peer));
                return Err(short);
            }
        }
        if let Some(own) = &mut self.parts[self.own as usize].parcel {
            exchange::answer_batch(own, desk);
            if own.is_refused() {
                self.peers().for_each(|peer| exchange.give_back(peer));
                return Err(Short::OfRoom);
            }
        }
        for (slice, part) in (0..).zip(&mut self.parts) {
            if slice != self.own
                && let Some(parcel) = part.parcel.take()
            {
                exchange.send(slice, parcel);
                self.away += 1;
            }
        }
        Ok(())
    }

    /// The other slices that are to be asked.
    fn peers(&self) -> impl Iterator<Item = u32> {
        let asked = (0..).zip(&self.parts).filter(|(_, part)| part.parcel.is_some()).map(|(slice, _)| slice);
        asked.filter(|&slice| slice != self.own)
    }

    /// A part has come back from `peer`.
    pub fn take(&mut self, peer: u32, parcel: Box<Parcel>) {
        let place = &mut self.parts[peer as usize].parcel;
        assert!(place.is_none(), "each core answers once");
        *place = Some(parcel);
        self.away -= 1;
    }

    /// Whether all parts are here.
    pub const fn is_whole(&self) -> bool {
        self.away == 0
    }

    /// Writes the answer, unless there is no room for it, here or at one of the owners. What came from other cores is durable; the stamp is that of
    /// this core's part.
    pub fn write<D: Desk>(&mut self, persist: Persist, desk: &mut D, out: &mut Vec<u8>) -> Option<Stamp> {
        let parcels = || self.parts.iter().filter_map(|part| part.parcel.as_ref());
        let bytes = parcels().map(|parcel| parcel.bytes.len()).sum();
        if parcels().any(|parcel| parcel.is_refused()) || !desk.room().takes(bytes) {
            return None;
        }
        let Self { owners, parts, .. } = self;
        let start = out.len();
        let stamp = parts[self.own as usize].parcel.as_ref().map_or(Stamp::default(), |parcel| parcel.stamp);
        let body = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{\"responses\":[");
            for (at, &owner) in owners.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                let Part { parcel, written } = &mut parts[owner as usize];
                out.extend_from_slice(parcel.as_ref().expect("each owner has answered").body(*written));
                *written += 1;
            }
            out.extend_from_slice(b"]}");
        };
        reply::json(Status::Ok, persist, reply::batch_width(owners.len()), desk, body, out);
        desk.room_mut().wrote(out.len() - start);
        Some(stamp)
    }

    /// Gives back what it holds.
    pub fn end<D: Desk>(&mut self, desk: &mut D, exchange: &mut Exchange) {
        for part in &mut self.parts {
            if let Some(parcel) = part.parcel.take() {
                desk.unpack(parcel.cargo());
                exchange.keep(parcel);
            }
            part.written = 0;
        }
        self.owners.clear();
        self.away = 0;
    }
}
