//! Connections that speak something else after HTTP: WebSocket, CONNECT tunnels, any other upgrade.
//!
//! | module | owns |
//! |---|---|
//! | this one | which requests ask for an upgrade, and the promise made to each |
//! | `mint` | hyper's `OnUpgrade`, made without hyper's own upgrade |
//! | `link` | the upgraded stream, shared by the application and its keeper |
//! | `follower` | where in a WebSocket's outgoing bytes a frame or a message ends |
//! | `keeper` | when the connection's turn to go comes, and how it goes |
//!
//! The application gets one side of a [`link::Link`]; the connection's own task keeps the other until the end. So an upgraded connection stays
//! what every connection is: counted, named, limited, closed with care.

pub(crate) mod follower;
#[cfg(fuzzing)]
pub mod fuzzing;
mod keeper;
mod link;
mod mint;

use std::sync::Arc;
use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

pub(crate) use self::keeper::{Keeper, Tenant, keep};
pub(crate) use self::link::Duplex;
use self::link::Link;
use self::mint::Mint;
use super::watch::Watch;
use crate::ws::Turn;

/// What the connection speaks from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    WebSocket,
    /// Unknown to us: nothing may be said in it.
    Foreign,
}

/// The promise to a request that asks for an upgrade: its `OnUpgrade` resolves if the answer grants it, and fails otherwise.
#[derive(Debug)]
pub(crate) struct Pledge {
    mint: Mint,
    link: Arc<Link>,
    turn: Arc<Turn>,
    speech: Speech,
    method: Method,
    path: String,
    asked_at: Duration,
}

impl Pledge {
    /// For a request that asks for an upgrade; its extensions then have what hyper and axum look for.
    pub(crate) fn of<B>(request: &mut Request<B>, watch: &Watch) -> Option<Box<Self>> {
        if !asks(request) {
            return None;
        }
        let (link, tenant) = link::pair();
        let (mint, upgrade) = Mint::new(tenant);
        request.extensions_mut().insert(upgrade);
        let mut speech = Speech::Foreign;
        if let Some(protocol) = request.extensions_mut().remove::<::h2::ext::Protocol>() {
            if protocol.as_str() == "websocket" {
                speech = Speech::WebSocket;
            }
            let protocol = Protocol::from(protocol.as_str());
            request.extensions_mut().insert(protocol);
        }
        Some(Box::new(Self {
            mint,
            link,
            turn: Arc::default(),
            speech,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            asked_at: watch.shared.life.elapsed(),
        }))
    }

    /// The moment of the connection to be, for the handler.
    pub(crate) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// The pledge, if this answer grants the upgrade; otherwise it is broken.
    pub(crate) fn granted_by<B>(mut self: Box<Self>, response: &Response<B>) -> Option<Box<Self>> {
        let is_granted = if self.method == Method::CONNECT {
            response.status().is_success()
        } else {
            let chosen = response.headers().get(UPGRADE);
            if chosen.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket")) {
                self.speech = Speech::WebSocket;
            }
            response.status() == StatusCode::SWITCHING_PROTOCOLS
        };
        is_granted.then_some(self)
    }
}

/// Whether a request asks for an upgrade that can be granted here. For others it is a look into an empty map.
fn asks<B>(request: &Request<B>) -> bool {
    let extensions = request.extensions();
    if request.version() == Version::HTTP_2 {
        return request.method() == Method::CONNECT;
    }
    // Set by hyper for HTTP/1.1. Many clients ask for h2c in passing; nobody grants it, so nothing is spent on it.
    extensions.get::<OnUpgrade>().is_some()
        && request.headers().get(UPGRADE) != Some(&HeaderValue::from_static("h2c"))
}
