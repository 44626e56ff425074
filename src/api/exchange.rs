//! The exchange between the cores of a server, as one of them sees it: what it asks of others, and what others ask of it.
//!
//! ```text
//!   asks:    credit ─▶ send ─▶ outbox ─▶ (mesh) ─▶ … ─▶ (mesh) ─▶ take back ─▶ the connection
//!   answers: (mesh) ─▶ take in ─▶ read, or queue of entries ─▶ held until durable ─▶ outbox ─▶ (mesh)
//! ```
//!
//! **Credits.** A core has at most so many parcels at another at one time, so what waits for a core is bounded, and there is always room for an
//! answer to go home: nobody waits for room, so nobody waits in a circle. Who gets no credit stops reading requests until a parcel comes home; if
//! none has for a while, requests for that core are refused at once.
//!
//! Users are spread by the hash of their id: [`UserId::slice`].

use super::desk::{Desk, Step, Way, ahead};
use super::out::Stamp;
use super::parcel::{Job, Parcel};
use super::problem::{Code, Problem};
use super::reply::{self, Asked};
use super::room::LARGE_BYTES;
use super::{CREDITS, ENTRIES_PER_TURN, PATIENCE_MS};
use crate::http::response::Status;
use crate::ledger::entry::Verdict;
use crate::ledger::id::UserId;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Empty parcels that are kept for the next questions.
const SPARE: usize = 1_024;
/// How many of them may have the memory for a large answer.
const SPARE_LARGE: usize = 64;

/// Why a core may not be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// All credits are out; one will be back soon.
    OfCredit,
    /// None has come back for too long.
    OfPatience,
    /// There is no room for its answer.
    OfRoom,
}

/// The exchange of one core.
#[derive(Debug)]
pub struct Exchange {
    slice: u32,
    /// At each peer.
    credits: u32,
    peers: Vec<Peer>,
    now_ms: u64,
    #[expect(clippy::vec_box, reason = "a parcel stays where it is, whichever core has it")]
    spare: Vec<Box<Parcel>>,
    /// How many of them are large.
    spare_large: usize,
    outbox: Vec<(u32, Box<Parcel>)>,
    /// Parcels of this core that are not home.
    away: usize,
    /// Whether a credit was wanting in this turn.
    is_short: bool,
    /// Whether the core's own log holds entries up.
    is_log_held: bool,
    /// Entries that were sent to others in this turn.
    given: usize,
    /// What others ask, as it came, for which there has been no turn.
    #[expect(clippy::vec_box, reason = "a parcel stays where it is, whichever core has it")]
    line: Vec<Box<Parcel>>,
    /// Parts of batches that are answered here, when their turn comes.
    batches: VecDeque<Box<Parcel>>,
    /// Parcels of entries that are being applied here.
    entries: VecDeque<Box<Parcel>>,
    held: BinaryHeap<Held>,
    /// Whether reads of others were answered in this turn.
    has_read: bool,
}

/// Another core.
#[derive(Clone, Copy, Debug)]
struct Peer {
    credits: u32,
    /// Since when a credit is wanting and none has come back; `None` if there are some, or nobody wanted one.
    short_since_ms: Option<u64>,
}

/// An answer that shows what is not durable yet; the one that waits for least is the greatest.
#[derive(Debug)]
struct Held(Box<Parcel>);

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.stamp.cmp(&self.0.stamp)
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl Default for Exchange {
    fn default() -> Self {
        Self::new(0, 1, CREDITS)
    }
}

impl Exchange {
    /// The exchange of the core that owns `slice` of `slices`, with so many credits at each other core.
    pub fn new(slice: u32, slices: u32, credits: u32) -> Self {
        assert!(slice < slices && credits > 0, "a slice is one of the slices, and may ask");
        Self {
            slice,
            credits,
            peers: vec![Peer { credits, short_since_ms: None }; slices as usize],
            now_ms: 0,
            spare: Vec::new(),
            spare_large: 0,
            outbox: Vec::new(),
            away: 0,
            is_short: false,
            is_log_held: false,
            given: 0,
            line: Vec::new(),
            batches: VecDeque::new(),
            entries: VecDeque::new(),
            held: BinaryHeap::new(),
            has_read: false,
        }
    }

