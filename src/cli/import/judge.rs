//! Entries in order to users: the ledger judges, this remembers what the ledger may forget.
//!
//! The ledger remembers a user's ids for 24 hours; an import knows them all, so an id counts once
//! however far apart its lines are. And the ledger takes a settlement only behind its hold; an
//! import lets a settlement wait for a hold that was booked at the same time and stands further
//! back.

use super::item::Item;
use crate::engine::Failure;
use crate::engine::snapshot::Snapshot;
use crate::journal::record;
use crate::ledger::FUTURE_MS;
use crate::ledger::entry::{Action, EntryRef, Rejection, Verdict};
use crate::ledger::id::{EntryId, UserId};
use crate::ledger::index::{Index, Slot};
use crate::ledger::names::Names;
use crate::ledger::time::Millis;
use crate::ledger::user::User;
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_64;

/// A user with more ids than this leaves no table behind for the next: clearing it would cost more
/// than making one.
const KEPT_IDS: usize = 1_024;

/// Takes entries in the order of their [keys](super::item::Key), and makes users of them.
pub struct Judge {
    now: Millis,
    names: Names,
    /// Says for whom a slice has no room: for ids that were chosen to share their hash.
    index: Index,
    snapshot: Snapshot,
    current: Option<Current>,
    counts: Counts,
    scratch: Vec<u8>,
}

/// What became of the entries that were not rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted.
    pub accepted: u64,
    /// Met before, with equal fields.
    pub duplicates: u64,
}

/// The user whose entries come.
struct Current {
    user: User,
    /// Every id that was accepted, and a fingerprint of its fields.
    ids: HashMap<EntryId, u64>,
    at: Millis,
    /// Settlements booked at `at` whose holds were not met yet, by hold.
    early: BTreeMap<EntryId, Vec<Vec<u8>>>,
}

impl Judge {
    /// A judge whose clock stands at `now`.
    pub fn new(now: Millis, snapshot: Snapshot) -> Self {
        Self {
            now,
            names: Names::default(),
            index: Index::default(),
            snapshot,
            current: None,
            counts: Counts::default(),
            scratch: Vec::new(),
        }
    }

    /// Takes the next entry. Those that are refused go to `refuse`.
    pub fn take<E: From<Failure>>(
        &mut self,
        bytes: &[u8],
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        let item = Item::read(bytes).expect("what is sorted was written by this process");
        let (user, at) = (item.entry.user, item.entry.at);
        if self.current.as_ref().is_none_or(|current| current.user.id() != user) {
            self.end_user(refuse)?;
            self.begin_user(user, at);
        } else if self.current().at != at {
            self.end_of_time(refuse)?;
            self.current().at = at;
        }
        match self.verdict(&item.entry) {
            Verdict::Rejected(Rejection::PendingNotFound) => {
                let (Action::Settle { hold, .. } | Action::Void { hold }) = item.entry.action
                else {
                    unreachable!("only a settlement names a hold")
                };
                self.current().early.entry(hold).or_default().push(bytes.to_vec());
                Ok(())
            }
            verdict => self.count(&item, verdict, refuse),
        }
    }

    fn current(&mut self) -> &mut Current {
        self.current.as_mut().expect("a user's entries come")
    }

    fn begin_user(&mut self, id: UserId, at: Millis) {
        let mut ids = self.current.take().map(|before| before.ids).unwrap_or_default();
        if ids.capacity() > KEPT_IDS {
            ids = HashMap::new();
        }
        ids.clear();
        self.current = Some(Current { user: User::new(id), ids, at, early: BTreeMap::new() });
    }

    /// Counts a verdict, and lets settlements follow the hold that they waited for.
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
        if verdict == Verdict::Accepted && matches!(item.entry.action, Action::Hold(_)) {
            let follow = self.current().early.remove(&item.entry.id).unwrap_or_default();
            self.settle(follow, refuse)?;
        }
        Ok(())
    }

    /// Judges settlements that have waited.
    fn settle<E>(
        &mut self,
        waited: Vec<Vec<u8>>,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        for bytes in waited {
            let item = Item::read(&bytes).expect("what is sorted was written by this process");
            let verdict = self.verdict(&item.entry);
            self.count(&item, verdict, refuse)?;
        }
        Ok(())
    }

    /// No more entries of this time come: the holds that settlements wait for are not there.
    fn end_of_time<E>(
        &mut self,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(), E> {
        for waited in std::mem::take(&mut self.current().early).into_values() {
            self.settle(waited, refuse)?;
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
        let user = &self.current.as_ref().expect("it was just there").user;
        if user.version() > 0 {
            let slot = Slot::try_from(self.snapshot.users())
                .expect("memory ends long before four thousand million users");
            self.index
                .insert(user.id(), slot, |_| false)
                .expect("it had room when the first entry was judged");
            self.snapshot.add(user)?;
        }
        Ok(())
    }

    /// Judges an entry of the current user, and books it if it is accepted.
    fn verdict(&mut self, entry: &EntryRef<'_>) -> Verdict {
        let Current { user, ids, .. } = self.current.as_mut().expect("a user's entries come");
        self.scratch.clear();
        record::write(&mut self.scratch, entry, 0);
        let fields = xxh3_64(&self.scratch);
        let is_in_future = entry.at.0 > self.now.0.saturating_add(FUTURE_MS);
        match ids.get(&entry.id) {
            Some(&known) if !is_in_future && known == fields => return Verdict::Duplicate,
            Some(_) if !is_in_future => return Rejection::IdConflict.into(),
            _ => {}
        }
        let effect = match user.judge(&self.names, self.now, entry) {
            Ok(effect) => effect,
            Err(verdict) => return verdict,
        };
        if user.version() == 0 && !self.index.has_room(user.id()) {
            return Rejection::InsufficientStorage.into();
        }
        user.book(&mut self.names, effect);
        ids.insert(entry.id, fields);
        Verdict::Accepted
    }

    /// Every entry was taken. Returns the snapshot, the names that it refers to, and the counts.
    pub fn finish<E: From<Failure>>(
        mut self,
        refuse: &mut impl FnMut(&Item<'_>, Rejection) -> Result<(), E>,
    ) -> Result<(Snapshot, Names, Counts), E> {
        self.end_user(refuse)?;
        Ok((self.snapshot, self.names, self.counts))
    }
}
