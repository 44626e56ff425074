//! Topology: the core and the slice that own a user.
//!
//! Slices are dealt to the cores in turn: with *n* cores, slice *s* is on core *s* mod *n*, at
//! index *s* div *n* there.

use crate::ledger::id::UserId;

/// The number of cores and slices, and which core this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    core: u32,
    cores: u32,
    slices: u32,
}

/// The owner of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// A slice of this core, by its index there.
    Local(usize),
    /// A slice of another core.
    Remote {
        /// The core.
        core: u32,
        /// The slice's number.
        slice: u32,
    },
}

impl Topology {
    /// Core `core` of `cores`, which have `slices` slices together: at least one each.
    pub fn new(core: u32, cores: u32, slices: u32) -> Self {
        assert!(core < cores && cores <= slices, "every core has a slice");
        Self { core, cores, slices }
    }

    /// A single core with a single slice.
    pub const fn alone() -> Self {
        Self { core: 0, cores: 1, slices: 1 }
    }

    /// The owner of a user.
    #[inline]
    pub fn owner(&self, user: UserId<'_>) -> Location {
        if self.slices == 1 {
            return Location::Local(0);
        }
        let slice = user.slice(self.slices);
        let core = if self.cores == self.slices { slice } else { slice % self.cores };
        if core == self.core {
            Location::Local(self.local_slice(slice))
        } else {
            Location::Remote { core, slice }
        }
    }

    /// The index of a slice on its core.
    #[inline]
    pub const fn local_slice(&self, slice: u32) -> usize {
        (slice / self.cores) as usize
    }

    /// Whether a slice belongs to this core.
    #[inline]
    pub const fn is_here(&self, slice: u32) -> bool {
        slice < self.slices && slice % self.cores == self.core
    }

    /// The numbers of this core's slices, in order of their index.
    pub fn slices_here(&self) -> impl Iterator<Item = u32> + use<> {
        (self.core..self.slices).step_by(self.cores as usize)
    }

    /// The number of this core.
    pub const fn core(&self) -> u32 {
        self.core
    }

    /// The number of cores.
    pub const fn cores(&self) -> u32 {
        self.cores
    }

    /// The number of slices.
    pub const fn slices(&self) -> u32 {
        self.slices
    }

    /// Whether this is the only core.
    pub const fn is_alone(&self) -> bool {
        self.cores == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_has_one_owner_on_which_all_cores_agree() {
        for (cores, slices) in [(1, 1), (1, 7), (2, 2), (2, 3), (2, 7), (3, 8)] {
            let all: Vec<_> = (0..cores).map(|core| Topology::new(core, cores, slices)).collect();
            let texts: Vec<_> = (0..1_000).map(|n| format!("users:{n}")).collect();
            let texts = texts.iter().map(|text| UserId::Text(text.as_bytes()));
            for user in (0..1_000).map(UserId::Number).chain(texts) {
                let here: Vec<_> = all
                    .iter()
                    .filter_map(|topology| match topology.owner(user) {
                        Location::Local(local_slice) => topology.slices_here().nth(local_slice),
                        Location::Remote { .. } => None,
                    })
                    .collect();
                assert_eq!(here, [user.slice(slices)], "{cores} cores, {slices} slices");
                for topology in &all {
                    if let Location::Remote { core, slice } = topology.owner(user) {
                        assert_eq!((core, slice), (slice % cores, user.slice(slices)));
                    }
                }
            }
        }
    }
}
