//! Purser.
pub mod api;
pub mod cli;
pub mod config;
pub mod engine;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod slice;
