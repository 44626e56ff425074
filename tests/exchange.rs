//! The exchange between cores, case by case: patience with a core that stands still, and what
//! happens when answers find no room. Its seeded simulation is [`crate::scheduler`].

mod patience;
mod room;
