//! Owns the words in which scenarios say what an HTTP/2 client does, and what its plan knows when it chooses.
//! Not: doing it (see `flow`).

use super::call::{Call, ConnLog};
use super::frame::Ends;
use crate::observe::flow::When;

/// Whether a stream is opened although the server has said that it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heed {
    /// A GOAWAY ends it, as it should.
    GoAway,
    /// As if the GOAWAY were still on its way to us.
    Nothing,
}

/// How an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Http,
    /// Whole only with a `grpc-status` in its trailers, good only with 0.
    Grpc,
    /// A tunnel (extended CONNECT): an answer is its head, the rest is `kept`.
    Tunnel,
}

/// A request, that is a stream.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) fields: Vec<(String, String)>,
    /// What follows the head at once.
    pub(crate) body: Vec<u8>,
    /// Whether that is all.
    pub(crate) ends: Ends,
    pub(crate) heed: Heed,
    pub(crate) dialect: Dialect,
    /// So many bytes of the answer's body are kept; the others are counted.
    pub(crate) keep: usize,
}

/// One thing that a client does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// TCP, and TLS where the door of that number has it.
    Connect(usize),
    /// Preface and SETTINGS.
    Greet,
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// A new stream; with `Heed::GoAway` left out where one was seen.
    Open(Request),
    /// More of the body of the stream opened last.
    Send {
        bytes: Vec<u8>,
        ends: Ends,
    },
    /// So much credit, for the connection and the stream opened last.
    Credit(u32),
    /// Acknowledges the PINGs that were held back.
    AnswerPings,
    Pause(When),
    /// Until all streams are over, or the connection is.
    AwaitAnswers,
    /// Until the stream opened last has so many bytes of its answer's body, or is over.
    AwaitBody(u64),
    /// Until a GOAWAY was seen, or the connection is over.
    AwaitGoAway,
    /// Until a GOAWAY named the last stream, or the connection is over.
    AwaitFinalGoAway,
    AwaitEnd,
    Close,
}

/// When a client acknowledges PINGs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pings {
    AtOnce,
    /// When a step says so.
    Held,
    Never,
}

/// When a client gives credit for what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credit {
    AtOnce,
    /// When a step says so.
    ByStep,
}

/// How a client behaves where its steps say nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) pings: Pings,
    pub(crate) credit: Credit,
    /// What each stream may send at first, in bytes.
    pub(crate) window: u32,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            pings: Pings::AtOnce,
            credit: Credit::AtOnce,
            window: 65_535,
        }
    }
}

/// What a plan knows when it chooses its next step.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) stopped: bool,
    /// Connected, and no end seen.
    pub(crate) connected: bool,
    /// The last connect was refused or failed.
    pub(crate) refused: bool,
    /// The present connection, or the last one.
    pub(crate) conn: Option<&'a ConnLog>,
    /// All streams so far, of all connections.
    pub(crate) calls: &'a [Call],
}

impl Seen<'_> {
    /// Connected, and the server has not said that it goes.
    pub(crate) fn welcome(&self) -> bool {
        self.connected && self.conn.is_some_and(|conn| conn.goaways.is_empty())
    }
}

/// A client's plan; asked for a step whenever the one before is over.
pub(crate) trait Script: Send {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step>;
}

/// A fixed list of steps; it ends early when its connection is over.
#[derive(Debug)]
pub(crate) struct Steps(std::vec::IntoIter<Step>);

impl Steps {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self(steps.into_iter())
    }
}

impl Script for Steps {
    fn next(&mut self, seen: &Seen<'_>) -> Option<Step> {
        let step = self.0.next()?;
        (seen.connected || matches!(step, Step::Connect(_) | Step::Pause(_))).then_some(step)
    }
}
