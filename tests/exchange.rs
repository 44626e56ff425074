//! Case tests of the exchange between cores: credit timeout of a stalled core, and answers that do
//! not fit the budget. The seeded simulation is [`crate::scheduler`].

mod budget;
mod credit_timeout;
