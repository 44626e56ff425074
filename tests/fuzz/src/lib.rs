//! What the fuzz targets share: oracles that were written from the contract alone, on top of
//! `serde_json`, and the machine of the benches.
//!
//! An oracle never calls a reader of ours on a whole text; where it builds a value of the ledger it
//! checks the form first.

#[path = "../../../benches/common/driver.rs"]
pub mod driver;
#[path = "../../../benches/common/machine.rs"]
pub mod machine;

pub mod answers;
pub mod batch;
pub mod entry;
pub mod forms;
pub mod grammar;
pub mod object;
