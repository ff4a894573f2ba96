//! Why a request has no response, and why a response's body has no end.

use std::error::Error;
use std::fmt;

use super::pool::Refused;
use super::response::Tries;
use super::retry::{GivenUp, Mishap, RetryReason};
use crate::server::exchange::BoxError;

/// What went wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Its URI is not absolute, neither `http` nor `https`, or has a port that is none; its `Content-Length` is not that of its body, or
    /// it has two `Host` fields; or its method is CONNECT, which is not spoken here.
    Unsendable,
    /// It goes to `https`, and the client was given no TLS.
    NoTls,
    /// As many requests wait for a connection as may.
    TooManyWaiting,
    /// It waited for a connection for as long as it may.
    WaitedTooLong,
    /// The client was stopped: whoever uses it should have stopped before.
    Stopped,
    /// The server was not reached.
    Unreached,
    /// There is a server, and it is not one to speak with: its certificate, its protocol.
    Unsuited,
    /// The connection ended before any of the request was written.
    Unwritten,
    /// The server refused it: it was not processed.
    RefusedStream,
    /// The server went away before it: it was not processed.
    GoneAway,
    /// The connection ended, and no response had begun: whether it was processed is not known.
    Cut,
    /// The connection ended within the response's head.
    CutShort,
    /// The head of the response did not come within [`ClientLimits::answer`](super::ClientLimits::answer).
    Expired,
    /// The server does not speak HTTP as it should, or says more than is allowed.
    Malformed,
    /// The request's own body failed.
    Body,
}

/// Why a request has no response.
#[derive(Debug)]
pub struct ClientError {
    kind: ErrorKind,
    tries: u32,
    given_up: Option<GivenUp>,
    /// A try before the last one may have been processed.
    is_uncertain: bool,
    source: Option<BoxError>,
}

impl ClientError {
    pub(super) const fn of(kind: ErrorKind) -> Self {
        Self {
            kind,
            tries: 0,
            given_up: None,
            is_uncertain: false,
            source: None,
        }
    }

    pub(super) fn refused(refused: Refused, tries: &Tries) -> Self {
        let kind = match refused {
            Refused::Full => ErrorKind::TooManyWaiting,
            Refused::Late => ErrorKind::WaitedTooLong,
            Refused::Over => ErrorKind::Stopped,
        };
        Self::of(kind).after(tries)
    }

    fn after(self, tries: &Tries) -> Self {
        Self {
            tries: tries.count,
            is_uncertain: tries.reasons.contains(&RetryReason::Cut),
            ..self
        }
    }

    pub(super) fn given_up(
        mishap: Mishap,
        given_up: GivenUp,
        tries: &Tries,
        source: Option<BoxError>,
    ) -> Self {
        let kind = match mishap {
            Mishap::Unreached => ErrorKind::Unreached,
            Mishap::Unsuited => ErrorKind::Unsuited,
            Mishap::Unwritten => ErrorKind::Unwritten,
            Mishap::RefusedStream => ErrorKind::RefusedStream,
            Mishap::GoneAway => ErrorKind::GoneAway,
            Mishap::Cut => ErrorKind::Cut,
            Mishap::CutShort => ErrorKind::CutShort,
            Mishap::Expired => ErrorKind::Expired,
            Mishap::Malformed => ErrorKind::Malformed,
            Mishap::Body => ErrorKind::Body,
        };
        let error = Self {
            given_up: Some(given_up),
            source,
            ..Self::of(kind)
        };
        error.after(tries)
    }

    /// What went wrong with the last try.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How often it was tried; 0 if it never got as far.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Why it was not tried once more, if it was tried.
    #[must_use]
    pub const fn why_given_up(&self) -> Option<GivenUp> {
        self.given_up
    }

    /// Whether no server has processed it, for certain: it may be sent again, whatever its method, by whoever has its body.
    #[must_use]
    pub const fn is_unprocessed(&self) -> bool {
        if self.is_uncertain {
            return false;
        }
        match self.kind {
            ErrorKind::Unsendable
            | ErrorKind::NoTls
            | ErrorKind::TooManyWaiting
            | ErrorKind::WaitedTooLong
            | ErrorKind::Unreached
            | ErrorKind::Unsuited
            | ErrorKind::Unwritten
            | ErrorKind::RefusedStream
            | ErrorKind::Stopped
            | ErrorKind::GoneAway => true,
            ErrorKind::Cut
            | ErrorKind::CutShort
            | ErrorKind::Expired
            | ErrorKind::Malformed
            | ErrorKind::Body => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Unsendable => {
                "a request needs an absolute http or https URI, fields that agree with its body, and a method other than CONNECT"
            }
            ErrorKind::NoTls => "the client was given no TLS configuration for https",
            ErrorKind::TooManyWaiting => "too many requests wait for a connection",
            ErrorKind::WaitedTooLong => "no connection became free in time",
            ErrorKind::Stopped => {
                "the client is stopped; let what uses it depend on it, so that it ends first"
            }
            ErrorKind::Unreached => "the server was not reached",
            ErrorKind::Unsuited => "the server cannot be spoken with",
            ErrorKind::Unwritten => "the connection ended before the request was written",
            ErrorKind::RefusedStream => "the server refused the stream",
            ErrorKind::GoneAway => "the server went away before the request",
            ErrorKind::Cut => "the connection ended before the response began",
            ErrorKind::CutShort => "the connection ended within the head of the response",
            ErrorKind::Expired => "the response did not begin in time",
            ErrorKind::Malformed => "the server sent what is not HTTP, or too much of it",
            ErrorKind::Body => "the body of the request failed",
        })?;
        if let Some(given_up) = self.given_up
            && given_up != GivenUp::Final
        {
            let tries = self.tries;
            let times = if tries == 1 { "try" } else { "tries" };
            write!(f, ", given up after {tries} {times}: {given_up}")?;
        }
        Ok(())
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// Why a response's body ends before its end.
#[derive(Debug)]
pub struct BodyError {
    source: Option<hyper::Error>,
}

impl BodyError {
    pub(super) const fn failed(error: hyper::Error) -> Self {
        Self {
            source: Some(error),
        }
    }

    pub(super) const fn expired() -> Self {
        Self { source: None }
    }

    /// Whether nothing came for [`ClientLimits::stall`](super::ClientLimits::stall).
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.source.is_none()
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "the response was cut short",
            None => "the response stalled for too long",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_processed_once_stays_uncertain() {
        let tries = |reasons: &[RetryReason]| Tries {
            count: 2,
            reasons: reasons.to_vec(),
        };
        let unreached =
            |tries| ClientError::given_up(Mishap::Unreached, GivenUp::Tries, &tries, None);
        assert!(unreached(tries(&[RetryReason::GoneAway])).is_unprocessed());
        assert!(!unreached(tries(&[RetryReason::Cut])).is_unprocessed());
        let refused = ClientError::refused(Refused::Over, &tries(&[RetryReason::Cut]));
        assert!(!refused.is_unprocessed());
    }
}
