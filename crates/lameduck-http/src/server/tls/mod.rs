//! TLS under a connection.
//!
//! | module | owns |
//! |---|---|
//! | `drive` | one connection, from its handshake to its end |
//! | `handshake` | from the client's first byte to a stream, within its limit |
//! | `stream` | the stream above TLS, and how it ends |
//! | `raw` | the stream below TLS, noted |
//! | `records` | where records begin and end |

mod drive;
mod handshake;
mod raw;
pub(crate) mod records;
mod stream;

pub(crate) use self::drive::secure;
