//! Judge of an import: turns sorted entries into users. The ledger judges each entry; the judge
//! adds what the ledger does not keep.
//!
//! - Ids: the ledger remembers a user's ids for 24 hours. An import remembers all of them, so an id
//!   counts once, however far apart its lines are.
//! - Holds: an entry that names a hold and has no currency, kind and direction of its own is taken
//!   only while the hold is open. An import lets it wait for an entry that opens the hold, has the
//!   same booking time and comes later in the input.

use super::item::Item;
use crate::engine::Failure;
use crate::engine::directory::SliceDirectory;
use crate::engine::random;
use crate::engine::snapshot::Snapshot;
use crate::journal::record;
use crate::ledger::FUTURE_MS;
use crate::ledger::entry::{Action, EntryRef, Rejection, Verdict};
use crate::ledger::id::{EntryId, OwnedId, UserId};
use crate::ledger::names::Names;
use crate::ledger::time::Millis;
use crate::ledger::user::User;
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_64;

/// Most ids of a user whose table is reused for the next user: clearing a larger one would cost
/// more than making a new one.
const MAX_REUSED_IDS: usize = 1_024;

/// Takes entries in the order of their [keys](super::item::Key), and writes each user to the
/// snapshot of their slice.
pub struct Judge {
    now: Millis,
    slices: Vec<NewSlice>,
    current: Option<Current>,
    counts: LineCounts,
    scratch: Vec<u8>,
}

/// A slice of the import.
struct NewSlice {
    names: Names,
    snapshot: Snapshot,
}

/// Totals of the data written by an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Users of all slices.
    pub users: u64,
    /// Size of all snapshots, in bytes.
    pub bytes: u64,
}

/// Counts of the entries that were not rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Accepted entries.
    pub accepted: u64,
    /// Entries seen before with equal fields.
    pub duplicates: u64,
}

/// The user whose entries are being judged.
struct Current {
    id: OwnedId,
    user: User,
    /// Every accepted id, with a fingerprint of its entry's fields.
    ids: HashMap<EntryId, u64>,
    at: Millis,
    /// Entries with booking time `at` whose holds were not open yet, by hold.
    early: BTreeMap<EntryId, Vec<Vec<u8>>>,
}

impl Judge {
    /// A judge whose clock shows `now`, with the directory of each slice.
    pub fn new(now: Millis, slices: impl Iterator<Item = SliceDirectory>) -> Result<Self, Failure> {
        let secret = random::secret()?;
        let slices = slices.map(|directory| {
            let snapshot = Snapshot::begin(directory)?;
            Ok(NewSlice { names: Names::new(secret), snapshot })
        });
        Ok(Self {
            now,
            slices: slices.collect::<Result<_, Failure>>()?,
            current: None,
            counts: LineCounts::default(),
            scratch: Vec::new(),
        })
    }

    /// Judges the next entry. A rejected entry is passed to `refuse`.
    pub fn judge<E: From<Failure>>(
        &mut self,
        bytes: &[u8],
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        let item = Item::decode(bytes).expect("items come from this process, so they are valid");
        let (user, at) = (item.entry.user, item.entry.at);
        if self.current.as_ref().is_none_or(|current| current.id.get() != user) {
            self.end_user(refuse)?;
            self.begin_user(user, at);
        } else if self.current().at != at {
            self.end_of_time(refuse)?;
            self.current().at = at;
        }
        match self.verdict(&item.entry) {
            Verdict::Rejected(Rejection::PendingNotFound) => {
                let hold = named_hold(&item.entry).expect("the entry names a hold");
                self.current().early.entry(hold).or_default().push(bytes.to_vec());
                Ok(())
            }
            verdict => self.count(&item, verdict, refuse),
        }
    }

    fn current(&mut self) -> &mut Current {
        self.current.as_mut().expect("a user is current while entries are judged")
    }

