//! HTTP/2 and gRPC: what is asked, by whom, and what it proves.
//! Not: frames (`observe::h2`), or launching (see `second`).

pub(crate) mod clients;
pub(crate) mod grpc;
pub(crate) mod judge;
pub(crate) mod load;
pub(crate) mod requests;
