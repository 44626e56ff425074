//! Loader of the users of a snapshot: adds those of one frame after the other to a slice.

use super::Slice;
use crate::journal::{Fault, File};
use crate::ledger::id::{OwnedId, UserId};
use crate::ledger::image::{Loaded, Malformed};
use crate::ledger::memory::{Lookup, PrefetchStep};
use crate::ledger::user::User;
use smallvec::SmallVec;

/// Users that are loaded before the first of them is indexed; in this time its prefetched place in
/// the index arrives.
const BATCH_USERS: usize = 16;

/// The owner of the users that are loaded: one of `slices` slices.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedOwner {
    pub(super) slice: u32,
    pub(super) slices: u32,
}

impl ExpectedOwner {
    /// The reason why a user does not belong in this slice; `None` if they do.
    pub(super) fn refuses(self, user: UserId<'_>) -> Option<String> {
        let Self { slice, slices } = self;
        let owner = user.slice(slices);
        (owner != slice).then(|| {
            format!("user {user} is in slice {slice} but belongs to slice {owner} of {slices}")
        })
    }
}

/// A user whose image is loaded, while its pieces are not all loaded.
#[derive(Debug)]
struct PartialUser {
    /// Offset of its image in the file.
    offset: u64,
    id: OwnedId,
    user: User,
    /// Number of pieces that are loaded.
    loaded: u32,
    /// Number of pieces.
    pieces: u32,
}

/// Loads users from consecutive frames.
#[derive(Debug)]
pub(super) struct UsersLoader {
    owner: ExpectedOwner,
    /// The user whose pieces come next.
    partial: Option<Box<PartialUser>>,
}

impl UsersLoader {
    pub(super) const fn new(owner: ExpectedOwner) -> Self {
        Self { owner, partial: None }
    }

    /// The owner of the users.
    pub(super) const fn owner(&self) -> ExpectedOwner {
        self.owner
    }

    /// Loads the users and pieces of the next frame, whose `payload` is at offset `at` of `file`.
    /// Returns how many users are now complete, and how many entries these had accepted.
    pub(super) fn load(
        &mut self,
        file: File,
        at: u64,
        payload: &[u8],
        slice: &mut Slice,
    ) -> Result<(u64, u64), Fault> {
        let malformed =
            |offset| move |e: Malformed| Fault::new(file, offset, format!("user image: {e}"));
        let names = slice.book().names();
        let (kinds, secret) = (names.len() as u32, names.secret());
        let (mut users, mut entries) = (0, 0);
        let (mut rest, mut restored) = (payload, SmallVec::<[_; BATCH_USERS]>::new());
        while !rest.is_empty() {
            while restored.len() < BATCH_USERS && !rest.is_empty() {
                let offset = at + (payload.len() - rest.len()) as u64;
                let (offset, version, slot) = if let Some(mut partial) = self.partial.take() {
                    let piece = (partial.loaded, partial.pieces);
                    let bytes = partial.user.load_piece(piece, rest).map_err(malformed(offset))?;
                    rest = &rest[bytes..];
                    partial.loaded += 1;
                    if partial.loaded < partial.pieces {
                        self.partial = Some(partial);
                        continue;
                    }
                    let PartialUser { offset, id, user, .. } = *partial;
                    let version = user.version();
                    (offset, version, slice.restore(Loaded { user, id: id.get() }))
                } else {
                    let (loaded, bytes, pieces) =
                        User::load_head(rest, kinds, secret).map_err(malformed(offset))?;
                    let Loaded { user, id } = loaded;
                    if let Some(what) = self.owner.refuses(id) {
                        return Err(Fault::new(file, offset, what));
                    }
                    rest = &rest[bytes..];
                    if pieces > 0 {
                        let id = OwnedId::new(id);
                        let partial = PartialUser { offset, id, user, loaded: 0, pieces };
                        self.partial = Some(Box::new(partial));
                        continue;
                    }
                    slice.prefetch(id, None, PrefetchStep::Index, &Lookup::default());
                    (offset, user.version(), slice.restore(Loaded { user, id }))
                };
                users += 1;
                entries += version;
                restored.push((offset, slot.map_err(malformed(offset))?));
            }
            for (offset, slot) in restored.drain(..) {
                slice.index(slot).map_err(malformed(offset))?;
            }
        }
        Ok((users, entries))
    }

    /// Checks, after the last frame, that the last user is complete.
    pub(super) fn check_complete(&self, file: File) -> Result<(), Fault> {
        let Some(partial) = &self.partial else { return Ok(()) };
        let PartialUser { offset, id, loaded, pieces, .. } = &**partial;
        let what = format!("user {} has {loaded} of {pieces} pieces", id.get());
        Err(Fault::new(file, *offset, what))
    }
}
