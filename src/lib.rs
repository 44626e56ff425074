//! Purser.
pub mod api;
pub mod http;
pub mod ledger;
pub mod slice;
