//! TLS: clients that shake hands across the signal, well and badly, and what they prove.
//! Not: the protocol itself (`observe::tls`), or launching (see `second`).

pub(crate) mod clients;
pub(crate) mod judge;
pub(crate) mod load;