    fn begin_user(&mut self, id: UserId<'_>, at: Millis) {
        let mut ids = self.current.take().map(|before| before.ids).unwrap_or_default();
        if ids.capacity() > MAX_REUSED_IDS {
            ids = HashMap::new();
        }
        ids.clear();
        let (id, user) = (OwnedId::new(id), User::default());
        self.current = Some(Current { id, user, ids, at, early: BTreeMap::new() });
    }

    /// Counts a verdict. After an entry that can have opened a hold, judges those that waited.
    fn count<E>(
        &mut self,
        item: &Item<'_>,
        verdict: Verdict,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        match verdict {
            Verdict::Accepted => self.counts.accepted += 1,
            Verdict::Duplicate => self.counts.duplicates += 1,
            Verdict::Rejected(reason) => return refuse(item, reason),
        }
        let opened = match item.entry.action {
            Action::Hold(_) => Some(item.entry.id),
            Action::Grow { hold, terms: Some(_), .. } => Some(hold),
            _ => None,
        };
        if verdict == Verdict::Accepted
            && let Some(waited) = opened.and_then(|hold| self.current().early.remove(&hold))
        {
            self.judge_waiting(waited, refuse)?;
        }
        Ok(())
    }

    /// Judges entries that have waited.
    fn judge_waiting<E>(
        &mut self,
        waited: Vec<Vec<u8>>,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        for bytes in waited {
            let item =
                Item::decode(&bytes).expect("items come from this process, so they are valid");
            let verdict = self.verdict(&item.entry);
            self.count(&item, verdict, refuse)?;
        }
        Ok(())
    }

    /// Ends a booking time: entries that still wait are judged without their holds.
    fn end_of_time<E>(
        &mut self,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        for waited in std::mem::take(&mut self.current().early).into_values() {
            self.judge_waiting(waited, refuse)?;
        }
        Ok(())
    }

    fn end_user<E: From<Failure>>(
        &mut self,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.current.is_none() {
            return Ok(());
        }
        self.end_of_time(refuse)?;
        let Current { id, user, .. } =
            self.current.as_ref().expect("a user is current until its end");
        if user.version() > 0 {
            let owner = id.get().slice(self.slices.len() as u32) as usize;
            self.slices[owner].snapshot.add(id.get(), user)?;
        }
        Ok(())
    }

    /// Judges an entry of the current user, and books it if it is accepted.
    fn verdict(&mut self, entry: &EntryRef<'_>) -> Verdict {
        let Current { id, user, ids, .. } =
            self.current.as_mut().expect("a user is current while entries are judged");
        self.scratch.clear();
        record::write(&mut self.scratch, entry, 0);
        let fields = xxh3_64(&self.scratch);
        let is_in_future = entry.at.0 > self.now.0.saturating_add(FUTURE_MS);
        match ids.get(&entry.id) {
            Some(&known) if !is_in_future && known == fields => return Verdict::Duplicate,
            Some(_) if !is_in_future => return Rejection::IdConflict.into(),
            _ => {}
        }
        let owner = id.get().slice(self.slices.len() as u32) as usize;
        let names = &mut self.slices[owner].names;
        let effect = match user.judge(names, self.now, entry) {
            Ok(effect) => effect,
            Err(verdict) => return verdict,
        };
        user.book(names, effect);
        ids.insert(entry.id, fields);
        Verdict::Accepted
    }

    /// Ends the last user and brings all slices to stable storage.
    pub fn finish<E: From<Failure>>(
        mut self,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(Written, LineCounts), E> {
        self.end_user(refuse)?;
        let mut written = Written::default();
        for NewSlice { names, snapshot, .. } in self.slices {
            written.users += snapshot.users();
            written.bytes += snapshot.finish(&names)?;
        }
        Ok((written, self.counts))
    }
}

/// The hold that an entry names.
const fn named_hold(entry: &EntryRef<'_>) -> Option<EntryId> {
    match entry.action {
        Action::Grow { hold, .. } | Action::Settle { hold, .. } | Action::Void { hold, .. } => {
            Some(hold)
        }
        Action::Post(_) | Action::Hold(_) => None,
    }
}
