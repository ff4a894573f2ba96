//! One connection under TLS, from its handshake to its end.
//!
//! Owns what comes between the handshake and the conversation: who is there, and which protocol was agreed on.

use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;

use super::handshake::{Failed, shake};
use super::stream::TlsStream;
use crate::peer::Peer;
use crate::server::clock::End;
use crate::server::conn::{
    Opening, Rested, converse_until_rest, count, finish, introduce, rest, speak,
};
use crate::server::exchange::App;
use crate::server::park::{Aside, Held};
use crate::server::pulse::Pulse;
use crate::server::secure::{Begun, Plain, Secure};
use crate::server::watch::Watch;
use crate::tls::{Agreed, Tls, TlsInfo};

/// Puts TLS between a listener's sockets and HTTP.
pub(crate) fn secure<A: App>(tls: Tls) -> Secure<A> {
    let offered = tls.clone();
    Secure {
        drive: Box::new(move |begun, app, watch| match begun {
            Begun::Now(Plain::Tcp(stream)) => Box::pin(drive(stream, tls.clone(), app, watch)),
            Begun::Now(Plain::Unix(stream)) => Box::pin(drive(stream, tls.clone(), app, watch)),
            Begun::Before(Plain::Tcp(stream), held) => Box::pin(go_on(stream, held, app, watch)),
            Begun::Before(Plain::Unix(stream), held) => Box::pin(go_on(stream, held, app, watch)),
        }),
        objection: Box::new(move |protocols| offered.objection(protocols)),
    }
}

/// Serves a connection under TLS from its handshake on, until it ends or rests; None when it has ended.
///
/// # Cancel safety
/// Dropping the future drops the connection: whatever was in flight is lost.
async fn drive<S: Aside, A: App>(stream: S, tls: Tls, app: A, watch: Arc<Watch>) -> Option<Rested> {
    let (stream, since) = {
        let mut pulse = pin!(Pulse::new(&watch, stream.as_fd().as_raw_fd()));
        // In a box of its own: a connection does not carry the room for its handshake all its life.
        let stream = match Box::pin(shake(stream, &tls, &watch, pulse.as_mut())).await {
            Ok(stream) => begin(stream, app, &watch, pulse.as_mut()).await?,
            Err(Failed { stream, end }) => {
                match stream {
                    Some(stream) => Box::pin(finish(stream, end, &watch, pulse)).await,
                    None => count(&end, &watch),
                }
                return None;
            }
        };
        (stream, pulse.as_ref().since())
    };
    rest(stream, since, watch)
}

/// Speaks what the handshake agreed on; gives the stream back if it rests.
async fn begin<S: Aside, A: App>(
    stream: TlsStream<S>,
    app: A,
    watch: &Arc<Watch>,
    pulse: Pin<&mut Pulse<'_>>,
) -> Option<TlsStream<S>> {
    let session = stream.session();
    introduce(&stream, watch, |peer| Peer {
        tls: Some(Arc::new(TlsInfo::of(session))),
        ..peer
    });
    let opening = match Agreed::of(session, watch.shared.protocols) {
        Agreed::Http1 => Opening::Http1,
        Agreed::Http2 => Opening::Http2,
        Agreed::Other => {
            finish(stream, End::Handshake(Ok(())), watch, pulse).await;
            return None;
        }
    };
    speak(stream, opening, app, watch, pulse).await
}

/// Serves a connection whose session was put aside; only HTTP/1.1 rests.
async fn go_on<S: Aside, A: App>(
    stream: S,
    held: Held,
    app: A,
    watch: Arc<Watch>,
) -> Option<Rested> {
    let stream = TlsStream::again(held, stream, watch.clone())?;
    converse_until_rest(stream, Opening::Http1, app, watch).await
}
