//! hyper's connections, as its users build them.
//!
//! Owns: which builder speaks what, and the time limits that can be had from it. Not here: who waits for a connection.

use std::time::Duration;

use clap::ValueEnum;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use crate::Speech;
use crate::answer::answer;
use crate::keep::Keep;

/// As `lameduck_http::Limits` has them.
const HEAD: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_ANSWER: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Terms {
    /// None: a client may take for ever
    None,
    /// For a head, for idleness, for a transfer that stands still
    Limited,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    pub(crate) speech: Speech,
    pub(crate) terms: Terms,
}

impl Serving {
    /// Serves a connection in a task of its own.
    pub(crate) fn spawn<W>(self, wire: W, keep: impl Keep)
    where
        W: Read + Write + Unpin + Send + 'static,
    {
        let service = service_fn(answer);
        match self.speech {
            Speech::Http1 => {
                let connection = self.http1().serve_connection(wire, service);
                tokio::spawn(keep.keep(connection));
            }
            Speech::Http2 => {
                let connection = self.http2().serve_connection(wire, service);
                tokio::spawn(keep.keep(connection));
            }
            Speech::Auto => {
                let builder = auto::Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(wire, service).into_owned();
                tokio::spawn(keep.keep(connection));
            }
        }
    }

    fn http1(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        if self.terms == Terms::Limited {
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
        }
        builder
    }

    fn http2(self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        if self.terms == Terms::Limited {
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_ANSWER);
        }
        builder
    }
}
