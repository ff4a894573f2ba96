//! Owns the words in which scenarios say what a client of HTTP/1.1 does, and what its plan knows when it chooses.
//! Not: doing it (see `flow`).

use std::time::Duration;

use super::outcome::Outcome;
use super::tls::Reach;

/// When a pause is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// So long after this step was reached.
    For(Duration),
    /// The moment right before the stop signal.
    Eve,
    /// So long after the stop signal; waits for the signal first.
    AfterStop(Duration),
}

/// Where in a request some bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    Last,
}

/// One thing that a client does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// TCP and, where the door has it, the whole TLS handshake.
    Connect,
    /// TCP only.
    Dial,
    /// The TLS handshake of a dialled connection, as far as that.
    Shake(Reach),
    Send {
        bytes: Vec<u8>,
        part: Part,
    },
    Pause(When),
    /// Until the request is answered or the connection ended.
    AwaitAnswer,
    /// Until the connection ended.
    AwaitEnd,
    Close,
}

/// What a script knows when it chooses its next step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) stopped: bool,
    /// Connected, no end seen, and no answer said `close`.
    pub(crate) usable: bool,
    /// The last connect was refused or failed.
    pub(crate) refused: bool,
    pub(crate) last: Option<Outcome>,
}

/// A client's plan; asked for a step whenever the one before is over.
pub(crate) trait Script: Send {
    fn next(&mut self, seen: Seen) -> Option<Step>;
}

/// A fixed list of steps; it ends early when its connection is of no more use.
#[derive(Debug)]
pub(crate) struct Steps(std::vec::IntoIter<Step>);

impl Steps {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self(steps.into_iter())
    }
}

impl Script for Steps {
    fn next(&mut self, seen: Seen) -> Option<Step> {
        let step = self.0.next()?;
        (seen.usable || matches!(step, Step::Connect | Step::Dial | Step::Pause(_))).then_some(step)
    }
}
