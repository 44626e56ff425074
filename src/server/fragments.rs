//! The parts of a scatter-gather: what each core is to be asked, and its reply. How they are asked
//! for, and put together, is in [`super::scatter`].

use super::message::Request;
use crate::api::info::Figures;

/// A scatter-gather under way; at rest, memory for the next one.
#[derive(Debug, Default)]
pub struct Scatter {
    /// The core of each item.
    pub(super) owners: Vec<u32>,
    /// The part of each core.
    pub(super) fragments: Vec<Fragment>,
    /// How many of them are not here.
    pub(super) away: usize,
}

/// The part of one core.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    /// What is to be asked, or the reply that is here.
    pub(super) request: Option<Box<Request>>,
    /// How many of its bodies were written.
    pub(super) written: usize,
}

impl Scatter {
    /// A part has come back from `core`.
    pub fn take_reply(&mut self, core: u32, request: Box<Request>) {
        let place = &mut self.fragments[core as usize].request;
        assert!(place.is_none(), "each core replies once");
        *place = Some(request);
        self.away -= 1;
    }

    /// Whether all parts are here.
    pub const fn is_whole(&self) -> bool {
        self.away == 0
    }

    /// The figures of a slice.
    pub fn figures_of(&self, slice: u32) -> Figures {
        let mut figures = self
            .fragments
            .iter()
            .filter_map(|fragment| fragment.request.as_ref())
            .flat_map(|reply| &reply.figures);
        figures.find(|(of, _)| *of == slice).map(|&(_, figures)| figures).unwrap_or_default()
    }
}
