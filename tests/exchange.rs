//! The exchange between cores: what becomes of requests while a core stands still ([`patience`]), and without room for their
//! answers ([`room`]).

mod patience;
mod room;
