//! The server over real sockets on loopback; names bear the ids of the contract.

mod admin;
mod admission;
mod breaker;
mod cancellation;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "control")]
mod control;
mod frames;
mod h1;
mod h2;
mod handlers;
mod hooks;
mod limits;
mod load;
#[cfg(feature = "metrics")]
mod metrics;
mod order;
mod park;
mod peer;
mod probes;
mod reader;
mod seats;
mod snapshot;
mod sse;
mod streams;
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_clients;
#[cfg(feature = "tls")]
mod tls_ends;
#[cfg(feature = "tls")]
mod tls_listeners;
#[cfg(feature = "tls")]
mod tls_load;
#[cfg(feature = "tls")]
mod tls_park;
#[cfg(feature = "tls")]
mod tls_reload;
#[cfg(feature = "tls")]
mod tls_support;
mod transfer;
mod truncate;
mod unix;
mod wire;
mod ws;
mod ws_close;
mod ws_h2;
mod ws_peers;
#[cfg(feature = "tls")]
mod ws_tls;
