//! Sees every byte, FIN and RST of our own client connections with its time, and names what became of each request.
//! Not: starting the target, or judging checks.

pub(crate) mod answers;
pub(crate) mod engine;
pub(crate) mod flow;
pub(crate) mod h2;
pub(crate) mod holdups;
pub(crate) mod lateness;
pub(crate) mod link;
pub(crate) mod outcome;
pub(crate) mod pulse;
pub(crate) mod response;
pub(crate) mod rng;
pub(crate) mod script;
pub(crate) mod talk;
pub(crate) mod tls;
pub(crate) mod urgency;
pub(crate) mod wire;
pub(crate) mod ws;

#[cfg(test)]
mod tests;