    /// A turn begins, at a time that never falls.
    pub fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        (self.is_short, self.given) = (false, 0);
    }

    /// Whether entries must wait for the core's own log.
    pub const fn hold(&mut self, is_log_held: bool) {
        self.is_log_held = is_log_held;
    }

    /// Whether they must.
    pub const fn is_log_held(&self) -> bool {
        self.is_log_held
    }

    // What this core asks.

    /// The slice that owns a user, if it is another core's.
    #[inline]
    pub fn elsewhere(&self, user: UserId) -> Option<u32> {
        if self.peers.len() == 1 {
            return None;
        }
        let owner = user.slice(self.peers.len() as u32);
        (owner != self.slice).then_some(owner)
    }

    /// The slice that owns a user.
    #[inline]
    pub fn owner(&self, user: UserId) -> u32 {
        user.slice(self.peers.len() as u32)
    }

    /// How many slices there are.
    pub fn slices(&self) -> usize {
        self.peers.len()
    }

    /// This core's slice.
    pub const fn slice(&self) -> u32 {
        self.slice
    }

    /// Takes a credit for one parcel to `peer`.
    #[inline]
    pub fn credit(&mut self, peer: u32) -> Result<(), Short> {
        let now_ms = self.now_ms;
        let peer = &mut self.peers[peer as usize];
        if peer.credits == 0 {
            self.is_short = true;
            let since = *peer.short_since_ms.get_or_insert(now_ms);
            return Err(if now_ms - since < PATIENCE_MS { Short::OfCredit } else { Short::OfPatience });
        }
        peer.credits -= 1;
        Ok(())
    }

    /// The same for one that may be long on its way, because of its size or because it waits for a disk: half of the credits are left to others.
    #[inline]
    pub fn credit_for_large(&mut self, peer: u32) -> Result<(), Short> {
        if (1..=self.credits / 2).contains(&self.peers[peer as usize].credits) {
            self.is_short = true;
            return Err(Short::OfCredit);
        }
        self.credit(peer)
    }

    /// Gives back a credit that was not used.
    pub fn give_back(&mut self, peer: u32) {
        self.peers[peer as usize].credits += 1;
    }

    /// An empty parcel.
    pub fn parcel(&mut self, job: Job, ticket: u64) -> Box<Parcel> {
        let spare = self.spare.pop().inspect(|spare| self.spare_large -= usize::from(spare.is_large()));
        let mut parcel = spare.unwrap_or_else(|| Box::new(Parcel::new(self.slice)));
        (parcel.job, parcel.ticket) = (job, ticket);
        parcel
    }

    /// Sends a parcel for which a credit was taken.
    #[inline]
    pub fn send(&mut self, peer: u32, parcel: Box<Parcel>) {
        assert!(peer != self.slice && parcel.home == self.slice, "what is ours is answered here");
        self.given += parcel.entries.len();
        self.away += 1;
        self.outbox.push((peer, parcel));
    }

    /// A parcel of this core has come home from `peer`.
    #[inline]
    pub fn returned(&mut self, peer: u32) {
        let peer = &mut self.peers[peer as usize];
        peer.credits += 1;
        peer.short_since_ms = None;
        self.away -= 1;
    }

    /// Keeps a parcel for the next question.
    #[inline]
    pub fn keep(&mut self, mut parcel: Box<Parcel>) {
        if self.spare.len() < SPARE {
            parcel.clear(self.spare_large < SPARE_LARGE);
            self.spare_large += usize::from(parcel.is_large());
            self.spare.push(parcel);
        }
    }

    /// Of the entries that may be applied in this turn, how many of one more step may be: those that were sent elsewhere count.
    pub const fn entries_left(&self, of: usize) -> usize {
        of.saturating_sub(self.given)
    }

    /// When patience with a core at which a credit was wanting in this turn will end.
    pub fn patience_ends_ms(&self) -> Option<u64> {
        let shorts = self.peers.iter().filter_map(|peer| Some(peer.short_since_ms? + PATIENCE_MS));
        shorts.min().filter(|&at| self.is_short && at > self.now_ms)
    }

    /// Whether a credit was wanting in this turn: who is busy for that reason makes no headway before a parcel comes home.
    pub const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether answers of other cores are awaited.
    pub const fn awaits(&self) -> bool {
        self.away > 0
    }

    // What is asked of this core.

    /// Takes in what others ask: reads are answered in one walk, so that their users are fetched together; entries get in line, and so do batches. If
    /// answers are large, only as far as a turn goes: the rest stays in line.
    pub fn take_in<D: Desk>(&mut self, asked: &mut Vec<Box<Parcel>>, desk: &mut D) {
        if !self.line.is_empty() {
            self.line.append(asked);
            std::mem::swap(&mut self.line, asked);
        }
        let mut count = 0;
        while count < asked.len() && desk.room().has_turn() {
            for (next, step) in ahead(asked, count, [Step::Place, Step::User]) {
                if next.job == Job::Read {
                    desk.approach(next.read.user, None, step, &Way::default());
                }
            }
            if asked[count].job == Job::Read {
                answer_read(&mut asked[count], desk);
            }
            count += 1;
        }
        self.line.extend(asked.drain(count..));
        for parcel in asked.drain(..) {
            match parcel.job {
                Job::Entries => self.entries.push_back(parcel),
                Job::Batch => self.batches.push_back(parcel),
                Job::Read => {
                    self.has_read = true;
                    self.answered(parcel);
                }
            }
        }
        // One in each turn, whatever else there is.
        while let Some(mut parcel) = self.batches.pop_front() {
            answer_batch(&mut parcel, desk);
            self.has_read = true;
            self.answered(parcel);
            if !desk.room().has_turn() {
                break;
            }
        }
    }

    /// Whether reads of others were answered since this was asked last.
    pub fn has_read(&mut self) -> bool {
        std::mem::take(&mut self.has_read)
    }

    /// Applies entries of others, at most so many.
    pub fn apply<D: Desk>(&mut self, most: usize, desk: &mut D) {
        let mut left = most.min(desk.entries_left());
        while left > 0
            && let Some(parcel) = self.entries.front_mut()
        {
            left -= apply(parcel, left, desk);
            if parcel.judged == parcel.entries.len() {
                let parcel = self.entries.pop_front().expect("it is there");
                self.answered(parcel);
            }
        }
    }

    /// Whether entries of others wait to be applied.
    pub fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Whether reads or batches of others wait for their turn.
    pub fn has_reads(&self) -> bool {
        !(self.line.is_empty() && self.batches.is_empty())
    }

    fn answered(&mut self, parcel: Box<Parcel>) {
        if parcel.stamp == Stamp::default() {
            self.outbox.push((parcel.home, parcel));
        } else {
            self.held.push(Held(parcel));
        }
    }

    /// Everything up to `durable` is: what shows no more than that goes home.
    pub fn release(&mut self, durable: Stamp) {
        while self.held.peek().is_some_and(|held| held.0.stamp <= durable) {
            let Some(Held(parcel)) = self.held.pop() else { return };
            self.outbox.push((parcel.home, parcel));
        }
    }

    /// Whether an answer waits for this core's log.
    pub fn is_log_awaited(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is to be carried, and to which slice's core.
    pub fn outgoing(&mut self) -> impl Iterator<Item = (u32, Box<Parcel>)> {
        self.outbox.drain(..)
    }

    /// Whether nothing of others is under way here.
    pub fn is_settled(&self) -> bool {
        self.outbox.is_empty() && !self.has_reads() && self.entries.is_empty() && self.held.is_empty()
    }
}

