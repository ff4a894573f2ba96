//! tower layers: for clients, which get an error, and for HTTP servers, which answer 503.
//!
//! | module | owns |
//! |---|---|
//! | `choose` | which breaker a request belongs to |
//! | `classify` | what came of a call, by its answer |
//! | `gate` | readiness: nothing is reserved before the call |
//! | `calls` | the layer for clients |
//! | `requests`, `body` | the layer for HTTP |

#[cfg(feature = "http")]
mod body;
mod calls;
mod choose;
mod classify;
mod gate;
#[cfg(feature = "http")]
mod http_outcome;
#[cfg(feature = "http")]
mod requests;

#[cfg(feature = "http")]
pub use body::{BreakBody, Until};
pub use calls::{BreakCalls, BreakCallsFuture, BreakCallsService};
pub use choose::{By, Choose};
pub use classify::{Classify, ErrorsFail};
#[cfg(feature = "http")]
pub use http_outcome::HttpOutcome;
#[cfg(feature = "http")]
pub use requests::{BreakRequests, BreakRequestsFuture, BreakRequestsService};
