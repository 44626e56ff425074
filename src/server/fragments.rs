//! Fragments of a scatter-gather: for each core, the sub-request to it and its reply. How they are
//! sent and merged is in [`super::scatter`].

use super::message::Request;
use crate::api::info::Figures;

/// A scatter-gather under way. When it is over, its memory is recycled for the next one.
#[derive(Debug, Default)]
pub struct Scatter {
    /// The core that owns each item, in request order.
    pub(super) owners: Vec<u32>,
    /// One fragment per core.
    pub(super) fragments: Vec<Fragment>,
    /// Number of fragments whose reply is outstanding.
    pub(super) pending: usize,
    /// Number of items that are written to the answer; `None` before its head.
    pub(super) written: Option<usize>,
}

/// The fragment of one core.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    /// The sub-request before it is sent; its reply after that has arrived.
    pub(super) request: Option<Box<Request>>,
    /// Number of its bodies that were written to the answer.
    pub(super) written: usize,
}

impl Scatter {
    /// Takes the reply of `core`.
    pub fn take_reply(&mut self, core: u32, request: Box<Request>) {
        let place = &mut self.fragments[core as usize].request;
        assert!(place.is_none(), "each core replies once");
        *place = Some(request);
        self.pending -= 1;
    }

    /// Whether all replies have arrived.
    pub const fn is_whole(&self) -> bool {
        self.pending == 0
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