/// Answers a read of another core.
#[inline]
fn answer_read<D: Desk>(parcel: &mut Parcel, desk: &mut D) {
    let Parcel { read, persist, head_only, if_none_match, now, bytes, .. } = parcel;
    let condition = (!if_none_match.is_empty()).then_some(&**if_none_match);
    let asked = Asked { read: *read, persist: *persist, head_only: *head_only, if_none_match: condition };
    (parcel.stamp, parcel.status) = reply::read(&asked, *now, desk, bytes);
    let cargo = parcel.cargo();
    if cargo > 0 {
        desk.room_mut().used_turn(cargo);
        if !desk.pack(cargo) {
            refuse_read(parcel, desk);
        }
    }
}

/// There is no room for the answer to a read: this is all it gets.
#[cold]
pub(super) fn refuse_read<D: Desk>(parcel: &mut Parcel, desk: &D) {
    let problem = Problem::from(Code::Overloaded);
    parcel.bytes = Vec::new();
    (parcel.stamp, parcel.status) = (Stamp::default(), problem.code.status());
    reply::problem(&problem.into(), parcel.persist, parcel.head_only, desk, &mut parcel.bytes);
}

/// Answers the items of a batch that are this core's, all of them in one go: those of one user see one state. Without room for the answer there is
/// none.
pub(super) fn answer_batch<D: Desk>(parcel: &mut Parcel, desk: &mut D) {
    let Parcel { reads, ends, now, bytes, stamp, .. } = parcel;
    let room = desk.cargo_room().max(LARGE_BYTES);
    for (at, read) in reads.iter().enumerate() {
        for (next, step) in ahead(reads, at, [Step::Place, Step::User]) {
            desk.approach(next.user, None, step, &Way::default());
        }
        *stamp = reply::item(read, *now, desk, bytes).max(*stamp);
        ends.push(bytes.len());
        if bytes.len() > room {
            break;
        }
    }
    desk.room_mut().used_turn(bytes.len());
    let (is_too_large, cargo) = (bytes.len() > room, parcel.cargo());
    if is_too_large || cargo > 0 && !desk.pack(cargo) {
        (parcel.bytes, parcel.stamp, parcel.status) = (Vec::new(), Stamp::default(), Status::ServiceUnavailable);
        parcel.ends.clear();
    }
}

/// Applies the next entries of a parcel, at most so many; returns how many.
fn apply<D: Desk>(parcel: &mut Parcel, most: usize, desk: &mut D) -> usize {
    let Parcel { entries, judged, accepted, others, stamp, .. } = parcel;
    let entries = &entries[*judged..];
    let count = entries.len().min(most).min(ENTRIES_PER_TURN);
    for (at, sent) in entries[..count].iter().enumerate() {
        for (next, step) in ahead(&entries[..count], at, Step::OF_ENTRY) {
            let entry = next.entry();
            desk.approach(entry.user, Some(entry.id), step, &next.way);
        }
        let (shown, verdict) = desk.apply(&sent.entry());
        *stamp = shown.max(*stamp);
        match verdict {
            Verdict::Accepted => *accepted += 1,
            other => others.push((sent.mark, other)),
        }
    }
    *judged += count;
    count
}
