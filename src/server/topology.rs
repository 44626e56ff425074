//! Topology: which core, and which slice there, owns a user.
//!
//! Slices take turns on the cores: slice *s* of *n* cores lives on core *s* mod *n*, as its slice
//! number *s* div *n* there.

use crate::ledger::id::UserId;

/// A core's place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    core: u32,
    cores: u32,
    slices: u32,
}

/// Who owns a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// A slice of this core, by its place there.
    Here(usize),
    /// A slice of another core.
    There {
        /// The core.
        core: u32,
        /// The slice.
        slice: u32,
    },
}

impl Topology {
    /// Core `core` of `cores`, which have `slices` together: at least one each.
    pub fn new(core: u32, cores: u32, slices: u32) -> Self {
        assert!(core < cores && cores <= slices, "every core has a slice");
        Self { core, cores, slices }
    }

    /// A core that is alone and has one slice.
    pub const fn alone() -> Self {
        Self { core: 0, cores: 1, slices: 1 }
    }

    /// The owner of a user.
    #[inline]
    pub const fn owner(&self, user: UserId) -> Owned {
        if self.slices == 1 {
            return Owned::Here(0);
        }
        let slice = user.slice(self.slices);
        let core = if self.cores == self.slices { slice } else { slice % self.cores };
        if core == self.core {
            Owned::Here(self.place(slice))
        } else {
            Owned::There { core, slice }
        }
    }

    /// The place of a slice on its core.
    #[inline]
    pub const fn place(&self, slice: u32) -> usize {
        (slice / self.cores) as usize
    }

    /// Whether a slice lives on this core.
    #[inline]
    pub const fn is_here(&self, slice: u32) -> bool {
        slice < self.slices && slice % self.cores == self.core
    }

    /// The slices of this core, in order of their places.
    pub fn slices_here(&self) -> impl Iterator<Item = u32> + use<> {
        (self.core..self.slices).step_by(self.cores as usize)
    }

    /// This core.
    pub const fn core(&self) -> u32 {
        self.core
    }

    /// How many cores there are.
    pub const fn cores(&self) -> u32 {
        self.cores
    }

    /// How many slices there are.
    pub const fn slices(&self) -> u32 {
        self.slices
    }

    /// Whether there is no other core.
    pub const fn is_alone(&self) -> bool {
        self.cores == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_one_owner_and_all_cores_agree_who_it_is() {
        for (cores, slices) in [(1, 1), (1, 7), (2, 2), (2, 3), (2, 7), (3, 8)] {
            let all: Vec<_> = (0..cores).map(|core| Topology::new(core, cores, slices)).collect();
            for user in (0..1_000).map(UserId) {
                let here: Vec<_> = all
                    .iter()
                    .filter_map(|topology| match topology.owner(user) {
                        Owned::Here(place) => topology.slices_here().nth(place),
                        Owned::There { .. } => None,
                    })
                    .collect();
                assert_eq!(here, [user.slice(slices)], "{cores} cores, {slices} slices");
                for topology in &all {
                    if let Owned::There { core, slice } = topology.owner(user) {
                        assert_eq!((core, slice), (slice % cores, user.slice(slices)));
                    }
                }
            }
        }
    }
}
