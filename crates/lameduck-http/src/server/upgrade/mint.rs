//! hyper's `OnUpgrade`, made without hyper's own upgrade.
//!
//! Owns the trick: `OnUpgrade` has no public constructor, and axum and tokio-tungstenite's users take exactly that type from a request. So a
//! throw-away HTTP/1.1 connection of hyper is run over a [`Tenant`], which plays the client of one canned request. Its answer, and with it the
//! `OnUpgrade`, waits for ours. There is no task, no pipe and no copy in it: it is polled twice, and what hyper hands to the application is the
//! tenant itself.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::upgrade::OnUpgrade;

use super::link::Side;

/// What the throw-away connection is asked.
pub(super) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n";

/// An `OnUpgrade` to be resolved. Dropping it fails the `OnUpgrade`.
pub(super) struct Mint {
    /// None once it has served.
    throw_away: http1::UpgradeableConnection<Side, Doorman>,
    is_granted: Arc<AtomicBool>,
}

impl Mint {
    pub(super) fn new(side: Side) -> (Self, OnUpgrade) {
        let upgrade = Arc::new(Mutex::new(None));
        let is_granted = Arc::new(AtomicBool::new(false));
        let doorman = Doorman {
            upgrade: upgrade.clone(),
            is_granted: is_granted.clone(),
        };
        let throw_away = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(side, doorman)
            .with_upgrades();
        let mut mint = Self {
            throw_away,
            is_granted,
        };
        let waits = mint.poll();
        debug_assert!(waits, "its answer waits for ours");
        let upgrade = upgrade
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .expect("the canned request asks for an upgrade");
        (mint, upgrade)
    }

    /// Resolves the `OnUpgrade`: the application owns its side from here on.
    pub(super) fn grant(mut self) {
        // Relaxed: the same thread polls.
        self.is_granted.store(true, Relaxed);
        let waits = self.poll();
        debug_assert!(!waits, "a canned answer is written at once");
    }

    /// Whether it waits. Nobody needs to be woken: it moves on only when it is polled here.
    fn poll(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.throw_away).poll(&mut cx).is_pending()
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint")
            .field("is_granted", &self.is_granted)
            .finish_non_exhaustive()
    }
}

/// The service of the throw-away connection: it hands the `OnUpgrade` out and holds the answer back.
struct Doorman {
    upgrade: Arc<Mutex<Option<OnUpgrade>>>,
    is_granted: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Doorman {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Granting;

    fn call(&self, request: Request<Incoming>) -> Granting {
        let upgrade = hyper::upgrade::on(request);
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
        Granting {
            is_granted: self.is_granted.clone(),
        }
    }
}

struct Granting {
    is_granted: Arc<AtomicBool>,
}

impl Future for Granting {
    type Output = Result<Response<String>, Infallible>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Relaxed: set by the thread that polls.
        if !self.is_granted.load(Relaxed) {
            return Poll::Pending;
        }
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        Poll::Ready(Ok(response))
    }
}
