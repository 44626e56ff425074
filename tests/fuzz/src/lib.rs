//! Shared by the fuzz targets: oracles written from the contract alone, on top of `serde_json`,
//! readers of HTTP to compare ours with, and the test machine of the benches.
//!
//! An oracle never calls our readers on a whole text. Where it builds a value of the ledger, it
//! checks the syntax first.

#[path = "../../../benches/common/driver.rs"]
pub mod driver;
#[path = "../../../benches/common/machine.rs"]
pub mod machine;

pub mod answers;
pub mod batch;
pub mod entry;
pub mod forms;
pub mod framing;
pub mod grammar;
pub mod object;
