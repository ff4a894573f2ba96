//! Owns what a caller asks of a rollout through a front: where users ask, what begins it, and when it is over.
//! Not: doing it (see `scenario::rollout`).

use std::time::Duration;

use super::Front;
use crate::protocol::Protocol;

/// A rollout that is watched from where users are: through the front of several instances.
///
/// Nothing is started or stopped but by the commands given here.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Where users ask: `http://…` or `https://…`; certificates are not judged. It is asked with GET.
    pub url: String,
    /// What stands there; reports name it, and nothing is reckoned from it.
    pub front: Front,
    /// HTTP/1.1 or HTTP/2 (by prior knowledge, or by ALPN where the URL is `https`).
    pub protocol: Protocol,
    /// The shell command that begins the rollout; T is when it is started.
    pub stop: String,
    /// The shell command that succeeds when the rollout is over; asked again until it does.
    pub until: String,
    /// How long that may take.
    pub within: Duration,
    /// How long users ask before the rollout begins, and after it is over.
    pub around: Duration,
    /// How long a user waits for an answer or for a connection.
    pub patience: Duration,
    /// Replays the random decisions of an earlier run; `None` draws a fresh seed.
    pub seed: Option<u64>,
}

impl Rollout {
    /// The defaults of the command line: HTTP/1.1, ten minutes, 3 s before and after, 10 s of patience.
    #[must_use]
    pub fn new(url: String, stop: String, until: String) -> Self {
        Self {
            url,
            front: Front::NONE,
            protocol: Protocol::H1,
            stop,
            until,
            within: Duration::from_secs(600),
            around: Duration::from_secs(3),
            patience: Duration::from_secs(10),
            seed: None,
        }
    }
}
