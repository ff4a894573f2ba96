//! One connection under TLS, from its handshake to its end.
//!
//! Owns what comes between the handshake and the conversation: who is there, and which protocol was agreed on.

use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;

use super::handshake::{Failed, shake};
use crate::peer::Peer;
use crate::server::clock::End;
use crate::server::conn::{Opening, count, finish, introduce, speak};
use crate::server::exchange::App;
use crate::server::io::Stream;
use crate::server::pulse::Pulse;
use crate::server::secure::{Plain, Secure};
use crate::server::watch::Watch;
use crate::tls::{Agreed, Tls, TlsInfo};

/// Puts TLS between a listener's sockets and HTTP.
pub(crate) fn secure<A: App>(tls: Tls) -> Secure<A> {
    let offered = tls.clone();
    Secure {
        drive: Box::new(move |socket, app, watch| match socket {
            Plain::Tcp(stream) => Box::pin(drive(stream, tls.clone(), app, watch)),
            Plain::Unix(stream) => Box::pin(drive(stream, tls.clone(), app, watch)),
        }),
        objection: Box::new(move |protocols| offered.objection(protocols)),
    }
}

/// Serves a connection under TLS to its end, from its handshake on.
///
/// # Cancel safety
/// Dropping the future drops the connection: whatever was in flight is lost.
async fn drive<S: Stream, A: App>(stream: S, tls: Tls, app: A, watch: Arc<Watch>) {
    let mut pulse = pin!(Pulse::new(&watch, stream.as_fd().as_raw_fd()));
    // In a box of its own: a connection does not carry the room for its handshake all its life.
    match Box::pin(shake(stream, &tls, &watch, pulse.as_mut())).await {
        Ok(stream) => {
            let session = stream.session();
            introduce(&stream, &watch, |peer| Peer {
                tls: Some(Arc::new(TlsInfo::of(session))),
                ..peer
            });
            match Agreed::of(session, watch.shared.protocols) {
                Agreed::Http1 => speak(stream, Opening::Http1, app, &watch, pulse).await,
                Agreed::Http2 => speak(stream, Opening::Http2, app, &watch, pulse).await,
                Agreed::Other => finish(stream, End::Handshake(Ok(())), &watch, pulse).await,
            }
        }
        Err(Failed { stream, end }) => match stream {
            Some(stream) => Box::pin(finish(stream, end, &watch, pulse)).await,
            None => count(&end, &watch),
        },
    }
}
