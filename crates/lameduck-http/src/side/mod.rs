//! The probes and admin listeners: small servers beside the service, that answer until the last hook.
//!
//! Owns their accept loop and their two services. They are no participants: they neither count as in flight nor against quiet, and outlive
//! the drain. One request a connection, a second for its head and two for all of it, at most 64 at the same time: peers that say nothing
//! keep a prober waiting for a second at most for each 64 of them.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use lameduck::Lifecycle;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use crate::probes::answer;
use crate::serve::ServeError;
use crate::server::io::{Stream, Unnoted};
use crate::server::linger::{self, Input};
use crate::server::listen::{Bound, LocalAddr, ToListenAddr};

const AT_ONCE: usize = 64;
/// From the connection to the end of its request's head.
const HEAD: Duration = Duration::from_secs(1);
/// From the connection to its end.
const PER_CONNECTION: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_millis(500);
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// Answers `/livez`, `/readyz`, `/startupz` and `/lbz` on `addr`, from now until the last stop hook.
///
/// One request a connection, at most 64 connections at the same time. A request head has one second, a connection two: past it the
/// connection is dropped without an answer.
///
/// # Errors
/// When the address cannot be bound, or there is no tokio runtime.
///
/// # Cancel safety
/// It never waits: once polled it has started, before that dropping it changes nothing.
pub async fn probes(life: &Lifecycle, addr: impl ToListenAddr) -> Result<SideServer, ServeError> {
    start(life, bind(&addr)?, Role::Probes)
}

/// Answers `/status` (JSON), `/metrics` (feature `metrics`) and the probes on `addr`, a loopback address or a Unix socket, from now until the last stop hook.
///
/// Bounded like [`probes`].
///
/// # Errors
/// When the address can be reached from other machines, cannot be bound, or there is no tokio runtime.
///
/// # Cancel safety
/// It never waits: once polled it has started, before that dropping it changes nothing.
pub async fn admin(life: &Lifecycle, addr: impl ToListenAddr) -> Result<SideServer, ServeError> {
    let bound = bind(&addr)?;
    if bound
        .local
        .tcp()
        .is_some_and(|addr| !addr.ip().to_canonical().is_loopback())
    {
        return Err(ServeError::Reachable(bound.local.clone()));
    }
    start(life, bound, Role::Admin)
}

/// A probes or admin listener. Dropping the handle changes nothing.
#[derive(Clone, Debug)]
pub struct SideServer {
    local: LocalAddr,
}

impl SideServer {
    /// Where it listens, with the port that the kernel chose for port 0.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddr {
        &self.local
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Probes,
    Admin,
}

fn bind(addr: &impl ToListenAddr) -> Result<Bound, ServeError> {
    addr.to_listen_addr()
        .and_then(|addr| Bound::bind(&addr))
        .map_err(ServeError::Bind)
}

fn start(life: &Lifecycle, bound: Bound, role: Role) -> Result<SideServer, ServeError> {
    let runtime = Handle::try_current().map_err(|_| ServeError::Runtime)?;
    let local = bound.local.clone();
    let (bound, file) = bound.into_parts();
    let listener = listen(bound).map_err(ServeError::Bind)?;
    let life = life.clone();
    runtime.spawn(async move {
        tokio::select! {
            () = accept(&life, listener, role) => {}
            _ = life.outcome() => {}
        }
        if let Some(file) = file {
            file.remove();
        }
    });
    Ok(SideServer { local })
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn listen(bound: Bound) -> io::Result<Listener> {
    bound.listen()?;
    match bound.local {
        LocalAddr::Tcp(_) => TcpListener::from_std(bound.into_socket().into()).map(Listener::Tcp),
        LocalAddr::Unix(_) => {
            UnixListener::from_std(bound.into_socket().into()).map(Listener::Unix)
        }
    }
}

async fn accept(life: &Lifecycle, listener: Listener, role: Role) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let permit = room
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                spawn(life, role, stream, permit);
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                spawn(life, role, stream, permit);
            }),
        };
        if accepted.is_err() {
            sleep(AFTER_ERROR).await;
        }
    }
}

fn spawn<S: Stream>(life: &Lifecycle, role: Role, stream: S, permit: OwnedSemaphorePermit) {
    let life = life.clone();
    tokio::spawn(async move {
        let _permit = permit;
        // Past the limit the connection is dropped: a prober that is this slow has given up long ago.
        let _ = timeout(PER_CONNECTION, converse(life, role, stream)).await;
    });
}

/// How far a connection came within the time for a head.
enum Progress {
    Asked,
    Over,
}

async fn converse<S: Stream>(life: Lifecycle, role: Role, stream: S) {
    let asked = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        // Relaxed: set and read by this task alone.
        asked.store(true, Ordering::Relaxed);
        let response = respond(&life, role, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(false)
        .max_header_size(8 * 1024)
        .serve_connection(Unnoted(stream), service);
    // An error is the peer's: it went away or sent no HTTP, and has its answer.
    let head = poll_fn(|cx| match Pin::new(&mut http).poll(cx) {
        Poll::Ready(_) => Poll::Ready(Progress::Over),
        Poll::Pending if asked.load(Ordering::Relaxed) => Poll::Ready(Progress::Asked),
        Poll::Pending => Poll::Pending,
    });
    match timeout(HEAD, head).await {
        Ok(Progress::Over) => {}
        Ok(Progress::Asked) => drop((&mut http).await),
        // Others wait for its place.
        Err(_) => return,
    }
    let Unnoted(stream) = http.into_parts().io;
    linger::close(stream, Input::Complete, LINGER).await;
}

fn respond(life: &Lifecycle, role: Role, request: &Request<Incoming>) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD\n".to_owned(),
        );
    }
    if role == Role::Admin && request.uri().path() == "/status" {
        let mut response = text(StatusCode::OK, life.status().to_json());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        return response;
    }
    #[cfg(feature = "metrics")]
    if role == Role::Admin && request.uri().path() == "/metrics" {
        return crate::metrics::answer(life, request.headers());
    }
    answer(life, request.uri().path())
}

/// A short text response that nobody may cache.
pub(crate) fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use lameduck::{Plan, Preset};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::*;

    fn life() -> Lifecycle {
        Lifecycle::embedded(Plan::preset(Preset::Local)).expect("a lifecycle")
    }

    /// What a connection takes by the runtime's clock, which jumps over every wait.
    async fn taken(said: &[u8]) -> (Duration, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(said).await.expect("room in the socket");
        let began = Instant::now();
        converse(life(), Role::Probes, ours).await;
        let took = began.elapsed();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.expect("orderly");
        (took, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_ask_gives_its_place_up_after_a_second() {
        for said in [&b""[..], b"GET /livez HT"] {
            let (took, heard) = taken(said).await;
            assert!((HEAD..PER_CONNECTION).contains(&took), "{took:?}");
            assert_eq!(heard, b"");
        }
    }

    #[tokio::test]
    async fn a_peer_that_asks_is_answered() {
        let (_, heard) = taken(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(heard.starts_with(b"HTTP/1.1 200 "), "{heard:?}");
    }
}
