//! One handshake, in the task of its connection.
//!
//! Owns its steps and what becomes of the socket when it comes to nothing. How long it may take is [`crate::server::clock`]'s business. It goes on
//! after T and after the window's end: a client in the middle of it has chosen this server already.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::Acceptor;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::FallibleAccept;

use super::raw::Raw;
use super::stream::TlsStream;
use crate::server::clock::{Check, End};
use crate::server::io::Stream;
use crate::server::pulse::Pulse;
use crate::server::watch::Watch;
use crate::tls::Tls;

/// A handshake that came to nothing.
pub(super) struct Failed<S> {
    /// The stream, if it can still be ended with care.
    pub(super) stream: Option<Raw<S>>,
    pub(super) end: End,
}

enum Step<S> {
    /// The client's first message. The configuration is chosen at its end, so that a connection that was silent for long gets the newest.
    Hello(LazyConfigAcceptor<Raw<S>>),
    Rest(FallibleAccept<Raw<S>>),
}

/// Shakes hands with the client.
///
/// # Cancel safety
/// Dropping the future drops the connection.
pub(super) async fn shake<S: Stream>(
    stream: S,
    tls: &Tls,
    watch: &Arc<Watch>,
    mut pulse: Pin<&mut Pulse<'_>>,
) -> Result<TlsStream<S>, Failed<S>> {
    let raw = Raw::new(stream, watch.clone());
    let mut step = Step::Hello(LazyConfigAcceptor::new(Acceptor::default(), raw));
    watch.begin_handshake();
    let shaken = poll_fn(|cx| {
        loop {
            if let Poll::Ready(done) = step.poll(cx, tls, watch) {
                return Poll::Ready(done);
            }
            match pulse.as_mut().check(cx) {
                Check::Wait => return Poll::Pending,
                Check::Again | Check::Rest => {}
                Check::End(end) => return Poll::Ready(Err(Failed { stream: None, end })),
            }
        }
    })
    .await;
    watch.end_handshake();
    shaken.map_err(|failed| Failed {
        stream: failed.stream.or_else(|| step.into_stream()),
        end: failed.end,
    })
}

impl<S: Stream> Step<S> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tls: &Tls,
        watch: &Watch,
    ) -> Poll<Result<TlsStream<S>, Failed<S>>> {
        loop {
            match self {
                Self::Hello(hello) => match ready!(Pin::new(hello).poll(cx)) {
                    Ok(start) => {
                        *self = Self::Rest(start.into_stream(tls.current()).into_fallible())
                    }
                    Err(error) => {
                        let end = End::Handshake(blame(error, watch));
                        return Poll::Ready(Err(Failed { stream: None, end }));
                    }
                },
                Self::Rest(rest) => {
                    let shaken = ready!(Pin::new(rest).poll(cx));
                    return Poll::Ready(shaken.map(TlsStream::new).map_err(|(error, raw)| {
                        Failed {
                            stream: Some(raw),
                            end: End::Handshake(blame(error, watch)),
                        }
                    }));
                }
            }
        }
    }

    /// The stream, unless TLS keeps it: then it ends by being dropped, which is FIN too, for all that came was read.
    fn into_stream(self) -> Option<Raw<S>> {
        match self {
            Self::Hello(mut hello) => hello.take_io(),
            Self::Rest(_) => None,
        }
    }
}

/// A peer that connected and left without a word is nobody's failure: health checks on TCP do that.
fn blame(error: io::Error, watch: &Watch) -> io::Result<()> {
    if watch.is_wire_silent() {
        Ok(())
    } else {
        Err(error)
    }
}
