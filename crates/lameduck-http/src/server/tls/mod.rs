//! TLS under a connection.
//!
//! | module | owns |
//! |---|---|
//! | `handshake` | from the client's first byte to a stream, within its limit |
//! | `stream` | the stream above TLS, and how it ends |
//! | `raw` | the stream below TLS, noted |
//! | `records` | where records begin and end |

pub(super) mod handshake;
pub(crate) mod raw;
pub(crate) mod records;
pub(crate) mod stream;
