//! An HTTP/2 client at the level of frames: every GOAWAY, RST_STREAM, PING, trailer and end is seen with its time,
//! and everything that a polite client does (acknowledging, giving credit, heeding a GOAWAY) can be left undone.
//! Not: a client for use; it is as small as the checks need, and its header compression writes literals only.

pub(crate) mod call;
pub(crate) mod flow;
mod frame;
mod hpack;
mod huffman;
mod read;
pub(crate) mod script;
mod write;

pub(crate) use frame::{Ends, PREFACE};

#[cfg(test)]
mod tests;
